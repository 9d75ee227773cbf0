"""The logarithm of a signal to base 2, by table.

Signals are those of gen/ops/signal.py: integers of 2^-frac.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..ir.plan import PlanTensor
from . import Accumulator, Arrays, Attrs, Bounds, Case, Cost, Format, Kernel, Known, Variant
from ._contract import Range, takes, within
from ._loops import Cells, Loop, helper
from .signal import LIMIT, random_signal

LOG2_E = 23637  # round(log2(e) * 2^14)
FRAC = 8
"""Bits behind the point of what is written."""
DOWN = 16 + 14 - FRAC  # from the Q16 of numeric.logarithm times LOG2_E
NUMBERS = {"log2_e": LOG2_E, "down": DOWN, "half": 1 << (DOWN - 1), "one": 1 << FRAC}
LEAST: Range = (1, LIMIT)
POINT: Range = (0, 30)


@helper
def mantissa(x: Any, lead: Any) -> Any:
    """The 16 highest bits of x >= 1, which has `lead` zeros above them, as int32."""
    return np.int32((np.int64(x) << np.int64(lead)) >> np.int64(16))


def _log2(x: Cells, y: Cells, least: int, point: int) -> None:
    for i in range(len(x)):
        v: Any = np.int32(max(x[i], least))
        lead: Any = numeric.leading_zeros(v)
        m: Any = mantissa(v, lead)
        part: Any = numeric.logarithm(m)
        rest = (np.int64(part) * LOG2_E + (1 << (DOWN - 1))) >> DOWN
        y[i] = (31 - point - np.int64(lead)) * (1 << FRAC) + rest


def mantissas(x: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """(m, n) of x >= 1: the 16 highest bits, and how many zeros are above them."""
    lead = numeric.leading_zeros(x)
    return numeric.int32((x.astype(np.int64) << lead) >> 16), lead


def log2(x: NDArray[np.int32], point: int) -> NDArray[np.int32]:
    """log2(x / 2^point) as Q8, of x >= 1: from .54 below to .52 above the exact value in units of 2^-8."""
    m, lead = mantissas(x)
    part = numeric.logarithm(m) * np.int32(LOG2_E) + np.int32(1 << (DOWN - 1))
    return numeric.int32(((31 - point - lead) << FRAC) + (part >> np.int32(DOWN)))


class Log2(Kernel):
    """y = log2(max(x, least) / 2^point) as Q8. It never falls where x rises."""

    name = "logarithm.log2"
    loop = Loop(_log2)
    reads = ("x",)
    writes = ("y",)
    inplace = ("x", "y")
    operands = takes(x="int32 [n]", y="int32 [n]")
    attributes = within(least=LEAST, point=POINT)

    def variant(self, kernel_set: str, t: Mapping[str, PlanTensor], a: Attrs) -> Variant:
        return Variant(self.name.split(".")[1], numbers=NUMBERS)

    def integer(self, t: Arrays, a: Attrs) -> None:
        t["y"][...] = log2(np.maximum(t["x"], np.int32(a["least"])), int(a["point"]))

    def real(self, t: Arrays, a: Attrs) -> None:
        t["y"][...] = np.log2(np.maximum(t["x"], a["least"]))

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        return {"least": max(1, round(a["least"] * 2.0 ** f["x"].frac)), "point": f["x"].frac}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        ends = np.maximum(np.array([k["x"].lo, k["x"].hi]), a["least"]).astype(np.int32)
        lo, hi = (int(v) for v in log2(ends, a["point"]))
        top = numeric.LOG_2_Q16 * LOG2_E + (1 << (DOWN - 1))
        return [Accumulator("part behind the point", 0, top)], {
            "y": (lo, hi, k["y"].shape[0] * max(abs(lo), abs(hi)))
        }

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        return Cost(macs=2 * shapes["x"][0])

    def case(self, rng: np.random.Generator) -> Case:
        n = int(rng.integers(1, 20))
        x = np.where(rng.integers(0, 4, n) == 0, 2 ** rng.integers(0, 30, n), random_signal(rng, n))
        numbers = {"least": 2 ** int(rng.integers(0, 12)), "point": int(rng.integers(0, 31))}
        arrays = {"x": x.astype(np.int32), "y": np.zeros(n, np.int32)}
        return Case(arrays, numbers, {"x": (-LIMIT, LIMIT)})
