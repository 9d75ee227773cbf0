"""Functions that an int8 .tflite file computes in float32, between DEQUANTIZE and QUANTIZE: each of the 256
outputs is LiteRT's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lite import Author, answers, compiled, oracle
from numpy.typing import NDArray

from synapcc.gen.errors import CompileError
from synapcc.gen.spec import RuleSpec

CASES = 15
EVERY = np.arange(-128, 128).astype(np.int8)[None]
UNREFERENCED = ("CEIL", "ELU", "ROUND")
"""LiteRT has them, its set of reference kernels has not. Its other QUANTIZE rounds ties to even."""
NOT_NEGATIVE = ("LOG", "RSQRT", "SQRT")
FILES: list[tuple[str, str, dict[str, Any]]] = [
    ("ABS", "AbsOptions", {}),
    ("CEIL", "", {}),
    ("COS", "CosOptions", {}),
    ("ELU", "", {}),
    ("EXP", "ExpOptions", {}),
    ("FLOOR", "", {}),
    ("GELU", "GeluOptions", {"approximate": False}),
    ("GELU", "GeluOptions", {"approximate": True}),
    ("HARD_SWISH", "HardSwishOptions", {}),
    ("LEAKY_RELU", "LeakyReluOptions", {"alpha": 0.3}),
    ("LOG", "", {}),
    ("LOGISTIC", "", {}),
    ("NEG", "NegOptions", {}),
    ("POW", "PowOptions", {}),
    ("PRELU", "", {}),
    ("QUANTIZE", "", {}),
    ("RELU", "", {}),
    ("RELU6", "", {}),
    ("RELU_0_TO_1", "", {}),
    ("RELU_N1_TO_1", "", {}),
    ("ROUND", "", {}),
    ("RSQRT", "", {}),
    ("SIGN", "SignOptions", {}),
    ("SIN", "", {}),
    ("SQRT", "", {}),
    ("SQUARE", "SquareOptions", {}),
    ("TANH", "", {}),
]


def pair(rng: np.random.Generator) -> tuple[float, int]:
    """A scale, often a power of two, for which ties are common, and a zero point."""
    log = rng.uniform(-8, 0)
    scale = float(np.float32(2.0 ** (log if rng.integers(3) else round(log))))
    return scale, int(rng.choice([-128, 0, 127, rng.integers(-128, 128)]))


def quantised(values: NDArray[Any], held: tuple[float, int]) -> NDArray[Any]:
    """What QUANTIZE of LiteRT's reference kernels makes of float32 [n, size]."""
    a, shape = Author(), (1, values.shape[1])
    x, y = a.tensor("x", shape, "FLOAT32"), a.tensor("y", shape, scale=held[0], zero=held[1])
    a.op("QUANTIZE", [x], [y], "QuantizeOptions")
    return oracle(a.bytes([x], [y]), [values])


def island(
    rng: np.random.Generator, op: str, options: str, fields: dict[str, Any]
) -> tuple[bytes, NDArray[Any]]:
    """A file that has `op` alone, in float32, and what it answers to EVERY; QUANTIZE stands for none. Now and
    then views lie between."""
    a, (scale, zero) = Author(), pair(rng)
    if op in NOT_NEGATIVE or op == "POW":  # what is no number C leaves to the processor
        zero = -128
    x, real = a.tensor("x", (1, 256), scale=scale, zero=zero), a.tensor("real", (1, 256), "FLOAT32")
    a.op("DEQUANTIZE", [x], [real], "DequantizeOptions", 2)
    shape = (1, 16, 16) if rng.integers(2) else (1, 256)
    if shape != (1, 256):
        seen = a.tensor("seen", shape, "FLOAT32")
        a.op("RESHAPE", [real, a.tensor("to", (3,), "INT32", data=shape)], [seen], "ReshapeOptions")
        real = seen
    if op != "QUANTIZE":
        power, more = float(rng.choice([2, 3, 0.5])), []
        if op == "POW":
            more = [a.tensor("power", (), "FLOAT32", data=[power])]
        if op == "PRELU":
            one = (1,) * (len(shape) - 1)
            more = [a.tensor("slope", one, "FLOAT32", data=np.full(one, rng.choice([0.25, -0.3, 1.7, 0.0])))]
        made = a.tensor("made", shape, "FLOAT32")
        a.op(op, [real, *more], [made], options, 1, **fields)
        real = made
    out, zero = pair(rng)
    zero = max(zero, 0) if op in NOT_NEGATIVE else zero
    out = out * 2 if op == "QUANTIZE" and (out, zero) == (scale, zero) else out
    y = a.tensor("y", shape, scale=out, zero=zero)
    between = a.bytes([x], [real])
    a.op("QUANTIZE", [real], [y], "QuantizeOptions")
    data, reals = a.bytes([x], [y]), oracle(between, [EVERY], reference=op not in UNREFERENCED)
    expected = quantised(reals, (out, zero)) if op in UNREFERENCED else oracle(data, [EVERY])
    beyond = np.abs(reals / np.float32(out)) >= 2.0**31  # there C leaves it to the processor
    return data, np.where(beyond, np.where(reals > 0, 127, -128), expected)


@pytest.mark.parametrize("op, options, fields", FILES)
def test_every_entry_is_litert_s(op: str, options: str, fields: dict[str, Any], tmp_path: Path) -> None:
    rng, seen = np.random.default_rng(sum(map(ord, op))), 0
    for _ in range(CASES):
        data, expected = island(rng, op, options, fields)
        c = compiled(data, tmp_path)
        assert np.array_equal(answers(c, [EVERY]), expected), c.graph.tensors
        seen += len(np.unique(expected))
    assert seen > CASES * (1 if op == "SIGN" else 4)  # outputs that say something, not only limits


def network(function: str, both: bool = False) -> tuple[bytes, tuple[int, ...]]:
    """Two layers of an int8 file with a function in float32 between them; `both`: two functions."""
    rng, a = np.random.default_rng(1), Author()
    x = a.tensor("x", (1, 12), scale=0.05, zero=3)
    weights = [
        a.tensor(f"w{i}", s, scale=0.01, data=rng.integers(-127, 128, s))
        for i, s in enumerate([(9, 12), (4, 9)])
    ]
    h, held = a.tensor("h", (1, 9), scale=0.06, zero=-7), a.tensor("held", (1, 9), scale=0.03, zero=-60)
    real, made = a.tensor("real", (1, 9), "FLOAT32"), a.tensor("made", (1, 9), "FLOAT32")
    a.op("FULLY_CONNECTED", [x, weights[0]], [h], "FullyConnectedOptions", 4)
    a.op("DEQUANTIZE", [h], [real], "DequantizeOptions", 2)
    a.op(function, [real], [made])
    if both:
        again = a.tensor("again", (1, 9), "FLOAT32")
        a.op("FLOOR", [made], [again])
        made = again
    a.op("QUANTIZE", [made], [held], "QuantizeOptions")
    y = a.tensor("y", (1, 4), scale=0.1, zero=0)
    a.op("FULLY_CONNECTED", [held, weights[1]], [y], "FullyConnectedOptions", 4)
    return a.bytes([x], [y]), (12,)


def test_inside_a_network(tmp_path: Path) -> None:
    data, shape = network("SIN")
    x = np.random.default_rng(2).integers(-128, 128, (50, *shape)).astype(np.int8)
    expected = oracle(data, [x])
    assert np.array_equal(answers(compiled(data, tmp_path), [x]), expected) and len(np.unique(expected)) > 50


def test_a_signal_passes_it(tmp_path: Path) -> None:
    data, _ = network("SIN")
    c = compiled(data, tmp_path, RuleSpec("bp"))
    assert "table.feedback" in {s.kernel for _, _, s in c.plan.ops()}


def test_two_functions_in_float_are_one_table(tmp_path: Path) -> None:
    data, shape = network("SIN", both=True)
    x = np.random.default_rng(2).integers(-128, 128, (50, *shape)).astype(np.int8)
    c, expected = compiled(data, tmp_path), oracle(data, [x])
    assert np.array_equal(answers(c, [x]), expected) and len(np.unique(expected)) > 20
    kernels = [s.kernel for _, _, s in c.plan.ops()]
    assert kernels.count("lookup.forward") == 1 and "table.forward" not in kernels


def test_a_slope_for_each_value_in_float_is_refused(tmp_path: Path) -> None:
    a, shape = Author(), (1, 6)
    x, y = (a.tensor(name, shape, scale=0.1, zero=0) for name in ("x", "y"))
    real, made = (a.tensor(name, shape, "FLOAT32") for name in ("real", "made"))
    a.op("DEQUANTIZE", [x], [real], "DequantizeOptions", 2)
    a.op("PRELU", [real, a.tensor("slope", (6,), "FLOAT32", data=np.arange(6) / 8)], [made])
    a.op("QUANTIZE", [made], [y], "QuantizeOptions")
    with pytest.raises(CompileError, match=r"PRELU.*slope between DEQUANTIZE.*one float32 is supported"):
        compiled(a.bytes([x], [y]), tmp_path)
