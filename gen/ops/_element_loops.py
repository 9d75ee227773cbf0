"""What loop forms share that take tensors element by element, or move their values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..ir.plan import PlanTensor
from . import _broadcast as broadcast
from ._loops import Cells, helper

Table = NDArray[np.int64]
FACTORS = {
    f"{side}_factor": tuple(f"{side}_{name}" for name in ("zero", "multiplier", "shift"))
    for side in (broadcast.LEFT, broadcast.RIGHT)
}
"""Of a loop that brings two tensors to one scale: zero point, multiplier and shift of either as one tuple."""


def runs(loops: Sequence[tuple[int, int]]) -> tuple[Table, Table]:
    """Nested loops, (count, stride) of each: where each run of the innermost begins; its count and stride."""
    starts = np.zeros(1, np.int64)
    for n, stride in loops[:-1]:
        starts = (starts[:, None] + np.arange(n, dtype=np.int64) * stride).ravel()
    return starts, np.array(loops[-1], np.int64)


def walk(t: Mapping[str, PlanTensor], a: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """How two tensors are stretched, by side: `runs` of either; none where all three tensors are alike."""
    depth = sum(f"n{i}" in a for i in range(broadcast.AXES))
    found: dict[str, NDArray[Any]] = {}
    for side in (broadcast.LEFT, broadcast.RIGHT):
        starts, inner = np.zeros(0, np.int64), np.zeros(2, np.int64)
        if depth:
            starts, inner = runs([(a[f"n{i}"], a[f"{side}{i}"]) for i in range(depth)])
        found |= {f"{side}_starts": starts, f"{side}_inner": inner}
    return found


@helper
def stretched(x: Cells, starts: Cells, inner: Cells) -> Any:
    """The values of one side as int32, one for each of the output."""
    if len(starts) == 0:
        return x.astype(np.int32)
    count, stride = inner[0], inner[1]
    out = np.empty(len(starts) * count, np.int32)
    for k in range(len(starts)):
        for i in range(count):
            out[k * count + i] = x[starts[k] + i * stride]
    return out


@helper
def scaled(acc: Any, multiplier: Any, shift: Any, rounds: Any) -> Any:
    """acc * multiplier / 2^shift, rounded once or twice."""
    if rounds == 1:
        return numeric.scale_once(acc, multiplier, shift)
    return numeric.scale_twice(acc, multiplier, shift)


@helper
def aligned(v: Cells, factor: Any, up: Any, rounds: Any) -> None:
    """int32 values of one side in units of both, in place; where `rounds` is 0 shifted to the left."""
    zero, multiplier, shift = factor
    if rounds == 0:
        for i in range(len(v)):
            v[i] = np.int32(v[i] << shift)
    else:
        for i in range(len(v)):
            v[i] = scaled(numeric.int32(np.int32(v[i] - np.int32(zero)) << up), multiplier, shift, rounds)


@helper
def copied(y: Cells, to: Any, x: Cells, at: Any, n: Any) -> None:
    """n values of x, from `at` on, are those of y from `to` on."""
    for i in range(n):
        y[to + i] = x[at + i]
