"""Layers that learn read inputs of one length where a rule asks for that: gen/stages/level.py."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conv_nets import cnn
from conv_nets import data as maps
from head_nets import OLD, perceptron, samples

from synapcc.gen.compile import compile_model
from synapcc.gen.ir.graph import Graph, Node, Tensor
from synapcc.gen.spec import RuleSpec
from synapcc.gen.stages.graph_check import verify
from synapcc.gen.stages.level import levelled


def put_behind(graph: Graph, tensor: str, *nodes: Node) -> Graph:
    """`graph` whose readers of a tensor read what these nodes, one behind another, make of it."""
    at, last = next(i for i, n in enumerate(graph.nodes) if n.output == tensor) + 1, nodes[-1].output
    after = (replace(n, inputs=tuple(last if i == tensor else i for i in n.inputs)) for n in graph.nodes[at:])
    shape = graph.tensors[tensor].shape
    return replace(
        graph,
        tensors={**graph.tensors, **{n.output: Tensor(n.output, shape) for n in nodes}},
        nodes=(*graph.nodes[:at], *nodes, *after),
    )


def read_levelled(graph: Graph) -> list[str]:
    """The layers right behind a normalisation of all that they read, from the input to the output."""
    found = []
    for node in graph.nodes:
        maker = graph.producer(node.inputs[0])
        while maker is not None and maker.op == "reshape":
            maker = graph.producer(maker.inputs[0])
        if maker is not None and maker.op == "normalise":
            assert graph.tensors[maker.output].shape == (graph.tensors[node.inputs[0]].size,)
            found += [node.name] if len(node.inputs) == 3 else []
    return found


@pytest.mark.parametrize(
    ("learned", "wanted"),
    [
        (("fc1", "fc2", "fc3"), ["fc2", "fc3"]),
        (("fc2", "fc3"), ["fc3"]),
        (("fc1", "fc3"), ["fc3"]),  # what fc1 learns reaches it through a frozen layer
        (("fc3",), []),
        ((), []),
    ],
)
def test_layers_above_one_that_learns(learned: tuple[str, ...], wanted: list[str]) -> None:
    graph = perceptron(OLD, 3)
    found = verify(levelled(graph, learned))
    assert read_levelled(found) == wanted
    assert (found is graph) == (not wanted)
    assert not wanted or found.notes[-1].startswith(", ".join(wanted) + ": what is read")


def test_a_length_is_taken_off_once() -> None:
    graph = perceptron(OLD, 3)
    norm = Node("normalise", "n", ("relu1",), "n", {"axis": 0, "kind": "variance", "epsilon": 1e-5})
    normal = put_behind(graph, "relu1", norm)
    layers = ("fc1", "fc2", "fc3")
    assert read_levelled(levelled(normal, layers)) == ["fc2", "fc3"]
    assert sum(n.op == "normalise" for n in levelled(normal, layers).nodes) == 2
    relu = Node("clip", "again", ("n",), "again", {"lo": 0.0, "hi": np.inf})  # which makes lengths again
    behind = levelled(put_behind(normal, "n", relu), layers)
    assert sum(n.op == "normalise" for n in behind.nodes) == 3
    twice = levelled(levelled(graph, layers), layers)
    assert sum(n.op == "normalise" for n in twice.nodes) == 2


def test_layers_that_read_the_same_share_it_and_others_read_what_they_did() -> None:
    graph = perceptron(OLD, 3)
    weight, bias = (graph.tensors[n] for n in ("fc2_w", "fc2_b"))
    more = {"side_w": replace(weight, name="side_w"), "side_b": replace(bias, name="side_b")}
    more |= {n: Tensor(n, graph.tensors["fc2"].shape) for n in ("side", "plus", "sum")}
    nodes = list(graph.nodes)
    nodes[3:3] = [
        Node("dense", "side", ("relu1", "side_w", "side_b"), "side"),
        Node("add", "plus", ("fc2", "side"), "plus"),
        Node("add", "sum", ("plus", "relu1"), "sum"),
    ]
    nodes = [replace(n, inputs=("sum",)) if n.name == "relu2" else n for n in nodes]
    found = verify(
        levelled(
            replace(graph, tensors={**graph.tensors, **more}, nodes=tuple(nodes)), ("fc1", "fc2", "side")
        )
    )
    assert read_levelled(found) == ["fc2", "side"]
    assert sum(n.op == "normalise" for n in found.nodes) == 1
    assert next(n for n in found.nodes if n.name == "sum").inputs == ("plus", "relu1")


def test_maps_keep_their_shape() -> None:
    rng = np.random.default_rng(3)
    graph = cnn(rng)
    found = verify(levelled(graph, ("conv1", "conv2", "fc")))
    assert read_levelled(found) == ["conv2", "fc"]
    c = compile_model(graph, RuleSpec("ff", layers="all", init="he"), maps(rng, 40))
    assert [n.op for n in c.graph.nodes] == [n.op for n in found.nodes]


@pytest.mark.parametrize(
    ("rule", "more", "wanted"),
    [
        ("ff", {"init": "he"}, 2),
        ("ff", {"init": "he", "options": (("normalise", "never"),)}, 0),
        ("ff", {}, 0),  # a network that was trained keeps its answers
        ("dfa", {"init": "he"}, 0),
    ],
)
def test_who_asks_for_it(rule: str, more: dict[str, object], wanted: int) -> None:
    spec = RuleSpec(rule, layers="all", **more)  # type: ignore[arg-type]
    c = compile_model(perceptron(OLD, 3), spec, samples(40, OLD, 1))
    assert sum(n.op == "normalise" for n in c.graph.nodes) == wanted
    assert c.plan.infer_arena_bytes <= c.plan.arena_bytes
    assert sum(s.kernel == "normalise.forward" for p, _, s in c.plan.ops() if p == "forward") == wanted
