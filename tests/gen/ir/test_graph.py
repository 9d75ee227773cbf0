"""Graphs from Python: what does not fit is said in one line."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conv_nets import cnn, data

from synapcc.gen.compile import compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.ir.graph import Graph, Node, Tensor
from synapcc.gen.spec import RuleSpec
from synapcc.gen.stages.graph_check import verify

pytestmark = pytest.mark.anywhere


def changed(**change: object) -> Graph:
    """The small network with its first node changed."""
    graph = cnn(np.random.default_rng(1))
    return replace(graph, nodes=(replace(graph.nodes[0], **change), *graph.nodes[1:]))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"op": "conv3d"}, "conv1: there is no op conv3d"),
        ({"inputs": ("x", "w1")}, "conv1: its input x is a constant|conv1: its input x is computed"),
        ({"inputs": ("x", "w1", "x")}, "its input x is computed, where a constant belongs"),
        ({"inputs": ("b1", "w1", "b1")}, "its input b1 is a constant, where data belong"),
        ({"attrs": {}}, "conv1: "),
        (
            {"op": "pad", "inputs": ("x",), "attrs": {}},
            "conv1: its attribute padding is None, not whole numbers",
        ),
        ({"op": "table", "inputs": ("x",), "attrs": {}}, "conv1: its inputs or attributes are not those"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, object], says: str) -> None:
    with pytest.raises(CompileError, match=says) as caught:
        verify(changed(**change))
    assert "\n" not in str(caught.value)


def test_untying_takes_no_name_that_is_there() -> None:
    rng = np.random.default_rng(3)
    graph, samples = cnn(rng), data(rng)
    named = {"x": "conv2_untied_weight"}
    tensors = {named.get(n, n): replace(t, name=named.get(n, n)) for n, t in graph.tensors.items()}
    nodes = (replace(graph.nodes[0], inputs=(named["x"], "w1", "b1")), *graph.nodes[1:])
    renamed = Graph("cnn", (named["x"],), "z", tensors, nodes)
    samples[named["x"]] = samples.pop("x")
    plan = compile_model(renamed, RuleSpec("bp", layers="all", untied=("conv2",)), samples).plan
    assert plan["conv2_weight"].shape == (36, 12) and plan[named["x"]].shape == (24,)


def test_a_function_that_is_flat_cannot_be_learned_through() -> None:
    rng = np.random.default_rng(3)
    graph, samples = cnn(rng), data(rng)
    flat = Node("table", "relu1", ("h1",), "a1", {"fn": "hardsigmoid", "alpha": 0.0, "beta": 0.5})
    nodes = tuple(flat if n.name == "relu1" else n for n in graph.nodes)
    through = replace(graph, nodes=nodes)
    with pytest.raises(CompileError, match=r"relu1: hardsigmoid is flat .* nothing below it can learn"):
        compile_model(through, RuleSpec("bp", layers="all", rate=4), samples)
    assert compile_model(through, RuleSpec("bp", layers=("fc",)), samples).learned == ("fc",)


def test_windows_that_overlap_too_often_are_refused() -> None:
    rng = np.random.default_rng(3)
    shapes = {"x": (200, 200, 1), "h": (200, 200, 1), "p": (399, 399, 1), "flat": (159201,), "z": (2,)}
    tensors = {n: Tensor(n, s) for n, s in shapes.items()}
    tensors |= {n: Tensor(n, s, rng.normal(size=s)) for n, s in {"w": (1, 1), "b": (1,), "b2": (2,)}.items()}
    tensors["w2"] = Tensor("w2", (2, 159201), rng.normal(size=(2, 159201)))
    one = {"kernel": (1, 1), "stride": (1, 1), "dilation": (1, 1), "padding": (0, 0, 0, 0), "groups": 1}
    pool = {"kernel": (200, 200), "stride": (1, 1), "padding": (199, 199, 199, 199), "count_padding": 0}
    nodes = (
        Node("conv2d", "c", ("x", "w", "b"), "h", one),
        Node("avgpool2d", "pool", ("h",), "p", pool),
        Node("reshape", "flatten", ("p",), "flat", {"shape": (159201,)}),
        Node("dense", "fc", ("flat", "w2", "b2"), "z"),
    )
    graph = verify(Graph("wide", ("x",), "z", tensors, nodes))
    with pytest.raises(CompileError, match="lies in 40000 windows"):
        compile_model(graph, RuleSpec("bp", layers=("c",)), {"x": np.ones((1, 200, 200, 1), np.float32)})
