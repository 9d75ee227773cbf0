"""Interval analysis: proves for every step that no sum leaves its register, or refuses the Plan.

The state is as wide as its saturation limits allow, always; constants are known exactly; everything else
follows step by step from what its producers prove. Because every sum is proven, the order of summation cannot
change a bit.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import CompileError
from ..ir.plan import Plan, PlanTensor
from ..ir.program import Step, in_order
from ..ops import Accumulator, Known, changed, kernel, replaced
from .memory import loaded

OURS = 'use fewer inputs, narrower weights (weights = "int8"), or rescale the layer'
FILE = "its scales and biases are the file's: quantise the model again, with usual inputs"
"""What to do where a sum could overflow."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What is known about one step wherever programs run it.

    operands:     by role, what they hold before it
    accumulators: its sums; once proven, each within its register
    written:      (lo, hi, l1) of what it writes, by role
    """

    program: str
    step: Step
    operands: Mapping[str, Known]
    accumulators: tuple[Accumulator, ...]
    written: Mapping[str, tuple[int, int, int]]


def prove(plan: Plan) -> list[Proof]:
    """A proof for each step, producers before consumers.

    Raises CompileError, naming the first sum that could overflow or the tensor that could leave its format.
    """
    proofs = []
    for proof in intervals(plan):
        step = proof.step
        for acc in proof.accumulators:
            top = 2 ** (acc.bits - 1) - 1
            if acc.hi > top or acc.lo < -top - 1:
                worst = max(acc.hi, -acc.lo)
                raise CompileError(
                    step.node,
                    f"an accumulator could overflow: the {acc.what} of {step.kernel} may reach {worst}, "
                    f"{acc.bits} bits hold {top}",
                    FILE if "rounds" in step.attrs else OURS,
                )
        for role, (lo, hi, _) in proof.written.items():
            t = plan[step.args[role]]
            if lo < t.lo or hi > t.hi:
                raise CompileError(
                    step.node,
                    f"{t.name} may hold {lo} to {hi}, its format allows {t.lo} to {t.hi}",
                    "report this model and rule file",
                )
        proofs.append(proof)
    return proofs


def intervals(plan: Plan) -> Iterator[Proof]:
    """What `prove` proves, not yet held against registers and formats."""
    known = {t.name: _start(t) for t in plan.tensors}
    steps = in_order(plan.programs, plan.entries)
    writers = Counter(name for _, step in steps for name in changed(step).values())
    found = found_content(plan)
    for program, step in steps:
        operands = {role: known[name] for role, name in step.args.items()}
        accumulators, written = kernel(step.kernel).bounds(operands, step.attrs)
        yield Proof(program, step, operands, tuple(accumulators), written)
        for role, name in replaced(step).items():
            t = plan[name]
            # Else a reader may meet what any of several steps left, a caller, or another program.
            if role in written and writers[name] == 1 and t.space == "arena" and name not in found:
                lo, hi, l1 = written[role]
                known[name] = Known(t.shape, lo, hi, min(l1, _size(t.shape) * max(-lo, hi)))


def found_content(plan: Plan) -> frozenset[str]:
    """Tensors of the arena that some entry program reads as it finds them: what callers fill, and what is
    read where it has not been written, or not as a whole."""
    names = [t.name for t in plan.space("arena")]
    return frozenset[str]().union(*(loaded(plan.programs, entry, names) for entry in plan.entries))


def _size(shape: tuple[int, ...]) -> int:
    return math.prod(shape)


def _start(t: PlanTensor) -> Known:
    if t.space == "const" and t.data is not None:
        data = t.array()
        wide = data.astype(np.int64)
        lo, hi = int(wide.min(initial=0)), int(wide.max(initial=0))
        return Known(t.shape, lo, hi, int(np.abs(wide).sum()), data)
    return Known(t.shape, t.lo, t.hi, _size(t.shape) * max(-t.lo, t.hi))
