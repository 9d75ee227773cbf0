"""Counting and dividing down: the clocks of schedules."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..ir.program import Item, Program, Step, When, reached
from . import Arrays, Attrs, Bounds, Case, Kernel, Known, changed
from ._contract import WORD, Tensors, beyond, takes, within
from ._loops import Cells, Loop


def _tick(count: Cells) -> None:
    count[0] = np.uint32(count[0] + np.uint32(1))


def _every(phase: Cells, flag: Cells, period: int) -> None:
    following = np.uint32(phase[0] + np.uint32(1))
    due = following >= period
    phase[0] = 0 if due else following
    flag[0] = due


def _between(count: Cells, flag: Cells, first: int, last: int) -> None:
    flag[0] = first <= count[0] <= last


class Tick(Kernel):
    """count += 1 (mod 2^32)."""

    name = "counter.tick"
    loop = Loop(_tick)
    updates = ("count",)
    operands = takes(count="uint32 [1]")

    def misfit(self, t: Tensors, a: Attrs) -> str:
        return beyond(t["count"], *WORD)

    def integer(self, t: Arrays, a: Attrs) -> None:
        with np.errstate(over="ignore"):
            t["count"][...] += t["count"].dtype.type(1)

    real = integer

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return [], {}

    def case(self, rng: np.random.Generator) -> Case:
        return Case({"count": rng.choice(np.array([0, 5, 2**32 - 1], np.uint32), 1)}, {}, {})


class Every(Kernel):
    """flag = 1 at each `period`-th run, else 0; phase counts the runs since."""

    name = "counter.every"
    loop = Loop(_every)
    updates = ("phase",)
    writes = ("flag",)
    operands = takes(phase="uint32 [1]", flag="uint8 [1]")
    attributes = within(period=(1, WORD[1]))

    def integer(self, t: Arrays, a: Attrs) -> None:
        phase = t["phase"] + t["phase"].dtype.type(1)
        due = phase >= a["period"]
        t["phase"][...] = np.where(due, 0, phase)
        t["flag"][...] = due

    real = integer

    def ranges(self, a: Attrs) -> dict[str, tuple[int, int]]:
        return {"phase": (0, a["period"] - 1)}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return [], {"flag": (0, 1, 1)}

    def case(self, rng: np.random.Generator) -> Case:
        period = int(rng.integers(1, 6))
        return Case(
            {"phase": rng.integers(0, period, 1).astype(np.uint32), "flag": np.zeros(1, np.uint8)},
            {"period": period},
            {},
        )


class Between(Kernel):
    """flag = 1 while first <= count <= last, else 0."""

    name = "counter.between"
    loop = Loop(_between)
    reads = ("count",)
    writes = ("flag",)
    operands = takes(count="uint32 [1]", flag="uint8 [1]")
    attributes = within(first=WORD, last=WORD)

    def misfit(self, t: Tensors, a: Attrs) -> str:
        return f"it counts from {a['first']} to {a['last']}" if a["first"] > a["last"] else ""

    def integer(self, t: Arrays, a: Attrs) -> None:
        t["flag"][...] = (t["count"] >= a["first"]) & (t["count"] <= a["last"])

    real = integer

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return [], {"flag": (0, 1, 1)}

    def case(self, rng: np.random.Generator) -> Case:
        first, last = np.sort(rng.choice([0, 1, 5, 6, 100, WORD[1] - 1, WORD[1]], 2))
        count = rng.choice([0, int(first), int(last), max(0, int(first) - 1), min(WORD[1], int(last) + 1)])
        numbers = {"first": int(first), "last": int(last)}
        return Case({"count": np.array([count], np.uint32), "flag": np.zeros(1, np.uint8)}, numbers, {})


def turns(programs: Mapping[str, Program], name: str) -> list[list[Item]]:
    """The items of a program, those together of which a run takes one at most: what runs between numbers of
    one count that do not overlap, as the copies of a schedule do."""
    items = programs[name].items
    written = {
        v
        for p in reached(programs, name)
        for i in programs[p].items
        if isinstance(i, Step)
        for v in changed(i).values()
    }
    spans = {
        i.args["flag"]: (i.args["count"], i.attrs["first"], i.attrs["last"])
        for i in items
        if isinstance(i, Step) and i.kernel == Between.name and i.args["count"] not in written
    }

    def apart(a: Item, b: Item) -> bool:
        if not (isinstance(a, When) and isinstance(b, When) and a.flag in spans and b.flag in spans):
            return False
        (count, first, last), (other, start, end) = spans[a.flag], spans[b.flag]
        return count == other and (last < start or end < first)

    groups: list[list[Item]] = []
    for item in items:
        group = next((g for g in groups if all(apart(item, i) for i in g)), None)
        if group is None:
            groups.append([item])
        else:
            group.append(item)
    return groups
