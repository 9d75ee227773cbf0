"""Dilated convolutions that TensorFlow writes as SPACE_TO_BATCH_ND, a convolution and BATCH_TO_SPACE_ND."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from float_graph import run_graph
from lite import Author, answers, compiled, oracle
from lite_dilated import constant, dilated
from numpy.typing import NDArray

from synapcc.gen.errors import CompileError

SAMPLES = 4


@pytest.mark.parametrize("line", [False, True])
@pytest.mark.parametrize("seed, twice", [(0, False), (1, False), (2, False), (3, False), (4, True)])
def test_every_byte_is_litert_s(line: bool, seed: int, twice: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    moved, count = 0, 15 if twice else 50
    for _ in range(count):
        data, shape = dilated(rng, line, twice=twice)
        x: NDArray[np.int8] = rng.integers(-128, 128, (SAMPLES, *shape)).astype(np.int8)
        expected = oracle(data, [x])
        c = compiled(data, tmp_path)
        assert [n.op for n in c.graph.nodes if n.op in ("conv2d", "dense")], c.graph.nodes
        got = answers(c, [x])
        assert np.array_equal(got, expected), c.graph.nodes
        moved += len(np.unique(expected))
    assert moved > count * 8


@pytest.mark.parametrize("line", [False, True])
def test_in_float_it_is_the_same_function(line: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    for _ in range(20):
        data, shape = dilated(rng, line, floats=True)
        c = compiled(data, tmp_path)
        x = rng.normal(0, 1, (SAMPLES, *shape)).astype(np.float32)
        want = oracle(data, [x])
        name, shown = c.graph.inputs[0], x.reshape(SAMPLES, *c.graph.interface[0].shape)
        got = [run_graph(c.graph, {name: v}).ravel() for v in shown]
        assert np.allclose(got, want, atol=1e-4)


def test_what_is_no_dilated_convolution_is_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    data, _ = dilated(rng, False, block=np.array([5, 5]))
    with pytest.raises(CompileError, match=r"deals out blocks of .* come back"):
        compiled(data, tmp_path)
    a = Author()
    x = a.tensor("x", (1, 4, 4, 2), scale=0.1)
    y = a.tensor("y", (4, 2, 2, 2), scale=0.1)
    ends = [constant(a, "block", np.array([2, 2])), constant(a, "ends", np.zeros((2, 2), int))]
    a.op("SPACE_TO_BATCH_ND", [x, *ends], [y])
    with pytest.raises(CompileError, match="0 operators read that"):
        compiled(a.bytes([x], [y]), tmp_path)
