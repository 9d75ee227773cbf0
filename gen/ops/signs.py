"""Takes a teaching signal through the signs of a layer's weights: g = sign(W)^T d 2^-frac.

Sign-symmetry (Liao, Leibo, Poggio 2016): a connection that hears no more of another one than whether it
excites or inhibits. No matrix is kept; the signs are those that the weights have when the step runs.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .. import numeric
from . import Arrays, Attrs, Bounds, Case, Cost, Format, Kernel, Known
from ._contract import REQUANTISED, takes, within
from ._loops import Cells, Loop, write_signal
from .project import Projection

FRAC = within(frac=(-(2**10), 2**10))
"""Of the signs, which stand for +-2^-frac; it matters in real numbers alone."""


def _project(d: Cells, w: Cells, g: Cells, shift: int, lo: int, hi: int) -> None:
    acc = np.zeros(len(g), np.int32)
    for i in range(len(d)):
        signal = np.int32(d[i])
        if signal != 0:
            for j in range(len(g)):
                sign = np.int32(w[i, j] > 0) - np.int32(w[i, j] < 0)
                acc[j] = np.int32(acc[j] + signal * sign)
    write_signal(g, acc, shift, lo, hi)


def _expand(w: Cells, m: Cells) -> None:
    for i in range(len(w)):
        for j in range(w.shape[1]):
            m[i, j] = np.int8(w[i, j] > 0) - np.int8(w[i, j] < 0)


def _weights(rng: np.random.Generator) -> np.ndarray:
    m, n = int(rng.integers(1, 20)), int(rng.integers(1, 40))
    w = rng.integers(-(2**15), 2**15, (m, n)) * (rng.random((m, n)) < 0.9)
    return w.astype(np.int16) if rng.integers(2) else (w >> 8).astype(np.int8)


class Project(Projection):
    """g is the sum, shifted and held within its limits, as that of any matrix."""

    name = "signs.project"
    loop = Loop(_project)
    reads = ("d", "w")
    operands = takes(d="int16 [rows]", w="int8|int16 [rows, columns]", g="int16 [columns]")
    attributes = within(FRAC, REQUANTISED)

    def integer(self, t: Arrays, a: Attrs) -> None:
        self.finish(numeric.vecmat(t["d"], np.sign(t["w"])), t, a)

    def real(self, t: Arrays, a: Attrs) -> None:
        d, m = t["d"], np.sign(t["w"]) * 2.0 ** -a["frac"]
        t["g"][...] = d @ m[0] if len(m) == 1 else np.matmul(d[:, None, :], m)[:, 0, :]

    def cap(self, f: Mapping[str, Format], a: Attrs) -> dict[str, int]:
        return {"g": int(a["frac"]) + f["d"].frac}

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        return {"frac": int(a["frac"])} | self.lowered(int(a["frac"]), f, where)

    def limit(
        self, role: str, f: Mapping[str, Format], shapes: Mapping[str, tuple[int, ...]], a: Attrs
    ) -> int:
        return int((2**31 - 2**29) // shapes["w"][0]) if role == "d" else 2**31 - 1

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        rows, columns = k["w"].shape
        return self._sum(1, rows, columns, k["d"], a)

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        n = shapes["w"][0] * shapes["w"][1]
        return Cost(macs=n, reads=n)

    def case(self, rng: np.random.Generator) -> Case:
        w = _weights(rng)
        d = rng.integers(-(2**14), 2**14, len(w)).astype(np.int16)
        attrs = {"frac": 7, "shift": int(rng.integers(0, 12)), "lo": -(2**15), "hi": 2**15 - 1}
        return Case({"d": d, "w": w, "g": np.zeros(w.shape[1], np.int16)}, attrs, {})


class Expand(Kernel):
    """Writes the signs themselves, for layers whose feedback is no plain product."""

    name = "signs.expand"
    loop = Loop(_expand)
    reads = ("w",)
    writes = ("m",)
    operands = takes(w="int8|int16 [rows, columns]", m="int8 [rows, columns]")
    attributes = FRAC

    def integer(self, t: Arrays, a: Attrs) -> None:
        t["m"][...] = np.sign(t["w"])

    def real(self, t: Arrays, a: Attrs) -> None:
        t["m"][...] = np.sign(t["w"]) * 2.0 ** -a["frac"]

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        rows, columns = k["w"].shape
        return [], {"m": (-1, 1, rows * columns)}

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        n = shapes["w"][0] * shapes["w"][1]
        return Cost(reads=n, writes=n)

    def case(self, rng: np.random.Generator) -> Case:
        w = _weights(rng)
        return Case({"w": w, "m": np.zeros(w.shape, np.int8)}, {"frac": 7}, {})
