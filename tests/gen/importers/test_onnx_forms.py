"""Forms in which exporters and optimisers write what ONNX has an operator for, drawn at random.

onnx's reference evaluator computes the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx_models as om
import pytest
from onnx_forms import FORMS, form, ints
from onnx_nets import Net, graph_of, ops

from synapcc.gen.importers import load_model
from synapcc.gen.importers.onnx.fold import FOLDABLE
from synapcc.gen.importers.onnx.fold_functions import FUNCTIONS

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
    kind = 1 if op in ("IsInf", "IsNaN") else None
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


def test_a_class_token_is_a_border_and_a_summand(tmp_path: Path) -> None:
    """So that the place added behind it costs nothing more."""
    net = Net(om.rng(0), [1, 5, 4])
    net.join("Concat", net.weight(1, 1, 4), "x", axis=1)
    net.put("Add", net.weight(1, 6, 4))
    net.put("MatMul", net.weight(4, 3))
    graph = load_model(om.save(net.proto(), tmp_path))
    assert ops(graph) == ["pad", "affine", "conv2d"]
