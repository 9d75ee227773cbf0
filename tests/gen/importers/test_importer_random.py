"""Random convolutional networks: whatever the passes fold and wherever axes are moved, the function stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_models as om
import pytest
from onnx_nets import Net, Rng, graph_of, pick


class Walk:
    """A net that grows by random steps; the current map has `channels` and `size` in the order of `last`."""

    def __init__(self, g: Rng, rank: int, last: bool) -> None:
        self.g, self.rank, self.last = g, rank, last
        self.channels = int(g.integers(1, 5))
        self.size = [int(g.integers(6, 11)) for _ in range(rank)]
        shape = [1, *self.size, self.channels] if last else [1, self.channels, *self.size]
        self.crossed = 0  # means over channels, which move the axes
        self.net = Net(g, shape, opset=15)  # older: onnx's reference trains batch norms

    def turn(self, last: bool) -> None:
        """Brings the channels to the end, or to the front."""
        if last != self.last:
            axes = list(range(2, self.rank + 2))
            perm = [0, *axes, 1] if last else [0, self.rank + 1, *range(1, self.rank + 1)]
            self.net.put("Transpose", perm=perm)
            self.last = last

    def conv(self) -> None:
        self.turn(False)
        g, rank = self.g, self.rank
        kernel = [int(g.integers(1, min(n, 4) + 1)) for n in self.size]
        stride = [int(g.integers(1, 3)) if n > 4 else 1 for n in self.size]
        groups = pick(g, 1, *(n for n in range(1, self.channels + 1) if self.channels % n == 0))
        outputs = groups * int(g.integers(1, 3))
        if g.random() < 0.5:
            pads = [int(g.integers(0, k)) for k in kernel * 2]
            self.net.conv(self.channels, outputs, *kernel, groups=groups, strides=stride, pads=pads)
            sums = [n + pads[i] + pads[i + rank] for i, n in enumerate(self.size)]
            self.size = [(n - k) // s + 1 for n, k, s in zip(sums, kernel, stride, strict=True)]
        else:
            mode = pick(g, "SAME_UPPER", "SAME_LOWER")
            self.net.conv(self.channels, outputs, *kernel, groups=groups, strides=stride, auto_pad=mode)
            self.size = [-(-n // s) for n, s in zip(self.size, stride, strict=True)]
        self.channels = outputs

    def norm(self) -> None:
        self.turn(False)
        self.net.norm(self.channels)

    def scale(self) -> None:
        ones = [1] * self.rank
        shape = pick(self.g, [1], [self.channels] if self.last else [self.channels, *ones])
        self.net.put(pick(self.g, "Mul", "Add", "Sub"), self.net.weight(*shape))

    def function(self) -> None:
        op = pick(self.g, "Relu", "Relu", "Clip", "Tanh", "HardSwish")
        limits = [self.net.value(np.float32(v)) for v in (-1.5, 6)] if op == "Clip" else []
        if op == "HardSwish":
            x = self.net.last
            self.net.join("Mul", x, self.net.join("HardSigmoid", x, alpha=1 / 6))
        else:
            self.net.put(op, *limits)

    def pool(self) -> None:
        self.turn(False)
        if min(self.size) < 3:
            return
        op = pick(self.g, "MaxPool", "AveragePool")
        attrs = {"count_include_pad": int(self.g.integers(2))} if op == "AveragePool" else {}
        self.net.put(op, kernel_shape=[2] * self.rank, strides=[2] * self.rank, **attrs)
        self.size = [(n - 2) // 2 + 1 for n in self.size]

    def pad(self) -> None:
        before = [int(self.g.integers(0, 2)) for _ in self.size]
        after = [int(self.g.integers(0, 2)) for _ in self.size]
        pads = [0, *before, 0, 0, *after, 0] if self.last else [0, 0, *before, 0, 0, *after]
        self.net.put("Pad", self.net.value(np.array(pads)), self.net.value(np.float32(0)))
        self.size = [n + a + b for n, a, b in zip(self.size, before, after, strict=True)]

    def residual(self) -> None:
        self.turn(False)
        here = self.net.last
        self.net.conv(self.channels, self.channels, *[3] * self.rank, auto_pad="SAME_UPPER")
        if self.g.random() < 0.5:
            self.net.norm(self.channels)
        self.net.join(pick(self.g, "Add", "Sub"), self.net.last, here)

    def join(self) -> None:
        """Joined along the channels with a part of its own, in the order in which they lie."""
        here = self.net.last
        self.net.put("Tanh")
        self.net.join("Concat", here, self.net.last, axis=self.rank + 1 if self.last else 1)
        self.channels *= 2

    def axis(self, i: int) -> int:
        """Where spatial axis i stands in the file."""
        return i + (1 if self.last else 2)

    def cut(self) -> None:
        """Some places of one spatial axis, forwards or backwards."""
        i = int(self.g.integers(self.rank))
        n, step = self.size[i], pick(self.g, 1, 1, 2, -1)
        first = int(self.g.integers(0, max(n // 3, 1)))
        bounds = (-1 - first, -(2**31)) if step < 0 else (first, 2**31)
        operands = (bounds[0], bounds[1], self.axis(i), step)
        self.net.put("Slice", *(self.net.value(np.array([v])) for v in operands))
        self.size[i] = -(-(n - first) // abs(step))

    def taken(self) -> None:
        """Any places of one spatial axis."""
        i = int(self.g.integers(self.rank))
        places = self.g.integers(-self.size[i], self.size[i], int(self.g.integers(1, self.size[i] + 2)))
        self.net.put("Gather", self.net.value(places), axis=self.axis(i))
        self.size[i] = len(places)

    def halves(self) -> None:
        """Channels in two parts, which change places."""
        if self.channels < 2:
            return
        first = int(self.g.integers(1, self.channels))
        axis = self.rank + 1 if self.last else 1
        sizes = self.net.value(np.array([first, self.channels - first]))
        parts = [f"part{len(self.net.nodes)}_{k}" for k in range(2)]
        self.net.nodes.append(om.node("Split", f"{self.net.last} {sizes}", " ".join(parts), axis=axis))
        self.net.join("Concat", *parts[::-1], axis=axis)

    def gate(self) -> None:
        """The map with its means over some axes, which are stretched."""
        here, axes = self.net.last, [a for a in range(1, self.rank + 2) if self.g.random() < 0.6] or [1]
        self.crossed += self.rank + 1 in axes if self.last else 1 in axes
        self.net.put("ReduceMean", axes=axes)
        self.net.put("Sigmoid")
        both = [here, self.net.last]
        self.net.join(
            pick(self.g, "Mul", "Mul", "Add", "Sub"), *(both if self.g.random() < 0.5 else both[::-1])
        )

    def flip(self) -> None:
        self.turn(not self.last)

    def head(self) -> None:
        if self.g.random() < 0.4:
            axes = list(range(1, self.rank + 1)) if self.last else list(range(2, self.rank + 2))
            self.net.put("ReduceMean", axes=axes, keepdims=int(self.g.integers(2)))
            self.size = []
        self.net.head(self.channels * int(np.prod(self.size)))


STEPS: tuple[Callable[[Walk], None], ...] = (
    Walk.conv, Walk.conv, Walk.norm, Walk.scale, Walk.function, Walk.pool, Walk.pad, Walk.residual, Walk.join,
    Walk.flip, Walk.cut, Walk.taken, Walk.halves, Walk.gate,
)  # fmt: skip


@pytest.mark.parametrize("seed", range(160))
def test_random_networks(seed: int, tmp_path: Path) -> None:
    g = om.rng(seed)
    channels_last = seed % 4 < 2
    walk = Walk(g, 1 + seed % 2, channels_last)
    for _ in range(int(g.integers(3, 9))):
        pick(g, *STEPS)(walk)
    walk.head()
    graph = graph_of(walk.net.proto(), tmp_path)
    assert graph.nodes[-1].op == "dense"
    most = (0 if channels_last else 2) + 2 * walk.crossed
    assert sum(n.op == "transpose" for n in graph.nodes) <= most
