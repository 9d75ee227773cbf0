"""The loop forms of layers whose inputs are int16: sums of more than 32 bits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import numeric
from ..ir.plan import PlanTensor
from ._conv_loops import padded_map, run_offsets, runs_of
from ._long_sums import FINE, NARROW
from ._loops import LANES, Cells, Number, end_row, helper, tiled, windows

TERMS = 1 << 16
"""Products of an int8 and a byte whose sum fits an int32: one less than so many."""
CHUNK = 128
"""Of an int8 and an int16, which leaves room for a bias."""


def takes(t: Mapping[str, PlanTensor], a: Mapping[str, Any]) -> bool:
    """Whether the sums of a step are exact here: constant int8 weights, of not too many inputs."""
    w = t["w"]
    return (w.space, w.dtype) == ("const", "int8") and w.shape[1] < TERMS


@helper
def end_long(
    y: Cells, acc: Cells, s: Cells, m: Cells, r: Cells, shift: Any, multiplier: Any, lo: Any, hi: Any,
    rounds: Any, y_zero: Any,
) -> None:  # fmt: skip
    """int64 sums as integers of the output. s, m, r: one for each sum, or empty"""
    if rounds < NARROW:
        narrow = acc.astype(np.int32)
        end_row(y, narrow, s, m, shift, multiplier, lo, hi, rounds, y_zero)
        return
    for i in range(len(y)):
        n: Any = np.int64(s[i]) if len(s) else shift
        if rounds == FINE:
            high, low = numeric.int32(acc[i] >> 32), numeric.uint32(acc[i] & 0xFFFFFFFF)
            v = numeric.scale_fine(high, low, numeric.int32(m[i]), numeric.uint32(r[i]), n)
        else:
            factor: Any = np.int64(m[i]) if len(m) else multiplier
            v = numeric.int32(numeric.scale_half_up(acc[i], factor, n) + np.int32(y_zero))
        y[i] = numeric.saturate(v, lo, hi)


def dense(
    x: Cells, w: Cells, b: Cells, m: Cells, r: Cells, s: Cells, y: Cells, shift: Number, multiplier: Number,
    x_zero: Number, y_zero: Number, rounds: Number, lo: int, hi: int,
) -> None:  # fmt: skip
    acc, seen, zero = np.empty(len(b), np.int64), np.empty(len(x), np.int16), np.int32(x_zero)
    for j in range(len(x)):
        seen[j] = np.int16(np.int32(x[j]) - zero)
    for i in range(len(b)):
        acc[i] = b[i]
        for first in range(0, len(x), CHUNK):
            part: Any = np.int32(0)
            for j in range(first, min(first + CHUNK, len(x))):
                part = numeric.int32(part + np.int32(w[i, j]) * np.int32(seen[j]))
            acc[i] += part
    end_long(y, acc, s, m, r, shift, multiplier, lo, hi, rounds, y_zero)


def conv(
    x: Cells, w: Cells, b: Cells, m: Cells, r: Cells, s: Cells, y: Cells, window: Number, filters: int,
    shift: Number, multiplier: Number, x_zero: Number, y_zero: Number, rounds: Number, lo: int, hi: int,
    factors: Cells,
) -> None:  # fmt: skip
    """The upper and the lower byte of the inputs are summed apart, each in 32 bits."""
    _, _, channels, out_h, out_w, _, _, step_h, step_w, _, _, _, _, groups = window
    each, rows, positions = channels // groups, filters // groups, out_h * out_w
    _, _, _, across = runs_of(window)
    together, apart = out_w if groups == 1 else 1, step_w * channels
    seen, offsets = padded_map(x, window, np.int32(x_zero)), run_offsets(window)
    start = np.zeros(factors.shape[3] // 2, np.int32)
    acc, part = np.zeros(positions * filters, np.int64), np.empty(positions * filters + LANES, np.int32)
    for byte in range(2):
        half = (seen >> 8).astype(np.int16) if byte == 0 else (seen & 0xFF).astype(np.int16)
        for place in range(0, positions, together):  # the lanes of a group reach into the next one
            corner = place // out_w * step_h * across + place % out_w * step_w * channels
            for g in range(groups):
                first, at = place * filters + g * rows, corner + g * each
                windows(part, first, filters, start, factors[g], half, at, apart, offsets, together)
        for i in range(len(acc)):
            acc[i] = (acc[i] << 8) + part[i]
    for i in range(len(acc)):
        acc[i] += b[i % filters]
    rest = tiled(r.view(np.int32), positions)
    end_long(
        y, acc, tiled(s, positions), tiled(m, positions), rest, shift, multiplier, lo, hi, rounds, y_zero
    )
