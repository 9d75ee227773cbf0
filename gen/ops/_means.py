"""Means of integers that a model file brought, as LiteRT has them: a multiplier and a shift, no division.

rounds says which of its operators a mean is:

ONCE    AVERAGE_POOL_2D: input and output mean the same, a sum is divided by how many places there are, halves
        away from zero. Zero points play no part. Or, of an ONNX file, any mean: as TWICE, rounded once.
TWICE   MEAN: sum - n x_zero times scale_x / (n scale_y), rounded twice. LiteRT divides the multiplier of
        scale_x / scale_y by n in integers, with as many bits more as n has (reduce.cc, 2.3.0).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..errors import CompileError
from . import Accumulator, Attrs, Format, Known
from ._requantise import MULTIPLIER_TOP, ONCE, SCALES, ends, factor, scale, zero
from ._shifts import requantising

BITS = {"int8": 7, "int16": 15}  # of the magnitude of a value


def multipliers(
    f: Mapping[str, Format], counts: NDArray[np.int64], rounds: int, where: str
) -> tuple[NDArray[np.int64], int]:
    """(m of each window, n): its sum times m / 2^n is the mean. counts: places of each window."""
    return _exact(counts, f["x"].dtype, where) if _kept(f, rounds) else _rescaled(f, counts, where)


def _kept(f: Mapping[str, Format], rounds: int) -> bool:
    """Whether output and input mean the same."""
    return rounds == ONCE and f["x"].meaning == f["y"].meaning


def _exact(counts: NDArray[np.int64], dtype: str, where: str) -> tuple[NDArray[np.int64], int]:
    """m = 2^n / count, rounded up: exact, as m count - 2^n < count, for sums up to 2^bits count
    where 2^(bits + 1) count^2 <= 2^n: no half and no integer lies between s / count and s m / 2^n."""
    least, most = int(counts.min()), int(counts.max())
    n = 29 + least.bit_length()
    if most * most > 1 << (n - BITS[dtype] - 1):
        raise CompileError(where, f"its mean is over {most} values", "pool in two layers")
    m = -(-(1 << n) // counts)
    assert int(m.max()) <= MULTIPLIER_TOP
    return m, n


def _rescaled(
    f: Mapping[str, Format], counts: NDArray[np.int64], where: str
) -> tuple[NDArray[np.int64], int]:
    count = int(counts.flat[0])
    if np.any(counts != count):
        what = "its windows are of several sizes, and its output has a number format of its own"
        raise CompileError(where, what, "report this model")
    m, n = numeric.multiplier(scale(f["x"], where) / scale(f["y"], where))
    more = min(count.bit_length() - 1, 62 - n)
    requantising(n + more, where, SCALES, 62)
    return np.full_like(counts, (m << more) // count), n + more


def lowered(f: Mapping[str, Format], counts: NDArray[np.int64], rounds: int, where: str) -> dict[str, int]:
    """The attributes of a step; `multiplier` where it has no operand m."""
    m, n = multipliers(f, counts, rounds, where)
    zeros = (0, 0) if _kept(f, rounds) else (zero(f["x"]), zero(f["y"]))
    out = {
        "rounds": rounds,
        "offset": zeros[0] * int(counts.flat[0]),
        "y_zero": zeros[1],
        "shift": n,
        "lo": f["y"].lo,
        "hi": f["y"].hi,
    }
    return out if "m" in f else out | {"multiplier": int(m.flat[0])}


def summed(f: Mapping[str, Format], counts: NDArray[np.int64], rounds: int, where: str) -> dict[str, int]:
    """The attributes of a step that gives sums: SUM, rounded once."""
    count = int(counts.flat[0])
    if np.any(counts != count):
        raise CompileError(where, "sums windows of several sizes", "report this model")
    own = {"rounds": rounds, "offset": zero(f["x"]) * count}
    return own | factor(scale(f["x"], where) / scale(f["y"], where), "", where) | ends(f["y"])


def sums(k: Mapping[str, Known], counts: NDArray[np.int64], a: Attrs) -> list[Accumulator]:
    """Proofs: the sum of a window, and what the multiplier makes of it."""
    n = counts.astype(object).ravel()
    lo, hi = n * k["x"].lo - a["offset"], n * k["x"].hi - a["offset"]
    m = np.asarray(k["m"].data if "m" in k else a["multiplier"]).astype(object)
    most = max(int(v) >> a["shift"] for v in np.maximum(abs(lo), abs(hi)) * m)
    return [
        Accumulator("sum", int(min(*lo, 0)), int(max(*hi, 0))),
        Accumulator("sum of raw values", -int(n.max()) * k["x"].mag, int(n.max()) * k["x"].mag),
        Accumulator("scaled sum", -most - 256, most + 256),
    ]
