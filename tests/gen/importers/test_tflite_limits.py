"""A fused activation whose zero point lies above 0: the output never is 0, and its Plan is read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from lite import Author, answers, compiled, oracle

from synapcc.gen.stages.plan_file import load_plan


def test_limits_need_not_hold_zero(tmp_path: Path) -> None:
    rng, a = np.random.default_rng(1), Author()
    x = a.tensor("x", (1, 12), scale=0.05, zero=3)
    w = a.tensor("w", (5, 12), scale=0.01, data=rng.integers(-127, 128, (5, 12)))
    y = a.tensor("y", (1, 5), scale=0.02, zero=20)
    a.op("FULLY_CONNECTED", [x, w], [y], "FullyConnectedOptions", 4, fusedActivationFunction=1)
    data, samples = a.bytes([x], [y]), rng.integers(-128, 128, (50, 12)).astype(np.int8)
    c = compiled(data, tmp_path)
    assert c.plan[c.plan.logits].lo == 20
    assert np.array_equal(answers(c, [samples]), oracle(data, [samples]))
    assert load_plan(c.plan.canonical, "plan.json").digest == c.plan.digest
