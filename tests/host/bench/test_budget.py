"""What a front end takes of a battery."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from projects import case, refusal

from synapcc.gen.errors import SynapccError
from synapcc.gen.ir.plan import Plan
from synapcc.host.bench.budget import Cell, budget, text
from synapcc.host.cli import main
from synapcc.host.run.plans import read_plan

FRONT = """
[frontend]
rate = 100
push = 10
[[frontend.block]]
name = "input"
kind = "window"
length = 120
hop = 500
"""
REPORT: dict[str, Any] = {
    "board": "one",
    "core": "cortex-m4",
    "clock_hz": 1_000_000,
    "power": {"microamp_per_mhz": 100.0, "source": "a test", "volt": 3.0},
    "total": {
        "push": {"instructions": 900, "cycles": 1000, "frames": 10},
        "infer": {"instructions": 4500, "cycles": 5000},
        "learn": {"instructions": 8000, "cycles": 10_000},
    },
}


Of = tuple[Plan, dict[str, Any]]


@pytest.fixture(scope="module")
def of(project: Path) -> Of:
    """The Plan and its front end."""
    return read_plan(project), json.loads((project / "report.json").read_text())["rule"]["frontend"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("front")
    c = case(folder, rule="none", more=FRONT)
    c.rule.write_text('rule = "none"\n' + FRONT)
    assert main(c.words(folder / "out", "--board", "microbit")) == 0
    return folder / "out"


def test_the_arithmetic_of_a_battery(of: Of) -> None:
    """Ten pushes of 1,000 cycles a second and two verdicts of 5,000 are 2 % of a clock of 1 MHz."""
    found = budget(*of, REPORT, Cell(100.0, 1.0, labels=36.0))
    assert found["cycles"] == pytest.approx({"front end": 10_000, "verdicts": 10_000, "learning": 100})
    assert found["awake"] == pytest.approx(0.0201) and found["clocked"]
    mean = 0.0201 * 100 + 0.9799 * 1
    assert found["mean_microamp"] == pytest.approx(mean)
    assert found["days"] == pytest.approx(100_000 / mean / 24)
    said = text(found)
    assert "90 instructions a sample at 100 Hz" in said and "asleep 97.99 %" in said


def test_what_cannot_keep_up_is_told(of: Of) -> None:
    slow = {**REPORT, "clock_hz": 10_000}
    found = budget(*of, slow, Cell(100.0, 1.0))
    assert found["awake"] > 1 and "CANNOT KEEP UP" in text(found)


@pytest.mark.parametrize(
    ("change", "cell", "says"),
    [
        ({"power": None}, Cell(1.0, 1.0), r"board one has no \[power\]"),
        ({}, Cell(0.0, 1.0), "--cell: 0 mAh"),
        ({}, Cell(1.0, -1.0), "--sleep: -1"),
        ({}, Cell(1.0, 1.0, events=1e9), "--events"),
        ({"total": {"push": {"cycles": None}}}, Cell(1.0, 1.0), "nothing here tells"),
    ],
)
def test_what_has_no_budget_is_one_line(of: Of, change: dict[str, Any], cell: Cell, says: str) -> None:
    with pytest.raises(SynapccError, match=says):
        budget(*of, {**REPORT, **change}, cell)


def test_a_front_end_that_learns_nothing_is_counted(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "bench",
        str(project),
        "--device",
        "unicorn",
        "--cell",
        "225",
        "--json",
        str(tmp_path / "b.json"),
    ]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "as compiled" in said and "days of 225 mAh" in said
    assert json.loads((tmp_path / "b.json").read_text())["battery"]["days"] > 1
    assert "--sleep: goes with --cell" in refusal([*words[:4], "--sleep", "3"], capsys)
    (project / "report.json").rename(project / "away.json")
    assert "no report.json beside the Plan" in refusal(words[:6], capsys)
    (project / "away.json").rename(project / "report.json")
