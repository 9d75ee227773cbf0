"""A guard over what learning does: labelled samples that are held back, the last good state, and a judge.

What other stages wrote stays as it is; here it is called from programs that take its place.

learn     (entry)  the sample into the guard's ring, or learned as ever; judged when that is due
rehearse  (entry)  as ever, and judged
learn_unlabelled   as ever, and judged when that is due (entry)
imprint   (entry)  the row of both states, the learned one and the good one
settle    (entry)  the best of both and of the state as compiled is kept
judge              answers of both on the samples of the guard and on base examples; then the learned state
                   becomes the good one, goes on, or all of it goes back to the good one

To ask the good state, it changes places with the learned one and back, so that `infer` is the one there is,
and no arena and no code is doubled.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import CompileError
from ..ir.plan import SETTLE
from ..ir.program import Call, Entry, Item, Program, Space, Step, Value, reached
from ..ir.roles import FIRST, GOOD, LEARNED, Use
from ..ops import changed
from ..ops.guard import SHARE_FRAC
from ..rules import RuleTape
from ..spec import Guard
from .gather import PHASE
from .tables import Table, examples, ring

Pairs = Sequence[tuple[str, str]]
TEACHES_ITSELF = "teach_itself"
"""The program that learns under a label of the network's own."""
MET = "saturated"
"""The role of a step's counter of values that met a limit: what was counted stays counted."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """Samples that both states are asked for, and how many answers of each are right: values of the state."""

    samples: Table
    right: str
    good_right: str

    @classmethod
    def of(cls, tape: RuleTape, samples: Table, where: str) -> _Asked:
        right = tape.counter(f"{samples.name}_right", f"right answers on {where}, when last judged")
        return cls(samples, right, copied(tape, right))

    def count(self, tape: RuleTape) -> str:
        """A program that counts the right answers anew; its name."""
        name, rows = self.samples.name, self.samples.rows
        values = (tape.add(Value(f"{name}_{n}", (1,), "arena", "counter")) for n in ("cursor", "index"))
        cursor, index = values
        flag = tape.flag(f"{name}_valid")
        with tape.b.program(f"{name}_ask", "whether the answer to one sample is right"):
            self.samples.read(tape, name, index)
            tape.b.call("infer")
            told = {"verdict": tape.verdict, "label": tape.label, "right": self.right}
            tape.step("guard.tally", name, told, rows=rows)
        with tape.b.program(f"{name}_following", "the next sample, if there is one"):
            picked = {"count": self.samples.count, "next": cursor, "index": index, "flag": flag}
            tape.step("samples.pick", name, picked, rows=rows)
            tape.b.when(flag, f"{name}_ask")
        with tape.b.program(f"{name}_answers", "counts right answers"):
            for counted in (cursor, self.right):
                tape.step("samples.rewind", name, {"next": counted})
            tape.b.repeat(rows, f"{name}_following")
        return f"{name}_answers"


def guarded(tape: RuleTape, guard: Guard, calibration: Mapping[str, np.ndarray]) -> Entry:
    """Puts the guard around the learning programs. The entry program `settle`, which it adds.

    Raises CompileError where there are no labels to guard by.
    """
    if tape.spec.numbers:
        what = 'counts right answers, and loss.kind is "mse": numbers are neither right nor wrong'
        raise CompileError("guard", what, "leave [guard] out")
    if own := [e.name for e in tape.entries if _teaches(tape, e.name)]:
        what = f"knows nothing of what is learned by {own[0]}, an entry program of rule {tape.spec.rule}"
        raise CompileError("guard", what, "leave [guard] out")
    learned = [*dict.fromkeys(learned_values(tape))]
    held = ring(tape, "guard", guard.samples, guard.drop, ("hold", "puts the sample into the guard's ring"))
    asked = [_Asked.of(tape, held, "samples held back")]
    if guard.base:
        base = examples(tape, calibration, guard.base, "guard_base", ("guard.base", "write base = 0"))
        asked.append(_Asked.of(tape, base, "base examples"))
    pairs = [(name, copied(tape, name)) for name in learned]
    _compare(tape, asked, [*pairs, *((a.right, a.good_right) for a in asked)])
    _verdicts(tape, guard, asked, pairs)
    _settle(tape, asked[0], pairs, len(asked) > 1)
    _watch(tape, guard, len(asked) > 1)
    return Entry(SETTLE)


def _teaches(tape: RuleTape, entry: str) -> bool:
    """Whether a program changes learned values."""
    steps = (
        i for p in reached(tape.b.programs, entry) for i in tape.b.programs[p].items if isinstance(i, Step)
    )
    return any(tape.b.values[n].learned for step in steps for n in changed(step).values())


def learned_values(tape: RuleTape) -> Iterator[str]:
    """What learning has made and a state is judged by: learned values, traces, and counts that a step keeps
    beside these. The clocks of schedules, samples and what met a limit are none of it."""
    values = tape.b.values
    if PHASE in values:  # it says how many samples are in the sums, which go back
        yield PHASE
    for step in tape.b.written():
        kept = {role: values[n] for role, n in changed(step).items() if values[n].space == "state"}
        teaches = any(v.learned for v in kept.values())
        for role, v in kept.items():
            if v.learned or v.role in (*LEARNED, "trace") or (teaches and role != MET):
                yield v.name


def _copy(tape: RuleTape, name: str, prefix: str, space: Space, use: Use) -> str:
    """A place for the value in another state, which begins as this one."""
    value = replace(tape.b.values[name], name=f"{prefix}_{name}", space=space, tie=name, use=use)
    return tape.add(replace(value, learned=False, reach=0.0))


def copied(tape: RuleTape, name: str) -> str:
    """The place of a value in the last good state."""
    return _copy(tape, name, "good", "state", GOOD)


def each(tape: RuleTape, kernel: str, first: str, second: str, pairs: Pairs) -> None:
    """A step for each pair of values, under the roles `first` and `second`."""
    for one, other in pairs:
        vector = "_vector" if len(tape.b.values[one].shape) == 1 else ""
        tape.step(f"{kernel}{vector}", "guard", {first: one, second: other})


def _compare(tape: RuleTape, asked: list[_Asked], pairs: Pairs) -> None:
    answers = [a.count(tape) for a in asked]
    with tape.b.program("exchange", "the learned state and the good one change places"):
        each(tape, "guard.swap", "now", "good", pairs)
    with tape.b.program("compare", "right answers of the learned state and of the good one"):
        for _ in range(2):
            for name in answers:
                tape.b.call(name)
            tape.b.call("exchange")


def _verdicts(tape: RuleTape, guard: Guard, asked: list[_Asked], pairs: Pairs) -> None:
    back = [(good, name) for name, good in pairs]
    with tape.b.program("keep_state", "the learned state becomes the good one"):
        each(tape, "guard.copy", "source", "copy", pairs)
    with tape.b.program("return_to_good", "the good state takes the place of the learned one"):
        each(tape, "guard.copy", "source", "copy", back)
    with tape.b.program("undo_learning", "all that was learned goes back to the good state"):
        tape.b.call("return_to_good")
        undone = tape.counter("rollbacks", "how often learning was undone")
        tape.step("counter.tick", "guard", {"count": undone})
    said = {
        "judge": "whether what was learned becomes the good state, goes on, or is undone",
        "choose": "the better of the learned state and the good one becomes both",
    }
    args, numbers = _judged(tape, guard, asked)
    for name, doc in said.items():
        with tape.b.program(name, doc):
            tape.b.call("compare")
            tape.step("guard.judge", "guard", args, **numbers, final=int(name == "choose"))
            tape.b.when("guard_keep", "keep_state")
            tape.b.when("guard_undo", "undo_learning")


def _judged(tape: RuleTape, guard: Guard, asked: list[_Asked]) -> tuple[dict[str, str], dict[str, int]]:
    """Operands of a judgement, and its numbers."""
    of_guard, *of_base = asked
    args = {"right": of_guard.right, "good_right": of_guard.good_right, "held": of_guard.samples.count}
    for a in of_base:
        best = tape.counter("guard_base_best", "of base examples, the most that a good state had right")
        args |= {"base_right": a.right, "good_base_right": a.good_right, "base_best": best}
    args |= {
        "trusted": tape.counter("guard_trusted", "1 once a learned state has become the good one"),
        "keep": tape.flag("guard_keep"),
        "undo": tape.flag("guard_undo"),
    }
    base_rows = sum(a.samples.rows for a in of_base)
    numbers = {
        "rows": guard.samples,
        "base_rows": base_rows,
        "gain": _share(guard.gain),
        "margin": _share(guard.margin),
        "base_margin": base_rows * _share(guard.base_margin) >> SHARE_FRAC,
    }
    return args, numbers


def _share(share: float) -> int:
    """A share in units of 2^-SHARE_FRAC, rounded up: a tenth of twenty is two."""
    return math.ceil(share * (1 << SHARE_FRAC))


def _settle(tape: RuleTape, of_guard: _Asked, pairs: Pairs, base: bool) -> None:
    """`settle`: the best of three. What was good on samples that the guard has lost since may be worse than
    the first state on those that it has now."""
    more, rest = tape.flag("guard_more"), tape.flag("guard_no_more")
    if not (tape.spec.head and tape.spec.head.imprint):  # the first state has none of the rows asked for
        copies = [(_copy(tape, name, "first", "const", FIRST), name) for name, _ in pairs]
        with tape.b.program("first_state", "the state as compiled takes the place of the learned one"):
            each(tape, "guard.copy", "source", "copy", copies)
        with tape.b.program("back_to_first", "all that was ever learned is undone"):
            tape.b.call("keep_state")
            for found in ["guard_trusted", *["guard_base_best"] * base]:  # of a state that is gone
                tape.step("samples.rewind", "guard", {"next": found})
            tape.step("counter.tick", "guard", {"count": "rollbacks"})
    with tape.b.program(SETTLE, "keeps the best of the learned state, the good one and the first one"):
        tape.b.call("choose")
        if "first_state" in tape.b.programs:
            tape.b.call("first_state")
            tape.b.call("compare")
            told = {"right": of_guard.right, "good_right": of_guard.good_right, "better": more, "rest": rest}
            tape.step("guard.better", "guard", told)
            tape.b.when(more, "back_to_first")
            tape.b.when(rest, "return_to_good")


def _watch(tape: RuleTape, guard: Guard, base: bool) -> None:
    """The entry programs that learn, with the guard around what they were."""
    programs = tape.b.programs
    learn = programs.pop("learn")
    programs["learn_sample"] = replace(learn, name="learn_sample", doc="learns from one labelled sample")
    with tape.b.program("learn_judged", "learns from a sample, and judges when that is due"):
        tape.b.call("learn_sample")
        _in_turn(tape, guard)
    if itself := programs.get(TEACHES_ITSELF):
        own = f"{TEACHES_ITSELF}_unjudged"
        programs[own] = replace(itself, name=own)
        del programs[TEACHES_ITSELF]
        with tape.b.program(TEACHES_ITSELF, itself.doc):
            tape.b.call(own)
            _in_turn(tape, guard)
    first = np.full(tape.classes, guard.every - 2, np.uint32)  # a class of two samples has one on each side
    note = "of each class, samples since one was held back"
    phase = tape.add(Value("guard_phase", first.shape, "state", "counter", ints=first, note=note))
    held, rest = tape.flag("guard_turn"), tape.flag("guard_rest")
    with tape.b.program("learn", learn.doc):
        args = {"label": tape.label, "phase": phase, "held": held, "rest": rest}
        tape.step("guard.turn", "guard", args, every=guard.every)
        tape.b.when(held, "hold")
        tape.b.when(rest, "learn_judged")
    if rehearse := programs.get("rehearse"):
        programs["rehearse"] = replace(rehearse, items=(*rehearse.items, Call("judge")))
    if imprint := programs.get("imprint"):
        _imprint_both(tape, imprint, base)


def _in_turn(tape: RuleTape, guard: Guard) -> None:
    """A judgement, when it is due."""
    due = {"phase": tape.counter("guard_learned", "samples learned since the last judgement")}
    flag = tape.flag("guard_due")
    tape.step("counter.every", "guard", due | {"flag": flag}, period=guard.period)
    tape.b.when(flag, "judge")


def _imprint_both(tape: RuleTape, imprint: Program, base: bool) -> None:
    """A row that a caller asks for is no learning that may be undone: both states get it, each from its own
    features. What base examples scored before is of a classifier without it."""
    keeps: tuple[Item, ...] = tuple(i for i in imprint.items if i == Call("keep"))
    row = tuple(i for i in imprint.items if i not in keeps)
    tape.b.programs["imprint_row"] = replace(imprint, name="imprint_row", items=row)
    del tape.b.programs["imprint"]
    with tape.b.program("imprint", imprint.doc):
        for _ in keeps:
            tape.b.call("keep")
        for _ in range(2):
            tape.b.call("imprint_row")
            tape.b.call("exchange")
        if base:
            tape.step("samples.rewind", "guard_base", {"next": "guard_base_best"})
