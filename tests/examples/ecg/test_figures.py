"""The figures of README and docs/ECG.md that take minutes: protocols A and B in the emulator, five seeds."""

import statistics

import pytest

from synapcc.examples.ecg import evaluate, records

pytestmark = pytest.mark.long


def run(name: str, model: str, rules: list[str]) -> list[evaluate.Row]:
    try:
        records.find(download=False)
    except records.DataError as error:
        pytest.skip(f"no MIT-BIH data: {error}")
    tasks = evaluate.plan_tasks(name, {model: rules}, ["int16"], [10], [False], 5)
    return evaluate.evaluate(name, tasks, [model], 2, lambda work: None)


@pytest.fixture(scope="module")
def rows() -> list[evaluate.Row]:
    return run("A", evaluate.DEFAULT_MODEL, [evaluate.FLOAT_BP, "hebbian"])


@pytest.fixture(scope="module")
def rows_b() -> list[evaluate.Row]:
    return run("B", "cnn", ["bp", "hebbian"])


@pytest.fixture(scope="module")
def rows_cnn() -> list[evaluate.Row]:
    return run("A", "cnn", ["hebbian"])


def accuracy(rows: list[evaluate.Row], rule: str) -> float:
    return statistics.fmean(r.summary.gross.accuracy for r in rows if r.rule == rule)


def test_hebbian_reaches_the_accuracy(rows: list[evaluate.Row]) -> None:
    assert len([r for r in rows if r.rule == "hebbian"]) == 5
    assert accuracy(rows, "hebbian") >= 0.976


def test_hebbian_keeps_up_with_float_backpropagation(rows: list[evaluate.Row]) -> None:
    assert accuracy(rows, "hebbian") >= accuracy(rows, evaluate.FLOAT_BP) - 0.005


def test_every_test_beat_counts(rows: list[evaluate.Row]) -> None:
    assert all(r.summary.matrix.sum(axis=1).tolist() == [36918, 1608, 2686, 288] for r in rows)


@pytest.mark.parametrize("rule", ["bp", "hebbian"])
def test_protocol_b_finds_the_beats(rows_b: list[evaluate.Row], rule: str) -> None:
    found = [r.summary.gross.f1 for r in rows_b if r.rule == rule]
    assert len(found) == 5
    assert statistics.fmean(f[2] for f in found) >= 0.925
    assert statistics.fmean(f[1] for f in found) >= 0.65


def test_cnn_of_protocol_a_reaches_the_published_accuracy(rows_cnn: list[evaluate.Row]) -> None:
    assert accuracy(rows_cnn, "hebbian") >= 0.978


def test_protocol_b_counts_every_test_beat(rows_b: list[evaluate.Row]) -> None:
    assert all(r.summary.matrix.sum(axis=1).tolist() == [41858, 2340, 4808, 612, 8] for r in rows_b)
