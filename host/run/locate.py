"""Where chip and emulator differ first: tensor, element, and the op that made it so."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.errors import SynapccError
from synapcc.gen.ir.plan import Plan, PlanTensor
from synapcc.gen.ir.program import Step
from synapcc.gen.target.messages import SAMPLE, Region

from .emulator import Emulator
from .given import Given
from .sides import Sides

Place = tuple[str, tuple[int, ...], int, int, int]
"""Tensor, index, expected, got, and how many bytes differ in all."""


@dataclass(frozen=True)
class Difference:
    """The first byte that differs: where, what was expected, what came, and which op made it.

    tensor, index: a persistent tensor and its element; `samples`, [number, byte], in one that the chip keeps
    """

    step: int
    program: str
    tensor: str
    index: tuple[int, ...]
    expected: int
    got: int
    bytes: int
    op: str

    def __str__(self) -> str:
        place = "".join(f"[{i}]" for i in self.index)
        where = f"step {self.step} ({self.program}): {self.tensor}{place}"
        return f"{where} expected {self.expected}, got {self.got}; {self.op}"


def state_difference(plan: Plan, want: NDArray[np.uint8], got: NDArray[np.uint8]) -> Place | None:
    """The first place where two states, [state_bytes], differ."""
    wrong = int(np.count_nonzero(got != want))
    for t in plan.space("state"):
        part = slice(t.offset, t.offset + t.nbytes)
        if found := first_place(t, want[part], got[part]):
            return t.name, *found, wrong
    return None


def first_place(
    t: PlanTensor, want: NDArray[np.uint8], have: NDArray[np.uint8]
) -> tuple[tuple[int, ...], int, int] | None:
    """(index, expected, got) of the first element that differs."""
    a, b = (
        v.view(np.dtype(t.dtype)).reshape(t.stored)
        for v in (np.ascontiguousarray(want), np.ascontiguousarray(have))
    )
    differing = np.argwhere(a != b)
    if not len(differing):
        return None
    at = tuple(int(i) for i in differing[0])
    return at, int(a[at]), int(b[at])


def locate(
    sides: Sides,
    before: NDArray[np.uint8],
    program: str,
    i: int,
    step: int,
    given: Given | None = None,
) -> Difference:
    """The first element that differs after a step, and the first op that differs when it is repeated."""
    found = state_difference(sides.plan, sides.machine.state[0], sides.read_back())
    if found is None:
        raise unreliable(sides, step)
    return Difference(step, program, *found, first_op(sides, before, program, i, given))


def unreliable(sides: Sides, step: int) -> SynapccError:
    """What a chip said of its state is not what it then showed."""
    return SynapccError(
        sides.client.device.name,
        f"step {step}: the digest differs and the state read back does not",
        "the link or the device's memory is unreliable",
    )


def damaged(sides: Sides, step: int, i: int) -> Difference | None:
    """What a step learned from where the chip does not keep sample i as it was sent; None: it does."""
    want, got = sides.kept_bytes(i)
    differing = np.flatnonzero(want != got)
    if not len(differing):
        return None
    at, label = int(differing[0]), SAMPLE.fixed_bytes
    part = f"byte {at} of its label" if at < label else f"byte {at - label} of its inputs"
    why = f"{part}: kept sample {i} changed in the device's memory, and no op is at fault"
    return Difference(step, "learn", "samples", (i, at), int(want[at]), int(got[at]), len(differing), why)


def passing(sides: Sides, step: int, last: int) -> SynapccError:
    """A fault in an exchange until step `last` that left nothing behind, nor came again."""
    return SynapccError(
        sides.client.device.name,
        f"step {step}: the checksum after it differs; the state read back after step {last} does not, "
        "nor does the step when repeated: a passing fault, over which later steps wrote",
        "the link or the device's memory is unreliable; --batch 1 looks at the state right after each step",
    )


NO_OP = "no op differs when the step is repeated: the state changed between steps"


class _Found(Exception):
    def __init__(self, op: str) -> None:
        self.op = op


def first_op(
    sides: Sides, before: NDArray[np.uint8], program: str, i: int, given: Given | None = None
) -> str:
    """Repeats one step op by op on both sides from the state `before`; names the first op that differs."""
    plan, client, machine = sides.plan, sides.client, Emulator(sides.plan)
    numbers = {(name, at): n for n, (name, at, _) in enumerate(plan.ops())}
    again = Sides(plan, client, machine, sides.samples)
    again.begin_from(before)
    # What an op leaves alone, another part of a concatenation say, must not count as its result.
    machine.arena[0] = np.frombuffer(client.read(Region.ARENA, 0, plan.arena_bytes), np.uint8)
    again.load(i)
    if given:
        again.give(program, given)

    def after(name: str, position: int) -> None:
        number = numbers[name, position]
        client.run_op(number, proof=None)
        step = plan.programs[name].items[position]
        assert isinstance(step, Step)
        for role, tensor in step.args.items():
            t = plan[tensor]
            if t.space == "const":
                continue
            state = t.space == "state"
            block, region = (machine.state, Region.STATE) if state else (machine.arena, Region.ARENA)
            want = block[0][t.offset : t.offset + t.nbytes]
            found = first_place(t, want, np.frombuffer(client.read(region, t.offset, t.nbytes), np.uint8))
            if found:
                place = "".join(f"[{n}]" for n in found[0])
                raise _Found(
                    f"first op that differs: {step.kernel} of {step.node} (op {number}), "
                    f"its {role} {tensor}{place} expected {found[1]}, got {found[2]}"
                )

    try:
        machine.run(program, after=after)
    except _Found as found:
        return found.op
    return NO_OP
