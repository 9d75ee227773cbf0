"""Residual networks: what learns whole in them needs the most RAM beside what infers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from synapcc.gen.ir.graph import Graph, Node, Tensor
from synapcc.gen.stages.graph_check import verify


@dataclass
class Builder:
    """A graph as it grows: each method adds a node and returns the name of its output.

    gain: of the weights of its convolutions
    """

    rng: np.random.Generator
    tensors: dict[str, Tensor] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    gain: float = 1.0

    def put(self, op: str, name: str, inputs: tuple[str, ...], of: tuple[int, ...], **attrs: object) -> str:
        self.tensors[f"{name}_y"] = Tensor(f"{name}_y", of)
        self.nodes.append(Node(op, name, inputs, f"{name}_y", attrs))  # type: ignore[arg-type]
        return f"{name}_y"

    def constant(self, name: str, shape: tuple[int, ...], scale: float) -> str:
        self.tensors[name] = Tensor(name, shape, self.rng.normal(0, scale, shape))
        return name

    def conv(self, name: str, x: str, filters: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> str:
        """Same padding on all sides."""
        height, width, channels = self.tensors[x].shape
        taps, border = kernel * kernel * channels // groups, kernel // 2
        w = self.constant(f"{name}_w", (filters, taps), self.gain * taps**-0.5)
        b = self.constant(f"{name}_b", (filters,), 0.1)
        shape = (-(-height // stride), -(-width // stride), filters)
        steps = {"kernel": (kernel, kernel), "stride": (stride, stride), "dilation": (1, 1)}
        return self.put("conv2d", name, (x, w, b), shape, padding=(border,) * 4, groups=groups, **steps)

    def relu(self, name: str, x: str) -> str:
        return self.put("clip", name, (x,), self.tensors[x].shape, lo=0.0, hi=np.inf)

    def ended(self, name: str, x: str, classes: int = 4) -> Graph:
        """The graph, with the mean of its last map and a dense layer at its end."""
        height, width, channels = self.tensors[x].shape
        window = {
            "kernel": (height, width),
            "stride": (height, width),
            "padding": (0,) * 4,
            "dilation": (1, 1),
        }
        mean = self.put("avgpool2d", "mean", (x,), (1, 1, channels), count_padding=0, **window)
        flat = self.put("reshape", "flatten", (mean,), (channels,), shape=(channels,))
        w, b = self.constant("fc_w", (classes, channels), 0.3), self.constant("fc_b", (classes,), 0.1)
        z = self.put("dense", "fc", (flat, w, b), (classes,))
        return verify(Graph(name, ("x",), z, self.tensors, tuple(self.nodes)))


def residual(
    rng: np.random.Generator, side: int, channels: int, strides: tuple[int, ...], classes: int = 4
) -> Graph:
    """A stem, a block for each of `strides`, the mean of the last map and a dense layer.

    Where a block's stride is 2 it has twice as many channels as the one before, and a convolution of one tap
    beside it.
    """
    net = Builder(rng, {"x": Tensor("x", (side, side, 1))})
    x = net.relu("relu0", net.conv("stem", "x", channels))
    for i, stride in enumerate(strides, 1):
        channels *= stride
        inner = net.relu(f"relu{i}a", net.conv(f"conv{i}a", x, channels, stride=stride))
        other = net.conv(f"conv{i}b", inner, channels)
        x = net.conv(f"skip{i}", x, channels, kernel=1, stride=stride) if stride > 1 else x
        x = net.relu(f"relu{i}b", net.put("add", f"add{i}", (x, other), net.tensors[x].shape))
    return net.ended("residual", x, classes)


def data(rng: np.random.Generator, side: int, n: int = 40, classes: int = 4) -> dict[str, np.ndarray]:
    x = rng.normal(0, 0.5, (n, side, side, 1)).astype(np.float32)
    return {"x": x, "label": rng.integers(0, classes, n)}
