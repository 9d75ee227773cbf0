"""What the engine's multiply-add can do at most: sums that stay in registers, operands in the first cache."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from synapcc.gen.ops._loops import windows

FILTERS, PAIRS, POSITIONS, TIMES = 64, 128, 16, 4000
MACS = 2 * FILTERS * PAIRS * POSITIONS * TIMES
"""Of one call of `work`."""


def work(out: Any, start: Any, w: Any, x: Any, offsets: Any, times: int) -> None:
    """Windows over the same map, again and again."""
    for _ in range(times):
        windows(out, 0, FILTERS, start, w, x, 0, 2, offsets, 2, POSITIONS)


def rate(cores: int) -> float:
    """Multiply-accumulates a second of so many cores, each as fast as one of them is alone."""
    from . import jit

    entry = jit.peak().entry()
    arrays = (
        np.zeros(POSITIONS * FILTERS, np.int32),
        np.zeros(FILTERS, np.int32),
        np.ones((1, PAIRS, 2 * FILTERS), np.int16),
        np.ones(2 * (PAIRS + POSITIONS), np.int16),
        np.zeros(1, np.int64),
    )
    taken = []
    for _ in range(5):
        start = time.perf_counter()
        entry(*arrays, TIMES)
        taken.append(time.perf_counter() - start)
    return cores * MACS / min(taken)
