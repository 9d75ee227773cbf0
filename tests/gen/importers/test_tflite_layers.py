"""Layers with weights of int8 .tflite files: each output byte is that of LiteRT's reference kernels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lite import Author, answers, compiled, oracle
from lite_parts import drawn_input, drawn_layer, drawn_output
from numpy.typing import NDArray

SAMPLES = 4


def _dense(rng: np.random.Generator) -> tuple[bytes, tuple[int, ...]]:
    a, n, m = Author(), int(rng.integers(1, 70)), int(rng.integers(1, 20))
    batch = int(rng.choice([1, 1, 3]))
    x, x_scale = drawn_input(rng, a, (1, batch, n) if batch > 1 else (1, n))
    weights, usual = drawn_layer(rng, a, (m, n), 0, n, x_scale)
    y = drawn_output(rng, a, (1, batch, m) if batch > 1 else (1, m), usual)
    options = {"fusedActivationFunction": int(rng.integers(4)), "keepNumDims": batch > 1}
    a.op("FULLY_CONNECTED", [x, *weights], [y], "FullyConnectedOptions", 4, **options)
    return a.bytes([x], [y]), (batch * n,)


def _window(
    rng: np.random.Generator,
) -> tuple[tuple[int, int], tuple[int, int], dict[str, int], tuple[int, int]]:
    """Map, kernel, options and output of a convolution."""
    size = int(rng.integers(1, 10)), int(rng.integers(1, 10))
    stride, same = rng.integers(1, 4, 2), bool(rng.integers(2))
    dilation = rng.integers(1, 3, 2) if not rng.integers(3) else np.array([1, 1])
    kernel = tuple(
        int(rng.integers(1, 5 if same else max(1, (n - 1) // d + 1) + 1))
        for n, d in zip(size, dilation, strict=True)
    )
    if same:
        out = tuple(-(-n // int(s)) for n, s in zip(size, stride, strict=True))
    else:
        out = tuple(
            (n - (k - 1) * int(d) - 1) // int(s) + 1
            for n, k, d, s in zip(size, kernel, dilation, stride, strict=True)
        )
    options = {
        "padding": 0 if same else 1,
        "strideH": int(stride[0]),
        "strideW": int(stride[1]),
        "dilationHFactor": int(dilation[0]),
        "dilationWFactor": int(dilation[1]),
        "fusedActivationFunction": int(rng.integers(4)),
    }
    return size, kernel, options, out  # type: ignore[return-value]


def _conv(rng: np.random.Generator) -> tuple[bytes, tuple[int, ...]]:
    a, c, m = Author(), int(rng.integers(1, 9)), int(rng.integers(1, 9))
    size, kernel, options, out = _window(rng)
    x, x_scale = drawn_input(rng, a, (1, *size, c))
    weights, usual = drawn_layer(rng, a, (m, *kernel, c), 0, kernel[0] * kernel[1] * c, x_scale, bias=True)
    y = drawn_output(rng, a, (1, *out, m), usual)
    a.op("CONV_2D", [x, *weights], [y], "Conv2DOptions", 3, **options)
    return a.bytes([x], [y]), (*size, c)


def _depthwise(rng: np.random.Generator) -> tuple[bytes, tuple[int, ...]]:
    a, c, each = Author(), int(rng.integers(1, 9)), int(rng.integers(1, 4))
    size, kernel, options, out = _window(rng)
    x, x_scale = drawn_input(rng, a, (1, *size, c))
    weights, usual = drawn_layer(rng, a, (1, *kernel, c * each), 3, kernel[0] * kernel[1], x_scale)
    y = drawn_output(rng, a, (1, *out, c * each), usual)
    options["depthMultiplier"] = each
    a.op("DEPTHWISE_CONV_2D", [x, *weights], [y], "DepthwiseConv2DOptions", 3, **options)
    return a.bytes([x], [y]), (*size, c)


@pytest.mark.parametrize("make", [_dense, _conv, _depthwise])
@pytest.mark.parametrize("seed", range(4))
def test_every_byte_is_litert_s(make, seed: int, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(seed)
    moved = 0
    for _ in range(50):
        data, shape = make(rng)
        x: NDArray[np.int8] = rng.integers(-128, 128, (SAMPLES, *shape)).astype(np.int8)
        expected = oracle(data, [x])
        c = compiled(data, tmp_path)
        got = answers(c, [x])
        assert np.array_equal(got, expected), c.graph.nodes
        moved += len(np.unique(expected))
    assert moved > 50 * 10  # outputs that say something, not only limits
