"""The loop forms of maxima over windows: rows of a map at once, whose values lie side by side.

A row of windows is seen tap by tap, each a whole row of the map; what belongs to the windows' places is then
taken out of it, or put there, in groups of channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import numeric
from ._loops import Cells, Number, fill_map, helper, write_signal

OUTSIDE = -(2**16)  # what no int16 is
BYTES = 8  # of a word, in which groups are moved where they have whole ones


@helper
def padded_sizes(window: Any) -> Any:
    """(rows, elements of a row) of a map with all that windows see beyond it."""
    height, width, channels, out_h, out_w, kernel_h, kernel_w, step_h, step_w, _, _, top, left, _ = window
    down = max(height + top, (out_h - 1) * step_h + kernel_h)
    return down, max(width + left, (out_w - 1) * step_w + kernel_w) * channels


@helper
def whole_words(n: Any) -> Any:
    """n, or the next multiple of BYTES."""
    return -(-n // BYTES) * BYTES


@helper
def move_groups(
    out: Cells, first: Any, apart: Any, seen: Cells, at: Any, step: Any, n: Any, count: Any
) -> None:  # fmt: skip
    """out[first + c apart + i] = seen[at + c step + i], i < n, c < count; all are multiples of n.

    out, seen: of one type, not one memory, `whole_words` elements each
    """
    each = n * out.itemsize // BYTES
    if each * BYTES != n * out.itemsize:
        for c in range(count):
            for i in range(n):
                out[first + c * apart + i] = seen[at + c * step + i]
        return
    to, given = out.view(np.int64), seen.view(np.int64)
    first, apart, at, step = first // n * each, apart // n * each, at // n * each, step // n * each
    for i in range(each):
        for c in range(count):
            to[first + c * apart + i] = given[at + c * step + i]


def max_forward(x: Cells, y: Cells, window: Number) -> None:
    _, _, channels, out_h, out_w, kernel_h, kernel_w, step_h, step_w, _, _, _, _, _ = window
    down, across = padded_sizes(window)
    seen = np.full(whole_words(down * across), -128 if x.itemsize == 1 else -32768, x.dtype)
    fill_map(seen, x, window, across, 0)
    n, row = ((out_w - 1) * step_w + 1) * channels, out_w * channels
    best, found = np.empty(whole_words(n), x.dtype), np.empty(whole_words(len(y)), x.dtype)
    for oy in range(out_h):
        for ky in range(kernel_h):
            for kx in range(kernel_w):
                there = seen[(oy * step_h + ky) * across + kx * channels :]
                if ky == 0 and kx == 0:
                    best[:n] = there[:n]
                else:
                    for i in range(n):
                        best[i] = max(best[i], there[i])
        move_groups(found, oy * row, channels, best, 0, step_w * channels, channels, out_w)
    y[:] = found[: len(y)]  # y may trail x: it is written when all is read


@helper
def move_signals(plane: Cells, left: Cells, want: Cells) -> None:
    """What is left of signals goes where the plane, values of one tap, holds the maximum that is wanted:
    the plane becomes the signals that it gets."""
    for i in range(len(left)):
        moved = left[i] if plane[i] == want[i] else np.int32(0)
        plane[i] = moved
        left[i] = np.int32(left[i] - moved)


def max_feedback(
    x: Cells, y: Cells, d: Cells, g: Cells, window: Number, before: int, shift: int, lo: int, hi: int
) -> None:
    height, width, channels, out_h, out_w, kernel_h, kernel_w, step_h, step_w, _, _, top, left, _ = window
    down, across = padded_sizes(window)
    n, size, step = out_w * channels, whole_words(down * across), step_w * channels
    seen, total = np.full(size, OUTSIDE, np.int32), np.zeros(size, np.int32)
    fill_map(seen, x, window, across, 0)
    plane, waiting, want = np.empty(whole_words(n), np.int32), np.empty(n, np.int32), np.empty(n, np.int32)
    apart = kernel_h <= step_h and kernel_w <= step_w
    for oy in range(out_h):
        given, wanted = d[oy * n :], y[oy * n :]
        for i in range(n):
            waiting[i] = numeric.shift_round(numeric.int32(given[i]), before)
            want[i] = wanted[i]
        for ky in range(kernel_h):
            for kx in range(kernel_w):
                at = (oy * step_h + ky) * across + kx * channels
                move_groups(plane, 0, channels, seen, at, step, channels, out_w)
                move_signals(plane, waiting, want)
                if apart:  # no place is in two windows
                    move_groups(total, at, step, plane, 0, channels, channels, out_w)
                    continue
                for ox in range(out_w):
                    for c in range(channels):
                        total[at + ox * step + c] += plane[ox * channels + c]
    kept, row = np.empty(len(g), np.int32), width * channels
    for iy in range(height):
        first = (iy + top) * across + left * channels
        kept[iy * row : (iy + 1) * row] = total[first : first + row]
    write_signal(g, kept, shift, lo, hi)
