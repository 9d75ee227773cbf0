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
    change_row,
    end_row,
    helper,
    lanes,
    row_words,
    stream_key,
    tiled,
    windows,
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
    """The map as int16, less its zero point, with all that windows see beyond it as 0; and one value more,
    since a run of odd length is read in pairs."""
    height, width, channels, _, _, _, _, _, _, _, _, top, left, _ = window
    _, _, down, across = runs_of(window)
    seen = np.zeros(down * across + 1, np.int16)
    for iy in range(height):
        first, given = (iy + top) * across + left * channels, iy * width * channels
        for i in range(width * channels):
            seen[first + i] = np.int16(np.int32(x[given + i]) - zero)
    return seen


def turned(t: Mapping[str, PlanTensor], a: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """`factors`, [groups, runs, pairs, 2 n]: a constant weight as `windows` takes it; else empty."""
    window = tuple(a[name] for name in WINDOWED["window"])
    if t["w"].space != "const":
        return {"factors": np.zeros((0, 0, 0, 0), np.int16)}
    groups, (runs, run, _, _) = a["groups"], runs_of(window)
    rows = a["filters"] // groups
    w = np.zeros((groups, lanes(rows), runs, run + run % 2), np.int16)
    w[:, :rows, :, :run] = t["w"].array().reshape(groups, rows, runs, run)
    pairs = w.reshape(groups, lanes(rows), runs, -1, 2).transpose(0, 2, 3, 1, 4)
    return {"factors": pairs.reshape(groups, runs, pairs.shape[2], -1)}


def forward(
    x: Cells, w: Cells, b: Cells, m: Cells, s: Cells, y: Cells, window: Number, filters: int, shift: Number,
    multiplier: Number, x_zero: Number, y_zero: Number, rounds: Number, lo: int, hi: int, factors: Cells,
) -> None:  # fmt: skip
    _, _, channels, out_h, out_w, _, _, step_h, step_w, _, _, _, _, groups = window
    each, rows, seen = channels // groups, filters // groups, padded_map(x, window, np.int32(x_zero))
    runs, run, _, across = runs_of(window)
    if factors.shape[0] == 0:
        factors = np.zeros((groups, runs, (run + 1) // 2, 2 * lanes(rows)), np.int16)
        for g in range(groups):
            for f in range(rows):
                for r in range(runs):
                    for k in range(run):
                        factors[g, r, k // 2, 2 * f + k % 2] = w[g * rows + f, r * run + k]
    offsets, starts = run_offsets(window), np.zeros((groups, lanes(rows)), np.int32)
    acc, more = np.empty(out_h * out_w * filters, np.int32), lanes(rows)
    for g in range(groups):
        starts[g, :rows] = b[g * rows : (g + 1) * rows]
    sums = acc if more == filters else np.empty(out_w * more, np.int32)
    for oy in range(out_h):
        row = oy * out_w * filters
        for g in range(groups):
            at, first = oy * step_h * across + g * each, row if more == filters else 0
            windows(sums, first, more, starts[g], factors[g], seen, at, step_w * channels, offsets, out_w)
            if more != filters:
                for ox in range(out_w):
                    for f in range(rows):
                        acc[row + ox * filters + g * rows + f] = sums[ox * more + f]
    ends, scales = tiled(s, out_h * out_w), tiled(m, out_h * out_w)
    end_row(y, acc, ends, scales, shift, multiplier, lo, hi, rounds, y_zero)


def transposed(
    d: Cells, m: Cells, onto: Cells, acc: Cells, g: Cells, window: Number, filters: int, shift: int, lo: int,
    hi: int, added: Number,
) -> None:  # fmt: skip
    height, width, channels, out_h, out_w, _, _, step_h, step_w, _, _, top, left, groups = window
    each, rows = channels // groups, filters // groups
    runs, run, down, across = runs_of(window)
    taps, more = runs * run, lanes(runs * run)
    signals = np.zeros(len(d) + 1, np.int16)
    signals[: len(d)] = d
    factors, start = np.zeros((groups, 1, (rows + 1) // 2, 2 * more), np.int16), np.zeros(more, np.int32)
    for part in range(groups):
        for f in range(rows):
            for k in range(taps):
                factors[part, 0, f // 2, 2 * k + f % 2] = m[part * rows + f, k]
    offsets, sums, none = run_offsets(window), np.empty(out_w * more, np.int32), np.zeros(1, np.int64)
    total = np.zeros(down * across, np.int32)
    for oy in range(out_h):
        for part in range(groups):
            given = oy * out_w * filters + part * rows
            windows(sums, 0, more, start, factors[part], signals, given, filters, none, out_w)
            for ox in range(out_w):
                at = oy * step_h * across + ox * step_w * channels + part * each
                for r in range(runs):
                    first = at + offsets[r]
                    for k in range(run):
                        total[first + k] += sums[ox * more + r * run + k]
    kept, n = np.empty(len(g), np.int32), width * channels
    for iy in range(height):
        first = (iy + top) * across + left * channels
        kept[iy * n : (iy + 1) * n] = total[first : first + n]
    acc[:] = kept[len(g) - channels :]
    if len(onto):
        write_onto(g, kept, shift, lo, hi, onto, added)
    else:
        write_signal(g, kept, shift, lo, hi)


@helper
def sums_over_places(x: Cells, d: Cells, window: Any, filters: Any, zero: Any, g: Any) -> Any:
    """int32 [taps, n]: of each tap and filter of group g the sum of signal times input over all positions.

    The map lies channel by channel, each row's columns by their place within a stride, so that what a tap
    sees from one position to the next lies side by side: what `windows` takes as one run a row of positions.
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
    each, rows = channels // groups, filters // groups
    down = max(height + top, (out_h - 1) * step_h + (kernel_h - 1) * apart_h + 1)
    across = max(width + left, (out_w - 1) * step_w + (kernel_w - 1) * apart_w + 1)
    line = across // step_w + 2  # a row of odd length is read with one more
    row, more = step_w * line, lanes(rows)
    seen = np.zeros(each * down * row, np.int16)
    for ix in range(width):
        column = (ix + left) % step_w * line + (ix + left) // step_w
        for iy in range(height):
            place, given = (iy + top) * row + column, (iy * width + ix) * channels + g * each
            for c in range(each):
                seen[c * down * row + place] = np.int16(np.int32(x[given + c]) - zero)
    signals, offsets = np.zeros((out_h, (out_w + 1) // 2, 2 * more), np.int16), np.empty(out_h, np.int64)
    for oy in range(out_h):
        offsets[oy] = oy * step_h * row
        for ox in range(out_w):
            first = (oy * out_w + ox) * filters + g * rows
            for f in range(rows):
                signals[oy, ox // 2, 2 * f + ox % 2] = d[first + f]
    sums, start = np.empty(kernel_h * kernel_w * each * more, np.int32), np.zeros(more, np.int32)
    for ky in range(kernel_h):
        for kx in range(kernel_w):
            at = ky * apart_h * row + kx * apart_w % step_w * line + kx * apart_w // step_w
            tap = (ky * kernel_w + kx) * each
            windows(sums, tap * more, more, start, signals, seen, at, down * row, offsets, each)
    return sums.reshape(-1, more)


def update(
    x: Cells, d: Cells, step: Cells, w: Cells, b: Cells, twin: Cells, saturated: Cells, acc: Cells,
    window: Number, filters: int, rates: Number, limits: Number, rounding: int, seed: int, tensor: int,
    x_zero: Number, mul: Cells, add: Cells,
) -> None:  # fmt: skip
    _, _, _, out_h, out_w, _, _, _, _, _, _, _, _, groups = window
    positions, rows = out_h * out_w, filters // groups
    words, base = np.empty(len(mul), np.uint32), stream_key(seed, step[0], tensor)
    totals, active = np.zeros(filters, np.int32), np.zeros(filters, np.uint8)
    for p in range(positions):
        for f in range(filters):
            totals[f] += d[p * filters + f]
            active[f] |= d[p * filters + f] != 0
    top = BIAS_TOP >> (-rates[1] if rates[1] < 0 else 0)
    for g in range(groups):
        sums = sums_over_places(x, d, window, filters, np.int32(x_zero), g)
        for f in range(g * rows, (g + 1) * rows):
            if active[f]:
                for k in range(len(acc)):
                    acc[k] = sums[k, f - g * rows]
                total = totals[f]
                if rates[1] < 0 and positions > 1:  # what is held back here would meet the bias's limit
                    total = numeric.saturate(total, -top, top)
                row_words(words, base, f, mul, add)
                change_row(f, acc, total, w, b, twin, saturated, rates, limits, rounding, words)
    acc[:] = 0
