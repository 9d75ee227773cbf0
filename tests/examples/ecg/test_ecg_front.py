"""Front ends: each feature sees the past alone and has its columns; the usual front end is what it was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from synapcc.examples.ecg import beats, records, synthetic
from synapcc.examples.ecg.front import COLUMNS, FEATURES, FRONTS, QRS, Front, running

SHORT = Front(step=1, before=50)
EVERY = (
    beats.USUAL,
    SHORT,
    Front(step=3, before=40, window=90, difference=True),
    *(Front(extra=(name,)) for name in FEATURES),
    replace(SHORT, extra=tuple(FEATURES), difference=True),
    *FRONTS.values(),
)


@pytest.fixture(scope="module")
def record() -> records.Record:
    return synthetic.record(3, minutes=1)


@pytest.mark.parametrize("front", EVERY, ids=str)
def test_a_front_end_has_the_sizes_that_it_says(front: Front, record: records.Record) -> None:
    found = beats.extract(record, front=front)
    assert found.beat.shape == (len(found), front.values) and found.beat.dtype == np.float32
    assert found.rr.shape == (len(found), front.rhythm) and found.rr.dtype == np.float32
    for values in found.inputs().values():
        assert np.isfinite(values).all() and np.abs(values).max() <= beats.LIMIT


@pytest.mark.parametrize("front", EVERY, ids=str)
def test_nothing_behind_its_latency_is_seen(front: Front, record: records.Record) -> None:
    """Other samples, and other beats, from there on change no bit of the beats before."""
    i = len(record.rpeak) // 2
    seen = max(front.latency, (2 + QRS[1] - 1) / records.FS if front.extra else 0.0)
    end = int(record.rpeak[i] + round(seen * records.FS)) + 1
    signal = record.signal.copy()
    signal[end:] = 3.0
    later = np.arange(i + 1, len(record.rpeak) - 1)
    fewer = np.delete(record.rpeak, later)
    whole = beats.features(record.signal, record.rpeak, front)
    cut = beats.features(signal, fewer, front)
    for a, b in zip(whole, cut, strict=True):
        assert a[: i + 1].tobytes() == b[: i + 1].tobytes()
        assert a[i + 1].tobytes() != b[i + 1].tobytes(), "what comes later is another beat"


def test_the_columns_of_features_are_counted(record: records.Record) -> None:
    assert COLUMNS.keys() == FEATURES.keys()
    usual = beats.extract(record)
    for name in FEATURES:
        found = beats.extract(record, front=Front(extra=(name,)))
        assert found.rr.shape[1] == 4 + COLUMNS[name]
        assert found.beat.tobytes() == usual.beat.tobytes(), name
        assert found.rr[:, :4].tobytes() == usual.rr.tobytes(), name
        assert (found.rr[:, 4:].std(axis=0) > 0).all(), f"{name} never changes"


def test_a_running_mean_is_of_the_rows_before() -> None:
    rows = np.array([[8.0], [16.0], [0.0], [4.0]])
    assert running(rows, 1).ravel().tolist() == [8.0, 8.0, 12.0, 6.0]


def test_a_shorter_window_of_every_sample_is_part_of_a_longer_one(record: records.Record) -> None:
    """The amplitude is taken from the same span about the R peak, at a finer step."""
    signal, rpeak = record.signal, record.rpeak
    long = beats.features(signal, rpeak, Front(step=1, before=60, window=171))[0]
    short = beats.features(signal, rpeak, SHORT)[0]
    assert long[:, 10:161].tobytes() == short.tobytes()


def test_wide_and_upside_down_beats_show(record: records.Record) -> None:
    """width, polarity and likeness of one beat that is three times as long and turned over."""
    fs, n = records.FS, 40
    rpeak = np.arange(1, n + 1) * fs
    time = np.arange((n + 2) * fs) / fs
    signal = np.zeros(len(time))
    for k, r in enumerate(rpeak):
        wide = k == n - 1
        signal += (-1 if wide else 1) * np.exp(-(((time - r / fs) / (0.036 if wide else 0.012)) ** 2))
    names = ("width", "polarity", "likeness")
    found = beats.features(signal.astype(np.float32), rpeak, Front(extra=names))[1][:, 4:]
    width, polarity, likeness = found[:, 0], found[:, 2], found[:, 3]
    assert width[-1] > 1 and np.abs(width[1:-1]).max() < 0.2
    assert polarity[-1] < -1 and polarity[1:-1].min() > 1
    assert likeness[-1] > 1 and likeness[2:-1].max() < -0.8
