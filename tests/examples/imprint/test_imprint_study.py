"""The study of imprinted classes: a class that the base never saw, a run that goes on, and the page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from synapcc.examples.imprint import study, tasks
from synapcc.examples.imprint.tasks import Data, Task
from synapcc.gen.errors import SynapccError

CLASSES, SIZE = 4, 12


def data() -> Data:
    """Noisy patterns, of which class 2 is left out."""
    pattern = np.random.default_rng(1).normal(0, 1, (CLASSES, SIZE))

    def part(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        y = np.arange(n) % CLASSES
        return (pattern[y] + rng.normal(0, 0.4, (n, SIZE))).astype(np.float32), y

    return Data(*part(400, 2), *part(80, 3), *part(120, 4))


def test_a_class_that_was_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "TRAINED", 2_000)
    monkeypatch.setattr(study, "COUNTS", (1, 5))
    monkeypatch.setattr(study, "DRAWS", 2)
    found = study.measure(data(), 2)
    assert found.keys() == {
        f"{when}_{of}"
        for when in ("before", "imprinted_1", "learned_1", "imprinted_5", "learned_5")
        for of in ("new", "old")
    }
    assert found["before_new"] == 0.0 and found["before_old"] > 0.9
    assert found["imprinted_5_new"] > 0.6 and found["learned_5_new"] > 0.6 and found["learned_5_old"] > 0.8


def some(share: float) -> study.Shares:
    keys = ["before", *(f"{what}_{k}" for k in study.COUNTS for what in ("imprinted", "learned"))]
    return {f"{key}_{of}": share for key in keys for of in ("new", "old")}


def test_a_run_goes_on(tmp_path: Path) -> None:
    task, file = Task("patterns", ("a", "b"), ("b",), data), tmp_path / "in" / "shares.json"
    shares = some(0.25)
    assert study.Kept(file).get(task, "b", lambda: shares) == shares

    def never() -> study.Shares:
        raise AssertionError("it was measured before")

    assert study.Kept(file).get(task, "b", never) == shares
    with pytest.raises(AssertionError, match="measured before"):
        study.Kept(file).get(task, "a", never)
    page = study.text({"patterns": {"b": shares}})
    assert "| b | 25.0 / 25.0 |" in page and page.count("**mean**") == 1
    whole = json.loads(file.read_text())
    for broken in ({key: {} for key in whole}, dict.fromkeys(whole, 3)):
        file.write_text(json.dumps(broken))
        with pytest.raises(AssertionError, match="measured before"):
            study.Kept(file).get(task, "b", never)


def test_another_compiler_measures_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task, file = Task("patterns", ("a", "b"), ("b",), data), tmp_path / "shares.json"
    for share in (0.25, 0.5):  # the second time it is kept
        assert study.Kept(file).get(task, "b", lambda share=share: some(share)) == some(0.25)
    monkeypatch.setattr(study, "sources", lambda: "another")
    assert study.Kept(file).get(task, "b", lambda: some(0.75)) == some(0.75)


def test_tasks_by_name() -> None:
    assert [t.name for t in tasks.named([])] == ["MNIST", "Fashion-MNIST", "ECG"]
    assert [t.name for t in tasks.named(["ECG"])] == ["ECG"]
    with pytest.raises(SynapccError, match="CIFAR: is none of the study's data; there are MNIST"):
        tasks.named(["CIFAR"])
