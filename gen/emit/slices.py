"""The programs of a Plan as data: what a run in slices goes through, step by step.

A run in one call is C that calls C; one that may be left after every step needs its place kept in memory. The
table has the items of the programs in their order, an end behind each; a run keeps one place and one count of
turns for each level of calls, `Plan.depth` of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..ir.plan import EMPTY_STATE, Plan
from ..ir.program import Repeat, Step, When


@dataclass(frozen=True)
class Entry:
    """One item as the emitted table has it.

    kind:   STEP, CALL, WHEN or END
    number: of the step; of the item at which the program to be called begins
    value:  how often it is called; which byte of <model>_t is the flag
    """

    kind: str
    number: int
    value: int
    comment: str


def entries(plan: Plan, order: Iterable[str]) -> tuple[list[Entry], dict[str, int]]:
    """The table of the programs `order`, and at which of its items each of them begins."""
    order = list(order)
    starts, at = {}, 0
    for name in order:
        starts[name] = at
        at += len(plan.programs[name].items) + 1
    numbers = {(program, i): n for n, (program, i, _) in enumerate(plan.ops())}
    table: list[Entry] = []
    for name in order:
        for i, item in enumerate(plan.programs[name].items):
            comment = "" if i else f"program {name}"
            if isinstance(item, Step):
                table.append(Entry("STEP", numbers[name, i], 0, comment))
            elif isinstance(item, When):
                flag = plan[item.flag]
                byte = flag.offset + (0 if flag.space == "state" else plan.state_bytes or EMPTY_STATE)
                table.append(Entry("WHEN", starts[item.program], byte, comment))
            else:
                times = item.times if isinstance(item, Repeat) else 1
                table.append(Entry("CALL", starts[item.program], times, comment))
        table.append(Entry("END", 0, 0, "" if plan.programs[name].items else f"program {name}"))
    return table, starts
