"""The arena: tensors share bytes only when no moment of a run needs both, seen from outside the planner."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
from counts import counted
from random_nets import ANY, Deed, accepted, life

from synapcc.gen.ir.plan import Plan, PlanTensor
from synapcc.gen.ir.program import Program, Repeat, Step, When
from synapcc.gen.ir.walk import Active, choose, walk
from synapcc.gen.ops import kernel
from synapcc.gen.stages.memory import Piece, place
from synapcc.host.run.emulator import Emulator

pytestmark = pytest.mark.anywhere

MODELS = 60
FEW = 20


@dataclass(frozen=True)
class Moment:
    """One step of a run, and the arena tensors whose content somebody reads later."""

    step: Step
    before: frozenset[str]
    after: frozenset[str]


def start(machine: Emulator, deed: Deed) -> str:
    """Everything that comes before the program itself; returns the program."""
    if deed.inputs:
        machine.load(deed.inputs, [deed.label] if "label" in machine.plan else None)
    if deed.what in machine.plan.entries:  # what an entry program takes beside the network's inputs
        rng = np.random.default_rng([19, len(deed.inputs)])
        for name in set(machine.plan.entry(deed.what).inputs) - {*machine.plan.inputs}:
            machine[name][...] = rng.integers(-999, 1000, machine[name].shape)
    return deed.what


def walk_through(
    machine: Emulator, program: str, step: Callable[[Step], None], flag: Callable[[str], None]
) -> None:
    """Runs a program on one device, telling of each step after it ran and of each flag that is asked for."""

    def run(name: str, position: int, item: Step, active: Active) -> None:
        machine.run_step(name, position)
        step(item)

    def ask(name: str, active: Active) -> Active:
        flag(name)
        return choose(machine[name], None)

    walk(machine.plan.programs, program, run, ask)


def trace(plan: Plan, machine: Emulator, deed: Deed) -> list[Moment]:
    """Runs a deed and works out what was alive when, from what really ran: backwards from the results."""
    events: list[Step | str] = []
    walk_through(machine, start(machine, deed), events.append, events.append)
    arena = {t.name for t in plan.space("arena")}
    live = frozenset({plan.logits, "verdict"} & arena) if deed.what == "infer" else frozenset()
    out = []
    for event in reversed(events):
        if isinstance(event, str):
            live |= {event}
            continue
        after, k = live, kernel(event.kernel)
        written = {event.args[r] for r in k.writes if r in event.args}
        live = frozenset(
            (after - written) | ({event.args[r] for r in k.reads + k.updates if r in event.args} & arena)
        )
        out.append(Moment(event, live, after))
    return out[::-1]


def overlap(a: PlanTensor, b: PlanTensor) -> bool:
    return a.offset < b.offset + b.nbytes and b.offset < a.offset + a.nbytes


def check_apart(plan: Plan, names: frozenset[str], allowed: Sequence[set[str]] = ()) -> None:
    tensors = [plan[n] for n in sorted(names) if plan[n].space == "arena"]
    for i, a in enumerate(tensors):
        for b in tensors[i + 1 :]:
            assert not overlap(a, b) or {a.name, b.name} in allowed, (
                f"{plan.model}: {a.name} and {b.name} share bytes"
            )


def over(plan: Plan, moment: Moment) -> list[set[str]]:
    """Pairs of an operand that nobody reads later and the result that lies where it may lie: in place, or
    behind what the step has read. (How far behind that is, tests/gen/ops/test_trails.py asks.)"""
    k, step = kernel(moment.step.kernel), moment.step
    *sources, target = [step.args[r] for r in k.inplace if r in step.args] or [""]
    pairs = [(s, target) for s in sources if plan[s].offset == plan[target].offset]
    if k.trails:
        a, b = (plan[step.args[role]] for role in k.trails)
        if a.offset - b.offset >= k.lead(a.itemsize, b.itemsize, step.attrs):
            pairs.append((a.name, b.name))
    return [{*pair} for pair in pairs if pair[0] not in moment.after]


@counted(FEW, MODELS)
def test_no_two_live_tensors_overlap(count: int) -> None:
    shared = 0
    for compiled, seed in accepted(ANY, count):
        plan = compiled.plan
        machine = Emulator(plan)
        for deed in life(plan, seed):
            if deed.what == "state":
                continue
            for moment in trace(plan, machine, deed):
                k, step = kernel(moment.step.kernel), moment.step
                written = frozenset(step.args[r] for r in k.writes if r in step.args)
                check_apart(plan, moment.before)
                check_apart(plan, moment.before | written | moment.after, over(plan, moment))
        arena = plan.space("arena")
        shared += any(overlap(a, b) for a in arena for b in arena if a is not b)
    assert shared > count // 2, "the planner shares almost nothing: the test would not notice a mistake"


def run_scrambled(machine: Emulator, program: str, moments: list[Moment], rng: np.random.Generator) -> int:
    """Runs a program with rubbish in every dead byte after each step; how many bytes that were."""
    plan, left, count = machine.plan, list(moments), 0

    def scramble(_: Step) -> None:
        nonlocal count
        dead = np.ones(plan.arena_bytes, bool)
        for name in left.pop(0).after:
            if plan[name].space == "arena":
                dead[plan[name].offset : plan[name].offset + plan[name].nbytes] = False
        machine.arena[0, dead] = rng.integers(0, 256, int(dead.sum()), np.uint8)
        count += int(dead.sum())

    walk_through(machine, program, scramble, lambda name: None)
    assert not left
    return count


@pytest.mark.parametrize("first", [7000, pytest.param(7100, marks=pytest.mark.long)])
def test_rubbish_in_every_dead_byte_changes_nothing(first: int) -> None:
    """The same life twice: once with bytes of its own for every tensor, once with dead bytes scrambled."""
    scrambled = 0
    for compiled, seed in accepted(first, FEW):
        plan = compiled.plan
        reference, machine, rng = Emulator(spread(plan)), Emulator(plan), np.random.default_rng(seed)
        for deed in life(plan, seed):
            if deed.what == "state":
                reference.state[0] = machine.state[0] = np.frombuffer(deed.state, np.uint8)
                continue
            moments = trace(reference.plan, reference, deed)
            scrambled += run_scrambled(machine, start(machine, deed), moments, rng)
            assert machine.state.tobytes() == reference.state.tobytes(), f"{plan.model}, {deed.what}"
            if deed.what == "infer":
                for name in ("verdict", plan.logits):
                    assert np.array_equal(machine[name], reference[name]), f"{plan.model}: {name}"
    assert scrambled > 10_000


def spread(plan: Plan) -> Plan:
    """The same Plan with bytes of its own for every arena tensor."""
    at, out = 0, []
    for t in plan.tensors:
        if t.space == "arena":
            out.append(replace(t, offset=at))
            at += -(-t.nbytes // 4) * 4
        else:
            out.append(t)
    return replace(plan, tensors=tuple(out), arena_bytes=at, infer_arena_bytes=0, _by_name={})


def test_tensors_lie_within_their_space_and_are_aligned() -> None:
    for compiled, _ in accepted(ANY, FEW):
        plan = compiled.plan
        for t in plan.tensors:
            if t.space != "const":
                assert t.offset % t.itemsize == 0 and t.offset >= 0
                assert t.offset + t.nbytes <= (
                    plan.state_bytes if t.space == "state" else plan.arena_bytes
                ), t.name
        state = plan.space("state")
        assert sum(t.nbytes for t in state) + 3 >= plan.state_bytes, (
            "bytes are lost between persistent tensors"
        )
        for a, b in pairwise(state):
            assert a.offset + a.nbytes == b.offset
        wide = [t for t in plan.space("arena") if t.itemsize > 1]
        for i, a in enumerate(wide):
            for b in wide[i + 1 :]:
                assert a.dtype == b.dtype or not overlap(a, b), (
                    f"{a.name} and {b.name}: one byte read through two types"
                )


def test_a_chain_uses_its_memory_again() -> None:
    """x -> a -> b -> c with arrays of one size: two places are enough for what is no in-place result."""
    names = ["x", "a", "b", "c"]
    pieces = {n: Piece(n, 100, "int8") for n in names}
    steps = tuple(
        Step("concat.slice", "n", {"d": source, "g": target}, {}) for source, target in pairwise(names)
    )
    offsets, size = place({"p": Program("p", "", steps)}, {"p": ["x"]}, pieces, ["c"])
    assert size == 200 and len(set(offsets.values())) == 2
    clips = tuple(
        Step("clip.forward", "n", {"x": source, "y": target}, {}) for source, target in pairwise(names)
    )
    assert place({"p": Program("p", "", clips)}, {"p": ["x"]}, pieces, ["c"])[1] == 100


def test_what_a_branch_may_leave_alone_stays() -> None:
    """a is written, perhaps written again in a branch, then read: nothing in between may take its place."""

    def copy(source: str, target: str) -> Step:
        return Step("concat.slice", "n", {"d": source, "g": target}, {})

    pieces = {n: Piece(n, 100, "int8") for n in ("x", "y", "a", "c", "d", "out")}
    pieces["f"] = Piece("f", 1, "uint8")
    between = (copy("x", "c"), copy("c", "d"))
    for branch in (When("f", "again"), Repeat(2, "maybe")):
        programs = {
            "again": Program("again", "", (copy("y", "a"),)),
            "maybe": Program("maybe", "", (When("f", "again"),)),
            "p": Program("p", "", (copy("x", "a"), *between, branch, copy("a", "out"))),
        }
        offsets, _ = place(programs, {"p": ["x", "y", "f"]}, pieces, ["d", "out"])
        assert offsets["a"] not in (offsets[n] for n in ("x", "y", "c", "d", "f"))
