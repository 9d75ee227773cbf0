"""Changes that add up before they are made: gradient accumulation, momentum, or both.

What a rule does stays as it is but for its destination: `correct` takes its products off sums, which lie in
the state, and `optimise` changes what is learned by them, at once or at each `samples`-th run. Rates stand in
`optimise` alone. No rule and no layer knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .. import numeric
from ..errors import CompileError
from ..ir.program import Builder, Item, Program, Step, Value, reached
from ..ops import changed, kernel
from ..rules import RuleTape
from ..spec import RuleSpec
from .slower import paced

CORRECT, GATHER, OPTIMISE = "correct", "accumulate", "optimise"
PHASE = "accumulate_phase"
"""The counter of samples that are in the sums: it belongs to these."""
SUMMED = {"w": "sum", "b": "bias_sum"}  # what takes the place of an operand, and its role in optimiser.step


def asked(spec: RuleSpec) -> str:
    """The table of the rule file that lets changes add up; "" where none does."""
    return "accumulate" if spec.accumulate else "momentum" if spec.momentum else ""


def correcting(tape: RuleTape) -> str:
    """The program that a learning step runs where there is an error: `correct`, at the rates of the step, or
    what adds its changes up. Raises CompileError where the rule does not let them."""
    if asked(tape.spec):
        return _gathering(tape)
    return paced(tape, tape.spec.schedule, CORRECT) if tape.spec.schedule else CORRECT


def _gathering(tape: RuleTape) -> str:
    spec, b = tape.spec, tape.b
    samples = spec.accumulate.samples if spec.accumulate else 1
    forget = spec.momentum.shift if spec.momentum else 0
    _refuse(b, asked(spec), spec.rule)
    gathered = {"samples": samples, "forget": forget}
    made = [_parted(tape, i, gathered) if _changes(b, i) else (i, None) for i in b.programs[CORRECT].items]
    b.programs[CORRECT] = replace(b.programs[CORRECT], items=tuple(item for item, _ in made))
    steps = tuple(step for _, step in made if step)
    doc = "changes what is learned by what has added up, at the rates"
    b.programs[OPTIMISE] = Program(OPTIMISE, doc, steps)
    optimise = paced(tape, spec.schedule, OPTIMISE) if spec.schedule else OPTIMISE
    phase = tape.counter(PHASE, "samples added up since weights changed") if samples > 1 else ""
    with b.program(GATHER, "adds up what a sample changes, and makes the changes that are due"):
        b.call(CORRECT)
        if samples > 1:
            due = {"phase": phase, "flag": tape.flag("optimise_due")}
            tape.step("counter.every", "accumulate", due, period=samples)
            b.when("optimise_due", optimise)
        else:
            b.call(optimise)
    return GATHER


def _changes(b: Builder, item: Item) -> bool:
    return isinstance(item, Step) and any(b.values[n].learned for n in changed(item).values())


def _refuse(b: Builder, key: str, rule: str) -> None:
    """Raises CompileError where rule `rule` changes a layer by a step that knows no sums, or twice."""
    seen: set[str] = set()
    for name in reached(b.programs, CORRECT):
        for step in (i for i in b.programs[name].items if isinstance(i, Step)):
            learned = {n for n in changed(step).values() if b.values[n].learned}
            if not learned:
                continue
            if name != CORRECT or not kernel(step.kernel).gathers:
                does = f"{step.kernel} of {step.node} in {name}"
                what = f"takes changes that add up, and what rule {rule} does is none: {does}"
                raise CompileError(key, what, f"leave [{key}] out, or take a rule whose changes add up")
            if learned & seen:
                what = f"takes one change of a layer at a step, and rule {rule} makes two of {step.node}"
                raise CompileError(key, what, f"leave [{key}] out, or take a rule whose changes add up")
            seen |= learned


def _parted(tape: RuleTape, item: Item, gathered: Mapping[str, int]) -> tuple[Step, Step]:
    """A step that takes off sums what `item` would take off learned values, and one that changes these."""
    assert isinstance(item, Step)
    into, sums = dict(item.args), {}
    into.pop("twin", None)
    for role, of in SUMMED.items():
        if role in item.args:
            value = tape.b.values[item.args[role]]
            note = f"changes of {value.name} that add up"
            sums[of] = tape.add(Value(f"{value.name}_sum", value.shape, "state", "sum", note=note))
            into[role] = sums[of]
    own = {key: v for key, v in item.attrs.items() if key not in ("rate", "share")}
    exact = {"rate": 0, "rounding": numeric.Rounding.NEAREST, "seed": 0, "tensor": 0}
    kept = {r: item.args[r] for r in ("step", "w", "b", "twin", "saturated") if r in item.args}
    numbers = {
        key: item.attrs[key] for key in ("rate", "share", "rounding", "seed", "tensor") if key in item.attrs
    }
    numbers["forget"] = gathered["forget"]
    return (
        replace(item, args=into, attrs={**own, **exact, **gathered}),
        Step("optimiser.step", item.node, {**sums, **kept}, numbers, item.said),
    )


def at_once(step: Step, sums: Mapping[str, Step]) -> Step:
    """The step that does at once what `step`, of `optimise`, does with what has added up; others as they are.

    sums: the steps that add up, by what they add to. With momentum the change is all that a sample makes in
    the end: the rate, k of 2^-k, is smaller by what the velocity keeps.
    """
    if "sum" not in step.args:
        return step
    adds = sums[step.args["sum"]]
    kept = {r: step.args[r] for r in ("w", "b", "twin") if r in step.args}
    rate = int(step.attrs["rate"]) - int(step.attrs["forget"])
    return replace(adds, args={**adds.args, **kept}, attrs={**adds.attrs, **step.attrs, "rate": rate})
