"""Functions that files in float32 have in several operators, told by the numbers that they make."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from .._layers import FUNCTIONS, NAMES

RECOGNISED = ("elu", "leaky_relu", "shrink", "thresholded_relu")
NEAR = 1e-5  # relative to the largest number: of float32
Real = NDArray[np.float32]


def recognised(x: Real, y: Real, numbers: Sequence[float]) -> tuple[str, float, float, float] | None:
    """(function, alpha, beta, factor) of y = factor * function(x), by the names of gen/ops/table.py; None
    where it is none of them. x: rising, its ends of one magnitude; numbers: the constants beside it."""
    if not np.all(np.isfinite(y)):
        return None
    top = float(np.max(np.abs(y)))
    for fn, alpha, beta, factor in _candidates(x.astype(np.float64), y.astype(np.float64), numbers):
        made = factor * FUNCTIONS[NAMES.index(fn)].value(x.astype(np.float64), alpha, beta)
        if top > 0 and np.all(np.abs(made - y) <= NEAR * top):
            return fn, alpha, beta, factor
    return None


def _candidates(
    x: NDArray[np.float64], y: NDArray[np.float64], numbers: Sequence[float]
) -> Iterator[tuple[str, float, float, float]]:
    factor = float(y[-1] / x[-1])
    if factor:
        yield "leaky_relu", float(y[0] / x[0]) / factor, 0.0, factor
        yield "elu", float(y[0] / np.expm1(x[0])) / factor, 0.0, factor
        for alpha in numbers:
            yield "thresholded_relu", alpha, 0.0, factor
    for alpha in numbers:
        for beta in (0.0, *numbers):
            yield "shrink", alpha, beta, 1.0
