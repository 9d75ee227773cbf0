"""Programs that are another one at smaller rates, as a schedule has them: what is arranged once is so in all.

While steps are joined, ordered and placed, the one program stands for all of them. Then each gets its steps,
with the numbers that its own rates make of those of the layers that change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..errors import CompileError
from ..ir.program import Item, Number, Program, Step, When
from ..rules import RuleTape
from ..spec.schedule import LAST_STEP, Schedule

Programs = Mapping[str, Program]


def paced(tape: RuleTape, schedule: Schedule) -> str:
    """The program that runs `correct` at the rates of the step: of its copies the one whose turn it is."""
    rates = [i for i in tape.b.programs["correct"].items if isinstance(i, Step) and "rate" in i.attrs]
    if tape.spec.update or not rates:  # equations may hold their rate in other numbers
        what = f"is not known to what rule {tape.spec.rule} does with a rate"
        raise CompileError("schedule", what, "leave [schedule] out")
    names = ["correct", *(f"correct_{i + 1}" for i in range(len(schedule.at)))]
    for fall, name in enumerate(names[1:], 1):
        tape.b.again("correct", name, fall * schedule.shift)
    starts = (0, *schedule.at, LAST_STEP + 1)
    with tape.b.program("paced", "corrects at the rates that the schedule has for this step"):
        for i, name in enumerate(names):
            due = {"count": tape.samples_learned, "flag": tape.flag(f"rates_{i}")}
            tape.step("counter.between", "schedule", due, first=starts[i], last=starts[i + 1] - 1)
            tape.b.when(f"rates_{i}", name)
    return "paced"


def without_slower(programs: Programs, slower: Mapping[str, str]) -> dict[str, Program]:
    """The programs without those that are `slower` (name -> of which one), which that one stands for."""

    def stood_for(item: Item) -> Item:
        return replace(item, program=slower[item.program]) if _calls(item, slower) else item  # type: ignore

    return {
        name: replace(p, items=tuple(stood_for(i) for i in p.items))
        for name, p in programs.items()
        if name not in slower
    }


def with_slower(arranged: Programs, lowered: Programs, slower: Mapping[str, str]) -> dict[str, Program]:
    """The programs `arranged`, and the slower ones arranged alike.

    lowered: all programs, as they were before
    """
    if not slower:
        return dict(arranged)
    out = dict(arranged)
    for name, original in slower.items():
        changes = _changes(lowered[original], lowered[name])
        items = tuple(_with(item, changes) for item in arranged[original].items)
        out[name] = replace(lowered[name], items=items)
    for name in arranged:  # calls stand in the order that they had
        calls = [i for i in lowered[name].items if not isinstance(i, Step)]
        if any(_calls(i, slower) for i in calls):
            left = iter(calls)
            items = tuple(i if isinstance(i, Step) else next(left) for i in arranged[name].items)
            out[name] = replace(out[name], items=items)
    return {name: out[name] for name in lowered if name in out}


def _calls(item: Item, slower: Mapping[str, str]) -> bool:
    return isinstance(item, When) and item.program in slower


def _changes(program: Program, other: Program) -> dict[str, dict[str, Number]]:
    """By layer, the attributes in which the steps of two programs differ, as the other one has them."""
    pairs = zip(program.items, other.items, strict=True)
    found: dict[str, dict[str, Number]] = {}
    for a, b in pairs:
        if isinstance(a, Step) and isinstance(b, Step) and a.attrs != b.attrs:
            found[a.node] = {key: v for key, v in b.attrs.items() if v != a.attrs[key]}
    return found


def _with(item: Item, changes: Mapping[str, Mapping[str, Number]]) -> Item:
    if not isinstance(item, Step) or "rate" not in item.attrs:
        return item
    return replace(item, attrs={**item.attrs, **changes[item.node]})
