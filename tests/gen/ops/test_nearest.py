"""The multiplier of a product in float64: equal to it on every sum, also where that is a half."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from synapcc.gen import numeric
from synapcc.gen.ops._nearest import RESULTS, SUMS, nearest_multiplier


def in_float64(sums: np.ndarray, factor: float) -> np.ndarray:
    """Rounded to the nearest, halves away from zero, from the exact value of what float64 holds."""
    halves = [Fraction(v) for v in (np.abs(sums) * factor).tolist()]
    return np.sign(sums) * np.array([int(v + Fraction(1, 2)) for v in halves])


def factors(rng: np.random.Generator, n: int) -> list[float]:
    """Ratios of small numbers, whose products are often halves, and any."""
    ratios = rng.integers(1, 60, n) / rng.integers(1, 60, n) / 2.0 ** rng.integers(0, 12, n)
    return [*ratios.tolist(), *(2.0 ** rng.uniform(-20, 1, n)).tolist()]


@pytest.mark.parametrize("seed", range(3))
def test_no_sum_differs_before_its_reach(seed: int) -> None:
    rng = np.random.default_rng(seed)
    exact = differing = 0
    for factor in factors(rng, 60):
        m, n, reach = nearest_multiplier(factor)
        top = min(reach - 1, int(RESULTS / factor) + 2, SUMS - 1)
        halves = np.floor((np.arange(min(RESULTS, int(top * factor) + 1)) + 0.5) / factor).astype(np.int64)
        sums = np.unique(np.clip(np.concatenate([halves - 1, halves, halves + 1, halves + 2]), 0, top))
        sums = sums[in_float64(sums, factor) < RESULTS]
        sums = np.concatenate([-sums, sums]).astype(np.int32)
        want = in_float64(sums, factor)
        got = numeric.scale_once(sums, np.asarray(m, np.int32), n)
        assert np.array_equal(got, want), factor
        exact += reach == SUMS
        usual, shift = numeric.multiplier(factor)
        differing += not np.array_equal(numeric.scale_once(sums, np.asarray(usual, np.int32), shift), want)
    assert exact > 80 and differing > 5


def test_a_third_of_a_half() -> None:
    """3 / 6 is a half in float64; with 1 / 6 to 31 bits it is less, and a unit more mends it."""
    m, n, reach = nearest_multiplier(1 / 6)
    usual = numeric.multiplier(1 / 6)
    assert (m, n, reach) == (usual[0] + 1, usual[1], SUMS)
    three = np.asarray([3, -3], np.int32)
    assert numeric.scale_once(three, np.asarray(m, np.int32), n).tolist() == [1, -1]
    assert numeric.scale_once(three, np.asarray(usual[0], np.int32), n).tolist() == [0, 0]
