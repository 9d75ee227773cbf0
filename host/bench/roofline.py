"""What bounds learning on this computer: multiply-accumulates against what the engine's instructions can do,
bytes of a device's memory against what its memory can copy. Both are measured here.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np

from synapcc.gen.ir.plan import Plan
from synapcc.gen.ir.program import Item, Repeat, Step
from synapcc.gen.ops import kernel
from synapcc.gen.ops.counter import turns

from .. import engine

COPIED, TOGETHER = 1 << 26, 1 << 29
"""Bytes of a copy on each core, and on all of them: more than caches hold, and what a computer has left."""
REPEATS = 5


def peaks(cores: int) -> dict[str, float]:
    """`macs` and `bytes` a second, of so many cores; no `macs` where no engine can be compiled."""
    found = {"bytes": copying(cores)}
    if not engine.unusable()[0]:
        from ..engine.peak import rate

        found["macs"] = rate(cores)
    return found


def size(cores: int) -> int:
    """Bytes that each of so many cores copies."""
    return min(COPIED, TOGETHER // cores)


def copying(cores: int) -> float:
    """Bytes a second that so many cores read and write together."""
    each = size(cores)
    arrays = [(np.zeros(each, np.uint8), np.ones(each, np.uint8)) for _ in range(cores)]

    def run() -> float:
        threads = [threading.Thread(target=np.copyto, args=pair) for pair in arrays]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.perf_counter() - start

    return 2 * each * cores / min(run() for _ in range(REPEATS))


def work(plan: Plan, steps: int) -> dict[str, float]:
    """`macs` and `bytes` of one learning step at most: every condition holds, and a device's memory comes and
    goes once in `steps` steps, which it learns one after the other."""
    memory = 2 * (plan.state_bytes + plan.arena_bytes) / steps
    return {"macs": macs(plan, "learn"), "bytes": memory + sum(plan[n].nbytes for n in plan.inputs)}


def macs(plan: Plan, program: str) -> int:
    """Multiply-accumulates of a program, when every condition holds; of programs that take turns the most."""

    def work(item: Item) -> int:
        if isinstance(item, Step):
            shapes = {role: plan[name].shape for role, name in item.args.items()}
            return kernel(item.kernel).cost(shapes, item.attrs).macs
        return (item.times if isinstance(item, Repeat) else 1) * macs(plan, item.program)

    return sum(max(map(work, items)) for items in turns(plan.programs, program))


def shares(row: dict[str, Any], peak: dict[str, float]) -> list[str]:
    """How much of each peak, of the cores that it runs on, a row of the report uses, in percent, as texts."""
    rate = row["compiled"]
    return [
        f"{100 * rate * row[k] / peak[k]:.0f} %" if rate and k in peak else "-" for k in ("macs", "bytes")
    ]


def told(peak: dict[str, float]) -> str:
    """The peaks in words."""
    sums = f"{peak['macs'] / 1e9:.0f} G multiply-accumulates and " if "macs" in peak else ""
    return (
        f"peaks, measured, all cores: {sums}{peak['bytes'] / 1e9:.1f} GB read or written a second;"
        " what a step needs of them: sums of products, and its device's memory once a stay"
    )
