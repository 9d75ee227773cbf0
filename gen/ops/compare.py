"""What two losses say of a direction: how steep it is, or whether it led to something better."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .. import numeric
from . import Accumulator, Arrays, Attrs, Bounds, Case, Format, Kernel, Known
from ._contract import HELD, takes, within
from ._loops import Cells, Loop
from .loss import LOSS_FRAC, TOP

SLOPE_FRAC = 14  # of half a difference of losses, which is held within -1 .. 1


def _slope(plus: Cells, minus: Cells, d: Cells, shift: int, lo: int, hi: int) -> None:
    apart = numeric.int32(np.int32(plus[0]) - np.int32(minus[0]))
    d[0] = numeric.saturate(numeric.shift_round(apart, shift), lo, hi)


def _better(loss: Cells, best: Cells, d: Cells) -> None:
    found = np.int32(loss[0]) < np.int32(best[0])
    d[0] = -np.int32(found)
    if found:
        best[0] = loss[0]


class Slope(Kernel):
    """d = saturate(shift_round(plus - minus, shift), lo, hi): half the difference, or where the abstract
    `sign` is 1 its sign alone."""

    name = "compare.slope"
    loop = Loop(_slope)
    reads = ("plus", "minus")
    writes = ("d",)
    operands = takes(plus="int32 [1]", minus="int32 [1]", d="int16 [1]")
    attributes = within(HELD, shift=(0, 24))

    def integer(self, t: Arrays, a: Attrs) -> None:
        apart = numeric.int32(t["plus"] - t["minus"])
        t["d"][...] = numeric.saturate(numeric.shift_round(apart, a["shift"]), a["lo"], a["hi"])

    def real(self, t: Arrays, a: Attrs) -> None:
        apart = t["plus"] - t["minus"]
        t["d"][...] = np.sign(apart) if a["sign"] else np.clip(apart / 2, -1, 1)

    def fixed(self, a: Attrs) -> dict[str, Format]:
        frac = 0 if a["sign"] else SLOPE_FRAC
        return {"d": Format("int16", frac, -(1 << frac), 1 << frac)}

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        shift = 0 if a["sign"] else LOSS_FRAC + 1 - SLOPE_FRAC
        return {"shift": shift, "lo": f["d"].lo, "hi": f["d"].hi}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        half = (1 << a["shift"]) >> 1
        apart = Accumulator("difference", k["plus"].lo - k["minus"].hi, k["plus"].hi - k["minus"].lo + half)
        return [apart], {"d": (a["lo"], a["hi"], max(-a["lo"], a["hi"]))}

    def case(self, rng: np.random.Generator) -> Case:
        top = int(rng.choice([3, 2**12, TOP]))
        plus, minus = rng.integers(0, top + 1, (2, 1)).astype(np.int32)
        sign = int(rng.integers(2))
        attrs = {"shift": 0 if sign else 3, "lo": -(1 if sign else 2**14), "hi": 1 if sign else 2**14}
        return Case({"plus": plus, "minus": minus, "d": np.zeros(1, np.int16)}, attrs, {})


class Better(Kernel):
    """d = -1 and best = loss where loss < best, else d = 0."""

    name = "compare.better"
    loop = Loop(_better)
    reads = ("loss",)
    updates = ("best",)
    writes = ("d",)
    operands = takes(loss="int32 [1]", best="=loss [1]", d="int16 [1]")

    def integer(self, t: Arrays, a: Attrs) -> None:
        t["d"][...] = -(t["loss"] < t["best"]).astype(np.int16)
        t["best"][...] = np.minimum(t["loss"], t["best"])

    real = integer

    def fixed(self, a: Attrs) -> dict[str, Format]:
        return {"d": Format("int16", 0, -1, 0)}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return [], {"d": (-1, 0, 1)}

    def case(self, rng: np.random.Generator) -> Case:
        loss, best = rng.integers(0, int(rng.choice([3, TOP])) + 1, (2, 1)).astype(np.int32)
        return Case({"loss": loss, "best": best, "d": np.zeros(1, np.int16)}, {}, {})
