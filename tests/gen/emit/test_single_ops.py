"""Steps that run alone, in any order and on any arena: refused on both sides alike, or the same bytes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from counts import counted
from ctools import (
    CHECK_OP,
    GET_ARENA,
    GET_STATE,
    INIT,
    LOAD,
    RUN_OP,
    SET_ARENA,
    SET_STATE,
    UNDEFINED,
    Batch,
    HostBatch,
)
from random_nets import accepted, extreme_state

from synapcc.gen.errors import SynapccError
from synapcc.gen.ir.plan import Plan
from synapcc.gen.stages.op_check import held
from synapcc.gen.stages.state_check import fault
from synapcc.host.run.emulator import Emulator
from synapcc.host.run.machine import Unproven

OK, BAD_LABEL, BAD_STATE = 0, 2, 3  # of <model>_status
MODELS = 14
DEEDS = 250  # of each model
SETTINGS = {"ref": ("ref", "-O1", *UNDEFINED), "dsp": ("dsp", "-O0", *UNDEFINED)}


def an_arena(plan: Plan, rng: np.random.Generator) -> bytes:
    """Rubbish; or extremes, each tensor at or between its limits, the last ones over the first."""
    block = rng.integers(0, 256, plan.arena_bytes).astype(np.uint8)
    for i in rng.permutation(len(plan.space("arena"))) if rng.integers(3) else ():
        t = plan.space("arena")[int(i)]
        values = rng.choice([t.lo, t.hi, 0], t.count).astype(t.dtype)
        block[t.offset : t.offset + t.nbytes] = values.view(np.uint8)
    return block.tobytes()


def alone(batch: Batch, index: int, machine: Emulator, op: int, seen: Counter[int]) -> None:
    """Step number `op` on both sides."""
    program, position, step = machine.plan.ops()[op]
    want = OK
    try:
        machine.run_step(program, position)
    except Unproven:
        want = BAD_STATE
    except SynapccError:
        want = BAD_LABEL
    status = batch.ask(index, CHECK_OP, op)[0] or batch.ask(index, RUN_OP, op)[0]
    seen[status] += 1
    where = f"{machine.plan.model}: {step.kernel} of {step.node}"
    assert status == want, where
    assert batch.ask(index, GET_STATE)[1] == machine.state[0].tobytes(), where
    assert batch.ask(index, GET_ARENA)[1] == machine.arena[0].tobytes(), where
    assert not fault(machine.plan, machine.state[0].tobytes()), where


def play(batch: Batch, index: int, seed: int, seen: Counter[int]) -> None:
    plan, rng = batch.plans[index], np.random.default_rng([61, seed])
    machine = Emulator(plan)
    batch.ask(index, INIT)
    for _ in range(DEEDS):
        turn = int(rng.integers(40))
        if turn == 0:
            arena = an_arena(plan, rng)
            machine.arena[0] = np.frombuffer(arena, np.uint8)
            batch.ask(index, SET_ARENA, payload=arena)
            if readers := [i for i, (*_, step) in enumerate(plan.ops()) if "label" in step.args.values()]:
                alone(batch, index, machine, int(rng.choice(readers)), seen)  # which meets any label there
        elif turn == 1:
            state = extreme_state(plan, rng)
            machine.state[0] = np.frombuffer(state, np.uint8)
            batch.ask(index, SET_STATE, payload=state)
        elif turn < 4:
            x = {n: rng.choice([-128, 127], (1, plan[n].shape[0])).astype(np.int8) for n in plan.inputs}
            label = int(rng.integers(min(plan.classes, 256)))
            machine.load(x, [label] if "label" in plan else None)
            batch.ask(index, LOAD, label, b"".join(a.tobytes() for a in x.values()))
        else:
            alone(batch, index, machine, int(rng.integers(len(plan.ops()))), seen)


@pytest.mark.parametrize("count", [MODELS // 3, pytest.param(100, marks=pytest.mark.long)])
@pytest.mark.parametrize("setting", SETTINGS)
def test_steps_in_any_order(setting: str, count: int, tmp_path: Path) -> None:
    models = list(accepted(60_000 + 500 * list(SETTINGS).index(setting), count))
    kernels, *flags = SETTINGS[setting]
    batch = HostBatch([c.plan for c, _ in models], tmp_path, *flags, kernels=kernels)
    seen: Counter[int] = Counter()
    try:
        for i, (_, seed) in enumerate(models):
            play(batch, i, seed, seen)
    finally:
        batch.close()
    assert min(seen[status] for status in (OK, BAD_LABEL, BAD_STATE)) > 0.8 * count, seen


@counted(15, 100)
def test_no_step_is_refused_where_programs_run_it(count: int) -> None:
    """verify and bench run programs step by step; and there are steps that want something."""
    wanted = totals = 0
    for c, seed in accepted(61_330, count):
        plan, rng = c.plan, np.random.default_rng(seed)
        machine, twin = Emulator(plan), Emulator(plan)
        conditions = held(plan)
        wanted += sum(map(len, conditions))
        totals += sum(h.total > 0 for each in conditions for h in each)
        for e in plan.entry_points:
            for m in (machine, twin):
                m.state[0] = np.frombuffer(extreme_state(plan, np.random.default_rng(seed)), np.uint8)
            inputs = {
                n: rng.choice([-128, 127], (1, plan[n].shape[0])).astype(plan[n].dtype) for n in e.inputs
            }
            machine.give(e.name, inputs or None, [0] if e.label else None)
            twin.give(e.name, inputs or None, [0] if e.label else None)
            machine.run(e.name, after=twin.run_step)
            assert np.array_equal(machine.state, twin.state) and np.array_equal(machine.arena, twin.arena)
    assert wanted > 2 * count and totals
