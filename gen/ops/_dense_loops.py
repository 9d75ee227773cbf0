"""The loop forms of dense layers: sums over rows of weights, and rows less a signal times all inputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import numeric
from ._loops import (
    Cells,
    Number,
    blocks,
    change_bias,
    change_rounded,
    dot,
    end_row,
    heard,
    helper,
    less_zero,
    product_row,
    row_words,
    stream_key,
)


def dots(acc: Cells, w: Cells, seen: Cells, start: Cells, n: Any) -> None:
    """acc[i] = start[i] + the sum over j < n of w[i, j] * seen[j], as int32.

    seen: int16, zeros from n up to whole `blocks`. The engine has instructions for it
    (host/engine/masked.py).
    """
    for i in range(len(acc)):
        acc[i] = dot(w[i, :n], seen[:n]) + start[i]


def subtract_products(
    w: Cells, i: Any, n: Any, factor: Any, seen: Cells, shift: Any, key: Any, mul: Cells, add: Cells,
    lo: Any, hi: Any,
) -> Any:  # fmt: skip
    """w[i, j] -= factor * seen[j] / 2^shift, j < n, rounded stochastically, within lo .. hi; how many met a
    limit. Only where `fits` says so. The engine has instructions for it (host/engine/masked.py).

    seen, mul, add: of whole `blocks`; key: of the row's random words, mul * key + add
    """
    met, by, row = np.int32(0), np.int32(factor), w[i]
    product: Any
    for j in range(n):
        word = numeric.uint32(mul[j // 2] * key + add[j // 2])
        lane = numeric.int32((word >> np.uint32(16 * (j % 2))) & np.uint32(0xFFFF))
        product = np.int32(by * np.int32(seen[j]))
        v = np.int32(np.int32(row[j]) - numeric.round_stochastic(product, shift, lane))
        held = np.int32(min(max(v, np.int32(lo)), np.int32(hi)))
        met = np.int32(met + np.int32(held != v))
        row[j] = held
    return met


@helper
def fits(w: Cells, factor: Any, shift: Any, lo: Any, hi: Any) -> Any:
    """Whether the changes of a row, factor times inputs of 9 bits, are numbers of 16 bits, as are the random
    numbers below 2^shift; and 0 within the limits of w, so that what overflows 16 bits lies beyond them."""
    change = (np.int64(abs(np.int64(factor))) * 256 >> np.int64(shift)) + 1
    return w.itemsize == 2 and 0 < shift < 16 and change < 2**15 and lo < 0 < hi


@helper
def change_products(
    i: Any, seen: Cells, n: Any, factor: Any, w: Cells, b: Cells, twin: Cells, saturated: Cells, rates: Any,
    limits: Any, base: Any, mul: Cells, add: Cells,
) -> None:  # fmt: skip
    """As `change_rounded`, of factor * seen rounded stochastically, where `fits` says so.

    base: `stream_key`
    """
    lo, hi, bias_lo, bias_hi = limits
    key, shift = numeric.hash32(numeric.uint32(base + numeric.uint32(i))), rates[0]
    met = subtract_products(w, i, n, factor, seen, shift, key, mul, add, lo, hi)
    if len(twin):
        met += subtract_products(twin, i, n, factor, seen, shift, key, mul, add, lo, hi)
    k = (n + 1) // 2
    last = np.uint16(numeric.uint32(mul[k] * key + add[k]) & np.uint32(0xFFFF))
    mode, total = numeric.STOCHASTIC, np.int32(factor)
    change_bias(i, total, b, saturated, rates[1], (bias_lo, bias_hi), mode, last, met)


def forward(
    x: Cells, w: Cells, b: Cells, m: Cells, s: Cells, y: Cells, shift: Number, multiplier: Number,
    x_zero: Number, y_zero: Number, rounds: Number, lo: int, hi: int,
) -> None:  # fmt: skip
    acc, seen = np.empty(len(b), np.int32), less_zero(x, x_zero, blocks(len(x)))
    dots(acc, w, seen, b, len(x))
    end_row(y, acc, s, m, shift, multiplier, lo, hi, rounds, y_zero)


def update(
    x: Cells, d: Cells, step: Cells, w: Cells, b: Cells, twin: Cells, saturated: Cells, rates: Number,
    limits: Number, rounding: int, seed: int, tensor: int, x_zero: Number, mul: Cells, add: Cells,
) -> None:  # fmt: skip
    base, n = stream_key(seed, step[0], tensor), blocks(len(x))
    seen, p = less_zero(x, x_zero, n), np.empty(n, np.int32)
    words = np.empty(len(mul), np.uint32)
    lane = words.view(np.uint16)
    for i in heard(d):
        if rounding == numeric.STOCHASTIC and fits(w, d[i], rates[0], limits[0], limits[1]):
            change_products(i, seen, len(x), d[i], w, b, twin, saturated, rates, limits, base, mul, add)
            continue
        row_words(words, base, i, mul, add)
        product_row(p, d[i], seen, rates[0], rounding, lane)
        change_rounded(i, p, len(x), np.int32(d[i]), w, b, twin, saturated, rates, limits, rounding, lane)
