"""Products of two activations in .tflite files: each output byte is that of LiteRT's reference kernels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from float_graph import run_graph
from lite import Author, answers, compiled, oracle
from lite_parts import drawn_input, drawn_output
from numpy.typing import NDArray

from synapcc.gen.importers import load_model

SAMPLES = 4


def shapes(
    rng: np.random.Generator,
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], dict[str, bool]]:
    """Of both operands and the output; which are turned."""
    batch = [1, int(rng.integers(1, 4))][: int(rng.integers(1, 3))]
    rows, inner, columns = (int(n) for n in rng.integers(1, 9, 3))
    x, y = bool(rng.integers(2)), bool(rng.integers(2))
    left, right = ((inner, rows) if x else (rows, inner)), ((columns, inner) if y else (inner, columns))
    return (*batch, *left), (*batch, *right), (*batch, rows, columns), {"adjX": x, "adjY": y}


def product(rng: np.random.Generator) -> tuple[bytes, list[tuple[int, ...]]]:
    a = Author()
    left, right, out, options = shapes(rng)
    x, x_scale = drawn_input(rng, a, left)
    y = a.tensor(
        "other", right, scale=float(np.float32(2.0 ** rng.uniform(-7, 0))), zero=int(rng.integers(-128, 128))
    )
    y_scale = a.graph.tensors[y].quantization.scale[0]
    inner = left[-2] if options["adjX"] else left[-1]
    z = drawn_output(rng, a, out, x_scale * y_scale * 127 * np.sqrt(inner))
    a.op("BATCH_MATMUL", [x, y], [z], "BatchMatMulOptions", 4, **options)
    return a.bytes([x, y], [z]), [left, right]


@pytest.mark.parametrize("seed", range(5))
def test_every_byte_is_litert_s(seed: int, tmp_path: Path) -> None:
    rng, moved = np.random.default_rng(seed), 0
    for _ in range(50):
        data, operands = product(rng)
        x: list[NDArray[np.int8]] = [rng.integers(-128, 128, (SAMPLES, *s)).astype(np.int8) for s in operands]
        expected = oracle(data, x)
        c = compiled(data, tmp_path)
        assert np.array_equal(answers(c, x), expected), c.graph.nodes
        moved += len(np.unique(expected))
    assert moved > 50 * 10


@pytest.mark.parametrize("seed", range(10))
def test_in_float(seed: int, tmp_path: Path) -> None:
    rng, a = np.random.default_rng(seed), Author()
    left, right, out, options = shapes(rng)
    x, y, z = (a.tensor(n, s, "FLOAT32") for n, s in (("x", left), ("other", right), ("z", out)))
    a.op("BATCH_MATMUL", [x, y], [z], "BatchMatMulOptions", 1, **options)
    data = a.bytes([x, y], [z])
    values = [rng.normal(0, 1, (3, *s)).astype(np.float32) for s in (left, right)]
    (tmp_path / "net.tflite").write_bytes(data)
    graph = load_model(tmp_path / "net.tflite")
    got = np.array([run_graph(graph, {"x": v, "other": w}) for v, w in zip(*values, strict=True)])
    np.testing.assert_allclose(got, oracle(data, values), rtol=1e-4, atol=1e-5)
