"""Files with one dilated convolution as TensorFlow writes it: dealt out, convolved, collected."""

from __future__ import annotations

from typing import Any

import numpy as np
from lite import Author

Drawn = tuple[bytes, tuple[int, ...]]


def constant(a: Author, name: str, data: Any) -> int:
    return a.tensor(name, np.shape(data), "INT32", data=data)


def dilated(
    rng: np.random.Generator, line: bool, floats: bool = False, twice: bool = False, **wrong: Any
) -> Drawn:
    """A file with one dilated convolution over a map, or over a line as keras.layers.Conv1D writes it.

    twice: two of what was dealt out once, side by side, as in a gated convolution
    """
    a, depthwise = Author(), bool(rng.integers(2))
    block = rng.integers(1, 4, 2)
    if line:
        block[0] = 1
    kernel = np.array([1 if line else rng.integers(1, 4), rng.integers(1, 4)])
    out = np.array([1 if line else rng.integers(1, 7), rng.integers(1, 9)])
    reach = (kernel - 1) * block + 1
    before, after = (rng.integers(0, reach) for _ in range(2))  # no window sees padding alone
    size = np.maximum(out + reach - 1 - before - after, 1)
    after += out + reach - 1 - size - before - after
    if np.any((after < 0) | (after >= reach)):
        return dilated(rng, line, floats, twice, **wrong)
    crops = -(size + before + after) % block  # places that only fill the last block
    channels, each = int(rng.integers(1, 5)), int(rng.integers(1, 3))
    outputs = channels * each if depthwise else int(rng.integers(1, 5))
    dealt = (size + before + after + crops) // block
    made = dealt - kernel + 1
    batch = int(np.prod(block))
    kind = "FLOAT32" if floats else "INT8"
    scale, zero = float(np.float32(2.0 ** rng.uniform(-7, -2))), int(rng.integers(-128, 128))
    held: dict[str, Any] = {} if floats else {"scale": scale, "zero": zero}
    short = slice(1, None) if line else slice(None)

    def act(name: str, shape: Any, **kept: Any) -> int:
        return a.tensor(name, tuple(int(n) for n in shape), kind, **kept)

    x = act("x", (1, *size[short], channels), **held)
    spread = act("dealt", (batch, *dealt[short], channels), **held)
    ends = np.stack([before, after + crops], 1)[short]
    given = wrong.get("block", block[short])
    a.op("SPACE_TO_BATCH_ND", [x, constant(a, "block", block[short]), constant(a, "ends", ends)], [spread])
    seen = spread
    if line:
        seen = act("lying", (batch, *dealt, channels), **held)
        at = constant(a, "axis", np.array(1))
        a.op("EXPAND_DIMS", [spread, at], [seen], "ExpandDimsOptions")
    shape = (1, *map(int, kernel), outputs) if depthwise else (outputs, *map(int, kernel), channels)
    fan = float(np.prod(kernel)) * (1 if depthwise else channels)
    if floats:
        w = a.tensor("w", shape, kind, data=rng.normal(0, 1, shape))
        b = a.tensor("b", (outputs,), kind, data=rng.normal(0, 1, outputs))
        ends_in: dict[str, Any] = {}
    else:
        s = np.float32(2.0 ** rng.uniform(-9, -3, outputs))
        w = a.tensor("w", shape, scale=s, data=rng.integers(-127, 128, shape), axis=3 if depthwise else 0)
        b = a.tensor(
            "b", (outputs,), "INT32", scale=s * np.float32(scale), data=rng.integers(-999, 999, outputs)
        )
        usual = float(s.max()) * scale * 127 * 127 * np.sqrt(fan) / 127
        ends_in = {"scale": usual, "zero": int(rng.integers(-128, 128))}
    back = np.stack([np.zeros(2, int), crops], 1)[short]
    size_out = (1, *(made * block - crops)[short], outputs)
    results = []
    for _ in range(1 + twice):
        y = act("made", (batch, *made, outputs), **ends_in)
        if depthwise:
            options: dict[str, Any] = {"depthMultiplier": each}
            a.op(
                "DEPTHWISE_CONV_2D", [seen, w, b], [y], "DepthwiseConv2DOptions", 3, **_plain(rng), **options
            )
        else:
            a.op("CONV_2D", [seen, w, b], [y], "Conv2DOptions", 3, **_plain(rng))
        flat = y
        if line:
            flat = act("flat", (batch, int(made[1]), outputs), **ends_in)
            a.op("RESHAPE", [y, constant(a, "shape", np.array([batch, made[1], outputs]))], [flat])
        result = act("y", size_out, **ends_in)
        a.op("BATCH_TO_SPACE_ND", [flat, constant(a, "again", given), constant(a, "crops", back)], [result])
        results.append(result)
    if twice:
        result = act("both", (*size_out[:-1], 2 * outputs), **ends_in)
        a.op("CONCATENATION", results, [result], "ConcatenationOptions", 2, axis=-1)
    return a.bytes([x], [result]), tuple(int(n) for n in (*size, channels))


def _plain(rng: np.random.Generator) -> dict[str, int]:
    one = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    return {"padding": 1, "fusedActivationFunction": int(rng.integers(4)), **one}
