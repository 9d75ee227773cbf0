"""Learning below operators of an int8 .tflite file that stay in the file's integers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from ctools import UNDEFINED, HostBatch
from lite import Author, compiled
from play import play

from synapcc.gen.compile import Compiled
from synapcc.gen.errors import CompileError
from synapcc.gen.exporters.onnx import export
from synapcc.gen.spec import RuleSpec
from synapcc.host.run.emulator import Emulator

Rng = np.random.Generator
Shape = tuple[int, ...]


def learning(rng: Rng, make: Between) -> bytes:
    """A convolution, an operator of int8, and a layer that scores three classes."""
    a, (h, w, c) = Author(), (4, 5, 6)
    held, calm = {"scale": 0.05, "zero": -3}, {"scale": 0.04, "zero": 11}
    x = a.tensor("x", (1, h, w, 2), scale=0.03, zero=5)
    kernel = a.tensor("kernel", (c, 1, 1, 2), scale=0.02, data=rng.integers(-127, 128, (c, 1, 1, 2)))
    bias = a.tensor("bias", (c,), "INT32", scale=0.0006, data=rng.integers(-900, 900, c))
    y = a.tensor("conv", (1, h, w, c), **held)
    a.op("CONV_2D", [x, kernel, bias], [y], "Conv2DOptions", 3, strideH=1, strideW=1)
    y = make(rng, a, y, (h, w, c), held, calm, x)
    n = int(np.prod(a.graph.tensors[y].shape))
    last = a.tensor("last", (3, n), scale=0.02, data=rng.integers(-127, 128, (3, n)))
    z = a.tensor("z", (1, 3), scale=0.2)
    a.op("FULLY_CONNECTED", [y, last], [z], "FullyConnectedOptions", 4)
    return a.bytes([x], [z])


Between = Callable[[Rng, Author, int, Shape, dict[str, Any], dict[str, Any], int], int]


def _between(op: str, options: str, other: str = "", **fields: Any) -> Between:
    """The operator on the map, alone, with itself, with a constant, or with the mean of the input."""

    def write(
        rng: Rng, a: Author, h: int, size: Shape, held: dict[str, Any], calm: dict[str, Any], x: int
    ) -> int:
        y = a.tensor("y", (1, *size), **calm)
        constant = a.tensor("c", (size[-1],), data=rng.integers(-128, 128, size[-1]), scale=0.03, zero=9)
        gate = a.tensor("gate", (1, 1, 1, 1), scale=0.01, zero=-20)
        if other == "gate":
            axes = a.tensor("axes", (3,), "INT32", data=[1, 2, 3])
            a.op("MEAN", [x, axes], [gate], "ReducerOptions", 2, keepDims=True)
        operands = {"self": [h, h], "constant": [h, constant], "first": [constant, h], "gate": [gate, h]}
        a.op(op, operands[other], [y], options, 2, **fields)
        return y

    return write


def _averaged(
    rng: Rng, a: Author, h: int, size: Shape, held: dict[str, Any], calm: dict[str, Any], x: int
) -> int:
    y = a.tensor("pooled", (1, size[0], size[1], size[2]), **held)
    window = {"strideH": 1, "strideW": 1, "filterHeight": 3, "filterWidth": 2}
    a.op("AVERAGE_POOL_2D", [h], [y], "Pool2DOptions", 2, padding=0, **window)
    axes, out = a.tensor("axes", (1,), "INT32", data=[1]), a.tensor("mean", (1, *size[1:]), **calm)
    a.op("MEAN", [y, axes], [out], "ReducerOptions", 2)
    return out


def _moved(
    rng: Rng, a: Author, h: int, size: Shape, held: dict[str, Any], calm: dict[str, Any], x: int
) -> int:
    """Padding, places that are read twice, an order of axes, two tensors joined."""
    pads = a.tensor("pads", (4, 2), "INT32", data=[[0, 0], [0, 1], [2, 0], [0, 0]])
    y = a.tensor("padded", (1, size[0] + 1, size[1] + 2, size[2]), **held)
    a.op("PAD", [h, pads], [y], "PadOptions", 2)
    places = a.tensor("places", (5,), "INT32", data=[3, 1, 1, 0, 1])
    taken = a.tensor("taken", (1, 5, size[1] + 2, size[2]), **held)
    a.op("GATHER", [y, places], [taken], "GatherOptions", 2, axis=1)
    turned = a.tensor("turned", (1, size[2], 5, size[1] + 2), **held)
    order = a.tensor("order", (4,), "INT32", data=[0, 3, 1, 2])
    a.op("TRANSPOSE", [taken, order], [turned], "TransposeOptions", 2)
    out = a.tensor("joined", (1, 2 * size[2], 5, size[1] + 2), **held)
    a.op("CONCATENATION", [turned, turned], [out], "ConcatenationOptions", 2, axis=1)
    return out


def _beside(
    rng: Rng, a: Author, h: int, size: Shape, held: dict[str, Any], calm: dict[str, Any], x: int
) -> int:
    """A row of constants in front, as of a class token: no signal passes them."""
    row = (1, 1, *size[1:])
    token = a.tensor("token", row, **held, data=rng.integers(-128, 128, row))
    y = a.tensor("beside", (1, size[0] + 1, *size[1:]), **held)
    a.op("CONCATENATION", [token, h], [y], "ConcatenationOptions", 2, axis=1)
    return y


def _matrices(
    rng: Rng, a: Author, h: int, size: Shape, held: dict[str, Any], calm: dict[str, Any], x: int
) -> int:
    """Each row of the map, [columns, channels], times itself turned."""
    y = a.tensor("products", (1, size[0], size[1], size[1]), scale=0.4, zero=-5)
    a.op("BATCH_MATMUL", [h, h], [y], "BatchMatMulOptions", 4, adjX=False, adjY=True)
    return y


def _enlarged(
    rng: Rng, a: Author, h: int, size: Shape, held: dict[str, Any], calm: dict[str, Any], x: int
) -> int:
    """A transposed convolution, which learns as well, and a part of what it gives."""
    kernel = a.tensor(
        "turned", (3, 3, 3, size[2]), scale=0.01, data=rng.integers(-127, 128, (3, 3, 3, size[2]))
    )
    out = (1, 2 * size[0], 2 * size[1], 3)
    to, y = a.tensor("to", (4,), "INT32", data=out), a.tensor("larger", out, **calm)
    a.op("TRANSPOSE_CONV", [to, kernel, h], [y], "TransposeConvOptions", 2, padding=0, strideH=2, strideW=2)
    ends = [a.tensor(n, (4,), "INT32", data=v) for n, v in (("begin", [0, 2, 1, 0]), ("size", [1, 5, 7, 3]))]
    part = a.tensor("part", (1, 5, 7, 3), **calm)
    a.op("SLICE", [y, *ends], [part], "SliceOptions", 2)
    return part


def _gated(op: str, *over: int) -> Between:
    """The map, and its own mean over these axes, which is stretched."""

    def write(
        rng: Rng, a: Author, h: int, size: Shape, held: dict[str, Any], calm: dict[str, Any], x: int
    ) -> int:
        summed = over or (1, 2)
        axes = a.tensor("axes", (len(summed),), "INT32", data=summed)
        shape = [1 if i + 1 in summed else n for i, n in enumerate(size)]
        gate, y = a.tensor("gate", (1, *shape), scale=0.02, zero=-7), a.tensor("y", (1, *size), **calm)
        a.op("MEAN", [h, axes], [gate], "ReducerOptions", 2, keepDims=True)
        a.op(op, [h, gate], [y], f"{op.capitalize()}Options", 2)
        return y

    return write


def _resized(
    rng: Rng, a: Author, h: int, size: Shape, held: dict[str, Any], calm: dict[str, Any], x: int
) -> int:
    """A larger map, and the sums of its rows."""
    y = a.tensor("larger", (1, 7, 8, size[2]), **held)
    a.op("RESIZE_BILINEAR", [h, a.tensor("to", (2,), "INT32", data=[7, 8])], [y], "ResizeBilinearOptions", 3)
    total, axes = a.tensor("total", (1, 7, size[2]), scale=0.2), a.tensor("axes", (1,), "INT32", data=[2])
    a.op("SUM", [y, axes], [total], "ReducerOptions", 2)
    return total


def _extremes(
    rng: Rng, a: Author, h: int, size: Shape, held: dict[str, Any], calm: dict[str, Any], x: int
) -> int:
    """A function in float32, and the smaller of it and the map."""
    real, made = (a.tensor(name, (1, *size), "FLOAT32") for name in ("real", "made"))
    y, smaller = a.tensor("y", (1, *size), **held), a.tensor("smaller", (1, *size), **held)
    a.op("DEQUANTIZE", [h], [real], "DequantizeOptions", 2)
    a.op("SIN", [real], [made])
    a.op("QUANTIZE", [made], [y], "QuantizeOptions")
    a.op("MINIMUM", [y, h], [smaller], "MaximumMinimumOptions", 2)
    return smaller


def _squares(
    rng: Rng, a: Author, h: int, size: Shape, held: dict[str, Any], calm: dict[str, Any], x: int
) -> int:
    mean, y = a.tensor("mean", (1, 1, 1, size[2]), **held), a.tensor("y", (1, *size), scale=0.2, zero=-128)
    axes = a.tensor("axes", (2,), "INT32", data=[1, 2])
    a.op("MEAN", [h, axes], [mean], "ReducerOptions", 2, keepDims=True)
    a.op("SQUARED_DIFFERENCE", [h, mean], [y], "SquaredDifferenceOptions", 2)
    return y


BETWEEN: dict[str, Between] = {
    "matrices": _matrices,
    "enlarged": _enlarged,
    "sum": _between("ADD", "AddOptions", "self"),
    "difference": _between("SUB", "SubOptions", "first", fusedActivationFunction=3),
    "sum with a constant": _between("ADD", "AddOptions", "constant"),
    "square": _between("MUL", "MulOptions", "self"),
    "product with a constant": _between("MUL", "MulOptions", "constant", fusedActivationFunction=1),
    "gate": _between("MUL", "MulOptions", "gate"),
    "gate of channels": _gated("MUL"),
    "gate of places": _gated("MUL", 3),
    "shifted channels": _gated("ADD"),
    "less its mean": _gated("SUB", 1, 2, 3),
    "means": _averaged,
    "moves": _moved,
    "resized": _resized,
    "extremes": _extremes,
    "class token": _beside,
}


@pytest.fixture(scope="module")
def learners(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Compiled]:
    folder, rng = tmp_path_factory.mktemp("learners"), np.random.default_rng(5)
    rule = RuleSpec("bp", layers="all", rate=4)
    return {
        make: compiled(learning(rng, between), folder, rule, samples=64) for make, between in BETWEEN.items()
    }


def test_the_float_network_goes_out_valid(learners: dict[str, Compiled]) -> None:
    for make, c in learners.items():
        model = onnx.load_from_string(export(c.graph))
        onnx.checker.check_model(model, full_check=True)
        made = [name for node in model.graph.node for name in node.output]
        assert len(made) == len(set(made)), make


def test_a_layer_learns_beside_a_constant_in_float(tmp_path: Path) -> None:
    rng, a = np.random.default_rng(6), Author()
    x, h, y, z = (
        a.tensor(n, s, "FLOAT32") for n, s in zip("xhyz", ((1, 4), (1, 5), (1, 7), (1, 3)), strict=True)
    )
    first, last, token = (
        a.tensor(n, s, "FLOAT32", data=rng.normal(0, 0.5, s))
        for n, s in (("first", (5, 4)), ("last", (3, 7)), ("token", (1, 2)))
    )
    a.op("FULLY_CONNECTED", [x, first], [h], "FullyConnectedOptions")
    a.op("CONCATENATION", [token, h], [y], "ConcatenationOptions", axis=1)
    a.op("FULLY_CONNECTED", [y, last], [z], "FullyConnectedOptions")
    c = compiled(a.bytes([x], [z]), tmp_path, RuleSpec("bp", layers="all", rate=4), samples=64)
    machine = Emulator(c.plan)
    before, label = machine["h_weight"].copy(), np.array([2])
    given = {"x": rng.normal(0, 1, (1, 4)).astype(np.float32)}
    for _ in range(40):
        machine.learn(given, label)
    assert machine.infer(given).winner[0] == 2 and np.any(machine["h_weight"] != before)


@pytest.mark.parametrize("rule", ["bp", "dfa"])
def test_no_signal_passes_a_squared_difference(rule: str, tmp_path: Path) -> None:
    """Nor does what is proposed then meet the same refusal."""
    with pytest.raises(CompileError, match="no teaching signal passes a squared difference") as caught:
        compiled(learning(np.random.default_rng(6), _squares), tmp_path, RuleSpec(rule, layers="all"))
    assert caught.value.hint == "let only layers behind it learn"


def test_signals_pass_through_what_is_frozen(learners: dict[str, Compiled], tmp_path: Path) -> None:
    """In emitted C as in the emulator; and the layer below learns what lowers the loss."""
    plans = [replace(c.plan, model=f"net{i}") for i, c in enumerate(learners.values())]
    batch = HostBatch(plans, tmp_path, "-O0", *UNDEFINED)
    try:
        for i in range(len(plans)):
            assert play(batch, i, i) > 5
    finally:
        batch.close()


@pytest.mark.parametrize("make", BETWEEN)
def test_what_lies_below_learns(learners: dict[str, Compiled], make: str) -> None:
    """One sample again and again: its class wins, and the lower layer has changed."""
    plan, rng = learners[make].plan, np.random.default_rng(3)
    machine = Emulator(plan, 3)
    x = {"x": np.repeat(rng.integers(-128, 128, (1, plan["x"].shape[0])), 3, axis=0).astype(np.int8)}
    before = machine["kernel_weight"].copy()
    first = int(machine.infer(x).winner[0])
    for _ in range(40):
        machine.learn(x, np.arange(3))
    after = machine.infer(x)
    assert after.winner.tolist() == [0, 1, 2]
    others = [k for k in range(3) if k != first]  # what wins already may have nothing to learn
    assert all(np.any(machine["kernel_weight"][k] != before[k]) for k in others)
