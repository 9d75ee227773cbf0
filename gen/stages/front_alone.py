"""A front end without a network: what training and calibration see is what the chip makes of its samples.

The Plan has one entry program, `push`, of the same steps as before a network, for as many frames at a time as
is wanted; it leaves the windows' signals in the arena. Whoever runs it cuts the windows out of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..frontends import FrontTape, Window, write
from ..ir.plan import PUSH, Plan, PlanTensor, padded
from ..ir.program import Builder, Entry, Program, Step, Value
from ..ops import Format, kernel
from ..spec import FrontEnd

WAIT = "wait"
"""A program that does nothing: an engine runs it behind each push, whose signals it keeps."""
COUNTER = Format("uint32", 0, 0, 2**32 - 1)


@dataclass(frozen=True, slots=True)
class FrontAlone:
    """A front end on its own: its Plan, and its windows, whose signals are tensors of it."""

    plan: Plan
    windows: tuple[Window, ...]


def front_alone(front: FrontEnd, frames: int) -> FrontAlone:
    """The front end, given `frames` at a time, a multiple of its push. CompileError where it cannot be."""
    b = Builder()
    with b.program(PUSH, "samples through the front end"):
        tape = FrontTape(b, replace(front, push=frames))
        write(tape)
    formats = {n: v.format or COUNTER for n, v in b.values.items()}
    steps = tuple(_lowered(i, formats) for i in b.programs[PUSH].items if isinstance(i, Step))
    programs = {PUSH: Program(PUSH, b.programs[PUSH].doc, steps), WAIT: Program(WAIT, "nothing", ())}
    tensors, sizes = [], {"const": 0, "state": 0, "arena": 0}
    for v in b.values.values():
        t = _tensor(v, formats[v.name], sizes[v.space])
        tensors.append(t)
        sizes[v.space] += -(-t.nbytes // 4) * 4
    entries = tuple(Entry(name, (tape.raw,)) for name in (PUSH, WAIT))
    size = (b.values[tape.raw].size,)
    plan = Plan(
        "frontend", tuple(tensors), programs, entries, (tape.raw,), (size,), ("samples",), tape.raw, 1,
        sizes["state"], sizes["arena"],
    )  # fmt: skip
    return FrontAlone(plan, tuple(tape.windows))


def _lowered(step: Step, formats: Mapping[str, Format]) -> Step:
    fmt = {role: formats[name] for role, name in step.args.items()}
    attrs = kernel(step.kernel).lower(fmt, step.attrs, step.node)
    return replace(step, attrs=dict(sorted(attrs.items())))


def _tensor(v: Value, fmt: Format, offset: int) -> PlanTensor:
    start = np.zeros(v.shape, fmt.dtype) if v.ints is None else np.asarray(v.ints, fmt.dtype)
    data = None if v.space == "arena" else padded(start, v.size)
    return PlanTensor(
        v.name, fmt.dtype, v.shape, v.size, v.space, offset, fmt.meaning, fmt.lo, fmt.hi, v.role, v.use,
        v.note, data,
    )  # fmt: skip
