"""A label of the network's own: its verdict, where that leads by enough; the likeliest but a denied one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from . import Accumulator, Arrays, Attrs, Bounds, Case, Format, Kernel, Known, _labels
from ._contract import Tensors, takes, within
from ._loops import Cells, Loop

MOST = 2**17
"""More than any score leads by."""
OTHERS = ("pseudo.but", "pseudo.other")
"""The kernels by which a class that is denied becomes another one."""


def _argmax(z: Cells, label: Cells, sure: Cells, least: int) -> None:
    winner, second = 0, -1
    for i in range(1, len(z)):
        if z[i] > z[winner]:
            winner, second = i, winner
        elif second < 0 or z[i] > z[second]:
            second = i
    label[0] = winner
    sure[0] = np.int32(z[winner]) - np.int32(z[second]) >= least


def _sign(z: Cells, label: Cells, sure: Cells, least: int) -> None:
    v = np.int32(z[0])
    label[0] = v > 0
    sure[0] = abs(v) >= least


def _but(z: Cells, label: Cells) -> None:
    best, denied = -1, label[0]
    for i in range(len(z)):
        if i != denied and (best < 0 or z[i] > z[best]):
            best = i
    label[0] = best


def _other(label: Cells) -> None:
    label[0] = label[0] == 0


class Argmax(Kernel):
    """label = the first largest of the scores z; sure = 1 where it leads the second one by `least` at least,
    else 0. In real numbers `margin` stands for least."""

    name = "pseudo.argmax"
    loop = Loop(_argmax)
    reads = ("z",)
    writes = ("label", "sure")
    operands = takes(z="int8|int16 [n]", label="uint8|uint16 [1]", sure="uint8 [1]")
    attributes = within(least=(0, MOST))

    def integer(self, t: Arrays, a: Attrs) -> None:
        z = t["z"].astype(np.int32)
        self._said(t, z, z.argmax(axis=1), a["least"])

    def real(self, t: Arrays, a: Attrs) -> None:
        self._said(t, t["z"], t["z"].argmax(axis=1), a["margin"])

    @staticmethod
    def _said(t: Arrays, z: NDArray[np.generic], winner: NDArray[np.intp], least: float) -> None:
        top = np.partition(z, z.shape[1] - 2, axis=1)
        t["label"][:, 0] = winner
        t["sure"][:, 0] = top[:, -1] - top[:, -2] >= least

    def misfit(self, t: Tensors, a: Attrs) -> str:
        return "one score has no second" if t["z"].shape[0] < 2 else ""

    def most(self, z: Format) -> int:
        """The largest lead that scores in this format can have."""
        return z.hi - z.lo

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        zero, one = map(float, f["z"].meaning.real([0.0, 1.0]))
        least, most = math.ceil(a["margin"] / (one - zero)), self.most(f["z"])
        if least > most:
            lead = f"scores lead by {most * (one - zero):g} at most"
            what = f"a margin of {a['margin']:g} is never reached: {lead}"
            raise CompileError(where, what, "take a smaller one")
        return {"least": least}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        top = k["z"].shape[0] - 1
        return [Accumulator("lead", 0, k["z"].hi - k["z"].lo)], {"label": (0, top, top), "sure": (0, 1, 1)}

    def case(self, rng: np.random.Generator) -> Case:
        n = int(rng.integers(2, 12))
        z = rng.integers(-(2**15), 2**15, n).astype(np.int16)
        z[rng.integers(n)] = z[rng.integers(n)]
        lead = int(np.diff(np.sort(z.astype(np.int32))[-2:])[0])
        label = np.zeros(1, np.uint8 if rng.integers(2) else np.uint16)
        least = int(rng.choice([0, lead, lead + 1, max(lead - 1, 0), MOST]))
        return Case({"z": z, "label": label, "sure": np.zeros(1, np.uint8)}, {"least": least}, {})


class Sign(Argmax):
    """label = 1 where the one score z is above zero, else 0; sure = 1 where its magnitude is at least
    `least`, else 0: of two classes by one output."""

    name = "pseudo.sign"
    loop = Loop(_sign)
    operands = takes(z="int8|int16 [1]", label="uint8|uint16 [1]", sure="uint8 [1]")

    def integer(self, t: Arrays, a: Attrs) -> None:
        self._either(t, t["z"][:, 0].astype(np.int32), a["least"])

    def real(self, t: Arrays, a: Attrs) -> None:
        self._either(t, t["z"][:, 0], a["margin"])

    def most(self, z: Format) -> int:
        return max(-z.lo, z.hi)

    @staticmethod
    def _either(t: Arrays, z: NDArray[Any], least: float) -> None:
        t["label"][:, 0] = z > 0
        t["sure"][:, 0] = np.abs(z) >= least

    def misfit(self, t: Tensors, a: Attrs) -> str:
        return ""

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return [], {"label": (0, 1, 1), "sure": (0, 1, 1)}

    def case(self, rng: np.random.Generator) -> Case:
        z = (rng.integers(-(2**15), 2**15, 1) >> rng.integers(0, 16)).astype(np.int16)
        v = abs(int(z[0]))
        label = np.zeros(1, np.uint8 if rng.integers(2) else np.uint16)
        least = int(rng.choice([0, v, v + 1, MOST]))
        return Case({"z": z, "label": label, "sure": np.zeros(1, np.uint8)}, {"least": least}, {})


class But(Kernel):
    """label = the first largest of the scores z but for that of the class that it was."""

    name = "pseudo.but"
    loop = Loop(_but)
    reads = ("z",)
    updates = ("label",)
    operands = takes(z="int8|int16 [n]", label=_labels.LABEL)

    def integer(self, t: Arrays, a: Attrs) -> None:
        z = t["z"].astype(np.int32)
        z[np.arange(len(z)), t["label"][:, 0].astype(np.intp)] = -MOST
        t["label"][:, 0] = z.argmax(axis=1)

    def real(self, t: Arrays, a: Attrs) -> None:
        z = t["z"].copy()
        z[np.arange(len(z)), t["label"][:, 0].astype(np.intp)] = -np.inf
        t["label"][:, 0] = z.argmax(axis=1)

    def misfit(self, t: Tensors, a: Attrs) -> str:
        if t["z"].shape[0] < 2:
            return "one score has no other"
        return f"{t['label'].name} may be {t['label'].hi}" if t["label"].hi >= t["z"].shape[0] else ""

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        top = k["z"].shape[0] - 1
        return [], {"label": (0, top, top)}

    def case(self, rng: np.random.Generator) -> Case:
        n = int(rng.integers(2, 12))
        z = rng.integers(-(2**15), 2**15, n).astype(np.int16)
        z[rng.integers(n)] = z[rng.integers(n)]
        label = rng.integers(0, n, 1).astype(np.uint8 if rng.integers(2) else np.uint16)
        return Case({"z": z, "label": label}, {}, {"label": (0, n - 1)})


class Other(Kernel):
    """label = the other one of two classes."""

    name = "pseudo.other"
    loop = Loop(_other)
    updates = ("label",)
    operands = takes(label=_labels.LABEL)

    def integer(self, t: Arrays, a: Attrs) -> None:
        t["label"][:] = t["label"] == 0

    real = integer

    def misfit(self, t: Tensors, a: Attrs) -> str:
        return f"{t['label'].name} may be {t['label'].hi}" if t["label"].hi > 1 else ""

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return [], {"label": (0, 1, 1)}

    def case(self, rng: np.random.Generator) -> Case:
        label = rng.integers(0, 2, 1).astype(np.uint8 if rng.integers(2) else np.uint16)
        return Case({"label": label}, {}, {"label": (0, 1)})
