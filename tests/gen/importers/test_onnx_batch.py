"""Files with a fixed batch of several samples: one sample's network, or a refusal of what mixes samples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_models as om
import onnxruntime
import pytest
from exported import assert_close, computed
from float_graph import run_graph
from onnx import ModelProto, TensorProto, helper
from onnx.reference import ReferenceEvaluator
from onnx_models import node
from onnx_nets import Net, pick
from onnx_operators import OPERATORS

from synapcc.gen.errors import CompileError
from synapcc.gen.importers import load_model

BATCH = 4
OWN_SHAPE = ("Concat with constants", "GatherElements", "GatherND")
"""Whose table of places, or constant, has a batch of its own."""


def batched(proto: ModelProto, batch: int) -> ModelProto:
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = batch
    return proto


def agrees(proto: ModelProto, folder: Path) -> bool:
    """The network computes each sample as the file does; False where it is refused for mixing them."""
    shape = [d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim]
    x = om.rng(2).standard_normal(shape).astype(np.float32)
    try:
        graph = load_model(om.save(proto, folder))
    except CompileError as error:
        assert "along the batch" in error.what or "samples are mixed" in error.what, str(error)
        return False
    (want,) = ReferenceEvaluator(proto).run(None, {"x": x})
    assert_close(computed(graph, {"x": x}), np.asarray(want, np.float64).reshape(shape[0], -1))
    assert any("fixed batch of 4" in n for n in graph.notes)
    return True


@pytest.mark.parametrize("name", OPERATORS)
def test_each_operator(name: str, tmp_path: Path) -> None:
    assert agrees(batched(OPERATORS[name](), BATCH), tmp_path) == (name not in OWN_SHAPE)


def net(*steps: tuple[Any, ...], shape: tuple[int, ...] = (BATCH, 3, 2)) -> ModelProto:
    """x -> steps (op, operands, attributes) -> Flatten -> Gemm of six values."""
    n = Net(om.rng(1), shape)
    for op, operands, attrs in steps:
        n.put(op, *(n.value(np.array(v)) for v in operands), **attrs)
    n.put("Reshape", n.value(np.array([BATCH, 6])))
    n.put("Gemm", n.weight(6, 3), n.weight(3))
    return n.proto()


SAMPLEWISE: dict[str, Callable[[], ModelProto]] = {
    "rows as samples and back": lambda: net(
        ("Reshape", ([BATCH * 3, 2],), {}),
        ("MatMul", (np.eye(2, dtype=np.float32) + 1,), {}),
        ("Reshape", ([BATCH, 3, 2],), {}),
    ),
    "a copied batch": lambda: net(("Reshape", ([0, 2, 3],), {})),
    "what remains": lambda: net(("Reshape", ([-1, 6],), {})),
    "the batch of Expand": lambda: net(("Expand", ([BATCH, 3, 2],), {})),
    "axes in one place": lambda: net(("Transpose", (), {"perm": [0, 2, 1]}), ("Flatten", (), {})),
    "a constant for each sample": lambda: net(
        ("Concat", (np.ones((BATCH, 1, 2), np.float32),), {"axis": 1}), ("Slice", ([1], [4], [1]), {})
    ),
    "one more axis": lambda: net(("Unsqueeze", ([2],), {}), ("Squeeze", ([2],), {})),
    "all samples of a slice": lambda: net(("Slice", ([0, 0], [BATCH, 2**31], [0, 1]), {})),
}


@pytest.mark.parametrize("name", SAMPLEWISE)
def test_shapes_that_hold_the_batch(name: str, tmp_path: Path) -> None:
    assert agrees(SAMPLEWISE[name](), tmp_path)


def test_shapes_from_the_input(tmp_path: Path) -> None:
    """x.view(x.size(0), -1) knows the fixed batch."""
    n = Net(om.rng(1), (BATCH, 3, 2))
    first = n.join("Gather", n.join("Shape", "x"), n.value(np.array([0])), axis=0)
    n.join("Reshape", "x", n.join("Concat", first, n.value(np.array([-1])), axis=0))
    n.put("Gemm", n.weight(6, 3), n.weight(3))
    assert agrees(n.proto(), tmp_path)


MIXED: dict[str, tuple[Any, ...]] = {
    "mean": ("ReduceMean", ([0],), {"keepdims": 1}),
    "sum of everything": ("ReduceSum", (), {}),
    "largest, from behind": ("ReduceMax", ([-3],), {}),
    "softmax": ("Softmax", (), {"axis": 0}),
    "order": ("Transpose", (), {"perm": [1, 0, 2]}),
    "all axes turned": ("Transpose", (), {}),
    "slice": ("Slice", ([0], [2], [0]), {}),
    "samples backwards": ("Slice", ([-1], [-(2**31)], [0], [-1]), {}),
    "gather": ("Gather", ([0, 1],), {}),
    "tile": ("Tile", ([2, 1, 1],), {}),
    "flat": ("Flatten", (), {"axis": 0}),
    "features in front": ("Reshape", ([6, BATCH],), {}),
    "an axis in front": ("Unsqueeze", ([0],), {}),
    "a constant of more axes": ("Add", (np.ones((1, 1, 3, 2), np.float32),), {}),
    "a matrix of more axes": ("MatMul", (np.ones((1, 1, 2, 2), np.float32),), {}),
    "expanded in front": ("Expand", ([4, BATCH, 3, 2],), {}),
    "pad": ("Pad", ([1, 0, 0, 0, 0, 0],), {}),
}


@pytest.mark.parametrize("name", MIXED)
def test_what_mixes_samples_is_refused_by_its_name(name: str, tmp_path: Path) -> None:
    proto = net(MIXED[name])
    proto.graph.node[0].name = "/culprit"
    with pytest.raises(CompileError) as caught:
        load_model(om.save(proto, tmp_path))
    assert caught.value.where == f'{MIXED[name][0]} "/culprit"'
    assert "along the batch" in caught.value.what or "samples are mixed" in caught.value.what


def test_samples_of_two_ranks_are_refused(tmp_path: Path) -> None:
    """(4, 1, 6) + (4, 6) is (4, 4, 6): each sample meets all others."""
    n = Net(om.rng(1), (BATCH, 6))
    wide = n.put("Unsqueeze", n.value(np.array([1])))
    n.join("Add", wide, "x")
    n.put("Flatten")
    n.put("Gemm", n.weight(6, 3), n.weight(3))
    assert not agrees(n.proto(), tmp_path)


@pytest.mark.parametrize("op", ["Softmax", "MatMul"])
def test_one_long_row_of_all_samples_is_refused(op: str, tmp_path: Path) -> None:
    n = Net(om.rng(1), (BATCH, 6))
    n.put("Reshape", n.value(np.array([-1])))
    n.put(op, *([n.weight(BATCH * 6, 3)] if op == "MatMul" else []))
    assert not agrees(n.proto(), tmp_path)


def test_split_and_joined_samples_are_refused(tmp_path: Path) -> None:
    for last in (node("Split", "x", "a b", axis=0, num_outputs=2), node("Concat", "x x", "a", axis=0)):
        nodes = [last, node("Flatten", "a", "f"), node("Gemm", "f w", "y")]
        weights = {"w": om.real(6, 3)}
        proto = om.model(nodes, {"x": (BATCH, 3, 2)}, {"y": (BATCH, 3)}, weights)
        assert not agrees(proto, tmp_path)


def test_two_inputs_have_one_batch(tmp_path: Path) -> None:
    nodes = [node("Concat", "x z", "c", axis=1), node("Gemm", "c w", "y")]
    for second, says in (
        (BATCH, ""),
        (2, "has a batch of 2, another input one of 4"),
        ("b", "has a batch of ?"),
    ):
        proto = om.model(nodes, {"x": (BATCH, 2), "z": (second, 3)}, {"y": (BATCH, 2)}, {"w": om.real(5, 2)})
        path = om.save(proto, tmp_path)
        if not says:
            assert len(load_model(path).inputs) == 2
            continue
        with pytest.raises(CompileError, match=says.replace("?", "\\?")):
            load_model(path)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_files_in_other_floats(dtype: Any, tmp_path: Path) -> None:
    """Constants, the input and casts at both ends."""
    kind = {np.float16: TensorProto.FLOAT16, np.float64: TensorProto.DOUBLE}[dtype]
    weights = {"w": om.real(5, 4, dtype=dtype), "b": om.real(4, dtype=dtype)}
    nodes = [node("Gemm", "x w b", "h"), node("Relu", "h", "r"), node("Cast", "r", "y", to=TensorProto.FLOAT)]
    proto = om.model(nodes, {"x": ("b", 5)}, {"y": ("b", 4)}, weights)
    proto.graph.input[0].type.tensor_type.elem_type = kind
    graph = load_model(om.save(proto, tmp_path))
    x = om.rng(1).standard_normal((4, 5))
    assert_close(computed(graph, {"x": x}), np.maximum(x @ weights["w"].astype(float) + weights["b"], 0))
    assert any("given as float32" in n for n in graph.notes)


def test_an_output_that_is_left_out_is_told(tmp_path: Path) -> None:
    nodes = [node("Gemm", "x w", "scores"), node("Gemm", "x v", "angle")]
    weights = {"w": om.real(5, 4), "v": om.real(5, 2)}
    proto = om.model(nodes, {"x": ("b", 5)}, {"scores": ("b", 4), "angle": ("b", 2)}, weights)
    graph = load_model(om.save(proto, tmp_path), output="scores")
    assert 'output "scores" taken, as told; left out: "angle"' in graph.notes


def drawn_einsum(g: np.random.Generator, n: Net) -> None:
    """An equation of x [batch, i, j] and a constant, or x again; the result's axes in any order."""
    size = dict(zip("bijk", (BATCH, 3, 2, 5), strict=True))
    if g.random() < 0.5:
        second = "".join(g.permutation(list(pick(g, "bk", "bik", "jk", "ij", "bijk"))))
        other = n.weight(*(size[c] for c in second))
    else:
        second, other = pick(g, "bij", "bkj", "kij"), n.join("Tanh", "x")
    free = [c for c in "bijk" if ("bij" + second).count(c) == 1]
    both = [c for c in "bij" if c in second and g.random() < 0.6]
    if not (result := "".join(g.permutation([*free, *both]))):
        result = "b"
    terms = [("bij", "x"), (second, other)][:: pick(g, 1, -1)]
    n.join("Einsum", *(name for _, name in terms), equation=f"{','.join(t for t, _ in terms)}->{result}")


def drawn_product(g: np.random.Generator, n: Net) -> None:
    first, second = (int(v) for v in g.integers(2, size=2))
    inner = n.shape[-2] if first and len(n.shape) > 1 else n.shape[-1]
    other = n.weight(*((3, inner) if second else (inner, 3)))
    if g.random() < 0.5:
        other, second = n.join("Tanh", "x"), 1 - first
    n.join("FusedMatMul", "x", other, transA=first, transB=second, domain="com.microsoft")


def drawn_norm(g: np.random.Generator, n: Net) -> None:
    """A norm written in several operators, over any axes."""
    axes = sorted(int(a) for a in g.choice(3, int(g.integers(1, 3)), replace=False) - pick(g, 0, 3))
    x = "x"
    if kind := int(g.integers(3)):
        x = n.join("Sub", "x", n.join("ReduceMean", "x", n.value(np.array(axes)))) if kind == 2 else x
        square = n.join("ReduceMean", n.join("Mul", x, x), n.value(np.array(axes)))
        below = n.join("Sqrt", n.join("Add", square, n.value(np.float32(0.1))))
    else:
        below = n.join("ReduceL2", x, n.value(np.array(axes[:1])))
    n.join("Div", x, below)


MIXERS = {"Einsum": drawn_einsum, "FusedMatMul": drawn_product, "norm": drawn_norm}


@pytest.mark.parametrize("name", MIXERS)
def test_what_is_not_refused_keeps_samples_apart(name: str, tmp_path: Path) -> None:
    """Each drawn network gives for a sample what the file does, or is refused."""
    onnxruntime.set_default_logger_severity(4)
    taken = {True: 0, False: 0}
    for seed in range(40):
        shape = (BATCH, BATCH) if name == "FusedMatMul" and seed % 2 else (BATCH, 3, 2)
        n = Net(om.rng(seed), shape)
        MIXERS[name](n.g, n)
        proto = n.proto()
        proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
        try:
            session = onnxruntime.InferenceSession(proto.SerializeToString())
        except onnxruntime.capi.onnxruntime_pybind11_state.Fail:
            continue
        x = om.rng(2).standard_normal(shape).astype(np.float32)
        (want,) = session.run(None, {"x": x})
        try:
            graph = load_model(om.save(proto, tmp_path))
        except CompileError as error:
            taken[False] += 1
            known = ("along the batch", "samples are mixed", "two operands", "of its own", "do not fit")
            assert any(part in error.what + error.hint for part in known), f"{seed}: {error}"
            continue
        taken[True] += 1
        assert want.shape[0] == shape[0], seed
        assert_close(computed(graph, {"x": x}), np.asarray(want, np.float64).reshape(shape[0], -1))
    assert taken[True] and taken[False]


@pytest.mark.parametrize("batch", [BATCH, "N"])
@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize("axis", [0, 1, -1, -2])
def test_running_sums_stay_within_a_sample(batch: int | str, rows: bool, axis: int, tmp_path: Path) -> None:
    """Their axis is an operand; of samples laid in rows, [-1, 2], axis 0 is the batch as well."""
    n = Net(om.rng(1), (BATCH, 4))
    n.put("Reshape", n.value(np.array([-1, 2]))) if rows else None
    n.put("CumSum", n.value(np.int64(axis)))
    n.put("Reshape", n.value(np.array([-1, 4])))
    n.put("Gemm", n.weight(4, 3), n.weight(3))
    proto = n.proto()
    if isinstance(batch, str):
        for value in (*proto.graph.input, *proto.graph.output):
            value.type.tensor_type.shape.dim[0].dim_param = batch
    if axis in (0, -2):
        with pytest.raises(CompileError, match="along the batch"):
            load_model(om.save(proto, tmp_path))
        return
    x = om.rng(2).standard_normal((BATCH, 4)).astype(np.float32)
    (want,) = ReferenceEvaluator(proto).run(None, {"x": x})
    assert_close(computed(load_model(om.save(proto, tmp_path)), {"x": x}), np.asarray(want, np.float64))


@pytest.mark.parametrize("kind", [TensorProto.UINT8, TensorProto.INT8, TensorProto.INT32])
def test_integers_that_are_cast_first_are_given_as_floats(kind: int, tmp_path: Path) -> None:
    proto = om.mlp((6, 5, 3))
    given, dtype = proto.graph.input[0], helper.tensor_dtype_to_np_dtype(kind)
    proto.graph.node[0].input[0] = "real"
    proto.graph.node.insert(0, node("Cast", given.name, "real", "/cast", to=TensorProto.FLOAT))
    given.type.tensor_type.elem_type = kind
    graph = load_model(om.save(proto, tmp_path))
    assert any("it is given as float32" in note for note in graph.notes)
    x = np.random.default_rng(0).integers(0, 100, (1, 6))
    (want,) = ReferenceEvaluator(proto).run(None, {given.name: x.astype(dtype)})
    got = run_graph(graph, {graph.inputs[0]: x[0].astype(np.float32)})
    np.testing.assert_allclose(got, np.asarray(want).reshape(-1), rtol=1e-4, atol=1e-4)
    proto.graph.node.insert(0, node("Abs", given.name, "whole", "/abs"))
    proto.graph.node[1].input[0] = "whole"
    with pytest.raises(CompileError, match=r"no DequantizeLinear says|not float32"):
        load_model(om.save(proto, tmp_path))
