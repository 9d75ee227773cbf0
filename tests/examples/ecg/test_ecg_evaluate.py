"""The processes of an evaluation: what one refuses ends it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from projects import refusal

from synapcc.examples.ecg import evaluate
from synapcc.gen.errors import SynapccError


def test_what_is_refused_does_not_wait_for_all_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Any] = []

    def work(task: Any) -> Any:
        begun.append(task)
        time.sleep(0.02)
        if task == 0:
            raise SynapccError("task 0", "cannot be done", "leave it out")
        return task

    monkeypatch.setattr(evaluate, "_work", work)
    monkeypatch.setattr(evaluate, "ProcessPoolExecutor", ThreadPoolExecutor)
    tasks: Any = range(200)
    results: Iterator[Any] = evaluate._results(tasks, 2)
    with pytest.raises(SynapccError, match="cannot be done"):
        list(results)
    assert 0 in begun and len(begun) < len(tasks)


def test_two_results_of_eval_are_not_one_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["eval", "ecg", "--json", "rows", "--html", "./rows"]
    assert "rows: two results would be one file" in refusal(words, capsys)
    assert not list(tmp_path.iterdir())
