"""The loop forms of convolutions whose weights are not tied: each row of a weight is read once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..ir.plan import PlanTensor
from ._conv_loops import padded_map, run_offsets, runs_of
from ._long_sums import LONG
from ._loops import (
    Cells,
    Number,
    add_row,
    change_row,
    dot,
    end_row,
    helper,
    row_words,
    stream_key,
    write_signal,
)
from ._onto import write_onto


def takes(t: Mapping[str, PlanTensor], a: Mapping[str, Any]) -> bool:
    """Whether the sums of a step have 32 bits."""
    return int(a.get("rounds", 0)) not in LONG


@helper
def window_places(window: Any, filters: Any) -> Any:
    """int64 [positions * groups, 2]: where each window begins in the padded map, and the first row of the
    weight that sees it. All rows of the weight follow one another in this order."""
    _, _, channels, out_h, out_w, _, _, step_h, step_w, _, _, _, _, groups = window
    _, _, _, across = runs_of(window)
    found = np.empty((out_h * out_w * groups, 2), np.int64)
    for k in range(len(found)):
        position, g = k // groups, k % groups
        oy, ox = position // out_w, position % out_w
        found[k, 0] = oy * step_h * across + ox * step_w * channels + g * (channels // groups)
        found[k, 1] = k * (filters // groups)
    return found


@helper
def seen_at(seen: Cells, at: Any, offsets: Cells, taps: Cells) -> None:
    """Fills the taps of a window, int16."""
    run = len(taps) // len(offsets)
    for r in range(len(offsets)):
        for k in range(run):
            taps[r * run + k] = seen[at + offsets[r] + k]


def forward(
    x: Cells, w: Cells, b: Cells, m: Cells, s: Cells, y: Cells, window: Number, filters: int, shift: Number,
    multiplier: Number, x_zero: Number, y_zero: Number, rounds: Number, lo: int, hi: int,
) -> None:  # fmt: skip
    runs, run, _, _ = runs_of(window)
    seen, offsets = padded_map(x, window, np.int32(x_zero)), run_offsets(window)
    acc, taps, places = (
        np.empty(len(b), np.int32),
        np.empty(runs * run, np.int16),
        window_places(window, filters),
    )
    for k in range(len(places)):
        seen_at(seen, places[k, 0], offsets, taps)
        for row in range(places[k, 1], places[k, 1] + len(b) // len(places)):
            acc[row] = dot(w[row], taps) + b[row]
    end_row(y, acc, s, m, shift, multiplier, lo, hi, rounds, y_zero)


def transposed(
    d: Cells, m: Cells, onto: Cells, acc: Cells, g: Cells, window: Number, filters: int, shift: int, lo: int,
    hi: int, added: Number,
) -> None:  # fmt: skip
    height, width, channels, _, _, _, _, _, _, _, _, top, left, _ = window
    runs, run, down, across = runs_of(window)
    offsets, places = run_offsets(window), window_places(window, filters)
    total, heard = np.zeros(down * across, np.int32), np.empty(runs * run, np.int32)
    for k in range(len(places)):
        heard[:] = 0
        for row in range(places[k, 1], places[k, 1] + len(d) // len(places)):
            if d[row] != 0:
                add_row(heard, m[row], d[row])
        for r in range(runs):
            first = places[k, 0] + offsets[r]
            for i in range(run):
                total[first + i] += heard[r * run + i]
    kept, n = np.empty(len(g), np.int32), width * channels
    for iy in range(height):
        first = (iy + top) * across + left * channels
        kept[iy * n : (iy + 1) * n] = total[first : first + n]
    acc[:] = kept[len(g) - channels :]
    if len(onto):
        write_onto(g, kept, shift, lo, hi, onto, added)
    else:
        write_signal(g, kept, shift, lo, hi)


def update(
    x: Cells, d: Cells, step: Cells, w: Cells, b: Cells, twin: Cells, saturated: Cells, window: Number,
    filters: int, rates: Number, limits: Number, rounding: int, seed: int, tensor: int, x_zero: Number,
    mul: Cells, add: Cells,
) -> None:  # fmt: skip
    runs, run, _, _ = runs_of(window)
    seen, offsets = padded_map(x, window, np.int32(x_zero)), run_offsets(window)
    words, base = np.empty(len(mul), np.uint32), stream_key(seed, step[0], tensor)
    taps, p, places = (
        np.empty(runs * run, np.int16),
        np.empty(runs * run, np.int32),
        window_places(window, filters),
    )
    for k in range(len(places)):
        seen_at(seen, places[k, 0], offsets, taps)
        for row in range(places[k, 1], places[k, 1] + len(d) // len(places)):
            signal = np.int32(d[row])
            if signal != 0:
                for i in range(len(p)):
                    p[i] = np.int32(signal * np.int32(taps[i]))
                row_words(words, base, row, mul, add)
                change_row(row, p, signal, w, b, twin, saturated, rates, limits, rounding, words)
