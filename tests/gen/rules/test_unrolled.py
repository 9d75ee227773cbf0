"""Backpropagation through time: its changes are derivatives of the loss, and every chip's bytes are alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from synapcc.gen.errors import CompileError
from synapcc.gen.importers import load_model
from synapcc.gen.ir.graph import Graph
from synapcc.gen.ops.recurrent import GATES as SUMS
from synapcc.gen.spec import RuleSpec
from synapcc.host.pages.footprint import memory

Real = np.ndarray
Values = Mapping[str, Real]
LABEL = 2


def graph_of(
    folder: Path, cell: str, form: str = "last", layers: int = 1, sizes: Sizes = USUAL, **attrs: object
) -> Graph:
    path = folder / "net.onnx"
    onnx.save(recurrent_file(cell, form, layers, sizes, 3, **attrs), path)
    return load_model(path)


def compiled(graph: Graph, steps: int, sizes: Sizes = USUAL, **more: object) -> Compiled:
    asked: dict[str, object] = {"layers": "all", "rate": 6, "options": (("steps", steps),), **more}
    data = {"x": windows(60, sizes), "label": np.arange(60) % 4}
    return compile_model(graph, RuleSpec("bptt", **asked), data)  # type: ignore[arg-type]


def sigmoid(v: Real) -> Real:
    return np.asarray(1 / (1 + np.exp(-v)))


def stepped(cell: str, sums: tuple[Real, Real], h: Real, s: Real) -> tuple[Real, Real]:
    """The hidden state and what the cell carries behind one step, written down once more."""
    p, q = (np.split(v, SUMS[cell]) for v in sums)
    if cell == "rnn":
        return np.tanh(p[0] + q[0]), s
    if cell == "gru":
        z, r = sigmoid(p[0] + q[0]), sigmoid(p[1] + q[1])
        return (1 - z) * np.tanh(p[2] + r * q[2]) + z * h, s
    i, o, f = (sigmoid(p[k] + q[k]) for k in range(3))
    s = f * s + i * np.tanh(p[3] + q[3])
    return o * np.tanh(s), s


def loss(graph: Graph, values: Values, early: Values, x: Real, steps: int) -> float:
    """Cross-entropy of one window; all but the last `steps` steps of time run on the values `early`."""
    rows = x
    for node in graph.nodes:
        if node.op == "recurrent":
            units = values[node.inputs[3]].shape[1]
            h, s, states = np.zeros(units), np.zeros(units), []
            for t, now in enumerate(rows):
                w, b, u, c = ((values if t >= len(x) - steps else early)[n] for n in node.inputs[1:])
                h, s = stepped(str(node.attrs["cell"]), (w @ now + b, u @ h + c), h, s)
                states.append(h)
            rows = np.array(states)
            flat = rows.reshape(-1) if node.attrs["all"] else h
        if node.op == "dense":
            flat = values[node.inputs[1]] @ flat + values[node.inputs[2]]
    top = flat.max()
    return float(top + np.log(np.sum(np.exp(flat - top))) - flat[LABEL])


def derivative(graph: Graph, values: Values, name: str, at: tuple[int, ...], x: Real, steps: int) -> float:
    sides = []
    for by in (1e-5, -1e-5):
        moved = values[name].copy()
        moved[at] += by
        sides.append(loss(graph, {**values, name: moved}, values, x, steps))
    return (sides[0] - sides[1]) / 2e-5


def reals(graph: Graph) -> dict[str, Real]:
    found = {n: t.value for n, t in graph.tensors.items() if t.value is not None}
    return {n: np.array(v, np.float64) for n, v in found.items()}


@pytest.mark.parametrize("steps", [3, 16])
@pytest.mark.parametrize("form, layers", [("last", 1), ("all", 2)])
@pytest.mark.parametrize("cell", GATES)
def test_changes_are_derivatives_of_the_loss(
    cell: str, form: str, layers: int, steps: int, tmp_path: Path
) -> None:
    """Of every weight and bias; steps before the last `steps` ones say nothing."""
    graph, x = graph_of(tmp_path, cell, form, layers), windows(1, seed=9)[0].astype(np.float64)
    c, values, rng = compiled(graph, steps), reals(graph), np.random.default_rng(4)
    _, moved = changes(c, x, LABEL)
    for node in graph.nodes:
        kinds: Sequence[str] = ("", "recurrent_") if node.op == "recurrent" else ("",)
        names = [f"{node.name}_{kind}{part}" for kind in kinds for part in ("weight", "bias")]
        for name, tensor in zip(names, node.inputs[1:], strict=False):
            near = 1e-3 * np.abs(moved[name]).max() + 1e-6
            for _ in range(4):
                at = tuple(int(rng.integers(n)) for n in moved[name].shape)
                wanted = derivative(graph, values, tensor, at, x, steps)
                assert abs(moved[name][at] - wanted) < near, (name, at, moved[name][at], wanted)


def test_a_frozen_cell_passes_signals_down(tmp_path: Path) -> None:
    """As one that learns does."""
    graph = graph_of(tmp_path, "GRU", layers=2)
    whole, below = compiled(graph, 16), compiled(graph, 16, layers=("cell1", "fc"))
    assert {t.name for t in below.plan.space("state") if t.learned} < {
        t.name for t in whole.plan.space("state") if t.learned
    }
    x = windows(1, seed=9)[0]
    found = [changes(c, x)[1]["cell1_weight"] for c in (whole, below)]
    assert np.any(found[0]) and np.allclose(*found, atol=1e-5 * np.abs(found[0]).max())


def test_memory_grows_by_the_states_that_are_kept(tmp_path: Path) -> None:
    """By one of each step: int8 and int16 of each unit of a GRU; beyond the window there is none to keep."""
    sizes = Sizes(24, 3, 16)
    graph = graph_of(tmp_path, "GRU", sizes=sizes)
    plans = {n: compiled(graph, n, sizes).plan for n in (4, 12, 24, 100)}
    arena = {n: plan.arena_bytes for n, plan in plans.items()}
    assert [memory(plan)["of_which_history"] for plan in plans.values()] == [
        n * 16 * 3 for n in (4, 12, 24, 24)
    ]
    assert arena[12] - arena[4] == 8 * 16 * 3 and arena[24] - arena[12] == 12 * 16 * 3
    assert arena[100] == arena[24]


def test_a_gru_that_resets_early_passes_nothing(tmp_path: Path) -> None:
    graph = graph_of(tmp_path, "GRU", layers=2, linear_before_reset=0)
    with pytest.raises(CompileError, match="resets its state before the product, and passes no signal"):
        compiled(graph, 16)


DRAWN = [*product(GATES, ("last", "all"), (1, 2), (1, 3, 7))]
FIRST = [("GRU", "last", 2, 3), ("LSTM", "all", 1, 3), ("RNN", "all", 2, 7), ("LSTM", "last", 2, 7)]


@pytest.mark.parametrize("drawn", [FIRST, pytest.param(DRAWN, marks=pytest.mark.long)])
def test_chips_learn_the_same_bytes(drawn: Sequence[tuple[str, str, int, int]], tmp_path: Path) -> None:
    """Extreme states, too; weights of either width, every rounding, and cells that are frozen in between."""
    plans = []
    for i, (cell, form, layers, steps) in enumerate(drawn):
        graph = replace(graph_of(tmp_path, cell, form, layers), name=f"m{i}")
        chosen = ("cell1", "fc") if i % 3 == 1 else "all"
        rounding = ("stochastic", "nearest", "dither")[i % 3]
        weights = ("int16", "int8")[i % 2]
        plans.append(compiled(graph, steps, layers=chosen, rounding=rounding, weights=weights, seed=i).plan)
    batch = HostBatch(plans, tmp_path / "c", "-O1", *UNDEFINED)
    try:
        assert all(play(batch, i, i) > 5 for i in range(len(plans)))
    finally:
        batch.close()
