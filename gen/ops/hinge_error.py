"""The error of the multi-class hinge loss of Amit (2019), times C - 1: zero where the margin is kept.

e_label = -(C - 1) if z_label < margin, else 0; e_i = mu if z_i > -margin, else 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from . import Arrays, Attrs, Bounds, Case, Format, Kernel, Known, _labels
from ._contract import takes, within
from ._loops import Cells, Loop

MOST = 2**15 - 1  # of the error: classes less one, or mu


def _forward(z: Cells, label: Cells, e: Cells, taught: Cells, margin: int, target: int, others: int) -> None:
    taught[0] = 0
    for i in range(len(z)):
        right, wrong = -target if z[i] < margin else 0, others if z[i] > -margin else 0
        error = right if i == label[0] else wrong
        e[i] = error
        if error != 0:
            taught[0] = 1


class Forward(Kernel):
    name = "hinge_error.forward"
    loop = Loop(_forward)
    reads = ("z", "label")
    writes = ("e", "taught")
    operands = takes(z="int16 [n]", label=_labels.LABEL, e="int16 [n]", taught="uint8 [1]")
    attributes = within(margin=(1, 2**15 - 1), target=(0, 2**15), others=(0, 2**15 - 1))

    def _error(
        self, z: np.ndarray, label: np.ndarray, margin: float, target: float, others: float
    ) -> np.ndarray:
        mine = np.arange(z.shape[1]) == label[:, None]  # a label that is no class meets none
        right, wrong = np.where(z < margin, -target, 0 * target), np.where(z > -margin, others, 0 * others)
        return np.where(mine, right, wrong)

    def integer(self, t: Arrays, a: Attrs) -> None:
        e = self._error(t["z"].astype(np.int32), t["label"][:, 0], a["margin"], a["target"], a["others"])
        t["e"][...] = e
        t["taught"][:, 0] = e.any(axis=1)

    def real(self, t: Arrays, a: Attrs) -> None:
        e = self._error(t["z"], t["label"][:, 0].astype(int), a["margin"], t["z"].shape[1] - 1.0, a["mu"])
        t["e"][...] = e
        t["taught"][:, 0] = e.any(axis=1)

    def fixed(self, a: Attrs) -> dict[str, Format]:
        top = max(int(a["classes"]) - 1, a["mu"])
        if top > MOST:
            what = (
                f"the error reaches {top:g}, the larger of the classes less one and mu: 16 bits hold {MOST}"
            )
            hint = f"at most {MOST + 1:,} classes, and loss.mu no larger than their number"
            raise CompileError("loss", what, hint)
        frac = min(8, math.floor(math.log2(MOST / top)))
        return {"e": Format("int16", frac, -32768, 32767)}

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        margin = math.floor(a["margin"] * 2.0 ** f["z"].frac + 0.5)
        if not 1 <= margin <= f["z"].hi:
            raise CompileError(
                where,
                f"a margin of {a['margin']} is {margin} units of the logits, which reach {f['z'].hi}",
                "choose loss.margin between these",
            )
        one = 1 << f["e"].frac
        if 0 < a["mu"] * one < 1:
            step = f"2^-{f['e'].frac}"
            what = f"is {a['mu']:g}, and errors of {a['classes']} classes are held in steps of {step}"
            raise CompileError("loss.mu", what, f"take 0, or {step} and more")
        return {"margin": margin, "target": (int(a["classes"]) - 1) * one, "others": int(a["mu"] * one)}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        n = k["z"].shape[0]
        return [], {
            "e": (-a["target"], a["others"], max(a["target"], a["others"]) + (n - 1) * a["others"]),
            "taught": (0, 1, 1),
        }

    def case(self, rng: np.random.Generator) -> Case:
        n = int(rng.integers(2, 12))
        arrays: dict[str, NDArray[Any]] = {
            "z": rng.integers(-600, 600, n).astype(np.int16),
            "label": _labels.draw(rng, n),
            "e": np.zeros(n, np.int16),
            "taught": np.zeros(1, np.uint8),
        }
        margin, others = int(rng.integers(1, 500)), int(rng.choice([16, 256, 512]))
        return Case(arrays, {"margin": margin, "target": (n - 1) * 256, "others": others}, {})
