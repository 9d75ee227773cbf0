"""The loss of a sample as one number, Q16: what rules compare that try out changes and follow no gradient.

Each is the loss whose error the op beside it gives: softmax_error and sigmoid_error, hinge_error, mse_error.
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
from . import Accumulator, Arrays, Attrs, Bounds, Case, Format, Kernel, Known, Variant, _labels
from ._contract import Tensors, takes, within
from ._loops import Cells, Loop, helper
from .hinge_error import Forward as HingeError
from .softmax_error import FRAC, MOST
from .softmax_error import Forward as SoftmaxError

LOSS_FRAC = 16
TOP = 2**29  # the largest loss, 8192: a larger one is held here, so that differences fit 32 bits
SUM = 2**30  # what sums are kept within before they are rounded
SHIFT = within(shift=(-30, 30))
NUMBERS = {"top": TOP, "log_2": numeric.LOG_2_Q16}


@helper
def brought(acc: Any, shift: Any) -> Any:
    """acc >= 0 / 2^shift, no more than TOP."""
    if shift >= 0:
        return numeric.saturate(numeric.shift_round(acc, shift), 0, TOP)
    return numeric.int32(numeric.saturate(acc, 0, TOP >> -shift) << np.int32(-shift))


class _Loss(Kernel):
    writes = ("loss",)

    def fixed(self, a: Attrs) -> dict[str, Format]:
        return {"loss": Format("int32", LOSS_FRAC, 0, TOP)}

    def variant(self, kernel_set: str, t: Mapping[str, PlanTensor], a: Attrs) -> Variant:
        return Variant(self.name.split(".")[1], numbers=NUMBERS)


@helper
def two(z: Cells) -> Any:
    """The scores of two classes where one output tells them apart: 0 and its own."""
    if len(z) > 1:
        return z
    both = np.zeros(2, np.int16)
    both[1] = z[0]
    return both


def _softmax(z: Cells, label: Cells, loss: Cells, frac: int) -> None:
    scores = two(z)
    top, total = np.int32(scores[0]), np.int32(0)
    for i in range(1, len(scores)):
        top = max(top, np.int32(scores[i]))
    mine = top
    for i in range(len(scores)):
        away = numeric.int32(top - np.int32(scores[i]))
        total = np.int32(total + numeric.exp2_neg(numeric.logit_steps(away, frac)))
        if i == label[0]:
            mine = np.int32(scores[i])
    k = np.int32(0)
    while (total >> k) > 65535:
        k = np.int32(k + 1)
    log = numeric.int32(numeric.logarithm(numeric.int32(total >> k)) + k * np.int32(numeric.LOG_2_Q16))
    far = brought(numeric.int32(top - mine), frac - LOSS_FRAC)
    loss[0] = numeric.saturate(numeric.int32(far + log), 0, TOP)


class Softmax(_Loss):
    """log(sum of exp z) - z[label]: cross-entropy, by the exponentials of softmax_error. Of one output, that
    of the scores 0 and z."""

    name = "loss.softmax"
    loop = Loop(_softmax)
    reads = ("z", "label")
    operands = takes(z="int16 [n]", label=_labels.LABEL, loss="int32 [1]")
    attributes = within(frac=FRAC)

    def misfit(self, t: Tensors, a: Attrs) -> str:
        n = t["z"].shape[0]
        return f"{n} classes, the tables are proven for {MOST}" if n > MOST else ""

    @staticmethod
    def _scores(z: NDArray[Any]) -> NDArray[Any]:
        return z if z.shape[1] > 1 else np.concatenate([np.zeros_like(z), z], axis=1)

    def integer(self, t: Arrays, a: Attrs) -> None:
        z = self._scores(t["z"]).astype(np.int32)
        top = z.max(axis=1, keepdims=True)
        away = numeric.int32(top - z)
        total = numeric.exp2_neg(numeric.logit_steps(away, a["frac"])).sum(
            axis=1, keepdims=True, dtype=np.int32
        )
        k = np.zeros_like(total)
        while np.any(over := (total >> k) > 65535):
            k += over
        log = numeric.int32(numeric.logarithm(total >> k) + k * np.int32(numeric.LOG_2_Q16))
        mine = np.arange(z.shape[1]) == t["label"]  # a label that is no class meets none
        far = brought(np.where(mine, away, 0).max(axis=1, keepdims=True), a["frac"] - LOSS_FRAC)
        t["loss"][...] = numeric.saturate(numeric.int32(far + log), 0, TOP)

    def real(self, t: Arrays, a: Attrs) -> None:
        z = self._scores(t["z"])
        top = z.max(axis=1, keepdims=True)
        mine = np.take_along_axis(z, t["label"].astype(np.intp), axis=1)
        t["loss"][...] = np.log(np.exp(z - top).sum(axis=1, keepdims=True)) + top - mine

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        return SoftmaxError().lower(f, a, where)

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        n = max(k["z"].shape[0], 2)
        log = 12 * 2**LOSS_FRAC  # more than log(MOST)
        sums = [
            Accumulator("sum of exponentials", 0, n << 15),
            Accumulator("loss", 0, TOP + log),
        ]
        return sums, {"loss": (0, TOP, TOP)}

    def case(self, rng: np.random.Generator) -> Case:
        n = int(rng.choice([1, int(rng.integers(2, 12)), int(rng.integers(2, 12)), 300, 4200]))
        arrays: dict[str, NDArray[Any]] = {
            "z": (rng.integers(-(2**15), 2**15, n) >> rng.integers(0, 16)).astype(np.int16),
            "label": _labels.draw(rng, max(n, 2)),
            "loss": np.zeros(1, np.int32),
        }
        return Case(arrays, {"frac": int(rng.integers(-4, 16))}, {})


def _hinge(
    z: Cells, label: Cells, loss: Cells, margin: int, target: int, others: int, drop: int, shift: int
) -> None:
    acc = np.int32(0)
    for i in range(len(z)):
        v = np.int32(z[i])
        near = numeric.int32(margin - v) if i == label[0] else numeric.int32(margin + v)
        missing = numeric.saturate(near, 0, 2**17)
        factor = np.int32(target) if i == label[0] else np.int32(others)
        acc = np.int32(acc + (missing >> np.int32(drop)) * factor)
    loss[0] = brought(acc, shift)


class Hinge(_Loss):
    """The sum of (C - 1) max(0, margin - z[label]) and mu max(0, margin + z_i) of all other classes."""

    name = "loss.hinge"
    loop = Loop(_hinge)
    reads = ("z", "label")
    operands = takes(z="int16 [n]", label=_labels.LABEL, loss="int32 [1]")
    attributes = within(HingeError.attributes, SHIFT, drop=(0, 17))

    def integer(self, t: Arrays, a: Attrs) -> None:
        z = t["z"].astype(np.int32)
        mine = np.arange(z.shape[1]) == t["label"]  # a label that is no class meets none
        near = numeric.int32(np.where(mine, a["margin"] - z, a["margin"] + z))
        missing = numeric.saturate(near, 0, 2**17)
        factor = np.where(mine, np.int32(a["target"]), np.int32(a["others"]))
        acc = ((missing >> np.int32(a["drop"])) * factor).sum(axis=1, keepdims=True, dtype=np.int32)
        t["loss"][...] = brought(acc, a["shift"])

    def real(self, t: Arrays, a: Attrs) -> None:
        z = t["z"]
        mine = np.arange(z.shape[1]) == t["label"].astype(np.intp)
        missing = np.maximum(np.where(mine, a["margin"] - z, a["margin"] + z), 0.0)
        factor = np.where(mine, z.shape[1] - 1.0, a["mu"])
        t["loss"][...] = (missing * factor).sum(axis=1, keepdims=True)

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        error = HingeError().fixed(a)["e"]
        own = HingeError().lower({"z": f["z"], "e": error}, a, where)
        factors = own["target"] + (int(a["classes"]) - 1) * own["others"]
        drop = next(n for n in range(18) if ((own["margin"] + 2**15) >> n) * factors <= SUM)
        return own | {"drop": drop, "shift": f["z"].frac + error.frac - drop - LOSS_FRAC}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        most = (a["margin"] + k["z"].mag) >> a["drop"]
        acc = most * (a["target"] + (k["z"].shape[0]) * a["others"])
        half = (1 << max(a["shift"], 0)) >> 1
        return [Accumulator("sum", 0, acc + half)], {"loss": (0, TOP, TOP)}

    def case(self, rng: np.random.Generator) -> Case:
        n = int(rng.integers(2, 12))
        arrays: dict[str, NDArray[Any]] = {
            "z": (rng.integers(-(2**15), 2**15, n) >> rng.integers(0, 12)).astype(np.int16),
            "label": _labels.draw(rng, n),
            "loss": np.zeros(1, np.int32),
        }
        attrs = {"margin": int(rng.integers(1, 500)), "target": (n - 1) * 256, "others": 256}
        return Case(arrays, {**attrs, "drop": 0, "shift": int(rng.integers(-12, 13))}, {})


def _squares(e: Cells, loss: Cells, drop: int, shift: int) -> None:
    acc = np.int32(0)
    for i in range(len(e)):
        v = np.int32(e[i])
        acc = np.int32(acc + ((v * v) >> np.int32(drop)))
    loss[0] = brought(acc, shift)


class Squares(_Loss):
    """Half the sum of (e / large)^2, of the error that mse_error gives."""

    name = "loss.squares"
    loop = Loop(_squares)
    reads = ("e",)
    operands = takes(e="int16 [n]", loss="int32 [1]")
    attributes = within(SHIFT, drop=(0, 30))

    def integer(self, t: Arrays, a: Attrs) -> None:
        e = t["e"].astype(np.int32)
        acc = ((e * e) >> np.int32(a["drop"])).sum(axis=1, keepdims=True, dtype=np.int32)
        t["loss"][...] = brought(acc, a["shift"])

    def real(self, t: Arrays, a: Attrs) -> None:
        t["loss"][...] = np.square(t["e"] / a["large"]).sum(axis=1, keepdims=True) / 2

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        most = max(-f["e"].lo, f["e"].hi) ** 2
        drop = next(n for n in range(31) if (most >> n) * int(a["scores"]) <= SUM)
        shift = 2 * f["e"].frac - drop + 1 + 2 * round(math.log2(a["large"])) - LOSS_FRAC
        if not -30 <= shift <= 30:
            what = f"the squared error needs a shift of {shift} beside what targets differ by"
            raise CompileError(where, what, "scale the targets and the last layer by a power of two")
        return {"drop": drop, "shift": shift}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        acc = (k["e"].mag ** 2 >> a["drop"]) * k["e"].shape[0]
        half = (1 << max(a["shift"], 0)) >> 1
        return [
            Accumulator("square", 0, k["e"].mag ** 2),
            Accumulator("sum of squares", 0, acc + half),
        ], {"loss": (0, TOP, TOP)}

    def case(self, rng: np.random.Generator) -> Case:
        n = int(rng.integers(1, 12))
        arrays: dict[str, NDArray[Any]] = {
            "e": (rng.integers(-(2**15), 2**15, n) >> rng.integers(0, 16)).astype(np.int16),
            "loss": np.zeros(1, np.int32),
        }
        return Case(arrays, {"drop": int(rng.integers(4, 8)), "shift": int(rng.integers(-12, 13))}, {})
