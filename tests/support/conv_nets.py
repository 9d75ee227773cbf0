"""A small network of convolutions, and data that it can learn."""

from __future__ import annotations

import numpy as np

from synapcc.gen.ir.graph import Graph, Node, Tensor
from synapcc.gen.stages.graph_check import verify


def cnn(rng: np.random.Generator, width: int = 24, classes: int = 3) -> Graph:
    """Two one-dimensional convolutions and a dense layer."""
    shapes = {"w1": (4, 5), "b1": (4,), "w2": (6, 3 * 4), "b2": (6,), "w3": (classes, 36), "b3": (classes,)}
    tensors = {n: Tensor(n, s, rng.normal(0, s[-1] ** -0.5, s)) for n, s in shapes.items()}
    maps = {"x": (1, width, 1), "h1": (1, 12, 4), "a1": (1, 12, 4), "h2": (1, 6, 6), "a2": (1, 6, 6)}
    tensors |= {n: Tensor(n, s) for n, s in {**maps, "flat": (36,), "z": (classes,)}.items()}
    one = {"stride": (1, 2), "dilation": (1, 1), "groups": 1}
    relu = {"lo": 0.0, "hi": np.inf}
    nodes = (
        Node("conv2d", "conv1", ("x", "w1", "b1"), "h1", one | {"kernel": (1, 5), "padding": (0, 2, 0, 2)}),
        Node("clip", "relu1", ("h1",), "a1", relu),
        Node("conv2d", "conv2", ("a1", "w2", "b2"), "h2", one | {"kernel": (1, 3), "padding": (0, 1, 0, 1)}),
        Node("clip", "relu2", ("h2",), "a2", relu),
        Node("reshape", "flatten", ("a2",), "flat", {"shape": (36,)}),
        Node("dense", "fc", ("flat", "w3", "b3"), "z"),
    )
    return verify(Graph("cnn", ("x",), "z", tensors, nodes))


def data(rng: np.random.Generator, n: int = 120) -> dict[str, np.ndarray]:
    """Bumps whose place is their class."""
    label = rng.integers(0, 3, n)
    at = np.arange(24)[None, :]
    x = np.exp(-(((at - 5 - 6 * label[:, None]) / 2.0) ** 2)) + rng.normal(0, 0.1, (n, 24))
    return {"x": x.reshape(n, 1, 24, 1).astype(np.float32), "label": label}
