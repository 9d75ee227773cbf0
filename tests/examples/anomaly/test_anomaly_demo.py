"""synapcc demo anomaly: a chip beside its emulator, and what the synthesised machine is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from synapcc.examples.anomaly import demo
from synapcc.examples.anomaly.machine import BANDS, FAULTS, windows
from synapcc.examples.ecg.anomaly import area
from synapcc.host.cli import main


def test_windows_are_functions_of_their_seed() -> None:
    one = windows(20, 3, 0.5, "bearing")
    assert one.shape == (20, BANDS) and np.array_equal(one, windows(20, 3, 0.5, "bearing"))
    assert not np.array_equal(one, windows(20, 4, 0.5, "bearing"))
    for other in (windows(20, 3, 0.5), windows(20, 3, 0.0, "bearing"), windows(20, 3, 0.5, "looseness")):
        assert np.abs(one - other).mean() > 0.01


def test_drift_is_a_number_for_each_window() -> None:
    """A drift of a window's own is that of all, where it is the same."""
    assert np.array_equal(windows(8, 1, np.full(8, 0.25)), windows(8, 1, 0.25))


def test_a_short_life_of_chip_and_emulator(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, n in (("FIRST", 60), ("LATER", 40), ("ASKED", 12)):
        monkeypatch.setattr(demo, name, n)
    found = tmp_path / "demo.json"
    assert main(["demo", "anomaly", "--device", "process", "--json", str(found)]) == 0
    lines = capsys.readouterr().out.splitlines()
    asked = 3 * 12 + 3
    assert f"{100 + 2 * asked} steps on process, 0 differing bytes" in lines[-1]
    assert "synthesised" in lines[0] and "synthesised" in lines[-1] and "no measurement" in lines[-1]
    auc = json.loads(found.read_text())["auc"]
    assert set(auc) == {"stopped before the drift", "went on, on the chip", "went on, float backpropagation"}
    assert all(0 <= v <= 1 for row in auc.values() for v in row.values()) and set(FAULTS) == set(
        auc["went on, on the chip"]
    )


@pytest.mark.parametrize("words", [["--device", "abacus"], ["--seed", "-1"], ["--board", "none"]])
def test_what_cannot_be_is_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "anomaly", *words]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_an_area_is_the_share_of_pairs_in_order() -> None:
    rng = np.random.default_rng(5)
    score, which = rng.integers(0, 9, 60).astype(float), rng.random(60) < 0.3
    pairs = [(a > b) + 0.5 * (a == b) for a in score[which] for b in score[~which]]
    assert area(score, which) == pytest.approx(np.mean(pairs))
    assert np.isnan(area(score, np.arange(60) < 4)) and np.isnan(area(score, np.ones(60, bool)))
