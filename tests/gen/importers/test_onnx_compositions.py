"""Learning below functions that a file writes in several operators, comparisons among them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx_compositions as oc
import onnx_models as om
import pytest
from counts import counted
from ctools import UNDEFINED, HostBatch
from derivatives import check
from exported import assert_close, computed, random_feeds
from onnx import ModelProto
from onnx.reference import ReferenceEvaluator
from onnx_nets import Net, Rng, graph_of
from play import play
from verifying import Capsys, verified

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.exporters.onnx import export
from synapcc.gen.ir.graph import Graph
from synapcc.gen.ops import layer
from synapcc.gen.spec import RuleSpec
from synapcc.host.cli import main

NAMED = {
    "bent": "composed",
    "elu": "table",
    "hard_tanh": "clip",
    "leaky": "table",
    "soft_shrink": "table",
    "threshold": "table",
}
"""What some become: a function that has a name, or a clip."""


def learning(graph: Graph, rule: str, seed: int = 1) -> Compiled:
    graph = replace(graph, name=f"net{seed}")
    return compile_model(graph, RuleSpec(rule, layers="all", rate=5), oc.samples(oc.rng(seed)))


def between(graph: Graph) -> list[str]:
    """The ops beside the layers with weights."""
    return [n.op for n in graph.nodes if not layer(n.op).weighted]


@pytest.mark.parametrize("function", oc.COMPOSITIONS)
def test_a_composition_is_one_layer_where_a_signal_passes(function: oc.Composition, tmp_path: Path) -> None:
    proto = oc.composed(oc.rng(3), function)
    graph = graph_of(proto, tmp_path)
    c = learning(graph, "bp")
    made = between(c.graph)
    assert len(made) == 1 < len(between(graph)) and len(c.learned) == 2
    assert made == [NAMED.get(function.__name__, made[0])]
    feeds = random_feeds(om.rng(5), graph)
    rows = [ReferenceEvaluator(proto).run(None, {"x": x[None]})[0] for x in feeds["x"]]
    assert_close(computed(c.graph, feeds), np.concatenate(rows).astype(np.float64))
    file = onnx.load_from_string(export(c.graph))
    onnx.checker.check_model(file, full_check=True)
    (got,) = ReferenceEvaluator(file).run(None, {"x": feeds["x"]})
    assert_close(got, computed(c.graph, feeds))
    assert check(c.graph, np.random.default_rng(4), 4) > 0  # its slope is the derivative


@pytest.mark.parametrize("rule", ["none", "last", "dfa"])
def test_where_no_signal_passes_it_stays_as_it_is(rule: str, tmp_path: Path) -> None:
    graph = graph_of(oc.composed(oc.rng(3), oc.selu), tmp_path)
    spec = RuleSpec(rule) if rule != "dfa" else RuleSpec(rule, layers="all")
    c = compile_model(graph, spec, oc.samples(oc.rng(1)))
    assert between(c.graph) == between(graph)


def alike(plans: list[Compiled], folder: Path) -> None:
    batch = HostBatch([c.plan for c in plans], folder, "-O0", *UNDEFINED)
    try:
        for i in range(len(plans)):
            assert play(batch, i, i) > 5
    finally:
        batch.close()


def test_c_learns_the_same_through_some(tmp_path: Path) -> None:
    chosen = (oc.selu, oc.hard_tanh, oc.hard_swish, oc.softsign)
    graphs = [graph_of(oc.composed(oc.rng(i), f), tmp_path) for i, f in enumerate(chosen)]
    alike([learning(g, ("bp", "hebbian")[i % 2], i) for i, g in enumerate(graphs)], tmp_path / "c")


@counted(8, 400)
def test_random_choices_learn_as_they_are_derived(count: int, tmp_path: Path) -> None:
    moved = 0
    for seed in range(count):
        graph = graph_of(oc.composed(oc.rng(seed), oc.drawn), tmp_path, atol=1e-4)
        c = learning(graph, ("bp", "hebbian")[seed % 2])
        assert len(between(c.graph)) == 1, seed
        moved += check(c.graph, np.random.default_rng(seed), 2)
    assert moved > count


@pytest.mark.long
def test_c_learns_the_same_through_random_choices(tmp_path: Path) -> None:
    graphs = [graph_of(oc.composed(oc.rng(s), oc.drawn), tmp_path, atol=1e-4) for s in range(500, 540)]
    alike([learning(g, ("bp", "hebbian")[i % 2], i) for i, g in enumerate(graphs)], tmp_path / "c")


@pytest.mark.long
@pytest.mark.parametrize("rule", ["bp", "hebbian"])
@pytest.mark.parametrize("function", oc.COMPOSITIONS)
def test_verify(function: oc.Composition, rule: str, tmp_path: Path, capsys: Capsys) -> None:
    onnx.save(oc.composed(oc.rng(9), function), tmp_path / "net.onnx")
    data, out = tmp_path / "data.npz", tmp_path / "out"
    np.savez(data, **oc.samples(oc.rng(2)))
    (tmp_path / "rule.toml").write_text(f'rule = "{rule}"\nlayers = "all"\nrate = "2^-5"\n')
    words = [
        *("compile", str(tmp_path / "net.onnx"), "--rule", str(tmp_path / "rule.toml")),
        *("--calibrate", str(data), "-o", str(out)),
    ]
    assert main(words) == 0
    code, lines = verified(out, data, 60, "process", capsys)
    assert code == 0 and lines[-1] == "verify: 60 steps, 0 differing bytes"


# ---- what is a function of more than one value -------------------------------------------------------------


def larger(net: Net, x: str, y: str) -> str:
    return net.join("Where", net.join("Greater", x, y), x, y)


def by_row(net: Net, x: str, y: str) -> str:
    """A threshold of its own for each column."""
    return net.join("Where", net.join("Less", x, net.weight(8)), net.join("Mul", x, y), y)


def gated(net: Net, x: str, y: str) -> str:
    """What one layer says, where the other is positive."""
    return net.join("Mul", x, net.join("Cast", net.join("Greater", y, net.value(np.float32(0))), to=1))


def of_two(g: Rng, function: Callable[[Net, str, str], str]) -> ModelProto:
    """A perceptron in which two layers that read the same come together."""
    net = Net(g, [1, 6])
    x = net.join("Gemm", "x", net.weight(6, 8), net.weight(8))
    y = net.join("Tanh", net.join("Gemm", "x", net.weight(6, 8), net.weight(8)))
    net.last = function(net, x, y)
    net.put("Gemm", net.weight(8, 3), net.weight(3))
    return net.proto()


@pytest.mark.parametrize("function", [larger, by_row])
def test_a_signal_passes_beside_a_comparison(
    function: Callable[[Net, str, str], str], tmp_path: Path
) -> None:
    graph = graph_of(of_two(om.rng(3), function), tmp_path)
    assert check(graph, np.random.default_rng(4), 6) > 6
    plans = [learning(graph, rule, i) for i, rule in enumerate(("bp", "hebbian"))]
    assert all(between(c.graph) == between(graph) for c in plans)
    alike(plans, tmp_path / "c")


def test_what_only_a_comparison_reads_does_not_learn(tmp_path: Path) -> None:
    graph = graph_of(of_two(om.rng(3), gated), tmp_path)
    first, second, last = (n.name for n in graph.nodes if layer(n.op).weighted)
    with pytest.raises(CompileError, match="comparisons and"):
        learning(graph, "bp")
    spec = RuleSpec("bp", layers=(first, last))
    assert compile_model(graph, spec, oc.samples(oc.rng(1))).learned == (first, last) and second
