"""Learns the same samples on a device and in the emulator; compares every persistent byte after every step.

The device answers each step with the SHA-256 of its persistent tensors. Where it differs from the emulator's,
the state is read back, the first differing tensor and element are named, and the step is repeated op by op
from the state before it to find the first op that differs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.errors import SynapccError
from synapcc.gen.ir.plan import Plan, PlanTensor
from synapcc.gen.ir.program import Step
from synapcc.gen.target.messages import Region

from ..link.client import Client
from ..link.saturation import Saturation, saturation, warning
from .emulator import Emulator
from .given import Given, drawn, own_inputs
from .samples import Samples

INFERENCES = 100  # compared before and after learning
TURNS = 5  # of an entry program with inputs of its own


@dataclass(frozen=True)
class Difference:
    """The first byte that differs: where, what was expected, what came, and which op made it."""

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


@dataclass(frozen=True)
class Verdict:
    """What a verification saw. `differing`: bytes in all persistent tensors over all steps compared.

    saturation: of each learned layer, at the end; both sides count alike as long as nothing differs
    engine: the emulator's, at the end
    """

    steps: int
    differing: int
    inferences: int
    programs: tuple[str, ...]
    state_bytes: int
    difference: Difference | None
    saturation: tuple[Saturation, ...] = ()
    engine: str = "numpy"

    @property
    def line(self) -> str:
        return f"verify: {self.steps} steps, {self.differing} differing bytes"

    @property
    def agreement(self) -> str:
        """What was found equal beside the learning steps."""
        programs = ", ".join(self.programs) or "infer"
        return (
            f"{self.inferences} inferences, programs {programs}, "
            f"and all {self.state_bytes} persistent bytes read back: equal"
        )

    def to_dict(self) -> dict[str, Any]:
        told = {"saturation": [x.to_dict() for x in self.saturation], "warning": warning(self.saturation)}
        return asdict(self) | told


def verify(
    plan: Plan,
    client: Client,
    samples: Samples,
    steps: int,
    tick: Callable[[], None] = lambda: None,
    slices: bool = False,
) -> Verdict:
    """Runs `steps` learning steps, then every other entry program once, and inferences before and after.

    Samples come in order, again from the first after the last; tick() after each step. Stops at the first
    difference. slices: programs run in slices, compared after every slice, with an inference before each
    where `infer` has an arena of its own. Raises DeviceError if the device or the link fails.
    """
    client.reset()
    machine = Emulator(plan)
    difference = _compare_inferences(plan, client, machine, samples, 0)
    programs: list[str] = []
    done = 0
    learning = plan.learning
    if difference is None and learning:
        programs.append(learning)
        for done in range(1, steps + 1):
            i = (done - 1) % len(samples)
            given = None if learning == "learn" else Given(samples.taught(i), None)
            if slices:
                difference = _in_slices(plan, client, machine, samples, learning, i, done, given)
            elif given:
                difference = _run_given(plan, client, machine, learning, samples, i, done, given)
            else:
                difference = _learn(plan, client, machine, samples, i, done)
            tick()
            if difference:
                break
    for number, program in enumerate(plan.entries):
        if difference or program in ("infer", learning):
            continue
        programs.append(program)
        difference = _run(plan, client, machine, number, samples, done, slices)
    difference = difference or _compare_inferences(plan, client, machine, samples, done)
    if difference is None:
        got = np.frombuffer(client.read(Region.STATE, 0, plan.state_bytes), np.uint8)
        if found := _state_difference(plan, machine, got):
            difference = Difference(done, "read back", *found, "no op: only the state read back differs")
    checked = 2 * min(INFERENCES, len(samples)) if not difference else 0
    return Verdict(
        done,
        difference.bytes if difference else 0,
        checked,
        tuple(programs),
        plan.state_bytes,
        difference,
        saturation(plan, machine.state[0]),
        machine.engine,
    )


def digest(machine: Emulator) -> bytes:
    return hashlib.sha256(machine.state[0].tobytes()).digest()


def _learn(
    plan: Plan, client: Client, machine: Emulator, samples: Samples, i: int, step: int
) -> Difference | None:
    assert samples.labels is not None
    before = machine.state.copy()
    machine.learn(samples.one(i), samples.labels[i : i + 1])
    if client.learn(samples.packed(i), int(samples.labels[i])) == digest(machine):
        return None
    return locate(plan, client, machine, before, "learn", samples, i, step)


def _run(
    plan: Plan, client: Client, machine: Emulator, number: int, samples: Samples, step: int, slices: bool
) -> Difference | None:
    """An entry program on the first sample; one with inputs of its own, TURNS times on drawn numbers."""
    program, rng = plan.entries[number], np.random.default_rng(number)
    entry = plan.entry(program)
    for _ in range(TURNS if own_inputs(plan, entry) else 1):
        given = drawn(plan, entry, samples, rng)
        if slices:
            if found := _in_slices(plan, client, machine, samples, program, 0, step, given):
                return found
            continue
        if found := _run_given(plan, client, machine, program, samples, 0, step, given):
            return found
    return None


def _run_given(
    plan: Plan,
    client: Client,
    machine: Emulator,
    program: str,
    samples: Samples,
    i: int,
    step: int,
    given: Given,
) -> Difference | None:
    """An entry program on sample i and what it is given beside."""
    before = machine.state.copy()
    _load(plan, client, machine, samples, i)
    _give(plan, client, machine, program, given)
    machine.run(program)
    if client.run(plan.entries.index(program)) == digest(machine):
        return None
    return locate(plan, client, machine, before, program, samples, i, step, given)


def _load(plan: Plan, client: Client, machine: Emulator, samples: Samples, i: int) -> None:
    """Sample i into both arenas."""
    label = int(samples.labels[i]) if samples.labels is not None else 0
    machine.load(samples.one(i), [label] if "label" in plan else None)
    client.load(samples.packed(i), label)


def _give(plan: Plan, client: Client, machine: Emulator, program: str, given: Given) -> None:
    """What an entry program takes into both arenas."""
    machine.give(program, given.inputs, given.label)
    client.give(plan, program, given.inputs, given.label)


def _in_slices(
    plan: Plan,
    client: Client,
    machine: Emulator,
    samples: Samples,
    program: str,
    i: int,
    step: int,
    given: Given | None = None,
) -> Difference | None:
    """One run of a program, slice by slice on both sides."""
    before = machine.state.copy()
    client.abort()
    _load(plan, client, machine, samples, i)
    if given is not None:
        _give(plan, client, machine, program, given)
    machine.begin(program)
    client.begin(plan.entries.index(program))
    more = True
    while more:
        if not plan.shared and (found := _compare_inferences(plan, client, machine, samples, step, 1)):
            return found
        more = machine.step()
        if client.step() != (more, digest(machine)):
            client.abort()
            machine.abort()
            return locate(plan, client, machine, before, program, samples, i, step, given)
    return None


def _compare_inferences(
    plan: Plan, client: Client, machine: Emulator, samples: Samples, step: int, most: int = INFERENCES
) -> Difference | None:
    for i in range(min(most, len(samples))):
        winner, margin, scores = machine.infer(samples.one(i))
        got = client.infer(samples.packed(i))
        expected = [int(winner[0]), int(margin[0]), *map(int, scores[0])]
        for at, (want, have) in enumerate(zip(expected, [got.winner, got.margin, *got.scores], strict=True)):
            if want != have:
                what = ("winner", "margin")[at] if at < 2 else "scores"
                client.abort()
                op = _first_op(plan, client, machine.state.copy(), "infer", samples, i)
                return Difference(
                    step, "infer", what, (max(at - 2, 0),), want, have, 1, f"inference of sample {i}: {op}"
                )
    return None


def _state_difference(
    plan: Plan, machine: Emulator, got: NDArray[np.uint8]
) -> tuple[str, tuple[int, ...], int, int, int] | None:
    """(tensor, index, expected, got, differing bytes in all) where `got` is not the emulator's state."""
    wrong = int(np.count_nonzero(got != machine.state[0]))
    for t in plan.space("state"):
        part = slice(t.offset, t.offset + t.nbytes)
        if found := _first(t, machine.state[0][part], got[part]):
            return t.name, *found, wrong
    return None


def _first(
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
    plan: Plan,
    client: Client,
    machine: Emulator,
    before: NDArray[np.uint8],
    program: str,
    samples: Samples,
    i: int,
    step: int,
    given: Given | None = None,
) -> Difference:
    """The first element that differs after a step, and the first op that differs when it is repeated."""
    got = np.frombuffer(client.read(Region.STATE, 0, plan.state_bytes), np.uint8)
    found = _state_difference(plan, machine, got)
    if found is None:
        raise SynapccError(
            client.device.name,
            f"step {step}: the digest differs and the state read back does not",
            "the link or the device's memory is unreliable",
        )
    return Difference(step, program, *found, _first_op(plan, client, before, program, samples, i, given))


class _Found(Exception):
    def __init__(self, op: str) -> None:
        self.op = op


def _first_op(
    plan: Plan,
    client: Client,
    before: NDArray[np.uint8],
    program: str,
    samples: Samples,
    i: int,
    given: Given | None = None,
) -> str:
    """Repeats one step op by op on both sides from the state `before`; names the first op that differs."""
    numbers = {(name, at): n for n, (name, at, _) in enumerate(plan.ops())}
    machine = Emulator(plan)
    machine.state[...] = before
    client.write(Region.STATE, 0, before[0].tobytes())
    # What an op leaves alone, another part of a concatenation say, must not count as its result.
    machine.arena[0] = np.frombuffer(client.read(Region.ARENA, 0, plan.arena_bytes), np.uint8)
    _load(plan, client, machine, samples, i)
    if given:
        _give(plan, client, machine, program, given)

    def after(name: str, position: int) -> None:
        number = numbers[name, position]
        client.run_op(number, digest=False)
        step = plan.programs[name].items[position]
        assert isinstance(step, Step)
        for role, tensor in step.args.items():
            t = plan[tensor]
            if t.space == "const":
                continue
            state = t.space == "state"
            block, region = (machine.state, Region.STATE) if state else (machine.arena, Region.ARENA)
            want = block[0][t.offset : t.offset + t.nbytes]
            found = _first(t, want, np.frombuffer(client.read(region, t.offset, t.nbytes), np.uint8))
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
    return "no op differs when the step is repeated: the state changed between steps"
