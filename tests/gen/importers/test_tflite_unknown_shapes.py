"""Files that leave a length to the run: TensorFlow writes 1 in its place, and -1 in the signature."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lite import Author, answers, compiled, oracle
from numpy.typing import NDArray

from synapcc.gen.errors import CompileError


def _file(signature: list[int], shown: tuple[int, ...], to: list[int]) -> bytes:
    """x -> RESHAPE, of whose result the file knows what `signature` does -> CONV_2D."""
    a, rng = Author(), np.random.default_rng(0)
    held = {"scale": 0.1, "zero": 3}
    x = a.tensor("x", (1, 24), **held)
    shape = a.tensor("to", (4,), "INT32", data=np.array(to))
    r = a.tensor("r", shown, **held)
    a.graph.tensors[r].shapeSignature = signature
    w = a.tensor("w", (3, 1, 1, 2), scale=0.02, data=rng.integers(-99, 99, (3, 1, 1, 2)))
    b = a.tensor("b", (3,), "INT32", scale=0.002, data=rng.integers(-99, 99, 3))
    y = a.tensor("y", (1, 4, 3, 3), scale=0.2, zero=0)
    a.op("RESHAPE", [x, shape], [r])
    plain = {"padding": 1, "strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    a.op("CONV_2D", [r, w, b], [y], "Conv2DOptions", 3, **plain)
    return a.bytes([x], [y])


def test_what_is_left_over_is_the_length(tmp_path: Path) -> None:
    data = _file([-1, -1, 3, 2], (1, 1, 3, 2), [1, 4, 3, 2])
    x: NDArray[np.int8] = np.random.default_rng(1).integers(-128, 128, (8, 24)).astype(np.int8)
    assert np.array_equal(answers(compiled(data, tmp_path), [x]), oracle(data, [x]))


@pytest.mark.parametrize("signature", [[-1, -1, 5, 2], [-1, -1, -1, 2], [1, 1, 3, 2]])
def test_else_it_is_refused(signature: list[int], tmp_path: Path) -> None:
    with pytest.raises(CompileError, match=r"RESHAPE .* makes shape"):
        compiled(_file(signature, (1, 1, 3, 2), [1, 4, 3, 2]), tmp_path)
