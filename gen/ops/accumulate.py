"""Sum of two teaching signals: a tensor with several readers hears from all of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .. import numeric
from . import Accumulator, Arrays, Attrs, Bounds, Case, Format, Kernel, Known
from ._contract import HELD, takes, within
from ._shifts import requantising

MAX_SHIFT = 15  # beyond it nothing is left of an int16


class Add(Kernel):
    """g = left / 2^left_shift + right / 2^right_shift, held within g's limits."""

    name = "accumulate.add"
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
