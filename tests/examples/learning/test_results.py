"""The table of results: runs that go on, that emitted C confirms, and a page that says what was found."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from starts import blobs

from synapcc.examples.ecg import evaluate
from synapcc.examples.learning import heartbeats, page, plot, rows, train
from synapcc.examples.learning.networks import convolutional, perceptron
from synapcc.examples.learning.page import Found
from synapcc.examples.learning.train import Run, Set
from synapcc.examples.results import Result, Results
from synapcc.gen.compile import compile_model
from synapcc.gen.emit.templates import ROOT
from synapcc.gen.errors import SynapccError
from synapcc.gen.rules import rules
from synapcc.host.run.emulator import Emulator

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
    assert whole and train.is_result(whole) and whole["accuracy"] > 0.4 and whole["ram"] > 24 * 24 * 2

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
    assert [p.name for p in file.parent.iterdir()] == ["r.json"]
    assert train.measured(RUN, Results(file, train.is_result), broken) == whole, "found before"


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
        spec = run.spec
        assert spec.rule == row.rule and spec.seed == run.seed and spec.layers == "all" and spec.init
        assert spec.schedule and spec.schedule.at[-1] < 60_000 * run.passes
    assert [run.seed for run in row.runs] == list(rows.SEEDS)


def test_networks_start_from_their_rule_file() -> None:
    rng = np.random.default_rng(1)
    data = {"x": rng.uniform(0, 1, (40, 28, 28, 1)), "label": np.arange(40) % 10}
    made = compile_model(convolutional(2, 3), Run("", RUN.graph, "cnn_mnist", 1, 1).spec, data)
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


def test_the_page_in_the_documents_is_this_one() -> None:
    text = (ROOT / "docs" / "RESULTS.md").read_text(encoding="utf-8")
    assert text.startswith(page.HEAD)
    there = [told for _, title, told in page.PARTS if f"## {title}" in text]
    assert there and all(told in text for told in there)
    assert rows.ROWS[0].network in text
