"""Transposed convolutions of .tflite files: each output byte is that of LiteRT's reference kernels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from float_graph import run_graph
from lite import Author, answers, compiled, oracle
from lite_parts import drawn_input, drawn_layer, drawn_output
from numpy.typing import NDArray

from synapcc.gen.errors import CompileError
from synapcc.gen.importers import load_model

SAMPLES = 4


def _transposed(rng: np.random.Generator) -> tuple[bytes, tuple[int, ...]]:
    a, c, m = Author(), int(rng.integers(1, 7)), int(rng.integers(1, 7))
    size, kernel, stride = (tuple(int(v) for v in rng.integers(1, top, 2)) for top in (6, 5, 4))
    same = bool(rng.integers(2))
    out = tuple(
        n * s if same else (n - 1) * s + max(k, s) for n, s, k in zip(size, stride, kernel, strict=True)
    )
    x, x_scale = drawn_input(rng, a, (1, *size, c))
    shape = a.tensor("shape", (4,), "INT32", data=[1, *out, m])
    weights, usual = drawn_layer(rng, a, (m, *kernel, c), 0, kernel[0] * kernel[1] * c, x_scale)
    y = drawn_output(rng, a, (1, *out, m), usual)
    options = {
        "padding": 0 if same else 1,
        "strideH": stride[0],
        "strideW": stride[1],
        "fusedActivationFunction": int(rng.integers(4)),
    }
    a.op("TRANSPOSE_CONV", [shape, weights[0], x, *weights[1:]], [y], "TransposeConvOptions", 4, **options)
    return a.bytes([x], [y]), (*size, c)


@pytest.mark.parametrize("seed", range(5))
def test_every_byte_is_litert_s(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    moved = 0
    for _ in range(50):
        data, shape = _transposed(rng)
        x: NDArray[np.int8] = rng.integers(-128, 128, (SAMPLES, *shape)).astype(np.int8)
        expected = oracle(data, [x])
        c = compiled(data, tmp_path)
        got = answers(c, [x])
        assert np.array_equal(got, expected), c.graph.nodes
        moved += len(np.unique(expected))
    assert moved > 50 * 10


@pytest.mark.parametrize("seed", range(20))
def test_in_float(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    a, n, k, s = Author(), int(rng.integers(1, 6)), int(rng.integers(1, 4)), int(rng.integers(1, 4))
    x = a.tensor("x", (1, n, n, 2), "FLOAT32")
    shape = a.tensor("shape", (4,), "INT32", data=[1, n * s, n * s, 3])
    w = a.tensor("w", (3, k, k, 2), "FLOAT32", data=rng.normal(0, 1, (3, k, k, 2)))
    y = a.tensor("y", (1, n * s, n * s, 3), "FLOAT32")
    a.op("TRANSPOSE_CONV", [shape, w, x], [y], "TransposeConvOptions", 1, padding=0, strideH=s, strideW=s)
    data = a.bytes([x], [y])
    values = rng.normal(0, 1, (3, n, n, 2)).astype(np.float32)
    (tmp_path / "net.tflite").write_bytes(data)
    graph = load_model(tmp_path / "net.tflite")
    got = np.array([run_graph(graph, {"x": v}) for v in values])
    np.testing.assert_allclose(got, oracle(data, [values]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("align, half", [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize("seed", range(8))
def test_bilinear_maps_in_float(seed: int, align: bool, half: bool, tmp_path: Path) -> None:
    """Within the rounding of places, 2^-15 of the distance of two neighbours."""
    rng = np.random.default_rng(seed)
    a, size, to = Author(), rng.integers(1, 6, 2).tolist(), rng.integers(1, 12, 2).tolist()
    x, wanted = a.tensor("x", (1, *size, 2), "FLOAT32"), a.tensor("size", (2,), "INT32", data=to)
    y, z = a.tensor("y", (1, *to, 2), "FLOAT32"), a.tensor("z", (1, *to, 2), "FLOAT32")
    options = {"alignCorners": align, "halfPixelCenters": half}
    a.op("RESIZE_BILINEAR", [x, wanted], [y], "ResizeBilinearOptions", 3, **options)
    a.op("NEG", [y], [z])
    data = a.bytes([x], [z])
    values = rng.normal(0, 1, (3, *size, 2)).astype(np.float32)
    (tmp_path / "net.tflite").write_bytes(data)
    graph = load_model(tmp_path / "net.tflite")
    got = np.array([run_graph(graph, {"x": v}) for v in values])
    np.testing.assert_allclose(got, oracle(data, [values]), rtol=2e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["INT8", "FLOAT32"])
def test_two_ways_to_count_at_once_are_refused_as_litert_does(kind: str, tmp_path: Path) -> None:
    a, held = Author(), {"scale": 0.1, "zero": 3} if kind == "INT8" else {}
    x, y = (a.tensor(name, (1, n, n, 2), kind, **held) for name, n in (("x", 3), ("y", 5)))
    size = a.tensor("size", (2,), "INT32", data=[5, 5])
    both = {"alignCorners": True, "halfPixelCenters": True}
    a.op("RESIZE_BILINEAR", [x, size], [y], "ResizeBilinearOptions", 3, **both)
    data = a.bytes([x], [y])
    (tmp_path / "net.tflite").write_bytes(data)
    with pytest.raises(CompileError, match="counts from aligned corners and from the middles"):
        load_model(tmp_path / "net.tflite")
    with pytest.raises(RuntimeError, match="half_pixel_centers"):
        oracle(data, [np.zeros((1, 3, 3, 2), np.int8 if kind == "INT8" else np.float32)])
