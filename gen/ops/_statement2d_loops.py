"""The loop forms of statements on convolutions: sums of products over the positions of a map, in 64 bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import numeric
from ._loops import Cells, Number, helper, row_words, stream_key
from .statement import raised


@helper
def seen_products(parts: Cells, size: Any, x0: Cells, x1: Cells, x2: Cells, x3: Cells) -> Any:
    """int64 [terms, size]: the product of each term's factors at every place of the input."""
    across = np.empty((len(parts), size), np.int64)
    for k in range(len(parts)):
        q = parts[k]
        for i in range(size):
            both = raised(x0, i, q[5]) * raised(x1, i, q[6]) * raised(x2, i, q[7])
            across[k, i] = both * raised(x3, i, q[8])
    return across


@helper
def begin_sums(sums: Cells, parts: Cells) -> None:
    """1 in terms without signals, else 0."""
    for k in range(len(parts)):
        signals = 0
        for f in range(1, 9):
            signals += parts[k, f]
        sums[k] = np.int64(signals == 0)


@helper
def add_place(
    sums: Cells, parts: Cells, across: Cells, d0: Cells, d1: Cells, d2: Cells, d3: Cells, at: Any,
    position: Any, first: Any, window: Any,
) -> None:  # fmt: skip
    """Adds one position's products to the sums [terms, taps] of a row: of its signals, which stand at `at`,
    and of what its window sees in the channels from `first` on."""
    height, width, channels, _, out_w, kernel_h, kernel_w, step_h, step_w, apart_h, apart_w, top, left, g = (
        window
    )
    each, oy, ox = channels // g, position // out_w, position % out_w
    for k in range(len(parts)):
        q = parts[k]
        down, seen = q[1] + q[2] + q[3] + q[4], q[5] + q[6] + q[7] + q[8]
        both = raised(d0, at, q[1]) * raised(d1, at, q[2]) * raised(d2, at, q[3]) * raised(d3, at, q[4])
        if down + seen == 0 or both == 0:
            continue
        if seen == 0:
            for j in range(kernel_h * kernel_w * each):
                sums[k, j] += both
            continue
        for ky in range(kernel_h):
            iy = oy * step_h - top + ky * apart_h
            if iy < 0 or iy >= height:
                continue
            for kx in range(kernel_w):
                ix = ox * step_w - left + kx * apart_w
                if ix < 0 or ix >= width:
                    continue
                to, of = (ky * kernel_w + kx) * each, (iy * width + ix) * channels + first
                for c in range(each):
                    sums[k, to + c] += both * across[k, of + c]


@helper
def change_by(row: Cells, sums: Cells, taps: Any, parts: Cells, ends: Any, rounding: Any, lane: Cells) -> Any:
    """Changes a row by its terms. How often it met a limit."""
    lo, hi, drop, shift = ends
    met = np.int32(0)
    for j in range(taps):
        total = np.int64(0)
        for k in range(len(parts)):
            product = parts[k, 0] * sums[k, j]
            total += product * np.int64(row[j]) if parts[k, 9] else product
        drawn: Any = lane[j] if rounding == numeric.STOCHASTIC else np.uint16(0)
        p = numeric.rounded(rounding, numeric.int32(total >> np.int64(drop)), shift, drawn)
        v = numeric.int32(np.int32(row[j]) - p)
        held = numeric.saturate(v, lo, hi)
        met = np.int32(met + np.int32(held != v))
        row[j] = held
    return met


def tied(
    d0: Cells, d1: Cells, d2: Cells, d3: Cells, x0: Cells, x1: Cells, x2: Cells, x3: Cells, step: Cells,
    w: Cells, saturated: Cells, window: Number, filters: int, ends: Number, how: Number, parts: Cells,
    mul: Cells, add: Cells,
) -> None:  # fmt: skip
    height, width, channels, out_h, out_w, kernel_h, kernel_w, _, _, _, _, _, _, groups = window
    rounding, seed, tensor = how
    each, taps = channels // groups, kernel_h * kernel_w * (channels // groups)
    across, base = (
        seen_products(parts, height * width * channels, x0, x1, x2, x3),
        stream_key(seed, step[0], tensor),
    )
    sums, words, met = np.empty((len(parts), taps), np.int64), np.empty(len(mul), np.uint32), np.int32(0)
    lane = words.view(np.uint16)
    for i in range(len(w)):
        begin_sums(sums, parts)
        for n in range(out_h * out_w):
            first = i // (filters // groups) * each
            add_place(sums, parts, across, d0, d1, d2, d3, n * filters + i, n, first, window)
        row_words(words, base, i, mul, add)
        met = np.int32(met + change_by(w[i], sums, taps, parts, ends, rounding, lane))
    saturated[0] = np.uint32(saturated[0] + np.uint32(met))


def untied(
    d0: Cells, d1: Cells, d2: Cells, d3: Cells, x0: Cells, x1: Cells, x2: Cells, x3: Cells, step: Cells,
    w: Cells, saturated: Cells, window: Number, filters: int, ends: Number, how: Number, parts: Cells,
    mul: Cells, add: Cells,
) -> None:  # fmt: skip
    height, width, channels, _, _, kernel_h, kernel_w, _, _, _, _, _, _, groups = window
    rounding, seed, tensor = how
    each, taps = channels // groups, kernel_h * kernel_w * (channels // groups)
    across, base = (
        seen_products(parts, height * width * channels, x0, x1, x2, x3),
        stream_key(seed, step[0], tensor),
    )
    sums, words, met = np.empty((len(parts), taps), np.int64), np.empty(len(mul), np.uint32), np.int32(0)
    lane = words.view(np.uint16)
    for i in range(len(w)):
        begin_sums(sums, parts)
        first = i % filters // (filters // groups) * each
        add_place(sums, parts, across, d0, d1, d2, d3, i, i // filters, first, window)
        row_words(words, base, i, mul, add)
        met = np.int32(met + change_by(w[i], sums, taps, parts, ends, rounding, lane))
    saturated[0] = np.uint32(saturated[0] + np.uint32(met))


def bias(
    v0: Cells, v1: Cells, v2: Cells, v3: Cells, v4: Cells, v5: Cells, step: Cells, y: Cells,
    saturated: Cells, summed: int, ends: Number, how: Number, parts: Cells, mul: Cells, add: Cells,
) -> None:  # fmt: skip
    lo, hi, drop, shift = ends
    rounding, seed, tensor = how
    words, met, n = np.empty(len(mul), np.uint32), np.int32(0), len(y)
    row_words(words, stream_key(seed, step[0], tensor), 0, mul, add)
    lane = words.view(np.uint16)
    for i in range(n):
        total = np.int64(0)
        for k in range(len(parts)):
            q = parts[k]
            signals, places = q[1] + q[2] + q[3] + q[4] + q[5] + q[6], np.int64(0)
            for at in range(i, summed * n if signals else i + 1, n):
                both = raised(v0, at, q[1]) * raised(v1, at, q[2]) * raised(v2, at, q[3])
                places += both * raised(v3, at, q[4]) * raised(v4, at, q[5]) * raised(v5, at, q[6])
            product = q[0] * places
            total += product * np.int64(y[i]) if q[7] else product
        drawn: Any = lane[i] if rounding == numeric.STOCHASTIC else np.uint16(0)
        q32 = numeric.int32(total >> np.int64(drop))
        v = numeric.int32(np.int32(y[i]) - numeric.rounded(rounding, q32, shift, drawn))
        held = numeric.saturate(v, lo, hi)
        met = np.int32(met + np.int32(held != v))
        y[i] = held
    saturated[0] = np.uint32(saturated[0] + np.uint32(met))
