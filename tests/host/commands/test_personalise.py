"""synapcc personalise: what each wearer gains is what a device of its own says, sample by sample."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from head_nets import OLD, perceptron, samples
from projects import Case, arrays, compiled, listing, refusal, save

from synapcc.gen.compile import compile_model
from synapcc.gen.spec import RuleSpec
from synapcc.host.cli import main
from synapcc.host.run.emulator import Emulator
from synapcc.host.run.network import read_network
from synapcc.host.run.personalise import comparison
from synapcc.host.run.plans import read_plan
from synapcc.host.run.wearer_data import ONE, Part, by_wearer, flipped, load_wearers
from synapcc.host.run.wearers import Wearers, learn_float, learn_integer

Capsys = pytest.CaptureFixture[str]
STORE = "[store]\nsamples = 16\n"
SEEDS = {"ann": (1, 14), "bob": (2, 40), "cy": (3, 10)}  # of each wearer's samples, and how many are learned


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, Path]:
    return compiled(tmp_path_factory.mktemp("project"), more=STORE)


def people(kind: str) -> dict[str, np.ndarray]:
    """Samples of three wearers, each shifted by an offset of their own, in a mixed order."""
    parts = []
    for name, (seed, count) in SEEDS.items():
        part = arrays(n=count if kind == "learn" else 30, seed=10 * seed + (kind == "test"))
        part["input"] += np.float32(0.4) * np.random.default_rng(seed).normal(0, 1, 12).astype(np.float32)
        parts.append(part | {"who": np.array([name] * len(part["label"]))})
    whole = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    order = np.random.default_rng(0).permutation(len(whole["label"]))
    return {key: x[order] for key, x in whole.items()}


def files(folder: Path) -> list[str]:
    learn, test = (save(folder / f"{kind}.npz", people(kind)) for kind in ("learn", "test"))
    return ["--learn", str(learn), "--test", str(test)]


def document(words: list[str], folder: Path) -> dict[str, Any]:
    assert main([*words, "--json", str(folder / "found.json")]) == 0
    loaded: dict[str, Any] = json.loads((folder / "found.json").read_text())
    return loaded


def by_hand(out: Path, name: str, passes: int) -> tuple[float, float, int, int]:
    """(before, after, mended, broken) of one wearer, of a device that learns sample by sample."""
    learn, test = people("learn"), people("test")
    mine, theirs = learn["who"] == name, test["who"] == name
    machine = Emulator(read_plan(out), engine="numpy")
    before = machine.infer_many({"input": test["input"][theirs]}).winner == test["label"][theirs]
    for x, label in zip(learn["input"][mine], learn["label"][mine], strict=True):
        machine.learn({"input": x[None]}, [label])
    for _ in range(passes - 1):
        machine.run("rehearse")
    after = machine.infer_many({"input": test["input"][theirs]}).winner == test["label"][theirs]
    return before.mean(), after.mean(), int((after & ~before).sum()), int((before & ~after).sum())


def test_each_wearer_is_a_device_of_its_own(
    project: tuple[Case, Path], tmp_path: Path, capsys: Capsys
) -> None:
    _, out = project
    page = tmp_path / "p.html"
    words = ["personalise", str(out), *files(tmp_path), "--wearer-key", "who", "--passes", "3"]
    found = document([*words, "--html", str(page), "--base", str(project[0].data)], tmp_path)
    said = capsys.readouterr().out
    none, own, last, floats = found["rows"]
    assert [row["rule"] for row in found["rows"]] == ["none", "hebbian", "last", "float_bp"]
    assert not found["left_out"]
    for name, (_, count) in SEEDS.items():
        before, after, mended, broken = by_hand(out, name, 3)
        mine = own["subjects"][name]
        assert (mine["before"], mine["after"]) == pytest.approx((before, after))
        assert (mine["mended"], mine["broken"]) == (mended, broken)
        assert (mine["learned"], mine["tested"]) == (count, 30)
        assert none["subjects"][name]["after"] == pytest.approx(before)
        for row in (last, floats):
            turned = row["subjects"][name]["mended"] - row["subjects"][name]["broken"]
            assert turned == round(30 * (row["subjects"][name]["after"] - before))
        assert name in said and name in page.read_text()
    matrix = np.array(own["confusion"])
    assert own["accuracy"] == pytest.approx(matrix.trace() / matrix.sum())
    assert matrix.sum(axis=1).tolist() == np.bincount(people("test")["label"], minlength=3).tolist()
    assert [p["passes"] for p in own["curve"]] == [0, 0.25, 0.5, 0.75, 1, 2, 3]
    assert own["curve"][0]["accuracy"] == none["accuracy"] and own["curve"][-1]["accuracy"] == own["accuracy"]
    assert all(0 <= row["base"] <= 1 for row in found["rows"])
    assert "asked again of each wearer" in page.read_text() and "mended" in page.read_text()


def test_what_the_base_forgets_is_asked_of_every_device(project: tuple[Case, Path], tmp_path: Path) -> None:
    case, out = project
    found = document(
        ["personalise", str(out), *files(tmp_path), "--beside", "none", "--base", str(case.data)], tmp_path
    )
    plan, data = read_plan(out), np.load(case.data)
    machine, learn = Emulator(plan), people("learn")
    x = {"input": data["input"]}
    assert found["rows"][0]["base"] == pytest.approx(np.mean(machine.infer_many(x).winner == data["label"]))
    for sample, label in zip(learn["input"], learn["label"], strict=True):
        machine.learn({"input": sample[None]}, [label])
    for _ in range(9):
        machine.run("rehearse")
    assert found["rows"][1]["base"] == pytest.approx(np.mean(machine.infer_many(x).winner == data["label"]))
    assert list(found["rows"][1]["subjects"]) == [ONE]


@pytest.mark.parametrize("rule", ["last", "bp"])
def test_one_class_alone_and_little_of_it(rule: str, tmp_path: Path, capsys: Capsys) -> None:
    """Ten samples of one class, of a device that keeps none: one pass, and the rule is not run twice."""
    _, out = compiled(tmp_path / "p", rule)
    learn, test = arrays(n=10, seed=3), arrays(n=10, seed=4)
    learn["label"][:], test["label"][:] = 1, 1
    data = ["--learn", str(save(tmp_path / "l.npz", learn)), "--test", str(save(tmp_path / "t.npz", test))]
    found = document(["personalise", str(out), *data], tmp_path)
    assert [row["rule"] for row in found["rows"]] == ["none", *dict.fromkeys([rule, "last", "float_bp"])]
    own = found["rows"][1]
    assert own["passes"] == 1 and own["f1"]["2"] in (None, 0) and own["average"]["sen"]["0"] is None
    assert "1 wearer, 10 samples learned in 1 pass, 10 tested" in capsys.readouterr().out


def test_integers_are_learned_and_have_no_float_beside_them(
    project: tuple[Case, Path], tmp_path: Path, capsys: Capsys
) -> None:
    plan = read_plan(project[1])
    data = []
    for kind in ("learn", "test"):
        given = people(kind)
        given["input"] = plan.quantiser("input").integers(given["input"])
        data += [f"--{kind}", str(save(tmp_path / f"{kind}8.npz", given))]
    words = ["personalise", str(project[1]), "--wearer-key", "who"]
    found = document([*words, *data], tmp_path)
    assert sorted(found["left_out"]) == ["float_bp", "last"] and len(found["rows"]) == 2
    assert capsys.readouterr().out.count("left out: ") == 2
    floats = document([*words, *files(tmp_path)], tmp_path)
    assert found["rows"][1] == floats["rows"][1]


def test_wrong_labels_are_as_many_as_were_asked_for(project: tuple[Case, Path], tmp_path: Path) -> None:
    plan = read_plan(project[1])
    learn, test = (save(tmp_path / f"{kind}.npz", people(kind)) for kind in ("learn", "test"))
    right = load_wearers(plan, learn, test, "who")
    assert list(right.learn) == ["bob", "ann", "cy"], "who learns most comes first"
    for share in (0.0, 0.2, 1.0):
        wrong = flipped(right, share, plan.classes)
        for name, part in right.learn.items():
            assert np.sum(wrong.learn[name].label != part.label) == round(share * len(part))
            assert wrong.learn[name].label.max() < plan.classes
            assert np.array_equal(wrong.test[name].label, right.test[name].label)


def test_names_of_wearers_may_be_numbers_and_bytes(project: tuple[Case, Path]) -> None:
    plan, given = read_plan(project[1]), people("learn")
    texts = by_wearer(plan, given, "data", "who")
    numbers = by_wearer(plan, given | {"who": np.unique(given["who"], return_inverse=True)[1]}, "data", "who")
    plain = by_wearer(plan, given | {"who": given["who"].astype("S")}, "data", "who")
    assert list(texts) == list(plain) == ["ann", "bob", "cy"] and list(numbers) == ["0", "1", "2"]
    for mine, theirs in zip(texts.values(), numbers.values(), strict=True):
        assert np.array_equal(mine.label, theirs.label)
        assert np.array_equal(mine.inputs()["input"], theirs.inputs()["input"])


@pytest.mark.parametrize(
    "names", [("a\\b", "a_b", "c"), ("x" * 90 + "1", "x" * 90 + "2", "c"), (" ", "b", "c")]
)
def test_wearers_who_look_alike_are_not_one(
    names: tuple[str, ...], project: tuple[Case, Path], tmp_path: Path, capsys: Capsys
) -> None:
    given = people("learn")
    given["who"] = np.array(names)[np.unique(given["who"], return_inverse=True)[1]]
    file = str(save(tmp_path / "l.npz", given))
    said = refusal(
        ["personalise", str(project[1]), "--learn", file, "--test", file, "--wearer-key", "who"], capsys
    )
    assert "two wearers who are both shown as" in said or "a wearer without a name" in said


@pytest.mark.parametrize(
    "more", ["[replay]\nsamples = 8\n", "[guard]\nbase = 8\n", '[loss]\nclass_weights = "balanced"\n']
)
def test_examples_of_the_base_are_not_the_wearers(more: str, tmp_path: Path, capsys: Capsys) -> None:
    made, out = compiled(tmp_path / "p", "bp", more=STORE + more)
    words = ["personalise", str(out), *files(tmp_path), "--wearer-key", "who", "--passes", "1"]
    found = document(words, tmp_path)
    assert len(found["rows"]) == 2 and all("give --calibrate" in why for why in found["left_out"].values())
    assert all(row["base"] is None for row in found["rows"])
    found = document([*words, "--calibrate", str(made.data)], tmp_path)
    same = document([*words, "--calibrate", str(made.data), "--base", str(made.data)], tmp_path)
    assert same["rows"] == found["rows"] and all(0 <= row["base"] <= 1 for row in found["rows"])
    assert [row["rule"] for row in found["rows"]] == ["none", "bp", "last", "float_bp"]
    wrong = save(tmp_path / "c.npz", arrays(size=12) | {"label": np.full(60, 9)})
    assert "c.npz: label[0] is 9" in refusal([*words, "--calibrate", str(wrong)], capsys)


def test_a_guard_settles_in_float_as_in_integers(tmp_path: Path) -> None:
    """At each place that is asked the learned state and the good one are one."""
    made, _ = compiled(tmp_path / "p", "bp", more=STORE + "[guard]\nbase = 0\nevery = 2\n")
    c = compile_model(made.model, made.rule, made.data)
    learn, test = (save(tmp_path / f"{kind}.npz", people(kind)) for kind in ("learn", "test"))
    those = flipped(load_wearers(c.plan, learn, test, "who"), 1.0, c.plan.classes)
    half = [(0.5, np.array([len(part) // 2 for part in those.learn.values()]))]
    good = [t.name for t in c.plan.space("state") if t.use == "good" and not t.name.endswith("_right")]
    for k, state in learn_float(c, those, (1, 2), half):
        assert all(np.array_equal(state[n], state[n.removeprefix("good_")]) for n in good), k
    for k, states in learn_integer(c.plan, those, (1, 2), half):
        machine = Emulator(c.plan, len(states))
        machine.state[...] = states
        assert all(np.array_equal(machine[n], machine[n.removeprefix("good_")]) for n in good), k


@pytest.mark.parametrize("rows", ["0.5", "[1, 3, 4]"])
def test_float_learns_the_rows_that_the_device_learns(rows: str, tmp_path: Path, capsys: Capsys) -> None:
    """The network of the output folder is parted already: no comparison parts it again, or is left out."""
    _, out = compiled(tmp_path / "p", "bp", more=f"{STORE}[sparse]\nfc1 = {rows}\n")
    found = document(["personalise", str(out), *files(tmp_path), "--wearer-key", "who"], tmp_path)
    assert [row["rule"] for row in found["rows"]] == ["none", "bp", "last", "float_bp"]
    assert not found["left_out"]
    graph, plan = read_network(out, read_plan(out)), read_plan(out)
    asked = comparison(RuleSpec("bp", sparse=(("fc1", 0.5),)), "bp", ("fc1", "fc2"))
    given = {"input": people("learn")["input"], "label": people("learn")["label"]}
    assert compile_model(graph, asked, given).plan["fc1_weight"].shape == plan["fc1_weight"].shape
    capsys.readouterr()


def test_labels_that_some_samples_have() -> None:
    """All of them: as ever. Marks, or too few answers, are no question."""
    learn = {"ann": Part(np.array([0, 1, 2]), {"x": np.zeros((3, 12), np.float32)})}
    those = Wearers(learn, learn)
    plan = compile_model(perceptron(), RuleSpec("bp"), samples(50, OLD, 1)).plan
    for told, marks in (({"ann": np.ones(2, bool)}, ()), ({"ann": np.ones(3, bool)}, [(0.5, np.array([1]))])):
        with pytest.raises(ValueError, match="told is of every sample"):
            next(learn_integer(plan, those, (1,), marks, told))


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--wearer-key", "subject"], "has no array subject of wearers; there is"),
        (["--wearer-key", "input"], "has no array input of wearers"),
        (["--wearer-key", "label"], "has no array label of wearers"),
        (["--wearer-key", "half"], "half is float64 of shape [64]; give a name or a whole number"),
        (["--passes", "0"], "--passes: 0 passes; give 1 or more"),
        (["--flip", "101"], "--flip: 101 %; give 0 to 100"),
        (["--flip", "nan"], "--flip: nan %; give 0 to 100"),
        (["--classes", "a,b"], "--classes: 'a,b' is not 3 names"),
        (["--classes", "a,a,b"], "--classes: 'a,a,b' is not 3 names"),
        (["--wearer-key", "who", "--base", "none.npz"], "none.npz"),
    ],
)
def test_refusals(
    words: list[str], line: str, project: tuple[Case, Path], tmp_path: Path, capsys: Capsys
) -> None:
    data = []
    for kind in ("learn", "test"):
        given = people(kind)
        half = {"half": np.zeros(len(given["label"])) + 0.5} if "half" in words else {}
        data.append(str(save(tmp_path / f"{kind}.npz", given | half)))
    there = listing(tmp_path)
    results = ["--json", str(tmp_path / "j.json"), "--html", str(tmp_path / "p.html")]
    known = ["personalise", str(project[1]), "--learn", data[0], "--test", data[1]]
    assert line in refusal([*known, *words, *results], capsys)
    assert listing(tmp_path) == there


def test_who_has_nothing_to_learn_or_to_be_asked_is_named(
    project: tuple[Case, Path], tmp_path: Path, capsys: Capsys
) -> None:
    learn, test = people("learn"), people("test")
    some = {key: x[test["who"] != "cy"] for key, x in test.items()}
    more = {key: x[learn["who"] != "bob"] for key, x in learn.items()}
    for a, b, name, file in ((learn, some, "cy", "t.npz"), (more, test, "bob", "l.npz")):
        data = ["--learn", str(save(tmp_path / "l.npz", a)), "--test", str(save(tmp_path / "t.npz", b))]
        said = refusal(["personalise", str(project[1]), *data, "--wearer-key", "who"], capsys)
        assert f"{file}: has no samples of {name}; each wearer" in said


def test_who_tests_what_was_learned_is_told(
    project: tuple[Case, Path], tmp_path: Path, capsys: Capsys
) -> None:
    data = str(save(tmp_path / "d.npz", arrays()))
    for test, told in ((data, True), (str(save(tmp_path / "e.npz", arrays(seed=2))), False)):
        words = ["personalise", str(project[1]), "--learn", data, "--test", test, "--beside", "none"]
        assert main([*words, "--passes", "1"]) == 0
        assert ("is learned, and tested as well" in capsys.readouterr().err) == told


def test_what_learns_no_classes_is_refused(tmp_path: Path, capsys: Capsys) -> None:
    for i, (rule, more, line) in enumerate(
        (
            ("none", "", "was compiled for inference only; compile it with a rule that learns classes"),
            ("hebbian", '[loss]\nkind = "mse"\n', "learns numbers, not classes"),
        )
    ):
        made, out = compiled(tmp_path / str(i), rule, more=more)
        data = ["--learn", str(made.data), "--test", str(made.data)]
        assert line in refusal(["personalise", str(out), *data], capsys)
    made, out = compiled(tmp_path / "plain")
    data = ["--learn", str(made.data), "--test", str(made.data)]
    assert "needs [store]" in refusal(["personalise", str(out), *data, "--passes", "2"], capsys)


def test_a_plan_alone_is_not_enough(project: tuple[Case, Path], tmp_path: Path, capsys: Capsys) -> None:
    plan = tmp_path / "plan.json"
    plan.write_bytes((project[1] / "plan.json").read_bytes())
    said = refusal(["personalise", str(plan), *files(tmp_path)], capsys)
    assert "has no report.json; give the output folder" in said


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_numbers_that_are_none_are_told_and_nothing_is_written(
    wrong: float, project: tuple[Case, Path], tmp_path: Path, capsys: Capsys
) -> None:
    for side in (1, 3):
        words = files(tmp_path)
        with np.load(words[side]) as whole:
            given = dict(whole)
        given["input"][5, 2] = wrong
        words[side] = str(save(tmp_path / "wrong.npz", given))
        page = tmp_path / "p.html"
        said = refusal(
            ["personalise", str(project[1]), *words, "--wearer-key", "who", "--html", str(page)], capsys
        )
        assert "wrong.npz: input has NaN or infinite values" in said and not page.exists()
