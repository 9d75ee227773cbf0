"""What a Plan read from a file must fulfil before anything runs it: the file may be damaged or edited."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from ..ir.format import PowerOfTwo
from ..ir.format import misfit as unmeant
from ..ir.inputs import ambiguous
from ..ir.plan import Plan, PlanTensor
from ..ir.program import Program, Repeat, Step, When, reached
from ..ir.quantiser import LIMIT, misfit, no_input
from ..ir.roles import ROLES, USES
from ..ops import changed, kernels
from ..words import short
from .memory import loaded
from .state_check import fault

_NAME = re.compile(r"[a-z][a-z0-9_]*")
WORD = 2**32  # what C holds in 32 bits ends below it, and so does all memory of a chip
_DTYPES = ("int8", "uint8", "int16", "int32", "uint32")


def check(plan: Plan) -> None:
    """Raises ValueError, naming the first thing that cannot be: names, sizes, places, operands, calls."""
    _demand(bool(_NAME.fullmatch(plan.model)), f"{plan.model!r} is no name")
    _demand(len({t.name for t in plan.tensors}) == len(plan.tensors), "two tensors have one name")
    for t in plan.tensors:
        _tensor(plan, t)
    _sizes(plan)
    for program in plan.programs.values():
        texts = [program.name, program.doc, *(i.node for i in program.items if isinstance(i, Step))]
        _demand(all(t.isprintable() for t in texts), f"program {program.name!r} has a text of several lines")
        for item in program.items:
            if isinstance(item, Step):
                _step(plan, item)
            else:
                _demand(item.program in plan.programs, f"program {item.program} is not there")
                flag = plan[item.flag] if isinstance(item, When) else None
                fits = flag is None or (flag.dtype == "uint8" and flag.space != "const")
                _demand(fits, f"{flag and flag.name} is no flag")
                turns = item.times if isinstance(item, Repeat) else 1
                _demand(0 < turns < 2**32, f"program {item.program} is repeated {turns} times")
    _demand(plan.entries[:1] == ("infer",), "infer is no entry")
    for entry in plan.entries:
        _calls(plan.programs, entry, ())
    _interface(plan)
    _entries(plan)
    _own_arena(plan)
    start = bytearray(plan.state_bytes)
    for t in plan.space("state"):
        start[t.offset : t.offset + t.nbytes] = t.data or b""
    wrong = fault(plan, bytes(start))
    _demand(not wrong, f"starts from a state that is none: {wrong}")


def _demand(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(what)


def _tensor(plan: Plan, t: PlanTensor) -> None:
    _demand(bool(_NAME.fullmatch(t.name)) and t.dtype in _DTYPES, f"{t.name!r} is {t.dtype!r}")
    _demand(t.role in ROLES, f"{t.name} is for {t.role!r}")
    _demand(type(t.note) is str and t.note.isprintable(), f"{t.name} has a note that is no line")
    numbers = (*t.shape, t.row, t.offset, t.lo, t.hi)
    _demand(all(type(n) is int and abs(n) < WORD for n in numbers), f"{t.name} has a number that is none")
    _demand(t.use in USES, f"{t.name} is used as {t.use!r}")
    _demand(0 < len(t.shape) <= 2 and min(t.shape) > 0 and t.row >= t.shape[-1], f"{t.name} has no size")
    what = unmeant(t.meaning, t.shape[0], t.lo, t.hi)
    _demand(not what, f"{t.name} {what}")
    top = np.iinfo(t.dtype)
    _demand(top.min <= t.lo <= t.hi <= top.max, f"{t.name} has limits beyond its type")
    _demand((t.data is None) == (t.space == "arena"), f"{t.name} has content where it must not, or none")
    _demand(t.data is None or len(t.data) == t.nbytes, f"{t.name} has content of another size")
    _demand(t.role != "label" or (t.lo == 0 and t.hi < plan.classes), f"{t.name} may hold what is no class")
    if t.space != "const":
        _demand(t.space in ("state", "arena"), f"{t.name} lies nowhere")
        _demand(t.offset >= 0 and not t.offset % t.itemsize, f"{t.name} lies outside")


def _sizes(plan: Plan) -> None:
    """State and arena end with their last tensors, in whole words: no room is made for what is not there."""
    spaces = {
        "state": (plan.state_bytes, plan.space("state")),
        "arena": (plan.arena_bytes, plan.space("arena")),
    }
    for space, (size, tensors) in spaces.items():
        end = max((t.offset + t.nbytes for t in tensors), default=0)
        _demand(size == -(-end // 4) * 4, f"the {space} has {short(str(size))} bytes, its tensors need {end}")
        _demand(end <= sum(t.nbytes + 3 for t in tensors) < WORD, f"the {space} has holes, or no end")


def _step(plan: Plan, step: Step) -> None:
    known = kernels().get(step.kernel)
    if known is None:
        raise ValueError(f"there is no kernel {step.kernel}")
    missing = [r for r in known.roles if r not in step.args and r not in known.optional]
    _demand(not missing and set(step.args) <= set(known.roles), f"{step.kernel} has other operands")
    _demand(all(name in plan for name in step.args.values()), f"{step.kernel} reads what is not there")
    _demand(all(type(v) is int for v in step.attrs.values()), f"{step.kernel} has a number that is none")
    written = [plan[name] for name in changed(step).values()]
    _demand(all(t.space != "const" for t in written), f"{step.kernel} writes to a constant")
    for role, (lo, hi) in known.ranges(step.attrs).items():
        t = plan[step.args[role]]
        _demand(lo <= t.lo and t.hi <= hi, f"{t.name} may leave what {step.kernel} keeps it within")


def _calls(programs: Mapping[str, Program], name: str, above: tuple[str, ...]) -> None:
    _demand(name in programs and name not in above, f"program {name} calls itself or is not there")
    for item in programs[name].items:
        if not isinstance(item, Step):
            _calls(programs, item.program, (*above, name))


def _own_arena(plan: Plan) -> None:
    """The arena that `infer` has of its own, if it has."""
    size = plan.infer_arena_bytes
    _demand(type(size) is int and size % 4 == 0 and 0 <= size <= plan.arena_bytes, "infer has no such arena")
    if not plan.shared:
        ends = {
            name: plan[name].offset + plan[name].nbytes for name in (*plan.of_infer, plan.logits, "verdict")
        }
        _demand(
            max(ends.values()) <= size, f"{max(ends, key=ends.__getitem__)} lies outside of infer's arena"
        )
        items = [i for p in reached(plan.programs, "infer") for i in plan.programs[p].items]
        written = [plan[n] for i in items if isinstance(i, Step) for n in changed(i).values()]
        _demand(
            all(t.space == "arena" for t in written), "infer has an arena of its own and changes the state"
        )


def _entries(plan: Plan) -> None:
    """What a caller fills before each entry program."""
    _demand(len({*plan.entries}) == len(plan.entries), "two entry programs have one name")
    given = {name for e in plan.entry_points for name in e.inputs}
    for t in plan.tensors:
        _demand((t.use == "input") == (t.name in given), f"{t.name} is an input, or is none")
    for name in given - {*plan.inputs}:
        t, top = plan[name], np.iinfo(plan[name].dtype)
        # Nothing that a caller may write there is beyond what was proven.
        whole = (t.lo, t.hi) == (top.min, top.max)
        _demand(t.space == "arena" and len(t.shape) == 1 and whole, f"{name} is no input")
    taken = {**dict.fromkeys(plan.entries[:1], (plan.inputs, False)), "learn": (plan.inputs, True)}
    for e in plan.entry_points:
        _demand(bool(_NAME.fullmatch(e.name)), f"{e.name!r} is no name")
        _demand(len({*e.inputs}) == len(e.inputs) and type(e.label) is bool, f"{e.name} takes what is none")
        _demand(taken.get(e.name, (e.inputs, e.label)) == (e.inputs, e.label), f"{e.name} takes other inputs")
        _demand(not e.label or "label" in plan, f"{e.name} takes a label, and there is none")
        read = loaded(plan.programs, e.name, [*given, *(("label",) if "label" in plan else ())])
        _demand(read <= {*e.loaded}, f"{e.name} reads inputs that it does not take")


def _interface(plan: Plan) -> None:
    """What a caller fills and reads."""
    _demand(len(plan.inputs) == len(plan.input_shapes) > 0, "inputs and their shapes differ")
    for name, shape in zip(plan.inputs, plan.input_shapes, strict=True):
        fits = plan[name].space == "arena" and plan[name].shape == (int(np.prod(shape)),)
        _demand(fits and plan[name].dtype == "int8", f"{name} is no input")
        what = no_input(plan[name].meaning)
        _demand(not what, f"{name} {what}")
    for name, quantiser in plan.quantisers.items():
        _demand(name in plan.inputs, f"{name} has a quantiser and is no input")
        _demand(isinstance(plan[name].meaning, PowerOfTwo), f"{name} has a quantiser and a scale")
        what = misfit(quantiser, plan[name].shape[0], LIMIT * 2.0**24)
        _demand(not what, f"the quantiser of {name} {what}")
    named = len(plan.input_sources) == len(plan.inputs) and all(
        type(source) is str and source for source in plan.input_sources
    )
    _demand(named and not ambiguous(plan.interface), "the names of the inputs are not clear")
    logits, verdict = plan[plan.logits], plan["verdict"]
    _demand(
        logits.dtype in ("int8", "int16") and logits.shape == (plan.classes,),
        f"{logits.name} holds no scores",
    )
    _demand(verdict.dtype == "int32" and verdict.shape == (2,), "verdict is no verdict")
    _demand("learn" not in plan.entries or plan["label"].dtype == "uint8", "label is no label")
