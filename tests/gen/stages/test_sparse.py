"""[sparse]: some rows of a layer learn, the others stay as they were, and the network is the same one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conv_nets import cnn, data
from ctools import UNDEFINED, HostBatch
from float_graph import run_graph
from head_nets import HIDDEN, OLD, perceptron, samples
from play import play
from random_nets import random_parts

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.ir.graph import Graph, Node, Tensor
from synapcc.gen.spec import Guard, Loss, RuleSpec, Store
from synapcc.gen.stages.calibrate import Runs
from synapcc.gen.stages.float_run import spread
from synapcc.gen.stages.graph_check import verify
from synapcc.gen.stages.stride import learning_layers, motions
from synapcc.host.run.emulator import Emulator

DATA = samples(200, OLD, 1)


def compiled(share: Any, rule: str = "bp", layers: int = 3, **more: Any) -> Compiled:
    sparse = tuple(sorted(share.items())) if isinstance(share, dict) else (("fc1", share),)
    return compile_model(perceptron(layers=layers), RuleSpec(rule, rate=6, sparse=sparse, **more), DATA)


def learned_by(c: Compiled, steps: int = 60) -> Emulator:
    machine = Emulator(c.plan)
    for i in range(steps):
        machine.load({"x": DATA["x"][i : i + 1]}, DATA["label"][i : i + 1])
        machine.run("learn")
    return machine


def rows_of(c: Compiled, graph: Graph, layer: str = "fc1") -> list[int]:
    """Which rows of a layer of `graph` learn, by their weights."""
    whole, own = graph.tensors[f"{layer}_w"].value, c.graph
    node = next(n for n in own.nodes if n.name == layer)
    part = own.tensors[node.inputs[1]].value
    assert whole is not None and part is not None
    columns = np.sort(whole, axis=1)  # whatever order the layer in front has given them
    return [int(np.flatnonzero(np.all(columns == np.sort(row), axis=1))[0]) for row in part]


@pytest.mark.parametrize("rule", ["bp", "hebbian", "dfa"])
def test_the_rows_that_are_chosen_learn_and_no_other(rule: str) -> None:
    rows = (2, 3, 7, 20)
    c = compiled(rows, rule)
    graph = perceptron(layers=3)
    assert rows_of(c, graph) == [*rows] and c.learned == ("fc1", "fc2", "fc3")
    machine = learned_by(c)
    assert c.plan["fc1_weight"].shape == (4, 16) and c.plan["fc1_weight"].space == "state"
    assert c.plan["fc1_frozen_weight"].space == "const" and c.plan["fc1_frozen_weight"].shape == (
        HIDDEN - 4,
        16,
    )
    moved = np.any(machine["fc1_weight"][0] != c.plan["fc1_weight"].array(), axis=1)
    assert moved.all() and machine["fc2_weight"][0].any()
    whole = compile_model(graph, RuleSpec(rule, rate=6), DATA)
    saved = whole.plan.state_bytes - c.plan.state_bytes
    least = (HIDDEN - 4) * 16 * 2 + (HIDDEN - 4) * 4  # int16 weights and int32 biases
    assert least <= saved < least + 8 and any("fc1: 4 of its 24 rows learn" in n for n in c.graph.notes)


def signals(c: Compiled, name: str) -> tuple[np.ndarray, np.ndarray]:
    """What a learning step adds to weights and biases of a layer, each sample by itself, in real numbers."""
    runs = Runs(c.abstract, c.calibration)
    forward, update = next(p for p in learning_layers(c.abstract) if p[0].node == name)
    weights, biases = [], []
    for _, machine in runs.teaching(np.arange(12), 2):
        for delta in motions(machine, forward, update):
            weights.append(delta["w"].reshape(delta["b"].size, -1))
            biases.append(delta["b"].ravel())
    return np.array(weights), np.array(biases)


@pytest.mark.parametrize("rule", ["bp", "fa"])
def test_they_learn_what_they_learn_in_the_whole_layer(rule: str) -> None:
    """Each sample changes them by the same, in real numbers, in whatever order what they read comes."""
    feedback = {"feedback": replace(RuleSpec("bp").feedback, init="aligned")} if rule == "fa" else {}
    c, whole = (compiled(s, rule, **feedback) for s in ({"fc1": (1, 5, 9), "fc2": (0, 3, 4, 22)}, {}))
    rows = {"fc1": [1, 5, 9], "fc2": [0, 3, 4, 22]}
    order = [*rows["fc1"], *[r for r in range(HIDDEN) if r not in rows["fc1"]]]
    for name in rows:
        (part, bias), (all_of, biases) = signals(c, name), signals(whole, name)
        read = all_of if name == "fc1" else all_of[..., sorted_like(c, order)]
        assert np.abs(part).max() > 0
        np.testing.assert_allclose(part, read[:, rows[name]], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(bias, biases[:, rows[name]], rtol=1e-9, atol=1e-12)


def sorted_like(c: Compiled, order: list[int]) -> list[int]:
    """The order of fc2's columns: what is joined first comes first."""
    joined = next(n for n in c.graph.nodes if n.op == "concat")
    first = joined.inputs[0].endswith("rows")
    return order if first else [*order[3:], *order[:3]]


@pytest.mark.parametrize("rule", ["bp", "dfa"])
def test_a_share_takes_the_rows_that_learning_moves_most(rule: str) -> None:
    """By the sum of squares of what samples change, worked out here from signals and inputs: d^2 |x|^2."""
    share, graph = 0.25, perceptron(layers=3)
    c, whole = compiled(share, rule), compiled({}, rule)
    runs = Runs(whole.abstract, whole.calibration)
    forward, update = next(p for p in learning_layers(whole.abstract) if p[0].node == "fc1")
    total = np.zeros(HIDDEN)
    for _, machine in runs.teaching(runs.taught[spread(len(runs.taught), 32)], 2):
        x, d = machine.real(forward.args["x"]), machine.arena[update.args["d"]]
        total += np.square(d).T @ np.square(x).sum(axis=1)
    assert np.unique(total).size > HIDDEN // 2
    wanted = sorted(np.argsort(-total)[: round(share * HIDDEN)].tolist())
    assert rows_of(c, graph) == wanted


def test_the_notes_say_which_rows_learn() -> None:
    c = compiled((0, 1, 2, 7, 9, 10))
    assert "fc1: 6 of its 24 rows learn: 0-2, 7, 9-10" in c.graph.notes


def test_all_but_one_row_learn_at_most_and_one_at_least() -> None:
    assert len(rows_of(compiled(1e-6), perceptron(layers=3))) == 1
    assert len(rows_of(compiled(0.999), perceptron(layers=3))) == HIDDEN - 1


# ---- the same network -----------------------------------------------------------------------------------


def same(graph: Graph, c: Compiled, rng: np.random.Generator) -> None:
    for _ in range(3):
        x = {n: rng.normal(0, 1, graph.tensors[n].shape) for n in graph.inputs}
        np.testing.assert_allclose(run_graph(c.graph, x), run_graph(graph, x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("rows", [(0, 1), (4, 5), (0, 3, 5), (2,)])
def test_convolutions_have_filters_for_rows(rows: tuple[int, ...]) -> None:
    """Behind a map that is flattened the columns are put in order, no value is moved."""
    graph, given = cnn(np.random.default_rng(5)), data(np.random.default_rng(6))
    spec = RuleSpec("bp", layers="all", sparse=(("conv1", (1, 2)), ("conv2", rows)))
    c = compile_model(graph, spec, given)
    same(graph, c, np.random.default_rng(7))
    ops = [n.op for n in c.graph.nodes]
    assert ops.count("concat") == 2 and "gather" not in ops and ops.count("conv2d") == 4


def test_untied_filters_learn_at_every_position() -> None:
    graph, given = cnn(np.random.default_rng(5)), data(np.random.default_rng(6))
    spec = RuleSpec("bp", layers="all", untied=("conv1",), sparse=(("conv1", 0.5),))
    c = compile_model(graph, spec, given)
    same(graph, c, np.random.default_rng(7))
    assert c.plan["conv1_weight"].shape == (12 * 2, 5)


def residual() -> Graph:
    """fc1, then fc1's outputs and those of fc2 added."""
    base = perceptron(layers=3)
    tensors = {**base.tensors, "both": Tensor("both", (HIDDEN,))}
    nodes = [n for n in base.nodes if n.name != "fc3"]
    last = next(n for n in base.nodes if n.name == "fc3")
    nodes += [
        Node("add", "both", ("relu1", "relu2"), "both"),
        replace(last, inputs=("both", *last.inputs[1:])),
    ]
    return verify(replace(base, tensors=tensors, nodes=tuple(nodes)))


def test_values_that_several_read_are_put_back_into_their_order() -> None:
    graph = residual()
    c = compile_model(graph, RuleSpec("bp", sparse=(("fc1", (3, 9)), ("fc2", (0, 2)))), DATA)
    same(graph, c, np.random.default_rng(8))
    assert [n.op for n in c.graph.nodes].count("gather") == 2


@pytest.mark.parametrize("count", [6, pytest.param(120, marks=pytest.mark.long)])
def test_random_networks_stay_what_they_are_and_chips_learn_alike(count: int, tmp_path: Path) -> None:
    made: list[Compiled] = []
    whole: list[Graph] = []
    seed, refused = 91_000, 0
    while len(made) < count:
        graph, spec, calibration, mode = random_parts(seed)
        seed += 1
        assert seed < 91_000 + 60 * count
        if not spec.sparse or spec.head:
            continue
        try:
            made.append(compile_model(graph, spec, calibration, quantise=mode))
        except CompileError:  # of number formats, for which a drawn rate was not made
            refused += 1
            continue
        whole.append(graph)
    for graph, c in zip(whole, made, strict=True):
        if not graph.quantisers and c.graph.inputs == graph.inputs and c.graph.head == graph.head:
            same(graph, c, np.random.default_rng(3))
    assert sum(len(c.spec.sparse) for c in made) > count > refused
    batch = HostBatch([c.plan for c in made], tmp_path / "c", "-O1", *UNDEFINED)
    try:
        assert all(play(batch, i, i) > 3 for i in range(count))
    finally:
        batch.close()


def test_a_guard_and_a_store_stand_beside_it() -> None:
    c = compiled(0.5, "hebbian", guard=Guard(every=2, samples=8, base=0), store=Store(16))
    machine = learned_by(c)
    machine.run("settle")
    assert "good_fc1_weight" in c.plan and "good_fc1_frozen_weight" not in c.plan


# ---- what is refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sparse", "more", "said"),
    [
        ({"fc9": 0.5}, {}, 'sparse: no layer "fc9" learns; did you mean'),
        ({"fc1": 0.5}, {"layers": ("fc2", "fc3")}, 'sparse: no layer "fc1" learns'),
        ({"fc3": 0.5}, {}, "sparse.fc3: makes the scores, and its rows are classes"),
        ({"fc3": 0.5}, {"loss": Loss("mse")}, "sparse.fc3: makes the scores, and its rows are outputs"),
        ({"fc1": (24,)}, {}, "sparse.fc1: has 24 rows, 0 to 23, and 24 is none"),
        ({"fc1": tuple(range(24))}, {}, "sparse.fc1: has 24 rows, 0 to 23, and all of them are listed"),
        ({"fc1": 0.5}, {"init": "he"}, 'sparse: is there, and init is "he"'),
        ({"fc1": 0.5}, {"rule": "spsa"}, "sparse.fc1: is the share 0.5, and this rule has no step"),
    ],
)
def test_what_cannot_be_is_refused(sparse: dict[str, Any], more: dict[str, Any], said: str) -> None:
    names = more.pop("layers", "dense") if "layers" in more else "dense"
    rule = more.get("rule", "bp")
    rest = {k: v for k, v in more.items() if k != "rule"}
    spec = RuleSpec(rule, rate=6, layers=names, sparse=tuple(sorted(sparse.items())), **rest)
    with pytest.raises(CompileError) as told:
        compile_model(perceptron(layers=3), spec, DATA | {"target": np.zeros((len(DATA["label"]), OLD))})
    assert said in told.value.line and "\n" not in told.value.line


def branches() -> Graph:
    """Scores that are the sum of two layers'."""
    base = perceptron(layers=3)
    last = next(n for n in base.nodes if n.name == "fc3")
    tensors = {**base.tensors, "more": Tensor("more", (OLD,)), "sum": Tensor("sum", (OLD,))}
    more = replace(last, name="more", inputs=("relu1", *last.inputs[1:]), output="more")
    nodes = (*base.nodes, more, Node("add", "sum", ("fc3", "more"), "sum"))
    return verify(replace(base, tensors=tensors, nodes=nodes, output="sum"))


def averaged() -> Graph:
    """A convolution whose filters, averaged over the map, are the scores."""
    graph = cnn(np.random.default_rng(5))
    conv2 = next(n for n in graph.nodes if n.name == "conv2")
    tensors = {
        **graph.tensors,
        "w2": Tensor("w2", (3, 12), np.ones((3, 12))),
        "b2": Tensor("b2", (3,), np.ones(3)),
    }
    tensors |= {"h2": Tensor("h2", (1, 6, 3)), "p": Tensor("p", (1, 1, 3)), "z": Tensor("z", (3,))}
    pool = {
        "kernel": (1, 6),
        "stride": (1, 1),
        "dilation": (1, 1),
        "padding": (0, 0, 0, 0),
        "count_padding": 0,
    }
    nodes = [n for n in graph.nodes if n.name in ("conv1", "relu1")]
    nodes += [
        conv2,
        Node("avgpool2d", "pool", ("h2",), "p", pool),
        Node("reshape", "flat", ("p",), "z", {"shape": (3,)}),
    ]
    kept = {i for n in nodes for i in (*n.inputs, n.output)}
    return verify(replace(graph, tensors={k: t for k, t in tensors.items() if k in kept}, nodes=tuple(nodes)))


@pytest.mark.parametrize(
    ("graph", "layer"), [(branches(), "fc3"), (branches(), "more"), (averaged(), "conv2")]
)
def test_rows_that_are_classes_all_learn(graph: Graph, layer: str) -> None:
    given = data(np.random.default_rng(6)) if layer == "conv2" else DATA
    spec = RuleSpec("bp", layers="all", sparse=((layer, (0,)),))
    with pytest.raises(CompileError, match="makes the scores, and its rows are classes"):
        compile_model(graph, spec, given)


def test_trials_take_rows_by_number() -> None:
    c = compiled((0, 1), "spsa")
    machine = learned_by(c)
    assert np.any(machine["fc1_weight"][0] != c.plan["fc1_weight"].array())


def test_a_depthwise_convolution_is_refused() -> None:
    graph = cnn(np.random.default_rng(5))
    conv2 = next(n for n in graph.nodes if n.name == "conv2")
    tensors = {
        **graph.tensors,
        "w2": Tensor("w2", (4, 3), np.ones((4, 3))),
        "b2": Tensor("b2", (4,), np.ones(4)),
    }
    for name in ("h2", "a2"):
        tensors[name] = Tensor(name, (1, 6, 4))
    tensors |= {"flat": Tensor("flat", (24,)), "w3": Tensor("w3", (3, 24), np.ones((3, 24)))}
    grouped = replace(conv2, attrs={**conv2.attrs, "groups": 4})
    nodes = tuple(grouped if n is conv2 else n for n in graph.nodes)
    nodes = tuple(replace(n, attrs={"shape": (24,)}) if n.name == "flatten" else n for n in nodes)
    graph = verify(replace(graph, tensors=tensors, nodes=nodes))
    spec = RuleSpec("bp", layers="all", sparse=(("conv2", 0.5),))
    with pytest.raises(CompileError, match=r"sparse\.conv2: is a convolution in groups"):
        compile_model(graph, spec, data(np.random.default_rng(6)))
