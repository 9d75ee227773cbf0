"""The error of sigmoid cross-entropy, of a network with one output: e = sigmoid(z) - label, Q14.

sigmoid(z) is the softmax of (0, z), and is made of the same integers: gen/ops/softmax_error.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..ir.plan import PlanTensor
from . import Arrays, Attrs, Bounds, Case, Format, Kernel, Known
from ._contract import takes, within
from ._loops import Cells, Loop
from .softmax_error import FRAC, probabilities, shares
from .softmax_error import Forward as SoftmaxError


def _forward(z: Cells, label: Cells, e: Cells, taught: Cells, frac: int) -> None:
    both = np.zeros(2, np.int16)
    both[1] = z[0]
    error = shares(both, frac)[1] - (np.int32(label[0]) << numeric.ERROR_FRAC)
    e[0] = error
    taught[0] = error != 0


class Forward(Kernel):
    """Also taught = 1 where e is not zero. A label is 0 or 1."""

    name = "sigmoid_error.forward"
    loop = Loop(_forward)
    reads = ("z", "label")
    writes = ("e", "taught")
    operands = takes(z="int16 [1]", label="uint8 [1]", e="int16 [1]", taught="uint8 [1]")
    attributes = within(frac=FRAC)

    def misfit(self, t: Mapping[str, PlanTensor], a: Attrs) -> str:
        return (
            f"{t['label'].name} may be {t['label'].hi}, and 1 is the last class" if t["label"].hi > 1 else ""
        )

    def integer(self, t: Arrays, a: Attrs) -> None:
        both = np.concatenate([np.zeros_like(t["z"]), t["z"]], axis=1)
        e = probabilities(both, a["frac"])[:, 1:] - t["label"].astype(np.int32) * np.int32(
            1 << numeric.ERROR_FRAC
        )
        t["e"][...] = e
        t["taught"][:, 0] = e[:, 0] != 0

    def real(self, t: Arrays, a: Attrs) -> None:
        small = np.exp(-np.abs(t["z"]))  # never overflows
        t["e"][...] = np.where(t["z"] < 0, small, 1.0) / (1.0 + small) - t["label"]
        t["taught"][:, 0] = 1

    def fixed(self, a: Attrs) -> dict[str, Format]:
        one = 1 << numeric.ERROR_FRAC
        return {"e": Format("int16", numeric.ERROR_FRAC, -one, one)}

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        return SoftmaxError().lower(f, a, where)

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        one = 1 << numeric.ERROR_FRAC
        return [], {"e": (-one, one, one), "taught": (0, 1, 1)}

    def case(self, rng: np.random.Generator) -> Case:
        arrays: dict[str, NDArray[Any]] = {
            "z": (rng.integers(-(2**15), 2**15, 1) >> rng.integers(0, 16)).astype(np.int16),
            "label": rng.integers(0, 2, 1).astype(np.uint8),
            "e": np.zeros(1, np.int16),
            "taught": np.zeros(1, np.uint8),
        }
        return Case(arrays, {"frac": int(rng.integers(-4, 16))}, {"label": (0, 1)})
