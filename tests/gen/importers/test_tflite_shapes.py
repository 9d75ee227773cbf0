"""Whole numbers of .tflite files that follow from shapes, and what of slices is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lite import Author, answers, compiled, oracle

from synapcc.gen.errors import CompileError
from synapcc.gen.importers import load_model


def whole(a: Author, name: str, *values: int) -> int:
    return a.tensor(name, (len(values),), "INT32", data=values)


def deconvolution(out: int = 8) -> bytes:
    """As Keras writes Conv2DTranspose: its output's shape is made of that of its input."""
    rng, a = np.random.default_rng(3), Author()
    x = a.tensor("x", (1, 4, 4, 2), scale=0.1)
    shape = a.tensor("shape", (4,), "INT32")
    a.op("SHAPE", [x], [shape], "ShapeOptions", 1, outType=2)
    ends = [whole(a, "begin", 1), whole(a, "end", 2), whole(a, "step", 1)]
    height = a.tensor("height", (), "INT32")
    a.op("STRIDED_SLICE", [shape, *ends], [height], "StridedSliceOptions", 1, shrinkAxisMask=1)
    twice = a.tensor("twice", (), "INT32")
    a.op("MUL", [height, a.tensor("two", (), "INT32", data=[2])], [twice], "MulOptions", 1)
    one, filters = (a.tensor(n, (), "INT32", data=[v]) for n, v in (("one", 1), ("filters", 3)))
    to = a.tensor("to", (4,), "INT32")
    a.op("PACK", [one, twice, twice, filters], [to], "PackOptions", 1, valuesCount=4, axis=0)
    w = a.tensor("w", (3, 2, 2, 2), scale=0.02, data=rng.integers(-127, 128, (3, 2, 2, 2)))
    y = a.tensor("y", (1, out, out, 3), scale=0.5, zero=3)
    a.op("TRANSPOSE_CONV", [to, w, x], [y], "TransposeConvOptions", 2, padding=0, strideH=2, strideW=2)
    return a.bytes([x], [y])


def test_an_output_shape_that_is_computed_from_the_inputs_is_known(tmp_path: Path) -> None:
    data, rng = deconvolution(), np.random.default_rng(1)
    x = rng.integers(-128, 128, (8, 4, 4, 2)).astype(np.int8)
    c = compiled(data, tmp_path)
    assert np.array_equal(answers(c, [x]), oracle(data, [x]))
    assert {n.op for n in c.graph.nodes} == {"dilate", "conv2d", "reshape"}


def test_one_that_says_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.tflite").write_bytes(deconvolution(7))
    with pytest.raises(CompileError, match="the file says"):
        load_model(tmp_path / "net.tflite")


def net(op: str, options: str, out: tuple[int, ...], *operands: tuple[int, ...], **fields: int) -> bytes:
    a = Author()
    x = a.tensor("x", (1, 4, 5), scale=0.1)
    rest = [whole(a, f"c{i}", *values) for i, values in enumerate(operands)]
    y = a.tensor("y", out, scale=0.1)
    a.op(op, [x, *rest], [y], options, 1, **fields)
    return a.bytes([x], [y])


@pytest.mark.parametrize(
    "data, said",
    [
        (net("SLICE", "SliceOptions", (1, 2, 5), (0, 3, 0), (1, 2, 5)), "places 3 to 5"),
        (net("SLICE", "SliceOptions", (1, 2, 5), (0, 3), (1, 2)), "cuts"),
        (net("TILE", "TileOptions", (1, 4, 5), (1, 0, 1)), "repeats"),
        (net("TILE", "TileOptions", (1, 4, 10), (1, 2)), "repeats"),
        (net("REVERSE_V2", "ReverseV2Options", (1, 4, 5), (4,)), "axis 4"),
        (net("SPLIT_V", "SplitVOptions", (1, 4, 5), (3, 3), (1,), numSplits=1), "splits axis"),
        (net("UNPACK", "UnpackOptions", (1, 5), num=1, axis=1), "takes axis"),
        (net("STRIDED_SLICE", "StridedSliceOptions", (1, 4, 5), (0, 0, 0, 0), (1, 4, 5, 0), (1,) * 4,
             ellipsisMask=8), "stands for no axis"),
        (net("STRIDED_SLICE", "StridedSliceOptions", (1, 4, 5), (0, 0), (1, 4), (1, 0)), "slices"),
    ],
)  # fmt: skip
def test_what_cannot_be_cut_is_told(data: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "net.tflite").write_bytes(data)
    with pytest.raises(CompileError, match=said):
        load_model(tmp_path / "net.tflite")
