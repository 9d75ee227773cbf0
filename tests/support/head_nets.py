"""A small perceptron, and samples of more classes than it has."""

from __future__ import annotations

import numpy as np

from synapcc.gen.ir.graph import Graph, Node, Tensor

Data = dict[str, np.ndarray]
SIZE, HIDDEN, OLD, NEW = 16, 24, 5, 7
PATTERNS = np.random.default_rng(9).normal(0, 1, (NEW, SIZE))


def perceptron(last: int = OLD, layers: int = 2, seed: int = 3) -> Graph:
    """Rectified layers at He's usual start, the last one linear."""
    rng = np.random.default_rng(seed)
    tensors, nodes, at, n = {"x": Tensor("x", (SIZE,))}, [], "x", SIZE
    for i in range(1, layers + 1):
        m = last if i == layers else HIDDEN
        w = rng.normal(0, np.sqrt(2 / n), (m, n))
        fc = f"fc{i}"
        for name, value in ((f"{fc}_w", w), (f"{fc}_b", rng.normal(0, 0.1, m))):
            tensors[name] = Tensor(name, value.shape, value)
        nodes.append(Node("dense", fc, (at, f"{fc}_w", f"{fc}_b"), fc))
        tensors[fc], at, n = Tensor(fc, (m,)), fc, m
        if i < layers:
            at = f"relu{i}"
            tensors[at] = Tensor(at, (m,))
            nodes.append(Node("clip", at, (fc,), at, {"lo": 0.0, "hi": np.inf}))
    return Graph("perceptron", ("x",), at, tensors, tuple(nodes))


def samples(n: int, classes: int, seed: int) -> Data:
    rng = np.random.default_rng(seed)
    label = rng.integers(0, classes, n)
    x = PATTERNS[label] + rng.normal(0, 0.6, (n, SIZE))
    return {"x": x.astype(np.float32), "label": label}
