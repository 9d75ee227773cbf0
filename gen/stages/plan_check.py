"""What a Plan read from a file must fulfil before anything runs it: the file may be damaged or edited.

All of it is proved again: every step is one of its kernel, no two tensors need the same bytes at a time,
nothing is read that may be beyond its limits, no sum overflows.
"""

from __future__ import annotations

import math
import re

import numpy as np

from ..ir.format import PowerOfTwo, Scaled
from ..ir.format import misfit as unmeant
from ..ir.inputs import ambiguous
from ..ir.plan import Plan, PlanTensor, row_length
from ..ir.program import Repeat, Step, When, reached
from ..ir.quantiser import LIMIT, misfit, no_input
from ..ir.roles import ROLES, USES, label_dtype
from ..ops import changed, kernels, step_fault
from ..words import short
from .bounds import found_content, prove
from .memory import Piece, clash, filled, loaded
from .state_check import beyond, fault

_NAME = re.compile(r"[a-z][a-z0-9_]*")
WORD = 2**32  # what C holds in 32 bits ends below it, and so does all memory of a chip
MOST = 2**28  # bytes of state or of arena: more than any board has
ITEMS = 2**16  # of an entry program with all calls written out; every repeated one counts twice
LEVELS = 64  # of calls: whoever walks them does so recursively
HEADS = ("none", "softmax", "sigmoid")
_DTYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32")


def check(plan: Plan) -> None:
    """Raises ValueError or CompileError, naming the first thing that cannot be."""
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
                _step(plan, program.name, item)
            else:
                _demand(item.program in plan.programs, f"program {item.program} is not there")
                flag = plan[item.flag] if isinstance(item, When) else None
                fits = flag is None or (flag.dtype == "uint8" and flag.space != "const")
                _demand(fits, f"{flag and flag.name} is no flag")
                turns = item.times if isinstance(item, Repeat) else 1
                _demand(0 < turns < 2**32, f"program {item.program} is repeated {turns} times")
    _demand(plan.entries[:1] == ("infer",), "infer is no entry")
    _calls(plan)
    _interface(plan)
    _entries(plan)
    _own_arena(plan)
    start = bytearray(plan.state_bytes)
    for t in plan.space("state"):
        start[t.offset : t.offset + t.nbytes] = t.data or b""
    wrong = fault(plan, bytes(start))
    _demand(not wrong, f"starts from a state that is none: {wrong}")
    _arena(plan)
    prove(plan)


def _demand(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(what)


def _tensor(plan: Plan, t: PlanTensor) -> None:
    _demand(bool(_NAME.fullmatch(t.name)) and t.dtype in _DTYPES, f"{t.name!r} is {t.dtype!r}")
    _demand(t.role in ROLES, f"{t.name} is for {t.role!r}")
    kind = label_dtype(plan.classes) if t.role == "label" else ROLES[t.role].dtype
    _demand(kind in ("", t.dtype), f"{t.name} is {t.dtype}, and for {t.role!r}, which is {kind}")
    _demand(type(t.note) is str and t.note.isprintable(), f"{t.name} has a note that is no line")
    numbers = (*t.shape, t.row, t.offset, t.lo, t.hi)
    _demand(all(type(n) is int and abs(n) < WORD for n in numbers), f"{t.name} has a number that is none")
    _demand(t.use in USES, f"{t.name} is used as {t.use!r}")
    _demand(0 < len(t.shape) <= 2 and min(t.shape) > 0, f"{t.name} has no size")
    _demand(t.row == row_length(t.shape, t.role), f"{t.name} has rows of {t.row}")
    what = unmeant(t.meaning, t.shape[0], t.lo, t.hi)
    _demand(not what, f"{t.name} {what}")
    top = np.iinfo(t.dtype)
    # A file's zero point may be any integer, and a fused activation leaves what is above it; a constant that
    # stands beside such an activation is held as it is. The state starts at 0 where nothing is kept yet.
    filed = t.space == "arena" or (t.space == "const" and t.role == "activation")
    around = t.lo <= 0 <= t.hi or (filed and not isinstance(t.meaning, PowerOfTwo))
    whole = top.min <= t.lo <= t.hi <= top.max
    _demand(whole and around, f"{t.name} has limits beyond its type, or without 0")
    _demand((t.data is None) == (t.space == "arena"), f"{t.name} has content where it must not, or none")
    _demand(t.data is None or len(t.data) == t.nbytes, f"{t.name} has content of another size")
    _demand(t.role != "label" or (t.lo == 0 and t.hi < plan.classes), f"{t.name} may hold what is no class")
    if t.space == "const":
        stored = np.frombuffer(t.data or b"", np.dtype(t.dtype).newbyteorder("<")).reshape(t.stored)
        wrong = "has padding that is not zero" if stored[..., t.shape[-1] :].any() else beyond(t, t.array())
        _demand(not wrong, f"{t.name}: {wrong}")
    else:
        _demand(t.space in ("state", "arena"), f"{t.name} lies nowhere")
        _demand(t.offset >= 0 and not t.offset % t.itemsize, f"{t.name} lies outside")


def _sizes(plan: Plan) -> None:
    """State and arena end with their last tensors, in whole words: no room is made for what is not there.

    In the state each tensor lies behind the last one.
    """
    spaces = {
        "state": (plan.state_bytes, plan.space("state")),
        "arena": (plan.arena_bytes, plan.space("arena")),
    }
    for space, (size, tensors) in spaces.items():
        end = max((t.offset + t.nbytes for t in tensors), default=0)
        whole = type(size) is int and size == -(-end // 4) * 4
        _demand(whole, f"the {space} has {short(str(size))} bytes, its tensors need {end}")
        _demand(end <= sum(t.nbytes + 3 for t in tensors) < MOST, f"the {space} has holes, or no end")
    at = 0
    for t in plan.space("state"):
        _demand(t.offset == at, f"{t.name} does not lie behind the tensor before it")
        at += t.nbytes


def _step(plan: Plan, program: str, step: Step) -> None:
    where = f"step {step.kernel} of {step.node}, in program {program}"
    _demand(step.kernel in kernels(), f"{where}: there is no such kernel")
    _demand(all(name in plan for name in step.args.values()), f"{where}: an operand is not there")
    wrong = step_fault(plan, step)
    _demand(not wrong, f"{where}: {wrong}")
    constant = [name for name in changed(step).values() if plan[name].space == "const"]
    _demand(not constant, f"{where}: it writes to {''.join(constant[:1])}, which is a constant")


def _calls(plan: Plan) -> None:
    """Every program is reached by an entry program, none calls itself, and no run is endless to look at."""
    sizes: dict[str, int] = {}
    levels: dict[str, int] = {}

    def size(name: str, above: tuple[str, ...]) -> int:
        _demand(name in plan.programs and name not in above, f"program {name} calls itself or is not there")
        if name not in sizes:
            items = plan.programs[name].items
            sizes[name] = 1 + sum(
                (2 if isinstance(i, Repeat) else 1)
                * (1 if isinstance(i, Step) else size(i.program, (*above, name)))
                for i in items
            )
            levels[name] = 1 + max((levels[i.program] for i in items if not isinstance(i, Step)), default=0)
            _demand(sizes[name] <= ITEMS, f"program {name} has more than {ITEMS} steps")
            _demand(levels[name] <= LEVELS, f"calls in program {name} nest more than {LEVELS} deep")
        return sizes[name]

    for entry in plan.entries:
        size(entry, ())
    idle = [name for name in plan.programs if name not in sizes]
    _demand(not idle, f"nothing calls program {''.join(idle[:1])}")


def _arena(plan: Plan) -> None:
    """What a step reads in the arena is what was proven of it, whatever lay there before."""
    tensors = plan.space("arena")
    pieces = {t.name: Piece(t.name, t.nbytes, t.dtype) for t in tensors}
    entries = filled(plan.entry_points, plan.inputs, "label" in pieces)
    both = clash(
        plan.programs, entries, pieces, (plan.logits, "verdict"), {t.name: t.offset for t in tensors}
    )
    _demand(both is None, f"{' and '.join(both or ())} need the same bytes at a time")
    for name in sorted({*found_content(plan), *plan.inputs} - {"label"}):
        t, top = plan[name], np.iinfo(plan[name].dtype)
        whole = (t.lo, t.hi) == (top.min, top.max)
        _demand(whole, f"{name} is read before it is written, and may be beyond {t.lo} to {t.hi}")


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
        _demand(all(type(n) is int and n > 0 for n in shape), f"{name} has a shape that is none")
        fits = plan[name].space == "arena" and plan[name].shape == (math.prod(shape),)
        held = plan[name].dtype == "int8" or (
            plan[name].dtype == "int16" and isinstance(plan[name].meaning, Scaled)
        )
        _demand(fits and held, f"{name} is no input")
        what = no_input(plan[name].meaning)
        _demand(not what, f"{name} {what}")
    _demand(len({plan[name].dtype for name in plan.inputs}) == 1, "its inputs have several types")
    for name, quantiser in plan.quantisers.items():
        _demand(name in plan.inputs, f"{name} has a quantiser and is no input")
        _demand(isinstance(plan[name].meaning, PowerOfTwo), f"{name} has a quantiser and a scale")
        what = misfit(quantiser, plan[name].shape[0], LIMIT * 2.0**24)
        _demand(not what, f"the quantiser of {name} {what}")
    named = len(plan.input_sources) == len(plan.inputs) and all(
        type(source) is str and source for source in plan.input_sources
    )
    _demand(named and not ambiguous(plan.interface), "the names of the inputs are not clear")
    _demand(type(plan.classes) is int and plan.head in HEADS, "it has no number of classes, or no such head")
    logits, verdict = plan[plan.logits], plan["verdict"]
    one = ((1,),) if plan.classes == 2 and "learn" in plan.entries else ()  # which tells two classes apart
    _demand(
        logits.dtype in ("int8", "int16") and logits.shape in ((plan.classes,), *one),
        f"{logits.name} holds no scores",
    )
    _demand(verdict.dtype == "int32" and verdict.shape == (2,), "verdict is no verdict")
    _demand("learn" not in plan.entries or "label" in plan, "there is no label to learn from")
    if "label" in plan:
        label = plan["label"]
        given = (label.role, label.space, label.shape, label.hi)
        _demand(given == ("label", "arena", (1,), plan.classes - 1), "label is no label")
