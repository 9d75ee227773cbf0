"""The sign of a signal, 0 where it is small: s in {-1, 0, 1}. What error signs travel as."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import Arrays, Attrs, Bounds, Case, Format, Kernel, Known
from ._contract import takes, within
from ._loops import Cells, Loop


def _forward(e: Cells, s: Cells, least: int) -> None:
    for i in range(len(e)):
        v = np.int32(e[i])
        s[i] = np.int16(v >= least) - np.int16(v <= -least)


class Forward(Kernel):
    """s = sign(e) where |e| >= least, else 0. In real numbers `threshold` stands for least."""

    name = "ternary.forward"
    loop = Loop(_forward)
    reads = ("e",)
    writes = ("s",)
    operands = takes(e="int8|int16 [n]", s="int16 [n]")
    attributes = within(least=(1, 2**15))

    def integer(self, t: Arrays, a: Attrs) -> None:
        e = t["e"].astype(np.int32)
        t["s"][...] = (e >= a["least"]).astype(np.int16) - (e <= -a["least"])

    def real(self, t: Arrays, a: Attrs) -> None:
        t["s"][...] = np.sign(t["e"]) * (np.abs(t["e"]) >= a["threshold"])

    def fixed(self, a: Attrs) -> dict[str, Format]:
        return {"s": Format("int16", 0, -1, 1)}

    def unmet(self, tops: Mapping[str, float], a: Attrs) -> str:
        least, top = a["threshold"], tops.get("e", math.inf)
        said = f"nothing reaches the threshold of {least:.3g}: the largest is {top:.6g}"
        return said if top < least else ""

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        """A threshold below the signal's step is one step, above all that it can be never met."""
        _ = f["e"].frac  # 0 stands for 0
        return {"least": min(max(f["e"].meaning.unit(a["threshold"]), 1), 2**15)}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return [], {"s": (-1, 1, k["s"].shape[0])}

    def case(self, rng: np.random.Generator) -> Case:
        n = int(rng.integers(1, 20))
        arrays: dict[str, NDArray[Any]] = {
            "e": (rng.integers(-(2**15), 2**15, n) >> rng.integers(0, 16)).astype(np.int16),
            "s": np.zeros(n, np.int16),
        }
        return Case(arrays, {"least": int(rng.choice([1, 2, int(rng.integers(1, 2**14)), 2**15]))}, {})
