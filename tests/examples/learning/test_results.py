"""The table of results: runs that go on, that emitted C confirms, and a page that says what was found."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from starts import blobs

from synapcc.examples.images import data as images
from synapcc.examples.learning import heartbeats, page, plot, rows, train
from synapcc.examples.learning.__main__ import RESULTS, main
from synapcc.examples.learning.networks import convolutional, perceptron
from synapcc.examples.learning.page import Found
from synapcc.examples.learning.train import Run, Set
from synapcc.gen.compile import compile_model
from synapcc.gen.emit.templates import ROOT
from synapcc.gen.errors import SynapccError
from synapcc.gen.rules import rules
from synapcc.host.run.emulator import Emulator, classify
from synapcc.host.run.kept import Result, Results, key

RUN, OF = Run("blobs", perceptron((24, 24, 5)), "mnist_hebbian", 2, 1), "blobs | seed 1"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Set:
    """Data that are there, of which the C confirms few steps."""
    data = Set(blobs(700, 1), blobs(300, 2))
    monkeypatch.setattr(train, "load", lambda name, shape, centred, held_out=False: data)
    monkeypatch.setattr(train, "CONFIRMED", 50)
    monkeypatch.setattr(train, "unfinished", lambda: tmp_path / "states")
    return data


def quiet(_text: str) -> None:
    """What hears nothing."""


def test_a_run_goes_on_as_if_it_had_not_broken_off(
    small: Set, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train.measured(RUN, OF, Results(tmp_path / "a" / "r.json", train.is_result), quiet)
    assert (
        whole
        and whole.keys() == {"accuracy", "ram", "saturated", "of"}
        and whole["accuracy"] > 0.4
        and whole["ram"] > 24 * 24 * 2
    )

    def broken(text: str) -> None:
        raise KeyboardInterrupt(text)

    monkeypatch.setattr(train, "confirm", lambda made, data, state: None)  # once is enough
    file = tmp_path / "b" / "r.json"
    with pytest.raises(KeyboardInterrupt, match="pass 1 of 2"):
        train.measured(RUN, OF, Results(file, train.is_result), broken)
    assert len([*train.unfinished().iterdir()]) == 1
    assert train.measured(RUN, OF, Results(file, train.is_result), quiet, only_known=True) is None
    said: list[str] = []
    assert train.measured(RUN, OF, Results(file, train.is_result), said.append) == whole
    assert said == ["  pass 2 of 2"], "the first pass was kept"
    assert {p.name for p in file.parent.iterdir()} == {"r.json", ".r.json.lock"}
    assert not [*train.unfinished().iterdir()]
    assert train.measured(RUN, OF, Results(file, train.is_result), broken) == whole, "found before"


def test_what_the_plan_does_not_say_is_counted_anew(
    small: Set, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a run led to stands, whatever RAM firmware takes now; how far it came, until that is kept."""
    monkeypatch.setattr(train, "confirm", lambda made, data, state: None)
    results = Results(tmp_path / "r.json", train.is_result)
    with monkeypatch.context() as broken:
        broken.setattr("synapcc.host.run.kept.write_whole", lambda path, content: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train.measured(RUN, OF, results, quiet)
    assert len([*train.unfinished().iterdir()]) == 1
    again, said = Results(tmp_path / "r.json", train.is_result), list[str]()
    first = train.measured(RUN, OF, again, said.append)
    assert first and not said and not [*train.unfinished().iterdir()], (
        "all passes were kept, then their result"
    )
    monkeypatch.setattr(train, "least_ram", lambda plan, board: 17)
    assert train.measured(RUN, OF, again, quiet, only_known=True) == first | {"ram": 17}


def test_runs_that_keep_in_one_file_lose_nothing(tmp_path: Path) -> None:
    a, b = (Results(tmp_path / "r.json", train.is_result) for _ in range(2))
    found = [{"accuracy": 0.5, "saturated": n / 8, "of": f"row {n}"} for n in range(6)]
    for n, one in enumerate(found):
        (a, b)[n % 2].get(key("row", n), lambda one=one: one)  # type: ignore[misc]
    kept = Results(a.path, train.is_result).found
    assert kept == {key("row", n): one for n, one in enumerate(found)}


def test_a_result_takes_the_place_of_one_of_the_same_row(tmp_path: Path) -> None:
    """Also before the eyes of a run that had read the file before; nameless results stay."""
    a, b = (Results(tmp_path / "r.json", lambda found: True) for _ in range(2))
    a.get("old", lambda: {"of": "row", "accuracy": 0.5})
    a.get("nameless", lambda: {"accuracy": 0.5})
    b.get("new", lambda: {"of": "row", "accuracy": 0.6})
    a.get("other", lambda: {"accuracy": 0.7})
    assert {*Results(a.path, lambda found: True).found} == {*a.found} == {"nameless", "new", "other"}


def test_what_another_run_found_meanwhile_is_not_measured_again(tmp_path: Path) -> None:
    a, b = (Results(tmp_path / "r.json", lambda found: True) for _ in range(2))
    a.get("row", lambda: {"accuracy": 0.5})
    assert b.get("row", lambda: {"accuracy": 0.6}) == {"accuracy": 0.5}


@pytest.mark.parametrize("text", ["", '{"a": [1', "[1]", "\0\xff"])
def test_a_file_of_something_else_is_not_written_over(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.json"
    file.write_text(text, encoding="latin-1")
    assert main(["--parts", "dense", "--kept", str(file)]) == 2
    (line,) = [s for s in capsys.readouterr().err.splitlines() if "mine.json" in s]
    assert "is no file of results; delete it to measure again, or name another" in line
    assert file.read_text(encoding="latin-1") == text


def test_held_out_images_are_in_nothing_that_is_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    n = images.VALIDATION
    x, y = np.zeros((n + 100, 1, 28, 28), np.float32), np.arange(n + 100) % 10
    x[-n:] = 1.0
    monkeypatch.setattr(images, "find", lambda name: Path(name))
    monkeypatch.setattr(images, "read", lambda folder, part: {"train": (x, y)}[part])
    data = train.load("blobs of held-out", (784,), True, held_out=True)
    assert len(data.train["x"]) == 100 and not data.train["x"].any(), "less their own mean"
    assert np.all(data.test["x"] == 1.0) and len(data.test["x"]) == n


@pytest.mark.parametrize("row", [r for r in rows.ROWS if r.depth < 4], ids=lambda r: f"{r.network} {r.data}")
@pytest.mark.parametrize("images", [700, 55_000, train.IMAGES])
def test_rates_fall_after_the_same_share_of_any_run(row: rows.Row, images: int) -> None:
    run = row.runs[0]
    whole, part = run.spec().schedule, run.spec(images).schedule
    assert whole and part and part.shift == whole.shift
    for a, b in zip(whole.at, part.at, strict=True):
        assert abs(a / (train.IMAGES * run.passes) - b / (images * run.passes)) < 1 / images


def test_held_out_runs_make_no_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page_of = tmp_path / "RESULTS.md"
    for words, says in (
        ([str(page_of), "--held-out"], "--held-out: makes no page; leave out"),
        (
            ["--held-out", "--parts", "ecg"],
            "ecg: has no held-out images; there are dense, convolutional, depth",
        ),
    ):
        assert main([*words, "--kept", str(tmp_path / "r.json")]) == 2
        assert says in capsys.readouterr().err and not page_of.exists()
    text = page.held_out([Found(rows.ROWS[0], [result(0.5)])])
    assert "50.00 (1 of 3 seeds) | 12 |" in text and "5,000 training images" in text
    assert "97.7" not in text and "NITRO" not in text and "10,000" not in text
    assert rows.parts([], held_out=True) == ("dense", "convolutional", "depth")


def test_steps_are_counted_under_labels_that_teach() -> None:
    """A step whose label the network gives may be a step of nothing: `sdfa` skips rows without an error."""
    data = blobs(60, 3)
    plan = train.compiled(RUN, Set(data, data)).plan
    x = {"x": data["x"][:4]}
    sample, label = heartbeats.wrong(plan, x)
    answers = classify(plan, Emulator(plan).state[0], x)
    asked = {(int(i), int(c)) for i, c in zip(sample, label, strict=True)}
    assert asked == {(i, c) for i in range(4) for c in range(plan.classes) if c != answers[i]}


def test_costs_are_kept_under_the_text_that_is_emitted() -> None:
    files = {"a.c": b"x", "b.c": b"y"}
    one = heartbeats.files_digest(files)
    assert one == heartbeats.files_digest({"b.c": b"y", "a.c": b"x"})
    assert (
        one != heartbeats.files_digest({"a.c": b"x", "b.c": b"z"}) != heartbeats.files_digest({"a.c": b"x"})
    )
    cost = {"instructions": 3, "confirmed": 2}
    assert heartbeats.is_result(cost | {"of": "ECG | bp | cost"}) and not heartbeats.is_result(cost)


def test_another_state_than_that_of_emitted_c_is_told(small: Set) -> None:
    made = train.compiled(RUN, small)
    state = Emulator(made.plan).state[0].copy()
    data = {name: x[:5] for name, x in small.train.items()}
    with pytest.raises(SynapccError, match="another state than emitted C"):
        train.confirm(made, data, state)


@pytest.mark.parametrize("row", rows.ROWS, ids=lambda r: f"{r.network} {r.rule} {r.data}")
def test_every_row_is_a_rule_file_that_fits(row: rows.Row) -> None:
    """All falls lie within the run, all layers learn, and the seed is the run's."""
    for run in row.runs:
        spec = run.spec()
        assert spec.rule == row.rule and spec.seed == run.seed and spec.layers == "all" and spec.init
        assert spec.schedule and spec.schedule.at[-1] < 60_000 * run.passes
    assert [run.seed for run in row.runs] == list(rows.SEEDS)


def test_networks_start_from_their_rule_file() -> None:
    rng = np.random.default_rng(1)
    data = {"x": rng.uniform(0, 1, (40, 28, 28, 1)), "label": np.arange(40) % 10}
    made = compile_model(convolutional(2, 3), Run("", RUN.graph, "cnn_mnist", 1, 1).spec(), data)
    assert made.learned == ("conv1", "conv2", "fc")
    assert all(np.any(made.plan[f"{n}_weight"].array()) for n in made.learned)
    bounded = perceptron((4, 3, 2), bounded=True)
    assert next(n for n in bounded.nodes if n.op == "clip").attrs == {"lo": -1.0, "hi": 1.0}


def test_ecg_has_each_rule_that_has_a_file_once() -> None:
    names = heartbeats.names()
    assert names[:3] == ("none", "last", "bp") and len({*names}) == len(names)
    assert {*names, *heartbeats.waiting(), *heartbeats.NEVER} == {*rules(), "none"}
    assert len(names) + len(heartbeats.waiting()) + len(heartbeats.NEVER) == len(rules()) + 1
    for rule in names[1:]:
        spec = heartbeats.spec_of(rule)
        assert spec.rule == rule and spec.seed == heartbeats.SEED and spec.store


def result(accuracy: float) -> Result:
    return {"accuracy": accuracy, "ram": 12345, "saturated": 0.0, "of": "a row"}


def test_the_page_says_what_was_found_and_what_was_missed() -> None:
    first, deep = rows.ROWS[0], [r for r in rows.ROWS if r.part == "depth"]
    assert first.bar == 97.7
    found = [Found(first, [result(0.98), result(0.97), result(0.99)])]
    found += [Found(r, [result(0.9 - 0.01 * r.depth)]) for r in deep if r.rule != "bp"]
    beats = [
        heartbeats.Learned(
            "last",
            {"accuracy": 0.97, "macro_f1": 0.8, "base": 0.9, "ram": 1234, "instructions": 5678},
        )
    ]
    text = page.text(found, beats)
    assert "| 98.00 ± 1.00 | 97.7 | NITRO-D 97.36 | 12 | 12,345 |" in text
    assert "| fa | 88.00 (1 of 3 seeds) | 86.00" in text and "| bp |" not in text
    assert "| last | 97.00 | 80.00 | 90.00 | 1,234 | 5,678 |" in text
    assert "Convolutions" not in text, "it was not measured"
    assert "97.7: missed" in page.text([Found(first, [result(0.976)])], [])
    assert "ECG" not in page.text(found, [])


@pytest.mark.parametrize(("accuracy", "says"), [(0.895, "tied less 0.5 "), (0.894, "tied less 0.5: missed ")])
def test_untied_rows_are_held_against_tied_ones(accuracy: float, says: str) -> None:
    untied = next(r for r in rows.ROWS if r.data == "Fashion-MNIST" and r.below)
    tied = next(r for r in rows.ROWS if r.network + rows.UNTIED == untied.network and r.data == untied.data)
    text = page.text([Found(tied, [result(0.9)]), Found(untied, [result(accuracy)])], [])
    assert f"| {says}|" in text
    assert "tied less" not in page.text([Found(untied, [result(accuracy)])], []), "of tied, nothing is known"


def test_the_plot_stands_alone_and_has_a_curve_for_each_rule() -> None:
    deep = [r for r in rows.ROWS if r.part == "depth"]
    found = [Found(r, [result(0.9 - 0.01 * r.depth)]) for r in deep if (r.rule, r.depth) != ("bp", 8)]
    root = ET.fromstring(plot.depth(found))
    curves = [e for e in root if e.tag.endswith("path")]
    assert [e.attrib["class"] for e in curves] == ["c0", "c1", "c2"] and len(rows.DEEP_RULES) == 3
    assert [len(e.attrib["d"].split("L")) for e in curves] == [4, 4, 3]
    names = {"".join(e.itertext()) for e in root if e.tag.endswith("text")}
    assert {*rows.DEEP_RULES, "2", "8"} <= names
    assert "bp 88.00 at 2" in root[0].text  # type: ignore[operator]


def test_parts_that_there_are_not_are_told() -> None:
    with pytest.raises(SynapccError, match="there are dense, convolutional, depth, ecg"):
        rows.parts(["dence"])
    assert rows.parts([]) == rows.PARTS and rows.parts(["ecg"]) == ["ecg"]


# ---- the page in the documents ------------------------------------------------------------------------

PAGE = ROOT / "docs" / "RESULTS.md"


def cells(text: str, title: str) -> list[list[str]]:
    """The rows of a part's table, less its head."""
    if f"## {title}\n" not in text:
        return []
    lines = [
        line for line in text.split(f"## {title}\n")[1].split("\n## ")[0].splitlines() if line[:1] == "|"
    ]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def kept() -> dict[str, Result]:
    """What the file of results holds of each run and rule; all of it is one, and each is there once."""
    found = json.loads(RESULTS.read_bytes())
    assert all(train.is_result(r) or heartbeats.is_result(r) for r in found.values())
    named = {r["of"]: r for r in found.values()}
    assert len(named) == len(found)
    return named


def printed(named: dict[str, Result], text: str) -> str:
    """The page that the command prints of these; RAM, which only a compiler can say, is that of `text`."""
    table = {title: cells(text, title) for _, title, _ in page.PARTS}
    ram = {tuple(c[:3]): number(c[-1]) for title in ("Perceptrons", "Convolutions") for c in table[title]}
    found = []
    for row in rows.ROWS:
        takes = ram.get((row.network, row.data, row.rule), 0)
        of = [named[row.of(run)] | {"ram": takes} for run in row.runs if row.of(run) in named]
        found += [Found(row, of)] if of else []
    ram = {(c[0],): number(c[4]) for c in cells(text, "ECG") if c[4]}
    beats = []
    for rule in heartbeats.names():
        parts = [named.get(heartbeats.of(rule, what), {}) for what in ("learned", "cost")]
        if parts[0] and (parts[1] or rule == "none"):
            beats.append(heartbeats.Learned(rule, parts[0] | parts[1] | {"ram": ram.get((rule,), 0)}))
    return page.text(found, beats)


def number(cell: str) -> int:
    return int(cell.replace(",", ""))


def test_the_page_in_the_documents_is_that_of_the_file_of_results() -> None:
    """All of it: prose, rows, their order, each figure but RAM, and which bars were missed."""
    text = PAGE.read_text(encoding="utf-8")
    assert text == printed(kept(), text)


def test_the_file_of_results_is_of_every_rule_and_of_nothing_that_is_no_more() -> None:
    """Each seed of each row, what each rule learned of ECG, and what it costs."""
    named, runs = kept().keys(), {row.of(run) for row in rows.ROWS for run in row.runs}
    beats = {heartbeats.of(rule, what) for rule in heartbeats.names() for what in ("learned", "cost")}
    beats.remove(heartbeats.of("none", "cost"))
    assert named == beats | runs


@pytest.mark.parametrize("of", ["784-100-50-10 | MNIST | dfa | seed 1", "ECG | hebbian | learned"])
def test_a_page_of_other_figures_is_told(of: str) -> None:
    text, named = PAGE.read_text(encoding="utf-8"), kept()
    less = {name: r for name, r in named.items() if name != of}
    more = named | {of: named[of] | {"accuracy": named[of]["accuracy"] + 0.001}}
    assert printed(less, text) != text != printed(more, text)


@pytest.mark.long
def test_the_page_is_of_what_the_compiler_makes_today(capsys: pytest.CaptureFixture[str]) -> None:
    """Every row is compiled: its Plan is the one that was trained, and takes the RAM that the page says.
    Needs MNIST, Fashion-MNIST and MIT-BIH."""
    assert main(["--measured"]) == 0
    assert capsys.readouterr().out == PAGE.read_text(encoding="utf-8")


def test_the_plot_in_the_documents_is_that_of_the_file_of_results() -> None:
    named = kept()
    deep = [row for row in rows.ROWS if row.depth]
    found = [Found(row, [named[row.of(run)] for run in row.runs if row.of(run) in named]) for row in deep]
    drawn = plot.depth([f for f in found if f.results])
    assert (ROOT / "docs" / page.PLOT).read_text(encoding="utf-8") == drawn
