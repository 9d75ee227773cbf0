"""What a persistent state must fulfil before anything runs on it: it may come from a file or old flash.

The numpy twin of the emitted `<model>_check`. The rule is the Plan's: every element lies within its tensor's
limits, the padding of rows is zero, and a ring that is not full goes on where its count says. Programs keep
all of that, and sums are proven not to overflow where it holds. Bytes that no tensor owns do not matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..ops import kernel
from .memory import loaded

if TYPE_CHECKING:
    from ..ir.plan import Plan, PlanTensor


def rings(plan: Plan) -> tuple[tuple[str, str, int], ...]:
    """(cursor, count, rows) of each ring in the state: while count < rows, cursor = count."""
    found = {}
    for _, _, step in plan.ops():
        if roles := kernel(step.kernel).ring:
            cursor, count = (step.args[role] for role in roles)
            if {plan[cursor].space, plan[count].space} != {"state"}:
                continue
            found[cursor, count] = int(step.attrs["rows"])
    return tuple((*names, rows) for names, rows in found.items())


def labelled(plan: Plan, program: str) -> bool:
    """Whether a program reads the label which was loaded into the arena: it must be a class by then."""
    return "label" in plan and bool(loaded(plan.programs, program, ["label"]))


def labelled_ops(plan: Plan) -> tuple[int, ...]:
    """Steps, numbered as in Plan.ops, that read the label in the arena."""
    return tuple(
        i
        for i, (_, _, step) in enumerate(plan.ops())
        if any(step.args.get(role) == "label" for role in kernel(step.kernel).reads)
    )


def beyond(t: PlanTensor, values: NDArray[Any]) -> str:
    """The first of `values`, in the tensor's logical shape, beyond its limits; "" if there is none."""
    wrong = np.argwhere((values < t.lo) | (values > t.hi))
    if not len(wrong):
        return ""
    place = "".join(f"[{i}]" for i in wrong[0])
    return f"{t.name}{place} is {values[tuple(wrong[0])]}, its limits are {t.lo} to {t.hi}"


def contradiction(plan: Plan, tensors: Mapping[str, NDArray[Any]]) -> str:
    """The first thing wrong with a state whose `tensors` have the Plan's types and shapes; "" if fine."""
    for t in plan.space("state"):
        if found := beyond(t, tensors[t.name]):
            return found
    for cursor, count, rows in rings(plan):
        at, kept = int(tensors[cursor][0]), int(tensors[count][0])
        if kept < rows and at != kept:
            return f"{cursor}[0] is {at} and {count}[0] is {kept}: until all {rows} are kept they are equal"
    return ""


def outside(plan: Plan, block: bytes) -> str:
    """The first element of the [state_bytes] beyond its limits, padding included: what WRITE refuses."""
    for t in plan.space("state"):
        values = _stored(t, block)
        padding = np.argwhere(values[..., t.shape[-1] :])
        if len(padding):
            place = "".join(f"[{i}]" for i in padding[0][:-1])
            return f"{t.name}{place} has padding that is not zero"
        if found := beyond(t, values[..., : t.shape[-1]]):
            return found
    return ""


def fault(plan: Plan, block: bytes) -> str:
    """The first thing wrong with the [state_bytes] as a chip holds them; "" where `<model>_check` says OK."""
    logical = {t.name: _stored(t, block)[..., : t.shape[-1]] for t in plan.space("state")}
    return outside(plan, block) or contradiction(plan, logical)


def _stored(t: PlanTensor, block: bytes) -> NDArray[Any]:
    """Tensor `t` in the shape that it has in memory, rows padded."""
    return np.frombuffer(block, np.dtype(t.dtype).newbyteorder("<"), t.count, t.offset).reshape(t.stored)
