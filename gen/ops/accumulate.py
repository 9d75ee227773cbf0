"""Sums of teaching signals: a tensor with several readers hears from all of them, a stretched one from all
places that show it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from . import Accumulator, Arrays, Attrs, Bounds, Case, Format, Kernel, Known
from ._contract import HELD, REQUANTISED, SIZE, takes, within
from ._loops import Cells, Loop, write_signal
from ._shifts import requantising

MAX_SHIFT = 15  # beyond it nothing is left of an int16


def _add(
    left: Cells, right: Cells, g: Cells, left_shift: int, right_shift: int, lo: int, hi: int
) -> None:  # fmt: skip
    for i in range(len(g)):
        one = numeric.shift_round(numeric.int32(left[i]), left_shift)
        other = numeric.shift_round(numeric.int32(right[i]), right_shift)
        g[i] = numeric.saturate(numeric.int32(one + other), lo, hi)


class Add(Kernel):
    """g = left / 2^left_shift + right / 2^right_shift, held within g's limits."""

    name = "accumulate.add"
    loop = Loop(_add)
    reads = ("left", "right")
    writes = ("g",)
    inplace = ("left", "right", "g")
    operands = takes(left="int16 [n]", right="int16 [n]", g="int16 [n]")
    attributes = within(HELD, left_shift=(0, MAX_SHIFT), right_shift=(0, MAX_SHIFT))

    def integer(self, t: Arrays, a: Attrs) -> None:
        left = numeric.shift_round(t["left"].astype(np.int32), a["left_shift"])
        right = numeric.shift_round(t["right"].astype(np.int32), a["right_shift"])
        t["g"][...] = numeric.saturate(left + right, a["lo"], a["hi"])

    def real(self, t: Arrays, a: Attrs) -> None:
        t["g"][...] = t["left"] + t["right"]

    def cap(self, f: Mapping[str, Format], a: Attrs) -> dict[str, int]:
        return {"g": min(f["left"].frac, f["right"].frac)}

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        shifts = {r: f[r].frac - f["g"].frac for r in ("left", "right")}
        requantising(list(shifts.values()), where, "report this model", MAX_SHIFT)
        return {
            "left_shift": shifts["left"],
            "right_shift": shifts["right"],
            "lo": f["g"].lo,
            "hi": f["g"].hi,
        }

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        top = k["left"].mag + k["right"].mag
        l1 = k["g"].shape[0] * max(-a["lo"], a["hi"])
        return [Accumulator("sum", -top, top)], {"g": (a["lo"], a["hi"], l1)}

    def case(self, rng: np.random.Generator) -> Case:
        n = int(rng.integers(1, 40))
        d = [rng.integers(-(2**15), 2**15, n).astype(np.int16) for _ in range(2)]
        attrs = {
            "left_shift": int(rng.integers(0, 8)),
            "right_shift": int(rng.integers(0, 8)),
            "lo": -1024,
            "hi": 1023,
        }
        return Case({"left": d[0], "right": d[1], "g": np.zeros(n, np.int16)}, attrs, {})


def _over(
    d: Cells, g: Cells, outer: int, count: int, block: int, shift: int, lo: int, hi: int
) -> None:  # fmt: skip
    total = np.zeros(len(g), np.int32)
    for o in range(outer):
        for k in range(count):
            for i in range(block):
                total[o * block + i] += d[(o * count + k) * block + i]
    write_signal(g, total, shift, lo, hi)


class Over(Kernel):
    """g[o, i] = (sum of d[o, k, i] over k < count) / 2^shift, within limits; o < outer, i < block."""

    name = "accumulate.over"
    loop = Loop(_over)
    reads = ("d",)
    writes = ("g",)
    operands = takes(d="int16 [input]", g="int16 [output]")
    attributes = within(REQUANTISED, outer=SIZE, count=SIZE, block=SIZE)

    def sizes(self, a: Attrs) -> dict[str, int]:
        kept = a["outer"] * a["block"]
        return {"input": kept * a["count"], "output": kept}

    def integer(self, t: Arrays, a: Attrs) -> None:
        total = self._total(t["d"].astype(np.int32), a)
        t["g"][...] = numeric.saturate(numeric.shift_round(total, a["shift"]), a["lo"], a["hi"])

    def real(self, t: Arrays, a: Attrs) -> None:
        t["g"][...] = self._total(t["d"], a)

    @staticmethod
    def _total(d: NDArray[Any], a: Attrs) -> NDArray[Any]:
        """The sums [D, outer * block] of signals [D, outer * count * block]."""
        rows = d.reshape(len(d), a["outer"], a["count"], a["block"])
        total: NDArray[Any] = rows.sum(axis=2, dtype=d.dtype).reshape(len(d), -1)
        return total

    def cap(self, f: Mapping[str, Format], a: Attrs) -> dict[str, int]:
        return {"g": f["d"].frac}

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        shift = f["d"].frac - f["g"].frac
        requantising(shift, where, "report this model")
        return super().lower(f, a, where) | {"shift": shift, "lo": f["g"].lo, "hi": f["g"].hi}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        d, count = k["d"], a["count"]
        lo, hi = min(count * d.lo, 0), max(count * d.hi, 0) + ((1 << a["shift"]) >> 1)
        written = (a["lo"], a["hi"], k["g"].shape[0] * max(-a["lo"], a["hi"]))
        return [Accumulator("sum of places", lo, hi)], {"g": written}

    def case(self, rng: np.random.Generator) -> Case:
        outer, count, block = (int(n) for n in rng.integers(1, (4, 9, 5)))
        d = rng.integers(-(2**15), 2**15, outer * count * block).astype(np.int16)
        attrs = {"outer": outer, "count": count, "block": block, "shift": int(rng.integers(0, 8))}
        ends = {"lo": -(2**13), "hi": 2**13 - 1}
        return Case({"d": d, "g": np.zeros(outer * block, np.int16)}, attrs | ends, {})
