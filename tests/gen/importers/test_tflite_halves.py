"""Ratios of small numbers as scales: many products are halves, and each byte is still LiteRT's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lite import Author, answers, compiled, oracle
from numpy.typing import NDArray

from synapcc.gen.errors import CompileError

SIZE = 32


def file(times: float, over: int, quantize: bool) -> bytes:
    """A diagonal FULLY_CONNECTED whose factor is 7 / over, or a QUANTIZE by it behind one of factor 1."""
    a, scale = Author(), np.float32(times)
    x = a.tensor("x", (1, SIZE), scale=scale)
    w = a.tensor(
        "w", (SIZE, SIZE), scale=1.0, data=np.eye(SIZE, dtype=np.int8) * np.int8(1 if quantize else 7)
    )
    seen = a.tensor("seen", (1, SIZE), scale=scale if quantize else scale * np.float32(over))
    a.op("FULLY_CONNECTED", [x, w], [seen], "FullyConnectedOptions", 4)
    if not quantize:
        return a.bytes([x], [seen])
    y = a.tensor("y", (1, SIZE), scale=scale * np.float32(over) / np.float32(7))
    a.op("QUANTIZE", [seen], [y], "QuantizeOptions")
    return a.bytes([x], [y])


@pytest.mark.parametrize("quantize", [False, True])
def test_every_byte_is_litert_s(quantize: bool, tmp_path: Path) -> None:
    x = np.arange(-128, 128).astype(np.int8).reshape(-1, SIZE)
    for times in (1.0, 0.1, 0.37):
        for over in (3, 6, 7, 10, 12, 14, 18, 22, 26, 30, 34, 38, 46, 50, 54):
            data = file(times, over, quantize)
            ours = answers(compiled(data, tmp_path), [x])
            assert np.array_equal(ours, oracle(data, [x])), (times, over)


def test_a_layer_of_integers_with_an_output_of_none_is_one_line(tmp_path: Path) -> None:
    """FULLY_CONNECTED of int8 that makes float32: LiteRT has no such kernel."""
    a = Author()
    x = a.tensor("x", (1, 4), scale=0.1)
    w = a.tensor("w", (3, 4), scale=0.1, data=np.ones((3, 4)))
    b = a.tensor("b", (3,), "INT32", scale=0.01, data=np.ones(3))
    y = a.tensor("y", (1, 3), "FLOAT32")
    z = a.tensor("z", (1, 3), scale=0.1)
    a.op("FULLY_CONNECTED", [x, w, b], [y], "FullyConnectedOptions", 4)
    a.op("SOFTMAX", [y], [z], "SoftmaxOptions", beta=1.0)
    with pytest.raises(CompileError, match="makes int8 of float32"):
        compiled(a.bytes([x], [z]), tmp_path)


def test_a_factor_that_no_shift_reaches_is_told_by_the_file_s_scales(tmp_path: Path) -> None:
    a = Author()
    x = a.tensor("x", (1, 4), scale=2.0**20)
    w = a.tensor("w", (3, 4), scale=[2.0**11, 2.0**11 * 1.5, 2.0**10], data=np.ones((3, 4)))
    y = a.tensor("y", (1, 3), scale=1.0)
    a.op("FULLY_CONNECTED", [x, w], [y], "FullyConnectedOptions", 4)
    with pytest.raises(CompileError, match="check the file's scales"):
        compiled(a.bytes([x], [y]), tmp_path)


@pytest.mark.parametrize("op", ["ADD", "MUL", "SUB"])
def test_zeros_without_a_scale_are_zeros(op: str, tmp_path: Path) -> None:
    """As converters write a 0 that a graph has as a constant of its own. LiteRT stops at such an ADD: it is
    asked about one whose zeros have a scale."""
    rng = np.random.default_rng(len(op))
    for _ in range(10):
        scale = float(np.float32(2.0 ** rng.uniform(-7, 0)))
        turned, zeros = int(rng.choice([-1, 1])), rng.integers(-128, 128, 2)
        given = rng.integers(-128, 128, (8, 40)).astype(np.int8)
        plain, usual = (added_zeros(op, own, scale, zeros, turned) for own in (0.0, scale))
        assert np.array_equal(answers(compiled(plain, tmp_path), [given]), oracle(usual, [given]))


def added_zeros(op: str, own: float, scale: float, zeros: NDArray[Any], turned: int) -> bytes:
    """x and a constant of zeros, whose scale is `own`."""
    a = Author()
    x = a.tensor("x", (1, 40), scale=scale, zero=int(zeros[0]))
    y = a.tensor("y", (1, 40), scale=scale * 1.3, zero=int(zeros[1]))
    start = a.tensor("zeros/Const", (1, 40), scale=own, data=np.zeros((1, 40)))
    a.op(op, [x, start][::turned], [y], f"{op.title()}Options", 2)
    return a.bytes([x], [y])
