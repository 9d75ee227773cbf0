"""Forms in which exporters and optimisers write what ONNX has an operator for, drawn at random.

onnx's reference evaluator computes the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx_models as om
import pytest
from onnx import NodeProto
from onnx.reference import ReferenceEvaluator
from onnx_forms import FORMS, form, ints
from onnx_nets import Net, Rng, graph_of, ops, pick

from synapcc.gen.importers import load_model
from synapcc.gen.importers.onnx.file import OnnxNode
from synapcc.gen.importers.onnx.fold import FOLDABLE, fold
from synapcc.gen.importers.onnx.fold_functions import FUNCTIONS
from synapcc.gen.importers.onnx.fold_norms import NORMALISATIONS

SEEDS = range(6)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", FORMS)
def test_it_computes_what_onnx_says(name: str, seed: int, tmp_path: Path) -> None:
    graph_of(form(name, seed), tmp_path)


@pytest.mark.parametrize("op", sorted(FUNCTIONS))
def test_constants_by_functions(op: str, tmp_path: Path) -> None:
    """What is a function of constants alone is one."""
    net = Net(om.rng(1), [1, 4], 18)
    c = net.join(op, net.value(np.float32([0.25, 0.5, 1.5, 2.5])))
    kind = 1 if op == "IsNaN" else None
    c = net.join("Cast", c, to=kind) if kind else c
    net.join("Mul", "x", net.join("Add", c, net.value(np.float32(1))))
    net.head(4)
    assert ops(graph_of(net.proto(), tmp_path)) == ["dense"]


TABLES: Mapping[str, Callable[[Net], str]] = {
    "Mod": lambda n: n.join("Mod", ints(n, 7, -7, 5, 4), ints(n, 3, 3, -3, 2)),
    "MatMul": lambda n: n.join("MatMul", n.weight(4, 3), n.weight(3)),
    "ReduceL1": lambda n: n.join("ReduceL1", n.weight(4, 3), ints(n, 1), keepdims=0),
    "ReduceL2": lambda n: n.join("ReduceL2", n.weight(4, 3), ints(n, 1), keepdims=0),
    "ReduceSumSquare": lambda n: n.join("ReduceSumSquare", n.weight(4, 3), ints(n, 1), keepdims=0),
    "ScatterND": lambda n: n.join("ScatterND", n.weight(4), n.value(np.array([[2], [0]])), n.weight(2)),
    "Trilu": lambda n: n.join("Flatten", n.join("Trilu", n.weight(2, 2), n.value(np.array(1))), axis=0),
}


@pytest.mark.parametrize("op", TABLES)
def test_constants_by_other_operators(op: str, tmp_path: Path) -> None:
    assert op in FOLDABLE
    net = Net(om.rng(1), [1, 4], 18)
    c = net.join("Cast", TABLES[op](net), to=1)
    net.join("Mul", "x", net.join("Add", c, net.value(np.float32(4))))
    net.head(4)
    assert ops(graph_of(net.proto(), tmp_path)) == ["dense"]


REDUCED = sorted(op for op in FOLDABLE if op.startswith("Reduce"))


def normalised(g: Rng, op: str) -> tuple[NodeProto, list[np.ndarray]]:
    """A normalisation of constants, any of its attributes left out."""
    shape = pick(g, (2, 3, 4, 5), (3, 4, 2, 3))
    x, n = g.normal(0, pick(g, 1, 1e-4, 30), shape).astype(np.float32), int(g.integers(-4, 4))
    axis = {"axis": n} if g.integers(2) else {}
    epsilon = {"epsilon": 1e-3} if g.integers(2) else {}
    if op == "LpNormalization":
        x[0] = 0
        p = pick(g, {}, {"p": 1}, {"p": 2})
        x = np.abs(x) if p.get("p") == 1 else x  # ONNX's own evaluator forgets the signs of p = 1
        return om.node(op, "a", "y", **axis, **p), [x]
    if op == "MeanVarianceNormalization":
        return om.node(op, "a", "y", **pick(g, {}, {"axes": [0, 2]}, {"axes": [-1]})), [x]
    channels = (shape[1],) if op == "InstanceNormalization" else shape[axis.get("axis", -1) :]
    if op != "InstanceNormalization" and g.integers(2):  # broadcast
        channels = tuple(1 if g.integers(2) else c for c in channels[int(g.integers(len(channels))) :])
    given = [g.normal(1, 1, channels).astype(np.float32) for _ in range(2)]
    if op == "InstanceNormalization":
        return om.node(op, "a b c", "y", **epsilon), [x, *given]
    count = int(g.integers(1, 3)) if op == "LayerNormalization" else 1
    return om.node(op, "a b c"[: 1 + 2 * count], "y", **axis, **epsilon), [x, *given[:count]]


def drawn(g: Rng, op: str) -> tuple[NodeProto, list[np.ndarray]]:
    """A node with constant operands, any of its attributes left out."""
    if op in NORMALISATIONS:
        return normalised(g, op)
    kind = pick(g, np.float32, np.int32, np.int64)
    if op == "IsInf":
        signs = {f"detect_{sign}": int(g.integers(2)) for sign in ("positive", "negative") if g.integers(2)}
        return om.node(op, "a", "y", **signs), [np.float32([np.inf, -np.inf, 1, np.nan])]
    a = g.integers(1, 5, (2, 3)).astype(kind)
    if op == "Pow":
        return om.node(op, "a b", "y"), [a, pick(g, np.float32(0.5), np.int32(2), np.float32([1, 2, 1.5]))]
    attrs = {name: int(g.integers(2)) for name in ("keepdims", "noop_with_empty_axes") if g.integers(2)}
    axes = pick(g, [], [0], [-1], [0, 1], None)
    given = [a] if axes is None else [a, np.array(axes, np.int64)]
    return om.node(op, "a b" if len(given) > 1 else "a", "y", **attrs), given


def computed(proto: NodeProto, operands: list[np.ndarray]) -> np.ndarray:
    """What ONNX's own evaluator says; of zeros over their norm that they stay, as onnxruntime has it."""
    known = om.node("RMSNormalization", " ".join(proto.input), "y")
    known.attribute.extend(proto.attribute)
    seen = known if proto.op_type == "SimplifiedLayerNormalization" else proto
    with np.errstate(invalid="ignore"):
        (want,) = ReferenceEvaluator(seen).run(None, dict(zip("abc", operands, strict=False)))
    return np.nan_to_num(want, nan=0.0) if proto.op_type == "LpNormalization" else want


def test_the_norm_of_signs_is_that_of_their_magnitudes(tmp_path: Path) -> None:
    proto = om.node("LpNormalization", "a", "y", p=1)
    got = fold(OnnxNode.of(proto), [np.float32([[1, -3], [0, 0]])], tmp_path)
    np.testing.assert_array_equal(got, np.float32([[0.25, -0.75], [0, 0]]))


@pytest.mark.parametrize("op", ["IsInf", "Pow", *REDUCED, *NORMALISATIONS])
def test_folding_is_what_onnx_computes(op: str, tmp_path: Path) -> None:
    """In its shape too, and in the type of its operand, which onnx's own squares forget."""
    for seed in range(40):
        proto, operands = drawn(om.rng(seed), op)
        want = computed(proto, operands)
        got = fold(OnnxNode.of(proto), operands, tmp_path)
        kind = np.dtype(bool) if op == "IsInf" else operands[0].dtype
        assert (got.dtype, got.shape) == (kind, np.shape(want)), (seed, proto)
        small = 1e-5 if op in NORMALISATIONS else 0  # ONNX's own variance is a difference in float32
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=small, err_msg=f"{seed} {proto}")


def test_a_class_token_is_a_border_and_a_summand(tmp_path: Path) -> None:
    """So that the place added behind it costs nothing more."""
    net = Net(om.rng(0), [1, 5, 4])
    net.join("Concat", net.weight(1, 1, 4), "x", axis=1)
    net.put("Add", net.weight(1, 6, 4))
    net.put("MatMul", net.weight(4, 3))
    graph = load_model(om.save(net.proto(), tmp_path))
    assert ops(graph) == ["pad", "affine", "conv2d"]
