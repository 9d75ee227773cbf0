"""What the ops and programs of a Plan cost on a device. docs/BENCH.md says what is counted and how."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.ir.inputs import TARGET
from synapcc.gen.ir.plan import PUSH, Plan, PlanTensor
from synapcc.gen.ir.program import Step
from synapcc.gen.ir.roles import ROLES, label_dtype
from synapcc.gen.ir.walk import Active, walk
from synapcc.gen.ops import kernel
from synapcc.gen.stages.op_check import Held, held
from synapcc.gen.stages.stream import clock_of
from synapcc.gen.target.messages import Region

from ..run.given import Given, drawn
from ..run.samples import Samples
from .meter import Meter, Reading

PHASES = ("infer", "learn", PUSH)
"""Programs that are shown op by op."""


Pattern = Callable[[PlanTensor], NDArray[Any]]
Visit = Callable[[int, Step], None]


@dataclass
class _Op:
    """One step within one program: its runs on a sample, and on operands chosen to be hard."""

    number: int
    step: Step
    runs: list[Reading] = field(default_factory=list)
    hard: list[Reading] = field(default_factory=list)


def random_samples(plan: Plan, count: int, seed: int) -> Samples:
    """`count` samples of even noise over all that an input can be, and labels, or any targets."""
    rng = np.random.default_rng(seed)
    inputs = {}
    for n in plan.inputs:
        lo, hi = plan.quantiser(n).ends
        inputs[n] = rng.integers(lo, hi + 1, (count, plan[n].shape[0])).astype(plan[n].dtype)
    if not plan.numbers:
        return Samples(inputs, rng.integers(0, plan.classes, count).astype(label_dtype(plan.classes)))
    if TARGET not in plan:
        return Samples(inputs, None)
    t = plan[TARGET]
    targets = rng.integers(t.lo, t.hi + 1, (count, t.count)).astype(np.int16)
    return Samples(inputs, None, targets=targets)


class Bench:
    """Measures one Plan with one meter. Each measurement begins with the weights as compiled."""

    def __init__(self, plan: Plan, meter: Meter, samples: Samples) -> None:
        self.plan, self.meter, self.samples = plan, meter, samples
        self._numbers = {(name, at): n for n, (name, at, _) in enumerate(plan.ops())}
        self._held = held(plan)

    def phase(self, phase: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Total and ops of the entry program of one of PHASES, of the sample that takes longest."""
        name = self.program(phase)
        totals = [self._total(name, i) for i in range(len(self.samples))]
        longest = max(range(len(totals)), key=lambda i: _size(totals[i]))
        ops: dict[int, _Op] = {}

        def measure(number: int, step: Step) -> None:
            ops.setdefault(number, _Op(number, step)).runs.append(self.meter.op(number))

        self._begin(longest, name)
        self._walk(name, measure, self._flag)
        hard_runs = self._harden(name, longest, ops)
        measured = [r for op in ops.values() for r in op.runs]
        total = {
            "macs": sum(self._macs(op.step) * len(op.runs) for op in ops.values()),
            **_figures(totals[longest]),
            "samples": len(totals),
            "min": _figures(min(totals, key=_size)),
            "between": _combine(totals[longest], _sum(measured), lambda a, b: a - b),
        }
        if name == PUSH:
            total["frames"] = self._raw.count // clock_of(self.plan).channels
        total["slice"] = _longest(list(ops.values()))
        total["worst"] = _worst(list(ops.values()), total["between"], hard_runs / len(measured))
        return total, [self._row(op, phase) for op in ops.values() if op.runs]

    def other(self, name: str) -> dict[str, Any]:
        """Total of an entry program beside these, once every sample has been learned, where any is; inputs of
        its own are any numbers."""
        self.meter.reset()
        count = len(self.samples) if self.plan.learning else 0
        for i in range(count):
            self._load(i)
            self.meter.program(self.plan.entries.index(self.plan.learning))
        given = drawn(self.plan, self.plan.entry(name), self.samples, np.random.default_rng(0))
        self.meter.give(self.plan, name, given)
        taken = self.meter.program(self.plan.entries.index(name))
        return {**_figures(taken), "learned": count}

    def alone(self, name: str, wanted: Callable[[Step], bool]) -> list[dict[str, Any]]:
        """The ops of program `name` that are wanted, on noise without a zero."""
        ops: dict[int, _Op] = {}

        def measure(number: int, step: Step) -> None:
            self._force(number, step, _noise)
            reading = self.meter.op(number)
            if wanted(step):
                ops.setdefault(number, _Op(number, step)).runs.append(reading)

        self._begin(0)
        self._walk(name, measure, _always)
        return [self._row(op, name) for op in ops.values()]

    def program(self, phase: str) -> str:
        """The entry program of one of PHASES; "" where nothing learns, or there is no front end."""
        if phase == PUSH and not self.plan.streams:
            return ""
        return self.plan.learning if phase == "learn" else phase

    @property
    def _raw(self) -> PlanTensor:
        """What a push is given."""
        return self.plan[self.plan.entry(PUSH).inputs[0]]

    # -- running --------------------------------------------------------------------------------------------

    def _load(self, i: int) -> None:
        labels = self.samples.labels
        self.meter.load(self.samples.packed(i), int(labels[i]) if labels is not None else 0)
        if self.plan.numbers:
            self.meter.give(self.plan, self.plan.learning, Given(self.samples.taught(i), None))

    def _begin(self, i: int, name: str = "") -> None:
        """The state as compiled, and sample i in the arena; before a push, raw samples of any size."""
        self.meter.reset()
        self._load(i)
        if name == PUSH:
            given = drawn(self.plan, self.plan.entry(PUSH), self.samples, np.random.default_rng(i))
            self.meter.give(self.plan, PUSH, given)

    def _total(self, name: str, i: int) -> Reading:
        self._begin(i, name)
        return self.meter.program(self.plan.entries.index(name))

    def _walk(self, name: str, visit: Visit, flag: Callable[[str, Active], Active]) -> None:
        """Shows `visit`, which must run them, the ops of a program in their order."""

        def step(program: str, position: int, item: Step, _active: Active) -> None:
            visit(self._numbers[program, position], item)

        walk(self.plan.programs, name, step, flag)

    def _flag(self, name: str, _active: Active) -> Active:
        t = self.plan[name]
        region = Region.STATE if t.space == "state" else Region.ARENA
        return None if self.meter.read(region, t.offset, 1)[0] else np.empty(0, np.intp)

    # -- the worst case -------------------------------------------------------------------------------------

    def _harden(self, name: str, i: int, ops: dict[int, _Op]) -> int:
        """Runs every op that the program can reach on hard operands; how many one pass runs."""
        count = 0
        for pattern in _HARD:
            count = 0

            def measure(number: int, step: Step, pattern: Pattern = pattern) -> None:
                nonlocal count
                count += 1
                self._force(number, step, pattern)
                ops.setdefault(number, _Op(number, step)).hard.append(self.meter.op(number))

            self._begin(i, name)
            self._walk(name, measure, _always)
        return count

    def _force(self, number: int, step: Step, pattern: Pattern) -> None:
        """Puts a pattern into the arena's signals that step `number` reads, as far as programs may leave it
        there; indices become 0, always valid."""
        k = kernel(step.kernel)
        for role in (*k.reads, *k.updates):
            t = self.plan[step.args[role]] if role in step.args else None
            if t is None or t.space != "arena":
                continue
            facts = ROLES[t.role]
            if facts.kind in ("activations", "teaching"):
                values = _possible(pattern(t), t, self._held[number])
                self.meter.write(Region.ARENA, t.offset, values.astype(t.dtype).tobytes())
            elif facts.index:
                self.meter.write(Region.ARENA, t.offset, bytes(t.nbytes))

    # -- results --------------------------------------------------------------------------------------------

    def _macs(self, step: Step) -> int:
        shapes = {role: self.plan[name].shape for role, name in step.args.items()}
        return kernel(step.kernel).cost(shapes, step.attrs).macs

    def _row(self, op: _Op, phase: str) -> dict[str, Any]:
        taken = _sum(op.runs)
        row = {
            "node": op.step.node,
            "op": op.step.kernel.split(".")[0],
            "kernel": op.step.kernel,
            "phase": phase,
            "macs": self._macs(op.step) * len(op.runs),
            **_figures(taken),
            "number": op.number,
            "runs": len(op.runs),
            "classes": taken.classes,
        }
        if op.hard:
            row["worst"] = _figures(max([*op.runs, *op.hard], key=_size))
        return row


def _possible(values: NDArray[Any], t: PlanTensor, conditions: Sequence[Held]) -> NDArray[Any]:
    """The values within what a step takes: where it takes so much in all, each its share of that."""
    for c in conditions:
        if c.tensor is t:
            values = np.clip(values, c.lo, c.hi)
            share = max(1, c.total // t.count)
            values = np.clip(values, -share, share) if c.total else values
    return values


def _noise(t: PlanTensor) -> NDArray[Any]:
    """Noise over all that a tensor may hold but 0, always the same."""
    values = np.random.default_rng([t.offset, t.count]).integers(t.lo, t.hi, t.count)
    return np.where(values == 0, t.hi, values)


def _highest(t: PlanTensor) -> NDArray[Any]:
    return np.full(t.count, t.hi)


def _lowest(t: PlanTensor) -> NDArray[Any]:
    return np.full(t.count, t.lo)


_HARD: tuple[Pattern, ...] = (_highest, _lowest, _noise)
"""What no skipping of zeros helps with, and what drives learned values to their limits."""


def _always(_name: str, _active: Active) -> Active:
    return None


def _size(reading: Reading) -> float:
    """What readings are compared by."""
    return reading.instructions if reading.instructions is not None else reading.cycles or 0.0


def _figures(reading: Reading) -> dict[str, Any]:
    return {"instructions": reading.instructions, "cycles": _whole(reading.cycles)}


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def _sum(readings: Sequence[Reading]) -> Reading:
    instructions = [r.instructions for r in readings if r.instructions is not None]
    cycles = [r.cycles for r in readings if r.cycles is not None]
    classes = [r.classes for r in readings if r.classes is not None]
    return Reading(
        sum(instructions) if len(instructions) == len(readings) else None,
        sum(cycles) if len(cycles) == len(readings) else None,
        {k: sum(c[k] for c in classes) for k in classes[0]} if classes else None,
    )


def _combine(a: Reading, b: Reading, how: Callable[[float, float], float]) -> dict[str, Any]:
    pairs = {"instructions": (a.instructions, b.instructions), "cycles": (a.cycles, b.cycles)}
    return {k: None if x is None or y is None else round(how(x, y)) for k, (x, y) in pairs.items()}


def _longest(ops: Sequence[_Op]) -> dict[str, Any]:
    """The op that takes longest in any one of its runs: how long a program in slices runs at a time."""
    hardest = [(max([*op.runs, *op.hard], key=_size), op) for op in ops]
    reading, op = max(hardest, key=lambda found: _size(found[0]))
    return {**_figures(reading), "node": op.step.node, "kernel": op.step.kernel}


def _worst(ops: Sequence[_Op], between: dict[str, Any], more: float) -> dict[str, Any]:
    """Every op at its hardest, as often as the program can run it, and `more` of what lies between ops."""
    out: dict[str, Any] = {}
    for key in ("instructions", "cycles"):
        if between[key] is None:
            out[key] = None
            continue
        total = max(0, math.ceil(between[key] * more))
        for op in ops:
            hardest = max(getattr(r, key) for r in [*op.runs, *op.hard])
            total += math.ceil(hardest * max(len(op.hard) // len(_HARD), len(op.runs)))
        out[key] = total
    return out
