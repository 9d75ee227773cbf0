"""The table of results: runs that go on, that emitted C confirms, and a page that says what was found."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from starts import blobs

from synapcc.examples.ecg import evaluate
from synapcc.examples.images import data as images
from synapcc.examples.learning import heartbeats, page, plot, rows, train
from synapcc.examples.learning.__main__ import main
from synapcc.examples.learning.networks import convolutional, perceptron
from synapcc.examples.learning.page import Found
from synapcc.examples.learning.train import Run, Set
from synapcc.gen.compile import compile_model
from synapcc.gen.emit.templates import ROOT
from synapcc.gen.errors import SynapccError
from synapcc.gen.rules import rules
from synapcc.host.run.emulator import Emulator, classify
from synapcc.host.run.kept import Result, Results, key

RUN = Run("blobs", perceptron((24, 24, 5)), "mnist_hebbian", 2, 1)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Set:
    """Data that are there, of which the C confirms few steps."""
    data = Set(blobs(700, 1), blobs(300, 2))
    monkeypatch.setattr(train, "load", lambda name, shape, centred, held_out=False: data)
    monkeypatch.setattr(train, "CONFIRMED", 50)
    return data


def quiet(_text: str) -> None:
    """What hears nothing."""


def test_a_run_goes_on_as_if_it_had_not_broken_off(
    small: Set, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train.measured(RUN, Results(tmp_path / "a" / "r.json", train.is_result), quiet)
    assert (
        whole
        and whole.keys() == {"accuracy", "ram", "saturated"}
        and whole["accuracy"] > 0.4
        and whole["ram"] > 24 * 24 * 2
    )

    def broken(text: str) -> None:
        raise KeyboardInterrupt(text)

    monkeypatch.setattr(train, "confirm", lambda made, data, state: None)  # once is enough
    file = tmp_path / "b" / "r.json"
    with pytest.raises(KeyboardInterrupt, match="pass 1 of 2"):
        train.measured(RUN, Results(file, train.is_result), broken)
    assert train.measured(RUN, Results(file, train.is_result), quiet, only_known=True) is None
    said: list[str] = []
    assert train.measured(RUN, Results(file, train.is_result), said.append) == whole
    assert said == ["  pass 2 of 2"], "the first pass was kept"
    assert {p.name for p in file.parent.iterdir()} == {"r.json", ".r.json.lock"}
    assert train.measured(RUN, Results(file, train.is_result), broken) == whole, "found before"


def test_what_the_plan_does_not_say_is_counted_anew(
    small: Set, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a run led to stands, whatever RAM firmware takes now; how far it came, until that is kept."""
    monkeypatch.setattr(train, "confirm", lambda made, data, state: None)
    results = Results(tmp_path / "r.json", train.is_result)
    with monkeypatch.context() as broken:
        broken.setattr("synapcc.host.run.kept.write_whole", lambda path, content: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train.measured(RUN, results, quiet)
    assert len([*tmp_path.glob("*.npz")]) == 1
    again, said = Results(tmp_path / "r.json", train.is_result), list[str]()
    first = train.measured(RUN, again, said.append)
    assert first and not said and not [*tmp_path.glob("*.npz")], "all passes were kept, then their result"
    monkeypatch.setattr(train, "least_ram", lambda plan, board: 17)
    assert train.measured(RUN, again, quiet, only_known=True) == first | {"ram": 17}


def test_runs_that_keep_in_one_file_lose_nothing(tmp_path: Path) -> None:
    a, b = (Results(tmp_path / "r.json", train.is_result) for _ in range(2))
    found = [{"accuracy": 0.5, "saturated": n / 8} for n in range(6)]
    for n, one in enumerate(found):
        (a, b)[n % 2].get(key("row", n), lambda one=one: one)  # type: ignore[misc]
    kept = Results(a.path, train.is_result).found
    assert kept == {key("row", n): one for n, one in enumerate(found)}


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


@pytest.mark.parametrize("row", rows.ROWS[:7], ids=lambda r: f"{r.network} {r.data}")
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
    assert heartbeats.is_result({"instructions": 3, "confirmed": 2}) and not heartbeats.is_result({"ram": 1})


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
    assert {"dfa", "drtp", "fa", "hebbian", "sdfa", "sign"} <= {*names} <= {*rules(), "none"}
    for rule in names[1:]:
        spec = heartbeats.spec_of(rule)
        assert spec.rule == rule and spec.seed == heartbeats.SEED and spec.store
    assert heartbeats.spec_of("sign").rate == evaluate.rule_spec("bp", heartbeats.MODEL).rate


def result(accuracy: float) -> Result:
    return {"accuracy": accuracy, "ram": 12345, "saturated": 0.0}


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


def test_the_plot_stands_alone_and_has_a_curve_for_each_rule() -> None:
    deep = [r for r in rows.ROWS if r.part == "depth"]
    found = [Found(r, [result(0.9 - 0.01 * r.depth)]) for r in deep if (r.rule, r.depth) != ("bp", 8)]
    root = ET.fromstring(plot.depth(found))
    curves = [e for e in root if e.tag.endswith("path")]
    assert [e.attrib["class"] for e in curves] == list(rows.DEEP_RULES)
    assert [len(e.attrib["d"].split("L")) for e in curves] == [4, 4, 3]
    names = {"".join(e.itertext()) for e in root if e.tag.endswith("text")}
    assert {*rows.DEEP_RULES, "2", "8"} <= names
    assert "bp 88.00 at 2" in root[0].text  # type: ignore[operator]


def test_parts_that_there_are_not_are_told() -> None:
    with pytest.raises(SynapccError, match="there are dense, convolutional, depth, ecg"):
        rows.parts(["dence"])
    assert rows.parts([]) == rows.PARTS and rows.parts(["ecg"]) == ["ecg"]


# ---- the page in the documents ------------------------------------------------------------------------

FIGURE = re.compile(r"(?<=\| )(?:\d[\d,]*(?:\.\d\d)?(?: ± \d+\.\d\d)?)(?=[ (]*(?:\d of 3 seeds\))? ?\|)")
CELL = re.compile(r"(\d+\.\d\d)( ± \d+\.\d\d)?(?: \((\d) of 3 seeds\))?")


def cells(text: str, title: str) -> list[list[str]]:
    """The rows of a part's table, less its head."""
    if f"## {title}\n" not in text:
        return []
    lines = [
        line for line in text.split(f"## {title}\n")[1].split("\n## ")[0].splitlines() if line[:1] == "|"
    ]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def seeds(cell: str) -> int:
    """Of how many seeds a cell is; it must be one that the command prints."""
    form = CELL.fullmatch(cell)
    assert form, cell
    n = int(form[3] or len(rows.SEEDS))
    assert bool(form[2]) == (n > 1), cell
    return n


def reprinted(text: str) -> str:
    """What the command prints of the rows that a page has, with figures that are made up."""
    found, table = [], {part: cells(text, title) for part, title, _ in page.PARTS}
    for row in rows.ROWS:
        if row.depth:
            of = [c[1 + rows.DEPTHS.index(row.depth)] for c in table["depth"] if c[0] == row.rule]
        else:
            of = [c[3] for c in table[row.part] if c[:3] == [row.network, row.data, row.rule]]
        found += [Found(row, [result(0.99)] * seeds(cell)) for cell in of if cell]
    beats = [
        heartbeats.Learned("none" if c[0] == "before learning" else c[0], BEAT) for c in cells(text, "ECG")
    ]
    return page.text(found, beats)


BEAT = {"accuracy": 0.9, "macro_f1": 0.9, "base": 0.9, "ram": 1234, "instructions": 5678}


def masked(text: str) -> str:
    return FIGURE.sub("N", re.sub(r"(\d\.\d): missed", r"\1", text))


def test_the_page_in_the_documents_is_one_that_the_command_prints() -> None:
    """All of it: prose, rows, their order, the form of each figure, and which bars were missed."""
    text = (ROOT / "docs" / "RESULTS.md").read_text(encoding="utf-8")
    assert masked(text) == masked(reprinted(text))
    for part in ("Perceptrons", "Convolutions"):
        for *_, cell, asked, _published, _passes, _ram in cells(text, part):
            bar = asked.removesuffix(": missed")
            assert not bar or ("missed" in asked) == (float(cell.split()[0]) < float(bar)), (cell, asked)
    assert [c[0] for c in cells(text, "ECG")] in ([], ["before learning", *heartbeats.names()[1:]])


def test_a_page_that_the_command_did_not_print_is_told() -> None:
    found = [Found(rows.ROWS[0], [result(0.98), result(0.97), result(0.99)])]
    text = page.text(found, [heartbeats.Learned("last", BEAT)])
    assert masked(text) == masked(reprinted(text))
    for old, new in (
        ("98.00", "98.0"),
        (" ± 1.00", ""),
        ("12,345", "12345.6"),
        ("1,234", "some"),
        ("ReLU", "Relu"),
    ):
        assert old in text
        wrong = text.replace(old, new)
        try:
            same = masked(wrong) == masked(reprinted(wrong))
        except AssertionError:
            same = False
        assert not same, (old, new)


def test_the_plot_in_the_documents_is_that_of_the_page() -> None:
    text = (ROOT / "docs" / "RESULTS.md").read_text(encoding="utf-8")
    told = ET.parse(ROOT / "docs" / page.PLOT).getroot()[0].text
    assert told
    for line in cells(text, "Depth"):
        means = [f"{c.split()[0]} at {d}" for d, c in zip(rows.DEPTHS, line[1:], strict=True) if c]
        assert f"{line[0]} {', '.join(means)}" in told
