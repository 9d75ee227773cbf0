"""SOFTMAX, LOG_SOFTMAX and PRELU of int8 .tflite files: each output byte is that of LiteRT's kernels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lite import Author, answers, compiled, oracle
from numpy.typing import NDArray

CASES = 200
SAMPLES = 3
Made = tuple[bytes, NDArray[np.int8]]


def _samples(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.int8]:
    """Values far apart, close together, and all alike."""
    x = rng.integers(-128, 128, (SAMPLES, *shape))
    x[1] >>= int(rng.integers(0, 8))
    return x.astype(np.int8)


def _shape(rng: np.random.Generator) -> tuple[int, ...]:
    size = int(rng.choice([1, 2, 3, 10, 35, 300]))
    return (1, size) if rng.integers(2) else (1, int(rng.integers(1, 5)), size)


def _softmax(rng: np.random.Generator) -> Made:
    a, shape = Author(), _shape(rng)
    scale = np.float32(rng.choice([1 / 16, 1.0, 2.0 ** rng.uniform(-10, 1)]))
    x = a.tensor("x", shape, scale=scale, zero=int(rng.integers(-128, 128)))
    y = a.tensor("y", shape, scale=1 / 256, zero=-128)
    beta = float(rng.choice([1.0, 1.0, 0.3, 2.0, 100.0]))
    a.op("SOFTMAX", [x], [y], "SoftmaxOptions", 2, beta=beta)
    return a.bytes([x], [y]), _samples(rng, shape[1:])


def _log_softmax(rng: np.random.Generator) -> Made:
    """Odd multiples of 1/32 are ties where one class is far above all others."""
    a, shape = Author(), _shape(rng)
    scale = np.float32(rng.choice([17 / 32, 1 / 32, 40.0, 2.0 ** rng.uniform(-10, 3)]))
    x = a.tensor("x", shape, scale=scale, zero=int(rng.integers(-128, 128)))
    y = a.tensor("y", shape, scale=1 / 16, zero=127)
    a.op("LOG_SOFTMAX", [x], [y], "LogSoftmaxOptions", 2)
    return a.bytes([x], [y]), _samples(rng, shape[1:])


def _prelu(rng: np.random.Generator) -> Made:
    a, channels = Author(), int(rng.integers(1, 9))
    shape = (1, 4, 3, channels) if rng.integers(2) else (1, channels)
    scales = np.float32(2.0 ** rng.uniform(-8, 0, 3))
    if rng.integers(2):
        scales = np.exp2(np.rint(np.log2(scales)))
    zeros = np.where(rng.integers(0, 2, 3), rng.integers(-128, 128, 3), rng.choice([-128, 0, 127], 3))
    x = a.tensor("x", shape, scale=scales[0], zero=int(zeros[0]))
    each = [(channels,), (1,), (1,) * (len(shape) - 1) + (channels,), shape][int(rng.integers(4))]
    w = a.tensor("slope", each, scale=scales[1], zero=int(zeros[1]), data=rng.integers(-128, 128, each))
    y = a.tensor("y", shape, scale=scales[2], zero=int(zeros[2]))
    a.op("PRELU", [x, w], [y])
    return a.bytes([x], [y]), _samples(rng, shape[1:])


@pytest.mark.parametrize("make", [_softmax, _log_softmax, _prelu])
def test_every_byte_is_litert_s(make, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(1)
    moved = 0
    for _ in range(CASES):
        data, x = make(rng)
        expected = oracle(data, [x])
        c = compiled(data, tmp_path)
        assert np.array_equal(answers(c, [x]), expected), c.graph.tensors
        moved += len(np.unique(expected))
    assert moved > CASES * 5  # outputs that say something, not only limits
