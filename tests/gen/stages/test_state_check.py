"""A state from outside: C and host refuse the same ones; what they let pass runs as in the emulator."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from counts import counted
from ctools import CHECK, GET_ARENA, GET_STATE, INFER, INIT, LEARN, LOAD, RUN, SET_STATE, HostBatch
from random_nets import accepted

from synapcc.gen.errors import SynapccError
from synapcc.gen.ir.plan import Plan, PlanTensor
from synapcc.gen.stages.plan_file import load_plan
from synapcc.gen.stages.state_check import fault, rings
from synapcc.host.run.emulator import Emulator

SANITIZED = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
OK, BAD_STATE = 0, 3
STATES = 30


def put(block: np.ndarray, t: PlanTensor, values: np.ndarray) -> None:
    raw = values.astype(np.dtype(t.dtype).newbyteorder("<")).tobytes()
    block[t.offset : t.offset + t.nbytes] = np.frombuffer(raw, np.uint8)


def edge(t: PlanTensor, rng: np.random.Generator) -> int:
    """A value at a limit of the tensor or just beyond it, as far as its type goes."""
    info = np.iinfo(t.dtype)
    return int(np.clip(rng.choice([t.lo - 1, t.lo, t.hi, t.hi + 1]), info.min, info.max))


def states(plan: Plan, start: bytes, rng: np.random.Generator) -> Iterator[bytes]:
    """From `start`, which is right: bits flipped, one element at an edge, rubbish, one byte everywhere."""
    tensors = plan.space("state")
    for byte in (0x00, 0x7F, 0x80, 0xFF):
        yield bytes([byte]) * len(start)
    yield rng.integers(0, 256, len(start)).astype(np.uint8).tobytes()
    while tensors:
        block = np.frombuffer(start, np.uint8).copy()
        if rng.integers(2):
            block[rng.integers(len(block))] ^= 1 << rng.integers(8)
        for _ in range(int(rng.integers(0, 3))):
            t = tensors[int(rng.integers(len(tensors)))]
            at = t.offset + int(rng.integers(t.count)) * t.itemsize
            element = np.array([edge(t, rng)], np.dtype(t.dtype).newbyteorder("<"))
            block[at : at + t.itemsize] = np.frombuffer(element.tobytes(), np.uint8)
        if not rng.integers(4):  # every counter anywhere it may be: only rings can contradict
            for t in tensors:
                if t.role == "counter":
                    put(block, t, rng.integers(t.lo, t.hi + 1, t.stored))
        yield block.tobytes()


def run_all(batch: HostBatch, i: int, machine: Emulator, rng: np.random.Generator, where: str) -> None:
    """Every entry program once, and all bytes compared after each."""
    plan = machine.plan
    x = {n: rng.integers(-128, 128, (1, plan[n].shape[0])).astype(np.int8) for n in plan.inputs}
    packed = b"".join(v.tobytes() for v in x.values())
    for number, entry in enumerate(plan.entries):
        if entry == "infer":
            status, y = batch.ask(i, INFER, payload=packed)
            winner, margin, scores = machine.infer(x)
            assert struct.unpack_from("<ii", y) == (winner[0], margin[0]), where
            assert np.array_equal(np.frombuffer(y, "<i2", scores[0].size, 8), scores[0]), where
        elif entry == "learn":
            label = int(rng.integers(plan.classes))
            status, _ = batch.ask(i, LEARN, label, packed)
            machine.learn(x, [label])
        else:
            label = int(rng.integers(plan.classes))
            machine.load(x, [label] if "label" in plan else None)
            assert batch.ask(i, LOAD, label, packed)[0] == OK, where
            status, _ = batch.ask(i, RUN, number)
            machine.run(entry)
        assert status == OK, where
        assert batch.ask(i, GET_STATE)[1] == machine.state[0].tobytes(), f"{where}: state after {entry}"
        assert batch.ask(i, GET_ARENA)[1] == machine.arena[0].tobytes(), f"{where}: arena after {entry}"
        assert not fault(plan, machine.state[0].tobytes()), f"{where}: {entry} left what its limits allow"


@counted(4, 30)
@pytest.mark.parametrize("kernels", [pytest.param("ref", marks=pytest.mark.long), "dsp"])
def test_what_passes_the_check_runs_as_in_the_emulator(kernels: str, count: int, tmp_path: Path) -> None:
    models = list(accepted(80_000 + 1000 * (kernels == "dsp"), count))
    batch = HostBatch([c.plan for c, _ in models], tmp_path, *SANITIZED, kernels=kernels)
    passed = refused = contradicted = 0
    try:
        for i, (c, seed) in enumerate(models):
            rng, machine = np.random.default_rng([17, seed]), Emulator(c.plan)
            batch.ask(i, INIT)
            assert batch.ask(i, CHECK)[0] == OK
            start = machine.state[0].tobytes()
            for number, block in zip(range(STATES), states(c.plan, start, rng), strict=False):
                where = f"{c.plan.model} (seed {seed}), state {number}"
                batch.ask(i, SET_STATE, payload=block)
                wrong = fault(c.plan, block)
                assert batch.ask(i, CHECK)[0] == (BAD_STATE if wrong else OK), f"{where}: {wrong or 'fine'}"
                contradicted += "are kept they are equal" in wrong
                if wrong:
                    refused += 1
                    with pytest.raises(SynapccError):
                        machine.put_state(block)
                    continue
                passed += 1
                machine.put_state(block)
                batch_arena = batch.ask(i, GET_ARENA)[1]
                assert batch_arena == machine.arena[0].tobytes(), where
                run_all(batch, i, machine, rng, where)
    finally:
        batch.close()
    assert passed > 5 * count and refused > 5 * count and 3 * contradicted > count


def test_a_fault_is_named() -> None:
    plan = next(c.plan for c, _ in accepted(80_000, 100) if rings(c.plan) and c.plan["store_count"].hi > 1)
    machine = Emulator(plan)
    cursor, count, _ = rings(plan)[0]
    for name, value, said in (
        (cursor, 2**32 - 1, f"{cursor}[0] is 4294967295, its limits are 0 to"),
        (count, 1, f"{cursor}[0] is 0 and {count}[0] is 1"),
        ("store_label", 255, "store_label[0][0] is 255, its limits are 0 to"),
    ):
        machine.reset()
        machine[name][0].flat[0] = value
        block = machine.state[0].tobytes()
        machine.reset()
        with pytest.raises(SynapccError) as caught:
            machine.put_state(block)
        assert said in str(caught.value)
        assert not fault(plan, machine.state[0].tobytes()), "nothing was changed"


def test_an_edited_plan_cannot_widen_what_a_cursor_may_hold() -> None:
    plan = next(c.plan for c, _ in accepted(80_000, 100) if rings(c.plan))
    cursor = plan[rings(plan)[0][0]]
    old = f'"hi":{cursor.hi},"lo":0,"name":"{cursor.name}"'.encode()
    assert plan.canonical.count(old) == 1
    wide = plan.canonical.replace(old, old.replace(str(cursor.hi).encode(), b"4294967295", 1))
    with pytest.raises(SynapccError, match=f"operand next, {cursor.name}, has limits 0 to 4294967295"):
        load_plan(wide, "plan.json")
