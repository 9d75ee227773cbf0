"""The 256 entries of a function that a file has in float32 between DEQUANTIZE and QUANTIZE of int8 tensors.

`even` has those of an .onnx file, `entries` those of a .tflite file. There each step is LiteRT's in float32:
the product with the scale, the function, the division by the other scale. What needs an exponential or a sine
is computed in float64 and rounded once. LiteRT's own library may be some units in the last place of a float32
off, which no entry shows unless it lies on a tie (measured: tests/gen/importers/test_tflite_islands.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from ..ir.format import Format, Scaled
from ..ir.quantiser import AffineQuantiser
from ._litert import FIRST, LAST

Single = NDArray[np.float32]
Wide = NDArray[np.float64]

_single = np.float32
_erf = np.vectorize(math.erf, otypes=[np.float64])


def _rounded(function: Callable[[Wide], Wide]) -> Callable[[Single, float], Single]:
    """A function in float64, rounded once."""
    return lambda x, alpha: function(x.astype(np.float64)).astype(_single)


def _gelu(x: Wide) -> Wide:
    y: Wide = 0.5 * x * (1.0 + _erf(x * math.sqrt(0.5)))
    return y


def _gelu_tanh(x: Wide) -> Wide:
    y: Wide = 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))
    return y


def _sigmoid(x: Single, alpha: float) -> Single:
    y: Single = _single(1) / (_single(1) + np.exp(-x.astype(np.float64)).astype(_single))
    return y


def _hardswish(x: Single, alpha: float) -> Single:
    return np.asarray(x * np.clip(x + _single(3), _single(0), _single(6)) / _single(6), _single)


def _elu(x: Wide) -> Wide:
    return np.where(x < 0, np.expm1(np.minimum(x, 0)), x)


def _inverse_root(x: Single, alpha: float) -> Single:
    return np.asarray(_single(1) / np.sqrt(x), _single)


def _power(x: Single, alpha: float) -> Single:
    return np.asarray(x * x if alpha == 2 else np.power(x.astype(np.float64), alpha), _single)


FUNCTIONS: Mapping[str, Callable[[Single, float], Single]] = {
    "abs": lambda x, alpha: np.abs(x),
    "ceil": lambda x, alpha: np.ceil(x),
    "cos": _rounded(np.cos),
    "elu": _rounded(_elu),
    "exp": _rounded(np.exp),
    "floor": lambda x, alpha: np.floor(x),
    "gelu": _rounded(_gelu),
    "gelu_tanh": _rounded(_gelu_tanh),
    "hardswish": _hardswish,
    "identity": lambda x, alpha: x,
    "leaky_relu": lambda x, alpha: np.where(x > 0, x, x * _single(alpha)),
    "log": _rounded(np.log),
    "neg": lambda x, alpha: -x,
    "power": _power,
    "round": lambda x, alpha: np.rint(x),
    "rsqrt": _inverse_root,
    "sigmoid": _sigmoid,
    "sign": lambda x, alpha: np.sign(x),
    "sin": _rounded(np.sin),
    "sqrt": lambda x, alpha: np.sqrt(x),
    "tanh": _rounded(np.tanh),
}
"""By the names of gen/ops/table.py: of float32 x."""


def entries(fn: str, alpha: float, x: Scaled, y: Format, where: str) -> NDArray[np.int64]:
    """[256], the output for each input -128 .. 127, within the limits of y; what is no number is the lowest.

    CompileError, naming `where`, for a function that is none of these.
    """
    if fn not in FUNCTIONS:
        known = ", ".join(sorted(FUNCTIONS))
        raise CompileError(where, f"{fn} is no function between two int8 tensors", f"there are {known}")
    steps = y.meaning
    assert isinstance(steps, Scaled)
    whole = np.arange(FIRST, LAST + 1) - x.zero[0]
    with np.errstate(all="ignore"):
        real = FUNCTIONS[fn](whole.astype(_single) * _single(x.scale[0]), alpha)
    units = AffineQuantiser(steps.scale[0], steps.zero[0]).units(real)
    found = np.where(np.isnan(real), y.lo, np.clip(units, y.lo, y.hi))
    return found.astype(np.int64)


def even(
    value: Callable[..., NDArray[Any]], parameters: tuple[float, float], x: Scaled, y: Format
) -> NDArray[np.int64]:
    """The entries as ONNX's DequantizeLinear, the function and QuantizeLinear give them in float32: to the
    nearest step, ties to even; what is no number is the lowest."""
    steps = y.meaning
    assert isinstance(steps, Scaled)
    real = (np.arange(FIRST, LAST + 1) - x.zero[0]).astype(_single) * _single(x.scale[0])
    found = value(real, *(float(_single(v)) for v in parameters)).astype(_single)
    with np.errstate(all="ignore"):
        nearest = np.rint(found / _single(steps.scale[0])).astype(np.float64) + steps.zero[0]
    held: NDArray[np.int64] = np.clip(np.nan_to_num(nearest, nan=y.lo), y.lo, y.hi).astype(np.int64)
    return held
