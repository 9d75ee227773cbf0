"""Lets a batch of emitted models and the emulator live the same life, and compares them after every step."""

from __future__ import annotations

import struct

import numpy as np
from ctools import (
    ABORT,
    GET_STATE,
    INFER,
    INIT,
    LEARN,
    LEARN_BEGIN,
    LOAD,
    RUN,
    RUN_BEGIN,
    RUN_OP,
    SET_STATE,
    STEP,
    Batch,
)
from random_nets import Deed, life

from synapcc.gen.ir.plan import Plan, PlanTensor
from synapcc.gen.stages.state_check import fault
from synapcc.host.run.emulator import Emulator, Inference

OK, BAD_ARGUMENT, MORE, BUSY = 0, 1, 4, 5  # of <model>_status


def difference(plan: Plan, want: bytes, got: bytes) -> str:
    """The first persistent byte that differs, as tensor and index."""
    at = int(np.flatnonzero(np.frombuffer(want, np.uint8) != np.frombuffer(got, np.uint8))[0])
    t = next((t for t in plan.space("state") if t.offset <= at < t.offset + t.nbytes), None)
    if t is None:
        return f"state byte {at}: emulator {want[at]}, C {got[at]}"
    i = (at - t.offset) // t.itemsize
    values = [np.frombuffer(b, t.dtype, t.count, t.offset)[i] for b in (want, got)]
    return f"{t.name}[{i}]: emulator {values[0]}, C {values[1]}"


def emulate(machine: Emulator, deed: Deed) -> Inference | None:
    if deed.what == "state":
        machine.state[0] = np.frombuffer(deed.state, np.uint8)
    elif deed.what == "infer":
        return machine.infer(deed.inputs)
    elif deed.what == "learn":
        machine.learn(deed.inputs, [deed.label])
    else:
        if deed.inputs:
            machine.load(deed.inputs, [deed.label] if "label" in machine.plan else None)
        machine.run(deed.what)
    return None


def packed(plan: Plan, deed: Deed) -> bytes:
    return b"".join(deed.inputs[name].tobytes() for name in plan.inputs) if deed.inputs else b""


def play(batch: Batch, index: int, seed: int) -> int:
    """One model's life in C and in the emulator. Returns how many steps were compared."""
    plan = batch.plans[index]
    machine, rng = Emulator(plan), np.random.default_rng([17, seed])
    batch.ask(index, INIT)
    count = 0
    for number, deed in enumerate(life(plan, seed)):
        where = f"model {plan.model} (seed {seed}), deed {number} ({deed.what})"
        before = machine.state.copy(), machine.arena.copy()
        said = emulate(machine, deed)
        x = packed(plan, deed)
        if deed.what == "state":
            batch.ask(index, SET_STATE, payload=deed.state)
        elif said:
            assert_infers(batch, index, x, said, where)
        elif not rng.integers(4):
            twin = Emulator(plan)
            twin.state[...], twin.arena[...] = before
            in_slices(batch, index, twin, deed, rng, where)
        elif deed.what == "learn":
            assert batch.ask(index, LEARN, deed.label, x)[0] == OK, where
        else:
            if x:
                assert batch.ask(index, LOAD, deed.label, x)[0] == OK, where
            assert batch.ask(index, RUN, plan.entries.index(deed.what))[0] == OK, where
        assert_state(batch, index, machine, where)
        count += 1
    return count


def in_slices(
    batch: Batch, index: int, twin: Emulator, deed: Deed, rng: np.random.Generator, where: str
) -> int:
    """A deed step by step on both sides, with other calls between the slices. Returns how many there were."""
    plan, x = batch.plans[index], packed(batch.plans[index], deed)
    assert batch.ask(index, STEP)[0] == BAD_ARGUMENT, where
    if deed.what == "learn":
        assert batch.ask(index, LEARN_BEGIN, deed.label, x)[0] == OK, where
        twin.learn_begin(deed.inputs, [deed.label])
    else:
        if x:
            assert batch.ask(index, LOAD, deed.label, x)[0] == OK, where
            twin.load(deed.inputs, [deed.label] if "label" in plan else None)
        assert batch.ask(index, RUN_BEGIN, plan.entries.index(deed.what))[0] == OK, where
        twin.begin(deed.what)
    count, more = 0, True
    while more:
        between(batch, index, twin, rng, f"{where}, slice {count}")
        more = twin.step()
        count += 1
        assert batch.ask(index, STEP, int(rng.integers(2)))[0] == (MORE if more else OK), where
        assert_state(batch, index, twin, f"{where}, slice {count}")
        assert not fault(plan, twin.state[0].tobytes()), where  # what an abort would leave
    assert batch.ask(index, ABORT)[0] == OK and batch.ask(index, STEP)[0] == BAD_ARGUMENT, where
    return count


def drawn(rng: np.random.Generator, t: PlanTensor) -> np.ndarray:
    """Any values [1, n] that a tensor's type has."""
    top = np.iinfo(t.dtype)
    return rng.integers(top.min, top.max + 1, (1, t.count)).astype(t.dtype)


def between(batch: Batch, index: int, twin: Emulator, rng: np.random.Generator, where: str) -> None:
    """Perhaps a call while a run in slices is in progress: an inference of its own arena, or a refusal."""
    plan, turn = batch.plans[index], int(rng.integers(9))
    inputs = {n: drawn(rng, plan[n]) for n in plan.inputs}
    x = b"".join(a.tobytes() for a in inputs.values())
    if turn == 0 and not plan.shared:
        assert_infers(batch, index, x, twin.infer(inputs), where)
    elif turn < 7:
        request = (INFER, LEARN, LEARN_BEGIN, RUN, RUN_BEGIN, RUN_OP, LOAD)[turn]
        wanted = OK if request == INFER and not plan.shared else BUSY
        if request not in (LEARN, LEARN_BEGIN) or "learn" in plan.entries:
            assert batch.ask(index, request, 0, x)[0] == wanted, f"{where}: request {request}"


def assert_infers(batch: Batch, index: int, x: bytes, want: Inference, where: str) -> None:
    status, y = batch.ask(index, INFER, payload=x)
    winner, margin = struct.unpack_from("<ii", y)
    scores = np.frombuffer(y, "<i2", batch.plans[index].scores, 8)
    assert status == OK and [winner, margin] == [want.winner[0], want.margin[0]], where
    assert np.array_equal(scores, want.scores[0]), where


def assert_state(batch: Batch, index: int, machine: Emulator, where: str) -> None:
    want, got = machine.state[0].tobytes(), batch.ask(index, GET_STATE)[1]
    assert got == want, f"{where}: {difference(batch.plans[index], want, got)}"
