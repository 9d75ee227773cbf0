"""Estimates of clock cycles from what ran: a table a core, stated in docs/BENCH.md. Not measurements.

All models read from memory without wait states.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ..devices._counter import Profile
from .decode import Instruction, decode


@dataclass(frozen=True, slots=True)
class Model:
    """Cycles of each kind of instruction. Loads and stores of N registers take 1 + N.

    paired_load: a load directly behind another one that does not give it its address
    taken:       more for a branch that is taken; `call` and `pop`: more again for BL, and for a load to PC
    width:       instructions a cycle; then memory and multiplier take one each a cycle
    """

    load: float = 2
    paired_load: float = 1
    store: float = 1
    indexed_store: float = 2
    taken: float = 2
    call: float = 0
    pop: float = 0
    multiply_add: float = 1
    long_multiply: float = 1
    long_multiply_add: float = 1
    divide: float = 7
    width: int = 1


_M4 = Model()

MODELS: Mapping[str, Model] = {
    "cortex-m0": Model(paired_load=2, store=2, indexed_store=2, taken=2, call=1, pop=1),
    "cortex-m0plus": Model(paired_load=2, store=2, indexed_store=2, taken=1, call=1, pop=1),
    "cortex-m3": Model(multiply_add=2, long_multiply=4, long_multiply_add=5),
    "cortex-m4": _M4,
    "cortex-m7": Model(load=1, paired_load=1, store=1, indexed_store=1, taken=1, divide=6, width=2),
    "cortex-m33": _M4,
}
"""By core. The Cortex-M55 has none: no device here tells which instructions it ran."""

CLASSES = ("load", "store", "multiply", "branch", "other")
_CLASS: Mapping[str, str] = {
    **dict.fromkeys(("load", "load many"), "load"),
    **dict.fromkeys(("store", "store many"), "store"),
    **dict.fromkeys(("multiply", "multiply-add", "long multiply", "long multiply-add"), "multiply"),
    **dict.fromkeys(("branch", "call", "table branch"), "branch"),
}


def classes(profile: Profile) -> dict[str, int]:
    """Instructions by class."""
    found: Counter[str] = Counter()
    for runs in profile:
        for instruction in _instructions(runs.code):
            found[class_of(instruction)] += runs.times
    return {name: found[name] for name in CLASSES}


def estimate(profile: Profile, model: Model) -> float:
    """Cycles that the blocks of `profile` take by `model`."""
    return sum(
        runs.times * _straight(found, model) + runs.taken * _jump(found, model)
        for runs, found in ((r, _instructions(r.code)) for r in profile)
    )


@lru_cache(4096)
def _instructions(code: bytes) -> tuple[Instruction, ...]:
    return tuple(decode(code))


def class_of(instruction: Instruction) -> str:
    """One of CLASSES."""
    return _CLASS.get(instruction.kind, "other")


def _jump(found: Sequence[Instruction], model: Model) -> float:
    """What it costs beyond its cycles that the last instruction led elsewhere."""
    last = found[-1]
    return model.taken + (model.call if last.kind == "call" else 0) + (model.pop if last.to_pc else 0)


def _straight(found: Sequence[Instruction], model: Model) -> float:
    """Cycles of a block that falls through."""
    single = [_cost(i, before, model) for before, i in zip((None, *found), found, strict=False)]
    if model.width == 1:
        return sum(single)
    # Two at a time where nothing but their units keeps them apart: no dependency is looked at.
    memory = sum(_units(i) for i in found if class_of(i) in ("load", "store"))
    products = sum(1 for i in found if class_of(i) == "multiply")
    slow = sum(c - 1 for c, i in zip(single, found, strict=True) if "divide" in i.kind)
    return max(sum(1 if _units(i) <= 1 else _units(i) for i in found) / model.width, memory, products) + slow


def _units(i: Instruction) -> float:
    """Cycles that a 64-bit bus needs for the words."""
    return max(1.0, (i.words + 1) // 2)


def _cost(i: Instruction, before: Instruction | None, model: Model) -> float:
    kind = i.kind
    if kind == "load":
        behind = before is not None and before.kind == "load" and before.target not in i.address
        return model.paired_load if behind else model.load
    if kind == "store":
        return model.indexed_store if len(i.address) > 1 else model.store
    if kind in ("load many", "store many"):
        return 1.0 + i.words
    return {
        "table branch": 2.0,
        "multiply-add": model.multiply_add,
        "long multiply": model.long_multiply,
        "long multiply-add": model.long_multiply_add,
        "divide": model.divide,
        "float multiply-add": 3.0,
        "float divide": 14.0,
    }.get(kind, 1.0)
