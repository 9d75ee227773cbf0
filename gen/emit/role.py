"""An infer-only library of a Plan that learns: for a second, smaller chip, which takes a state that another
chip has learned.

It runs the very steps of `infer`, on tensors of the same names, formats and limits, so its scores are the
learner's. What only learning needs is not there, and what is left lies closer together.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

from ..errors import CompileError
from ..ir.plan import Plan, PlanTensor, of_program
from ..ir.program import reached
from ..ops import changed
from ..spec import INFER
from ..stages.memory import Piece, place

_MARK = 4  # bytes of the struct that says whether an inference is in progress, padded


@dataclass(frozen=True)
class Inference(Plan):
    """The part of a Plan that `infer` needs, placed anew. It has the digest of the whole, `learner`."""

    learner: Plan = field(kw_only=True)

    @property
    def digest(self) -> bytes:
        """The learner's: who holds a state against it must find the Plan that it was learned under."""
        return self.learner.digest

    @property
    def run_bytes(self) -> int:
        return _MARK

    @property
    def taken(self) -> tuple[tuple[PlanTensor, PlanTensor], ...]:
        """The tensors of the state, each as the learner has it and as it lies here."""
        return tuple((self.learner[t.name], t) for t in self.space("state"))


def inferring(plan: Plan) -> Inference:
    """The part of `plan` that `infer` needs.

    Raises CompileError where nothing that `infer` reads is learned, so that there is no state to take, and
    where it changes any of it.
    """
    programs = {n: p for n, p in plan.programs.items() if n in reached(plan.programs, "infer")}
    named = of_program(programs, "infer", plan.inputs)
    tensors = [t for t in plan.tensors if t.name in named]
    state = [t for t in tensors if t.space == "state"]
    if not state:
        hint = "compile it without --role: the library infers only as it is"
        raise CompileError(
            plan.model, "infer reads nothing that is learned, so there is no state to take", hint
        )
    small = replace(plan, programs=programs)
    written = {name for _, _, step in small.ops() for name in changed(step).values()}
    if kept := [t.name for t in state if t.name in written]:
        what = f"infer changes {kept[0]}, which the learning chip goes on from"
        raise CompileError(plan.model, what, "compile it without --role")
    pieces = {t.name: Piece(t.name, t.nbytes, t.dtype) for t in tensors if t.space == "arena"}
    offsets, arena_bytes = place(programs, {"infer": plan.inputs}, pieces, (plan.logits, "verdict"))
    placed, at = [], 0
    for t in tensors:  # the state's are in the order of their widths: each is aligned, and nothing is lost
        if t.space == "state":
            placed.append(replace(t, offset=at))
            at += t.nbytes
        else:
            placed.append(replace(t, offset=offsets[t.name]) if t.space == "arena" else t)
    parts = {f.name: getattr(plan, f.name) for f in fields(Plan) if f.init and f.name != "_by_name"}
    parts |= {
        "tensors": tuple(placed),
        "programs": programs,
        "entry_points": (plan.entry("infer"),),
        "state_bytes": -(-at // 4) * 4,
        "arena_bytes": arena_bytes,
        "infer_arena_bytes": 0,
    }
    return Inference(**parts, learner=plan)


def of_role(plan: Plan, role: str) -> Plan:
    """What a library of that role is emitted from."""
    return inferring(plan) if role == INFER else plan
