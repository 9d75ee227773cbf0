"""Stated errors of the softmax and its tables, and statistics of the generator and of stochastic rounding."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from synapcc.gen import numeric
from synapcc.gen.ops import kernel
from synapcc.gen.ops.softmax_error import error_bound, probabilities

ONE = 1 << numeric.ERROR_FRAC


def test_the_tables_keep_their_stated_errors() -> None:
    u = np.arange(1 << 15, dtype=np.int32)
    off = numeric.exp2_neg(u) - 2.0 ** (15 - u / 1024)
    assert off.min() >= -1.0 and 2.4 < off.max() <= 2.5
    m = np.arange(1 << 15, 1 << 16, dtype=np.int32)
    r = numeric.reciprocal(m)
    off = r - 2.0**30 / m
    assert off.min() >= -1.0 and 2.4 < off.max() <= 2.5
    assert r.min() == 1 << 14 and r.max() == 1 << 15 and np.all(np.diff(r) <= 0)


def errors(z: np.ndarray, frac: int) -> np.ndarray:
    """Largest error of each row's probabilities, in units of 2^-14."""
    real = z.astype(np.float64) * 2.0**-frac
    exact = np.exp(real - real.max(axis=1, keepdims=True))
    exact /= exact.sum(axis=1, keepdims=True)
    return np.asarray(np.abs(probabilities(z, frac) - exact * ONE).max(axis=1))


@pytest.mark.parametrize("frac", range(-4, 16))
def test_softmax_stays_within_its_bound(frac: int) -> None:
    d = np.arange(1 << 16)
    both = np.stack([np.full(1 << 16, 32767), 32767 - d], axis=1).astype(
        np.int16
    )  # every pair of logits there is
    assert errors(both, frac).max() <= error_bound(2) * ONE
    rng = np.random.default_rng(frac + 4)
    for classes in (3, 4, 5, 10, 17, 64, 256):
        z = (rng.integers(-(2**15), 2**15, (1500, classes)) >> rng.integers(0, 16, (1500, 1))).astype(
            np.int16
        )
        assert errors(z, frac).max() <= error_bound(classes) * ONE


@pytest.mark.parametrize("classes", [2, 10, 256])
def test_the_bound_is_no_larger_than_it_must_be(classes: int) -> None:
    """Worst for many classes: each of the others just below one unit of 2^-15, and cut to nothing."""
    worst = 0.0
    for frac in range(8, 12):
        for d in range(int(9 * 2**frac), int(11 * 2**frac), max(1, 1 << (frac - 8))):
            if d < 1 << 16:
                z = np.full((1, classes), 32767 - d, np.int64)
                z[0, 0] = 32767
                worst = max(worst, float(errors(z.astype(np.int16), frac)[0]))
    assert worst > 0.9 * (classes - 1) / 2 if classes > 2 else worst <= error_bound(2) * ONE


def test_a_softmax_error_sums_to_what_bounds_assumes() -> None:
    rng = np.random.default_rng(5)
    for classes in (2, 3, 10, 100, 256):
        z = (rng.integers(-(2**15), 2**15, (3000, classes)) >> rng.integers(0, 16, (3000, 1))).astype(
            np.int16
        )
        for frac in (-4, -3, 3, 8, 15):
            p = probabilities(z, frac)
            assert p.min() >= 0 and p.max() <= ONE and p.sum(axis=1).max() <= ONE + 2 + (classes + 1) // 2


@pytest.mark.parametrize("s", [1, 4, 9, 16, 17, 20, 24])
def test_stochastic_rounding_is_unbiased(s: int) -> None:
    """Over all 65536 lanes the mean is p / 2^s exactly, as far as a lane has bits."""
    lane = np.arange(1 << 16, dtype=np.int32)
    step = 1 << max(s - 16, 0)
    rng = np.random.default_rng(s)
    for p in [0, 1, -1, *rng.integers(-(2**22), 2**22, 40).tolist()]:
        p = int(p)
        mean = float(numeric.round_stochastic(np.full(1 << 16, p, np.int32), s, lane).mean())
        assert mean == (p // step * step) / 2**s
    assert not numeric.round_stochastic(np.zeros(1 << 16, np.int32), s, lane).any()


def test_dither_is_odd_and_nearly_unbiased() -> None:
    p = np.arange(-(1 << 16), 1 << 16, dtype=np.int32)
    for s in (1, 2, 5, 8):
        out = numeric.round_dither(p, s)
        assert np.array_equal(out[1:], -out[1:][::-1]) and np.abs(out - p / 2**s).max() < 1
        positive = p > 0
        assert abs(float((out - p / 2**s)[positive].mean())) <= 0.5 ** (s // 2 + 1) + 1e-3


def test_lanes_are_the_words_of_the_sequence() -> None:
    """The closed form in numpy against the chip's way: one word after another, the lower half first."""
    keys = numeric.row_keys(12345, 678, 9, 5)
    lanes = numeric.lanes(keys, 33)
    for row, key in enumerate(keys.tolist()):
        word, seen = key, []
        for _ in range(17):
            seen += [word & 0xFFFF, word >> 16]
            word = (word * numeric.LCG_MUL + numeric.LCG_ADD) % 2**32
        assert lanes[row].tolist() == seen[:33]
    base = numeric.mix(numeric.mix(np.uint32(12345), 678), 9)
    assert keys.tolist() == [
        int(numeric.hash32(np.array((int(base) + i) % 2**32, np.uint32))) for i in range(5)
    ]


def test_lanes_are_uniform_and_do_not_repeat_between_steps_rows_and_tensors() -> None:
    lanes = numeric.lanes(numeric.row_keys(1, 0, 0, 64), 256)
    counts = np.bincount(lanes.ravel() >> 12, minlength=16)
    assert abs(counts - counts.mean()).max() < 5 * np.sqrt(counts.mean())
    others = [numeric.lanes(numeric.row_keys(*k, 64), 256) for k in ((2, 0, 0), (1, 1, 0), (1, 0, 1))]
    for other in others:
        r = np.corrcoef(lanes.ravel(), other.ravel())[0, 1]
        assert abs(r) < 5 / np.sqrt(lanes.size)
    assert len({tuple(row) for row in lanes.tolist()}) == 64


@pytest.mark.parametrize("ternary", [False, True])
def test_a_feedback_matrix_has_mean_zero(ternary: bool) -> None:
    m = numeric.feedback_matrix(7, 3, 200, 300, ternary).astype(np.int64)
    top, values = (1, {-1, 0, 1}) if ternary else (127, set(range(-127, 128, 2)))
    assert set(np.unique(m).tolist()) == values and m.max() == top == -m.min()
    assert abs(m.mean()) < 5 * m.std() / np.sqrt(m.size)
    if ternary:
        assert abs(np.count_nonzero(m) / m.size - 0.5) < 0.02
    assert not np.array_equal(m, numeric.feedback_matrix(8, 3, 200, 300, ternary))


def test_products_through_blas_are_exact() -> None:
    rng = np.random.default_rng(0)
    for n, dtype, lo in ((1023, "int8", -128), (1024, "int8", -128), (700, "int16", -32768)):
        w: NDArray[np.integer] = rng.choice(np.array([lo, -lo - 1], np.int64), (2, 3, n)).astype(dtype)
        x = rng.choice(np.array([-128, 127]), (2, n)).astype(np.int8)
        exact = np.einsum("dij,dj->di", w.astype(np.int64), x.astype(np.int64))
        assert np.abs(exact).max() < 2**31 and np.array_equal(numeric.matvec(w, x), exact)
        assert np.array_equal(
            numeric.matvec(w[:1], x), np.einsum("ij,dj->di", w[0].astype(np.int64), x.astype(np.int64))
        )
        e = rng.integers(-100, 100, (2, 3)).astype(np.int16)
        assert np.array_equal(
            numeric.vecmat(e, w), np.einsum("di,dij->dj", e.astype(np.int64), w.astype(np.int64))
        )


def between(table: list[int], v: int) -> int:
    at = 256 + (v >> 7)
    return table[at] + (((table[at + 1] - table[at]) * (v & 127) + 64) >> 7)


def test_a_softmax_of_int16_is_that_of_unbounded_integers() -> None:
    """The words of docs/NUMERICS.md in Python's integers; sums whose half would not fit among them."""
    rng, brim = np.random.default_rng(8), 0
    k = kernel("softmax16.forward")
    for _ in range(150):
        case = k.case(rng)
        a, size = case.attrs, case.attrs["size"]
        exp, inverse = (case.arrays[role].tolist() for role in ("exp", "inverse"))
        arrays = {role: v[None].copy() for role, v in case.arrays.items()}
        k.integer(arrays, a)
        got = arrays["y"].reshape(-1, size).tolist()
        for x, y in zip(case.arrays["x"].reshape(-1, size).tolist(), got, strict=True):
            d = np.array([v - max(x) for v in x], np.int32)
            steps = numeric.scale_twice(d, np.asarray(a["multiplier"], np.int32), a["shift"]).tolist()
            e = [between(exp, max(v + 32767, -32768)) for v in steps]
            total = sum(e)
            z = 32 - total.bit_length()
            top = total << (z - 1)
            brim += top + 2**13 >= 2**31
            share = between(inverse, min(((top + 2**13) >> 14) - 98304, 32767))
            assert y == [min((v * share + (1 << (30 - z))) >> (31 - z), a["hi"]) for v in e]
    assert brim > 5
