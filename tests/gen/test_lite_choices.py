"""SELECT of .tflite files by comparisons and masks: emitted C and the emulator live the same life."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from ctools import UNDEFINED, HostBatch
from lite import compiled
from lite_wide import conditional
from play import play

from synapcc.gen.ir.plan import Plan


def test_masks_and_comparisons_in_c(tmp_path: Path) -> None:
    rng, plans = np.random.default_rng(11), list[Plan]()
    for kind in ("INT8", "INT16"):
        for _ in range(4):
            plan = compiled(conditional(rng, kind)[0], tmp_path).plan
            plans.append(replace(plan, model=f"net{len(plans)}"))
    steps = [s for plan in plans for *_, s in plan.ops() if s.kernel == "choice.forward"]
    masks = {s.args["left"] for s in steps if s.args["left"].endswith("_mask")}
    assert masks and len(masks) < len(steps)
    batch = HostBatch(plans, tmp_path, "-O2", *UNDEFINED)
    assert sum(play(batch, i, i) for i in range(len(plans))) >= 4 * len(plans)
