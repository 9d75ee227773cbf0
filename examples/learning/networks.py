"""Networks that hold no weights: rule files say what they start from."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from synapcc.examples.images.data import CLASSES, SIDE
from synapcc.gen.ir.graph import Attr, Graph, Node, Tensor


class _Stack:
    """Layers one behind another."""

    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        self.name, self.at, self.shape = name, "x", shape
        self.tensors, self.nodes = {"x": Tensor("x", shape)}, list[Node]()

    def add(self, op: str, name: str, shape: tuple[int, ...], attrs: dict[str, Attr], rows: int = 0) -> None:
        """rows: of the weights of a layer that has some; their columns follow from what it reads."""
        constants: tuple[str, ...] = ()
        if rows:
            columns = math.prod(self.shape)
            if op == "conv2d":
                kernel = attrs["kernel"]
                assert isinstance(kernel, tuple)
                columns = int(kernel[0] * kernel[1]) * self.shape[-1]
            constants = (f"{name}_w", f"{name}_b")
            for key, size in zip(constants, ((rows, columns), (rows,)), strict=True):
                self.tensors[key] = Tensor(key, size, np.zeros(size))
        self.tensors[name] = Tensor(name, shape)
        self.nodes.append(Node(op, name, (self.at, *constants), name, attrs))
        self.at, self.shape = name, shape

    def clip(self, name: str, lo: float, hi: float) -> None:
        self.add("clip", name, self.shape, {"lo": lo, "hi": hi})

    def graph(self) -> Graph:
        return Graph(self.name, ("x",), self.at, self.tensors, tuple(self.nodes))


def perceptron(sizes: Sequence[int], bounded: bool = False) -> Graph:
    """Dense layers, ReLU between them; bounded: max(-1, min(z, 1)) instead."""
    net = _Stack("perceptron", (sizes[0],))
    for i, (_, m) in enumerate(itertools.pairwise(sizes), 1):
        net.add("dense", f"fc{i}", (m,), {}, m)
        if i < len(sizes) - 1:
            net.clip(f"act{i}", -1.0 if bounded else 0.0, 1.0 if bounded else math.inf)
    return net.graph()


def convolutional(*filters: int, kernel: int = 5, border: int = 0) -> Graph:
    """Convolutions with so many filters each, ReLU and a max pool of 2 x 2 behind each, and a dense layer.

    border: zeros on each side. Two of 5 x 5 without a border: LeCun Y, Bottou L, Bengio Y, Haffner P, Proc.
    IEEE 86(11), 1998, without its two layers before the last.
    """
    net, side = _Stack("convolutional", (SIDE, SIDE, 1)), SIDE
    still: dict[str, Attr] = {"dilation": (1, 1)}
    for i, rows in enumerate(filters, 1):
        side += 2 * border - kernel + 1
        conv = {"kernel": (kernel, kernel), "stride": (1, 1), "groups": 1, "padding": (border,) * 4, **still}
        net.add("conv2d", f"conv{i}", (side, side, rows), conv, rows)
        net.clip(f"act{i}", 0.0, math.inf)
        side //= 2
        pool = {"kernel": (2, 2), "stride": (2, 2), "padding": (0,) * 4, **still}
        net.add("maxpool2d", f"pool{i}", (side, side, rows), pool)
    size = side * side * filters[-1]
    net.add("reshape", "flat", (size,), {"shape": (size,)})
    net.add("dense", "fc", (CLASSES,), {}, CLASSES)
    return net.graph()
