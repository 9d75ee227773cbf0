"""The loop forms of layers whose inputs are int16: sums of more than 32 bits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import numeric
from ..ir.plan import PlanTensor
from ._conv_loops import padded_map, run_offsets, runs_of
from ._local_loops import seen_at, window_places
from ._long_sums import FINE, NARROW
from ._loops import Cells, Number, end_row, helper, tiled

CHUNK = 256
"""Products of an int8 and an int16 whose sum fits an int32."""


def takes(t: Mapping[str, PlanTensor], a: Mapping[str, Any]) -> bool:
    """Whether the sums of a step are exact here: those of int8 weights."""
    return t["w"].dtype == "int8"


@helper
def long_dot(w: Cells, x: Cells) -> Any:
    """The int64 sum of w[j] * x[j], w of int8 and x of int16."""
    total = np.int64(0)
    for first in range(0, len(x), CHUNK):
        part = np.int32(0)
        for j in range(first, min(first + CHUNK, len(x))):
            part = np.int32(part + np.int32(w[j]) * np.int32(x[j]))
        total += part
    return total


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
        acc[i] = long_dot(w[i], seen) + b[i]
    end_long(y, acc, s, m, r, shift, multiplier, lo, hi, rounds, y_zero)


def conv(
    x: Cells, w: Cells, b: Cells, m: Cells, r: Cells, s: Cells, y: Cells, window: Number, filters: int,
    shift: Number, multiplier: Number, x_zero: Number, y_zero: Number, rounds: Number, lo: int, hi: int,
) -> None:  # fmt: skip
    _, _, _, out_h, out_w, _, _, _, _, _, _, _, _, groups = window
    runs, run, _, _ = runs_of(window)
    seen, offsets = padded_map(x, window, np.int32(x_zero)), run_offsets(window)
    taps, places = np.empty(runs * run, np.int16), window_places(window, filters)
    acc, rows = np.empty(out_h * out_w * filters, np.int64), filters // groups
    for k in range(len(places)):
        seen_at(seen, places[k, 0], offsets, taps)
        for f in range(k % groups * rows, k % groups * rows + rows):
            acc[places[k, 1] + f % rows] = long_dot(w[f], taps) + b[f]
    every = out_h * out_w
    rest = tiled(r.view(np.int32), every)
    end_long(y, acc, tiled(s, every), tiled(m, every), rest, shift, multiplier, lo, hi, rounds, y_zero)


def local(
    x: Cells, w: Cells, b: Cells, m: Cells, r: Cells, s: Cells, y: Cells, window: Number, filters: int,
    shift: Number, multiplier: Number, x_zero: Number, y_zero: Number, rounds: Number, lo: int, hi: int,
) -> None:  # fmt: skip
    runs, run, _, _ = runs_of(window)
    seen, offsets = padded_map(x, window, np.int32(x_zero)), run_offsets(window)
    taps, places = np.empty(runs * run, np.int16), window_places(window, filters)
    acc = np.empty(len(b), np.int64)
    for k in range(len(places)):
        seen_at(seen, places[k, 0], offsets, taps)
        for row in range(places[k, 1], places[k, 1] + len(b) // len(places)):
            acc[row] = long_dot(w[row], taps) + b[row]
    end_long(y, acc, s, m, r, shift, multiplier, lo, hi, rounds, y_zero)
