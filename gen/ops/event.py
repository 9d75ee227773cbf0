"""Events of a signal, as R peaks, told one at a time: each when what comes behind it is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir.plan import PlanTensor
from . import Arrays, Attrs, Bounds, Case, Kernel, Known, Variant
from ._contract import Range, Tensors, beyond, takes, within
from ._loops import Cells, Loop

TOP = 2**21
"""No age counts further, in frames."""
NUMBERS = {"top": TOP}
FRAMES: Range = (0, 2**20)


def _next(
    y: Cells, pending: Cells, last: Cells, wait: Cells, made: Cells, ago: Cells, interval: Cells, flag: Cells,
    after: int, most: int, by: int,
) -> None:  # fmt: skip
    n, d = np.int64(len(y)), len(pending)
    for k in range(d):
        pending[k] = min(np.int64(pending[k]) + n, np.int64(TOP)) if pending[k] != 0 else np.int64(0)
    last[0] = min(np.int64(last[0]) + n, np.int64(TOP)) if last[0] != 0 else np.int64(0)
    wait[0] = np.int64(wait[0]) - n if wait[0] > n else np.int64(0)
    for i in range(len(y)):
        if y[i] > 0:
            for k in range(d):
                if pending[k] == 0:
                    pending[k] = min(np.int64(y[i]) + n - np.int64(i), np.int64(TOP))
                    break
    first = np.int64(pending[0])
    late, told = first - 1 - after, first > after
    interval[0] = np.int64(last[0]) - first if told and last[0] > first else np.int64(0)
    if told:
        last[0] = first
        for k in range(d - 1):
            pending[k] = pending[k + 1]
        pending[d - 1] = 0
    now = told and late <= most and wait[0] == 0
    made[0] = now
    flag[0] = now
    ago[0] = (late + by // 2) // by if now else np.int64(0)


def _unless(
    x: Cells, ago: Cells, since: Cells, made: Cells, flag: Cells, length: int, every: int, part: int
) -> None:
    n, last = np.int64(len(x)), np.int64(0)
    for i in range(len(x)):
        last = np.int64(i) + np.int64(1) if x[i] != 0 else last
    calm = n - last if last > 0 else min(np.int64(since[0]) + n, np.int64(TOP))
    since[0] = calm
    late = (np.int64(ago[0]) * np.int64(every) + np.int64(part) - np.int64(1)) // np.int64(part)
    if calm < np.int64(length) + late:
        made[0] = 0
        flag[0] = 0


class Unless(Kernel):
    """made = flag = 0 where x, a signal of doubt, was not 0 since the first frame of the window that ended
    `ago` of its frames before: `length` + ago * every / part, rounded up, frames of x.

    since: frames of x since it was last not 0, up to 2^21
    """

    name = "event.unless"
    loop = Loop(_unless)
    reads = ("x", "ago")
    updates = ("since", "made", "flag")
    operands = takes(x="int32 [n]", ago="uint32 [1]", since="uint32 [1]", made="uint32 [1]", flag="uint8 [1]")
    attributes = within(length=(1, 2**20), every=(1, 2**12), part=(1, 2**12))

    def variant(self, kernel_set: str, t: Mapping[str, PlanTensor], a: Attrs) -> Variant:
        return Variant(self.name.split(".")[1], numbers=NUMBERS)

    def misfit(self, t: Tensors, a: Attrs) -> str:
        reach = t["ago"].hi * a["every"] + a["part"] + a["length"]
        return f"{t['ago'].name} may be {t['ago'].hi}, times {a['every']}" if reach >= 2**31 else ""

    def integer(self, t: Arrays, a: Attrs) -> None:
        n = t["x"].shape[1]
        last = np.where(t["x"] != 0, np.arange(1, n + 1), 0).max(axis=1, keepdims=True)
        calm = np.where(last > 0, n - last, np.minimum(t["since"].astype(np.int64) + n, TOP))
        ago = -(-(t["ago"].astype(np.int64) * int(a["every"])) // int(a["part"]))
        doubt = calm < int(a["length"]) + ago
        t["since"][...] = calm
        t["made"][...] = np.where(doubt, 0, t["made"])
        t["flag"][...] = np.where(doubt, 0, t["flag"])

    real = integer

    def ranges(self, a: Attrs) -> dict[str, tuple[int, int]]:
        return {"made": (0, 1), "since": (0, TOP)}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return [], {"flag": (0, 1, 1)}

    def case(self, rng: np.random.Generator) -> Case:
        n = int(rng.integers(1, 9))
        arrays: dict[str, NDArray[Any]] = {
            "x": np.where(rng.integers(0, 9, n) == 0, 256, 0).astype(np.int32),
            "ago": rng.integers(0, 9, 1).astype(np.uint32),
            "since": rng.choice([0, 1, 9, 20, 40, TOP], 1).astype(np.uint32),
            "made": rng.integers(0, 2, 1).astype(np.uint32),
            "flag": rng.integers(0, 2, 1).astype(np.uint8),
        }
        numbers = {"length": int(rng.integers(1, 30)), "every": int(rng.integers(1, 4))}
        limits = {"x": (0, 256), "ago": (0, 8), "since": (0, TOP), "made": (0, 1)}
        return Case(arrays, numbers | {"part": int(rng.integers(1, 4))}, limits)


class Next(Kernel):
    """Tells the first of the events that no push has told, once `after` frames came behind it: made = flag =
    1, ago = how many frames came since then, to the nearest multiple of `by`, in such multiples; interval =
    the frames since the event before it, 0 of the first. One that is told more than `most` frames late, or
    while `wait` frames have not come since the start, counts for the interval alone.

    y:       [n] of a push, 0, or how many frames before this one the event was
    pending: 1 more than the age of each that was not told, the first one first; what finds no place is lost
    last:    1 more than the age of the last one that was told; 0 before it
    """

    name = "event.next"
    loop = Loop(_next)
    reads = ("y",)
    updates = ("pending", "last", "wait")
    writes = ("made", "ago", "interval", "flag")
    operands = takes(
        y="int32 [n]",
        pending="uint32 [d]",
        last="uint32 [1]",
        wait="uint32 [1]",
        made="uint32 [1]",
        ago="uint32 [1]",
        interval="uint32 [1]",
        flag="uint8 [1]",
    )
    attributes = within(after=FRAMES, most=FRAMES, by=(1, 2**16), settle=(0, 2**24))

    def variant(self, kernel_set: str, t: Mapping[str, PlanTensor], a: Attrs) -> Variant:
        return Variant(self.name.split(".")[1], numbers=NUMBERS)

    def misfit(self, t: Tensors, a: Attrs) -> str:
        if t["y"].lo < 0 or t["y"].hi > TOP >> 1:
            return f"{t['y'].name} may be {t['y'].lo} to {t['y'].hi}"
        return beyond(t["ago"], 0, (a["most"] + a["by"] // 2) // a["by"])

    def integer(self, t: Arrays, a: Attrs) -> None:
        n = t["y"].shape[1]
        pending, last, wait = (t[role].astype(np.int64) for role in ("pending", "last", "wait"))
        pending = np.where(pending != 0, np.minimum(pending + n, TOP), 0)
        last = np.where(last != 0, np.minimum(last + n, TOP), 0)
        wait = np.maximum(wait - n, 0)
        for i in range(n):
            free = (pending == 0) & (np.cumsum(pending == 0, axis=1) == 1) & (t["y"][:, i : i + 1] > 0)
            pending = np.where(free, np.minimum(t["y"][:, i : i + 1].astype(np.int64) + n - i, TOP), pending)
        first = pending[:, :1]
        late, told = first - 1 - a["after"], first > a["after"]
        t["interval"][...] = np.where(told & (last > first), last - first, 0)
        after = np.concatenate([pending[:, 1:], np.zeros_like(first)], axis=1)
        t["last"][...] = np.where(told, first, last)
        t["pending"][...] = np.where(told, after, pending)
        t["wait"][...] = wait
        now = told & (late <= a["most"]) & (wait == 0)
        t["made"][...] = now
        t["flag"][...] = now
        t["ago"][...] = np.where(now, (late + a["by"] // 2) // a["by"], 0)

    real = integer

    def ranges(self, a: Attrs) -> dict[str, tuple[int, int]]:
        ago = (a["most"] + a["by"] // 2) // a["by"]
        own = {"pending": (0, TOP), "last": (0, TOP), "wait": (0, a["settle"])}
        return own | {"made": (0, 1), "ago": (0, ago), "interval": (0, TOP)}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        ago = (a["most"] + a["by"] // 2) // a["by"]
        return [], {"made": (0, 1, 1), "ago": (0, ago, ago), "interval": (0, TOP, TOP), "flag": (0, 1, 1)}

    def case(self, rng: np.random.Generator) -> Case:
        n, d = int(rng.integers(1, 9)), int(rng.integers(1, 5))
        after, most, by = int(rng.integers(0, 20)), int(rng.integers(0, 30)), int(rng.integers(1, 4))
        top = int(rng.choice([40, TOP >> 1]))
        ages = np.where(rng.integers(0, 3, d) == 0, 0, rng.choice([*range(1, 40), TOP - 1, TOP], d))
        arrays: dict[str, NDArray[Any]] = {
            "y": np.where(rng.integers(0, 3, n) == 0, rng.integers(0, top + 1, n), 0).astype(np.int32),
            "pending": ages.astype(np.uint32),
            "last": rng.choice([0, 1, 50, TOP], 1).astype(np.uint32),
            "wait": rng.choice([0, 0, 1, n, 30], 1).astype(np.uint32),
            "made": np.zeros(1, np.uint32),
            "ago": np.zeros(1, np.uint32),
            "interval": np.zeros(1, np.uint32),
            "flag": np.zeros(1, np.uint8),
        }
        ago = (most + by // 2) // by
        limits = {"y": (0, top), "pending": (0, TOP), "last": (0, TOP), "wait": (0, 30)}
        limits |= {"made": (0, 1), "ago": (0, ago), "interval": (0, TOP)}
        return Case(arrays, {"after": after, "most": most, "by": by, "settle": 30}, limits)
