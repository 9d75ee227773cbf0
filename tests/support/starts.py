"""Perceptrons as one would start to train them, data for which one layer is not enough, what they learn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from synapcc.gen.compile import Compiled
from synapcc.gen.ir.graph import Graph, Node, Tensor
from synapcc.host.run.emulator import Emulator, classify
from synapcc.host.run.inputs import quantise_inputs

Data = dict[str, np.ndarray]


def start(sizes: Sequence[int], how: str, seed: int = 0, shrink: float = 1.0) -> Graph:
    """A rectified perceptron as one would start to train it; `narrow` is uniform within 1 / sqrt(n)."""
    rng = np.random.default_rng(seed)
    tensors, nodes, at = {"x": Tensor("x", (sizes[0],))}, [], "x"
    last = len(sizes) - 2
    for i in range(last + 1):
        n, m = sizes[i], sizes[i + 1]
        wide = {"he": 6 / n, "glorot": 6 / (n + m), "narrow": 1 / n, "zero head": 6 / n * (i < last)}[how]
        w = rng.uniform(-1, 1, (m, n)) * np.sqrt(wide) * shrink
        fc, relu = f"fc{i + 1}", f"relu{i + 1}"
        tensors |= {f"{fc}_w": Tensor(f"{fc}_w", w.shape, w), f"{fc}_b": Tensor(f"{fc}_b", (m,), np.zeros(m))}
        tensors |= {fc: Tensor(fc, (m,))}
        nodes.append(Node("dense", fc, (at, f"{fc}_w", f"{fc}_b"), fc))
        at = fc
        if i < last:
            tensors[relu] = Tensor(relu, (m,))
            nodes.append(Node("clip", relu, (fc,), relu, {"lo": 0.0, "hi": np.inf}))
            at = relu
    return Graph("scratch", ("x",), at, tensors, tuple(nodes))


def blobs(n: int, seed: int, size: int = 24, classes: int = 5) -> Data:
    """Samples that no linear layer tells apart: each class is two opposite patterns."""
    rng = np.random.default_rng(seed)
    pattern = np.random.default_rng(99).normal(0, 1, (classes, size))
    label = rng.integers(0, classes, n)
    x = pattern[label] * rng.choice([-1.0, 1.0], (n, 1)) + rng.normal(0, 0.5, (n, size))
    return {"x": (0.4 * x).astype(np.float32), "label": label}


def learned(compiled: Compiled, data: Data, steps: int) -> np.ndarray:
    """The state after so many samples, from the first again after the last."""
    machine = Emulator(compiled.plan)
    x = quantise_inputs(compiled.plan, {"x": data["x"]})["x"]
    order = np.arange(steps) % len(x)
    machine.learn_many({"x": x[order][:, None]}, data["label"][order])
    return machine.state[0]


def accuracy(compiled: Compiled, state: np.ndarray, data: Data) -> float:
    return float(np.mean(classify(compiled.plan, state, {"x": data["x"]}) == data["label"]))
