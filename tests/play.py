"""Lets a batch of emitted models and the emulator live the same life, and compares them after every step."""

from __future__ import annotations

import struct

import numpy as np
from ctools import GET_STATE, INFER, INIT, LEARN, RUN, SET_STATE, Batch
from random_nets import Deed, life

from synapcc.gen.ir.plan import Plan
from synapcc.host.run.emulator import Emulator


def difference(plan: Plan, want: bytes, got: bytes) -> str:
    """The first persistent byte that differs, as tensor and index."""
    at = int(np.flatnonzero(np.frombuffer(want, np.uint8) != np.frombuffer(got, np.uint8))[0])
    t = next((t for t in plan.space("state") if t.offset <= at < t.offset + t.nbytes), None)
    if t is None:
        return f"state byte {at}: emulator {want[at]}, C {got[at]}"
    i = (at - t.offset) // t.itemsize
    values = [np.frombuffer(b, t.dtype, t.count, t.offset)[i] for b in (want, got)]
    return f"{t.name}[{i}]: emulator {values[0]}, C {values[1]}"


def emulate(machine: Emulator, deed: Deed) -> None:
    if deed.what == "state":
        machine.state[0] = np.frombuffer(deed.state, np.uint8)
    elif deed.what == "infer":
        machine.infer(deed.inputs)
    elif deed.what == "learn":
        machine.learn(deed.inputs, [deed.label])
    else:
        machine.run(deed.what)


def play(batch: Batch, index: int, seed: int) -> int:
    """One model's life in C and in the emulator. Returns how many steps were compared."""
    plan = batch.plans[index]
    machine = Emulator(plan)
    batch.ask(index, INIT)
    count = 0
    for number, deed in enumerate(life(plan, seed)):
        emulate(machine, deed)
        x = b"".join(deed.inputs[name].tobytes() for name in plan.inputs) if deed.inputs else b""
        where = f"model {plan.model} (seed {seed}), deed {number} ({deed.what})"
        if deed.what == "state":
            batch.ask(index, SET_STATE, payload=deed.state)
        elif deed.what == "infer":
            status, y = batch.ask(index, INFER, payload=x)
            winner, margin = struct.unpack_from("<ii", y)
            scores = np.frombuffer(y, "<i2", plan.classes, 8)
            assert status == 0 and [winner, margin] == machine["verdict"][0].tolist(), where
            assert np.array_equal(scores, machine[plan.logits][0]), where
        elif deed.what == "learn":
            assert batch.ask(index, LEARN, deed.label, x)[0] == 0, where
        else:
            assert batch.ask(index, RUN, plan.entries.index(deed.what))[0] == 0, where
        want, got = machine.state[0].tobytes(), batch.ask(index, GET_STATE)[1]
        assert got == want, f"{where}: {difference(plan, want, got)}"
        count += 1
    return count
