"""The winning class and how far it leads."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from . import Accumulator, Arrays, Attrs, Bounds, Case, Kernel, Known
from ._contract import takes
from ._loops import Cells, Loop


def _argmax(z: Cells, verdict: Cells) -> None:
    winner, second = 0, -1
    for i in range(1, len(z)):
        if z[i] > z[winner]:
            winner, second = i, winner
        elif second < 0 or z[i] > z[second]:
            second = i
    verdict[0] = winner
    verdict[1] = 0 if second < 0 else np.int32(z[winner]) - np.int32(z[second])


def _sign(z: Cells, verdict: Cells) -> None:
    v = np.int32(z[0])
    verdict[0] = v > 0
    verdict[1] = abs(v)


class Argmax(Kernel):
    """verdict = (index of the first largest logit, its lead over the second); a single output leads by 0."""

    name = "classify.argmax"
    loop = Loop(_argmax)
    reads = ("z",)
    writes = ("verdict",)
    operands = takes(z="int8|int16 [n]", verdict="int32 [2]")

    def integer(self, t: Arrays, a: Attrs) -> None:
        z = t["z"].astype(np.int32)
        winner = np.argmax(z, axis=1)
        t["verdict"][:, 0] = winner
        if z.shape[1] == 1:
            t["verdict"][:, 1] = 0
            return
        top = np.partition(z, z.shape[1] - 2, axis=1)
        t["verdict"][:, 1] = top[:, -1] - top[:, -2]

    def real(self, t: Arrays, a: Attrs) -> None:
        z = np.sort(t["z"], axis=1)
        t["verdict"][:, 0] = np.argmax(t["z"], axis=1)
        t["verdict"][:, 1] = z[:, -1] - z[:, -2] if z.shape[1] > 1 else 0

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        lead = k["z"].hi - k["z"].lo
        top = max(k["z"].shape[0] - 1, lead)
        return [Accumulator("lead", 0, lead)], {"verdict": (0, top, 2 * top)}

    def case(self, rng: np.random.Generator) -> Case:
        n = int(rng.integers(1, 12))
        z = rng.integers(-(2**15), 2**15, n).astype(np.int16)
        z[rng.integers(n)] = z[rng.integers(n)]
        return Case({"z": z, "verdict": np.zeros(2, np.int32)}, {}, {})


class Sign(Kernel):
    """verdict = (1 if the one score is above zero, else 0, its magnitude): of two classes by one output."""

    name = "classify.sign"
    loop = Loop(_sign)
    reads = ("z",)
    writes = ("verdict",)
    operands = takes(z="int8|int16 [1]", verdict="int32 [2]")

    def integer(self, t: Arrays, a: Attrs) -> None:
        z = t["z"][:, 0].astype(np.int32)
        t["verdict"][:, 0] = z > 0
        t["verdict"][:, 1] = np.abs(z)

    def real(self, t: Arrays, a: Attrs) -> None:
        t["verdict"][:, 0] = t["z"][:, 0] > 0
        t["verdict"][:, 1] = np.abs(t["z"][:, 0])

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return [], {"verdict": (0, max(1, k["z"].mag), k["z"].mag + 1)}

    def case(self, rng: np.random.Generator) -> Case:
        z = (rng.integers(-(2**15), 2**15, 1) >> rng.integers(0, 16)).astype(np.int16)
        return Case({"z": z, "verdict": np.zeros(2, np.int32)}, {}, {})
