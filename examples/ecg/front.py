"""Options of the front end: which part of a beat the network sees, and what it is told beside it.

Features that stand behind the four of the rhythm, all of them causal, all clipped to -L..L as these; t_i, w_i
and a_i as in `beats`, mean_s a running mean of the beats before, which moves by 1/2^s:

    pace        4 log2(t_i / mean_3 t), 4 log2(t_i / t_(i-1))         against the last beats, not a minute
    unrest      4 mean_4 |log2(t_i / t_(i-1))| - 1                    rhythms in which no interval is early
    width       4 log2(d_i / mean_5 d), 4 log2(d_i / 0.08 s)          d_i = sum |q_i| / max |q_i|, as a time
    height      4 log2(p_i / a_i)                                     p_i = max |q_i|
    likeness    4 (1 - c_i) - 1, 4 (1 - c'_i) - 1                     correlation of w_i with mean_5 w, and
                                                                      with w_(i-1)
    polarity    2 (max q_i + min q_i) / (max q_i - min q_i)           which way the QRS complex points

q_i is the part of the conditioned lead from 0.11 s before to 0.17 s after the R peak. With `difference` the
window is followed by w_i / a_i less its mean_5: what is unlike the wearer's usual beat.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SPAN = (-20, 30)
"""Samples about the R peak among which the QRS complex has its peak."""
QRS = (-40, 61)
"""Samples about the R peak that the features of its form are taken from."""
_FS = 360
_USUAL = 0.08


@dataclass(frozen=True)
class Front:
    """step: samples of the record per value; window: values; before: index of the R peak among them;
    extra: names of `FEATURES`; difference: the window a second time, less the wearer's usual one;
    streamed: as the usual one, made by the chip itself about R peaks that it finds (streamed.py)."""

    step: int = 2
    before: int = 75
    window: int = 151
    extra: tuple[str, ...] = ()
    difference: bool = False
    streamed: bool = False

    @property
    def values(self) -> int:
        """What `beat` holds."""
        return self.window * (1 + self.difference)

    @property
    def rhythm(self) -> int:
        """What `rr` holds."""
        return 4 + sum(COLUMNS[name] for name in self.extra)

    @property
    def latency(self) -> float:
        """Seconds from an R peak until its beat can be classified."""
        return (2 + self.step * (self.window - 1 - self.before)) / _FS

    @property
    def peak(self) -> slice:
        """Where in the window the QRS complex has its peak."""
        return slice(self.before + SPAN[0] // self.step, self.before + SPAN[1] // self.step + 1)


@dataclass(frozen=True)
class Seen:
    """A record's beats as the features see them.

    interval  float64[n]     seconds since the beat before
    qrs       float64[n, k]  samples of the conditioned lead about the R peak, mV
    window    float64[n, w]  in units of the running amplitude
    height    float64[n]     log2 of the QRS peak over the running amplitude
    """

    interval: Floats
    qrs: Floats
    window: Floats
    height: Floats


def running(values: Floats, shift: int) -> Floats:
    """Mean of the rows *before* each one, from the first row on; float64[n, ...]."""
    past = np.empty_like(values)
    mean = values[0].copy()
    for i, value in enumerate(values):
        past[i] = mean
        mean = mean + (value - mean) * 2.0**-shift
    return past


def _before(values: Floats) -> Floats:
    return np.concatenate([values[:1], values[:-1]])


def _ratio(a: Floats, b: Floats | float) -> Floats:
    return np.asarray(4 * np.log2(np.maximum(a, 1e-9) / np.maximum(b, 1e-9)))


def pace(seen: Seen) -> list[Floats]:
    """The interval against the mean of the last ones, and against the one before."""
    t = seen.interval
    return [_ratio(t, running(t, 3)), _ratio(t, _before(t))]


def unrest(seen: Seen) -> list[Floats]:
    """How much the last intervals differed from each other."""
    t = seen.interval
    return [4 * running(np.abs(np.log2(t / _before(t))), 4) - 1]


def width(seen: Seen) -> list[Floats]:
    """How long the QRS complex is, against the wearer's usual one, and in seconds."""
    size = np.abs(seen.qrs)
    seconds = size.sum(axis=1) / np.maximum(size.max(axis=1), 1e-3) / _FS
    return [_ratio(seconds, running(seconds, 5)), _ratio(seconds, _USUAL)]


def height(seen: Seen) -> list[Floats]:
    """The QRS peak in units of the running amplitude, as a logarithm."""
    return [4 * seen.height]


def likeness(seen: Seen) -> list[Floats]:
    """How unlike the window is to the wearer's usual one, and to the one before."""
    w = seen.window
    return [4 * (1 - _correlation(w, other)) - 1 for other in (running(w, 5), _before(w))]


def polarity(seen: Seen) -> list[Floats]:
    """Which way the QRS complex points."""
    most, least = seen.qrs.max(axis=1), seen.qrs.min(axis=1)
    return [2 * (most + least) / np.maximum(most - least, 1e-3)]


def _correlation(a: Floats, b: Floats) -> Floats:
    a, b = (x - x.mean(axis=1, keepdims=True) for x in (a, b))
    size = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return np.asarray((a * b).sum(axis=1) / np.maximum(size, 1e-9))


FEATURES: dict[str, Callable[[Seen], list[Floats]]] = {
    f.__name__: f for f in (pace, unrest, width, height, likeness, polarity)
}
COLUMNS = {"pace": 2, "unrest": 1, "width": 2, "height": 1, "likeness": 2, "polarity": 1}
"""Values of each."""

FRONTS = {
    "usual": Front(),
    "short": Front(step=1, before=50),
    "form": Front(extra=tuple(FEATURES)),
    "difference": Front(difference=True),
    "stream": Front(streamed=True),
}
"""By the names that `choices.FRONTS` tells of."""
