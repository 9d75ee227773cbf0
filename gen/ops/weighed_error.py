"""What learning makes of a sample's error: less for common classes, within limits, or nothing at all."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..errors import CompileError
from . import Accumulator, Arrays, Attrs, Bounds, Case, Format, Kernel, Known, _labels
from ._contract import Range, takes, within
from ._loops import Cells, Loop

MOST_SHIFT = 7  # of a class
MAGNITUDE: Range = (1, 2**15)


def _forward(
    raw: Cells, e: Cells, taught: Cells, label: Cells, down: Cells, limit: int, least: int
) -> None:  # fmt: skip
    shift: Any = np.int32(0)
    if len(down):
        shift = np.int32(down[min(np.int64(label[0]), len(down) - 1)])
        shift = np.int32(MOST_SHIFT) if shift > MOST_SHIFT or shift < 0 else shift
    wrong: Any = False
    left: Any = False
    for i in range(len(raw)):
        v: Any = np.int32(raw[i])
        w = numeric.saturate(numeric.shift_round(v, shift), -limit, limit)
        wrong = wrong or v >= least or v <= -least
        left = left or w != 0
        e[i] = w
    taught[0] = wrong and left


class Forward(Kernel):
    """e = saturate(shift_round(raw, down[label]), -limit, limit), down at most 7, or no shift;
    taught = 1 where |raw| >= least for any element, and any of e is not zero.

    In real numbers `clip` and `below` stand for limit and least.
    """

    name = "weighed_error.forward"
    loop = Loop(_forward)
    reads = ("raw", "label", "down")
    writes = ("taught", "e")
    inplace = ("raw",)
    optional = ("label", "down")
    operands = takes(
        raw="int16 [n]", e="int16 [n]", taught="uint8 [1]", label=_labels.LABEL, down="uint32 [classes]"
    )
    attributes = within(limit=MAGNITUDE, least=MAGNITUDE)

    def misfit(self, t: Mapping[str, Any], a: Attrs) -> str:
        return "" if ("label" in t) == ("down" in t) else "it takes a label and its shifts together"

    @staticmethod
    def _shifts(t: Arrays) -> NDArray[np.int32]:
        """[devices or 1, 1]"""
        if "down" not in t:
            return np.zeros((1, 1), np.int32)
        label = np.minimum(t["label"], t["down"].shape[1] - 1).astype(np.intp)
        down = np.broadcast_to(t["down"], (len(label), t["down"].shape[1]))
        shifts: NDArray[np.int32] = np.minimum(np.take_along_axis(down, label, axis=1), MOST_SHIFT).astype(
            np.int32
        )
        return shifts

    def integer(self, t: Arrays, a: Attrs) -> None:
        e = t["raw"].astype(np.int32)
        left = numeric.saturate(numeric.shift_round(e, self._shifts(t)), -a["limit"], a["limit"])
        t["e"][...] = left
        t["taught"][:, 0] = (np.abs(e) >= a["least"]).any(axis=1) & left.any(axis=1)

    def real(self, t: Arrays, a: Attrs) -> None:
        t["taught"][:, 0] = (np.abs(t["raw"]) >= a["below"]).any(axis=1)
        t["e"][...] = np.clip(t["raw"] * 2.0 ** -self._shifts(t), -a["clip"], a["clip"])

    def unmet(self, tops: Mapping[str, float], a: Attrs) -> str:
        least, top = a["below"], tops.get("raw", math.inf)
        return f"no error reaches {least:.3g}: the largest is {top:.6g}" if top < least else ""

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        _ = f["raw"].frac  # 0 stands for 0
        limit = MAGNITUDE[1] if math.isinf(a["clip"]) else f["raw"].meaning.unit(a["clip"])
        if limit < 1:
            what = (
                f"an error is clipped to {a['clip']:.3g}, less than half its unit, {f['e'].meaning.step:.3g}"
            )
            raise CompileError(where, what, "take a larger loss.clip")
        least = max(f["raw"].meaning.unit(a["below"]), 1)
        return {"limit": min(limit, MAGNITUDE[1]), "least": min(least, MAGNITUDE[1])}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        top = min(k["raw"].mag, a["limit"])
        half = 1 << MOST_SHIFT - 1
        sums = [Accumulator("error and half a unit", k["raw"].lo, k["raw"].hi + half)]
        lo, hi = max(min(k["raw"].lo, 0), -top), min(max(k["raw"].hi, 0), top)
        return sums, {"e": (lo, hi, min(k["raw"].l1, k["raw"].shape[0] * top)), "taught": (0, 1, 1)}

    def case(self, rng: np.random.Generator) -> Case:
        n = int(rng.integers(1, 12))
        arrays: dict[str, NDArray[Any]] = {
            "raw": (rng.integers(-(2**15), 2**15, n) >> rng.integers(0, 16)).astype(np.int16),
            "e": np.zeros(n, np.int16),
            "taught": np.zeros(1, np.uint8),
        }
        if rng.integers(3):
            classes = int(rng.choice([2, max(n, 2), 300]))
            arrays["label"] = _labels.draw(rng, classes)
            arrays["down"] = rng.integers(0, MOST_SHIFT + 3, classes).astype(np.uint32)
        limits = [1, int(rng.integers(1, 2**12)), 2**15]
        attrs = {"limit": int(rng.choice(limits)), "least": int(rng.choice(limits))}
        return Case(arrays, attrs, {})
