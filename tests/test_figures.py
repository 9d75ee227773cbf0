"""The figures of the README that take minutes: protocol A in the emulator, five seeds."""

import statistics

import pytest

from synapcc.examples.ecg import evaluate, records

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def rows() -> list[evaluate.Row]:
    try:
        records.find(download=False)
    except records.DataError as error:
        pytest.skip(f"no MIT-BIH data: {error}")
    names = [evaluate.FLOAT_BP, "hebbian"]
    tasks = evaluate.plan_tasks([evaluate.DEFAULT_MODEL], names, ["int16"], [10], [False], 5)
    return evaluate.evaluate(tasks, [evaluate.DEFAULT_MODEL], 2, lambda work: None)


def accuracy(rows: list[evaluate.Row], rule: str) -> float:
    return statistics.fmean(r.summary.gross.accuracy for r in rows if r.rule == rule)


def test_hebbian_reaches_the_accuracy(rows: list[evaluate.Row]) -> None:
    assert len([r for r in rows if r.rule == "hebbian"]) == 5
    assert accuracy(rows, "hebbian") >= 0.976


def test_hebbian_keeps_up_with_float_backpropagation(rows: list[evaluate.Row]) -> None:
    assert accuracy(rows, "hebbian") >= accuracy(rows, evaluate.FLOAT_BP) - 0.005


def test_every_test_beat_counts(rows: list[evaluate.Row]) -> None:
    assert all(r.summary.matrix.sum(axis=1).tolist() == [36918, 1608, 2686, 288] for r in rows)
