"""Operators of a TensorFlow Lite file that are a function of each value, by the names of gen/ops/table.py."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tflite.LeakyReluOptions import LeakyReluOptions

from .file import LiteOp

FUNCTIONS: dict[str, str] = {
    "ABS": "abs",
    "EXP": "exp",
    "GELU": "gelu",
    "HARD_SWISH": "hardswish",
    "LEAKY_RELU": "leaky_relu",
    "LOG": "log",
    "LOGISTIC": "sigmoid",
    "NEG": "neg",
    "RSQRT": "rsqrt",
    "SQRT": "sqrt",
    "TANH": "tanh",
}
"""By operator: the function of gen/ops/table.py."""
IN_FLOAT: dict[str, str] = {
    "CEIL": "ceil",
    "COS": "cos",
    "ELU": "elu",
    "FLOOR": "floor",
    "POW": "power",
    "ROUND": "round",
    "SIGN": "sign",
    "SIN": "sin",
    "SQUARE": "power",
}
"""Those that LiteRT's reference kernels do not have in int8; an int8 file has them between DEQUANTIZE and
QUANTIZE."""
LIMITS: Mapping[str, tuple[float, float]] = {
    "RELU": (0.0, math.inf),
    "RELU6": (0.0, 6.0),
    "RELU_0_TO_1": (0.0, 1.0),
    "RELU_N1_TO_1": (-1.0, 1.0),
}


def leak(op: LiteOp) -> float:
    """The slope of a LEAKY_RELU below 0; CompileError where it is not finite."""
    alpha = op.real(op.read(LeakyReluOptions).Alpha)
    if not math.isfinite(alpha):
        raise op.error(f"has alpha = {alpha}", "repair the file")
    return alpha
