"""The error of softmax cross-entropy: e = softmax(z) - onehot(label), Q14.

Exponentials and the reciprocal of their sum come from tables (gen.numeric), no division. Every element of e
is within error_bound(classes) of the exact value at the same integer logits: tests/gen/ops/test_softmax.py
holds that bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..errors import CompileError
from ..ir.program import Step
from . import Accumulator, Arrays, Attrs, Bounds, Case, Format, Kernel, Known, _labels
from ._bench import Alone, Line
from ._contract import Tensors, takes, within
from ._loops import Cells, Loop, helper

FRAC = (-4, 15)  # of logits
MOST = 2**14  # classes whose exponentials numeric.probability can share out


def error_bound(classes: int) -> float:
    """How far a probability may lie from the exact softmax of the same integer logits.

    In units of 2^-14: 3.65 from exponents cut to 2^-10 and interpolated, 1.25 from the reciprocal, half each
    from cutting the sum and from rounding, together below 6; and half for each other class, whose exponential
    may lose one unit of 2^-15.
    """
    return (6 + (classes - 1) / 2) / (1 << numeric.ERROR_FRAC)


def probabilities(z: np.ndarray, frac: int) -> np.ndarray:
    """Q14 softmax [D, C] int32 of int16 logits [D, C]; also what hosts show as probabilities."""
    z = z.astype(np.int32)
    e = numeric.exp2_neg(numeric.logit_steps(z.max(axis=1, keepdims=True) - z, frac))
    total = e.sum(axis=1, keepdims=True, dtype=np.int32)
    k = np.zeros_like(total)
    while np.any(over := (total >> k) > 65535):
        k += over
    return numeric.probability(e, numeric.reciprocal(total >> k), k)


@helper
def shares(z: Cells, frac: int) -> Any:
    """As `probabilities`, of one device: int32 [C] of int16 logits [C]."""
    e, top, total = np.empty(len(z), np.int32), np.int32(z[0]), np.int32(0)
    for i in range(1, len(z)):
        top = max(top, np.int32(z[i]))
    for i in range(len(z)):
        e[i] = numeric.exp2_neg(numeric.logit_steps(numeric.int32(top - np.int32(z[i])), frac))
        total = np.int32(total + e[i])
    k = 0
    while (total >> k) > 65535:
        k += 1
    r = numeric.reciprocal(numeric.int32(total >> k))
    for i in range(len(z)):
        e[i] = numeric.probability(e[i], r, numeric.int32(k))
    return e


def _forward(z: Cells, label: Cells, e: Cells, taught: Cells, frac: int) -> None:
    share = shares(z, frac)
    taught[0] = 0
    for i in range(len(z)):
        error = share[i] - ((1 << numeric.ERROR_FRAC) if i == label[0] else 0)
        e[i] = error
        if error != 0:
            taught[0] = 1


class Forward(Kernel):
    """Also taught = 1 where any element of e is not zero: a sample right to the last bit costs no update."""

    name = "softmax_error.forward"
    loop = Loop(_forward)
    reads = ("z", "label")
    writes = ("e", "taught")
    operands = takes(z="int16 [n]", label=_labels.LABEL, e="int16 [n]", taught="uint8 [1]")
    attributes = within(frac=FRAC)

    def misfit(self, t: Tensors, a: Attrs) -> str:
        n = t["z"].shape[0]
        return f"{n} classes, the tables are proven for {MOST}" if n > MOST else ""

    def integer(self, t: Arrays, a: Attrs) -> None:
        e = probabilities(t["z"], a["frac"])
        mine = np.arange(e.shape[1]) == t["label"]  # a label that is no class meets none
        e -= mine * np.int32(1 << numeric.ERROR_FRAC)
        t["e"][...] = e
        t["taught"][:, 0] = e.any(axis=1)

    def real(self, t: Arrays, a: Attrs) -> None:
        z = np.exp(t["z"] - t["z"].max(axis=1, keepdims=True))
        e = z / z.sum(axis=1, keepdims=True)
        e[np.arange(len(e)), t["label"][:, 0].astype(int)] -= 1.0
        t["e"][...] = e
        t["taught"][:, 0] = 1

    def fixed(self, a: Attrs) -> dict[str, Format]:
        one = 1 << numeric.ERROR_FRAC
        return {"e": Format("int16", numeric.ERROR_FRAC, -one, one)}

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        if not FRAC[0] <= f["z"].frac <= FRAC[1]:
            raise CompileError(
                where,
                f"logits of frac {f['z'].frac}; the softmax table takes {FRAC[0]} to {FRAC[1]}",
                "scale the last layer by a power of two",
            )
        return {"frac": f["z"].frac}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        n = k["z"].shape[0]
        one = 1 << numeric.ERROR_FRAC
        # Probabilities sum to one, up to 2 units by the reciprocal of the cut sum and half a unit each by
        # rounding.
        slack = 2 + (n + 1) // 2
        return [Accumulator("sum of exponentials", 0, n << 15)], {
            "e": (-one, one, 2 * one + slack),
            "taught": (0, 1, 1),
        }

    def case(self, rng: np.random.Generator) -> Case:
        n = int(rng.integers(2, 12)) if rng.integers(8) else 300
        z = (rng.integers(-(2**15), 2**15, n) >> rng.integers(0, 10)).astype(np.int16)
        arrays: dict[str, NDArray[Any]] = {
            "z": z,
            "label": _labels.draw(rng, n),
            "e": np.zeros(n, np.int16),
            "taught": np.zeros(1, np.uint8),
        }
        return Case(arrays, {"frac": int(rng.integers(-4, 16))}, {})


class SoftmaxAlone(Alone):
    name = "softmax"
    grammar = r"(?P<m>\d+)"
    example = "softmax 10"
    phases = ("learn",)

    def write(self, line: Line, words: Mapping[str, str]) -> None:
        line.input(4)
        line.add("dense", weight=(int(words["m"]), 4))

    def counts(self, step: Step) -> bool:
        return step.kernel == "softmax_error.forward"
