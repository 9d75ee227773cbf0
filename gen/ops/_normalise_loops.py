"""The loop forms of normalisations: a row is gathered, measured, and written."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import numeric
from ._loops import Cells, Number, helper

KINDS = ("variance", "mean_square", "squares", "magnitudes", "largest")
"""What a row is divided by: the roots of its variance (its mean taken off), of the mean and of the sum of its
squares; the sum of its magnitudes; the largest of them."""
VARIANCE, MEAN_SQUARE, SQUARES, MAGNITUDES, LARGEST = range(len(KINDS))
SIGNAL = 1 << 17  # what a signal is held within before it is divided
GROUPED = {"sizes": ("outer", "size", "block"), "epsilon": ("epsilon_high", "epsilon_low")}


@helper
def strided(x: Cells, at: Any, step: Any, row: Cells) -> None:
    """Fills a row, int32."""
    for i in range(len(row)):
        row[i] = x[at + i * step]


@helper
def measured(row: Cells, kind: Any, factor: Any, epsilon: Any) -> Any:
    """(sum, root, lead): 2^(62 - lead / 2) / root is `factor` times the row's measure, in units of x."""
    squares: Any = np.int32(0)
    total: Any = np.int32(0)
    sizes: Any = np.int32(0)
    most: Any = np.int32(0)
    for i in range(len(row)):
        squares = numeric.int32(squares + numeric.int32(row[i] * row[i]))
        total = numeric.int32(total + row[i])
        sizes = numeric.int32(sizes + abs(row[i]))
        most = numeric.int32(max(most, abs(row[i])))
    count = np.int32(factor)
    if kind >= MAGNITUDES:
        squares = count = sizes if kind == MAGNITUDES else most
    if kind != VARIANCE:
        total = np.int32(0)
    s, n = numeric.uint32(squares), numeric.uint32(count)
    high = numeric.spread_high(s, n, total, epsilon[0], epsilon[1])
    low = numeric.spread_low(s, n, total, epsilon[0], epsilon[1])
    lead = numeric.even_lead(high, low)
    return total, numeric.root_reciprocal(numeric.shifted_top(high, low, lead)), np.int32(lead)


def forward(
    x: Cells, y: Cells, sizes: Number, epsilon: Number, kind: int, point: int, lo: int, hi: int, factor: Cells
) -> None:
    outer, size, block = sizes
    row, by = np.empty(size, np.int32), np.int32(factor[0])
    for o in range(outer):
        for b in range(block):
            at = o * size * block + b
            strided(x, at, block, row)
            total, root, lead = measured(row, kind, by, epsilon)
            shift = 62 - point - (lead >> 1)
            for i in range(size):
                away = numeric.int32(numeric.int32(row[i] * by) - total)
                y[at + i * block] = numeric.saturate(numeric.scale_once(away, root, shift), lo, hi)


def feedback(
    x: Cells, y: Cells, d: Cells, g: Cells, sizes: Number, epsilon: Number, kind: int, point: int, lo: int,
    hi: int, factor: Cells, scales: Cells, start: Cells,
) -> None:  # fmt: skip
    outer, size, block = sizes
    row, given = np.empty(size, np.int32), np.empty(size, np.int32)
    for o in range(outer):
        for b in range(block):
            at = o * size * block + b
            strided(x, at, block, row)
            _, root, lead = measured(row, kind, factor[0], epsilon)
            strided(y, at, block, row)
            strided(d, at, block, given)
            products: Any = np.int32(0)
            total: Any = np.int32(0)
            for i in range(size):
                products = numeric.int32(products + numeric.int32(row[i] * given[i]))
                total = numeric.int32(total + given[i])
            mean = numeric.scale_once(products, scales[0, 0], scales[0, 1])
            share = numeric.int32(numeric.saturate(mean, -(2**15), 2**15))
            less: Any = np.int32(0)
            if kind == VARIANCE:
                less = numeric.int32(numeric.scale_once(total, scales[1, 0], scales[1, 1]))
            by = numeric.scale_once(root, scales[2, 0], scales[2, 1])
            shift = min(max(start[0] - (lead >> 1), 1), 62)
            top: Any = numeric.int32(SIGNAL >> (10 - min(shift, 10)))
            for i in range(size):
                away = numeric.int32(given[i] - numeric.shift_round(numeric.int32(row[i] * share), point))
                held = numeric.saturate(numeric.int32(away - less), -top, top)
                g[at + i * block] = numeric.saturate(numeric.scale_once(held, by, shift), lo, hi)
