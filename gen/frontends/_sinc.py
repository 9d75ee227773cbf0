"""A filter between two rates: a sinc under a Kaiser window, in integers whose phases have gain 1 each.

Source of the equations: J. F. Kaiser, Nonrecursive digital filter design using the I0-sinh window function,
1974; A. V. Oppenheim and R. W. Schafer, Discrete-time signal processing, section 7.6.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

ATTENUATION = 60.0
"""dB, of what would fold into the band that passes."""
BETA = 0.1102 * (ATTENUATION - 8.7)
MOST = 2**15 - 1
FINEST = 29
"""Bits behind the point of coefficients at most."""


def taps_of(up: int, down: int, share: float) -> int:
    """Coefficients of each phase of a filter that makes `up` samples of `down`, and passes what lies below
    `share` of half the lower rate; a multiple of 4."""
    lower = min(1.0, up / down)  # of the rate of what comes in
    width = 2 * math.pi * (1 - share) * lower / up  # of the transition, at the rate that both have
    return -(-math.ceil(((ATTENUATION - 7.95) / (2.285 * width) + 1) / up) // 4) * 4


def phases(up: int, down: int, taps: int) -> NDArray[np.float64]:
    """[up, taps]: row p weighs samples that lie .., up + p, p of the common rate before."""
    n = np.arange(up * taps) - (up * taps - 1) / 2
    lower = min(1.0, up / down) / up
    h = np.sinc(n * lower) * np.kaiser(up * taps, BETA)
    rows = h.reshape(taps, up)[::-1].T  # the oldest sample first
    made: NDArray[np.float64] = rows / rows.sum(axis=1, keepdims=True)
    return made


def integers(rows: NDArray[np.float64]) -> tuple[NDArray[np.int16], int]:
    """Rows as integers of 2^-n, each of which sums up to 2^n exactly, and n: as fine as int16 allows. What
    rounding leaves goes where it changes least, so each is off by less than one unit."""
    n = min(FINEST, math.floor(math.log2((MOST - 1) / np.abs(rows).max())))
    scaled = rows * 2.0**n
    whole = np.floor(scaled)
    missing = np.rint(2.0**n - whole.sum(axis=1)).astype(int)
    order = np.argsort(whole - scaled, axis=1, kind="stable")
    for row, places, more in zip(whole, order, missing, strict=True):
        row[places[:more]] += 1
    return whole.astype(np.int16), n
