"""Filters of additions alone, of one channel: running sums, and what a value has beyond the mean about it.

Signals are those of gen/ops/signal.py. A running sum is exact: what comes in goes out again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from . import Accumulator, Arrays, Attrs, Bounds, Case, Cost, Format, Kernel, Known
from ._contract import HELD, Range, Tensors, beyond, takes, within
from ._loops import Cells, Loop
from .signal import LIMIT, random_signal

SHIFTS: Range = (0, 30)
SIZES: Range = (2, 2**12)


def _start(x: Cells, first: Cells, begun: Cells, y: Cells, shift: int) -> None:
    if begun[0] == 0:
        first[0] = x[0]
        begun[0] = 1
    for i in range(len(x)):
        y[i] = (np.int64(x[i]) - np.int64(first[0])) >> np.int64(shift)


def _moving(x: Cells, ring: Cells, sum: Cells, at: Cells, y: Cells, shift: int, lo: int, hi: int) -> None:
    place: Any = np.int64(at[0])
    for i in range(len(x)):
        s = np.int64(sum[0]) - np.int64(ring[place]) + np.int64(x[i])
        s = min(max(s, np.int64(lo)), np.int64(hi))
        ring[place] = x[i]
        sum[0] = s
        y[i] = s >> np.int64(shift)
        place = 0 if place + 1 == len(ring) else place + 1
    at[0] = place


def _level(x: Cells, ring: Cells, sum: Cells, at: Cells, y: Cells, shift: int, lo: int, hi: int) -> None:
    place: Any = np.int64(at[0])
    n = len(ring)
    for i in range(len(x)):
        s = np.int64(sum[0]) - np.int64(ring[place]) + np.int64(x[i])
        s = min(max(s, np.int64(lo)), np.int64(hi))
        ring[place] = x[i]
        sum[0] = s
        place = 0 if place + 1 == n else place + 1
        centre = place + n // 2 - n if place + n // 2 >= n else place + n // 2
        y[i] = (np.int64(n) * np.int64(ring[centre]) - s) >> np.int64(shift)
    at[0] = place


class Start(Kernel):
    """y = (x - first) / 2^shift, rounded down, first being the first value of all: filters behind it begin as
    if that had been there for ever."""

    name = "sums.start"
    loop = Loop(_start)
    reads = ("x",)
    updates = ("first", "begun")
    writes = ("y",)
    operands = takes(x="int32 [n]", first="int32 [1]", begun="uint32 [1]", y="int32 [n]")
    attributes = within(shift=SHIFTS)

    def misfit(self, t: Tensors, a: Attrs) -> str:
        return beyond(t["first"], t["x"].lo, t["x"].hi)

    def integer(self, t: Arrays, a: Attrs) -> None:
        t["first"][...] = np.where(t["begun"] == 0, t["x"][:, :1], t["first"])
        t["begun"][...] = 1
        t["y"][...] = (t["x"] - t["first"]) >> t["y"].dtype.type(a["shift"])

    def real(self, t: Arrays, a: Attrs) -> None:
        t["first"][...] = np.where(t["begun"] == 0, t["x"][:, :1], t["first"])
        t["begun"][...] = 1
        t["y"][...] = t["x"] - t["first"]

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        return {"shift": f["x"].frac - f["y"].frac}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        lo = k["x"].lo - max(k["first"].hi, k["x"].hi)
        hi = k["x"].hi - min(k["first"].lo, k["x"].lo)
        kept = min(k["first"].lo, k["x"].lo), max(k["first"].hi, k["x"].hi)
        y = lo >> a["shift"], hi >> a["shift"]
        return [Accumulator("difference", lo, hi)], {
            "y": (*y, k["y"].shape[0] * max(-y[0], y[1])),
            "first": (*kept, max(-kept[0], kept[1])),
        }

    def ranges(self, a: Attrs) -> dict[str, tuple[int, int]]:
        return {"begun": (0, 1)}

    def case(self, rng: np.random.Generator) -> Case:
        n = int(rng.integers(1, 12))
        arrays: dict[str, NDArray[Any]] = {
            "x": random_signal(rng, n),
            "first": random_signal(rng, 1),
            "begun": rng.integers(0, 2, 1).astype(np.uint32),
            "y": np.zeros(n, np.int32),
        }
        limits = {"x": (-LIMIT, LIMIT), "first": (-LIMIT, LIMIT), "begun": (0, 1)}
        return Case(arrays, {"shift": int(rng.integers(0, 31))}, limits)


class _Sum(Kernel):
    """What both kinds of running sums are: ring holds the last values of x, sum their sum, held within its
    limits, which are met by a state from elsewhere alone; at is where the oldest lies."""

    reads = ("x",)
    updates = ("ring", "sum", "at")
    writes = ("y",)
    operands = takes(x="int32 [n]", ring="int32 [size]", sum="int32 [1]", at="uint32 [1]", y="int32 [n]")
    attributes = within(HELD, size=SIZES, shift=SHIFTS)

    def sizes(self, a: Attrs) -> dict[str, int]:
        return {"size": a["size"]}

    def misfit(self, t: Tensors, a: Attrs) -> str:
        return beyond(t["ring"], t["x"].lo, t["x"].hi) or beyond(t["sum"], a["lo"], a["hi"])

    def ranges(self, a: Attrs) -> dict[str, tuple[int, int]]:
        return {"at": (0, a["size"] - 1)}

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        return {"size": int(a["size"]), "shift": int(a["shift"]), "lo": f["sum"].lo, "hi": f["sum"].hi}

    def _slid(self, t: Arrays, a: Attrs, i: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """The sum behind value i, and where the oldest lies then."""
        device, at = np.arange(len(t["y"])), t["at"][:, 0].astype(np.intp)
        s = t["sum"][:, 0] - t["ring"][device, at] + t["x"][:, i]
        s = numeric.saturate(s, a["lo"], a["hi"]) if "lo" in a else s
        t["ring"][device, at] = t["x"][:, i]
        t["sum"][:, 0] = s
        following = (at + 1) % int(a["size"])
        t["at"][:, 0] = following
        return s, following

    def _summed(self, k: Mapping[str, Known], a: Attrs) -> tuple[list[Accumulator], dict[str, Any]]:
        lo = min(a["lo"], k["sum"].lo) + k["x"].lo - max(k["ring"].hi, k["x"].hi)
        hi = max(a["hi"], k["sum"].hi) + k["x"].hi - min(k["ring"].lo, k["x"].lo)
        kept = min(k["ring"].lo, k["x"].lo), max(k["ring"].hi, k["x"].hi)
        return [Accumulator("running sum", lo, hi)], {
            "ring": (*kept, k["ring"].shape[0] * max(-kept[0], kept[1])),
            "sum": (a["lo"], a["hi"], max(-a["lo"], a["hi"])),
        }

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        n = shapes["x"][0]
        return Cost(reads=8 * n, writes=8 * n)

    def case(self, rng: np.random.Generator) -> Case:
        size, n = int(rng.integers(2, 9)), int(rng.integers(1, 12))
        top = 2**26 >> int(rng.integers(0, 20))
        arrays: dict[str, NDArray[Any]] = {
            "x": random_signal(rng, n, top),
            "ring": random_signal(rng, size, top),
            "sum": random_signal(rng, 1, size * top),
            "at": rng.integers(0, size, 1).astype(np.uint32),
            "y": np.zeros(n, np.int32),
        }
        limits = {"x": (-top, top), "ring": (-top, top), "sum": (-size * top, size * top)}
        numbers = {"size": size, "shift": int(rng.integers(0, 31)), "lo": -size * top, "hi": size * top}
        return Case(arrays, numbers, limits | {"at": (0, size - 1)})


class Moving(_Sum):
    """y = the sum of the last `size` values / 2^shift, rounded down."""

    name = "sums.moving"
    loop = Loop(_moving)

    def integer(self, t: Arrays, a: Attrs) -> None:
        for i in range(t["x"].shape[1]):
            s, _ = self._slid(t, a, i)
            t["y"][:, i] = s >> s.dtype.type(a["shift"])

    def real(self, t: Arrays, a: Attrs) -> None:
        for i in range(t["x"].shape[1]):
            s, _ = self._slid(t, a, i)
            t["y"][:, i] = s * 2.0 ** -a["shift"]

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        sums, kept = self._summed(k, a)
        lo, hi = a["lo"] >> a["shift"], a["hi"] >> a["shift"]
        return sums, kept | {"y": (lo, hi, k["y"].shape[0] * max(-lo, hi))}


class Level(_Sum):
    """y = (size * the middle one of the last `size` values - their sum) / 2^shift, rounded down: what it has
    beyond the mean about it. size is odd where it is in the middle."""

    name = "sums.level"
    loop = Loop(_level)

    def _beyond(self, t: Arrays, a: Attrs, i: int) -> NDArray[Any]:
        size = int(a["size"])
        s, at = self._slid(t, a, i)
        centre = t["ring"][np.arange(len(s)), (at + size // 2) % size]
        found: NDArray[Any] = s.dtype.type(size) * centre - s
        return found

    def integer(self, t: Arrays, a: Attrs) -> None:
        for i in range(t["x"].shape[1]):
            d = self._beyond(t, a, i)
            t["y"][:, i] = d >> d.dtype.type(a["shift"])

    def real(self, t: Arrays, a: Attrs) -> None:
        for i in range(t["x"].shape[1]):
            t["y"][:, i] = self._beyond(t, a, i) * 2.0 ** -a["shift"]

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        sums, kept = self._summed(k, a)
        lo, hi = kept["ring"][0] * a["size"], kept["ring"][1] * a["size"]
        apart = lo - a["hi"], hi - a["lo"]
        y = apart[0] >> a["shift"], apart[1] >> a["shift"]
        own = [*sums, Accumulator("product", lo, hi), Accumulator("difference", *apart)]
        return own, kept | {"y": (*y, k["y"].shape[0] * max(-y[0], y[1]))}
