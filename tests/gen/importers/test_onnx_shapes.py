"""Each value that an import makes has the shape that ONNX's own shape inference says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_models as om
import pytest
from onnx import ModelProto
from onnx_nets import Net, Rng, graph_of, pick
from onnx_operators import OPERATORS

from synapcc.gen.importers.onnx import reader
from synapcc.gen.importers.onnx.batch import BY_VALUE, COMPARISONS


def inferred(proto: ModelProto) -> dict[str, tuple[int, ...]]:
    """By name, the shapes that are known."""
    plain = onnx.ModelProto()
    plain.CopyFrom(proto)
    for value in plain.graph.output:
        value.type.tensor_type.ClearField("shape")
    made = onnx.shape_inference.infer_shapes(plain, data_prop=True).graph
    kinds = {v.name: v.type.tensor_type for v in (*made.value_info, *made.output)}
    return {
        name: tuple(d.dim_value for d in kind.shape.dim)
        for name, kind in kinds.items()
        if kind.HasField("shape") and all(d.HasField("dim_value") for d in kind.shape.dim)
    }


@pytest.fixture
def agrees(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[ModelProto], None]:
    """Imports a network: its values are those of the reference, their shapes those inferred."""
    seen: dict[str, tuple[int, ...]] = {}

    def noted(scope: Any, node: Any, args: Sequence[Any]) -> Any:
        made = original(scope, node, args)
        results = made if isinstance(made, tuple) else (made,)
        seen.update(zip(node.outputs, (r.shape for r in results), strict=False))
        return made

    original = reader.convert
    monkeypatch.setattr(reader, "convert", noted)

    def check(proto: ModelProto) -> None:
        seen.clear()
        graph_of(proto, tmp_path)
        known = inferred(proto)
        both = seen.keys() & known.keys()
        assert both, (seen, known)
        assert {n: seen[n] for n in both} == {n: known[n] for n in both}

    return check


@pytest.mark.parametrize("name", OPERATORS)
def test_each_operator(name: str, agrees: Callable[[ModelProto], None]) -> None:
    agrees(OPERATORS[name]())


@pytest.mark.parametrize("rows", [1, 2])
def test_attention(rows: int, agrees: Callable[[ModelProto], None]) -> None:
    net = Net(om.rng(0), [1, 4 * rows, 6], 23)
    net.put("Reshape", net.value(np.array([rows, 4, 6])))
    q, k, v = (net.join("MatMul", net.nodes[0].output[0], net.weight(6, 4)) for _ in range(3))
    net.join("Attention", q, k, v, net.weight(4, 4), q_num_heads=2, kv_num_heads=2)
    net.put("Softmax", axis=1) if rows > 1 else net.put("Tanh")
    net.put("Tanh")
    agrees(net.proto())


def one_number(g: Rng, op: str) -> ModelProto:
    """An operator with a constant of one element and any rank, behind it what works along an axis."""
    net = Net(g, [1, *(int(n) for n in g.integers(2, 6, int(g.integers(1, 3))))])
    number = np.full((1,) * int(g.integers(0, len(net.shape) + 3)), 0.5, np.float32)
    operands = ["x", net.value(number)]
    match op:
        case _ if op in COMPARISONS:
            condition = net.join(op, "x", net.value(number * 0))
            net.join("Where", condition, "x", net.join("Mul", "x", net.value(np.float32(0.25))))
        case "Where":
            net.join("Where", net.value(number > g.random()), *operands[:: pick(g, 1, -1)])
        case "Pow":
            net.join("Pow", *pick(g, ["x", net.value(number * 4)], operands[::-1]))
        case "PRelu":
            net.join("PRelu", "x", net.value(number.reshape((1,) * min(number.ndim, len(net.shape)))))
        case _:
            net.join(op, *operands[:: pick(g, 1, -1)])
    net.put("Softmax", axis=-min(2, len(net.shape) - 1))
    net.put("Tanh")
    return net.proto()


@pytest.mark.parametrize("op", [op for op in BY_VALUE if op != "Mean"])  # which onnx adds up in place
def test_a_number_of_several_axes(op: str, agrees: Callable[[ModelProto], None]) -> None:
    """Its axes are those of the result."""
    for seed in range(12):
        agrees(one_number(om.rng(seed), op))
