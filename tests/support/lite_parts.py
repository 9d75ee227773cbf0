"""Random tensors of int8 layers with weights, for .tflite files of one operator."""

from __future__ import annotations

import numpy as np
from lite import Author


def drawn_input(rng: np.random.Generator, a: Author, shape: tuple[int, ...]) -> tuple[int, float]:
    scale = float(np.float32(2.0 ** rng.uniform(-7, 0)))
    return a.tensor(
        "x", shape, scale=scale, zero=int(rng.choice([-128, 0, 127, rng.integers(-128, 128)]))
    ), scale


def drawn_layer(
    rng: np.random.Generator,
    a: Author,
    shape: tuple[int, ...],
    axis: int,
    fan: int,
    x_scale: float,
    bias: bool = False,
) -> tuple[list[int], float]:
    """Weight and bias; and the scale at which outputs just fill int8."""
    outputs = shape[axis]
    scales = np.float32(2.0 ** rng.uniform(-9, -3, outputs if rng.integers(2) else 1))
    if not rng.integers(4):  # ties are common where all scales are powers of two
        scales = np.exp2(np.rint(np.log2(scales)))
    w = a.tensor("w", shape, scale=scales, data=rng.integers(-128, 128, shape), axis=axis)
    b = a.tensor(
        "b", (outputs,), "INT32", scale=scales * np.float32(x_scale), data=rng.integers(-5000, 5000, outputs)
    )
    top = float(np.max(scales)) * x_scale * (127 * 127 * np.sqrt(fan) + 5000)
    return ([w, b] if bias or rng.integers(5) else [w]), top / 127


def drawn_output(rng: np.random.Generator, a: Author, shape: tuple[int, ...], usual: float) -> int:
    scale = np.float32(usual * 2.0 ** rng.uniform(-2, 2))
    if not rng.integers(4):
        scale = np.exp2(np.rint(np.log2(scale)))
    return a.tensor("y", shape, scale=float(scale), zero=int(rng.choice([-128, 0, rng.integers(-128, 128)])))
