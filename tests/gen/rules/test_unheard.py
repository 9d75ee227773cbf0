"""A layer whose outputs move no score is refused by every rule that would teach it, or taught by none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from head_nets import HIDDEN, OLD, perceptron, samples

from synapcc.gen.compile import compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.ir.graph import Graph, Node, Tensor
from synapcc.gen.rules import rules
from synapcc.gen.spec import RuleSpec

LAYERS = 4
TOP = ("last", "prototype")  # which teach nothing below the scores


def walled(behind: str, around: bool = False) -> Graph:
    """A perceptron with a layer of zero gains behind the tensor `behind`; `around`: its input is added."""
    graph = perceptron(OLD, LAYERS)
    out = "sum" if around else "wall"
    at = next(i for i, n in enumerate(graph.nodes) if behind in n.inputs)
    new = [Node("affine", "wall", (behind, "gain", "offset"), "wall")]
    tensors = {
        "gain": Tensor("gain", (HIDDEN,), np.zeros(HIDDEN)),
        "offset": Tensor("offset", (HIDDEN,), np.ones(HIDDEN)),
        "wall": Tensor("wall", (HIDDEN,)),
    }
    if around:
        new.append(Node("add", "sum", (behind, "wall"), "sum"))
        tensors["sum"] = Tensor("sum", (HIDDEN,))
    rest = [replace(n, inputs=tuple(out if i == behind else i for i in n.inputs)) for n in graph.nodes[at:]]
    return replace(graph, nodes=(*graph.nodes[:at], *new, *rest), tensors=graph.tensors | tensors)


@pytest.mark.parametrize("behind", ["fc1", "relu1", "fc2", "relu2"])
@pytest.mark.parametrize("rule", sorted(rules()))
def test_what_moves_no_score_is_not_taught(rule: str, behind: str) -> None:
    graph, data, k = walled(behind), samples(60, OLD, 1), int(behind[-1])
    spec, above = RuleSpec(rule), tuple(f"fc{i}" for i in range(k + 1, LAYERS + 1))
    if rule not in TOP:
        says = (
            rf"^fc[1-{k}]: moves no score: what wall behind it gives is the same whatever comes in; leave it"
        )
        with pytest.raises(CompileError, match=says):
            compile_model(graph, spec, data)
    if rule == "prototype":
        with pytest.raises(CompileError, match="inputs of the classifier are alike in all"):
            compile_model(graph, spec, data)
    else:
        assert compile_model(graph, replace(spec, layers=above), data).learned


@pytest.mark.parametrize("rule", sorted(rules()))
def test_a_way_around_is_enough(rule: str) -> None:
    data = samples(60, OLD, 1)
    learned = compile_model(walled("relu1", around=True), RuleSpec(rule), data).learned
    assert ("fc1" in learned) == (rule not in TOP)
