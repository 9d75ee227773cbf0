"""eval ecg --anomaly, on synthetic patients."""

from __future__ import annotations

import numpy as np
import pytest

from synapcc.examples.ecg import anomaly, anomaly_eval, beats, protocol, synthetic
from synapcc.examples.ecg.anomaly import MODEL, compiled, personalised, rates, samples, spec
from synapcc.examples.ecg.beats import Beats


@pytest.fixture(scope="module")
def wearers() -> dict[str, tuple[Beats, Beats]]:
    found = {}
    for seed in (1, 2):
        patient = beats.extract(synthetic.record(seed, 6.5))
        found[str(seed)] = protocol.split(patient)
    return found


@pytest.fixture(scope="module")
def pool() -> Beats:
    return beats.join([beats.extract(synthetic.record(seed, 1.0)) for seed in (11, 12, 13)])


def test_calibration_is_of_normal_beats_of_all_patients(pool: Beats) -> None:
    x = anomaly.calibration(pool)["x"]
    normal = samples(anomaly.normal(pool))
    assert x.shape[1] == 155 and 0 < len(x) <= len(normal)
    assert all((normal == row).all(axis=1).any() for row in x[::17])


def test_a_wearer_is_learned_without_labels(wearers: dict[str, tuple[Beats, Beats]], pool: Beats) -> None:
    plan = compiled(MODEL, pool, spec("bp", 8))
    before, after = (personalised(plan, wearers, passes) for passes in (0, 1))
    for name in wearers:
        tested = anomaly.tested(wearers[name][1])
        assert np.array_equal(after[name].anomaly, tested.label != anomaly.N)
        assert before[name].learned == 0 and not before[name].alarm.any()
        assert 100 < after[name].learned <= len(anomaly.normal(wearers[name][0]))
        normal = ~after[name].anomaly
        assert np.median(after[name].score[normal]) < 0.7 * np.median(before[name].score[normal])
        assert after[name].area > 0.9 and after[name].alarm[after[name].anomaly].mean() > 0.5
    rows = [anomaly_eval.Row("before", before, False), anomaly_eval.Row("after", after)]
    lines = anomaly_eval.text(rows)
    assert lines[0].startswith("2 patients of DS2") and any(
        line.startswith("ArrythML 2026") for line in lines
    )
    assert len(anomaly_eval.by_patient(rows[1])) == 6
    assert {"auc", "recall", "f1", "wearers"} <= set(rows[1].to_dict())


def test_float_backpropagation_goes_down_the_slope() -> None:
    """A small step makes the loss smaller by the rate times the square of the slope, told by differences."""
    rng = np.random.default_rng(1)
    shapes = [(3, 4), (3,), (5, 3), (5,), (4, 5), (4,)]
    weights = [rng.normal(0, 0.7, shape) for shape in shapes]
    x = rng.normal(0, 1, (1, 4)).astype(np.float32)

    def loss(w: list[np.ndarray], learned: int) -> float:
        return float(anomaly.in_float(w, x[:learned], x, 16, 1)[0])

    slope = 0.0
    for k, shape in enumerate(shapes):
        for place in np.ndindex(*shape):
            ends = []
            for by in (1e-5, -1e-5):
                moved = [w.copy() for w in weights]
                moved[k][place] += by
                ends.append(loss(moved, 0))
            slope += ((ends[0] - ends[1]) / 2e-5) ** 2
    assert slope > 0.1
    assert loss(weights, 0) - loss(weights, 1) == pytest.approx(2.0**-16 * slope, rel=1e-2)


def test_rates_are_in_per_cent() -> None:
    assert rates(3, 1, 1) == (75.0, 75.0, 75.0)
    assert rates(0, 4, 0)[0] == 0 and rates(0, 0, 0)[2] == 0
