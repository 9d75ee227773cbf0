"""Quantised files that compute in float32 in between: taken as the float networks that they stand for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from float_graph import run_graph
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from synapcc.gen.errors import CompileError
from synapcc.gen.importers import load_model

STEP = 0.05


def _file(
    path: Path, end: int, island: str = "BatchNormalization", integers: bool = False, moved: bool = False
) -> Path:
    """x -> Q DQ -> Gemm -> Q DQ, its zero point in place of a ReLU -> an operator in float32 -> Gemm.

    moved: what is quantised behind Gemm is taken in another order first
    """
    rng = np.random.default_rng(3)
    constants = {
        "s": np.float32(STEP),
        "z": np.int8(0),
        "end": np.int8(end),
        "w": rng.integers(-127, 128, (8, 6)).astype(np.int8),
        "ws": np.float32(0.01),
        "b": rng.normal(0, 1, 8).astype(np.float32),
        "h": rng.normal(0, 1, (3, 8)).astype(np.float32),
        "ones": np.ones(8, np.float32),
        "mean": rng.normal(0, 1, 8).astype(np.float32),
        "order": np.arange(8)[::-1],
        "var": rng.uniform(0.5, 2, 8).astype(np.float32),
    }
    node = helper.make_node
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        node("DequantizeLinear", ["xq", "s", "z"], ["xr"]),
        node("DequantizeLinear", ["w", "ws", "z"], ["wr"]),
        node("Gemm", ["xr", "wr", "b"], ["g"], transB=1),
        node("Gather", ["g", "order"], ["y"], axis=1) if moved else node("Identity", ["g"], ["y"]),
        node("QuantizeLinear", ["y", "s", "end"], ["yq"]),
        node("DequantizeLinear", ["yq", "s", "end"], ["yr"]),
        node(island, ["yr", "ones", "b", "mean", "var"] if "Norm" in island else ["yr"], ["n"]),
        node("Relu", ["n"], ["r"]),
        node("Gemm", ["r", "h"], ["out"], transB=1),
    ]
    if integers:
        nodes = nodes[1:]
        nodes[0].input[0] = "x"
    floats, taken = TensorProto.FLOAT, TensorProto.INT8 if integers else TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", taken, [None, 6])],
        [helper.make_tensor_value_info("out", floats, [None, 3])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    return path


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("end", [-128, 0])
def test_it_is_the_network_that_the_integers_stand_for(end: int, moved: bool, tmp_path: Path) -> None:
    path = _file(tmp_path / "net.onnx", end, moved=moved)
    graph = load_model(path)
    assert all(t.format is None for t in graph.tensors.values())
    assert any("quantised again, by synapcc" in n and "BatchNormalization" in n for n in graph.notes)
    machine = ReferenceEvaluator(str(path))
    x = np.random.default_rng(1).normal(0, 1, (200, 6)).astype(np.float32)
    (want,) = machine.run(None, {"x": x})
    got = np.array([run_graph(graph, {graph.inputs[0]: v}).ravel() for v in x])
    cut = x.copy()
    assert np.mean((got - want) ** 2) < 0.02 * np.mean(want**2)  # what rounding to STEP leaves
    if end == -128:  # without the ReLU that the zero point stands for it would be another function
        assert np.mean((got - run_without(path, cut)) ** 2) > 0.1 * np.mean(want**2)


def run_without(path: Path, x: np.ndarray) -> np.ndarray:
    """The network without its quantisers."""
    model = onnx.load(path)
    for n in model.graph.node:
        if n.op_type in ("QuantizeLinear", "DequantizeLinear") and n.input[0] != "w":
            n.op_type, n.input[:] = "Identity", [n.input[0]]
    return np.asarray(ReferenceEvaluator(model).run(None, {"x": x})[0])


def test_what_is_refused_in_float_too_stays_refused(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="operator Det is not supported"):
        load_model(_file(tmp_path / "net.onnx", 0, "Det"))


def test_integers_that_come_in_stay_the_file_s(tmp_path: Path) -> None:
    """So nothing can be computed in float32 behind them."""
    with pytest.raises(CompileError, match="BatchNormalization"):
        load_model(_file(tmp_path / "net.onnx", 0, integers=True))
