"""Functions of each value in int8 .tflite files: all 256 outputs are those of LiteRT's reference kernels."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from counts import counted
from lite import Author, answers, compiled, oracle

from synapcc.gen.errors import CompileError

EVERY = np.arange(-128, 128).astype(np.int8)[None]
FIXED = {"LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0)}
ROOTS = ("SQRT", "RSQRT")  # LiteRT refuses negative numbers
FILES = [
    ("ABS", "AbsOptions", {}),
    ("EXP", "ExpOptions", {}),
    ("GELU", "GeluOptions", {"approximate": True}),
    ("GELU", "GeluOptions", {"approximate": False}),
    ("HARD_SWISH", "HardSwishOptions", {}),
    ("LEAKY_RELU", "LeakyReluOptions", {"alpha": None}),
    ("LOG", "", {}),
    ("LOGISTIC", "", {}),
    ("NEG", "NegOptions", {}),
    ("QUANTIZE", "QuantizeOptions", {}),
    ("RELU", "", {}),
    ("RELU6", "", {}),
    ("RELU_0_TO_1", "", {}),
    ("RELU_N1_TO_1", "", {}),
    ("RSQRT", "", {}),
    ("SQRT", "", {}),
    ("TANH", "", {}),
]
VERSIONS = {"LEAKY_RELU": 2, "QUANTIZE": 2, "RSQRT": 2, "RELU": 2, "RELU6": 2, "TANH": 2, "LOGISTIC": 2}


def _scale(rng: np.random.Generator) -> np.float32:
    """Of any size, or a power of two: then ties are common."""
    scale = np.float32(2.0 ** rng.uniform(-8, 0))
    return scale if rng.integers(3) else np.float32(np.exp2(np.rint(np.log2(scale))))


def _zero(rng: np.random.Generator) -> int:
    return int(rng.choice([-128, 0, 127, rng.integers(-128, 128)]))


def _alone(op: str, options: str, fields: dict[str, Any], rng: np.random.Generator) -> bytes:
    a, x_scale = Author(), _scale(rng)
    y_scale = x_scale if not rng.integers(4) else _scale(rng)
    if op == "HARD_SWISH":  # LiteRT refuses outputs finer than 1/128 of the input
        y_scale = max(y_scale, x_scale / 64)
    x = a.tensor("x", (1, 256), scale=x_scale, zero=-128 if op in ROOTS else _zero(rng))
    scale, zero = FIXED.get(op, (y_scale, _zero(rng)))
    if op == "QUANTIZE" and scale == x_scale:
        scale = np.float32(2.0) * x_scale  # else it might do nothing, and a network of nothing is refused
    y = a.tensor("y", (1, 256), scale=scale, zero=zero)
    if "alpha" in fields:
        fields = {
            "alpha": float(rng.choice([0, 1e-30, 1, 0.25, -0.5, rng.uniform(0, 1), rng.uniform(-3, 3)]))
        }
    a.op(op, [x], [y], options, VERSIONS.get(op, 1), **fields)
    return a.bytes([x], [y])


@counted(80, 200)
@pytest.mark.parametrize("op, options, fields", FILES)
def test_every_entry_is_litert_s(
    op: str, options: str, fields: dict[str, Any], count: int, tmp_path: Path
) -> None:
    rng = np.random.default_rng(len(op))
    seen = 0
    for _ in range(count):
        data = _alone(op, options, fields, rng)
        expected = oracle(data, [EVERY])
        c = compiled(data, tmp_path)
        assert np.array_equal(answers(c, [EVERY]), expected), c.graph.tensors
        seen += len(np.unique(expected))
    assert seen > count * 5  # outputs that say something, not only limits


@pytest.mark.parametrize(
    "op, options, fields, y, told",
    [
        ("LOGISTIC", "", {}, (0.1, 0), "LiteRT demands scale 0.00390625, zero point -128"),
        ("SOFTMAX", "SoftmaxOptions", {"beta": 1.0}, (0.1, 0), "LiteRT demands scale 0.00390625"),
        ("SOFTMAX", "SoftmaxOptions", {"beta": float("nan")}, (1 / 256, -128), "beta is nan"),
        ("SOFTMAX", "SoftmaxOptions", {"beta": 0.0}, (1 / 256, -128), "beta is 0.0"),
        ("LEAKY_RELU", "LeakyReluOptions", {"alpha": float("inf")}, (0.1, 0), "alpha = inf"),
        ("HARD_SWISH", "HardSwishOptions", {}, (0.0001, 0), "below 1/128 of its input scale"),
        ("ELU", "", {}, (0.1, 0), "is not supported"),
        ("ABS", "AbsOptions", {}, (1e-9, 0), "requantising shift"),
    ],
)
def test_what_litert_would_refuse_is_refused(
    op: str, options: str, fields: dict[str, float], y: tuple[float, int], told: str, tmp_path: Path
) -> None:
    a = Author()
    x, out = a.tensor("x", (1, 6), scale=0.1), a.tensor("y", (1, 6), scale=y[0], zero=y[1])
    a.op(op, [x], [out], options, 2, **fields)
    with pytest.raises(CompileError, match=re.escape(told)):
        compiled(a.bytes([x], [out]), tmp_path)
