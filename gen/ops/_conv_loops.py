"""The loop forms of convolutions: windows over a map as sums of pairs of int16 products.

The map is copied once with its padding, so that a window is runs of values that lie side by side; weights are
laid out in pairs beside which all filters of a group stand, so that a sum belongs to a lane of a register.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..ir.plan import PlanTensor
from ._loops import (
    WINDOWED,
    Cells,
    Number,
    change_lanes,
    end_row,
    fill_map,
    helper,
    lanes,
    pair,
    put,
    row_words,
    stream_key,
    tiled,
    windows,
    windows_onto,
    write_signal,
)
from ._onto import write_onto
from ._weighted import BIAS_TOP


@helper
def runs_of(window: Any) -> Any:
    """(runs of taps that lie side by side, taps of one, rows of the map and elements of one, with padding).

    A window of all channels without dilation is one run a row, any other one a run a tap.
    """
    (
        height,
        width,
        channels,
        out_h,
        out_w,
        kernel_h,
        kernel_w,
        step_h,
        step_w,
        apart_h,
        apart_w,
        top,
        left,
        groups,
    ) = window
    down = max(height + top, (out_h - 1) * step_h + (kernel_h - 1) * apart_h + 1)
    across = max(width + left, (out_w - 1) * step_w + (kernel_w - 1) * apart_w + 1) * channels
    if groups == 1 and apart_w == 1:
        return kernel_h, kernel_w * channels, down, across
    return kernel_h * kernel_w, channels // groups, down, across


@helper
def run_offsets(window: Any) -> Any:
    """Where the runs of a window begin, in elements behind the window's first."""
    _, _, channels, _, _, kernel_h, _, _, _, apart_h, apart_w, _, _, _ = window
    runs, _, _, across = runs_of(window)
    offsets, each = np.empty(runs, np.int64), runs // kernel_h
    for r in range(runs):
        offsets[r] = r // each * apart_h * across + r % each * apart_w * channels
    return offsets


@helper
def padded_map(x: Cells, window: Any, zero: Any) -> Any:
    """The map as int16, less its zero point, with all that windows see beyond it as 0; and as many values as
    a position is apart from the next one, since pairs reach beyond it."""
    _, _, channels, _, _, _, _, _, step_w, _, _, _, _, _ = window
    _, _, down, across = runs_of(window)
    seen = np.zeros(down * across + step_w * channels, np.int16)
    fill_map(seen, x, window, across, zero)
    return seen


def turned(t: Mapping[str, PlanTensor], a: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """`factors`, [groups, runs, pairs, 2 n]: a constant weight as `windows` takes it; else empty.
    `ends`, `scales`: shifts and multipliers of the sums of all positions, if they are constants too."""
    window, positions = tuple(a[name] for name in WINDOWED["window"]), a["out_height"] * a["out_width"]
    ends = {
        name: np.tile(t[role].array(), positions).astype(np.int32)
        if role in t and t[role].space == "const"
        else np.zeros(0, np.int32)
        for name, role in (("ends", "s"), ("scales", "m"))
    }
    if t["w"].space != "const":
        return ends | {"factors": np.zeros((0, 0, 0, 0), np.int16)}
    groups, (runs, run, _, _) = a["groups"], runs_of(window)
    rows = a["filters"] // groups
    w = np.zeros((groups, lanes(rows), runs, run + run % 2), np.int16)
    w[:, :rows, :, :run] = t["w"].array().reshape(groups, rows, runs, run)
    pairs = w.reshape(groups, lanes(rows), runs, -1, 2).transpose(0, 2, 3, 1, 4)
    return ends | {"factors": pairs.reshape(groups, runs, pairs.shape[2], -1)}


@helper
def packed(w: Cells, groups: Any, runs: Any, run: Any) -> Any:
    """As `turned`, of weights that a device learns."""
    rows = len(w) // groups
    more = lanes(rows)
    words = np.zeros((groups, runs, (run + 1) // 2, more), np.int32)
    for g in range(groups):
        for r in range(runs):
            for k in range(0, run, 2):
                to = words[g, r, k // 2]
                first, second = r * run + k, r * run + min(k + 1, run - 1)
                odd = np.int32(k + 1 < run)
                for f in range(rows):
                    to[f] = pair(w[g * rows + f, first], np.int32(w[g * rows + f, second]) * odd)
    return words.view(np.int16)


def forward(
    x: Cells, w: Cells, b: Cells, m: Cells, s: Cells, y: Cells, window: Number, filters: int, shift: Number,
    multiplier: Number, x_zero: Number, y_zero: Number, rounds: Number, lo: int, hi: int, factors: Cells,
    ends: Cells, scales: Cells,
) -> None:  # fmt: skip
    _, _, channels, out_h, out_w, _, _, step_h, step_w, _, _, _, _, groups = window
    each, rows, seen = channels // groups, filters // groups, padded_map(x, window, np.int32(x_zero))
    runs, run, _, across = runs_of(window)
    if factors.shape[0] == 0:
        factors = packed(w, groups, runs, run)
    offsets, starts, more = run_offsets(window), np.zeros((groups, lanes(rows)), np.int32), lanes(rows)
    for g in range(groups):
        put(starts[g, :rows], b[g * rows :])
    acc = np.empty(out_h * out_w * filters, np.int32)
    sums = acc if more == filters else np.empty(out_w * more, np.int32)
    for oy in range(out_h):
        row = oy * out_w * filters
        for g in range(groups):
            at, first = oy * step_h * across + g * each, row if more == filters else 0
            windows(sums, first, more, starts[g], factors[g], seen, at, step_w * channels, offsets, 2, out_w)
            if more != filters:
                for ox in range(out_w):
                    for f in range(rows):
                        acc[row + ox * filters + g * rows + f] = sums[ox * more + f]
    if len(ends) < len(s):
        ends = tiled(s, out_h * out_w)
    if len(scales) < len(m):
        scales = tiled(m, out_h * out_w)
    end_row(y, acc, ends, scales, shift, multiplier, lo, hi, rounds, y_zero)


def transposed(
    d: Cells, m: Cells, onto: Cells, acc: Cells, g: Cells, window: Number, filters: int, shift: int, lo: int,
    hi: int, added: Number,
) -> None:  # fmt: skip
    height, width, channels, out_h, out_w, _, _, step_h, step_w, _, _, top, left, groups = window
    each, rows = channels // groups, filters // groups
    runs, run, down, across = runs_of(window)
    more, pairs = lanes(run), (rows + 1) // 2
    signals, words = np.zeros(len(d) + 1, np.int16), np.zeros((groups, runs, pairs, more), np.int32)
    put(signals[: len(d)], d)
    for part in range(groups):
        for r in range(runs):
            for f in range(0, rows, 2):
                to, at, odd = words[part, r, f // 2], part * rows + f, np.int32(f + 1 < rows)
                low, high = m[at, r * run :], m[at + odd, r * run :]
                for k in range(run):
                    to[k] = pair(low[k], np.int32(high[k]) * odd)
    factors, offsets, none = words.view(np.int16), run_offsets(window), np.zeros(1, np.int64)
    total = np.zeros(down * across + more, np.int32)  # the last lanes of a run, which are 0, reach beyond
    for oy in range(out_h):
        for part in range(groups):
            given, first = oy * out_w * filters + part * rows, oy * step_h * across + part * each
            for r in range(runs):
                w, to = factors[part, r : r + 1], first + offsets[r]
                windows_onto(total, to, step_w * channels, more, w, signals, given, filters, none, 2, out_w)
    kept, n = np.empty(len(g), np.int32), width * channels
    for iy in range(height):
        first = (iy + top) * across + left * channels
        put(kept[iy * n : (iy + 1) * n], total[first:])
    put(acc, kept[len(g) - channels :])
    if len(onto):
        write_onto(g, kept, shift, lo, hi, onto, added)
    else:
        write_signal(g, kept, shift, lo, hi)


@helper
def paired_map(x: Cells, window: Any, zero: Any) -> Any:
    """The padded map as int16 pairs: each value, and the one that the next position sees at its place."""
    _, _, channels, _, _, _, _, _, step_w, _, _, _, _, _ = window
    _, _, down, across = runs_of(window)
    apart = step_w * channels
    seen, words = padded_map(x, window, zero), np.empty(down * across, np.int32)
    other = seen[apart:]
    for i in range(len(words)):
        words[i] = pair(seen[i], other[i])
    return words.view(np.int16)


@helper
def paired_signals(d: Cells, window: Any, filters: Any, g: Any) -> Any:
    """Signals of group g in pairs of positions, as `windows` takes weights: int16 [out_h, pairs, 4 n], whose
    second half is not read; 0 beside the last position of a row of odd length."""
    _, _, _, out_h, out_w, _, _, _, _, _, _, _, _, groups = window
    rows = filters // groups
    more, pairs = lanes(rows), (out_w + 1) // 2
    words = np.zeros((out_h, 2 * pairs * more), np.int32)
    for oy in range(out_h):
        given, to = d[oy * out_w * filters :], words[oy]
        if more == filters:  # all pairs of neighbours, though every second one is read: one loop
            last, other = (out_w - 1) * filters, given[filters:]
            for i in range(last):
                to[i] = pair(given[i], other[i])
            for i in range(last, last + filters):
                to[i] = pair(given[i], np.int16(0))
        else:
            for ox in range(0, out_w, 2):
                at, odd = ox * filters + g * rows, np.int32(ox + 1 < out_w)
                for f in range(rows):
                    to[ox * more + f] = pair(given[at + f], np.int32(given[at + odd * filters + f]) * odd)
    return words.view(np.int16).reshape(out_h, pairs, 4 * more)


@helper
def sums_over_places(
    seen: Cells, d: Cells, window: Any, filters: Any, g: Any, sums: Cells, totals: Cells
) -> None:
    """Of each tap and filter of group g the sum of signal times input over all positions, [taps, n], and of
    each filter the sum of signals, [n]. seen: `paired_map`"""
    _, _, channels, out_h, _, _, _, step_h, step_w, _, _, _, _, groups = window
    runs, run, _, across = runs_of(window)
    more, each, taps = len(totals), channels // groups, run_offsets(window)
    signals, start = paired_signals(d, window, filters, g), np.zeros(more, np.int32)
    rows, every = np.empty(out_h, np.int64), 4 * step_w * channels
    for oy in range(out_h):
        rows[oy] = 2 * oy * step_h * across
    for r in range(runs):
        at = 2 * (taps[r] + g * each)
        windows(sums, r * run * more, more, start, signals, seen, at, 2, rows, every, run)
    rows[:] = 0
    windows(totals, 0, more, start, signals, np.ones(2, np.int16), 0, 0, rows, 0, 1)


def update(
    x: Cells, d: Cells, step: Cells, w: Cells, b: Cells, twin: Cells, saturated: Cells, acc: Cells,
    window: Number, filters: int, rates: Number, limits: Number, rounding: int, seed: int, tensor: int,
    x_zero: Number, mul: Cells, add: Cells,
) -> None:  # fmt: skip
    _, _, _, out_h, out_w, _, _, _, _, _, _, _, _, groups = window
    rows, more = filters // groups, lanes(filters // groups)
    words, base = np.empty(len(mul), np.uint32), stream_key(seed, step[0], tensor)
    seen, top = paired_map(x, window, np.int32(x_zero)), BIAS_TOP >> (-rates[1] if rates[1] < 0 else 0)
    lane = words.view(np.uint16)
    sums, totals = np.empty(len(acc) * more, np.int32), np.empty(more, np.int32)
    for g in range(groups):
        sums_over_places(seen, d, window, filters, g, sums, totals)
        for f in range(rows):
            total, any_sum = totals[f], totals[f]
            for k in range(len(acc)):
                acc[k] = sums[k * more + f]
                any_sum |= acc[k]
            if any_sum == 0:
                continue
            if rates[1] < 0 and out_h * out_w > 1:  # what is held back here would meet the bias's limit
                total = numeric.saturate(total, -top, top)
            i = g * rows + f
            row_words(words, base, i, mul, add)
            change_lanes(i, acc, total, w, b, twin, saturated, rates, limits, rounding, lane)
    acc[:] = 0
