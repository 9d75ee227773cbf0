"""[state] keep: a window begins where the one before it ended, on every chip alike, until `reset`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import onnx
import pytest
from ctools import UNDEFINED, HostBatch
from play import play
from recurrent_nets import GATES, USUAL, Sizes, recurrent_file, windows
from through_time import changes

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.emit.role import of_role
from synapcc.gen.errors import CompileError
from synapcc.gen.importers import load_model
from synapcc.gen.ir.graph import Graph
from synapcc.gen.spec import Arena, Guard, Mark, Pseudo, Replay, RuleSpec, State, Store, parse_spec
from synapcc.host.run.emulator import Emulator

TWICE = replace(USUAL, steps=2 * USUAL.steps)
KEPT = State(keep=True)


def graph_of(folder: Path, cell: str, form: str = "last", layers: int = 1, sizes: Sizes = USUAL) -> Graph:
    path = folder / "net.onnx"
    onnx.save(recurrent_file(cell, form, layers, sizes, 3), path)
    return load_model(path)


def compiled(graph: Graph, rule: str = "bptt", sizes: Sizes = USUAL, **more: object) -> Compiled:
    spec = RuleSpec(rule, **{"layers": "all", "rate": 6, **more})  # type: ignore[arg-type]
    return compile_model(graph, spec, {"x": windows(60, sizes), "label": np.arange(60) % 4})


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", GATES)
def test_two_windows_are_one_of_both(cell: str, layers: int, tmp_path: Path) -> None:
    """In scores, and in what the second one teaches: as far as the steps of that window are heard."""
    x = windows(1, TWICE, seed=9)[0].astype(np.float64)
    steps = (("steps", USUAL.steps),)
    whole = compiled(graph_of(tmp_path, cell, "last", layers, TWICE), sizes=TWICE, options=steps)
    kept = compiled(graph_of(tmp_path, cell, "last", layers), options=steps, state=KEPT)
    halves = x[: USUAL.steps], x[USUAL.steps :]
    found = [changes(whole, x), changes(kept, halves[1], earlier=halves[:1])]
    logits = [machine.arena[whole.abstract.logits] for machine, _ in found]
    assert np.allclose(*logits, atol=1e-4)
    learned = [n for n, v in whole.abstract.values.items() if v.learned]
    assert len(learned) == 2 + 4 * layers
    for name in learned:
        one, other = (moved[name] for _, moved in found)
        assert np.any(one) and np.allclose(one, other, atol=1e-4 * np.abs(one).max()), name
    alone = changes(kept, halves[1])[1]
    assert not np.allclose(alone["fc_weight"], found[1][1]["fc_weight"], atol=1e-3)


def test_reset_forgets_and_what_was_learned_stays(tmp_path: Path) -> None:
    c = compiled(graph_of(tmp_path, "LSTM", layers=2), "dftt", state=KEPT)
    machine, x = Emulator(c.plan), windows(3, seed=8)
    lasting = [t.name for t in c.plan.space("state") if t.name.endswith("_lasting")]
    assert len(lasting) == 4 and not any(machine[n].any() for n in lasting)
    for i in range(2):
        machine.learn({"x": x[i : i + 1]}, [i])
    weights = {t.name: machine[t.name].copy() for t in c.plan.space("state") if t.learned}
    assert all(machine[n].any() for n in lasting)
    going_on = machine.infer({"x": x[2:]})
    machine.run("reset")
    assert not any(machine[n].any() for n in lasting)
    assert all(np.array_equal(machine[n], v) for n, v in weights.items())
    anew = machine.infer({"x": x[2:]})
    assert any(not np.array_equal(a, b) for a, b in zip(going_on, anew, strict=True))
    machine.run("reset")
    assert all(np.array_equal(a, b) for a, b in zip(machine.infer({"x": x[2:]}), anew, strict=True))


def test_calibration_sees_windows_from_zero(tmp_path: Path) -> None:
    """So formats are those without. A library of inference alone would go another way than who learns."""
    graph = graph_of(tmp_path, "GRU", "all", 2)
    plain, kept = compiled(graph).plan, compiled(graph, state=KEPT).plan
    for t in plain.tensors:
        assert kept[t.name].meaning == t.meaning, t.name
    with pytest.raises(CompileError, match="infer changes cell1_state_lasting, which the learning chip"):
        of_role(kept, "infer")


REFUSED: dict[str, tuple[dict[str, object], str]] = {
    "store": ({"store": Store(4)}, "rehearse runs windows beside the one it is given"),
    "replay": ({"replay": Replay(4, 1)}, "learn runs windows beside the one"),
    "guard": ({"guard": Guard(every=2, samples=4)}, "runs windows beside the one"),
    "pseudo": ({"pseudo": Pseudo(0.0)}, "learn_unlabelled runs windows beside the one it is given, or that"),
    "arena": ({"arena": Arena(shared=False)}, "program infer changes cell1_lasting, which persists"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_windows_that_are_not_the_next_one_are_refused(case: str, tmp_path: Path) -> None:
    more, says = REFUSED[case]
    with pytest.raises(CompileError, match=says):
        compiled(graph_of(tmp_path, "GRU"), "dftt", state=KEPT, **more)


def test_a_network_that_remembers_nothing_is_refused(tmp_path: Path) -> None:
    graph = graph_of(tmp_path, "GRU")
    dense = replace(graph, nodes=tuple(n for n in graph.nodes if n.op == "dense"), inputs=("x",))
    node = dense.nodes[0]
    shape = graph.tensors[node.inputs[0]].shape
    x = replace(graph.tensors["x"], shape=shape)
    dense = replace(
        dense,
        nodes=(replace(node, inputs=("x", *node.inputs[1:])),),
        tensors={**{n: graph.tensors[n] for n in (node.output, *node.inputs[1:])}, "x": x},
    )
    data = {"x": np.random.default_rng(1).normal(0, 1, (40, *shape)), "label": np.arange(40) % 4}
    with pytest.raises(CompileError, match="the network has no recurrent layer that could remember"):
        compile_model(dense, RuleSpec("bp", state=KEPT), data)


def test_labels_for_windows_that_are_over_are_refused(tmp_path: Path) -> None:
    """They would move the state back to a window before the newest one."""
    graph = graph_of(tmp_path, "GRU")
    data = {"x": windows(40), "label": np.arange(40) % 4}
    with pytest.raises(CompileError, match="mark: labels windows that are over"):
        compile_model(graph, RuleSpec("last", state=KEPT, mark=Mark(4, 100.0)), data)


def test_the_rule_file_says_it() -> None:
    text = 'rule = "none"\n[state]\nkeep = true\n'
    assert parse_spec(text, "r.toml", {}).state == KEPT
    assert parse_spec(text.replace("true", "false"), "r.toml", {}).state is None
    with pytest.raises(CompileError, match=r"state\.keep"):
        parse_spec(text.replace("true", "1"), "r.toml", {})


DRAWN = [*product(GATES, ("last", "all"), (1, 2), ("none", "dfa", "dftt", "bptt"))]
FIRST = [("GRU", "last", 1, "dftt"), ("LSTM", "all", 2, "bptt"), ("RNN", "last", 2, "dfa"), DRAWN[0]]


@pytest.mark.parametrize("drawn", [FIRST, pytest.param(DRAWN, marks=pytest.mark.long)])
def test_chips_remember_the_same_bytes(drawn: Sequence[tuple[str, str, int, str]], tmp_path: Path) -> None:
    plans = []
    for i, (cell, form, layers, rule) in enumerate(drawn):
        graph = replace(graph_of(tmp_path, cell, form, layers), name=f"m{i}")
        plans.append(compiled(graph, rule, state=KEPT, seed=i).plan)
        assert "reset" in plans[-1].entries
    batch = HostBatch(plans, tmp_path / "c", "-O1", *UNDEFINED)
    try:
        played = [play(batch, i, i) for i in range(len(plans))]
        assert all(n > (1 if d[-1] == "none" else 5) for n, d in zip(played, drawn, strict=True)), played
    finally:
        batch.close()
