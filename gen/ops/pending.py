"""Windows that were answered and may yet be labelled: when each was, and which one a label means.

Time is counted in raw frames, round at 2^32: `clock` pushes have come, each of `frames`. Of each row of the
tables of windows there is a moment, and whether it is open: no label has come for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import Arrays, Attrs, Bounds, Case, Kernel, Known
from ._contract import WORD, Range, Tensors, takes, within
from ._loops import Cells, Loop

FRAMES: Range = (1, 2**16)
MOST = 2**24
"""Frames that a label may lie back."""
ROWS: Range = (1, 255)
TURN = 2**32 - 1
HALF = 2**31


def _enter(
    clock: Cells, ago: Cells, moments: Cells, open: Cells, next: Cells, frames: int, every: int, part: int,
    behind: int,
) -> None:  # fmt: skip
    row = np.int64(next[0])
    late = (np.int64(ago[0]) * np.int64(every) + np.int64(part // 2)) // np.int64(part)
    moment = np.int64(clock[0]) * np.int64(frames) - late - np.int64(behind)
    moments[row] = moment & np.int64(TURN)
    open[row] = 1
    next[0] = 0 if row + 1 == len(open) else row + 1


def _find(
    ago: Cells, clock: Cells, moments: Cells, open: Cells, found: Cells, row: Cells, flag: Cells, frames: int,
    within: int,
) -> None:  # fmt: skip
    moment = np.int64(clock[0]) * np.int64(frames) - np.int64(ago[0])
    best, nearest = np.int64(-1), np.int64(within) + np.int64(1)
    for k in range(len(open)):
        apart = (moment - np.int64(moments[k])) & np.int64(TURN)
        apart = min(apart, np.int64(TURN) + np.int64(1) - apart)
        if open[k] != 0 and apart < nearest:
            nearest = apart
            best = np.int64(k)
    if best >= 0:
        open[best] = 0
    found[0] = best >= 0
    flag[0] = best >= 0
    row[0] = max(best, np.int64(0))


def _oldest(open: Cells, next: Cells, flag: Cells) -> None:
    flag[0] = open[np.int64(next[0])] != 0


class Enter(Kernel):
    """A row for a window, its moment `behind` + ago * every / part frames before now: open; next goes on."""

    name = "pending.enter"
    loop = Loop(_enter)
    reads = ("clock", "ago")
    updates = ("moments", "open", "next")
    operands = takes(
        clock="uint32 [1]", ago="uint32 [1]", moments="uint32 [rows]", open="uint32 [rows]", next="uint32 [1]"
    )
    attributes = within(rows=ROWS, frames=FRAMES, every=FRAMES, part=FRAMES, behind=(0, MOST))

    def sizes(self, a: Attrs) -> dict[str, int]:
        return {"rows": a["rows"]}

    def misfit(self, t: Tensors, a: Attrs) -> str:
        late = t["ago"].hi * a["every"] + a["part"]
        return f"{t['ago'].name} may be {t['ago'].hi}, times {a['every']}" if late >= 2**32 else ""

    def integer(self, t: Arrays, a: Attrs) -> None:
        device, row = np.arange(len(t["next"])), t["next"][:, 0].astype(np.intp)
        ago = (t["ago"].astype(np.int64) * int(a["every"]) + int(a["part"]) // 2) // int(a["part"])
        moment = (t["clock"].astype(np.int64) * int(a["frames"]) - ago - int(a["behind"])) & TURN
        t["moments"][device, row] = moment[:, 0]
        t["open"][device, row] = 1
        t["next"][:, 0] = (row + 1) % t["open"].shape[1]

    real = integer

    def ranges(self, a: Attrs) -> dict[str, tuple[int, int]]:
        return {"open": (0, 1), "next": (0, a["rows"] - 1)}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return [], {}

    def case(self, rng: np.random.Generator) -> Case:
        rows = int(rng.integers(1, 6))
        arrays: dict[str, NDArray[Any]] = {
            "clock": _clock(rng),
            "ago": rng.integers(0, 50, 1).astype(np.uint32),
            "moments": rng.integers(0, 2**32, rows).astype(np.uint32),
            "open": rng.integers(0, 2, rows).astype(np.uint32),
            "next": rng.integers(0, rows, 1).astype(np.uint32),
        }
        numbers = {"rows": rows, "frames": int(rng.integers(1, 40)), "every": int(rng.integers(1, 5))}
        numbers["part"] = int(rng.integers(1, 4))
        limits = {"open": (0, 1), "next": (0, rows - 1), "ago": (0, 50)}
        return Case(arrays, numbers | {"behind": int(rng.integers(0, 300))}, limits)


class Find(Kernel):
    """The open row whose moment is nearest to `ago` frames before now, at most `within` off, the first one
    of two: found = flag = 1, row is its number, and it is open no more. Else found = flag = row = 0."""

    name = "pending.find"
    loop = Loop(_find)
    reads = ("ago", "clock", "moments")
    updates = ("open",)
    writes = ("found", "row", "flag")
    operands = takes(
        ago="uint32 [1]",
        clock="uint32 [1]",
        moments="uint32 [rows]",
        open="uint32 [rows]",
        found="uint32 [1]",
        row="uint32 [1]",
        flag="uint8 [1]",
    )
    attributes = within(rows=ROWS, frames=FRAMES, within=(0, MOST))

    def sizes(self, a: Attrs) -> dict[str, int]:
        return {"rows": a["rows"]}

    def integer(self, t: Arrays, a: Attrs) -> None:
        moment = t["clock"].astype(np.int64) * int(a["frames"]) - t["ago"].astype(np.int64)
        apart = (moment - t["moments"].astype(np.int64)) & TURN
        apart = np.minimum(apart, TURN + 1 - apart)
        apart = np.where((t["open"] != 0) & (apart <= int(a["within"])), apart, MOST + 1)
        best = apart.argmin(axis=1)
        device = np.arange(len(best))
        found = apart[device, best] <= MOST
        t["open"][device[found], best[found]] = 0
        t["found"][:, 0] = found
        t["flag"][:, 0] = found
        t["row"][:, 0] = np.where(found, best, 0)

    real = integer

    def ranges(self, a: Attrs) -> dict[str, tuple[int, int]]:
        return {"open": (0, 1), "found": (0, 1), "row": (0, a["rows"] - 1)}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        last = k["open"].shape[0] - 1
        return [], {"found": (0, 1, 1), "row": (0, last, last), "flag": (0, 1, 1)}

    def case(self, rng: np.random.Generator) -> Case:
        rows, clock, frames = int(rng.integers(1, 6)), _clock(rng), int(rng.integers(1, 40))
        now = int(clock[0]) * frames
        arrays: dict[str, NDArray[Any]] = {
            "ago": rng.choice([*range(60), WORD[1]], 1).astype(np.uint32),
            "clock": clock,
            "moments": ((now - rng.integers(0, 60, rows)) & TURN).astype(np.uint32),
            "open": rng.integers(0, 2, rows).astype(np.uint32),
            "found": np.zeros(1, np.uint32),
            "row": np.zeros(1, np.uint32),
            "flag": np.zeros(1, np.uint8),
        }
        limits = {"open": (0, 1), "found": (0, 1), "row": (0, rows - 1)}
        return Case(arrays, {"rows": rows, "frames": frames, "within": int(rng.integers(0, 20))}, limits)


class Oldest(Kernel):
    """flag = 1 where the row that the next window takes is open: no label has come for it, and none will."""

    name = "pending.oldest"
    loop = Loop(_oldest)
    reads = ("open", "next")
    writes = ("flag",)
    operands = takes(open="uint32 [rows]", next="uint32 [1]", flag="uint8 [1]")
    attributes = within(rows=ROWS)

    def sizes(self, a: Attrs) -> dict[str, int]:
        return {"rows": a["rows"]}

    def integer(self, t: Arrays, a: Attrs) -> None:
        t["flag"][:, 0] = t["open"][np.arange(len(t["flag"])), t["next"][:, 0].astype(np.intp)] != 0

    real = integer

    def ranges(self, a: Attrs) -> dict[str, tuple[int, int]]:
        return {"open": (0, 1), "next": (0, a["rows"] - 1)}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return [], {"flag": (0, 1, 1)}

    def case(self, rng: np.random.Generator) -> Case:
        rows = int(rng.integers(1, 6))
        arrays: dict[str, NDArray[Any]] = {
            "open": rng.integers(0, 2, rows).astype(np.uint32),
            "next": rng.integers(0, rows, 1).astype(np.uint32),
            "flag": np.zeros(1, np.uint8),
        }
        return Case(arrays, {"rows": rows}, {"open": (0, 1), "next": (0, rows - 1)})


def _clock(rng: np.random.Generator) -> NDArray[np.uint32]:
    return rng.choice([0, 1, 1000, WORD[1], *rng.integers(0, WORD[1], 2)], 1).astype(np.uint32)
