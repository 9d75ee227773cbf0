"""The 256 entries of a function from int8 to int8, as TensorFlow Lite's reference kernels have them.

Each entry is what LiteRT 2.3.0 answers to that input (BUILTIN_REF; measured over all inputs at random scales
and zero points: tests/gen/importers/test_tflite_tables.py). Some functions LiteRT looks up itself, in entries
that it makes in float32; for others it multiplies in fixed point, rounding twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..errors import CompileError
from ..ir.format import Scaled
from ..numeric import gemmlowp
from ._shifts import requantising

Entries = NDArray[np.int64]
Real = NDArray[np.floating[Any]]
FIRST, LAST = -128, 127
FEWEST = 8  # n of a factor m / 2^n at which 9 bits times it fit 32
SCALES = "check the file's scales: quantise the model again"

_single = np.float32
_erf = np.vectorize(math.erf, otypes=[np.float64])


def scaled(d: Any, factor: float, where: str) -> Entries:
    """d * factor, rounded twice; a negative factor is the positive one's result with the other sign."""
    m, n = numeric.multiplier(abs(factor))
    if m == 0:  # so small that it takes everything to 0
        return np.zeros(np.shape(d), np.int64)
    requantising(n - FEWEST, where, SCALES, 62 - FEWEST)
    y = numeric.scale_twice(np.asarray(d, np.int32), np.asarray(m, np.int32), n).astype(np.int64)
    return y if factor >= 0 else -y


def _ratio(x: Scaled, y: Scaled, times: float = 1.0) -> float:
    """scale_x * times / scale_y in float32; infinite where that has no such number."""
    with np.errstate(over="ignore"):
        return float(_single(x.scale[0]) * _single(times) / _single(y.scale[0]))


def _requantised(d: Entries, x: Scaled, y: Scaled, alpha: float, where: str) -> Entries:
    """By the ratio in float64, as QUANTIZE takes it; alpha is 1 for RELU and its kin, whose is of float32."""
    return scaled(d, _ratio(x, y) if alpha else x.scale[0] / y.scale[0], where)


def _leaky_relu(d: Entries, x: Scaled, y: Scaled, alpha: float, where: str) -> Entries:
    return np.where(d < 0, scaled(d, _ratio(x, y, alpha), where), scaled(d, _ratio(x, y), where))


def _abs(d: Entries, x: Scaled, y: Scaled, alpha: float, where: str) -> Entries:
    return scaled(np.abs(d), _ratio(x, y), where)


def _neg(d: Entries, x: Scaled, y: Scaled, alpha: float, where: str) -> Entries:
    """Of the integers themselves, modulo 2^8: LiteRT asks for neither scale nor zero point."""
    negative = (-(d + x.zero[0])).astype(np.int8)
    return negative.astype(np.int64) - y.zero[0]


def _sqrt(d: Entries, x: Scaled, y: Scaled, alpha: float, where: str) -> Entries:
    """Cut, not rounded. Negative numbers LiteRT refuses when they come."""
    root = np.sqrt(_single(x.scale[0]) * np.maximum(d, 0).astype(_single))
    cut: Entries = np.trunc(root / _single(y.scale[0])).astype(np.int64)
    return cut


def _rsqrt(d: Entries, x: Scaled, y: Scaled, alpha: float, where: str) -> Entries:
    """The largest where x is 0; negative numbers LiteRT refuses when they come."""
    factor = _single(1) / (np.sqrt(_single(x.scale[0])) * _single(y.scale[0]))
    m, n = numeric.multiplier(float(factor))
    requantising(n - 1, where, SCALES, 41)
    found = np.full(d.shape, LAST - y.zero[0], np.int64)
    for i in np.flatnonzero(d > 0):
        root, shift = gemmlowp.inverse_root(int(d[i]))
        one = np.asarray(1, np.int32)
        fine = numeric.scale_twice(one, np.asarray(root, np.int32), shift - 20)
        found[i] = numeric.scale_twice(fine, np.asarray(m, np.int32), n + 20)
    return found


def _narrow(factor: float, where: str) -> tuple[int, int]:
    """(m, e) with factor = m / 2^15 * 2^e: a multiplier of 15 bits."""
    m, n = numeric.multiplier(factor)
    requantising(n - 1, where, SCALES, 61)
    return min((m + (1 << 15)) >> 16, 2**15 - 1), 31 - n


def _held(v: Entries) -> Entries:
    return np.clip(v, -(2**15), 2**15 - 1)


def _hardswish(d: Entries, x: Scaled, y: Scaled, alpha: float, where: str) -> Entries:
    """x relu6(x + 3) / 6 in 16 bits: x in units of scale / 128, relu6 in those of 3 / 2^15."""
    fine = _single(1 / 128) * _single(x.scale[0])
    m, e = _narrow(float(fine / _single(y.scale[0])), where)
    if e > 0:
        what = f"its output scale {y.scale[0]:.3g} is below 1/128 of its input scale {x.scale[0]:.3g}"
        raise CompileError(where, what, SCALES)
    gate_m, gate_e = _narrow(float(fine / (_single(3) / _single(2**15))), where)
    high = d * 128
    product = _held((high * m + (1 << 14)) >> 15)
    gate = _held(high << max(gate_e - 1, 0)) * gate_m + (1 << 14) >> 15
    gate = _held(gate << 1) if gate_e > 0 else gemmlowp.shift_away(gate, -gate_e).astype(np.int64)
    gate = (gate + 2**15) >> 1
    both = gate * product
    cut = np.where(both < 0, -(-both >> 15), both >> 15)
    return gemmlowp.shift_away(cut.astype(np.int32), -e).astype(np.int64)


FIXED: Mapping[str, Callable[[Entries, Scaled, Scaled, float, str], Entries]] = {
    "abs": _abs,
    "hardswish": _hardswish,
    "identity": _requantised,
    "leaky_relu": _leaky_relu,
    "neg": _neg,
    "rsqrt": _rsqrt,
    "sqrt": _sqrt,
}
"""Of x - zero_x, what is added to zero_y."""


def _logistic(x: Real) -> Real:
    """In float32 but for the exponential, which the C library rounds correctly."""
    one = _single(1)
    y: Real = one / (one + np.exp(-x).astype(_single))
    return y


def _gelu(x: Real) -> Real:
    y: Real = 0.5 * x * (1.0 + _erf(x * math.sqrt(0.5)))
    return y


def _gelu_tanh(x: Real) -> Real:
    y: Real = 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))
    return y


LOOKED_UP: Mapping[str, Callable[[Real], Real]] = {
    "exp": np.exp,
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "log": np.log,
    "sigmoid": _logistic,
    "tanh": np.tanh,
}
"""Of the real x in float64; what comes out is rounded to float32."""


def _looked_up(function: Callable[[Real], Real], d: Entries, x: Scaled, y: Scaled) -> Entries:
    """To the nearest step, halves away from zero; what is no number is the lowest."""
    with np.errstate(all="ignore"):
        real = _single(x.scale[0]) * d.astype(_single)
        steps = function(real.astype(np.float64)).astype(_single) * (_single(1) / _single(y.scale[0]))
        nearest = np.copysign(np.floor(np.abs(steps.astype(np.float64)) + 0.5), steps).astype(_single)
        ends = np.clip(nearest + _single(y.zero[0]), FIRST, LAST)
    return np.where(np.isnan(ends), FIRST, ends).astype(np.int64) - y.zero[0]


def entries(fn: str, alpha: float, x: Scaled, y: Scaled, where: str) -> Entries:
    """[256], the output for each input -128 .. 127, not yet held within limits.

    CompileError, naming `where`, for scales that LiteRT refuses, and functions that it has not in int8.
    """
    d = np.arange(FIRST, LAST + 1, dtype=np.int64) - x.zero[0]
    if fn in FIXED:
        return FIXED[fn](d, x, y, alpha, where) + y.zero[0]
    if fn not in LOOKED_UP:
        known = ", ".join(sorted([*FIXED, *LOOKED_UP]))
        raise CompileError(where, f"{fn} is no function of int8 files", f"there are {known}")
    return _looked_up(LOOKED_UP[fn], d, x, y) + y.zero[0]
