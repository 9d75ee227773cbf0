"""One signal over another, by a table of reciprocals: nothing is divided.

Signals are those of gen/ops/signal.py: integers of 2^-frac.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..errors import CompileError
from . import Accumulator, Arrays, Attrs, Bounds, Case, Cost, Format, Kernel, Known
from ._contract import HELD, Tensors, crossed, takes, within
from ._loops import Cells, Loop
from .logarithm import LEAST, mantissa, mantissas
from .signal import LIMIT, random_signal

WHOLE = 15
"""A quotient x / 2^n m, of m with 16 bits, is x * reciprocal(m) / 2^(15 + n)."""


def _over(x: Cells, by: Cells, y: Cells, least: int, shift: int, lo: int, hi: int) -> None:
    for i in range(len(x)):
        v: Any = np.int32(max(by[i], least))
        lead: Any = numeric.leading_zeros(v)
        m: Any = mantissa(v, lead)
        part: Any = numeric.reciprocal(m)
        down: Any = np.int64(31 + shift) - np.int64(lead)
        product: Any = np.int64(x[i]) * np.int64(part) + (np.int64(1) << (down - 1))
        y[i] = min(max(product >> down, np.int64(lo)), np.int64(hi))


def over(x: NDArray[Any], by: NDArray[np.int32], shift: int, lo: int, hi: int) -> NDArray[np.int32]:
    """x / by, by >= 1, as 2^(15 - shift) of it, held within lo .. hi: off by at most 2 * 10^-4 of itself and
    half a unit. It rises with x, and where x is positive it never rises with `by`."""
    m, lead = mantissas(by)
    down = 31 + shift - lead.astype(np.int64)
    product = x.astype(np.int64) * numeric.reciprocal(m) + (np.int64(1) << (down - 1))
    return numeric.int32(np.clip(product >> down, lo, hi))


class Over(Kernel):
    """y = x / max(by, least), held within lo .. hi.

    shift: 15 less what makes units of y of a quotient of integers, as a power of two
    """

    name = "ratio.over"
    loop = Loop(_over)
    reads = ("x", "by")
    writes = ("y",)
    operands = takes(x="int32 [n]", by="int32 [n]", y="int32 [n]")
    attributes = within(HELD, least=LEAST, shift=(1, 33))

    def misfit(self, t: Tensors, a: Attrs) -> str:
        return crossed(a)

    def integer(self, t: Arrays, a: Attrs) -> None:
        by = np.maximum(t["by"], np.int32(a["least"]))
        t["y"][...] = over(t["x"], by, int(a["shift"]), a["lo"], a["hi"])

    def real(self, t: Arrays, a: Attrs) -> None:
        t["y"][...] = np.clip(t["x"] / np.maximum(t["by"], a["least"]), -a["most"], a["most"])

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        point = f["y"].frac + f["by"].frac - f["x"].frac
        if point >= WHOLE:
            what = f"a ratio of Q{f['x'].frac} over Q{f['by'].frac} has no Q{f['y'].frac} here"
            raise CompileError(where, what, "report this front end")
        least = max(1, round(a["least"] * 2.0 ** f["by"].frac))
        return {"least": least, "shift": WHOLE - point, "lo": f["y"].lo, "hi": f["y"].hi}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        least = np.full(2, max(a["least"], k["by"].lo), np.int32)
        ends = over(np.array([min(k["x"].lo, 0), max(k["x"].hi, 0)]), least, a["shift"], a["lo"], a["hi"])
        top = k["x"].mag * 2**15 + 2 ** (a["shift"] + 29)
        lo, hi = int(ends[0]), int(ends[1])
        return [Accumulator("product", -top, top, 64)], {"y": (lo, hi, k["y"].shape[0] * max(-lo, hi))}

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        return Cost(macs=2 * shapes["x"][0])

    def case(self, rng: np.random.Generator) -> Case:
        n = int(rng.integers(1, 20))
        by = np.where(rng.integers(0, 4, n) == 0, 2 ** rng.integers(0, 30, n), random_signal(rng, n))
        numbers = {"least": 2 ** int(rng.integers(0, 12)), "shift": int(rng.integers(1, 34))}
        most = 2 ** int(rng.integers(1, 31)) - 1
        arrays = {"x": random_signal(rng, n), "by": by.astype(np.int32), "y": np.zeros(n, np.int32)}
        limits = dict.fromkeys(("x", "by"), (-LIMIT, LIMIT))
        return Case(arrays, numbers | {"lo": -most, "hi": most}, limits)
