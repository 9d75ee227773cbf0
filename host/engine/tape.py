"""A program of a Plan as a tape: control flow flattened, steps with the addresses of what they work on."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.ir.plan import Plan, PlanTensor
from synapcc.gen.ir.program import Call, Repeat, Step, When, reached
from synapcc.gen.ops import Kernel, kernel
from synapcc.gen.ops._loops import Loop

from . import jit
from .walk import ARENA, CONST, END, LOOP, NEXT, STATE, STEP, TAKE, UNLESS

PLACES = {"const": CONST, "state": STATE, "arena": ARENA}
FLAG = "uint8"
FIXED = ("rounding",)
"""Attributes that a kernel is compiled for: they choose between loops, of which then one is left."""
Cells = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Tape:
    """rows: as host/engine/walk.py reads them; slots: loops that nest; kept: memory that they point to"""

    rows: NDArray[np.int64]
    slots: int
    kept: tuple[Cells, ...]


@dataclass
class Parameters:
    """The parameters of one step, and the text of the arguments that its function makes of them."""

    plan: Plan
    step: Step
    numbers: list[int] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)
    kept: list[Cells] = field(default_factory=list)

    def add(self, loop: Loop) -> None:
        """One argument of the loop's body after the other."""
        tensors = {role: self.plan[name] for role, name in self.step.args.items()}
        tables, attrs, k = loop.tables(tensors, self.step.attrs), self.step.attrs, kernel(self.step.kernel)
        for name in inspect.signature(loop.body).parameters:
            if name in tensors:
                self._tensor(tensors[name])
            elif name in tables:
                self._cells(CONST, self._keep(tables[name]), str(tables[name].dtype), tables[name].shape)
            elif name in loop.groups:
                self._group([int(attrs.get(a, 0)) for a in loop.groups[name]])
            elif name in attrs:
                value = int(attrs[name])
                self.arguments.append(str(value) if name in FIXED else self._number(value))
            else:
                self._missing(k, name)

    def _missing(self, k: Kernel, name: str) -> None:
        """An attribute that is missing is 0, an operand empty."""
        if name in k.spare:
            self.arguments.append("0")
            return
        operand = k.operands[name]
        dtype = self.plan[self.step.args[operand.like]].dtype if operand.like else operand.types[0]
        self.arguments.append(f"carray(pointer(0), ({'0, ' * len(operand.dims)}), np.{dtype})")

    def _number(self, value: int) -> str:
        self.numbers.append(value)
        return f"p[{len(self.numbers) - 1}]"

    def _group(self, values: list[int]) -> None:
        self.arguments.append(f"({', '.join(map(self._number, values))},)")

    def _keep(self, array: Cells) -> int:
        """The address of an array that stays as long as the tape."""
        self.kept.append(np.ascontiguousarray(array))
        return self.kept[-1].ctypes.data

    def _tensor(self, t: PlanTensor) -> None:
        at = t.offset
        if t.space == "const":
            assert t.data is not None
            at = self._keep(np.frombuffer(t.data, np.uint8))
        self._cells(PLACES[t.space], at, t.dtype, t.stored)

    def _cells(self, place: int, at: int, dtype: str, shape: tuple[int, ...]) -> None:
        base, offset = self._number(place), self._number(at)
        sizes = ", ".join(self._number(n) for n in shape)
        self.arguments.append(f"carray(pointer(base[{base}] + {offset}), ({sizes},), np.{dtype})")


def source(plan: Plan, step: Step) -> tuple[jit.Source, Parameters]:
    """The compiled form of a step's kernel, and the step's parameters for it."""
    found, tensors = Parameters(plan, step), {role: plan[name] for role, name in step.args.items()}
    form, loop = vars(type(kernel(step.kernel)))["loop"].form(tensors, step.attrs)
    found.add(loop)
    return jit.step(step.kernel, form, found.arguments, len(found.numbers)), found


def sources(plan: Plan, program: str) -> list[jit.Source]:
    """All that `program` needs compiled."""
    steps = [i for p in reached(plan.programs, program) for i in plan.programs[p].items]
    found = [source(plan, i)[0] for i in steps if isinstance(i, Step)]
    return list({s.path: s for s in [jit.walker(), *found]}.values())


def tape(plan: Plan, program: str, first: str = "") -> Tape:
    """`program` with all that it calls, behind `first` and the taking of what that said, if there is one."""
    rows: list[list[int]] = []
    kept: list[Cells] = []
    slots = 0
    if first:
        slots = _flatten(plan, first, rows, kept, 0)
        rows.append([TAKE, 0, 0, 0])
    slots = max(slots, _flatten(plan, program, rows, kept, 0))
    rows.append([END, 0, 0, 0])
    return Tape(np.array(rows, np.int64), slots, tuple(kept))


def _flatten(plan: Plan, program: str, rows: list[list[int]], kept: list[Cells], depth: int) -> int:
    """Adds the rows of a program within `depth` loops; how many loops nest."""
    most = depth
    for item in plan.programs[program].items:
        if isinstance(item, Step):
            made, found = source(plan, item)
            numbers = np.array(found.numbers, np.int64)
            rows.append([STEP, made.entry().address, numbers.ctypes.data, 0])
            kept += [numbers, *found.kept]
        elif isinstance(item, Call):
            most = max(most, _flatten(plan, item.program, rows, kept, depth))
        elif isinstance(item, Repeat) and item.times > 0:
            rows.append([LOOP, depth, item.times, 0])
            start = len(rows)
            most = max(most, _flatten(plan, item.program, rows, kept, depth + 1), depth + 1)
            rows.append([NEXT, depth, start, 0])
        elif isinstance(item, When):
            flag, at = plan[item.flag], len(rows)
            rows.append([])
            most = max(most, _flatten(plan, item.program, rows, kept, depth))
            rows[at] = [UNLESS, PLACES[flag.space], flag.offset, len(rows)]
    return most
