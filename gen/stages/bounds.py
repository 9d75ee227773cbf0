"""Interval analysis: proves for every step that no sum leaves its register, or refuses to compile.

The state is as wide as its saturation limits allow, always; constants are known exactly; everything else
follows step by step from what its producers prove. Because every sum is proven, the order of summation cannot
change a bit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from ..ir.program import Abstract, Step, Value
from ..ops import Accumulator, Format, Known, changed, kernel


@dataclass(frozen=True, slots=True)
class Proof:
    """What was proven about one step: its accumulators, each within its register."""

    program: str
    step: Step
    accumulators: tuple[Accumulator, ...]


def prove(
    abstract: Abstract,
    steps: list[tuple[str, Step]],
    formats: Mapping[str, Format],
    data: Mapping[str, NDArray[np.generic]],
) -> list[Proof]:
    """Proofs for `steps` (lowered, producers before consumers).

    Raises CompileError, naming the first sum that could overflow or the tensor that could leave its format.
    """
    known = {v.name: _start(v, formats[v.name], data.get(v.name)) for v in abstract.values.values()}
    writers = Counter(name for _, step in steps for name in changed(step).values())
    proofs = []
    for program, step in steps:
        operands = {role: known[name] for role, name in step.args.items()}
        accumulators, written = kernel(step.kernel).bounds(operands, step.attrs)
        for acc in accumulators:
            top = 2 ** (acc.bits - 1) - 1
            if acc.hi > top or acc.lo < -top - 1:
                worst = max(acc.hi, -acc.lo)
                raise CompileError(
                    step.node,
                    f"an accumulator could overflow: the {acc.what} of {step.kernel} may reach {worst}, "
                    f"{acc.bits} bits hold {top}",
                    'use fewer inputs, narrower weights (weights = "int8"), or rescale the layer',
                )
        for role, (lo, hi, l1) in written.items():
            name = step.args[role]
            fmt, shape = formats[name], abstract.values[name].shape
            if lo < fmt.lo or hi > fmt.hi:
                raise CompileError(
                    step.node,
                    f"{name} may hold {lo} to {hi}, its format allows {fmt.lo} to {fmt.hi}",
                    "report this model and rule file",
                )
            if writers[name] == 1:  # else a reader may meet what any of them left, in any order
                known[name] = Known(shape, lo, hi, min(l1, _size(shape) * max(-lo, hi)))
        proofs.append(Proof(program, step, tuple(accumulators)))
    return proofs


def _size(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64))


def _start(v: Value, fmt: Format, data: NDArray[np.generic] | None) -> Known:
    if v.space == "const" and data is not None:
        wide = data.astype(np.int64)
        lo, hi = int(wide.min(initial=0)), int(wide.max(initial=0))
        return Known(v.shape, lo, hi, int(np.abs(wide).sum()), data)
    top = max(-fmt.lo, fmt.hi)
    return Known(v.shape, fmt.lo, fmt.hi, _size(v.shape) * top)
