"""The watch example on raw samples: whose windows are whose, labels that come late, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from watch import recordings

from synapcc.examples.har import data, evaluate, streamed
from synapcc.examples.har.data import Recording
from synapcc.gen.frontends import block_options
from synapcc.gen.rules import options
from synapcc.gen.spec import load_spec
from synapcc.host.cli import main

Capsys = pytest.CaptureFixture[str]


@pytest.fixture
def synthetic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "load", lambda: recordings())
    monkeypatch.setattr(data, "find", lambda download=True: Path("synthetic"))


@pytest.mark.parametrize("length", [99, 100, 149, 150, 1001, 1200, 1249])
def test_both_parts_share_no_sample_and_host_and_chip_count_alike(length: int) -> None:
    rng = np.random.default_rng(length)
    one = Recording("1", 2, rng.normal(0, 1, (length, 6)).astype(np.float32))
    learned, tested = streamed.parts(one)
    last = streamed.ends(one)
    assert len(last) == max(0, length // data.FS - 1) and not np.any(learned & tested)
    assert all(e <= round(streamed.SHARE * length) for e in last[learned])
    assert all(e - 2 * data.FS >= round(streamed.SHARE * length) for e in last[tested])
    if len(last):
        found = streamed.heard([one])
        assert len(found) == len(last) and found.inputs["octaves"].shape[1] == 30
        quiet = Recording("1", 2, np.zeros((length, 6), np.float32))
        assert np.allclose(streamed.heard([quiet]).inputs["octaves"], (6 - 14) / 4)  # the floor


def test_what_lies_beyond_the_converter_is_a_rail() -> None:
    wild = Recording("1", 0, np.array([[9, -9, 0.5, 40, -40, 1]], np.float32))
    assert streamed.samples(wild).tolist() == [[32767, -32768, 2048, 32767, -32768, 940]]


def test_late_labels_find_their_windows_and_nothing_else_changes(synthetic: None) -> None:
    """Labels that come later teach the same windows in the same order, so the weights are the same."""
    spec = load_spec(streamed.RULE, options(), block_options())
    mine = data.of(data.load(), "4")[:2]
    plan = evaluate.stream_plan(data.load(), "4", spec)
    life, other = evaluate.Life(plan, mine), evaluate.Life(plan, mine)
    before = life.asked()
    assert len(before) == sum(streamed.parts(r)[1].sum() for r in mine)
    assert np.array_equal(life.asked(), before)  # being asked teaches nothing
    given = sum(int(streamed.parts(r)[0].sum()) for r in mine)
    assert life.lesson(6) == other.lesson(0) == given > 0
    for t in plan.space("state"):
        if t.use != "stream":
            assert np.array_equal(life.machine[t.name], other.machine[t.name]), t.name
    fresh = evaluate.Life(plan, mine).machine
    assert any(
        np.any(fresh[t.name] != life.machine[t.name]) for t in plan.space("state") if t.role == "weight"
    )


def test_eval(synthetic: None, tmp_path: Path, capsys: Capsys) -> None:
    target = tmp_path / "har.json"
    words = ["eval", "har", "--stream", "--wearer", "2", "--passes", "2", "--json", str(target)]
    assert main([*words, "--html", str(tmp_path / "har.html")]) == 0
    said, told = capsys.readouterr().out, json.loads(target.read_text())
    assert told["labels"]["given"] == told["labels"]["found"] == 7 * 5
    assert "35 of 35 labels, 3 s late, found their window" in said and (tmp_path / "har.html").exists()
    for way, found in told["ways"].items():
        assert way in said and [row["passes"] for row in found["rows"]] == [0, 1, 2]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--late", "8"], "--late: 8 s, and 8 windows, one a second, wait for a label; give 0 to 7"),
        (["--late", "-1"], "--late: -1 s, and 8 windows"),
        (["--passes", "0"], "--passes: 0 passes; give 1 or more"),
        (["--wearer", "11"], '--wearer: "11"; wearers: 1, 2'),
    ],
)
def test_eval_refuses(words: list[str], line: str, synthetic: None, capsys: Capsys) -> None:
    assert main(["eval", "har", "--stream", *words]) == 2
    assert line in capsys.readouterr().err
