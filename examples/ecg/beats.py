"""From a record to what the network sees: one window and four RR features a beat, all of it causal.

With x[n] the lead in mV at 360 Hz, x[n] = x[0] for n < 0, and R_i the sample of the i-th annotated R peak:

1. low-pass    m[n] = (x[n] + x[n-1] + ... + x[n-5]) / 6          null at 60 Hz, group delay 2.5 samples
2. baseline    b[n] = b[n-1] + (m[n] - b[n-1]) / 128              b[-1] = m[0]; corner 0.45 Hz
   high-pass   y[n] = m[n] - b[n]
3. window      w_i[k] = y[R_i + 2 + 2 (k - 75)], k = 0..150       180 Hz; +2 makes up for the delay of 1
4. amplitude   p_i = max |w_i[k]| for k = 65..90                  the QRS complex
               a_i = a_(i-1) + (p_(i-1) - a_(i-1)) / 16           mean of the past beats; a_0 = p_0
   beat        beat_i = clip(w_i / a_i, -L, L), L = 127 / 64
5. rhythm      t_i = (R_i - R_(i-1)) / 360 s                      t_0 = 0.8 s
               u_i = u_(i-1) + (t_(i-1) - u_(i-1)) / 64           mean of the past intervals; u_0 = 0.8 s
   rr          rr_i = clip(4 log2(t_i / u_i, t_(i-1) / u_i, t_(i-2) / u_i, t_i / 0.8 s), -L, L)

Everything up to sample R_i + 152 is used, so a beat is ready 0.42 s after its R peak. The interval after a
beat is not used. The recursions run over all beats, also those of classes that give no sample. The limit L
lets an int8 input with scale 2^-6 hold every value; nothing is rounded here.
Steps 3 to 5 are those of the usual front end. Others (`front.py`) take another step and another part of the
beat, and tell more of it beside the rhythm.
Where a window reaches over an end of the record, the first or last value of y is repeated; a beat with fewer
than 75 samples (0.21 s) after its R peak is left out, for a device that stops there never completes it.
R peaks are the annotated ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from . import records, streamed
from .front import FEATURES, QRS, Front, Seen, running
from .records import FS, DataError, Record

USUAL = Front()
"""The front end that is described above."""

WINDOW = USUAL.window
"""Values of a beat window."""

LATENCY = USUAL.latency
"""Seconds from an R peak until its beat can be classified."""

LIMIT = 127 / 64
"""Both inputs lie within -LIMIT..LIMIT, so that int8 with scale 2^-6 holds them."""

KNOWN = records.CLASSES[:4]
"""The classes that protocol A knows: all but Q."""

_LOWPASS = 6
_BASELINE_SHIFT = 7
_DELAY = 2
_AMPLITUDE_SHIFT = 4
_RHYTHM_SHIFT = 6
_RHYTHM_GAIN = 4.0
_RR_START = 0.8
_TAIL = 75
# A flat lead must not divide by zero: an amplitude below the ADC's step of 5 uV carries no signal.
_LEAST_AMPLITUDE = 0.005


@dataclass(frozen=True)
class Beats:
    """Samples of one or several records, in the order of time within a record.

    beat    float32[n, 151]  window around the R peak, in units of the wearer's running QRS amplitude
    rr      float32[n, 4]    rhythm features (module docstring, step 5)
    label   uint8[n]         0..4 = N S V F Q
    symbol  str[n]           MIT-BIH symbol
    sample  int64[n]         sample index of the R peak
    record  str[n]           record name
    """

    beat: NDArray[np.float32]
    rr: NDArray[np.float32]
    label: NDArray[np.uint8]
    symbol: NDArray[np.str_]
    sample: NDArray[np.int64]
    record: NDArray[np.str_]

    def __len__(self) -> int:
        """Number of beats."""
        return len(self.label)

    def take(self, which: NDArray[np.bool_] | NDArray[np.int64]) -> Beats:
        """The beats that a mask or an index array selects."""
        return Beats(**{name: column[which] for name, column in vars(self).items()})

    def inputs(self) -> dict[str, NDArray[np.float32]]:
        """The model's inputs by name."""
        return {"beat": self.beat, "rr": self.rr}


def join(parts: Iterable[Beats]) -> Beats:
    """Several records as one, in the given order."""
    whole = list(parts)
    names = vars(whole[0])
    return Beats(**{name: np.concatenate([vars(part)[name] for part in whole]) for name in names})


def one_pole(x: NDArray[np.float64], shift: int, start: float) -> NDArray[np.float64]:
    """b[n] = b[n-1] + (x[n] - b[n-1]) / 2^shift with b[-1] = start; x, b: float64[n].

    Blocks instead of samples, so that half an hour takes milliseconds without SciPy.
    """
    keep = 1.0 - 2.0**-shift
    size = 256
    lag = np.subtract.outer(np.arange(size), np.arange(size))
    response = np.where(lag >= 0, keep ** np.maximum(lag, 0), 0.0) * 2.0**-shift
    decay = keep ** np.arange(1, size + 1)
    blocks = np.zeros((-(-len(x) // size), size))
    blocks.ravel()[: len(x)] = x
    forced = blocks @ response.T
    state = start
    for block in forced:
        block += decay * state
        state = block[-1]
    return forced.ravel()[: len(x)]


def condition(signal: NDArray[np.float32]) -> NDArray[np.float64]:
    """Steps 1 and 2: mV float32[n] -> low-passed, baseline-free mV float64[n], group delay 2.5 samples."""
    padded = np.concatenate([np.full(_LOWPASS - 1, signal[0]), signal]).astype(np.float64)
    smooth = np.convolve(padded, np.full(_LOWPASS, 1 / _LOWPASS), mode="valid")
    return smooth - one_pole(smooth, _BASELINE_SHIFT, float(smooth[0]))


def running_mean(values: NDArray[np.float64], shift: int, start: float) -> NDArray[np.float64]:
    """Mean of the values *before* each one: a_0 = start, a_i = a_(i-1) + (v_(i-1) - a_(i-1)) / 2^shift."""
    past = np.empty_like(values)
    mean = start
    for i, value in enumerate(values):
        past[i] = mean
        mean += (value - mean) * 2.0**-shift
    return past


def rhythm(rpeak: NDArray[np.int64]) -> NDArray[np.float32]:
    """Step 5: sample indices int64[n] of all beats of a record -> RR features float32[n, 4]."""
    interval = np.diff(rpeak) / FS
    rr = np.concatenate([[_RR_START], np.maximum(interval, 1 / FS)])
    before = np.concatenate([[_RR_START], rr[:-1]])
    before_that = np.concatenate([[_RR_START], before[:-1]])
    mean = running_mean(rr, _RHYTHM_SHIFT, _RR_START)
    ratio = np.stack([rr / mean, before / mean, before_that / mean, rr / _RR_START], axis=1)
    return _limit(_RHYTHM_GAIN * np.log2(ratio))


def windows(
    signal: NDArray[np.float32], rpeak: NDArray[np.int64], front: Front = USUAL
) -> NDArray[np.float32]:
    """Steps 1 to 4: mV float32[samples], R peaks int64[n] -> beats float32[n, front.window]."""
    return _limit(_seen(condition(signal), rpeak, front).window)


def features(
    signal: NDArray[np.float32], rpeak: NDArray[np.int64], front: Front
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What a front end says of a record: beat float32[n, front.values], rr float32[n, front.rhythm]."""
    seen = _seen(condition(signal), rpeak, front)
    beat, rr = [seen.window], [rhythm(rpeak)]
    if front.difference:
        beat.append(seen.window - running(seen.window, 5))
    rr += [_limit(column[:, None]) for name in front.extra for column in FEATURES[name](seen)]
    return _limit(np.concatenate(beat, axis=1)), np.concatenate(rr, axis=1)


def _seen(y: NDArray[np.float64], rpeak: NDArray[np.int64], front: Front) -> Seen:
    """A record's conditioned lead, cut at its R peaks."""

    def cut(offset: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray(y[np.clip(rpeak[:, None] + _DELAY + offset, 0, len(y) - 1)])

    window = cut(front.step * (np.arange(front.window) - front.before))
    peak = np.abs(window[:, front.peak]).max(axis=1)
    amplitude = np.maximum(running_mean(peak, _AMPLITUDE_SHIFT, float(peak[0])), _LEAST_AMPLITUDE)
    interval = np.concatenate([[_RR_START], np.maximum(np.diff(rpeak) / FS, 1 / FS)])
    height = np.log2(np.maximum(peak, _LEAST_AMPLITUDE) / amplitude)
    return Seen(interval, cut(np.arange(*QRS)), window / amplitude[:, None], height)


def _limit(values: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.asarray(np.clip(values, -LIMIT, LIMIT), dtype=np.float32)


def extract(
    record: Record, junctional: str = "N", classes: tuple[str, ...] = KNOWN, front: Front = USUAL
) -> Beats:
    """All beats of a record whose class is among `classes`. `junctional` as in `Record.label`.

    Raises DataError if the record has no beats, unordered R peaks or a signal that is not finite.
    """
    rpeak = record.rpeak
    if not len(rpeak) or rpeak[0] < 0 or rpeak[-1] >= len(record.signal) or (np.diff(rpeak) < 0).any():
        raise DataError(record.name, "no beats, or R peaks out of order or range", "check its annotations")
    if not np.isfinite(record.signal).all():
        raise DataError(record.name, "signal has values that are not finite", "repair the gaps first")
    label = record.label(junctional)
    wanted = [records.CLASSES.index(name) for name in classes]
    if front.streamed:
        return _streamed(record, label, wanted)
    every = Beats(
        *features(record.signal, rpeak, front),
        label,
        record.symbol,
        rpeak,
        np.full(len(rpeak), record.name),
    )
    return every.take(np.isin(label, wanted) & (rpeak + _TAIL < len(record.signal)))


def _streamed(record: Record, label: NDArray[np.uint8], wanted: list[int]) -> Beats:
    """What the chip tells of a record: beats of the classes that are wanted, and what is no beat, without a
    symbol and labelled NO_BEAT. `sample` is where it found them."""
    it = streamed.heard(record)
    is_beat = it.of >= 0
    told = np.where(is_beat, label[it.of], streamed.NO_BEAT).astype(np.uint8)
    symbol = np.where(is_beat, record.symbol[it.of], "")
    names = np.full(len(told), record.name)
    every = Beats(it.inputs["beat"], it.inputs["rr"], told, symbol, it.place, names)
    return every.take(np.isin(told, [*wanted, streamed.NO_BEAT]))


def true_beats(beats: Beats) -> Beats:
    """Those that are beats: a chip may have told others."""
    return beats.take(beats.label != streamed.NO_BEAT)


@lru_cache(maxsize=128)
def _load_one(name: str, folder: Path, junctional: str, classes: tuple[str, ...], front: Front) -> Beats:
    return extract(_read(name, folder), junctional, classes, front)


def record(name: str) -> Record:
    """A record, kept in memory for the next call. Raises DataError as `records.find` does."""
    return _read(name, records.find())


@lru_cache(maxsize=48)
def _read(name: str, folder: Path) -> Record:
    return records.read(name, folder)


def load(
    names: Sequence[str],
    junctional: str = "N",
    folder: Path | None = None,
    classes: tuple[str, ...] = KNOWN,
    front: Front = USUAL,
) -> dict[str, Beats]:
    """Beats of MIT-BIH records by name, kept in memory for the next call.

    Raises DataError as `records.find` does.
    """
    where = folder or records.find()
    return {name: _load_one(name, where, junctional, classes, front) for name in names}
