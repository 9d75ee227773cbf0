"""The power of a signal: its square. Signals are those of gen/ops/signal.py."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..errors import CompileError
from . import Accumulator, Arrays, Attrs, Bounds, Case, Cost, Format, Kernel, Known
from ._contract import Range, takes, within
from ._loops import Cells, Loop
from .signal import LIMIT, random_signal

SHIFT: Range = (1, 62)


def most(top: int, shift: int) -> int:
    """What a value of magnitude `top` becomes."""
    return (top * top + (1 << (shift - 1))) >> shift


def _square(x: Cells, y: Cells, shift: int) -> None:
    half = np.int64(1) << np.int64(shift - 1)
    for i in range(len(x)):
        y[i] = (np.int64(x[i]) * np.int64(x[i]) + half) >> np.int64(shift)


class Square(Kernel):
    """y = x * x / 2^shift, to the nearest, halves up. In real numbers y = (x / unit)^2."""

    name = "power.square"
    loop = Loop(_square)
    reads = ("x",)
    writes = ("y",)
    inplace = ("x", "y")
    operands = takes(x="int32 [n]", y="int32 [n]")
    attributes = within(shift=SHIFT)

    def integer(self, t: Arrays, a: Attrs) -> None:
        x, half = t["x"].astype(np.int64), np.int64(1) << np.int64(a["shift"] - 1)
        t["y"][...] = (x * x + half) >> np.int64(a["shift"])

    def real(self, t: Arrays, a: Attrs) -> None:
        t["y"][...] = (t["x"] / a["unit"]) ** 2

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        unit = round(np.log2(a["unit"]))
        shift = 2 * (f["x"].frac + unit) - f["y"].frac
        if 2.0**unit != a["unit"] or not SHIFT[0] <= shift <= SHIFT[1]:
            raise CompileError(where, f"its unit is {a['unit']:g}", "give a power of two from 1 on")
        return {"shift": shift}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        top = k["x"].mag
        high = most(top, a["shift"])
        proofs = [Accumulator("square", 0, top * top + (1 << (a["shift"] - 1)), 64)]
        return [*proofs, Accumulator("result", 0, high)], {"y": (0, high, k["y"].shape[0] * high)}

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        return Cost(macs=shapes["x"][0])

    def case(self, rng: np.random.Generator) -> Case:
        n, top = int(rng.integers(1, 20)), 2 ** int(rng.integers(1, 31)) - 1
        shift = int(rng.integers(max(1, 2 * top.bit_length() - 30), 63))
        top = min(top, LIMIT)
        arrays = {"x": random_signal(rng, n, top), "y": np.zeros(n, np.int32)}
        return Case(arrays, {"shift": shift}, {"x": (-top, top)})
