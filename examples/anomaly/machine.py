"""A rotating machine, synthesised: what its vibration is like, how that drifts, and two faults.

    usual      harmonics 1, 2, 3 of the shaft at 25 Hz, speed within 1 %, phases drawn anew; white noise
    drift d    from 0 to 1: the speed rises by 12 %, the second harmonic halves and the third grows by as much
               (a belt that wears), the noise grows by 20 %
    looseness  harmonics 1/2, 3/2 and 5/2 as well, a quarter as large as the first one
    bearing    3.57 times a turn an impulse rings at 330 Hz and decays within 8 ms

A sample is a window of 256 ms at 1 kHz: log2 of the power in 32 bands of 15.6 Hz, less 4, by 4. None of it
is a measurement: drift and faults are constructed as said here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RATE, WINDOW, BANDS = 1000, 256, 32
SHAFT, RING = 25.0, 330.0
FAULTS = ("looseness", "bearing")
_OFFSET, _SCALE, _FLOOR = 4.0, 4.0, 1e-3


def windows(
    n: int, seed: int, drift: NDArray[np.float64] | float = 0.0, fault: str = ""
) -> NDArray[np.float32]:
    """float32[n, 32]; drift of each window, or of all."""
    rng = np.random.default_rng([seed, n, len(fault)])
    d = np.broadcast_to(np.asarray(drift, np.float64), (n,))[:, None]
    t = np.arange(WINDOW)[None] / RATE
    shaft = SHAFT * (1 + 0.12 * d) * (1 + 0.01 * rng.uniform(-1, 1, (n, 1)))
    heights = [
        np.ones((n, 1)),
        0.6 * (1 - 0.5 * d),
        0.3 * (1 + 0.5 * d),
    ]
    x = 0.12 * (1 + 0.2 * d) * rng.normal(0, 1, (n, WINDOW))
    for k, height in enumerate(heights, 1):
        level = height * (1 + 0.05 * rng.normal(0, 1, (n, 1)))
        x += level * np.sin(2 * np.pi * (k * shaft * t + rng.uniform(0, 1, (n, 1))))
    for half in (0.5, 1.5, 2.5) if fault == "looseness" else ():
        x += 0.25 * np.sin(2 * np.pi * (half * shaft * t + rng.uniform(0, 1, (n, 1))))
    if fault == "bearing":
        since = np.mod(t * 3.57 * shaft + rng.uniform(0, 1, (n, 1)), 1) / (3.57 * shaft)
        x += 0.35 * np.exp(-since / 0.004) * np.sin(2 * np.pi * RING * since)
    power = np.square(np.abs(np.fft.rfft(x * np.hanning(WINDOW), axis=1)))[:, 1 : 4 * BANDS + 1]
    bands = power.reshape(n, BANDS, 4).sum(axis=2)
    return np.asarray((np.log2(bands + _FLOOR) - _OFFSET) / _SCALE, np.float32)
