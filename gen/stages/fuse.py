"""Joins two steps of a program to one that does the same bits with less memory: gen.ops says which two.

So far a teaching signal and the sum that alone reads it. Works on lowered programs: formats are chosen as if
the signal were stored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from ..ir.program import Item, Program, Step
from ..ops import changed, kernel, replaced


def fuse(programs: Mapping[str, Program]) -> dict[str, Program]:
    """The programs, with one step where two can be one."""
    uses = Counter(
        name
        for program in programs.values()
        for item in program.items
        if isinstance(item, Step)
        for name in item.args.values()
    )
    return {name: replace(p, items=_fused(p.items, uses)) for name, p in programs.items()}


def _fused(items: tuple[Item, ...], uses: Mapping[str, int]) -> tuple[Item, ...]:
    out = list(items)
    for i, step in enumerate(items):
        if isinstance(step, Step) and (found := _partner(step, items[i + 1 :], uses)):
            second, joined = found
            at = out.index(step)
            out[at] = joined
            del out[out.index(second, at)]
    return tuple(out)


def _partner(step: Step, rest: tuple[Item, ...], uses: Mapping[str, int]) -> tuple[Step, Step] | None:
    """(the step behind `step` that alone reads what it writes, the one that does the work of both)."""
    made = {name for name in replaced(step).values() if uses[name] == 2}
    between: list[Step] = [step]
    for item in rest:
        if not isinstance(item, Step):
            return None  # what a program in between touches is not looked at
        if made & {*item.args.values()}:
            joined = kernel(step.kernel).joined(step, item)
            return (item, joined) if joined and _early(item, between, made) else None
        between.append(item)
    return None


def _early(second: Step, between: list[Step], made: set[str]) -> bool:
    """Whether `second` finds its other operands, and disturbs nobody, before the steps `between`."""
    read, written = {*second.args.values()} - made, {*changed(second).values()}
    return all(
        not read.intersection(changed(step).values()) and not written.intersection(step.args.values())
        for step in between
    )
