"""Dynamic range quantisation: int8 weights with scales beside float32 activations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from float_graph import run_graph
from lite import Author, compiled

from synapcc.gen.importers.tflite.layers import DYNAMIC


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("depthwise", [False, True])
def test_the_weights_are_what_their_integers_stand_for(
    per_channel: bool, depthwise: bool, tmp_path: Path
) -> None:
    rng = np.random.default_rng(5)
    a = Author()
    x = a.tensor("x", (1, 5, 4, 3), "FLOAT32")
    shape, axis = ((1, 2, 3, 6), 3) if depthwise else ((6, 2, 3, 3), 0)
    ints = rng.integers(-127, 128, shape)
    scales = rng.uniform(0.001, 0.1, 6 if per_channel else 1).astype(np.float32)
    w = a.tensor("w", shape, scale=scales, data=ints, axis=axis)
    bias = rng.normal(0, 1, 6).astype(np.float32)
    b = a.tensor("b", (6,), "FLOAT32", data=bias)
    y = a.tensor("y", (1, 4, 2, 6), "FLOAT32")
    plain = {"padding": 1, "strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    if depthwise:
        a.op("DEPTHWISE_CONV_2D", [x, w, b], [y], "DepthwiseConv2DOptions", 3, depthMultiplier=2, **plain)
    else:
        a.op("CONV_2D", [x, w, b], [y], "Conv2DOptions", 3, **plain)
    c = compiled(a.bytes([x], [y]), tmp_path)
    assert DYNAMIC in c.graph.notes
    along = [1, 1, 1, 1]
    along[axis] = -1
    real = ints * scales.reshape(along)
    v = rng.normal(0, 1, (5, 4, 3)).astype(np.float32)
    want = np.empty((4, 2, 6))
    for i, j in np.ndindex(4, 2):
        seen = v[i : i + 2, j : j + 3]
        for o in range(6):
            kernel = real[0, :, :, o] if depthwise else real[o]
            want[i, j, o] = np.sum(kernel * (seen[:, :, o // 2] if depthwise else seen)) + bias[o]
    got = run_graph(c.graph, {c.graph.inputs[0]: v})
    assert np.allclose(got.reshape(want.shape), want, atol=1e-4)
