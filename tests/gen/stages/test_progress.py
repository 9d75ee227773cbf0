"""What who waits for a compilation is told: calibration speaks in every mode, and no share falls."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from synapcc.gen.compile import compile_model
from synapcc.gen.spec import BEST, FAST, RuleSpec
from synapcc.gen.stages.progress import FIRST, Progress

MODEL = Path(__file__).parents[3] / "examples" / "ecg" / "models" / "ecg_mlp.onnx"


@pytest.mark.parametrize("mode", (FAST, BEST))
@pytest.mark.parametrize("rule", ("none", "bp"))
def test_calibration_is_told(mode: str, rule: str) -> None:
    rng = np.random.default_rng(0)
    data = {"beat": rng.normal(0, 1, (40, 151)), "label": rng.integers(0, 4, 40)}
    said: list[tuple[float, str]] = []
    compile_model(MODEL, RuleSpec(rule), data, quantise=mode, say=lambda *told: said.append(told))
    shares = [share for share, _ in said]
    assert all(a <= b for a, b in itertools.pairwise(shares)) and shares[0] > 0 and shares[-1] == 1
    calibrated = [share for share, what in said if what == "calibrating"]
    assert len(set(calibrated)) > 1 and calibrated[-1] <= FIRST[mode]


def test_no_share_falls() -> None:
    said: list[float] = []
    progress = Progress(lambda share, what: said.append(share), FAST)
    for share in (0.5, 1.0):
        progress.calibrated(share)
    progress.chosen(0.5, "remedies")
    progress.calibrated(0.1)  # of a candidate: a bar that stood behind this would go back
    progress.chosen(0.2, "more")
    progress.chosen(1.0, "the last")
    assert said == [0.25, 0.5, 0.75, 0.75, 1.0]
