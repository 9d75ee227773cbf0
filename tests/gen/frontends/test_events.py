"""Front ends that look for beats: numpy, compiled engine and emitted C push by push, labels that come late,
and what the host cuts beside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from counts import ONE_TOOLCHAIN, counted
from ctools import GET_STATE, INIT, RUN, SET_ARENA, UNDEFINED, Batch, ChipBatch, HostBatch
from event_fronts import fronts, heart
from fronts import Made

from synapcc.gen.ir.plan import DENY, MARK, PUSH
from synapcc.gen.ops import kernels
from synapcc.gen.stages.plan_file import load_plan
from synapcc.host.run.emulator import Emulator
from synapcc.host.run.frontend import cut, events

SECONDS = 12.0


def _gain(made: Made) -> float:
    """That the front end was told."""
    return float(next(b for b in made.front.blocks if b.kind == "r_peak")["gain"])


def rows_of(
    made: Made, rng: np.random.Generator, rate: float, seconds: float = SECONDS, faults: int = 2
) -> np.ndarray:
    """A stream as pushes, [pushes, values]."""
    x = heart(rng, seconds, rate, _gain(made) / 4, faults)
    return x[: len(x) // made.front.push * made.front.push].reshape(-1, made.front.push)


def same(made: Made, batch: Batch, number: int, machine: Emulator, program: str, at: int) -> None:
    """The program in both, and every persistent byte compared."""
    batch.ask(number, SET_ARENA, payload=machine.arena[0].tobytes())
    machine.run(program)
    assert batch.ask(number, RUN, made.plan.entries.index(program))[0] == 0
    got = batch.ask(number, GET_STATE)[1]
    if got != machine.state[0].tobytes():
        for t in made.plan.space("state"):
            part = got[t.offset : t.offset + t.nbytes]
            assert part == machine[t.name][0].tobytes(), f"{made.text}\n{program} {at}: {t.name}"


def follow(made: Made, batch: Batch, number: int, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Emulator and C on the same stream, with labels now and then; verdicts, labels that found a window, and
    labels."""
    plan, machine = made.plan, Emulator(made.plan, engine="numpy")
    (name,) = plan.entry(PUSH).inputs
    assert batch.ask(number, INIT)[0] == 0
    seen = np.zeros(3, int)
    for at, row in enumerate(rows):
        machine.give(PUSH, {name: row[None]})
        same(made, batch, number, machine, PUSH, at)
        seen[0] += machine["push_made"][0, 0]
        if plan.marks and rng.integers(6) == 0:
            moments = (at + 1) * made.front.push - machine["pending_moments"][0].astype(np.int64)
            back = rng.choice([0, 2**32 - 1, rng.integers(0, 400), *(moments + rng.integers(-9, 10))]) % 2**32
            entry = DENY if plan.denies and rng.integers(2) else MARK
            machine.give(entry, {"mark_ago": np.array([[back]])}, rng.integers(0, plan.classes, 1))
            same(made, batch, number, machine, entry, at)
            seen[1:] += machine["mark_found"][0, 0], 1
    return seen


@counted(3, 150)
def test_random_front_ends_with_events_on_this_computer(count: int, tmp_path: Path) -> None:
    rng, found = np.random.default_rng(count), list(fronts(3000 * count, count))
    batch = HostBatch([m.plan for m, _ in found], tmp_path, "-O1", *UNDEFINED)
    total = np.zeros(3, int)
    try:
        for i, (made, rate) in enumerate(found):
            total += follow(made, batch, i, rows_of(made, rng, rate), rng)
    finally:
        batch.close()
    assert total[0] >= 3 * count and 0 < total[1] < total[2], total


@pytest.mark.parametrize("toolchain", ONE_TOOLCHAIN)
def test_random_front_ends_with_events_on_the_virtual_m4(toolchain: str, tmp_path: Path) -> None:
    rng, found = np.random.default_rng(1), list(fronts(60_000, 2))
    batch = ChipBatch([m.plan for m, _ in found], tmp_path, toolchain, "dsp")
    verdicts = sum(
        follow(made, batch, i, rows_of(made, rng, rate, 8, 0), rng)[0] for i, (made, rate) in enumerate(found)
    )
    assert verdicts > 2


@counted(1, 40)
def test_the_host_sees_what_the_chip_sees_at_events(count: int) -> None:
    """Windows of the command, quantised, are the inputs of verdicts but for some units of rounding, at the
    same events; numpy and compiled engine find the same ones."""
    rng = np.random.default_rng(count)
    for made, rate in fronts(4000 * count, count):
        plan, rows = made.plan, rows_of(made, rng, rate)
        found = cut(made.front, rows.reshape(-1), engine="numpy")
        assert found.event is not None
        other = cut(made.front, rows.reshape(-1), engine="auto")
        assert all(np.array_equal(x, other.windows[n]) for n, x in found.windows.items())
        machine, seen, said = Emulator(plan, engine="numpy"), [], []

        def read(program: str, _: int, machine: Emulator = machine, seen: list[np.ndarray] = seen) -> None:
            """What is filled, before the network takes its place in the arena."""
            if program == "window_infer":
                seen[-1:] = [np.concatenate([machine[n][0].astype(int) for n in machine.plan.inputs])]

        (name,) = plan.entry(PUSH).inputs
        for at, row in enumerate(rows, 1):
            seen.append(np.zeros(0))
            machine.run(PUSH, inputs={name: row[None]}, after=read)
            if machine["push_made"][0, 0]:
                said.append(at * made.front.push - 1)
            else:
                seen.pop()
        assert said == found.said.tolist() and len(said) == len(seen), made.text
        if said:
            want = np.concatenate([plan.quantiser(n).integers(found.windows[n]) for n in plan.inputs], axis=1)
            apart = np.abs(np.array(seen) - want)
            assert apart.max() <= 1 and np.mean(apart > 0) < 0.1, made.text


def test_late_labels_find_their_beat_and_no_other() -> None:
    """A label for a beat is learned once; one for no beat, or one long gone, is an answer."""
    made, rate = next((m, r) for m, r in fronts(100, 40) if m.plan.marks)
    machine = Emulator(made.plan, engine="numpy")
    told: list[int] = []
    for at, row in enumerate(rows_of(made, np.random.default_rng(5), rate, 30, 0), 1):
        if machine.push(row[None]).made[0]:
            told.append(at)
    assert len(told) > 8
    row = (int(machine["pending_next"][0, 0]) - 1) % len(machine["pending_open"][0])
    now = int(machine["pending_clock"][0, 0]) * made.front.push
    back = now - int(machine["pending_moments"][0, row])
    before = machine.state.copy()
    assert not machine.mark([0], [back + 10**6])[0] and machine["mark_found"][0, 0] == 0
    weights = [t.name for t in made.plan.space("state") if t.role == "weight"]
    assert weights and all(_part(machine.state, made, n) == _part(before, made, n) for n in weights)
    step = machine["step"][0, 0] if "step" in made.plan else 0
    assert machine.mark([1], [back])[0] and machine["pending_open"][0, row] == 0
    assert "step" not in made.plan or machine["step"][0, 0] == step + 1


def _part(state: np.ndarray, made: Made, name: str) -> bytes:
    t = made.plan[name]
    return state[0, t.offset : t.offset + t.nbytes].tobytes()


def test_an_inverted_lead_has_the_same_beats() -> None:
    for made, rate in fronts(200, 4):
        x = heart(np.random.default_rng(7), 30, rate, _gain(made) / 4, 0)
        one, other = (events(made.front, v)["r"].at for v in (x, ~x))
        apart = np.abs(one[:, None] - other).min(axis=1)
        assert len(one) > 20 and abs(len(one) - len(other)) <= 1 and np.mean(apart > 3) < 0.1, made.text


def test_plans_with_events_are_read_back_and_proved_again() -> None:
    for made, _ in fronts(300, 4):
        assert load_plan(made.plan.canonical, "plan.json") == made.plan
        assert made.plan.streams and PUSH in made.plan.entries


def test_every_kernel_of_events_is_drawn() -> None:
    """Otherwise a green run would say nothing about what was left out."""
    stems = {"qrs", "event", "beat", "sums", "pending"}
    drawn = {s.kernel for made, _ in fronts(0, 25) for _, _, s in made.plan.ops()}
    assert {"pseudo.but", "signal.slope"} <= drawn
    assert {k for k in drawn if k.split(".")[0] in stems} == {
        k for k in kernels() if k.split(".")[0] in stems
    }
