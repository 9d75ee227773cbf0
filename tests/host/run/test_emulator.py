"""The emulator as researchers use it: its repr, batches, states in files, test sets, mistakes."""

from __future__ import annotations

import copy
import json
import pickle
import re
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from projects import Case, arrays, compiled
from random_nets import accepted

import synapcc.host
from synapcc.gen.errors import SynapccError
from synapcc.gen.ir.plan import NoSuchTensor
from synapcc.host import Emulator, Inference, classify, load_samples
from synapcc.host.cli import main
from synapcc.host.run.evaluation import Evaluation
from synapcc.host.run.samples import Samples

HOWTO = Path(__file__).parents[3] / "docs" / "HOWTO.md"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, Path]:
    return compiled(tmp_path_factory.mktemp("project"), more="[store]\nsamples = 8\n")


def taught(out: Path, devices: int, steps: int = 5) -> Emulator:
    """Devices that learned different samples each."""
    machine, a = Emulator(out, devices), arrays()
    for t in range(steps):
        at = (np.arange(devices) * 7 + t) % 60
        machine.learn({"input": a["input"][at]}, a["label"][at])
    return machine


def test_what_the_package_offers_is_there_and_documented() -> None:
    for name in synapcc.host.__all__:
        assert getattr(synapcc.host, name).__doc__, name
    assert {"Emulator", "Inference", "Evaluation", "classify", "load_samples", "connect"} <= set(
        synapcc.host.__all__
    )


def test_it_says_what_it_is(project: tuple[Case, Path]) -> None:
    machine = Emulator(project[1], 3)
    said = repr(machine)
    for part in ("net", "3 devices", machine.plan.digest.hex()[:12], "input [12]", "3 classes", "rehearse"):
        assert part in said
    assert "fc1_weight int16 [8, 12] Q" in said and f"{machine.plan.state_bytes} bytes" in said
    assert "clipped" not in said and "one state for all" in repr(Emulator(project[1], 2, read_only=True))
    machine.infer({"input": arrays()["input"][:3]})
    assert re.search(r"clipped +\S+ % of input", repr(machine)) and len(repr(machine).splitlines()) == 7


def test_one_sample_a_device_or_many_through_one(project: tuple[Case, Path]) -> None:
    a, fleet = arrays(), taught(project[1], 4)
    before = fleet.state.copy(), fleet.arena.copy()
    for device in range(4):
        many = fleet.infer_many({"input": a["input"]}, device)
        assert many.scores.shape == (60, 3) and many.winner.dtype == np.int32
        assert np.array_equal(many.winner, classify(fleet.plan, fleet.state[device], {"input": a["input"]}))
        assert np.array_equal(many.winner, many.scores.argmax(axis=1))
        top = np.sort(many.scores.astype(np.int32), axis=1)
        assert np.array_equal(many.margin, top[:, -1] - top[:, -2])
    assert np.array_equal(before[0], fleet.state) and np.array_equal(before[1], fleet.arena)
    each = fleet.infer({"input": a["input"][:4]})
    assert isinstance(each, Inference)
    for device in range(4):
        one = fleet.infer_many({"input": a["input"][device : device + 1]}, device)
        assert all(np.array_equal(x[device : device + 1], y) for x, y in zip(each, one, strict=True))
    winner, margin, scores = each
    assert winner is each.winner and margin is each.margin and scores is each.scores


@pytest.mark.parametrize("seed", range(6))
def test_a_batch_is_what_its_samples_are_alone(seed: int) -> None:
    """On random networks, in blocks that do not divide the number of samples."""
    compiled_, _ = next(iter(accepted(4000 + 50 * seed, 1)))
    plan, rng = compiled_.plan, np.random.default_rng(seed)
    x = {i.name: rng.integers(-128, 128, (7, i.size)).astype(np.int8) for i in plan.interface}
    machine = Emulator(plan)
    alone = []
    for i in range(7):  # each from where a chip begins, where layers remember
        machine.state[:] = Emulator(plan).state
        alone.append(machine.infer({n: v[i : i + 1] for n, v in x.items()}))
    machine.state[:] = Emulator(plan).state
    for many in (machine.infer_many(x), Emulator(plan, 3).infer_many(x, 2)):
        for name in Inference._fields:
            want = np.concatenate([getattr(one, name) for one in alone])
            assert np.array_equal(getattr(many, name), want)
    assert np.array_equal(classify(plan, machine.state[0], x, block=3), machine.infer_many(x).winner)


def test_a_state_goes_into_a_file_and_back(project: tuple[Case, Path], tmp_path: Path) -> None:
    c, out = project
    fleet, file = taught(out, 3), tmp_path / "s.npz"
    fleet.save(file, 1)
    other = Emulator(out, 3)
    compiled_state = other.state.copy()
    other.load(file, active=[True, False, True])
    assert np.array_equal(other.state[[0, 2]], fleet.state[[1, 1]])
    assert np.array_equal(other.state[1], compiled_state[1])
    other.load(str(file))
    assert np.array_equal(other.state, fleet.state[[1, 1, 1]])
    shared = Emulator(out, 5, read_only=True)
    shared.load(file)
    shared.save(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == file.read_bytes()
    # the same file as of emulate and push
    words = ["emulate", str(out), "--data", str(c.data), "--learn", "-o", str(tmp_path / "r.npz")]
    assert main([*words, "--state-out", str(tmp_path / "e.npz")]) == 0
    other.load(tmp_path / "e.npz")
    assert np.array_equal(other["fc1_weight"][2], np.load(tmp_path / "r.npz")["state_fc1_weight"])
    assert main(["push", str(out), str(file), "--device", "process"]) == 0
    state = other.state.copy()
    broken = tmp_path / "broken.npz"
    broken.write_bytes(file.read_bytes()[:-9])
    for bad in (c.data, tmp_path / "none.npz", tmp_path, broken, c.rule):
        with pytest.raises(SynapccError, match=r"give a file that synapcc pull, .* wrote"):
            other.load(bad)
    with pytest.raises(SynapccError, match="share one state"):
        shared.load(file, active=np.arange(5) == 0)
    assert np.array_equal(other.state, state)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_is_a_machine_of_its_own(again: Callable[[Emulator], Emulator], tmp_path: Path) -> None:
    out = compiled(tmp_path, more="[store]\nsamples = 8\n")[1]
    first = taught(out, 2)
    kept, x = first.state.copy(), {"input": arrays()["input"][:2]}
    other = again(first)
    assert np.array_equal(other.state, kept)
    for name in other:
        if other.plan[name].space == "state":
            assert np.shares_memory(other[name], other.state), name
    other.learn(x, 1)
    assert np.array_equal(first.state, kept)
    first.learn(x, 1)
    assert np.array_equal(first.state, other.state) and not np.array_equal(first.state, kept)
    other.save(tmp_path / "s.npz", 1)
    first.reset()
    first.load(tmp_path / "s.npz")
    assert np.array_equal(first.state[1], other.state[1])


def test_evaluate_counts_what_infer_says(project: tuple[Case, Path], tmp_path: Path) -> None:
    c, out = project
    a, fleet = arrays(), taught(out, 2, 40)
    for device in range(2):
        winner = fleet.infer_many({"input": a["input"]}, device).winner
        found = fleet.evaluate(c.data, device)
        assert found.accuracy == np.mean(winner == a["label"]) and found.samples == 60
        for given in (a, dict(np.load(c.data)), load_samples(fleet.plan, c.data, labels=True), str(c.data)):
            assert np.array_equal(fleet.evaluate(given, device).confusion, found.confusion)
        for i in range(3):
            for j in range(3):
                assert found.confusion[i, j] == np.sum((a["label"] == i) & (winner == j))
    assert main(["emulate", str(out), "--data", str(c.data), "-o", str(tmp_path / "r.npz")]) == 0
    fresh = Emulator(out).evaluate(c.data)
    assert np.mean(np.load(tmp_path / "r.npz")["winner"] == a["label"]) == fresh.accuracy
    unlabelled = Samples(load_samples(fleet.plan, c.data, labels=True).inputs, None)
    for bad in (unlabelled, {"input": a["input"]}):
        with pytest.raises(SynapccError, match="label"):
            fleet.evaluate(bad)


def test_figures_of_an_evaluation() -> None:
    """Against counting by hand: class 2 never comes, class 3 is never said, class 4 is neither."""
    labels = np.array([0, 0, 0, 0, 1, 1, 3])
    winners = np.array([0, 0, 1, 2, 1, 0, 1])
    e = Evaluation(labels, winners, 5, {"x": 0.25})
    assert e.samples == 7 and e.accuracy == 3 / 7
    nan = float("nan")
    np.testing.assert_array_equal(e.recall, [2 / 4, 1 / 2, nan, 0, nan])
    np.testing.assert_array_equal(e.precision, [2 / 3, 1 / 3, 0, nan, nan])
    np.testing.assert_array_equal(e.f1, [4 / 7, 2 / 5, 0, 0, nan])
    assert e.macro_f1 == np.mean([4 / 7, 2 / 5, 0, 0])
    told = json.loads(json.dumps(e.to_dict(), allow_nan=False))
    assert told["recall"][2] is None and told["confusion"] == e.confusion.tolist()
    assert "accuracy 0.4286" in repr(e) and "clipped 25 % of x" in repr(e) and len(repr(e).splitlines()) == 8


@pytest.mark.parametrize("classes", [5, 30, 2**16])
def test_an_evaluation_takes_memory_for_classes_and_not_for_their_pairs(classes: int) -> None:
    rng = np.random.default_rng(classes)
    some = rng.integers(0, classes, 12)
    labels, winners = rng.choice(some, (2, 400))
    tracemalloc.start()
    e = Evaluation(labels.astype(np.uint16), winners.astype(np.int32), classes)
    told, text = e.to_dict(), repr(e)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (most < 2**20 + 256 * classes and str(classes) in text) or classes == 5
    for c in {*some.tolist(), 0}:
        given, called = labels == c, winners == c
        both = int(np.sum(given & called))
        assert told["recall"][c] == (both / given.sum() if given.any() else None)
        assert told["precision"][c] == (both / called.sum() if called.any() else None)
    assert told["accuracy"] == np.mean(labels == winners)


def test_a_name_that_is_not_there_is_answered_with_those_that_are(project: tuple[Case, Path]) -> None:
    machine = Emulator(project[1])
    rng = np.random.default_rng(0)
    for t in machine.plan.tensors:
        assert t.name in machine and machine[t.name].shape[1:] == t.shape
        letters = list(t.name) * 2
        del letters[len(t.name) + int(rng.integers(0, len(t.name))) :]
        for typo in (t.name + "x", t.name[:-1] or "?", t.name.upper(), "".join(letters)):
            if typo in machine:
                continue
            with pytest.raises(KeyError) as raised:
                machine[typo]
            said = str(raised.value)
            assert isinstance(raised.value, NoSuchTensor) and "\n" not in said and said.startswith("net: ")
            assert all(s.name in said for s in machine.plan.tensors if s.space != "const")
    with pytest.raises(KeyError, match="did you mean fc1_weight"):
        machine["fc1_wieght"]
    for odd in (0, None, ("fc1_weight",)):
        assert odd not in machine
        with pytest.raises(KeyError):
            machine[odd]  # type: ignore[index]
    assert list(machine) == [t.name for t in machine.plan.tensors]


def test_mistakes_change_nothing(project: tuple[Case, Path]) -> None:
    machine, x = taught(project[1], 3), arrays()["input"][:3]
    before = machine.state.copy(), machine.arena.copy()
    nan = float("nan")
    mistakes = [
        lambda: machine.learn({"input": x}, [0, 1]),
        lambda: machine.learn({"input": x}, [0, 1, 1.5]),
        lambda: machine.learn({"input": x}, [0, nan, 1]),
        lambda: machine.learn({"input": x}, ["a", "b", "c"]),
        lambda: machine.learn({"input": x}, [[0], [1], [2]]),
        lambda: machine.learn({"input": x}, [0, 1, 7]),
        lambda: machine.learn({"input": x}, [0, 1, 2], active=[0, 2]),
        lambda: machine.learn({"input": x}, [0, 1, 2], active=[0, 1, 2]),
        lambda: machine.learn({"input": x[:1]}, 0),
        lambda: machine.infer({"input": arrays()["input"]}),
        lambda: machine.infer_many({"input": x}, 3),
        lambda: machine.infer_many({"input": x}, -1),
        lambda: machine.infer_many({"input": x[:0]}),
        lambda: machine.run("infre"),
        lambda: classify(machine.plan, machine.state, {"input": x}),
        lambda: Emulator(project[1], 0),
    ]
    for number, mistake in enumerate(mistakes):
        with pytest.raises(SynapccError) as raised:
            mistake()
        assert "\n" not in str(raised.value) and raised.value.hint, number
    assert np.array_equal(before[0], machine.state) and np.array_equal(before[1], machine.arena)
    machine.learn({"input": x}, [0, 99, 2], active=[True, False, True])  # who takes no part needs no label


def test_the_snippet_of_the_handbook_runs(
    project: tuple[Case, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """docs/HOWTO.md, Use it from Python: as it stands there, on files that are called as there."""
    c, out = project
    for source, name in (
        (c.model, "net.onnx"),
        (c.rule, "rule.toml"),
        (c.data, "cal.npz"),
        (c.data, "test.npz"),
    ):
        shutil.copy(source, tmp_path / name)
    shutil.copytree(out, tmp_path / "out", ignore=shutil.ignore_patterns(".build", ".pio"))
    monkeypatch.chdir(tmp_path)
    section = HOWTO.read_text(encoding="utf-8").split("## Use it from Python")[1].split("\n## ")[0]
    snippets = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert len(snippets) == 3
    space: dict[str, Any] = {}
    for snippet in snippets:
        exec(compile(snippet.replace('"unicorn"', '"process"'), str(HOWTO), "exec"), space)
    fleet = space["fleet"]
    assert isinstance(fleet, Emulator) and fleet.devices == 100 and fleet["step"].sum() > 0
    many, alone = space["many"], Emulator(out, engine="numpy")
    x, y, a = space["x"], space["y"], 930 + np.arange(5 + 930 % 20)
    for sample in a % len(x):
        alone.learn({"input": x[[sample]]}, y[[sample]])
    assert many["step"].shape == (1000, 1) and np.array_equal(many.state[930], alone.state[0])
