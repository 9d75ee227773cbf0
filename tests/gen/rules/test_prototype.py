"""Prototypes: the nearest class mean wins, means follow their samples, a class appears by its first one."""

from __future__ import annotations

import numpy as np
import pytest
from head_nets import NEW, OLD, SIZE, Data, perceptron, samples

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.ir.program import Step
from synapcc.gen.spec import Decay, Head, Loss, RuleSpec
from synapcc.host.run.emulator import Emulator

LOWEST = -(2**15)


def compiled(data: Data, share: float = 2.0**-4, **more: object) -> Compiled:
    spec = RuleSpec("prototype", options=(("share", share),), **more)  # type: ignore[arg-type]
    return compile_model(perceptron(), spec, data)


def move(c: Compiled) -> Step:
    (step,) = [s for _, _, s in c.plan.ops() if s.kernel == "prototype.move"]
    return step


def means(c: Compiled, machine: Emulator) -> np.ndarray:
    """The prototypes in units of the features, [classes, features]."""
    t, x = c.plan["fc2_weight"], c.plan["relu1"]
    (gain,) = {s.attrs["gain"] for _, s in c.abstract.steps() if s.kernel == "prototype.move"}
    away = t.meaning.real(machine[t.name][0]) / gain
    return np.asarray(away / x.meaning.step + c.plan["fc2_centre"].array())


def features(machine: Emulator, x: np.ndarray) -> np.ndarray:
    """What the classifier reads, before other values take its place in the arena."""
    seen = []

    def look(program: str, position: int) -> None:
        step = machine.plan.programs[program].items[position]
        if isinstance(step, Step) and step.args.get("y") == "relu1":
            seen.append(machine["relu1"][0].astype(np.float64))

    machine.load({"x": x[None]})
    machine.run("infer", after=look)
    return seen[0]


def test_the_nearest_mean_wins() -> None:
    data, unseen = samples(300, OLD, 1), samples(300, OLD, 2)
    c = compiled(data)
    machine = Emulator(c.plan)
    nearest, said = [], []
    for x in unseen["x"]:
        h = features(machine, x)
        apart = np.sum((means(c, machine) - h) ** 2, axis=1)
        nearest.append(int(np.argmin(apart)))
        said.append(int(machine["verdict"][0, 0]))
    assert np.mean(np.equal(nearest, said)) > 0.97
    assert np.mean(np.equal(said, unseen["label"])) > 0.9


@pytest.mark.parametrize("share", [2.0**-1, 2.0**-4, 2.0**-8])
def test_a_mean_is_that_of_the_first_samples_and_forgets_then(share: float) -> None:
    data = samples(300, NEW, 1)
    old = {n: v[data["label"] < OLD] for n, v in data.items()}
    c = compiled(old, share, head=Head("+2"))
    machine, most = Emulator(c.plan), round(1 / share)
    want, counts = means(c, machine), np.minimum(np.bincount(old["label"], minlength=NEW), most)
    for x, label in zip(data["x"], data["label"], strict=True):
        counts[label] = min(counts[label] + 1, most)
        want[label] += (features(machine, x) - want[label]) / counts[label]
        machine.learn({"x": x[None]}, [int(label)])
    unit = move(c).attrs["multiplier"] / 2.0 ** move(c).attrs["shift"]  # units of a weight by one of x
    assert np.max(np.abs(means(c, machine) - want)) < 2 * most / unit  # half a unit a step, by 1 / share
    assert np.array_equal(machine["fc2_seen"][0], counts)


def test_a_class_appears_by_its_first_sample() -> None:
    old, rng = samples(200, OLD, 1), np.random.default_rng(3)
    c = compiled(old, head=Head("+2"))
    machine = Emulator(c.plan)
    for _ in range(200):  # whatever comes, a class without a sample is the last to win
        x = rng.choice([-128, 127], (1, SIZE)).astype(np.int8)
        said = machine.infer({"x": x})
        assert said.winner[0] < OLD and np.all(said.scores[0, OLD:] == LOWEST)
    new = {n: v[samples(400, NEW, 4)["label"] >= OLD] for n, v in samples(400, NEW, 4).items()}
    seen = set()
    for x, label in zip(new["x"], new["label"], strict=True):
        if int(label) not in seen:
            machine.learn({"x": x[None]}, [int(label)])
            seen.add(int(label))
            assert machine.infer({"x": x[None]}).winner[0] == label
    assert seen == {OLD, OLD + 1}
    assert machine.evaluate(new).accuracy > 0.8


def test_it_follows_classes_that_move() -> None:
    data = samples(400, OLD, 1)
    turned = {"x": data["x"][:, ::-1].copy(), "label": data["label"]}
    c = compiled(data)
    machine = Emulator(c.plan)
    before = machine.evaluate(turned).accuracy
    for i in range(len(turned["x"])):
        machine.learn({"x": turned["x"][i : i + 1]}, turned["label"][i : i + 1])
    assert machine.evaluate(turned).accuracy > 0.9 and before < 0.6


REFUSED: dict[str, tuple[dict[str, object], str]] = {
    "bytes": ({"weights": "int8"}, "a mean moves by less than int8 holds"),
    "decay": ({"decay": Decay(8, 16)}, "decay would move them"),
    "numbers": ({"loss": Loss("mse")}, 'keeps means of classes, and loss.kind is "mse"'),
    "imprint": ({"head": Head(NEW, imprint=3)}, "a class appears by its first sample anyway"),
    "start": (
        {"head": Head("+2", init="random")},
        'all rows are means of features, and head.init is "random"',
    ),
    "frozen": ({"layers": ("fc1",)}, "moves the rows of the layer that makes the scores"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_it_cannot_do_is_refused(case: str) -> None:
    more, says = REFUSED[case]
    data = samples(60, OLD, 1)
    if case == "numbers":
        data = {"x": data["x"], "target": np.ones((60, OLD), np.float32)}
    with pytest.raises(CompileError, match=says):
        compiled(data, **more)


def test_means_need_labels_and_a_score_for_each_class() -> None:
    data = samples(60, OLD, 1)
    with pytest.raises(CompileError, match="no labels, of which it takes means"):
        compiled({"x": data["x"]})
    with pytest.raises(CompileError, match="the classifier has one output"):
        compile_model(perceptron(1), RuleSpec("prototype"), samples(60, 2, 1))
    c = compile_model(perceptron(1), RuleSpec("prototype", head=Head(2)), samples(60, 2, 1))
    assert Emulator(c.plan).evaluate(samples(100, 2, 2)).accuracy > 0.9


@pytest.mark.parametrize("head", [None, Head("+2"), Head(NEW), Head(NEW, append=True)])
def test_a_note_says_what_the_rows_are(head: Head | None) -> None:
    """All are means, whatever the file or [head] put there, and classes without a sample are named."""
    data = samples(200, OLD, 1)
    notes = compiled(data, head=head).graph.notes
    name, rows = ("[head]" if head and head.append else "fc2"), (NEW if head else OLD)
    unseen = "; no sample yet: class 5, 6" if rows > OLD else ""
    assert notes == (f"{name}: its {rows} rows are means of features, and nothing of the file's{unseen}",)
