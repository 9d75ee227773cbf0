"""Loop forms of gen/ops/spectrum.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import numeric
from ._loops import Cells, helper
from .logarithm import DOWN, FRAC, LOG2_E, mantissa
from .signal import remember

HALF_Q15 = 2**14


@helper
def beyond_bits(z: Cells, at: Any, n: Any, apart: Any, bits: Any) -> Any:
    """Bits of the largest magnitude of n values beyond `bits`; below 0 where it has fewer."""
    top = np.int64(1)
    for i in range(n):
        top |= abs(np.int64(z[at + i * apart]))
    word: Any = np.int32(top)
    lead: Any = numeric.leading_zeros(word)
    return np.int64(32 - bits) - np.int64(lead)


@helper
def rounded(v: Any, s: Any) -> Any:
    """v / 2^s, halves up."""
    return (np.int64(v) + ((np.int64(1) << s) >> np.int64(1))) >> s


@helper
def sine_at(turns: Cells, k: Any) -> Any:
    """Number k of the sines, by the cosines that there are."""
    quarter = len(turns) // 2
    return np.int64(turns[quarter - k if k < quarter else k - quarter])


def frame(
    x: Cells, seen: Cells, h: Cells, z: Cells, scale: Cells, hop: int, channels: int, size: int
) -> None:
    remember(seen, x)
    n = len(h)
    for row in range(len(scale)):
        first = row // channels * hop * channels + row % channels
        down: Any = beyond_bits(seen, first, n, channels, 15)
        right = max(down, np.int64(0))
        factor = np.int64(1) << max(-down, np.int64(0))
        for i in range(size):
            z[row * size + i] = 0
        place = 0
        for i in range(n // 2):
            for k in range(2):
                v: Any = rounded(seen[first + (2 * i + k) * channels], right)
                z[row * size + place + k] = v * factor * np.int64(h[2 * i + k])
            bit = size // 2
            while place & bit != 0:
                place ^= bit
                bit >>= 1
            place |= bit
        scale[row] = down


def transform(z: Cells, scale: Cells, turns: Cells, grown: Cells, size: int) -> None:
    for row in range(len(scale)):
        start = row * size
        total = np.int64(scale[row])
        width = 2
        while width < size:
            s: Any = max(beyond_bits(z, start, size, 1, 15), np.int64(0))
            total += s
            for j in range(0, width, 2):
                k = j // 2 * (size // width)
                c = np.int64(turns[k])
                sine: Any = sine_at(turns, k)
                for i in range(start + j, start + size, 2 * width):
                    ar: Any = rounded(z[i], s)
                    ai: Any = rounded(z[i + 1], s)
                    br: Any = rounded(z[i + width], s)
                    bi: Any = rounded(z[i + width + 1], s)
                    tr = (c * br + sine * bi + HALF_Q15) >> 15 if j > 0 else br
                    ti = (c * bi - sine * br + HALF_Q15) >> 15 if j > 0 else bi
                    z[i] = ar + tr
                    z[i + 1] = ai + ti
                    z[i + width] = ar - tr
                    z[i + width + 1] = ai - ti
            width *= 2
        grown[row] = total


@helper
def spectrum(z: Cells, start: Any, size: Any, turns: Cells, s: Any) -> None:
    """What a transform made of real values two by two becomes their spectrum."""
    for i in range(start, start + size):
        z[i] = rounded(z[i], s)
    z[start] = np.int64(z[start]) + np.int64(z[start + 1])
    z[start + 1] = 0
    for k in range(1, size // 4):
        a, b = start + 2 * k, start + size - 2 * k
        er, ei = np.int64(z[a]) + np.int64(z[b]), np.int64(z[a + 1]) - np.int64(z[b + 1])
        re, im = np.int64(z[a + 1]) + np.int64(z[b + 1]), np.int64(z[b]) - np.int64(z[a])
        c = np.int64(turns[k])
        sine: Any = sine_at(turns, k)
        tr = (c * re + sine * im + HALF_Q15) >> 15
        ti = (c * im - sine * re + HALF_Q15) >> 15
        z[a] = (er + tr + 1) >> 1
        z[a + 1] = (ei + ti + 1) >> 1
        z[b] = (er - tr + 1) >> 1
        z[b + 1] = (ei - ti + 1) >> 1


def bands(
    z: Cells, grown: Cells, turns: Cells, w: Cells, spans: Cells, y: Cells, size: int, base: int, lo: int,
    hi: int,
) -> None:  # fmt: skip
    many = len(spans) // 2
    for row in range(len(grown)):
        start = row * size
        s: Any = max(beyond_bits(z, start, size, 1, 14), np.int64(0))
        spectrum(z, start, size, turns, s)
        power = 2 * (np.int64(grown[row]) + s)
        at: Any = 0
        for band in range(many):
            first, count = start + 2 * np.int64(spans[2 * band]), np.int64(spans[2 * band + 1])
            total = np.int64(0)
            for i in range(count):
                re, im = np.int64(z[first + 2 * i]), np.int64(z[first + 2 * i + 1])
                total += np.int64(w[at + i]) * (((re * re) >> 1) + ((im * im) >> 1))
            at += count
            above: Any = np.int32(max(total >> 31, np.int64(1)))
            zeros: Any = numeric.leading_zeros(above)
            n = np.int64(32) - np.int64(zeros) if total >> 31 > 0 else np.int64(0)
            v: Any = np.int32(max(total >> n, np.int64(1)))
            lead: Any = numeric.leading_zeros(v)
            part: Any = numeric.logarithm(mantissa(v, lead))
            rest = (np.int64(part) * LOG2_E + (1 << (DOWN - 1))) >> DOWN
            found = ((31 - np.int64(lead) + n + power) << FRAC) + rest + base
            found = min(max(found, np.int64(lo)), np.int64(hi))
            y[row * many + band] = found if total > 0 else lo
