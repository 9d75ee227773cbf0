"""Weight decay, an op of its own: W -= W / 2^shift, with the rounding of the updates.

Applied to weights and learned feedback alike it makes their difference vanish (Kolen and Pollack, 1994).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .. import numeric
from . import Accumulator, Arrays, Attrs, Bounds, Case, Cost, Kernel, Known
from ._contract import ROUNDED, takes, within

MAX_SHIFT = 24  # what the rounding primitives are proven for


class Apply(Kernel):
    name = "decay.apply"
    reads = ("step",)
    updates = ("w",)
    operands = takes(step="uint32 [1]", w="int8|int16 [rows, columns]")
    attributes = within(ROUNDED, shift=(0, MAX_SHIFT))

    def integer(self, t: Arrays, a: Attrs) -> None:
        m, n = t["w"].shape[1:]
        rounds: dict[int, numeric.Rounding] = {}
        rows = np.arange(m)
        for i in range(len(t["w"])):
            step = int(t["step"][i, 0])
            if step not in rounds:
                rounds[step] = numeric.Rounding(a["rounding"], a["seed"], step, a["tensor"], m, n)
            w = t["w"][i].astype(np.int32)
            t["w"][i] = w - rounds[step](w, a["shift"], rows, slice(0, n))

    def real(self, t: Arrays, a: Attrs) -> None:
        t["w"][...] *= 1.0 - 2.0 ** -a["shift"]

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return [Accumulator("value and dither", k["w"].lo, k["w"].hi + (1 << a["shift"]))], {}

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        n = shapes["w"][0] * shapes["w"][1]
        return Cost(macs=n, reads=n, writes=n)

    def case(self, rng: np.random.Generator) -> Case:
        m, n = int(rng.integers(1, 12)), int(rng.integers(1, 30))
        w = (
            rng.integers(-(2**15), 2**15, (m, n)).astype(np.int16)
            if rng.integers(2)
            else rng.integers(-128, 128, (m, n)).astype(np.int8)
        )
        attrs = {
            "shift": int(rng.integers(1, 12)),
            "rounding": int(rng.integers(3)),
            "seed": int(rng.integers(2**32)),
            "tensor": int(rng.integers(64)),
        }
        return Case({"w": w, "step": rng.integers(0, 2**32, 1, np.uint32)}, attrs, {})
