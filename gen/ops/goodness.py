"""The goodness of a layer, and what it teaches: the error of telling samples with a right label from others.

Hinton 2022, arXiv 2212.13345, equation 1: p = sigmoid(sum of h^2 - threshold).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..errors import CompileError
from ..ir.plan import PlanTensor
from . import Accumulator, Arrays, Attrs, Bounds, Case, Format, Kernel, Known, Variant
from ._contract import HELD, Tensors, takes, within
from ._loops import Cells, Loop, helper
from .softmax_error import probabilities, shares

FRAC = 10  # of G / threshold - 1, which is held within +-32
ONE = 1 << FRAC
FAR = 2**15 - 1
MOST = 2**16  # values of a layer: the sum of as many squares of int8 fits 31 bits
SHIFT = 30
NUMBERS = {"one": ONE, "far": FAR, "frac": FRAC}


@helper
def scaled(acc: Any, shift: Any) -> Any:
    """acc >= 0 / 2^shift, Q10, no more than FAR + ONE."""
    if shift >= 0:
        return numeric.saturate(numeric.shift_round(acc, shift), 0, FAR + ONE)
    return numeric.int32(numeric.saturate(acc, 0, (FAR + ONE) >> -shift) << np.int32(-shift))


def _teach(h: Cells, g: Cells, wrong: int, mean: int, shift: int, lo: int, hi: int) -> None:
    acc = np.int32(0)
    for i in range(len(h)):
        v = np.int32(h[i])
        acc = np.int32(acc + v * v)
    z = numeric.int32(scaled(acc, mean) - np.int32(ONE))
    both = np.zeros(2, np.int16)
    both[1] = np.int16(z) if wrong else np.int16(-z)
    share = np.int32(shares(both, FRAC)[1])
    factor = share if wrong else np.int32(-share)
    for i in range(len(h)):
        g[i] = numeric.saturate(numeric.shift_round(numeric.int32(factor * np.int32(h[i])), shift), lo, hi)


class Teach(Kernel):
    """G = sum of h^2 / 2^ceil(log2 n), z = G / threshold - 1. Of a right label g = -sigmoid(-z) h, of a wrong
    one g = sigmoid(z) h, held within g's limits."""

    name = "goodness.teach"
    loop = Loop(_teach)
    reads = ("h",)
    writes = ("g",)
    operands = takes(h="int8 [n]", g="int16 [n]")
    attributes = within(HELD, wrong=(0, 1), mean=(-SHIFT, SHIFT), shift=(0, SHIFT))

    def misfit(self, t: Tensors, a: Attrs) -> str:
        n = t["h"].shape[0]
        return f"{n} values, the sum of squares is proven for {MOST}" if n > MOST else ""

    def integer(self, t: Arrays, a: Attrs) -> None:
        h = t["h"].astype(np.int32)
        z = scaled((h * h).sum(axis=1, keepdims=True, dtype=np.int32), a["mean"]) - np.int32(ONE)
        both = np.concatenate([np.zeros_like(z), z if a["wrong"] else -z], axis=1)
        share = probabilities(both, FRAC)[:, 1:]
        factor = share if a["wrong"] else -share
        t["g"][...] = numeric.saturate(numeric.shift_round(factor * h, a["shift"]), a["lo"], a["hi"])

    def real(self, t: Arrays, a: Attrs) -> None:
        h = t["h"]
        z = np.square(h).sum(axis=1, keepdims=True) / 2.0 ** _log(h.shape[1]) / a["threshold"] - 1.0
        z = z if a["wrong"] else -z
        small = np.exp(-np.abs(z))  # never overflows
        share = np.where(z < 0, small, 1.0) / (1.0 + small)
        t["g"][...] = (share if a["wrong"] else -share) * h

    def cap(self, f: Mapping[str, Format], a: Attrs) -> dict[str, int]:
        return {"g": f["h"].frac + numeric.ERROR_FRAC}

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        mean = 2 * f["h"].frac + int(a["log"]) + round(math.log2(a["threshold"])) - FRAC
        shift = f["h"].frac + numeric.ERROR_FRAC - f["g"].frac
        if not (-SHIFT <= mean <= SHIFT and 0 <= shift <= SHIFT):
            what = f"needs requantising shifts of {mean} and {shift}"
            raise CompileError(where, what, "scale the layer by a power of two, or change options.threshold")
        return {"wrong": int(a["wrong"]), "mean": mean, "shift": shift, "lo": f["g"].lo, "hi": f["g"].hi}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        n, one = k["h"].shape[0], 1 << numeric.ERROR_FRAC
        half = (1 << max(a["mean"], 0)) >> 1
        product = one * k["h"].mag + ((1 << a["shift"]) >> 1)
        sums = [
            Accumulator("sum of squares", 0, n * k["h"].mag ** 2 + half),
            Accumulator("signal", -product, product),
        ]
        return sums, {"g": (a["lo"], a["hi"], n * max(-a["lo"], a["hi"]))}

    def variant(self, kernel_set: str, t: Mapping[str, PlanTensor], a: Attrs) -> Variant:
        return Variant("teach", numbers=NUMBERS)

    def case(self, rng: np.random.Generator) -> Case:
        n = int(rng.choice([1, int(rng.integers(2, 40)), 300]))
        arrays: dict[str, NDArray[Any]] = {
            "h": (rng.integers(-128, 128, n) >> rng.integers(0, 7)).astype(np.int8),
            "g": np.zeros(n, np.int16),
        }
        attrs = {"wrong": int(rng.integers(2)), "mean": int(rng.integers(-12, 16)), "lo": -3000, "hi": 2999}
        return Case(arrays, attrs | {"shift": int(rng.integers(0, 16))}, {})


def _log(n: int) -> int:
    """The power of two that a sum over n values is divided by."""
    return (n - 1).bit_length()
