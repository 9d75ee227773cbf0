"""Direct Kolen-Pollack: matrices that learn as weights from a layer's outputs to the scores would."""

from __future__ import annotations

import numpy as np
import pytest
from head_nets import NEW, Data, perceptron, samples

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.ir.graph import Graph, Node, Tensor
from synapcc.gen.ir.plan import Plan
from synapcc.gen.spec import Decay, Feedback, Head, RuleSpec
from synapcc.gen.stages.float_run import RealMachine
from synapcc.host.link.saturation import saturation
from synapcc.host.run.emulator import Emulator


def compiled(data: Data, layers: int = 3, **more: object) -> Compiled:
    return compile_model(perceptron(NEW, layers), RuleSpec("dkp", rate=6, **more), data)  # type: ignore[arg-type]


def learned(c: Compiled, data: Data, passes: int = 1) -> Emulator:
    machine = Emulator(c.plan)
    for _ in range(passes):
        for i in range(len(data["x"])):
            machine.learn({"x": data["x"][i : i + 1]}, data["label"][i : i + 1])
    return machine


def accuracy(machine: Emulator, data: Data) -> float:
    hits = [
        machine.infer({"x": data["x"][i : i + 1]}).winner[0] == data["label"][i]
        for i in range(len(data["x"]))
    ]
    return float(np.mean(hits))


def real(plan: Plan, machine: Emulator, name: str) -> np.ndarray:
    return np.asarray(plan[name].meaning.real(machine[name][0]))


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sum(a * b) / np.sqrt(np.sum(a * a) * np.sum(b * b)))


def test_below_the_scores_the_matrix_changes_as_the_scores_weights_do() -> None:
    """In real numbers, where nothing rounds: B - W stays what it was."""
    data = samples(40, NEW, 1)
    c = compiled(data)
    machine = RealMachine(c.abstract.values, c.abstract.programs, 1)
    first = machine.state["fc2_direct_feedback"] - machine.state["fc3_weight"]
    start = machine.state["fc3_weight"].copy()
    for x, label in zip(data["x"], data["label"], strict=True):
        machine.load({"x": x[None].astype(np.float64), "label": np.array([[label]])})
        machine.run("learn")
    assert np.max(np.abs(machine.state["fc3_weight"] - start)) > 0.01
    apart = machine.state["fc2_direct_feedback"] - machine.state["fc3_weight"]
    assert np.max(np.abs(apart - first)) < 1e-12


@pytest.mark.parametrize("weights", ["int16", "int8"])
def test_it_learns_and_decay_aligns_its_matrices(weights: str) -> None:
    data = samples(400, NEW, 1)
    c = compiled(data, decay=Decay(5, 16), weights=weights)
    machine, fresh = learned(c, data, 2), Emulator(c.plan)
    assert accuracy(machine, samples(200, NEW, 2)) > 0.9 > 4 / NEW > accuracy(fresh, data)
    before, after = (
        cosine(real(c.plan, m, "fc2_direct_feedback"), real(c.plan, m, "fc3_weight"))
        for m in (fresh, machine)
    )
    assert abs(before) < 0.3 and after > 0.7


def test_what_a_matrix_meets_of_its_limits_is_counted() -> None:
    data = samples(200, NEW, 1)
    c = compiled(data, headroom=1.0, layers=2, rates=(("fc1", 0),))
    machine = learned(c, data)
    t = c.plan["fc1_direct_feedback"]
    assert np.any((machine[t.name] == t.lo) | (machine[t.name] == t.hi))
    found = {s.layer: s for s in saturation(c.plan, machine.state[0])}
    values = sum(c.plan[f"fc1_{n}"].count for n in ("weight", "bias", "direct_feedback"))
    assert found["fc1"].updates == 200 * values and found["fc1"].saturated > 0


def test_an_aligned_matrix_may_start_at_zero() -> None:
    """Behind scores of zeros there is nothing to be aligned with yet: it grows as they do."""
    data, graph = samples(200, NEW, 1), perceptron(NEW)
    value = graph.tensors["fc2_w"].value
    assert value is not None
    value[...] = 0
    c = compile_model(graph, RuleSpec("dkp", rate=6, feedback=Feedback("aligned")), data)
    machine = learned(c, data)
    assert not np.any(c.plan["fc1_direct_feedback"].array())
    assert cosine(*(real(c.plan, machine, n) for n in ("fc1_direct_feedback", "fc2_weight"))) > 0.95


def test_a_matrix_that_learns_lies_in_ram() -> None:
    with pytest.raises(CompileError, match=r'feedback\.storage: rule dkp cannot use "flash"; possible: ram'):
        compiled(samples(40, NEW, 1), feedback=Feedback(storage="flash"))


def test_a_layer_whose_outputs_are_moved_to_the_scores_is_refused() -> None:
    """Its values are scores, of 16 bits, though another layer writes them; a matrix that learns reads 8."""
    rng = np.random.default_rng(0)
    constants = {"w": rng.normal(size=(4, 6)), "b": np.zeros(4)}
    tensors = {n: Tensor(n, v.shape, v) for n, v in constants.items()}
    tensors |= {n: Tensor(n, s) for n, s in {"x": (6,), "h": (4,), "m": (2, 1, 2), "z": (3, 1, 2)}.items()}
    nodes = (
        Node("dense", "fc1", ("x", "w", "b"), "h"),
        Node("reshape", "map", ("h",), "m", {"shape": (2, 1, 2)}),
        Node("dilate", "apart", ("m",), "z", {"stride": (2, 1)}),
    )
    data = {"x": rng.normal(size=(40, 6)), "label": rng.integers(0, 6, 40)}
    graph = Graph("moved", ("x",), "z", tensors, nodes)
    with pytest.raises(CompileError, match="fc1: makes what the scores are moved from, in int16"):
        compile_model(graph, RuleSpec("dkp"), data)
    assert compile_model(graph, RuleSpec("dfa"), data).plan.learning


def test_in_integers_it_walks_by_the_rounding() -> None:
    """B and W round apart, by less than a unit a step each; int16 is far from seeing it."""
    data = samples(400, NEW, 1)
    c = compiled(data)
    machine, fresh = learned(c, data), Emulator(c.plan)
    (b, w), (b0, w0) = (
        [real(c.plan, m, n) for n in ("fc2_direct_feedback", "fc3_weight")] for m in (machine, fresh)
    )
    unit = max(c.plan[n].meaning.step for n in ("fc2_direct_feedback", "fc3_weight"))
    strayed = np.abs((b - w) - (b0 - w0))
    assert 0 < np.max(strayed) < 2 * len(data["x"]) * unit
    assert np.sqrt(np.mean(strayed**2)) < 0.03 * np.sqrt(np.mean((w - w0) ** 2))


@pytest.mark.parametrize("append", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_an_imprinted_row_is_fed_back_by_as_much(append: bool, seed: int) -> None:
    """By the matrix of the layer in front of the classifier, in the same numbers; the others stay."""
    data, rng = samples(200, NEW, 1), np.random.default_rng(seed)
    head = Head(NEW if append else "", append, "random" if append else "zero", 2)
    layers = int(rng.integers(2, 5))
    c = compile_model(
        perceptron(NEW, layers), RuleSpec("dkp", rate=6, headroom=8.0, layers="dense", head=head), data
    )
    machine, label = Emulator(c.plan), int(rng.integers(NEW))
    at = f"fc{layers if append else layers - 1}_direct_feedback"
    w = "head_weight" if append else f"fc{layers}_weight"
    assert c.plan[at].meaning == c.plan[w].meaning and c.plan[at].lo == c.plan[w].lo
    start = {t.name: machine[t.name].astype(int) for t in c.plan.space("state")}
    for i in np.flatnonzero(data["label"] == label)[:2]:
        machine.run("imprint", inputs={"x": data["x"][i : i + 1]}, labels=[label])
    made = {name: machine[name].astype(int) - before for name, before in start.items()}
    t = c.plan[at]
    free = (machine[at] > t.lo) & (machine[at] < t.hi)
    assert np.any(made[w]) and np.mean(free) > 0.9 and np.array_equal(made[at][free], made[w][free])
    others = [n for n in made if n.endswith("_direct_feedback") and n != at]
    assert len(others) == (layers - 1 if append else layers - 2) and not any(np.any(made[n]) for n in others)
