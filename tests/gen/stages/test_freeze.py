"""[freeze]: learning pauses where little has been wrong for long, and goes on where more is wrong again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ctools import UNDEFINED, HostBatch
from head_nets import OLD, perceptron, samples
from play import play

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.spec import Accumulate, Decay, Freeze, Loss, Momentum, RuleSpec
from synapcc.gen.stages.state_check import fault
from synapcc.host.run.emulator import Emulator

DATA = samples(400, OLD, 1)
FREEZE = Freeze(0.5, 12, 0.25)


def compiled(rule: str = "hebbian", freeze: Freeze | None = FREEZE, rate: int = 6, **more: Any) -> Compiled:
    return compile_model(perceptron(), RuleSpec(rule, rate=rate, freeze=freeze, **more), DATA)


def learn(machine: Emulator, i: int, label: int | None = None) -> set[str]:
    """Learns sample i, under its own label or another one; the programs that ran."""
    ran = set()

    def look(program: str, position: int) -> None:
        ran.add(program)

    i %= len(DATA["label"])
    machine.load({"x": DATA["x"][i : i + 1]}, [int(DATA["label"][i]) if label is None else label])
    machine.run("learn", after=look)
    return ran


def wrong(c: Compiled, machine: Emulator, i: int, label: int | None = None) -> bool:
    """Whether an element of the sample's error is as large as `below`, asked of a copy."""
    name = "error" if c.spec.loss.plain else "raw_error"
    copy = Emulator(c.plan)
    assert c.spec.freeze
    found: list[np.ndarray] = []

    def look(program: str, position: int) -> None:
        if program == "adapt" and not found:
            found.append(copy[name][0].copy())

    i %= len(DATA["label"])
    copy.state[...] = machine.state
    copy.load({"x": DATA["x"][i : i + 1]}, [int(DATA["label"][i]) if label is None else label])
    copy.run("learn", after=look)
    return bool(np.any(np.abs(found[0] * c.plan[name].meaning.step) >= c.spec.freeze.below))


@pytest.mark.parametrize("loss", [Loss(), Loss(skip_below=0.125, clip=0.25)], ids=["plain", "skips"])
def test_it_pauses_and_goes_on(loss: Loss) -> None:
    """Against the same count kept here. Frozen, nothing of the network changes and nothing backward runs."""
    c = compiled(loss=loss, rate=5, decay=Decay(12, 1))
    machine, calm, frozen = Emulator(c.plan), 0, False
    assert c.spec.freeze
    after, back = c.spec.freeze.after, round(1 / c.spec.freeze.share) - 1
    moved = {t.name for t in c.plan.space("state")} - {"step", "freeze_calm", "frozen"}
    pauses = awakes = 0
    for i in range(300):
        label = (int(DATA["label"][i]) + 1) % OLD if 150 <= i < 170 else None  # the world turns
        bad = wrong(c, machine, i, label)
        calm = max(calm - back, 0) if bad else min(calm + 1, after)
        was, frozen = frozen, calm == after or (frozen and calm > 0)
        pauses, awakes = pauses + (frozen and not was), awakes + (was and not frozen)
        before = {n: machine[n].copy() for n in moved}
        ran = learn(machine, i, label)
        assert (int(machine["freeze_calm"][0, 0]), bool(machine["frozen"][0, 0])) == (calm, frozen)
        changed = {n for n in moved if not np.array_equal(before[n], machine[n])}
        if frozen:
            assert not changed and ran <= {"learn", "adapt", "forward"}
        else:
            assert "decay" in ran and ("correct" in ran or not bad)
        assert machine["step"][0, 0] == i + 1
    assert pauses >= 2 and awakes >= 1


def test_a_frozen_step_costs_no_way_back() -> None:
    """Where nothing pauses, all that is learned is what it is without."""
    never = Emulator(compiled(freeze=Freeze(2.0**-9, 2**16, 0.5)).plan)
    plain = Emulator(compiled(freeze=None).plan)
    for i in range(60):
        learn(never, i)
        learn(plain, i)
    for t in plain.plan.space("state"):
        assert np.array_equal(plain[t.name], never[t.name]), t.name


def test_what_is_counted_is_part_of_the_state() -> None:
    c = compiled(rate=4)
    machine = Emulator(c.plan)
    while not machine["freeze_calm"].any() and machine["step"][0, 0] < 200:
        learn(machine, int(machine["step"][0, 0]))
    saved = machine.state[0].tobytes()
    assert not fault(c.plan, saved) and machine["freeze_calm"].any()
    for name, value in (("freeze_calm", FREEZE.after + 1), ("frozen", 2)):
        other = Emulator(c.plan)
        other.state[0] = np.frombuffer(saved, np.uint8)
        other[name][...] = value
        assert name in fault(c.plan, other.state[0].tobytes())


def test_chips_pause_alike(tmp_path: Path) -> None:
    specs = [
        RuleSpec("dfa", freeze=Freeze(0.5, 2, 0.5), decay=Decay(5, 2)),
        RuleSpec("spsa", freeze=Freeze(0.25, 1, 0.25)),
        RuleSpec("bp", freeze=Freeze(0.5, 3, 0.5), accumulate=Accumulate(2), momentum=Momentum(2)),
        RuleSpec("fa", freeze=Freeze(1.0, 2, 0.5), loss=Loss("hinge", clip=1.0, skip_below=0.5)),
    ]
    plans = [compile_model(replace(perceptron(), name=f"m{i}"), s, DATA).plan for i, s in enumerate(specs)]
    batch = HostBatch(plans, tmp_path / "c", "-O1", *UNDEFINED)
    try:
        assert all(play(batch, i, i) > 5 for i in range(len(plans)))
    finally:
        batch.close()


@pytest.mark.parametrize(
    ("rule", "freeze", "said"),
    [
        ("prototype", FREEZE, "decides itself what a learning step does"),
        ("ff", FREEZE, "learns from samples without an error, too"),
        ("bp", Freeze(4.0), "no error reaches 4"),
    ],
)
def test_what_could_not_pause_is_refused(rule: str, freeze: Freeze, said: str) -> None:
    with pytest.raises(CompileError, match=said) as told:
        compiled(rule, freeze)
    assert told.value.where == "freeze" and "\n" not in told.value.line
