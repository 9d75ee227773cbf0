"""The loop forms of means over windows."""

from __future__ import annotations

import numpy as np

from .. import numeric
from ._loops import Cells, Number, end_row, write_signal


def forward(
    x: Cells, m: Cells, y: Cells, window: Number, factor: Number, multiplier: Number, offset: Number,
    x_zero: Number, y_zero: Number, shift: int, rounds: Number, lo: int, hi: int,
) -> None:  # fmt: skip
    height, width, channels, out_h, out_w, kernel_h, kernel_w, step_h, step_w, _, _, top, left, _ = window
    acc, zero = np.empty(channels, np.int32), np.int32(x_zero)
    for oy in range(out_h):
        y0, y1 = max(oy * step_h - top, 0), min(oy * step_h - top + kernel_h, height)
        for ox in range(out_w):
            x0, x1 = max(ox * step_w - left, 0), min(ox * step_w - left + kernel_w, width)
            acc[:] = -offset
            for iy in range(y0, y1):
                for ix in range(x0, x1):
                    seen = x[(iy * width + ix) * channels : (iy * width + ix + 1) * channels]
                    for c in range(channels):
                        acc[c] += np.int32(seen[c]) - zero
            place = oy * out_w + ox
            by = np.int64(m[place]) if len(m) else max(factor, multiplier)
            if rounds == 0:
                for c in range(channels):
                    acc[c] *= by
            there = y[place * channels : (place + 1) * channels]
            end_row(there, acc, m[:0], m[:0], shift, by, lo, hi, rounds, y_zero)


def feedback(
    d: Cells, m: Cells, g: Cells, window: Number, factor: Number, before: int, shift: int, lo: int, hi: int
) -> None:
    height, width, channels, out_h, out_w, kernel_h, kernel_w, step_h, step_w, _, _, top, left, _ = window
    total, signal = np.zeros(len(g), np.int32), np.empty(channels, np.int32)
    for oy in range(out_h):
        y0, y1 = max(oy * step_h - top, 0), min(oy * step_h - top + kernel_h, height)
        for ox in range(out_w):
            x0, x1 = max(ox * step_w - left, 0), min(ox * step_w - left + kernel_w, width)
            place = oy * out_w + ox
            by = np.int32(m[place]) if len(m) else np.int32(factor)
            for c in range(channels):
                product = numeric.int32(np.int32(d[place * channels + c]) * by)
                signal[c] = numeric.shift_round(product, before)
            for iy in range(y0, y1):
                for ix in range(x0, x1):
                    first = (iy * width + ix) * channels
                    for c in range(channels):
                        total[first + c] += signal[c]
    write_signal(g, total, shift, lo, hi)
