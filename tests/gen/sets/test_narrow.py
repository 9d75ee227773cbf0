"""Sums of 64 bits as three of 32: parts that are the whole, and a fit that holds for the worst values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from counts import counted
from ctools import UNDEFINED, HostBatch
from one_step import batch_plan, cases, compare

from synapcc.gen.ops import kernel
from synapcc.gen.ops._narrow import HALF, MASK, ONE, WORD, fits, parts

OWN = ("filter.biquad", "resample.polyphase")


@counted(2000, 100_000)
def test_parts_of_a_coefficient_are_it(count: int) -> None:
    rng = np.random.default_rng(count)
    ends = [-(2**31), 2**31 - 1, 2**29, 2**29 - 1, -(2**29), 0, 1, -1]
    for c in [*ends, *(int(n) for n in rng.integers(-(2**31), 2**31, count) >> rng.integers(0, 31, count))]:
        q, h, low = parts(c)
        assert (q << ONE) + (h << HALF) + low == c and 0 <= low <= MASK
        assert -(2**14) <= h < 2**14 and abs(q) <= 2


@counted(400, 20_000)
def test_what_fits_fits_for_the_worst_values(count: int) -> None:
    """Each sum, and each sum on the way to it, at the ends of values and of their halves."""
    rng, seen = np.random.default_rng(count), set()
    for _ in range(count):
        n = int(rng.integers(1, 6))
        tops = [int(2.0 ** rng.uniform(10, 31)) for _ in range(n)]
        terms = [(int(rng.integers(-(2**31), 2**31) >> rng.integers(0, 20)), top) for top in tops]
        seen.add(fits(terms))
        if not fits(terms):
            continue
        for pick in ((-1, 0), (1, 0), (-1, 1), (1, 1)):
            whole = middle = low = 0
            for c, top in terms:
                q, h, rest = parts(c)
                sign = pick[0] if h >= 0 else -pick[0]  # the way in which the middle sum grows
                v = sign * top if pick[1] else sign * (top & ~MASK) + (MASK if sign > 0 else 0)
                v = min(max(v, -top), top)
                a, b = v >> HALF, v & MASK
                whole, middle, low = whole + q * v + h * a, middle + h * b + rest * a, low + rest * b
                assert abs(q * v) < WORD and abs(h * a) < WORD
                assert abs(whole) < WORD and abs(middle) < WORD and 0 <= low < 2 * WORD
            assert abs(whole + (middle >> HALF) + 8) < WORD
    assert seen == {True, False}


def test_what_m0_prints_itself_is_what_the_emulator_does(tmp_path: Path) -> None:
    """Its other kernels are those of `ref`."""
    rng = np.random.default_rng(8)
    plan, placed = batch_plan("cases", cases(rng, 40, OWN), rng)
    batch = HostBatch([plan], tmp_path, "-O2", *UNDEFINED, kernels="m0")
    try:
        compare(batch, plan, placed)
    finally:
        batch.close()


@pytest.mark.parametrize("name", OWN)
def test_both_forms_are_drawn(name: str) -> None:
    """Of the cases by which C is held against the emulator some have parts that fit, and some have not."""
    rng = np.random.default_rng(3)
    plan, placed = batch_plan("cases", cases(rng, 60, [name]), rng)
    k = kernel(name)
    sets = {
        k.variant("m0", {r: plan[n] for r, n in p.tensors.items()}, p.case.attrs).kernel_set for p in placed
    }
    assert sets == {"m0", "ref"}
