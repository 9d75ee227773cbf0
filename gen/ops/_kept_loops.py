"""The loop forms of steps that write or read what is kept of a map: gen/ops/_packed.py, _chosen.py."""

from __future__ import annotations

import numpy as np

from .. import numeric
from . import _conv_loops, _long_loops
from ._chosen import fold_map, map_signals
from ._loops import Cells, Number, helper, write_signal
from ._packed import pack_bytes, places_bits, unpacked_bytes, whole_words
from ._pool_loops import first_maxima, put_signals

conv_forward, conv_transposed = helper(_conv_loops.forward), helper(_conv_loops.transposed)
conv_update, long_forward = helper(_conv_loops.update), helper(_long_loops.conv)


def clip_forward(x: Cells, y: Cells, mask: Cells, lo: int, hi: int, above: Number, below: Number) -> None:
    inside = np.zeros(whole_words(len(y)), np.uint8)
    for i in range(len(y)):
        v = numeric.saturate(numeric.int32(x[i]), lo, hi)
        y[i] = v
        inside[i] = np.uint8(v > above) & np.uint8(v < below)
    pack_bytes(mask, inside, 1)


def clip_feedback(mask: Cells, d: Cells, g: Cells) -> None:
    inside = unpacked_bytes(mask, len(g), 1)
    for i in range(len(g)):
        g[i] = d[i] * np.int16(inside[i])


def pool_forward(x: Cells, y: Cells, at: Cells, window: Number) -> None:
    _, width, channels, _, out_w, kernel_h, kernel_w, step_h, step_w, _, _, _, _, _ = window
    first_maxima(x, y, at, width, channels, out_w, (kernel_h, kernel_w), (step_h, step_w))


def pool_feedback(
    at: Cells, d: Cells, g: Cells, window: Number, before: int, shift: int, lo: int, hi: int
) -> None:
    _, width, channels, _, out_w, kernel_h, kernel_w, step_h, step_w, _, _, _, _, _ = window
    waiting = np.empty(len(d), np.int16)
    for i in range(len(d)):
        waiting[i] = numeric.shift_round(numeric.int32(d[i]), before)
    if kernel_h <= step_h and kernel_w <= step_w:  # no place is in two windows
        alone = np.zeros(whole_words(len(g)), np.int16)
        put_signals(alone, waiting, at, width, channels, out_w, (kernel_h, kernel_w), (step_h, step_w))
        write_signal(g, alone, shift, lo, hi)
        return
    total, places = np.zeros(len(g), np.int32), unpacked_bytes(at, len(d), places_bits(kernel_h * kernel_w))
    for n in range(len(d)):
        k, position = np.int64(places[n]), n // channels
        if d[n] != 0 and k < kernel_h * kernel_w:
            row = position // out_w * step_h + k // kernel_w
            place = (row * width + position % out_w * step_w + k % kernel_w) * channels + n % channels
            total[place] += waiting[n]
    write_signal(g, total, shift, lo, hi)


def forward(
    x: Cells, w: Cells, b: Cells, m: Cells, s: Cells, y: Cells, row: Cells, at: Cells, window: Number,
    filters: int, shift: Number, multiplier: Number, x_zero: Number, y_zero: Number, rounds: Number, lo: int,
    hi: int, pooling: Number, clipping: Number, factors: Cells, ends: Cells, scales: Cells,
) -> None:  # fmt: skip
    whole = np.empty(window[3] * window[4] * filters, y.dtype)
    conv_forward(
        x, w, b, m, s, whole, window, filters, shift, multiplier, x_zero, y_zero, rounds, lo, hi, factors,
        ends, scales,
    )  # fmt: skip
    fold_map(whole, y, row, at, window, filters, pooling, clipping)


def long(
    x: Cells, w: Cells, b: Cells, m: Cells, r: Cells, s: Cells, y: Cells, row: Cells, at: Cells,
    window: Number, filters: int, shift: Number, multiplier: Number, x_zero: Number, y_zero: Number,
    rounds: Number, lo: int, hi: int, pooling: Number, clipping: Number,
) -> None:  # fmt: skip
    whole = np.empty(window[3] * window[4] * filters, y.dtype)
    long_forward(
        x, w, b, m, r, s, whole, window, filters, shift, multiplier, x_zero, y_zero, rounds, lo, hi
    )  # fmt: skip
    fold_map(whole, y, row, at, window, filters, pooling, clipping)


def transposed(
    d: Cells, at: Cells, m: Cells, onto: Cells, acc: Cells, g: Cells, window: Number, filters: int,
    shift: int, lo: int, hi: int, added: Number, pooling: Number,
) -> None:  # fmt: skip
    whole = map_signals(d, at, window, filters, pooling)
    conv_transposed(whole, m, onto, acc, g, window, filters, shift, lo, hi, added)


def update(
    x: Cells, d: Cells, at: Cells, step: Cells, w: Cells, b: Cells, twin: Cells, saturated: Cells, acc: Cells,
    window: Number, filters: int, rates: Number, limits: Number, rounding: int, seed: int, tensor: int,
    x_zero: Number, pooling: Number, mul: Cells, add: Cells,
) -> None:  # fmt: skip
    whole = map_signals(d, at, window, filters, pooling)
    conv_update(
        x, whole, step, w, b, twin, saturated, acc, window, filters, rates, limits, rounding, seed, tensor,
        x_zero, mul, add,
    )  # fmt: skip
