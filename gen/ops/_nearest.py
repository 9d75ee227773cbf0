"""The multiplier that gives what a product in float64 gives: FULLY_CONNECTED as LiteRT 2.3.0 ends it.

Its reference kernel multiplies a sum by scale_x * scale_w / scale_y in float64 and rounds, halves away from
zero. A multiplier of 31 bits that is only the nearest to that factor differs where a product lies at a half,
or within 2^-31 of one: 3 * (1 / 6) is .5 in float64, and below it with 1 / 6 to 31 bits. An int8 has few
results; the sums at which they begin say all, and mostly some m gives them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import numeric

RESULTS = 256  # the largest result that is looked at: beyond it an int8 is saturated, wherever its zero lies
SUMS = 2**31  # what sums do not reach
TOP = 2**31 - 1


class Nearest(NamedTuple):
    """m and n of numeric.scale_once, and the first sum at which it may differ from the float64 product."""

    m: int
    n: int
    reach: int


def nearest_multiplier(factor: float) -> Nearest:
    """The m nearest to `factor` 2^n that gives the float64 product, rounded, of as many sums as one can.

    n is numeric.multiplier's. Both meanings are odd and never fall, so that they agree on all sums below the
    first beginning a of a result y that they place apart: m must make y of a, and less of a - 1.
    """
    m, n = numeric.multiplier(factor)
    if m == 0 or n < 1:  # nothing is left of any sum, or the layer is refused
        return Nearest(m, n, SUMS)
    begins = _begins(factor)
    if _agree(begins, m, n):
        return Nearest(m, n, SUMS)
    low, high = 1, TOP
    for y, a in enumerate(begins.tolist(), 1):
        half = (2 * y - 1) << (n - 1)
        least = max(low, -(-half // a))
        most = min(high, (half - 1) // (a - 1)) if a > 1 else high
        if least > most:
            return Nearest(min(max(m, low), high), n, a - 1)
        low, high = least, most
    return Nearest(min(max(m, low), high), n, SUMS)


def _begins(factor: float) -> NDArray[np.int64]:
    """The smallest sum that the float64 product takes to 1, to 2, ..., as far as sums go."""
    halves = np.arange(RESULTS) + 0.5
    a = np.maximum(np.minimum(halves / factor, 2.0 * SUMS).astype(np.int64) - 1, 1)
    for _ in range(3):
        a += a * factor < halves
    begins: NDArray[np.int64] = a[a < SUMS]
    return begins


def _agree(begins: NDArray[np.int64], m: int, n: int) -> bool:
    """Whether scale_once(., m, n) makes 1, 2, ... of these sums, and less of the sums before them."""
    y, half = np.arange(1, len(begins) + 1), np.int64(1 << n) >> np.int64(1)
    there, before = ((a * np.int64(m) + half) >> np.int64(n) for a in (begins, begins - 1))
    return bool(np.all(there >= y) and np.all(before < y))
