"""Files that leave a length to the run: TensorFlow writes 1 in its place, and -1 in the signature."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from float_graph import run_graph
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


@pytest.mark.parametrize("signature", [[-1, -1, 3, 2], [-1, -1, -1, 2], [-1, -1, -1, -1]])
def test_what_is_left_over_is_the_length(signature: list[int], tmp_path: Path) -> None:
    data = _file(signature, (1, 1, 3, 2), [1, 4, 3, 2])
    x: NDArray[np.int8] = np.random.default_rng(1).integers(-128, 128, (8, 24)).astype(np.int8)
    assert np.array_equal(answers(compiled(data, tmp_path), [x]), oracle(data, [x]))


@pytest.mark.parametrize("signature", [[-1, -1, 5, 2], [-1, -1, -1, 5], [1, 1, 3, 2]])
def test_else_it_is_refused(signature: list[int], tmp_path: Path) -> None:
    with pytest.raises(CompileError, match=r"RESHAPE .* makes shape"):
        compiled(_file(signature, (1, 1, 3, 2), [1, 4, 3, 2]), tmp_path)


@pytest.mark.parametrize("floats", [False, True])
def test_rows_of_a_dense_layer_are_as_many_as_there_are(floats: bool, tmp_path: Path) -> None:
    """As Keras writes Dense of a sequence: shapes computed from SHAPE, and functions in between."""
    rng, a = np.random.default_rng(2), Author()
    kind = "FLOAT32" if floats else "INT8"
    held: dict[str, Any] = {} if floats else {"scale": 0.05, "zero": 3}

    def act(shape: tuple[int, ...], signature: list[int] | None = None) -> int:
        t = a.tensor(f"t{len(a.graph.tensors)}", shape, kind, **held)
        a.graph.tensors[t].shapeSignature = signature or list(shape)
        return t

    def whole(shape: tuple[int, ...], data: Any = None) -> int:
        return a.tensor(f"t{len(a.graph.tensors)}", shape, "INT32", data=data)

    x, h = act((1, 6, 4)), act((1, 6, 4))
    if floats:
        a.op("TANH", [x], [h])
    else:
        a.op("RELU", [x], [h])
    shape, front, count, to, back = whole((3,)), whole((2,)), whole(()), whole((2,)), whole((3,))
    a.op("SHAPE", [h], [shape], "ShapeOptions", outType=2)
    a.op("GATHER", [shape, whole((2,), [0, 1])], [front], "GatherOptions")
    a.op("REDUCE_PROD", [front, whole((1,), [0])], [count], "ReducerOptions")
    a.op("PACK", [count, whole((), 4)], [to], "PackOptions", valuesCount=2)
    a.op("CONCATENATION", [front, whole((1,), [5])], [back], "ConcatenationOptions")
    rows, made, again, y = act((1, 1), [-1, -1]), act((1, 5), [-1, 5]), act((1, 5), [-1, 5]), act((1, 6, 5))
    own: dict[str, Any] = {} if floats else {"scale": 0.01}
    data = rng.normal(0, 1, (5, 4)) if floats else rng.integers(-99, 99, (5, 4))
    w = a.tensor("w", (5, 4), kind, data=data, **own)
    a.op("RESHAPE", [h, to], [rows], "ReshapeOptions")
    a.op("FULLY_CONNECTED", [rows, w], [made], "FullyConnectedOptions", 4)
    a.op("RELU", [made], [again])
    a.op("RESHAPE", [again, back], [y], "ReshapeOptions")
    data = a.bytes([x], [y])
    if floats:
        values = rng.normal(0, 1, (4, 6, 4)).astype(np.float32)
        graph = compiled(data, tmp_path).graph
        got = [
            run_graph(graph, {graph.inputs[0]: v.reshape(graph.interface[0].shape)}).ravel() for v in values
        ]
        assert np.allclose(got, oracle(data, [values]), atol=1e-5)
    else:
        drawn: NDArray[np.int8] = rng.integers(-128, 128, (8, 6, 4)).astype(np.int8)
        assert np.array_equal(answers(compiled(data, tmp_path), [drawn]), oracle(data, [drawn]))
