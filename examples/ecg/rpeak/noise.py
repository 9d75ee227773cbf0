"""Noise of a wearer's ECG, synthesised: baseline wander, muscle, electrode motion, at a stated ratio.

    baseline   random phases, amplitude 1 / f from 0.05 to 0.6 Hz: breath, slow shifts
    muscle     random phases, flat from 15 to 120 Hz, times exp(u), u of deviation 0.5, below 0.3 Hz
    electrode  steps in Poisson time, one in two seconds, normal heights, decaying with 0.4 s, and random
               phases with 1 / f from 0.5 to 12 Hz: it has the shape and the frequencies of beats

The ratio is that of the noise stress test (Moody GB, Muldrow WE, Mark RG, Computers in Cardiology 11:381-384,
1984): 10 log10(S / N), S an eighth of the square of the QRS complexes' height, N the noise's mean square. As
there, two minutes with noise take turns with two without.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
SPELL = 120.0
"""Seconds of noise, and without."""
_QRS = 0.05
"""Seconds about an R peak within which a complex has its height."""


def coloured(rng: np.random.Generator, n: int, rate: float, low: float, high: float, power: float) -> Floats:
    """Random phases, amplitude f^-power between low and high Hz; float64[n] of mean square 1."""
    f = np.fft.rfftfreq(n, 1 / rate)
    band = (f >= low) & (f <= min(high, 0.45 * rate))
    spectrum = np.zeros(len(f), np.complex128)
    phase = rng.uniform(0, 2 * np.pi, len(f))
    spectrum[band] = f[band] ** -power * np.exp(1j * phase[band])
    return _unit(np.fft.irfft(spectrum, n))


def _unit(x: Floats) -> Floats:
    return np.asarray(x / np.sqrt(np.mean(x**2)))


def baseline(rng: np.random.Generator, n: int, rate: float) -> Floats:
    return coloured(rng, n, rate, 0.05, 0.6, 1)


def muscle(rng: np.random.Generator, n: int, rate: float) -> Floats:
    swell = np.exp(0.5 * coloured(rng, n, rate, 0.01, 0.3, 0.5))
    return _unit(coloured(rng, n, rate, 15, 120, 0) * swell)


def electrode(rng: np.random.Generator, n: int, rate: float) -> Floats:
    kicks = rng.standard_normal(n) * (rng.random(n) < 0.5 / rate)
    length = round(3 * rate)
    decay = np.exp(-np.arange(length) / (0.4 * rate))
    size = n + length
    steps = np.fft.irfft(np.fft.rfft(kicks, size) * np.fft.rfft(decay, size), size)[:n]
    return _unit(_unit(steps) + coloured(rng, n, rate, 0.5, 12, 1))


KINDS: dict[str, Callable[[np.random.Generator, int, float], Floats]] = {
    f.__name__: f for f in (baseline, muscle, electrode)
}


def height(x: NDArray[np.int16], rpeak: NDArray[np.int64], rate: float) -> float:
    """Median height of QRS complexes, from the lowest to the highest sample about the R peak."""
    reach = round(_QRS * rate)
    inside = rpeak[(rpeak >= reach) & (rpeak + reach < len(x))]
    about = x[inside[:, None] + np.arange(-reach, reach + 1)].astype(np.int32)
    return float(np.median(about.max(axis=1) - about.min(axis=1)))


def spells(n: int, rate: float, start: float) -> NDArray[np.bool_]:
    """Which of n samples have noise: every other `SPELL` from `start` seconds on, the first one too."""
    turn = (np.arange(n) / rate - start) // SPELL
    return np.asarray((turn >= 0) & (turn % 2 == 0))


def noisy(
    x: NDArray[np.int16], rpeak: NDArray[np.int64], rate: float, kinds: tuple[str, ...], decibel: float,
    seed: int, start: float,
) -> NDArray[np.int16]:  # fmt: skip
    """A recording, int16[n], with the sum of `kinds` in its spells, all together at the ratio; saturates."""
    noise = np.zeros(len(x))
    for kind in kinds:
        noise += KINDS[kind](np.random.default_rng([seed, list(KINDS).index(kind)]), len(x), rate)
    size = height(x, rpeak, rate) / np.sqrt(8 * 10 ** (decibel / 10))
    added = x + np.where(spells(len(x), rate, start), size * _unit(noise), 0)
    return np.clip(np.round(added), -32768, 32767).astype(np.int16)
