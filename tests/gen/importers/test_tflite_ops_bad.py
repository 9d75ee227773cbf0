"""Operators without weights of a .tflite file: what is refused, in one line; and a file in float."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from float_graph import run_graph
from lite import Author, oracle

from synapcc.gen.errors import CompileError
from synapcc.gen.importers import load_model

HELD: dict[str, Any] = {"scale": 0.5, "zero": 3}
OTHER: dict[str, Any] = {"scale": 0.25, "zero": 3}
MAP = (1, 4, 4, 2)
POOL = {"strideH": 1, "strideW": 1, "filterHeight": 1, "filterWidth": 1}
Write = Callable[[Author], tuple[int, int]]


def one(
    op: str,
    options: str,
    more: tuple[tuple[str, Any, dict[str, Any]], ...] = (),
    out: tuple[int, ...] = MAP,
    held: dict[str, Any] = HELD,
    **fields: Any,
) -> Write:
    """The operator on an input and constants: (type, content, scale)."""

    def write(a: Author) -> tuple[int, int]:
        x, y = a.tensor("x", MAP, **HELD), a.tensor("y", out, **held)
        rest = [a.tensor(f"c{i}", np.shape(v), kind, data=v, **q) for i, (kind, v, q) in enumerate(more)]
        a.op(op, [x, *rest], [y], options, 2, **fields)
        return x, y

    return write


def mixed(a: Author) -> tuple[int, int]:
    x, c, y = (
        a.tensor("x", MAP, **HELD),
        a.tensor("c", (2,), "FLOAT32", data=[1, 2]),
        a.tensor("y", MAP, **HELD),
    )
    a.op("ADD", [x, c], [y], "AddOptions", 2)
    return x, y


def whole(kind: str, v: Any) -> tuple[tuple[str, Any, dict[str, Any]], ...]:
    return ((kind, v, {}),)


PADS = [[0, 0], [1, 0], [0, 0], [0, 0]]
SLICE = ("STRIDED_SLICE", "StridedSliceOptions")
BAD: dict[str, tuple[Write, str]] = {
    "a pool that rescales": (
        one("MAX_POOL_2D", "Pool2DOptions", held=OTHER, padding=1, **POOL),
        "its input has scale 0.5, zero point 3, its output scale 0.25, zero point 3, and it does not rescale",
    ),
    "a mean of places that rescales": (
        one("AVERAGE_POOL_2D", "Pool2DOptions", held=OTHER, padding=1, **POOL),
        "does not rescale",
    ),
    "a window that does not fit": (
        one("MAX_POOL_2D", "Pool2DOptions", padding=1, **{**POOL, "filterHeight": 9}),
        "its window (9, 1) does not fit",
    ),
    "no stride": (one("MAX_POOL_2D", "Pool2DOptions", padding=1), "stride (0, 0)"),
    "another activation": (
        one("MAX_POOL_2D", "Pool2DOptions", padding=1, fusedActivationFunction=4, **POOL),
        "has the fused activation 4",
    ),
    "an axis beyond": (one("MEAN", "ReducerOptions", whole("INT32", [7]), (1, 4)), "works on axis 7 of 4"),
    "axes in float": (one("MEAN", "ReducerOptions", whole("FLOAT32", [1.0]), (1, 4)), "its axes is float32"),
    "another shape": (
        one("MEAN", "ReducerOptions", whole("INT32", [1]), (1, 3)),
        "the file says shape (1, 3)",
    ),
    "a border cut off": (
        one("PAD", "PadOptions", whole("INT32", [[0, 0], [-1, 0], [0, 0], [0, 0]])),
        "pads [[0, 0], [-1, 0]",
    ),
    "a border of some axes": (one("PAD", "PadOptions", whole("INT32", [[1, 1]])), "pads [[1, 1]]"),
    "a value of another scale": (
        one("PADV2", "PadV2Options", (("INT32", PADS, {}), ("INT8", [1], OTHER)), (1, 5, 4, 2)),
        "one number, held as its input is",
    ),
    "a huge border": (
        one("PAD", "PadOptions", whole("INT32", [[0, 0], [2**31 - 1, 0], [0, 0], [0, 0]])),
        "the most is",
    ),
    "integers and float": (mixed, "takes together integers and float32"),
    "shapes that do not fit": (
        one("ADD", "AddOptions", (("INT8", [1, 2, 3], HELD),)),
        "makes shape (1, 4, 4, 2) of (1, 4, 4, 2) and (3,)",
    ),
    "an axis twice": (
        one("TRANSPOSE", "TransposeOptions", whole("INT32", [0, 1, 1, 2])),
        "into the order [0, 1, 1, 2]",
    ),
    "places beyond": (one("GATHER", "GatherOptions", whole("INT32", [4]), axis=1), "places beyond axis 1"),
    "nothing left": (
        one(*SLICE, tuple(("INT32", [v] * 4, {}) for v in (0, 0, 1))),
        "takes nothing of axis 0",
    ),
    "no step": (one(*SLICE, tuple(("INT32", [v] * 4, {}) for v in (0, 4, 0))), "by [0, 0, 0, 0]"),
    "two ellipses": (
        one(*SLICE, tuple(("INT32", [v] * 4, {}) for v in (0, 4, 1)), ellipsisMask=3),
        "slices (1, 4, 4, 2)",
    ),
    "a size that the file does not say": (
        one("RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighborOptions", whole("INT32", [2**30, 4])),
        "resizes (1, 4, 4, 2) to [1073741824, 4]",
    ),
    "options of another operator": (
        one("MUL", "AddOptions", (("INT8", [1], HELD),)),
        "has AddOptions instead",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_not_taken_is_told(what: str, tmp_path: Path) -> None:
    write, said = BAD[what]
    a, path = Author(), tmp_path / "net.tflite"
    x, y = write(a)
    path.write_bytes(a.bytes([x], [y]))
    with pytest.raises(CompileError) as caught:
        load_model(path)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def in_float(rng: np.random.Generator) -> bytes:
    """All of them in one file."""
    a = Author()

    def act(name: str, *shape: int) -> int:
        return a.tensor(name, shape, "FLOAT32")

    def kept(name: str, values: Any, kind: str = "INT32") -> int:
        return a.tensor(name, np.shape(values), kind, data=values)

    window = {"strideH": 2, "strideW": 1, "filterHeight": 3, "filterWidth": 2, "padding": 0}
    x, pooled, top = act("x", 1, 5, 6, 2), act("pooled", 1, 3, 6, 2), act("top", 1, 3, 6, 2)
    a.op("AVERAGE_POOL_2D", [x], [pooled], "Pool2DOptions", **window, fusedActivationFunction=3)
    a.op("MAX_POOL_2D", [x], [top], "Pool2DOptions", **window)
    less, scaled, gated = (act(n, 1, 3, 6, 2) for n in ("less", "scaled", "gated"))
    a.op("SUB", [pooled, top], [less], "SubOptions")
    a.op("MUL", [kept("c", rng.normal(0, 1, 2), "FLOAT32"), less], [scaled], "MulOptions")
    a.op("MUL", [scaled, pooled], [gated], "MulOptions", fusedActivationFunction=1)
    padded, ends = act("padded", 1, 3, 9, 2), kept("ends", [[0, 0], [0, 0], [1, 2], [0, 0]])
    a.op("PADV2", [gated, ends, kept("v", [0.5], "FLOAT32")], [padded], "PadV2Options")
    parts = [act(f"part{i}", 1, 3, 3, 2) for i in range(3)]
    a.op("SPLIT", [kept("axis", 2), padded], parts, "SplitOptions", numSplits=3)
    joined, turned = act("joined", 1, 3, 3, 4), act("turned", 1, 4, 3, 3)
    a.op("CONCATENATION", [parts[2], parts[0]], [joined], "ConcatenationOptions", axis=3)
    a.op("TRANSPOSE", [joined, kept("order", [0, 3, 1, 2])], [turned], "TransposeOptions")
    mean, out = act("mean", 1, 3), act("out", 1, 3)
    a.op("MEAN", [turned, kept("axes", [1, 3])], [mean], "ReducerOptions")
    a.op("SUB", [kept("from", rng.normal(0, 1, 3), "FLOAT32"), mean], [out], "SubOptions")
    return a.bytes([x], [out])


def test_a_file_in_float_computes_the_same(tmp_path: Path) -> None:
    rng, path = np.random.default_rng(0), tmp_path / "net.tflite"
    data = in_float(rng)
    path.write_bytes(data)
    graph = load_model(path)
    x = rng.normal(0, 2, (9, 5, 6, 2)).astype(np.float32)
    want = oracle(data, [x])
    got = np.array([run_graph(graph, {"x": v}) for v in x])
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    assert np.ptp(want, axis=0).min() > 0.01
