"""Preprocessing is causal, follows its equations, and synthetic patients come out of their seed."""

import math

import numpy as np
import pytest

from synapcc.examples.ecg import beats, synthetic
from synapcc.examples.ecg.records import FS, DataError, Record


def test_one_pole_follows_its_recursion() -> None:
    x = np.random.default_rng(0).standard_normal(1000)
    state, expected = 0.5, []
    for value in x:
        state += (value - state) / 8
        expected.append(state)
    assert beats.one_pole(x, 3, 0.5) == pytest.approx(expected, abs=1e-12)


def test_constant_signal_vanishes() -> None:
    assert np.abs(beats.condition(np.full(5000, 3.7, np.float32))).max() < 1e-9


def test_mains_hum_is_nulled() -> None:
    hum = np.sin(2 * np.pi * 60 * np.arange(3600) / FS).astype(np.float32)
    assert np.abs(beats.condition(hum)[2000:]).max() < 1e-3


def test_rhythm_by_hand() -> None:
    rpeak = np.array([100, 460, 820, 1000])  # 1 s, 1 s, 0.5 s
    rr = beats.rhythm(rpeak)
    mean = [0.8, 0.8, 0.8 + 0.2 / 64]
    mean.append(mean[2] + (1 - mean[2]) / 64)
    assert rr[0].tolist() == [0, 0, 0, 0]
    assert rr[1] == pytest.approx([4 * math.log2(1 / 0.8), 0, 0, 4 * math.log2(1 / 0.8)], abs=1e-6)
    after = [4 * math.log2(t / mean[3]) for t in (0.5, 1.0, 1.0)]
    assert rr[3] == pytest.approx(np.clip([*after, 4 * math.log2(0.5 / 0.8)], -beats.LIMIT, beats.LIMIT))


@pytest.mark.parametrize("beat", [0, 7, 30])
def test_the_future_changes_nothing(beat: int) -> None:
    whole = synthetic.record(4, minutes=1)
    end = whole.rpeak[beat] + round(beats.LATENCY * FS) + 1
    seen = whole.rpeak < end
    changed = whole.signal.copy()
    changed[end:] = 5.0
    later = Record("later", changed, whole.rpeak[seen], whole.symbol[seen])
    one, other = beats.extract(whole), beats.extract(later)
    assert (one.beat[: beat + 1] == other.beat[: beat + 1]).all()
    assert (one.rr[: beat + 1] == other.rr[: beat + 1]).all()


def test_edges_are_padded_and_the_last_half_beat_left_out() -> None:
    signal = synthetic.record(0, minutes=1).signal[:3600]
    rpeak = np.array([3, 400, 3600 - 76, 3600 - 75])
    found = beats.extract(Record("x", signal, rpeak, np.array(list("NQVN"))))
    assert found.sample.tolist() == [3, 3600 - 76]
    assert found.label.tolist() == [0, 2]
    assert (found.beat[0, :70] == found.beat[0, 0]).all()


@pytest.mark.parametrize(
    ("rpeak", "fault"), [([], "no beats"), ([5, 4], "out of order"), ([100, 9999], "or range")]
)
def test_bad_annotations_are_refused(rpeak: list[int], fault: str) -> None:
    record = Record("x", np.zeros(5000, np.float32), np.array(rpeak, np.int64), np.array(["N"] * len(rpeak)))
    with pytest.raises(DataError, match=fault):
        beats.extract(record)


def test_gap_in_the_signal_is_refused() -> None:
    signal = np.zeros(5000, np.float32)
    signal[7] = np.nan
    with pytest.raises(DataError, match="not finite"):
        beats.extract(Record("x", signal, np.array([100]), np.array(["N"])))


def test_flat_lead_gives_zeros() -> None:
    found = beats.extract(Record("x", np.zeros(5000, np.float32), np.array([100, 900]), np.array(["N", "N"])))
    assert not found.beat.any()


def test_join_and_take() -> None:
    one, two = (beats.extract(synthetic.record(seed, minutes=1)) for seed in (1, 2))
    both = beats.join([one, two])
    assert len(both) == len(one) + len(two)
    assert (both.take(both.record == "synthetic-2").beat == two.beat).all()


def test_synthetic_patient_comes_from_its_seed() -> None:
    one, again, other = synthetic.record(7, 2), synthetic.record(7, 2), synthetic.record(8, 2)
    assert (one.signal == again.signal).all() and (one.rpeak == again.rpeak).all()
    assert one.name == "synthetic-7" and one.signal.dtype == np.float32
    assert len(one.signal) == 2 * 60 * FS and (np.diff(one.rpeak) > 0).all()
    assert not np.array_equal(one.signal, other.signal)


@pytest.mark.parametrize("seed", range(6))
def test_synthetic_patient_has_every_class_to_learn(seed: int) -> None:
    record = synthetic.record(seed)
    early = record.label()[record.rpeak < 5 * 60 * FS]
    assert (np.bincount(early, minlength=4) >= 3).all()


def test_r_peak_is_where_the_qrs_is() -> None:
    record = synthetic.record(5, minutes=2)
    normal = record.rpeak[record.symbol == "N"][2:-2]
    window = record.signal[normal[:, None] + np.arange(-40, 41)]
    assert abs(int(window.mean(axis=0).argmax()) - 40) <= 2
