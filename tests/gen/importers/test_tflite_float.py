"""float32 .tflite files: what the graph computes is what LiteRT computes, to float32's precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ctools import UNDEFINED, HostBatch
from float_graph import run_graph
from lite import Author, compiled, oracle
from lite_float import network
from numpy.typing import NDArray
from play import play

from synapcc.gen.importers import load_model
from synapcc.gen.importers.tflite.operators import FLOAT_ROWS, TFLITE_OPERATORS
from synapcc.gen.spec import RuleSpec
from synapcc.host.run.emulator import Emulator

NETWORKS, SAMPLES = 240, 2
Real = NDArray[np.float64]


ALONE = {
    "CEIL": "",
    "COS": "CosOptions",
    "DIV": "DivOptions",
    "FLOOR": "",
    "L2_NORMALIZATION": "L2NormOptions",
    "MAXIMUM": "MaximumMinimumOptions",
    "MINIMUM": "MaximumMinimumOptions",
    "POW": "PowOptions",
    "ROUND": "",
    "SIGN": "SignOptions",
    "SIN": "",
    "SQUARE": "SquareOptions",
    "SQUARED_DIFFERENCE": "SquaredDifferenceOptions",
}
"""By operator: its options."""
CHOICES = ("SELECT", "SELECT_V2")  # tests/gen/importers/test_tflite_composed.py


def _log_softmax(z: Real) -> Real:
    z = z - z.max()
    return z - np.log(np.sum(np.exp(z)))


def test_random_networks(tmp_path: Path) -> None:
    rng, used = np.random.default_rng(21), set[str]()
    for _ in range(NETWORKS):
        data, shape, ops = network(rng)
        (tmp_path / "net.tflite").write_bytes(data)
        graph = load_model(tmp_path / "net.tflite")
        x = rng.normal(0, 1, (SAMPLES, *shape)).astype(np.float32)
        wanted = oracle(data, [x], reference=False).astype(np.float64)
        for sample, want in zip(x, wanted, strict=True):
            got = run_graph(graph, {"x": sample})
            if ops[-1] in ("SOFTMAX", "LOG_SOFTMAX"):
                assert graph.head == "softmax"
                got, want = _log_softmax(got), np.log(want) if ops[-1] == "SOFTMAX" else want
            assert np.allclose(got, want, rtol=1e-4, atol=1e-4 * max(1.0, np.abs(want).max())), ops
        used |= {*ops}
    assert {*FLOAT_ROWS} - {*ALONE, *CHOICES} <= used <= {*FLOAT_ROWS, *TFLITE_OPERATORS}


@pytest.mark.parametrize("op", ALONE)
def test_alone(op: str, tmp_path: Path) -> None:
    """Functions that jump, and what networks have in few places, now and then with a constant."""
    rng = np.random.default_rng(len(op))
    for _ in range(4):
        a, shape = Author(), (1, 4, int(rng.integers(2, 6)))
        x = a.tensor("x", shape, "FLOAT32")
        second, out = ([], shape)
        if op == "POW":
            second = [a.tensor("power", (), "FLOAT32", data=2.0)]
        if op == "SQUARED_DIFFERENCE":
            out = (1, 4, 1) if rng.integers(2) else shape
            second = [x if rng.integers(2) else a.tensor("c", out, "FLOAT32", data=rng.normal(0, 1, out))]
        if op in ("MAXIMUM", "MINIMUM"):
            second = [a.tensor("other", shape, "FLOAT32")]
            a.op("SQUARE", [x], second, "SquareOptions")
        first = x
        if op == "DIV":  # of two activations, or a constant by one
            second = [a.tensor("other", shape, "FLOAT32")]
            a.op("EXP", [x], second, "ExpOptions")
            first = x if rng.integers(2) else a.tensor("c", (1,), "FLOAT32", data=[0.7])
        y = a.tensor("y", shape, "FLOAT32")
        a.op(op, [first, *second], [y], ALONE[op])
        data = a.bytes([x], [y])
        (tmp_path / "net.tflite").write_bytes(data)
        graph = load_model(tmp_path / "net.tflite")
        values = rng.normal(0, 1.5, (SAMPLES, *shape[1:])).astype(np.float32)
        flat = values.reshape(SAMPLES, *graph.interface[0].shape)
        got = [run_graph(graph, {"x": v}).ravel() for v in flat]
        assert np.allclose(got, oracle(data, [values], reference=False), atol=1e-5)


def _blind() -> bytes:
    """A depthwise layer whose dilation brings every tap beyond the map: it gives its bias alone."""
    a, rng = Author(), np.random.default_rng(0)
    x, weights = a.tensor("x", (1, 3, 5, 2), "FLOAT32"), []
    for name, shape in (("first", (2, 1, 1, 2)), ("blind", (1, 4, 4, 2)), ("last", (3, 30))):
        weights.append(a.tensor(f"{name}/w", shape, "FLOAT32", data=rng.normal(0, 0.5, shape)))
    biases = [a.tensor(f"b{n}", (n,), "FLOAT32", data=rng.normal(0, 0.5, n)) for n in (2, 2, 3)]
    maps = [a.tensor(f"map{i}", (1, 3, 5, 2), "FLOAT32") for i in range(2)]
    y = a.tensor("y", (1, 3), "FLOAT32")
    window = {"padding": 0, "strideH": 1, "strideW": 1, "dilationHFactor": 1}
    options = window | {"dilationWFactor": 1}
    a.op("CONV_2D", [x, weights[0], biases[0]], [maps[0]], "Conv2DOptions", 1, **options)
    options = window | {"dilationWFactor": 100, "depthMultiplier": 1}
    inputs = [maps[0], weights[1], biases[1]]
    a.op("DEPTHWISE_CONV_2D", inputs, [maps[1]], "DepthwiseConv2DOptions", 2, **options)
    a.op("FULLY_CONNECTED", [maps[1], weights[2], biases[2]], [y], "FullyConnectedOptions")
    return a.bytes([x], [y])


def test_a_layer_that_sees_nothing_learns_what_it_can(tmp_path: Path) -> None:
    data = _blind()
    x = np.random.default_rng(1).normal(0, 1, (2, 3, 5, 2)).astype(np.float32)
    assert np.ptp(oracle(data, [x], reference=False), axis=0).max() == 0
    plan = compiled(data, tmp_path, RuleSpec("bp", layers="all")).plan
    batch = HostBatch([plan], tmp_path / "c", "-O0", *UNDEFINED)
    try:
        assert play(batch, 0, 5) >= 8
    finally:
        batch.close()


def test_one_is_quantised_and_runs(tmp_path: Path) -> None:
    """The way of float ONNX from here on."""
    rng, agree = np.random.default_rng(5), 0
    for _ in range(6):
        data, shape, _ = network(rng)
        x = rng.normal(0, 1, (64, *shape)).astype(np.float32)
        c = compiled(data, tmp_path, samples=256)
        assert c.plan.quantiser("x") and not c.quantised.formats["x"].meaning.to_json().get("scale")
        got = Emulator(c.plan, len(x)).infer({"x": x}).winner
        agree += int(np.sum(got == np.argmax(oracle(data, [x], reference=False), axis=1)))
    assert agree > 0.9 * 6 * 64
