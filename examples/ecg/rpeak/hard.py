"""What a wearable meets beside beats, on a synthetic patient: lead off, rails, saturation, gaps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .. import synthetic
from ..records import FS
from .data import Recording
from .detect import Samples, detect, front_end
from .match import WINDOW, Places, matched

GAIN = 200.0
BEGIN, END, LAST = 30.0, 36.0, 60.0
"""Seconds at which an event begins and ends, and at which the recording does."""
RAIL = 32767


def patient(seed: int, rate: float, seconds: float = LAST) -> Recording:
    """A synthetic patient at any rate, `GAIN` units a mV."""
    whole = synthetic.record(seed, seconds / 60)
    n = int(len(whole.signal) * rate / FS)
    x = np.interp(np.arange(n) / rate, np.arange(len(whole.signal)) / FS, whole.signal)
    rpeak = np.round(whole.rpeak * rate / FS).astype(np.int64)
    return Recording(whole.name, np.round(GAIN * x).astype(np.int16), rpeak[rpeak < n], (), GAIN, rate)


@dataclass(frozen=True)
class Event:
    """says: what happens, in words; change: samples during the event and the rate -> what is there instead,
    None for a gap: they never come, and `reset` runs."""

    says: str
    change: Callable[[Samples, float], Samples] | None


def _square(x: Samples, rate: float) -> Samples:
    """From rail to rail as fast as beats' slopes are."""
    up = np.arange(len(x)) // max(1, round(rate / 24)) % 2 == 1
    return np.asarray(np.where(up, RAIL, -RAIL), np.int16)


def _amplified(x: Samples, rate: float) -> Samples:
    return np.asarray(np.clip(300 * x.astype(np.int64), -RAIL - 1, RAIL), np.int16)


def _wandering(x: Samples, rate: float) -> Samples:
    slow = 40_000 * np.sin(2 * np.pi * 0.4 * np.arange(len(x)) / rate)
    return np.asarray(np.clip(np.round(x + slow), -RAIL - 1, RAIL), np.int16)


EVENTS = {
    "flat": Event("lead off: a flat line", lambda x, rate: np.full_like(x, x[0])),
    "high": Event("lead off: the upper rail", lambda x, rate: np.full_like(x, RAIL)),
    "low": Event("lead off: the lower rail", lambda x, rate: np.full_like(x, -RAIL - 1)),
    "square": Event("from rail to rail, 12 times a second", _square),
    "amplified": Event("300 times the gain: 16 bits saturate in every beat", _amplified),
    "wandering": Event("a baseline of 200 mV that saturates 16 bits", _wandering),
    "gap": Event("the samples are lost, and `reset` runs", None),
}


def _found(x: Samples, of: Recording) -> Places:
    return np.sort(detect(x, front_end(of.rate, of.gain)).at)


def played(of: Recording, event: Event | None) -> Places:
    """Where R peaks are found, ascending, in samples of the whole recording; None: nothing happens."""
    first, last = round(BEGIN * of.rate), round(END * of.rate)
    if event and not event.change:  # what lies between never comes, and all begins anew behind it
        return np.concatenate([_found(of.x[:first], of), last + _found(of.x[last:], of)])
    x = of.x.copy()
    if event and event.change:
        x[first:last] = event.change(x[first:last], of.rate)
    return _found(x, of)


def recovery(of: Recording, event: Event) -> float:
    """Seconds from the end of an event until the same beats are found as without it."""
    end, window = round(END * of.rate), round(WINDOW * of.rate)
    found, usual = played(of, event), played(of, None)
    of_usual, of_found = matched(usual, found, window)
    wrong = [*usual[of_usual < 0], *found[of_found < 0]]
    return max((int(w) - end for w in wrong if w >= end), default=0) / of.rate
