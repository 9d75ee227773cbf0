"""The bar says how long the rest takes by what was done behind the first step."""

from __future__ import annotations

import time

import pytest

from synapcc.host.terminal import progress


def test_a_first_step_that_compiles_is_no_measure_of_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was: "1/2252, 7 s, 16542 s left"."""
    monkeypatch.setenv("COLUMNS", "80")  # of a terminal that the log is not: it cut the line
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with progress.Progress("learning", 100) as bar:
        for after in (10.0, *[0.2] * 99):
            now[0] += after
            bar.step()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].rstrip().endswith("1/100  10 s")
    assert lines[1].rstrip().endswith("25/100  15 s, 15 s left") and lines[-1].rstrip().endswith("0 s left")
