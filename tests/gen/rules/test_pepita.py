"""Error-driven input modulation: a second forward pass over inputs that the error has moved."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import projects
import pytest
from head_nets import OLD, SIZE, Data, perceptron, samples
from numpy.typing import NDArray
from verifying import verified

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.ir.graph import Graph, Node, Tensor
from synapcc.gen.rules._modulation import SHARE
from synapcc.gen.spec import Feedback, Loss, RuleSpec
from synapcc.gen.stages.float_run import RealMachine
from synapcc.host.run.emulator import Emulator

LAYERS = ("fc1", "fc2", "fc3")
Real = NDArray[np.float64]


def compiled(data: Data, graph: Graph | None = None, **more: object) -> Compiled:
    spec = RuleSpec("pepita", **{"rate": 6, **more})  # type: ignore[arg-type]
    return compile_model(graph or perceptron(OLD, 3), spec, data)


def learned(c: Compiled, x: Real, label: int) -> RealMachine:
    """The Plan in real numbers, behind one learning step."""
    machine = RealMachine(c.abstract.values, c.abstract.programs, 1)
    machine.load({"x": x[None].astype(np.float64), "label": np.array([[label]])})
    machine.run("adapt")
    return machine


def step_of_the_paper(w: Mapping[str, Real], f: Real, x: Real, label: int, rate: float) -> dict[str, Real]:
    """Dellaferrera and Kreiman 2022, for dense layers and ReLU: what one step leaves. f: [C, n]"""

    def forward(h: Real) -> list[Real]:
        out = [h]
        for layer in LAYERS:
            z = w[f"{layer}_weight"] @ out[-1] + w[f"{layer}_bias"]
            out.append(z if layer == LAYERS[-1] else np.maximum(z, 0.0))
        return out

    first = forward(x)
    e = np.exp(first[-1] - first[-1].max())
    e /= e.sum()
    e[label] -= 1.0
    second = forward(x + e @ f)
    out = {}
    for i, layer in enumerate(LAYERS, 1):
        d = e if layer == LAYERS[-1] else first[i] - second[i]
        out[f"{layer}_weight"] = w[f"{layer}_weight"] - rate * np.outer(d, second[i - 1])
        out[f"{layer}_bias"] = w[f"{layer}_bias"] - rate * d
    return out


@pytest.mark.parametrize("storage", ["flash", "generated"])
def test_a_step_in_real_numbers_is_that_of_the_paper(storage: str) -> None:
    data = samples(40, OLD, 1)
    c = compiled(data, feedback=Feedback(storage=storage))
    flash = compiled(data)
    matrix = np.asarray(flash.abstract.values["x_modulation"].real)
    assert matrix.shape == (OLD, SIZE)
    names = [f"{layer}_{what}" for layer in LAYERS for what in ("weight", "bias")]
    start = {n: np.asarray(c.abstract.values[n].real, np.float64) for n in names}
    for x, label in zip(data["x"][:6], [0, 1, 2, 3, 4, 0], strict=True):
        wanted = step_of_the_paper(start, matrix, x.astype(np.float64), label, 2.0**-6)
        machine = learned(c, x, label)
        for name in names:
            assert np.max(np.abs(machine.state[name][0] - wanted[name])) < 1e-9
            assert np.max(np.abs(start[name] - wanted[name])) > 1e-5


def test_the_matrix_moves_an_input_by_a_share_of_its_size() -> None:
    data = samples(40, OLD, 1)
    for times in (1.0, 64.0):  # in whatever unit it comes
        c = compiled({**data, "x": data["x"] * np.float32(times)}, perceptron(OLD, 2), rate=9)
        matrix = np.asarray(c.abstract.values["x_modulation"].real)
        rms = float(np.sqrt(np.mean(np.square(data["x"] * times))))
        assert 0.7 < np.sqrt(np.mean(matrix**2)) / (rms * SHARE) < 1.5


def test_the_second_pass_has_the_formats_of_the_first_and_a_place_of_its_own() -> None:
    plan = compiled(samples(60, OLD, 1)).plan
    pairs = [(t, plan[t.name.removesuffix("_again")]) for t in plan.tensors if t.name.endswith("_again")]
    assert {t.name for t, _ in pairs} == {f"{n}_again" for n in ("x", "fc1", "relu1", "fc2", "relu2")}
    assert all(t.meaning == first.meaning and t.use == "again" for t, first in pairs)
    base = compile_model(perceptron(OLD, 3), RuleSpec("dfa", rate=6), samples(60, OLD, 1)).plan
    for name in ("x", "relu1", "relu2"):  # what calibration saw of the first pass alone decides
        assert plan[name].meaning == base[name].meaning


@pytest.mark.parametrize("weights", ["int16", "int8"])
def test_all_layers_learn(weights: str) -> None:
    data, unseen = samples(600, OLD, 1), samples(300, OLD, 2)
    c = compiled(data, weights=weights)
    machine = Emulator(c.plan)
    before = machine.evaluate(unseen).accuracy
    for _ in range(3):
        machine.learn_many({"x": data["x"][:, None]}, data["label"])
    assert machine.evaluate(unseen).accuracy > 0.9 > 2 / OLD > before
    for layer in LAYERS:
        assert np.mean(machine[f"{layer}_weight"][0] != c.plan[f"{layer}_weight"].array()) > 0.3


@pytest.mark.parametrize("layers", [("fc1",), ("fc2",), ("fc1", "fc3")])
def test_any_choice_of_layers(layers: tuple[str, ...]) -> None:
    """The second pass goes no further than something learned reads or writes; frozen layers stay."""
    data = samples(60, OLD, 1)
    c = compiled(data, layers=layers)
    machine = Emulator(c.plan)
    machine.learn_many({"x": data["x"][:, None]}, data["label"])
    for name in layers:
        assert np.any(machine[f"{name}_weight"][0] != c.plan[f"{name}_weight"].array())
    twice = {s.node for p, _, s in c.plan.ops() if p == "correct" and s.kernel.endswith(".forward")}
    top = "relu1" if layers == ("fc1",) else "relu2"
    assert top in twice and "fc3" not in twice and ("relu2" in twice) == (top == "relu2")
    assert all(c.plan[f"{n}_weight"].space == ("state" if n in layers else "const") for n in LAYERS)


def test_where_nothing_is_wrong_nothing_changes() -> None:
    """A sample without any error, under the hinge loss, leaves all weights and biases as they are."""
    data = samples(200, OLD, 1)
    c = compiled(data, loss=Loss("hinge", margin=0.25))
    machine = Emulator(c.plan)
    machine.learn_many({"x": np.tile(data["x"], (3, 1))[:, None]}, np.tile(data["label"], 3))
    seen = {True: 0, False: 0}
    names = [t.name for t in c.plan.space("state") if t.role in ("weight", "bias")]
    for x, label in zip(data["x"], data["label"], strict=True):
        before = {n: machine[n].copy() for n in names}
        scores = c.plan["fc3"].meaning.real(machine.infer({"x": x[None]}).scores[0])
        right = np.arange(OLD) == label
        quiet = scores[right].min() >= 0.25 and scores[~right].max() <= -0.25
        machine.learn({"x": x[None]}, [int(label)])
        same = all(np.array_equal(machine[n], before[n]) for n in names)
        assert same or not quiet
        seen[quiet] += 1
    assert min(seen.values()) > 5


def test_several_inputs_are_moved_each_by_a_block_of_its_own() -> None:
    rng = np.random.default_rng(2)
    shapes = {"a": (6,), "b": (3,)}
    tensors = {n: Tensor(n, s) for n, s in shapes.items()} | {"both": Tensor("both", (9,))}
    for name, n, m in (("fc1", 9, 8), ("fc2", 8, 4)):
        w, b = Tensor(f"{name}_w", (m, n), rng.normal(0, 0.4, (m, n))), Tensor(f"{name}_b", (m,), np.zeros(m))
        tensors |= {w.name: w, b.name: b, name: Tensor(name, (m,))}
    tensors["relu"] = Tensor("relu", (8,))
    nodes = (
        Node("concat", "both", ("a", "b"), "both", {"axis": 0}),
        Node("dense", "fc1", ("both", "fc1_w", "fc1_b"), "fc1"),
        Node("clip", "relu", ("fc1",), "relu", {"lo": 0.0, "hi": np.inf}),
        Node("dense", "fc2", ("relu", "fc2_w", "fc2_b"), "fc2"),
    )
    data = {n: rng.normal(0, 1, (40, *s)).astype(np.float32) for n, s in shapes.items()}
    data["label"] = rng.integers(0, 4, 40)
    c = compiled(data, Graph("two", ("a", "b"), "fc2", tensors, nodes))
    matrices = [c.plan[f"{n}_modulation"] for n in shapes]
    assert [t.shape for t in matrices] == [(4, 6), (4, 3)]
    machine = RealMachine(c.abstract.values, c.abstract.programs, 1)
    machine.load({n: data[n][:1].astype(np.float64) for n in shapes} | {"label": np.array([[1]])})
    machine.run("learn")
    for n, t in zip(shapes, matrices, strict=True):
        moved = machine.real(f"{n}_again") - machine.real(n)
        assert np.allclose(moved, machine.real("error") @ t.meaning.real(t.array()), atol=1e-12)
        assert np.min(np.abs(moved)) > 0.0


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"feedback": Feedback("aligned")}, 'feedback.init: rule pepita cannot use "aligned"'),
        ({"feedback": Feedback(storage="ram")}, 'feedback.storage: rule pepita cannot use "ram"'),
    ],
)
def test_feedback_that_it_has_not_is_refused(asked: dict[str, object], says: str) -> None:
    with pytest.raises(CompileError, match=says):
        compiled(samples(40, OLD, 1), **asked)


@pytest.mark.parametrize(
    "device", ["process", *(pytest.param(d, marks=pytest.mark.long) for d in ("unicorn", "qemu"))]
)
def test_a_chip_does_the_same(device: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = '[feedback]\nstorage = "generated"\n[store]\nsamples = 4\n[replay]\nsamples = 3\n'
    made, out = projects.compiled(tmp_path, "pepita", more=more)
    code, said = verified(out, made.data, 40, device, capsys)
    assert code == 0 and said[-1].startswith("verify: 40 steps, 0 differing bytes"), said
