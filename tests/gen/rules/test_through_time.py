"""Recurrent layers learn in the last step, or in each; what no rule can teach them is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from recurrent_nets import GATES, USUAL, Sizes, recurrent_file, windows
from through_time import UNROLLED, changes, order_of_pulses

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.importers import load_model
from synapcc.gen.ir.graph import Graph
from synapcc.gen.spec import Accumulate, RuleSpec
from synapcc.host.run.emulator import Emulator
from synapcc.host.run.front_cache import FixedPart
from synapcc.host.run.network import PARTS, adapted


def graph_of(folder: Path, cell: str, form: str = "last", layers: int = 1, sizes: Sizes = USUAL) -> Graph:
    path = folder / "net.onnx"
    onnx.save(recurrent_file(cell, form, layers, sizes, 3), path)
    return load_model(path)


def compiled(graph: Graph, rule: str, **more: object) -> Compiled:
    x = windows(60)
    data = {"x": x, "label": np.arange(60) % 4}
    spec = RuleSpec(rule, layers="all", **{"rate": 6, **more})  # type: ignore[arg-type]
    return compile_model(graph, spec, data)


def local_sums(
    graph: Graph, d: np.ndarray, x: np.ndarray, steps: range
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of a GRU, the sums over these steps of g x^T, gq h^T and g, written down once more."""
    node = next(n for n in graph.nodes if n.op == "recurrent")
    w, b, u, c = (np.asarray(graph.tensors[n].value) for n in node.inputs[1:])
    n = u.shape[1]
    h, of_w, of_u, of_b = np.zeros(n), np.zeros_like(w), np.zeros_like(u), np.zeros_like(b)
    for t, now in enumerate(x):
        p, q = w @ now + b, u @ h + c
        z, r = (1 / (1 + np.exp(-(p[k : k + n] + q[k : k + n]))) for k in (0, n))
        new = np.tanh(p[2 * n :] + r * q[2 * n :])
        g_n = d * (1 - z) * (1 - new**2)
        first = d * (h - new) * z * (1 - z), g_n * q[2 * n :] * r * (1 - r)
        g, gq = np.concatenate([*first, g_n]), np.concatenate([*first, g_n * r])
        if t in steps:
            of_w, of_u, of_b = of_w + np.outer(g, now), of_u + np.outer(gq, h), of_b + g
        h = (1 - z) * new + z * h
    return of_w, of_u, of_b


@pytest.mark.parametrize("rule", ["dfa", "dftt"])
def test_changes_are_sums_of_local_products(rule: str, tmp_path: Path) -> None:
    graph, x = graph_of(tmp_path, "GRU"), windows(1, seed=9)[0]
    c = compiled(graph, rule)
    machine, moved = changes(c, x)
    d = machine.arena["cell1_direct_teach"][0]
    assert np.any(d)
    of_w, of_u, of_b = local_sums(graph, d, x, range(7) if rule == "dftt" else range(6, 7))
    assert np.allclose(moved["cell1_weight"], of_w, atol=1e-4 * np.abs(of_w).max())
    assert np.allclose(moved["cell1_recurrent_weight"], of_u, atol=1e-4 * np.abs(of_u).max())
    assert np.allclose(moved["cell1_bias"], of_b, atol=1e-4 * np.abs(of_b).max())


@pytest.mark.parametrize("form", ["last", "all"])
@pytest.mark.parametrize("cell", GATES)
def test_every_weight_learns_and_memory_does_not_grow(cell: str, form: str, tmp_path: Path) -> None:
    """Of two cells; beside the window and the states that are asked for a longer window costs nothing."""
    x = windows(60)
    graph = graph_of(tmp_path, cell, form, 2)
    plan = compiled(graph, "dftt").plan
    machine = Emulator(plan)
    for i in range(40):
        machine.learn({"x": x[i : i + 1]}, [i % 4])
    for t in plan.space("state"):
        if t.learned:
            assert np.any(machine[t.name][0] != t.array()), t.name
    learned = {t.name: machine[t.name][0] for t in plan.space("state")}
    now = adapted(graph, plan, learned)
    for node in (n for n in now.nodes if n.op == "recurrent"):
        for operand, part in zip(node.inputs[1:], PARTS, strict=True):
            name = f"{node.name}_{part}"
            assert np.array_equal(now.tensors[operand].value, plan[name].meaning.real(learned[name])), name
    assert int(machine["cell1_moments"][0, 0]) == 40 * 7
    if form == "last":
        sizes = Sizes(14)
        longer = compile_model(
            graph_of(tmp_path, cell, form, 1, sizes),
            RuleSpec("dftt", layers="all", rate=6),
            {"x": windows(60, sizes), "label": np.arange(60) % 4},
        ).plan
        short = compiled(graph_of(tmp_path, cell), "dftt").plan
        assert longer.arena_bytes - short.arena_bytes <= 7 * 3 + 3
        assert longer.state_bytes == short.state_bytes


REFUSED: dict[str, tuple[dict[str, object], str]] = {
    "bp": ({}, "bp has no signal for steps of time, and cell1 runs over time"),
    "spsa": ({}, "spsa has no signal for steps of time"),
    "dftt": ({"accumulate": Accumulate(4)}, "does not reach layers that learn in steps of time"),
    "dfa": ({"init": "he"}, "does not reach layers that learn in steps of time"),
}


@pytest.mark.parametrize("rule", REFUSED)
def test_what_does_not_reach_a_recurrent_layer_is_refused(rule: str, tmp_path: Path) -> None:
    more, says = REFUSED[rule]
    with pytest.raises(CompileError, match=says):
        compiled(graph_of(tmp_path, "GRU"), rule, **more)


def test_no_signal_passes_down_through_time(tmp_path: Path) -> None:
    graph = graph_of(tmp_path, "GRU", layers=2)
    x = windows(60)
    spec = RuleSpec("hebbian", layers=("fc",), rate=6)
    assert compile_model(graph, spec, {"x": x, "label": np.arange(60) % 4}).plan.entries


@pytest.mark.parametrize("rule, items", [("last", 4), ("dftt", 0)])
def test_a_frozen_window_runs_once(rule: str, items: int, tmp_path: Path) -> None:
    """What two cells said of an input is kept, loops and all; a cell that learns is run."""
    plan, x = compiled(graph_of(tmp_path, "LSTM", layers=2), rule).plan, windows(12)
    fixed = FixedPart(plan)
    assert len(fixed) == items and len(fixed.steps) == (1 + 7 * 5 + 1 + 7 * 4 if items else 0)
    plain, kept = Emulator(plan, engine="numpy"), Emulator(plan, fixed=fixed, engine="numpy")
    for i in [*range(12), *range(12)]:
        for machine in (plain, kept):
            machine.learn({"x": x[i : i + 1]}, [i % 4])
        assert np.array_equal(plain.state, kept.state)
        for one, other in zip(plain.infer({"x": x[i : i + 1]}), kept.infer({"x": x[i : i + 1]}), strict=True):
            assert np.array_equal(one, other)


@pytest.mark.long
def test_an_order_in_time_is_learned_through_time_alone() -> None:
    """docs/RULES.md has the figures, which `python tests/support/through_time.py` prints."""
    found, size = order_of_pulses()
    assert found["last"] < 0.5 and found["dfa"] < 0.5 and found["dftt"] > 0.9, found
    assert found[UNROLLED] > 0.99 and found["bptt"] > 0.99 and size < 6000, found
