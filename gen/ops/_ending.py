"""How `dsp` makes outputs of sums where a model file brought scales that are no powers of two.

As gen/ops/_requantise.py says it, in the fewest instructions: SMMUL, SMMLA or SMMLAR multiplies, a shift, an
addition that rounds and brings the zero point, SSAT. The macro is `scaled` of templates/dsp/common.c.j2.

* Rounding once needs no look at the sign of a sum where no sum's product can be a half (`halves`).
* Rounding twice doubles the sum, so that SMMLAR rounds at bit 31 of the product. The sign that halves need is
  that of the sum: where the product's is another, it rounds to 0, and stays 0 with both.
* Limits that are no powers of two take two saturations, each about an offset that brings one to its end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..ir.plan import PlanTensor
from ..sets.dsp import power_of_two
from ..sets.layouts import with_scales
from . import Attrs, Relaid
from ._requantise import FAST, ONCE, TWICE, folded

DOUBLED = 2**30  # what a sum that is doubled must stay below
ADDEND = 2**30  # and what is added to the upper word of a product, which is at most as much itself


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of a step's sums.

    start:   where the sums start, [rows]: the bias, the zero point of the input taken in
    scales:  m and what is left of n, [rows, 2] or, for all rows, [1, 2]
    numbers: what the macro needs
    """

    start: NDArray[np.int32]
    scales: NDArray[np.int32]
    numbers: dict[str, int]

    @property
    def each(self) -> bool:
        """Whether each row has a multiplier of its own."""
        return bool(self.numbers["each"])

    def starts(self, layout: str, note: str, start: NDArray[np.int32], blocks: int) -> Relaid:
        """Starts of so many blocks of rows, behind each block the multipliers and shifts of its rows."""
        if not self.each:
            return Relaid(layout, start, note)
        words = with_scales(start, self.scales, blocks)
        return Relaid(f"{layout}_scaled", words, f"{note}; then their m and shift")


def ending(t: Mapping[str, PlanTensor], a: Attrs) -> Ending | None:
    """None where a sum must be shifted left, may not be doubled, or lies in no flash: `ref` prints that."""
    least = FAST[a["rounds"]][1]
    roles = [role for role in ("w", "b", "m", "s") if role in t]
    if t["x"].dtype != "int8" or {t[role].space for role in roles} != {"const"}:
        return None
    m, n = (t["m"].array(), t["s"].array()) if "m" in t else ([a["multiplier"]], [a["shift"]])
    scales = np.stack([np.asarray(m, np.int64), np.asarray(n, np.int64) - least], axis=1)
    zeroed = folded(t, a)
    start = zeroed["b"].array if zeroed else t["b"].array()
    top = np.abs(start.astype(np.int64)) + 128 * np.abs(t["w"].array().astype(np.int64)).sum(axis=1)
    if scales[:, 1].min() < 0 or (a["rounds"] == TWICE and top.max() >= DOUBLED):
        return None
    numbers = {"each": int("m" in t), "exact": int(a["rounds"] == ONCE and halves(scales, least, top))}
    bits = power_of_two(a["lo"], a["hi"]) or 8 * t["y"].itemsize
    offset, within = _held(a["lo"], a["hi"], bits)
    numbers |= {"bits": bits, "half": 1 + 2 * (a["y_zero"] + offset)} | within
    rest = int(scales[0, 1])
    addend = numbers["half"] << rest
    fused = not numbers["each"] and not numbers["exact"] and abs(addend) < ADDEND
    numbers |= {"rest": rest, "fused": int(fused), "addend": addend if fused else 0}
    return Ending(start, scales.astype(np.int32), numbers)


def halves(scales: NDArray[np.int64], least: int, top: NDArray[np.int64]) -> bool:
    """Whether a sum up to `top`, [rows], can have a product m * sum that ends with a half, exactly.

    A product has at least the zero bits of m at its end, and those of the sum, which are fewer than its bits.
    """
    m, rest = scales.T
    zeros = np.array([(int(v) & -int(v)).bit_length() - 1 for v in m])
    return bool(np.any(np.maximum(top, 1) >> np.maximum(rest + least - 1 - zeros, 0) > 0))


def _held(lo: int, hi: int, bits: int) -> tuple[int, dict[str, int]]:
    """What is added before the first saturation, and the numbers of what follows: `unsigned`, whether it is
    USAT; `second`, whether there is another, of the first's result and `add`; `last`, added in the end."""
    top = (1 << (bits - 1)) - 1
    if lo == -top - 1:
        return top - hi, {"unsigned": 0, "second": int(hi < top), "add": hi - top, "last": 0}
    return -lo, {"unsigned": 1, "second": 1, "add": lo + top - hi, "last": hi - top}
