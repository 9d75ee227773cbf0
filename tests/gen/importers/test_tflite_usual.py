"""LiteRT's usual kernels where its reference kernels give nothing, and where the two differ."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from counts import counted
from lite import Author, answers, compiled, oracle

from synapcc.gen import numeric

SAMPLES = 16


def _reached(seed: int) -> tuple[bytes, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A SUM whose results are often near a half: a file, inputs, what its usual kernel gives, the same in
    float32 steps, and what integers make of it, by a multiplier of 31 bits."""
    rng, a = np.random.default_rng(seed), Author()
    n, zeros = int(rng.integers(2, 14)), rng.integers(-128, 128, 2)
    step = np.float32(2.0 ** rng.integers(-7, -2) if seed % 4 == 0 else rng.uniform(0.02, 0.2))
    ratio = (0.7 * n, n / 2, 0.75 * n, 5.6, n * float(rng.uniform(0.3, 1.2)))[seed % 5]
    to, (x_zero, y_zero) = np.float32(float(step) * ratio), zeros.tolist()
    x = a.tensor("x", (1, n), scale=step, zero=x_zero)
    axes = a.tensor("axes", (1,), "INT32", data=[-1])
    y = a.tensor("y", (1, 1), scale=to, zero=y_zero)
    a.op("SUM", [x, axes], [y], "ReducerOptions", 2, keepDims=True)
    given, data = rng.integers(-128, 128, (40, n)).astype(np.int8), a.bytes([x], [y])
    sums, scale = given.astype(np.int64).sum(axis=1), step / to
    bias = np.float32(-x_zero) * scale * np.float32(n)
    single = (sums.astype(np.float32) * scale + bias).astype(np.float64)
    m, shift = numeric.multiplier(float(step) / float(to))
    product = (sums - n * x_zero) * m  # below 2^43
    nearest = np.sign(product) * ((np.abs(product) + (1 << shift >> 1)) >> shift)
    whole = np.where(single < 0, np.ceil(single - 0.5), np.floor(single + 0.5))
    usual = oracle(data, [given], reference=False)
    return data, given, usual, *(np.clip(v + y_zero, -128, 127) for v in (whole, nearest))


@counted(20, 400)
def test_the_usual_sum_is_one_of_float32(count: int, tmp_path: Path) -> None:
    """LiteRT 2.3.0's: a sum times the scales' quotient, and a bias, each rounded to float32. Ours is the
    nearest of the sum times a multiplier. So the two differ where a half lies between these, nowhere else."""
    apart, results = 0, 0
    for seed in range(count):
        data, given, usual, single, nearest = _reached(seed)
        ours = answers(compiled(data, tmp_path), [given])[:, 0]
        assert np.array_equal(usual[:, 0], single) and np.array_equal(ours, nearest), seed
        apart, results = apart + int(np.sum(ours != single)), results + usual.size
    assert 0 < apart < results / 30


@counted(20, 300)
def test_quotients_by_sums_are_those_of_litert_s_usual_kernels(count: int, tmp_path: Path) -> None:
    """Each value of a row over the row's sum: DIV differs in nothing, whatever made what it reads."""
    compared = 0
    for seed in range(count):
        rng, a = np.random.default_rng(seed), Author()
        n, step = int(rng.integers(3, 12)), float(rng.uniform(0.02, 0.2))
        h = a.tensor("h", (1, n), scale=step, zero=int(rng.integers(-128, -90)))
        total = a.tensor("total", (1, 1), scale=step * n * 0.7, zero=-128)
        y = a.tensor("y", (1, n), scale=1 / 256 if seed % 2 else 0.01, zero=-128 if seed % 2 else 5)
        a.op("DIV", [h, total], [y], "DivOptions", 2)
        data = a.bytes([h, total], [y])
        x = [rng.integers(low, 128, (SAMPLES, size)).astype(np.int8) for low, size in ((-128, n), (-127, 1))]
        usual = oracle(data, x, reference=False)
        assert np.array_equal(answers(compiled(data, tmp_path), x), usual), seed
        assert np.array_equal(oracle(data, x), usual), seed
        compared += len(np.unique(usual))
    assert compared > count * 10


def test_usual_kernels_round_sums_of_products_twice() -> None:
    """LiteRT 2.3.0's usual FULLY_CONNECTED: to 31 bits, then halves up. Its reference kernel rounds once."""
    apart, results = 0, 0
    for seed in range(100):
        rng, a = np.random.default_rng(seed), Author()
        n, m = int(rng.integers(2, 40)), int(rng.integers(2, 20))
        weights, to = rng.integers(-127, 128, (m, n)), np.float32(rng.uniform(0.02, 0.3))
        zero, scales = (int(v) for v in rng.integers(-60, 60, 2)), (np.float32(0.05), np.float32(0.01))
        x_zero, y_zero = zero
        x = a.tensor("x", (1, n), scale=scales[0], zero=x_zero)
        w = a.tensor("w", (m, n), scale=scales[1], data=weights)
        y = a.tensor("y", (1, m), scale=to, zero=y_zero)
        a.op("FULLY_CONNECTED", [x, w, -1], [y], "FullyConnectedOptions", 4)
        given, data = rng.integers(-128, 128, (SAMPLES, n)).astype(np.int8), a.bytes([x], [y])
        usual = oracle(data, [given], reference=False)
        by, shift = numeric.multiplier(float(np.float64(scales[0]) * np.float64(scales[1]) / np.float64(to)))
        sums = (given.astype(np.int64) - x_zero) @ weights.T
        once = (sums * by + (1 << 30)) >> 31
        twice = (once + (1 << (shift - 32))) >> (shift - 31)
        assert np.array_equal(usual, np.clip(twice + y_zero, -128, 127)), seed
        apart += int(np.sum(usual != oracle(data, [given])))
        results += usual.size
    assert 0 < apart < results / 200
