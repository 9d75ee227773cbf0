"""Programs that are another one at smaller rates, as a schedule has them: what is arranged once is so in all.

While steps are joined, ordered and placed, the one program stands for all of them. Then each gets its steps,
with the numbers that its own rates make of those of the layers that change.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from ..errors import CompileError, TermError
from ..ir.program import Builder, Item, Number, Program, Step, When, reached
from ..ops import changed
from ..rules import RuleTape
from ..spec.schedule import LAST_STEP, Schedule

Programs = Mapping[str, Program]
Numbers = Mapping[str, Number]
DOES = {"correct": "corrects", "optimise": "changes what is learned"}


def paced(tape: RuleTape, schedule: Schedule, program: str) -> str:
    """The program that runs `program` at the rates of the step: of its copies the one whose turn it is."""
    if tape.spec.update:
        _refuse_without_rate(tape.b, program)
    else:
        _refuse_unrated(tape.b, program, tape.spec.rule)
    names = [program, *(f"{program}_{i + 1}" for i in range(len(schedule.at)))]
    for fall, name in enumerate(names[1:], 1):
        tape.b.again(program, name, fall * schedule.shift)
    starts = (0, *schedule.at, LAST_STEP + 1)
    with tape.b.program("paced", f"{DOES[program]} at the rates that the schedule has for this step"):
        for i, name in enumerate(names):
            due = {"count": tape.samples_learned, "flag": tape.flag(f"rates_{i}")}
            tape.step("counter.between", "schedule", due, first=starts[i], last=starts[i + 1] - 1)
            tape.b.when(f"rates_{i}", name)
    return "paced"


def _refuse_without_rate(b: Builder, program: str) -> None:
    """Raises CompileError where no equation would become slower. Numbers beside which no rate stands stay."""
    if not any({"rate", "fall"} & {*i.attrs} for i in b.programs[program].items if isinstance(i, Step)):
        what = "lets rates fall, and no equation names the rate"
        raise CompileError("schedule", what, "write rate where a number is to fall, or leave [schedule] out")


def _refuse_unrated(b: Builder, program: str, rule: str) -> None:
    """Raises CompileError where rule `rule` changes what is learned by a step that would not become slower:
    one without `rate`, or one in a program that `program` calls, of which there is no copy; or where a rate
    is that of a signal, of which there is one for all copies."""
    for name in reached(b.programs, program):
        for step in (i for i in b.programs[name].items if isinstance(i, Step)):
            values = [b.values[n] for n in changed(step).values()]
            rated = name == program and "rate" in step.attrs
            if (not rated and any(v.learned for v in values)) or (
                rated and all(v.space == "arena" for v in values)
            ):
                what = f"is not known to what rule {rule} does with {step.node} ({step.kernel} in {name})"
                raise CompileError("schedule", what, "leave [schedule] out, or take a rule whose rates fall")


@contextmanager
def falling(name: str, slower: Mapping[str, str], schedule: Schedule | None) -> Iterator[None]:
    """What is refused of program `name` inside names the fall of `schedule` behind which it would run."""
    try:
        yield
    except CompileError as error:
        if schedule is None or name not in slower:
            raise
        fall = [*slower].index(name) + 1
        what = f"behind fall {fall} of [schedule], at step {schedule.at[fall - 1]:,}, {error.what}"
        hint = "let the rates fall less far, by fewer steps or a smaller shift, or start with another rate"
        if isinstance(error, TermError):
            raise TermError(error.where, what, hint, error.said, error.at) from None
        raise CompileError(error.where, what, hint, error.excerpt) from None


def without_slower(programs: Programs, slower: Mapping[str, str]) -> dict[str, Program]:
    """The programs without those that are `slower` (name -> of which one), which that one stands for."""

    def stood_for(item: Item) -> Item:
        return replace(item, program=slower[item.program]) if _calls(item, slower) else item  # type: ignore

    return {
        name: replace(p, items=tuple(stood_for(i) for i in p.items))
        for name, p in programs.items()
        if name not in slower
    }


def with_slower(
    arranged: Programs, lowered: Programs, slower: Mapping[str, str], state: Collection[str]
) -> dict[str, Program]:
    """The programs `arranged`, and the slower ones arranged alike.

    lowered: all programs, as they were before
    state:   the names of what persists
    """
    if not slower:
        return dict(arranged)
    out = dict(arranged)
    for name, original in slower.items():
        slow = _slow(lowered[original], lowered[name], state)
        out[name] = replace(lowered[name], items=tuple(slow(item) for item in arranged[original].items))
    for name in arranged:  # calls stand in the order that they had
        calls = [i for i in lowered[name].items if not isinstance(i, Step)]
        if any(_calls(i, slower) for i in calls):
            left = iter(calls)
            items = tuple(i if isinstance(i, Step) else next(left) for i in arranged[name].items)
            out[name] = replace(out[name], items=items)
    return {name: out[name] for name in lowered if name in out}


def _calls(item: Item, slower: Mapping[str, str]) -> bool:
    return isinstance(item, When) and item.program in slower


def _slow(program: Program, other: Program, state: Collection[str]) -> Callable[[Item], Item]:
    """What makes of the steps of `program`, arranged, those of `other`, which differs in numbers alone.

    A step is known by what persists and is changed by it: kernels, signals and places of steps are arranged,
    that never; and steps that change the same stay in their order.
    """
    waiting: dict[tuple[str, ...], list[Numbers]] = {}
    for a, b in zip(program.items, other.items, strict=True):
        if isinstance(a, Step) and isinstance(b, Step):
            numbers = {key: v for key, v in b.attrs.items() if v != a.attrs[key]}
            key = _kept(a, state)
            waiting.setdefault(key, []).append(numbers)

    def slow(item: Item) -> Item:
        key = _kept(item, state) if isinstance(item, Step) else ()
        if not isinstance(item, Step) or not key:
            return item
        return replace(item, attrs={**item.attrs, **waiting[key].pop(0)})

    return slow


def _kept(step: Step, state: Collection[str]) -> tuple[str, ...]:
    """What persists and is changed by a step."""
    return tuple(sorted(name for name in changed(step).values() if name in state))
