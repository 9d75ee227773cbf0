"""Forward-forward: each hidden layer learns by its own goodness, under a right and a wrong label."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from conv_nets import cnn
from conv_nets import data as maps
from head_nets import OLD, SIZE, Data, perceptron, samples
from numpy.typing import NDArray

from synapcc.gen import numeric
from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.ops import kernel
from synapcc.gen.spec import Feedback, Head, Loss, Replay, RuleSpec, Schedule, Store
from synapcc.gen.stages.float_run import RealMachine
from synapcc.host.run.emulator import Emulator

HIDDEN = ("fc1", "fc2")
LAYERS = (*HIDDEN, "fc3")
Real = NDArray[np.float64]


def compiled(data: Data, **more: object) -> Compiled:
    spec = RuleSpec("ff", **{"rate": 6, "layers": "all", **more})  # type: ignore[arg-type]
    return compile_model(perceptron(OLD, 3), spec, data)


def wrong_label(label: int, step: int, seed: int, tensor: int) -> int:
    word = numeric.mix(numeric.mix(np.uint32(seed), np.full(1, step, np.uint32)), np.uint32(tensor))
    drawn = int(numeric.scale_index(word, np.full(1, OLD - 1, np.uint32))[0])
    return drawn + (drawn >= label)


def step_of_the_paper(
    start: Mapping[str, Real], carrier: Real, x: Real, labels: tuple[int, int], threshold: float, rate: float
) -> dict[str, Real]:
    """Weights and biases behind one step of Hinton 2022, dense layers and ReLU, the last one by its error.

    carrier: what each class adds to an input, [C, n]; labels: the right one and the wrong one
    """
    w = {name: np.array(value) for name, value in start.items()}

    def layer(name: str, h: Real) -> Real:
        return np.asarray(w[f"{name}_weight"] @ h + w[f"{name}_bias"])

    h = x
    for name in HIDDEN:
        h = np.maximum(layer(name, h), 0.0)
    e = np.exp(layer("fc3", h))
    e = e / e.sum() - np.eye(OLD)[labels[0]]
    w["fc3_weight"] -= rate * np.outer(e, h)
    w["fc3_bias"] -= rate * e
    for sign, label in zip((1.0, -1.0), labels, strict=True):
        h, changes = x + carrier[label], []
        for name in HIDDEN:
            below, h = h, np.maximum(layer(name, h), 0.0)
            n = 1
            while n < len(h):
                n *= 2
            p_correct = 1.0 / (1.0 + np.exp(-sign * (np.sum(h**2) / n / threshold - 1.0)))
            changes.append((name, sign * (1.0 - p_correct) * h, below))
        for name, change, below in changes:
            w[f"{name}_weight"] += rate * np.outer(change, below)
            w[f"{name}_bias"] += rate * change
    return w


@pytest.mark.parametrize("threshold", [0.25, 4.0])
def test_a_step_in_real_numbers_is_that_of_the_paper(threshold: float) -> None:
    data = samples(40, OLD, 1)
    c = compiled(data, options=(("threshold", threshold),) if threshold != 0.25 else ())
    carrier = -np.asarray(c.abstract.values["x_label"].real)
    assert carrier.shape == (OLD, SIZE)
    [draw] = [s for _, s in c.abstract.steps() if s.kernel == "target_error.wrong"]
    names = [f"{layer}_{what}" for layer in LAYERS for what in ("weight", "bias")]
    start = {n: np.asarray(c.abstract.values[n].real, np.float64) for n in names}
    for x, label in zip(data["x"][:6], [0, 1, 2, 3, 4, 0], strict=True):
        machine = RealMachine(c.abstract.values, c.abstract.programs, 1)
        machine.load({"x": x[None].astype(np.float64), "label": np.array([[label]])})
        machine.run("adapt")
        wrong = wrong_label(label, 0, int(draw.attrs["seed"]), int(draw.attrs["tensor"]))
        assert np.flatnonzero(machine.arena["wrong_target"][0]).tolist() == [wrong]
        want = step_of_the_paper(start, carrier, x.astype(np.float64), (label, wrong), threshold, 2.0**-6)
        for name in names:
            assert np.max(np.abs(machine.state[name][0] - want[name])) < 1e-9, name
            assert np.max(np.abs(start[name] - want[name])) > 1e-5


def test_a_wrong_label_is_never_the_right_one_and_any_other() -> None:
    k, n = kernel("target_error.wrong"), 600
    for label in range(3):
        t = {
            "label": np.full((n, 1), label, np.uint8),
            "step": np.arange(n, dtype=np.uint32)[:, None],
            "e": np.zeros((n, 3), np.int16),
        }
        k.integer(t, {"seed": 5, "tensor": 2})
        assert np.all(t["e"].sum(axis=1) == -1)
        counts = -t["e"].sum(axis=0)
        assert counts[label] == 0 and np.all(np.delete(counts, label) > n / 3)


@pytest.mark.parametrize("weights", ["int16", "int8"])
@pytest.mark.parametrize("storage", ["flash", "generated"])
def test_all_layers_learn(weights: str, storage: str) -> None:
    data, unseen = samples(600, OLD, 1), samples(300, OLD, 2)
    c = compiled(data, weights=weights, feedback=Feedback(storage=storage), options=(("threshold", 1.0),))
    machine = Emulator(c.plan)
    before = machine.evaluate(unseen).accuracy
    machine.learn_many({"x": data["x"][:, None]}, data["label"])
    assert machine.evaluate(unseen).accuracy > 0.8 > 2 / OLD > before
    for layer in LAYERS:
        assert np.mean(machine[f"{layer}_weight"][0] != c.plan[f"{layer}_weight"].array()) > 0.3


def test_goodness_of_right_labels_grows_beyond_that_of_wrong_ones() -> None:
    """What the layers are taught, measured in the float run of the integers' weights."""
    data = samples(600, OLD, 1)
    c = compiled(data, options=(("threshold", 1.0),))
    machine = Emulator(c.plan)
    machine.learn_many({"x": data["x"][:, None]}, data["label"])
    carrier = -np.asarray(c.abstract.values["x_label"].real)
    real = {n: c.plan[n].meaning.real(machine[n][0]) for n in ("fc1_weight", "fc1_bias")}

    def good(labels: NDArray[np.int64]) -> float:
        z = (data["x"] + carrier[labels]) @ real["fc1_weight"].T + real["fc1_bias"]
        return float(np.mean(np.maximum(z, 0.0) ** 2))

    right = data["label"].astype(np.int64)
    assert good(right) > 1.2 * max(good((right + k) % OLD) for k in range(1, OLD))


@pytest.mark.parametrize(
    "more",
    [
        {"loss": Loss("hinge", margin=0.25)},
        {"loss": Loss(class_weights=(0, 1, 2, 0, 0), clip=0.5)},
        {"replay": Replay(4, 2), "store": Store(3, "shuffled")},
        {"schedule": Schedule(at=(10, 20), shift=1)},
        {"head": Head("+1")},
        {"init": "he"},
        {"layers": ("fc1",)},
        {"layers": ("fc2", "fc3")},
    ],
)
def test_what_a_rule_file_asks_beside(more: dict[str, object]) -> None:
    data = samples(60, OLD, 1)
    c = compiled(data, **more)
    machine = Emulator(c.plan)
    machine.learn_many({"x": data["x"][:, None]}, data["label"])
    assert c.learned
    for name in c.learned:
        assert np.any(machine[f"{name}_weight"][0] != c.plan[f"{name}_weight"].array()), name


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"layers": ("fc3",)}, "ff teaches hidden layers, and none of them learns"),
        ({"loss": Loss(skip_below=0.1)}, "rule ff learns from samples without an error, too"),
        ({"feedback": Feedback("aligned")}, 'rule ff cannot use "aligned"'),
    ],
)
def test_what_cannot_work_is_refused(more: dict[str, object], says: str) -> None:
    with pytest.raises(CompileError, match=says):
        compiled(samples(40, OLD, 1), **more)


@pytest.mark.parametrize("untied", [False, True])
def test_convolutions_learn_by_the_goodness_of_their_maps(untied: bool) -> None:
    rng = np.random.default_rng(3)
    graph, data = cnn(rng), maps(rng, 40)
    convs = tuple(n.name for n in graph.nodes if n.op == "conv2d")
    spec = RuleSpec("ff", layers="all", rate=6, untied=convs[:1] if untied else ())
    c = compile_model(graph, spec, data)
    machine = Emulator(c.plan)
    [x] = graph.inputs
    machine.learn_many({x: data[x][:20, None]}, data["label"][:20])
    assert convs and set(convs) < set(c.learned)
    for name in c.learned:
        assert np.any(machine[f"{name}_weight"][0] != c.plan[f"{name}_weight"].array()), name
