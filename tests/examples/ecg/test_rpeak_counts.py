"""How R peaks are counted: matches one to one, noise at its ratio, the area under a curve."""

from __future__ import annotations

import numpy as np
import pytest

from synapcc.examples.ecg.rpeak.hard import patient
from synapcc.examples.ecg.rpeak.match import Count, counted, matched
from synapcc.examples.ecg.rpeak.noise import KINDS, SPELL, height, noisy, spells
from synapcc.examples.ecg.rpeak.quality import auc, told_apart


def places(*at: int) -> np.ndarray:
    return np.array(at, np.int64)


@pytest.mark.parametrize(
    ("truth", "found", "want"),
    [
        ((100, 200), (100, 200), (0, 1)),
        ((100, 200), (110, 211), (0, -1)),
        ((100, 200), (), (-1, -1)),
        ((100,), (91, 99), (1,)),  # the nearer of two
        ((100, 108), (107,), (-1, 0)),
        ((100, 105), (103, 104), (-1, 1)),  # the next but one is nearer, twice
    ],
)
def test_matches(truth: tuple[int, ...], found: tuple[int, ...], want: tuple[int, ...]) -> None:
    assert tuple(matched(places(*truth), places(*found), 10)[0]) == want


def test_matches_are_one_to_one_within_the_window() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        a, b = (np.unique(rng.integers(0, 300, rng.integers(0, 30))) for _ in range(2))
        of_a, of_b = matched(a, b, 7)
        both = np.flatnonzero(of_a >= 0)
        assert np.array_equal(of_b[of_a[both]], both) and (np.abs(a[both] - b[of_a[both]]) <= 7).all()
        assert (of_b >= 0).sum() == len(both)


def test_counts_leave_out_the_start_and_flutter() -> None:
    truth, found = places(10, 400, 500, 600), places(10, 401, 590, 700)
    assert counted(truth, found, 100, 3.0) == Count(found=2, missed=1, false=1)
    assert counted(truth, found, 100, 3.0, [(480, 650)]) == Count(found=1, missed=0, false=1)
    count = Count(90, 10, 30)
    assert (count.sensitivity, count.predictivity, count.f1) == (0.9, 0.75, pytest.approx(180 / 220))
    assert np.isnan(Count().f1)


@pytest.mark.parametrize("kind", KINDS)
def test_noise_has_its_ratio_and_its_spells(kind: str) -> None:
    of = patient(1, 100, 300)
    x = noisy(of.x, of.rpeak, 100, (kind,), 6, 3, 10.0)
    inside = spells(len(x), 100, 10.0)
    added = x.astype(float) - of.x
    assert not added[~inside].any() and inside.sum() == 100 * 2 * SPELL - 100 * (2 * SPELL + SPELL + 10 - 300)
    signal = height(of.x, of.rpeak, 100) ** 2 / 8
    assert 10 * np.log10(signal / np.mean(added[inside] ** 2)) == pytest.approx(6, abs=1.5)


def test_area_under_the_curve_counts_pairs() -> None:
    rng = np.random.default_rng(2)
    score, bad = rng.integers(0, 9, 60).astype(float), rng.integers(0, 2, 60).astype(bool)
    pairs = np.sign(score[bad][:, None] - score[~bad])
    assert auc(score, bad) == pytest.approx(np.mean((pairs + 1) / 2))
    assert np.isnan(auc(score, np.ones(60, bool)))
    flags, bad = np.array([1, 1, 0, 0], bool), np.array([1, 0, 0, 1], bool)
    assert told_apart(flags, bad) == (0.5, 0.5)
