"""The loop forms of maxima over windows: rows of a map at once, whose values lie side by side.

A row of windows is seen tap by tap, each a whole row of the map; what belongs to the windows' places is then
taken out of it, or put there, in groups of channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import numeric
from ._loops import Cells, Number, fill_map, helper, put, write_signal
from ._packed import BYTES, pack_bytes, places_bits, unpacked_bytes, whole_words


@helper
def padded_sizes(window: Any) -> Any:
    """(rows, elements of a row) of a map with all that windows see beyond it."""
    height, width, channels, out_h, out_w, kernel_h, kernel_w, step_h, step_w, _, _, top, left, _ = window
    down = max(height + top, (out_h - 1) * step_h + kernel_h)
    return down, max(width + left, (out_w - 1) * step_w + kernel_w) * channels


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
                out[np.uint64(first + c * apart + i)] = seen[np.uint64(at + c * step + i)]
        return
    to, given = out.view(np.int64), seen.view(np.int64)
    first, apart, at, step = first // n * each, apart // n * each, at // n * each, step // n * each
    for i in range(each):
        for c in range(count):
            to[np.uint64(first + c * apart + i)] = given[np.uint64(at + c * step + i)]


def max_forward(x: Cells, y: Cells, window: Number) -> None:
    _, _, channels, out_h, out_w, kernel_h, kernel_w, step_h, step_w, _, _, _, _, _ = window
    down, across = padded_sizes(window)
    seen = x
    if down * across > len(x):  # windows see beyond the map
        seen = np.full(whole_words(down * across), -128 if x.itemsize == 1 else -32768, x.dtype)
        fill_map(seen, x, window, across, 0)
    n, row = ((out_w - 1) * step_w + 1) * channels, out_w * channels
    best, found = np.empty(whole_words(n), x.dtype), np.empty(whole_words(len(y)), x.dtype)
    for oy in range(out_h):
        for ky in range(kernel_h):
            for kx in range(kernel_w):
                there = seen[(oy * step_h + ky) * across + kx * channels :]
                if ky == 0 and kx == 0:
                    put(best[:n], there)
                else:
                    for i in range(n):
                        best[i] = max(best[i], there[i])
        move_groups(found, oy * row, channels, best, 0, step_w * channels, channels, out_w)
    put(y, found)  # y may trail x: it is written when all is read


@helper
def move_signals(moved: Cells, left: Cells, seen: Cells, want: Cells) -> None:
    """What is left of signals is moved where a tap shows the maximum that is wanted."""
    for i in range(len(moved)):
        moved[i] = left[i] if seen[i] == want[i] else np.int16(0)
        left[i] = np.int16(left[i] - moved[i])


def max_feedback(
    x: Cells, y: Cells, d: Cells, g: Cells, window: Number, before: int, shift: int, lo: int, hi: int
) -> None:
    height, width, channels, out_h, out_w, kernel_h, kernel_w, step_h, step_w, _, _, top, left, _ = window
    n, row, step = out_w * channels, width * channels, step_w * channels
    given, moved = np.empty(whole_words(len(x)), x.dtype), np.empty(whole_words(n), np.int16)
    seen, waiting = np.empty(whole_words(n), x.dtype), np.empty(n, np.int16)
    apart = kernel_h <= step_h and kernel_w <= step_w  # no place is in two windows
    alone = np.zeros(whole_words(len(g)) if apart else 0, np.int16)
    total = np.zeros(0 if apart else len(g), np.int32)
    put(given[: len(x)], x)
    for oy in range(out_h):
        signals, wanted = d[oy * n :], y[oy * n :]
        for i in range(n):
            waiting[i] = numeric.shift_round(numeric.int32(signals[i]), before)
        for ky in range(max(top - oy * step_h, 0), min(height + top - oy * step_h, kernel_h)):
            for kx in range(kernel_w):
                first = max(-(-(left - kx) // step_w), 0)  # the windows that this tap is in the map of
                count = min((width - 1 + left - kx) // step_w + 1, out_w) - first
                if count < 1:
                    continue
                at = (oy * step_h + ky - top) * row + (first * step_w + kx - left) * channels
                many, begin = count * channels, first * channels
                move_groups(seen, 0, channels, given, at, step, channels, count)
                move_signals(moved[:many], waiting[begin:], seen, wanted[begin:])
                if apart:
                    move_groups(alone, at, step, moved, 0, channels, channels, count)
                    continue
                for c in range(count):
                    place, source = total[at + c * step :], moved[c * channels :]
                    for i in range(channels):
                        place[i] += source[i]
    if apart:
        write_signal(g, alone, shift, lo, hi)
    else:
        write_signal(g, total, shift, lo, hi)


@helper
def first_maxima(
    x: Cells, y: Cells, at: Cells, width: Any, channels: Any, columns: Any, kernel: Any, step: Any
) -> None:  # fmt: skip
    """The maxima of windows that lie in the map, and `at`, which place of its window each has first; nothing
    where `at` is empty. y may trail x: it is written when all is read.

    width: of the map; columns: windows of a row; kernel, step: (down, across)
    """
    (kernel_h, kernel_w), (step_h, step_w) = kernel, step
    n, row = ((columns - 1) * step_w + 1) * channels, columns * channels
    best, found = np.empty(whole_words(n), x.dtype), np.empty(whole_words(len(y)), x.dtype)
    told = len(at) > 0
    place = np.empty(whole_words(n) if told else 0, np.uint8)
    places = np.zeros(whole_words(len(y)) if told else 0, np.uint8)
    for oy in range(len(y) // row):
        for k in range(kernel_h * kernel_w):
            there = x[((oy * step_h + k // kernel_w) * width + k % kernel_w) * channels :]
            if k == 0:
                put(best[:n], there)
                place[:] = 0
            elif told:
                here = np.uint8(k)
                for i in range(n):
                    place[i] = here if there[i] > best[i] else place[i]
                    best[i] = max(best[i], there[i])
            else:
                for i in range(n):
                    best[i] = max(best[i], there[i])
        move_groups(found, oy * row, channels, best, 0, step_w * channels, channels, columns)
        if told:
            move_groups(places, oy * row, channels, place, 0, step_w * channels, channels, columns)
    put(y, found)
    if told:
        pack_bytes(at, places, places_bits(kernel_h * kernel_w))


@helper
def put_signals(
    out: Cells, d: Cells, at: Cells, width: Any, channels: Any, columns: Any, kernel: Any, step: Any
) -> None:  # fmt: skip
    """Each signal of d where `at` says, in a map whose windows are apart; 0 at the other places of windows.

    out: `whole_words` elements; the rest as of `first_maxima`
    """
    (kernel_h, kernel_w), (step_h, step_w), n = kernel, step, columns * channels
    places = unpacked_bytes(at, len(d), places_bits(kernel_h * kernel_w))
    moved = np.empty(whole_words(n), np.int16)
    for oy in range(len(d) // n):
        given, place = d[oy * n :], places[oy * n :]
        for k in range(kernel_h * kernel_w):
            here = np.uint8(k)
            for i in range(n):
                moved[i] = given[i] if place[i] == here else np.int16(0)
            first = ((oy * step_h + k // kernel_w) * width + k % kernel_w) * channels
            move_groups(out, first, step_w * channels, moved, 0, channels, channels, columns)
