"""Forward-forward: each hidden layer learns by its own goodness, under a right and a wrong label."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import projects
import pytest
from conv_nets import cnn
from conv_nets import data as maps
from head_nets import OLD, SIZE, Data, perceptron, samples
from numpy.typing import NDArray
from verifying import verified

from synapcc.gen import numeric
from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.importers import load_model
from synapcc.gen.ir.graph import Attr, Graph, Node, Tensor
from synapcc.gen.ops import kernel
from synapcc.gen.rules import options
from synapcc.gen.spec import Feedback, Head, Loss, Replay, RuleSpec, Schedule, Store, parse_spec
from synapcc.gen.stages.float_run import RealMachine
from synapcc.host.run.emulator import Emulator

HIDDEN = ("fc1", "fc2")
LAYERS = (*HIDDEN, "fc3")
Real = NDArray[np.float64]


def compiled(data: Data, **more: object) -> Compiled:
    spec = RuleSpec("ff", **{"rate": 6, "layers": "all", **more})  # type: ignore[arg-type]
    return compile_model(perceptron(OLD, 3), spec, data)


def wide(hidden: int) -> Graph:
    """Two dense layers."""
    shapes = {"w1": (hidden, SIZE), "b1": (hidden,), "w2": (OLD, hidden), "b2": (OLD,)}
    tensors = {name: Tensor(name, shape, np.zeros(shape)) for name, shape in shapes.items()}
    tensors |= {
        name: Tensor(name, shape) for name, shape in {"x": (SIZE,), "h": (hidden,), "z": (OLD,)}.items()
    }
    nodes = Node("dense", "fc1", ("x", "w1", "b1"), "h"), Node("dense", "fc2", ("h", "w2", "b2"), "z")
    return Graph("wide", ("x",), "z", tensors, nodes)


def pooled(pool: str) -> Graph:
    """Two convolutions; the scores are maxima or means of the second one's maps."""
    rng, one = np.random.default_rng(1), {"kernel": (3, 3), "stride": (1, 1)}
    conv: dict[str, Attr] = {**one, "groups": 1, "dilation": (1, 1), "padding": (1, 1, 1, 1)}
    of: dict[str, Attr] = {"kernel": (4, 4), "stride": (1, 1), "padding": (0, 0, 0, 0)}
    of |= {"dilation": (1, 1)} if pool == "maxpool2d" else {"count_padding": 0}
    shapes = {"w1": (3, 9), "b1": (3,), "w2": (OLD, 27), "b2": (OLD,)}
    tensors = {name: Tensor(name, s, rng.normal(0, s[-1] ** -0.5, s)) for name, s in shapes.items()}
    maps = {"x": (4, 4, 1), "h": (4, 4, 3), "a": (4, 4, 3), "m": (4, 4, OLD), "p": (1, 1, OLD), "z": (OLD,)}
    tensors |= {name: Tensor(name, shape) for name, shape in maps.items()}
    nodes = (
        Node("conv2d", "conv1", ("x", "w1", "b1"), "h", conv),
        Node("clip", "relu1", ("h",), "a", {"lo": 0.0, "hi": np.inf}),
        Node("conv2d", "conv2", ("a", "w2", "b2"), "m", conv),
        Node(pool, "pool", ("m",), "p", of),
        Node("reshape", "flat", ("p",), "z", {"shape": (OLD,)}),
    )
    return Graph("pooled", ("x",), "z", tensors, nodes)


def wrong_label(label: int, step: int, seed: int, tensor: int) -> int:
    word = numeric.mix(numeric.mix(np.uint32(seed), np.full(1, step, np.uint32)), np.uint32(tensor))
    drawn = int(numeric.scale_index(word, np.full(1, OLD - 1, np.uint32))[0])
    return drawn + (drawn >= label)


def step_of_the_paper(
    start: Mapping[str, Real],
    carrier: Real,
    x: Real,
    labels: tuple[int, int],
    threshold: float,
    rate: float,
    level: bool,
) -> dict[str, Real]:
    """Weights and biases behind one step of Hinton 2022, dense layers and ReLU, the last one by its error.

    carrier: what each class adds to an input, [C, n]; labels: the right one and the wrong one; level:
    whether a layer reads activities whose mean square is 1
    """
    w = {name: np.array(value) for name, value in start.items()}

    def levelled(h: Real) -> Real:
        return np.asarray(h / np.sqrt(np.mean(h**2) + 1e-5)) if level else h

    def layer(name: str, h: Real) -> Real:
        return np.asarray(w[f"{name}_weight"] @ h + w[f"{name}_bias"])

    h = x
    for name in HIDDEN:
        h = levelled(np.maximum(layer(name, h), 0.0))
    e = np.exp(layer("fc3", h))
    e = e / e.sum() - np.eye(OLD)[labels[0]]
    w["fc3_weight"] -= rate * np.outer(e, h)
    w["fc3_bias"] -= rate * e
    for sign, label in zip((1.0, -1.0), labels, strict=True):
        below, changes = x + carrier[label], []
        for name in HIDDEN:
            h = np.maximum(layer(name, below), 0.0)
            n = 1
            while n < len(h):
                n *= 2
            p_correct = 1.0 / (1.0 + np.exp(-sign * (np.sum(h**2) / n / threshold - 1.0)))
            changes.append((name, sign * (1.0 - p_correct) * h, below))
            below = levelled(h)
        for name, change, below in changes:
            w[f"{name}_weight"] += rate * np.outer(change, below)
            w[f"{name}_bias"] += rate * change
    return w


@pytest.mark.parametrize(
    ("threshold", "init", "normalise"),
    [(0.25, "", "init"), (4.0, "he", "init"), (0.25, "glorot", "init"), (0.5, "he", "never")],
)
def test_a_step_in_real_numbers_is_that_of_the_paper(threshold: float, init: str, normalise: str) -> None:
    data, level = samples(40, OLD, 1), bool(init) and normalise == "init"
    c = compiled(data, init=init, options=(("threshold", threshold), ("normalise", normalise)))
    assert sum(n.op == "normalise" for n in c.graph.nodes) == (len(HIDDEN) if level else 0)
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
        want = step_of_the_paper(
            start, carrier, x.astype(np.float64), (label, wrong), threshold, 2.0**-6, level
        )
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
    one = {name: v[:, :1] for name, v in t.items()} | {"label": np.arange(n, dtype=np.uint8)[:, None] % 2}
    k.integer(one, {"seed": 5, "tensor": 2})  # of one output: the other class's
    assert np.array_equal(one["e"][:, 0], np.where(one["label"][:, 0], 1, -1))


@pytest.mark.parametrize(
    ("weights", "storage"),
    [
        ("int16", "flash"),
        ("int8", "generated"),
        pytest.param("int8", "flash", marks=pytest.mark.long),
        pytest.param("int16", "generated", marks=pytest.mark.long),
    ],
)
def test_all_layers_learn(weights: str, storage: str) -> None:
    """From scratch: where no length is taken off between layers, what is reached scatters with the seed."""
    data, unseen = samples(600, OLD, 1), samples(300, OLD, 2)
    more = {"weights": weights, "feedback": Feedback(storage=storage), "init": "he"}
    c = compiled(data, options=(("threshold", 1.0),), **more)
    machine = Emulator(c.plan)
    before = machine.evaluate(unseen).accuracy
    machine.learn_many({"x": data["x"][:, None]}, data["label"])
    assert machine.evaluate(unseen).accuracy > 0.85 > 2 / OLD > before
    for layer in LAYERS:
        assert np.mean(machine[f"{layer}_weight"][0] != c.plan[f"{layer}_weight"].array()) > 0.3


def test_goodness_of_right_labels_grows_beyond_that_of_wrong_ones() -> None:
    """What the layers are taught, measured in the float run of the integers' weights."""
    data = samples(400, OLD, 1)
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
    machine.learn_many({"x": data["x"][:40, None]}, data["label"][:40])
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


def test_a_hybrid_takes_no_head_that_needs_a_pass_of_its_own() -> None:
    text = 'rule = "hybrid"\n[options]\nhead = "{}"\n'
    assert dict(parse_spec(text.format("dfa"), "rule.toml", options()).options)["head"] == "dfa"
    with pytest.raises(CompileError, match=r"options\.head"):
        parse_spec(text.format("ff"), "rule.toml", options())


def test_more_activities_than_squares_are_proven_for_are_refused() -> None:
    data = samples(20, OLD, 1)
    graph = wide(2**16 + 1)
    for init, says in (("", "fc1: has 65537 activities"), ("he", "normalises axis 0 of .65537,")):
        with pytest.raises(CompileError, match=says):
            compile_model(graph, RuleSpec("ff", layers="all", init=init), data)


@pytest.mark.parametrize("untied", [False, True])
def test_convolutions_learn_by_the_goodness_of_their_maps(untied: bool) -> None:
    rng = np.random.default_rng(3)
    graph, data = cnn(rng), maps(rng, 40)
    convs = tuple(n.name for n in graph.nodes if n.op == "conv2d")
    spec = RuleSpec(
        "ff", layers="all", rate=6, untied=convs[:1] if untied else (), init="he" if untied else ""
    )
    c = compile_model(graph, spec, data)
    machine = Emulator(c.plan)
    [x] = graph.inputs
    machine.learn_many({x: data[x][:20, None]}, data["label"][:20])
    assert convs and set(convs) < set(c.learned)
    for name in c.learned:
        assert np.any(machine[f"{name}_weight"][0] != c.plan[f"{name}_weight"].array()), name


@pytest.mark.parametrize("pool", ["maxpool2d", "avgpool2d"])
def test_a_layer_whose_maps_are_pooled_into_scores_learns_by_their_error(pool: str) -> None:
    """As `last` teaches it, and not by its goodness."""
    data = samples(40, OLD, 1)
    data["x"] = data["x"].reshape(-1, 4, 4, 1)
    changed = []
    for spec in (RuleSpec("ff", layers="all", rate=6), RuleSpec("last", layers=("conv2",), rate=6)):
        c = compile_model(pooled(pool), spec, data)
        machine = RealMachine(c.abstract.values, c.abstract.programs, 1)
        first = {name: v[0].copy() for name, v in machine.state.items()}
        machine.load({"x": data["x"][:1].reshape(1, -1).astype(np.float64), "label": data["label"][:1, None]})
        machine.run("adapt")
        changed.append({name: v[0] - first[name] for name, v in machine.state.items()})
    assert np.any(changed[0]["conv1_weight"]) and np.any(changed[1]["conv2_weight"])
    for name in ("conv2_weight", "conv2_bias"):
        assert np.allclose(changed[0][name], changed[1][name], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "device", ["process", *(pytest.param(d, marks=pytest.mark.long) for d in ("unicorn", "qemu"))]
)
def test_a_chip_does_the_same(device: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = 'init = "he"\n[feedback]\nstorage = "generated"\n[store]\nsamples = 4\n[replay]\nsamples = 3\n'
    made, out = projects.compiled(tmp_path, "ff", more=more)
    assert any(n.op == "normalise" for n in load_model(out / "network.onnx").nodes)
    code, said = verified(out, made.data, 40, device, capsys)
    assert code == 0 and said[-1].startswith("verify: 40 steps, 0 differing bytes"), said
