"""Weight decay, an op of its own: W -= W / 2^shift, with the rounding of the updates.

Applied to weights and learned feedback alike it makes their difference vanish (Kolen and Pollack, 1994).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import numeric
from ..ir.plan import PlanTensor
from . import Accumulator, Arrays, Attrs, Bounds, Case, Cost, Kernel, Known
from ._contract import ROUNDED, takes, within
from ._loops import Cells, Loop, row_words, stream_key

MAX_SHIFT = 24  # what the rounding primitives are proven for


def _apply(
    step: Cells, w: Cells, shift: int, rounding: int, seed: int, tensor: int, columns: Cells, mul: Cells,
    add: Cells,
) -> None:  # fmt: skip
    words, base = np.empty(len(mul), np.uint32), stream_key(seed, step[0], tensor)
    lane = words.view(np.uint16)
    for i in range(len(w)):
        row_words(words, base, i, mul, add)
        for j in range(columns[0]):
            drawn: Any = lane[j] if rounding == numeric.STOCHASTIC else np.uint16(0)
            v: Any = np.int32(w[i, j])
            w[i, j] = v - numeric.rounded(rounding, v, shift, drawn)


def _tables(t: Mapping[str, PlanTensor], a: Attrs) -> dict[str, np.ndarray]:
    """The words of a row where a step rounds stochastically, else none; and how many values a row has."""
    n = t["w"].shape[1]
    mul, add = numeric.lcg_coefficients((n + 1) // 2 if a["rounding"] == numeric.STOCHASTIC else 0)
    return {"mul": mul, "add": add, "columns": np.array([n])}


class Apply(Kernel):
    name = "decay.apply"
    loop = Loop(_apply, tables=_tables)
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
