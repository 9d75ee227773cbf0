"""ONNX files with recurrent layers as exporters write them, and windows whose class is an order in time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
FORMS = ("last", "all", "row", "layout")
"""The last state; every state, flattened; the last row of every state, as `out[:, -1]`; batch in front."""


@dataclass(frozen=True)
class Sizes:
    steps: int = 7
    inputs: int = 3
    units: int = 5
    classes: int = 4


USUAL = Sizes()


def recurrent_file(
    cell: str, form: str = "last", layers: int = 1, sizes: Sizes = USUAL, seed: int = 0, **attrs: Any
) -> ModelProto:
    """Windows [batch, steps, inputs] through `layers` cells and a Gemm. attrs: of cells, beside the usual"""
    rng, first = np.random.default_rng(seed), form == "layout"
    constants = {"one": np.array([1]), "zero": np.array([0]), "at": np.array(-1), "two": np.array([2])}
    nodes = [] if first else [helper.make_node("Transpose", ["x"], ["time"], perm=[1, 0, 2])]
    at, read, n = "x" if first else "time", sizes.inputs, sizes.units
    for k in range(layers):
        rows, last = GATES[cell] * n, k == layers - 1 and form == "last"
        drawn = {"W": (rows, read, 1.2), "R": (rows, n, 1.0)}
        for name, (height, width, gain) in drawn.items():
            constants[f"{name}{k}"] = rng.normal(0, gain / np.sqrt(width), (1, height, width))
        constants[f"B{k}"] = rng.normal(0, 0.3, (1, 2 * rows))
        own = {"hidden_size": n} | ({"linear_before_reset": 1} if cell == "GRU" else {})
        own |= {"layout": 1} if first else {}
        outputs = ["", f"state{k}"] if last else [f"states{k}", f"state{k}"]
        names = [at, f"W{k}", f"R{k}", f"B{k}"]
        nodes.append(helper.make_node(cell, names, outputs, name=f"/cell{k + 1}/{cell}", **own | attrs))
        if not last:
            nodes.append(helper.make_node("Squeeze", [f"states{k}", "two" if first else "one"], [f"rows{k}"]))
            at = f"rows{k}"
        read = n
    width = n if form in ("last", "row") else n * sizes.steps
    if form == "last":
        nodes.append(helper.make_node("Squeeze", [f"state{layers - 1}", "zero"], ["flat"]))
    else:
        order = [0, 1, 2] if first else [1, 0, 2]
        nodes.append(helper.make_node("Transpose", [at], ["back"], perm=order))
        picked = helper.make_node("Gather", ["back", "at"], ["flat"], axis=1)
        nodes.append(picked if form == "row" else helper.make_node("Flatten", ["back"], ["flat"]))
    constants["fc.weight"] = rng.normal(0, 2 / np.sqrt(width), (sizes.classes, width))
    constants["fc.bias"] = rng.normal(0, 0.1, sizes.classes)
    gemm = helper.make_node("Gemm", ["flat", "fc.weight", "fc.bias"], ["scores"], "/fc/Gemm", transB=1)
    shapes = {"x": ["batch", sizes.steps, sizes.inputs], "scores": ["batch", sizes.classes]}
    x, y = (helper.make_tensor_value_info(k, TensorProto.FLOAT, v) for k, v in shapes.items())
    tensors = [
        numpy_helper.from_array(v.astype(np.float32) if v.dtype.kind == "f" else v, k)
        for k, v in constants.items()
    ]
    graph = helper.make_graph([*nodes, gemm], "net", [x], [y], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def windows(n: int, sizes: Sizes = USUAL, seed: int = 1) -> np.ndarray:
    """Random walks, [n, steps, inputs]."""
    steps = np.random.default_rng(seed).normal(0, 0.5, (n, sizes.steps, sizes.inputs))
    return np.cumsum(steps, axis=1).astype(np.float32)


PULSES = Sizes(20, 2, 24)


def pulses(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise of two channels with a pulse in either half; the class says in which channel each was."""
    rng = np.random.default_rng(seed)
    label, x = rng.integers(0, 4, n), rng.normal(0, 0.25, (n, PULSES.steps, PULSES.inputs))
    for i, early, late in zip(range(n), rng.integers(1, 8, n), rng.integers(10, 17, n), strict=True):
        x[i, early, label[i] & 1] += 2.0
        x[i, late, label[i] >> 1] += 2.0
    return x.astype(np.float32), label
