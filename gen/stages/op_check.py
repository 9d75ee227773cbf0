"""What must lie in the arena before a step may run alone: in programs their order sees to it.

The numpy twin of the emitted `<model>_check_op`. What a program reads there its own steps have written,
within what `bounds` proves of them. A step that is asked for by number meets whatever lies there: another
tensor in the same place, the rest of another program, what a host wrote.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir.plan import Plan, PlanTensor
from ..ops import Known, kernel
from .bounds import Proof, intervals

WHOLE = 2**31  # a total from here on decides no proof: a sum of 32 bits would not hold it


@dataclass(frozen=True, slots=True)
class Held:
    """What an operand in the arena must be: each element within lo .. hi, and where `total` is not 0 the
    magnitudes of all of them no more than that together."""

    tensor: PlanTensor
    lo: int
    hi: int
    total: int = 0

    @property
    def anything(self) -> bool:
        """Whether every content is good."""
        top = np.iinfo(self.tensor.dtype)
        return not self.total and self.lo <= top.min and top.max <= self.hi


def held(plan: Plan) -> tuple[tuple[Held, ...], ...]:
    """By the number of a step (Plan.ops): what its operands in the arena must be, without those that may be
    anything, and without the label, which has a rule of its own.

    Their limits; where these alone do not prove its sums, what its programs prove of them.
    """
    proofs = {(p.program, id(p.step)): p for p in intervals(plan)}
    return tuple(_held(plan, proofs[program, id(step)]) for program, _, step in plan.ops())


def op_fault(conditions: Sequence[Held], views: Mapping[str, NDArray[Any]]) -> str:
    """The first operand that is not as held, in views [devices, ...] of the arena; "" if there is none."""
    for c in conditions:
        values = views[c.tensor.name].astype(np.int64)
        low, high = int(values.min()), int(values.max())
        if low < c.lo or high > c.hi:
            return f"{c.tensor.name} has {low} to {high}, the step takes {c.lo} to {c.hi}"
        totals = np.abs(values).reshape(len(values), -1).sum(axis=1)
        if c.total and totals.max() > c.total:
            return f"the magnitudes of {c.tensor.name} are {totals.max()} together, the step takes {c.total}"
    return ""


def _held(plan: Plan, proof: Proof) -> tuple[Held, ...]:
    k = kernel(proof.step.kernel)
    args = {role: plan[name] for role, name in proof.step.args.items()}
    read = {
        r: t for r, t in args.items() if r in k.reads + k.updates and t.space == "arena" and t.name != "label"
    }
    limits = {r: Held(t, t.lo, t.hi) for r, t in read.items()}
    proven = {r: Held(t, proof.operands[r].lo, proof.operands[r].hi) for r, t in read.items()}
    totals = {r: replace(h, total=_total(proof.operands[r])) for r, h in proven.items()}
    chosen = next((c for c in (limits, proven) if _sound(plan, proof, c)), totals)
    return tuple(dict.fromkeys(h for h in chosen.values() if not h.anything))


def _total(k: Known) -> int:
    """The total that is less than size and magnitude say, 0 if it says no more than they."""
    return k.l1 if k.l1 < min(_size(k) * k.mag, WHOLE) else 0


def _size(k: Known) -> int:
    return math.prod(k.shape)


def _sound(plan: Plan, proof: Proof, conditions: Mapping[str, Held]) -> bool:
    """Whether no sum of the step can overflow, and nothing leaves its limits, on operands so held."""
    operands = dict(proof.operands)
    for role, h in conditions.items():
        k = replace(operands[role], lo=h.lo, hi=h.hi)
        operands[role] = replace(k, l1=_size(k) * k.mag)
    accumulators, written = kernel(proof.step.kernel).bounds(operands, proof.step.attrs)
    tensors = {role: plan[proof.step.args[role]] for role in written}
    return all(-(2 ** (a.bits - 1)) <= a.lo and a.hi < 2 ** (a.bits - 1) for a in accumulators) and all(
        tensors[role].lo <= lo and hi <= tensors[role].hi for role, (lo, hi, _) in written.items()
    )
