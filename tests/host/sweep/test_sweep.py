"""synapcc sweep: folds choose, who is tested chooses nothing, and where it runs changes no byte."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from projects import arrays, case, listing, refusal, save

from synapcc.gen.compile import compile_model
from synapcc.gen.errors import SynapccError, TermError
from synapcc.gen.rules import bp
from synapcc.gen.spec import parse_spec
from synapcc.host.cli import main
from synapcc.host.run.emulator import Emulator
from synapcc.host.sweep import outcome, run
from synapcc.host.sweep.plan import FINAL, read_sweep

Capsys = pytest.CaptureFixture[str]
WEARERS = ("ann", "bob", "cy", "dee", "eve")
HEAD = """
model = "mlp.onnx"
calibrate = "data.npz"
learn = "learn.npz"
test = "test.npz"
wearer_key = "who"
passes = [1, 3]
seeds = [1, 2]
"""
FOLDS = '[folds]\na = ["ann", "bob"]\nb = ["cy"]\n'
TESTED = '[final]\nwearers = ["dee", "eve"]\n'
SHARED = '[rule]\nweights = "int16"\nstore = { samples = 16 }\n'
GRID = SHARED + '[grid]\nrule = ["last", "dfa"]\nrate = ["2^-4", "2^-9"]\n'


def people(kind: str) -> dict[str, np.ndarray]:
    parts = []
    for seed, name in enumerate(WEARERS):
        part = arrays(n=12 + seed, seed=20 * seed + (kind == "test"))
        part["input"] += np.float32(0.4) * np.random.default_rng(seed).normal(0, 1, 12).astype(np.float32)
        parts.append(part | {"who": np.array([name] * len(part["label"]))})
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = case(tmp_path / "s")
    made.model.rename(made.folder / "mlp.onnx")
    for kind in ("learn", "test"):
        save(made.folder / f"{kind}.npz", people(kind))
    return made.folder


def write(folder: Path, text: str) -> Path:
    file = folder / "rates.toml"
    file.write_text(text)
    return file


def document(words: list[str], folder: Path) -> dict[str, Any]:
    assert main(["sweep", *words, "--json", str(folder / "found.json")]) == 0
    loaded: dict[str, Any] = json.loads((folder / "found.json").read_text())
    return loaded


def by_hand(
    folder: Path, rule: str, rate: str, seed: int, name: str, passes: int
) -> tuple[float, str, float]:
    """(accuracy, digest, that on the base's own samples): a device of one wearer, sample by sample."""
    text = f'rule = "{rule}"\nrate = "{rate}"\nweights = "int16"\nseed = {seed}\n[store]\nsamples = 16\n'
    spec = parse_spec(text, "rule", {rule: ()})
    plan = compile_model(folder / "mlp.onnx", spec, folder / "data.npz").plan
    machine, learn, test = Emulator(plan, engine="numpy"), people("learn"), people("test")
    for i in np.flatnonzero(learn["who"] == name):
        machine.learn({"input": learn["input"][i : i + 1]}, learn["label"][i : i + 1])
    for _ in range(passes - 1):
        machine.run("rehearse")
    mine = test["who"] == name
    said = machine.infer_many({"input": test["input"][mine]}).winner
    with np.load(folder / "data.npz") as own:
        kept = float(np.mean(machine.infer_many({"input": own["input"]}).winner == own["label"]))
    return float(np.mean(said == test["label"][mine])), plan.digest.hex(), kept


def test_folds_choose_and_others_are_tested(folder: Path, capsys: Capsys) -> None:
    file, page = write(folder, HEAD + FOLDS + TESTED + GRID), folder / "p.html"
    found = document([str(file), "--jobs", "1", "--html", str(page)], folder)
    said = capsys.readouterr().out
    runs = found["runs"]
    assert (
        len([r for r in runs if r["fold"] in ("a", "b")]) == 4 * 2 * 2 * 3
    )  # settings, seeds, folds, places
    for r in runs:
        rule, rate = (word.split("=")[1] for word in r["setting"].split())
        if r["seed"] == 2 and r["passes"] == 3:
            for name, share in r["wearers"].items():
                accuracy, digest, _ = by_hand(folder, rule, rate, 2, name, 3)
                assert (share, r["digest"]) == (pytest.approx(accuracy), digest)
    for rule in ("last", "dfa"):
        mine = [s for s in found["settings"] if s["rule"] == rule]
        best = max(mine, key=lambda s: s["score"])
        assert [s["setting"] for s in mine if s["chosen"]] == [best["setting"]]
        (test,) = (t for t in found["tests"] if t["rule"] == rule)
        assert test["settings"] == [best["setting"]] and sorted(test["wearers"]) == ["dee", "eve"]
        final = [r for r in runs if r["fold"] == FINAL and r["rule"] == rule and r["passes"] == 3]
        assert {r["setting"] for r in final} == {best["setting"]}, "nothing else is tested"
        sizes = [np.sum(people("test")["who"] == name) for name in ("dee", "eve")]
        each = [np.average([r["wearers"]["dee"], r["wearers"]["eve"]], weights=sizes) for r in final]
        assert test["after"]["3"]["accuracy"] == pytest.approx(each)
        rate = best["setting"].split("rate=")[1]
        own = [np.mean([by_hand(folder, rule, rate, s, n, 3)[2] for n in ("dee", "eve")]) for s in (1, 2)]
        assert test["after"]["3"]["base"] == pytest.approx(own)
    for told in (
        "4 settings by accuracy, 2 folds, 2 seeds",
        "2 wearers, those who are tested",
        "rule=dfa rate=2^-4",
    ):
        assert told in said
    assert "Tested" in page.read_text() and "eve" in page.read_text()


def test_each_fold_is_tested_under_what_the_others_choose(folder: Path) -> None:
    """One fold's wearers are fooled, so that it would choose otherwise: its own test does not ask it."""
    text = HEAD.replace("[1, 2]", "[1]") + '[folds]\na = ["ann"]\nb = ["bob"]\nc = ["cy"]\n' + GRID
    found = document([str(write(folder, text)), "--jobs", "1"], folder)
    score = {
        (r["setting"], r["fold"]): (r["accuracy"] * np.sum(people("test")["who"] == who))
        for r in found["runs"]
        for who in r["wearers"]
        if r["passes"] == 3
    }
    for test in found["tests"]:
        if test["rule"] == outcome.BEST:
            continue
        mine = [s["setting"] for s in found["settings"] if s["rule"] == test["rule"]]
        want = {}
        for fold, who in zip("abc", WEARERS, strict=False):
            others = [f for f in "abc" if f != fold]
            best = max(mine, key=lambda s: round(sum(score[s, f] for f in others)))
            (want[who],) = (
                r["wearers"][who]
                for r in found["runs"]
                if (r["setting"], r["fold"], r["passes"]) == (best, fold, 3)
            )
        assert {name: after for name, (_, after) in test["wearers"].items()} == pytest.approx(want)


def test_a_sweep_that_broke_off_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys
) -> None:
    file, ran = write(folder, HEAD + FOLDS + TESTED + GRID), []
    whole = document([str(file), "--jobs", "1", "--kept", str(folder / "other.json")], folder)
    unit = run.run_unit

    def counted(*given: Any) -> dict[str, Any]:
        ran.append(1)
        if len(ran) == 7:
            raise KeyboardInterrupt
        return unit(*given)

    monkeypatch.setattr(run, "run_unit", counted)
    there = listing(folder) | {"rates.results.json", ".rates.results.json.lock"}
    assert main(["sweep", str(file), "--jobs", "1", "--html", str(folder / "p.html")]) == 130
    assert listing(folder) == there, "nothing but what was found is kept"
    assert document([str(file), "--jobs", "1"], folder) == whole
    assert len(ran) == 7 + 16 - 6 + 4
    assert document([str(file), "--jobs", "1"], folder) == whole and len(ran) == 21, "nothing runs twice"
    file.write_text(file.read_text().replace("2^-4", "2^-5"))
    document([str(file), "--jobs", "1"], folder)
    assert len(ran) > 21, "another setting is another run"


def test_processes_give_the_same_bytes(folder: Path) -> None:
    file = write(folder, HEAD + FOLDS + TESTED + GRID)
    one = document([str(file), "--jobs", "1"], folder)
    assert document([str(file), "--jobs", "2", "--kept", str(folder / "k.json")], folder) == one
    kept = [json.loads((folder / name).read_text()) for name in ("rates.results.json", "k.json")]
    assert kept[0] == kept[1]


class Cluster:
    """A Dask scheduler with two workers, one of which can be killed."""

    def __init__(self) -> None:
        from dask.distributed import Client, LocalCluster

        self.cluster = LocalCluster(2, threads_per_worker=1, processes=True, dashboard_address=None)
        self.client = Client(self.cluster)
        self.address = self.cluster.scheduler_address

    def kill_one(self) -> None:
        os.kill(next(iter(self.client.run(os.getpid).values())), signal.SIGKILL)

    def close(self) -> None:
        self.client.close()
        self.cluster.close()


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    made = Cluster()
    yield made
    made.close()


def killed_in_the_middle(
    cluster: Cluster, kept: Path, count: int, words: list[str], folder: Path
) -> dict[str, Any]:
    """A sweep of which a worker is killed as soon as `count` of its runs are kept."""
    killed: list[int] = []

    def watch() -> None:
        while not killed:
            if kept.is_file() and len(found := json.loads(kept.read_text() or "{}")) >= count:
                cluster.kill_one()
                killed.append(len(found))
            time.sleep(0.05)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    result = document([*words, "--kept", str(kept), "--engine", f"dask:{cluster.address}"], folder)
    thread.join(5)
    assert killed, "the sweep was over before a worker was killed"
    return result


def test_a_worker_dies_and_all_rows_come(folder: Path, cluster: Cluster) -> None:
    file = write(folder, HEAD + FOLDS + TESTED + GRID)
    found = killed_in_the_middle(cluster, folder / "k.json", 2, [str(file)], folder)
    assert document([str(file), "--jobs", "1"], folder) == found


@pytest.mark.long
def test_two_hundred_runs_on_two_workers_one_killed(folder: Path, cluster: Cluster) -> None:
    grid = GRID.replace('["last", "dfa"]', '["last", "dfa", "fa", "bp", "hebbian"]')
    grid = grid.replace('["2^-4", "2^-9"]', '["2^-4", "2^-5", "2^-6", "2^-7", "2^-9"]')
    folds = FOLDS + 'c = ["dee"]\nd = ["eve"]\n'
    file = write(folder, HEAD + folds + grid)  # 25 settings, 2 seeds, 4 folds
    found = killed_in_the_middle(cluster, folder / "k.json", 100, [str(file)], folder)
    assert len(found["runs"]) == 200 * 3
    assert document([str(file), "--jobs", "1"], folder) == found


def test_a_search_draws_the_same_settings_again(folder: Path) -> None:
    grid = GRID.replace('["2^-4", "2^-9"]', '["2^-3", "2^-4", "2^-5", "2^-6", "2^-7", "2^-9"]')
    file = write(
        folder, HEAD + FOLDS + grid + '"feedback.gain" = [1.0, 0.5]\n[search]\ntrials = 9\nseed = 4\n'
    )
    found = document([str(file), "--jobs", "1"], folder)
    drawn = [s["setting"] for s in found["settings"]]
    assert 0 < len(drawn) <= 9 and len(set(drawn)) == len(drawn)
    assert document([str(file), "--jobs", "1", "--kept", str(folder / "k.json")], folder) == found
    assert document([str(file), "--jobs", "2"], folder) == found


def test_what_cannot_be_compiled_is_a_row_of_its_own(folder: Path, capsys: Capsys) -> None:
    """A layer that is not there; more than one pass without a store."""
    text = HEAD.replace("[1, 3]", "[1]").replace("[1, 2]", "[1]") + FOLDS + TESTED
    file = write(folder, text + '[grid]\nrule = ["last"]\nlayers = [["fc2"], ["nothing"]]\n')
    found = document([str(file), "--jobs", "1"], folder)
    refused = [s for s in found["settings"] if "refused" in s]
    assert {s["setting"] for s in refused} == {s["setting"] for s in found["settings"]} - {
        "rule=last layers=['fc2']"
    }
    assert [t["rule"] for t in found["tests"]] == ["last"]
    assert "refused: " in capsys.readouterr().out


def test_a_rule_that_learns_nothing_is_told_before_the_first_run(folder: Path, capsys: Capsys) -> None:
    file = write(
        folder, HEAD + FOLDS + TESTED + '[grid]\nrule = ["dfa", "none"]\n"loss.clip" = [0.25, 0.5]\n'
    )
    said = refusal(["sweep", str(file), "--jobs", "1"], capsys)
    assert 'rule "none" learns nothing; leave it out: the table has "before learning"' in said


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("model =", "modle =", 'there is no key "modle"'),
        ('"mlp.onnx"', "3", "model is 3; give a text"),
        ('model = "mlp.onnx"', "", "model is missing; give a text"),
        ('"mlp.onnx"', '"{fold}.onnx"', "model has a {fold}, and [final] is none; give model in [final] too"),
        ('"mlp.onnx"', '"other.onnx"', "other.onnx: "),
        ('"who"', '"whose"', "learn.npz: has no array whose of wearers"),
        ("[1, 3]", "[0]", "passes is"),
        ("[1, 3]", "2", "passes is 2; give a list of whole numbers"),
        ("[1, 2]", "[true]", "seeds is"),
        ('["cy"]', '["cy", "ann"]', "ann is named twice; a wearer belongs to one fold"),
        ('["cy"]', '["dee"]', "dee is named twice"),
        ('["cy"]', '["cy", "zoe"]', "names wearers without samples to learn and to be asked: zoe"),
        ('["cy"]', '"cy"', "folds.b is "),
        ("a = [", "final = [", "folds.final is no name of a fold"),
        (FOLDS, "", "folds is missing; write [folds]"),
        (TESTED + GRID, TESTED, "grid is missing; write [grid]"),
        ('["2^-4", "2^-9"]', '"2^-4"', "grid.rate is "),
        ('["2^-4", "2^-9"]', '["2^-4", "often"]', "rate is"),
        ('rule = ["last", "dfa"]', 'rule = ["dfaa"]', '"dfaa"'),
        ("rate = [", '"weights.x" = [1]\nrate = [', "goes into weights, no table"),
        ("rate = [", "seed = [1]\nrate = [", "grid.seed is no setting; seeds = [1, 2, 3] at the top"),
        ("store =", "seed = 1\nstore =", "rule.seed is no setting"),
        (TESTED, "", None),
        (FOLDS + TESTED, '[folds]\na = ["ann", "bob"]\n', "nobody is tested; give [final] wearers, or two"),
        (GRID, GRID + "[search]\n", "search.trials is missing"),
        ("[grid]", "[grid", "is no TOML"),
    ],
)  # fmt: skip
def test_a_sweep_that_is_wrong(old: str, new: str, line: str | None, folder: Path, capsys: Capsys) -> None:
    text = HEAD + FOLDS + TESTED + GRID
    assert old in text
    file = write(folder, text.replace(old, new, 1))
    there = listing(folder)
    if line is None:
        assert tuple(read_sweep(file).folds) == ("a", "b")
        return
    assert line in refusal(["sweep", str(file), "--jobs", "1", "--html", str(folder / "p.html")], capsys)
    assert listing(folder) == there


def test_engines_and_jobs_that_are_none(folder: Path, capsys: Capsys) -> None:
    file = str(write(folder, HEAD + FOLDS + TESTED + GRID))
    assert '--engine: "ray"; take processes, or dask:ADDRESS' in refusal(
        ["sweep", file, "--engine", "ray"], capsys
    )
    assert "--jobs: 0 processes" in refusal(["sweep", file, "--jobs", "0"], capsys)
    said = refusal(["sweep", file, "--engine", "dask:nowhere"], capsys)
    assert "no scheduler answers at nowhere" in said or "nowhere" in said


def test_an_error_comes_whole_from_another_process() -> None:
    for error in (SynapccError("a", "b", "c", "d"), TermError("a", "b", "c", 1, 2)):
        got = pickle.loads(pickle.dumps(error))
        assert (type(got), str(got), vars(got)) == (type(error), str(error), vars(error))


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_labels_that_are_none_are_told_in_a_line(jobs: str, folder: Path, capsys: Capsys) -> None:
    given = people("learn")
    given["label"][-1] = 7
    save(folder / "learn.npz", given)
    file = str(write(folder, HEAD + FOLDS + TESTED + GRID))
    assert "label[15] is 7; the network has classes 0 to 2" in refusal(
        ["sweep", file, "--jobs", jobs], capsys
    )


def test_a_setting_that_the_tested_cannot_have_is_told(folder: Path, capsys: Capsys) -> None:
    """The network of those who are tested lacks a layer that the folds' setting names."""
    import onnx

    other = onnx.load(folder / "mlp.onnx")
    for node in other.graph.node:
        node.name = node.name.replace("fc1", "first")
        node.output[:] = [o.replace("fc1", "first") for o in node.output]
        node.input[:] = [i.replace("fc1", "first") for i in node.input]
    for kept in other.graph.initializer:
        kept.name = kept.name.replace("fc1", "first")
    onnx.save(other, folder / "other.onnx")
    grid = SHARED + '[grid]\nrule = ["dfa", "last"]\nlayers = [["fc1", "fc2"]]\n'
    file = write(folder, HEAD + FOLDS + TESTED + 'model = "other.onnx"\n' + grid)
    found = document([str(file), "--jobs", "1"], folder)
    assert not found["tests"] and sorted(found["untested"]) == ["best of all rules", "dfa", "last"]
    assert "not tested: dfa: " in capsys.readouterr().out


def test_a_rule_from_outside_goes_along_and_its_text_counts(folder: Path) -> None:
    own = folder / "mine.py"
    source = (Path(bp.__file__)).read_text()
    own.write_text(
        source.replace("from ..", "from synapcc.gen.")
        .replace("from . ", "from synapcc.gen.rules ")
        .replace("from .", "from synapcc.gen.rules.")
        .replace('name = "bp"', 'name = "mine"')
    )
    grid = SHARED + '[grid]\nrule = ["mine"]\nrate = ["2^-4", "2^-9"]\n'
    words = [
        "-m",
        "synapcc.host",
        "sweep",
        str(write(folder, HEAD + FOLDS + TESTED + grid)),
        "--rule-path",
        str(own),
    ]
    ran = []
    for jobs in ("2", "1"):
        kept = folder / f"{jobs}.json"
        done = subprocess.run(
            [sys.executable, *words, "--jobs", jobs, "--kept", str(kept)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        ran.append(json.loads(kept.read_text()))
    assert ran[0] == ran[1]
    own.write_text(own.read_text() + "\n# another text\n")
    subprocess.run(
        [sys.executable, *words, "--jobs", "1", "--kept", str(kept)], check=True, capture_output=True
    )
    assert len(json.loads(kept.read_text())) == 2 * len(ran[0])


def test_what_a_network_is_counts_wherever_its_file_keeps_it(folder: Path) -> None:
    import onnx

    model = onnx.load(folder / "mlp.onnx")
    onnx.save(model, folder / "mlp.onnx", save_as_external_data=True, location="mlp.data", size_threshold=0)
    file = str(write(folder, HEAD + FOLDS + TESTED + GRID))
    first = document([file, "--jobs", "1"], folder)
    data = bytearray((folder / "mlp.data").read_bytes())
    data[3::4] = bytes(b ^ 0x80 for b in data[3::4])  # the sign of each float32
    (folder / "mlp.data").write_bytes(data)
    again = document([file, "--jobs", "1"], folder)
    assert {r["digest"] for r in first["runs"]}.isdisjoint(r["digest"] for r in again["runs"])


@pytest.mark.parametrize("option", ["--json", "--html", "--kept"])
@pytest.mark.parametrize("name", ["mlp.onnx", "data.npz", "learn.npz", "test.npz", "rates.toml"])
def test_no_result_replaces_what_the_sweep_reads(
    option: str, name: str, folder: Path, capsys: Capsys
) -> None:
    file = write(folder, HEAD + FOLDS + TESTED + GRID)
    before = (folder / name).read_bytes()
    assert "is read by the" in refusal(
        ["sweep", str(file), "--jobs", "1", option, str(folder / name)], capsys
    )
    assert (folder / name).read_bytes() == before


def test_a_file_of_something_else_is_not_written_over(folder: Path, capsys: Capsys) -> None:
    file, own = write(folder, HEAD + FOLDS + TESTED + GRID), folder / "own.json"
    own.write_text('{"my": "precious"}')
    assert "holds no result of this kind" in refusal(["sweep", str(file), "--kept", str(own)], capsys)
    assert own.read_text() == '{"my": "precious"}'
    kept = folder / "rates.results.json"
    assert "replace it" in refusal(["sweep", str(file), "--html", str(kept)], capsys)


def test_data_in_other_units_are_told(folder: Path, capsys: Capsys) -> None:
    given = people("learn")
    given["input"] *= 100
    save(folder / "learn.npz", given)
    assert main(["sweep", str(write(folder, HEAD + FOLDS + TESTED + GRID)), "--jobs", "1"]) == 0
    assert "warning: samples of " in capsys.readouterr().out


def test_where_every_setting_is_refused_that_is_an_error(folder: Path, capsys: Capsys) -> None:
    text = HEAD + FOLDS + TESTED + '[grid]\nrule = ["last", "dfa"]\n'
    said = refusal(["sweep", str(write(folder, text)), "--jobs", "1"], capsys)
    assert "every setting was refused: more than one pass needs [store]" in said
    save(folder / "data.npz", arrays(size=12) | {"label": np.full(60, 5)})
    said = refusal(["sweep", str(write(folder, HEAD + FOLDS + TESTED + GRID)), "--jobs", "1"], capsys)
    assert "data.npz: label[0] is 5" in said


def test_the_worst_wearer_is_the_least_change() -> None:
    matrix = {n: np.array(m) for n, m in {"a": [[8, 2], [0, 0]], "b": [[5, 5], [0, 0]]}.items()}
    later = {n: np.array(m) for n, m in {"a": [[7, 3], [0, 0]], "b": [[9, 1], [0, 0]]}.items()}
    of = outcome.Tested("r", (), {0: (outcome.summarise(matrix),), 1: (outcome.summarise(later),)}, {})
    assert of.worst(1) == pytest.approx(-0.1)
