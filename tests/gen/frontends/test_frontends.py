"""Random front ends: numpy, compiled engine and emitted C push by push, and the host's windows beside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from counts import ONE_TOOLCHAIN, counted
from ctools import GET_ARENA, GET_STATE, INIT, RUN, SET_ARENA, UNDEFINED, Batch, ChipBatch, HostBatch
from fronts import Made, fronts, stream

from synapcc.gen.frontends import blocks
from synapcc.gen.ir.plan import PUSH
from synapcc.gen.ir.roles import USES
from synapcc.gen.ops import kernels
from synapcc.gen.stages.plan_file import load_plan
from synapcc.host.run.emulator import Emulator
from synapcc.host.run.frontend import cut

WINDOWS = 4  # that a stream lasts
EVENTFUL = {"r_peak", "beat", "rhythm"}  # tests/gen/frontends/test_events.py


def pushes(made: Made, rng: np.random.Generator) -> np.ndarray:
    """A stream for a few windows, [pushes, values]."""
    due = next(s.attrs for _, _, s in made.plan.ops() if s.kernel == "ring.due")
    count = -(-(due["most"] + WINDOWS * due["hop"]) // due["frames"])
    return stream(rng, count * made.front.push, made.front.channels).reshape(count, -1)


def follow(made: Made, batch: Batch, number: int, rows: np.ndarray) -> int:
    """The emulator and C on the same stream, compared after every push; how many verdicts there were."""
    plan, machine = made.plan, Emulator(made.plan, engine="numpy")
    (name,) = plan.entry(PUSH).inputs
    assert batch.ask(number, INIT)[0] == 0
    verdicts = 0
    for at, row in enumerate(rows):
        machine.give(PUSH, {name: row[None]})
        batch.ask(number, SET_ARENA, payload=machine.arena[0].tobytes())
        machine.run(PUSH)
        assert batch.ask(number, RUN, plan.entries.index(PUSH))[0] == 0
        got = batch.ask(number, GET_STATE)[1]
        if got != machine.state[0].tobytes():
            for t in plan.space("state"):
                part = got[t.offset : t.offset + t.nbytes]
                assert part == machine[t.name][0].tobytes(), f"{made.text}\npush {at}: {t.name}"
        if machine["push_made"][0, 0]:
            verdicts += 1
            arena = batch.ask(number, GET_ARENA)[1]
            for t in (plan["verdict"], plan[plan.logits]):
                part = arena[t.offset : t.offset + t.nbytes]
                assert part == machine[t.name][0].tobytes(), f"{made.text}\npush {at}: {t.name}"
    return verdicts


@counted(8, 300)
def test_random_front_ends_on_this_computer(count: int, tmp_path: Path) -> None:
    rng, found = np.random.default_rng(count), list(fronts(1000 * count, count))
    for own, some in (("ref", found[::2]), ("m0", found[1::2])):
        (tmp_path / own).mkdir()
        batch = HostBatch([m.plan for m in some], tmp_path / own, "-O1", *UNDEFINED, kernels=own)
        try:
            for i, made in enumerate(some):
                assert follow(made, batch, i, pushes(made, rng)) >= WINDOWS, made.text
        finally:
            batch.close()


@pytest.mark.parametrize("toolchain", ONE_TOOLCHAIN)
def test_random_front_ends_on_the_virtual_m4(toolchain: str, tmp_path: Path) -> None:
    rng, found = np.random.default_rng(1), list(fronts(50_000, 3))
    batch = ChipBatch([m.plan for m in found], tmp_path, toolchain, "dsp")
    for i, made in enumerate(found):
        assert follow(made, batch, i, pushes(made, rng)) >= WINDOWS, made.text


@counted(8, 200)
def test_the_host_cuts_the_windows_that_the_chip_sees(count: int) -> None:
    """The windows of the command, quantised as a calibration file's are, are the inputs of verdicts, but for
    the last unit: the chip rounds halves away from zero, and its scale has 31 bits."""
    rng = np.random.default_rng(count)
    for made in fronts(2000 * count, count):
        plan, rows = made.plan, pushes(made, rng)
        samples = rows.reshape(-1, made.front.channels)
        planar = len(made.shape) == 2 and made.shape[0] == made.front.channels > 1
        found = cut(made.front, samples, planar, engine="numpy")
        machine, ends = Emulator(plan, engine="numpy"), []
        seen: list[np.ndarray] = []

        def read(program: str, _: int, machine: Emulator = machine, seen: list[np.ndarray] = seen) -> None:
            """A window, before the network takes its place in the arena."""
            if program == "window_infer":
                seen.append(machine["input"][0].copy())

        (name,) = plan.entry(PUSH).inputs
        frames = next(s.attrs for _, _, s in plan.ops() if s.kernel == "ring.due")["frames"]
        for at, row in enumerate(rows, 1):
            machine.run(PUSH, inputs={name: row[None]}, after=read)
            if machine["push_made"][0, 0]:
                last = at * frames - int(machine["push_ago"][0, 0])
                ends.append((last * made.front.push - 1) // frames)
        assert ends == found.end[: len(ends)].tolist() and len(ends) >= WINDOWS, made.text
        want = plan.quantiser("input").integers(found.windows["input"]).reshape(len(found.end), -1)
        apart = np.abs(np.array(seen).astype(int) - want[: len(seen)])
        assert apart.max() <= 1 and np.mean(apart > 0) < 0.02, made.text


def test_a_push_of_any_size_gives_the_same(tmp_path: Path) -> None:
    """Samples in one piece, or few at a time, in numpy or compiled, give the same signals."""
    pytest.importorskip("numba", reason="numba is not installed: pip install 'synapcc[fast]'")
    from synapcc.host.run import frontend

    rng = np.random.default_rng(3)
    for made in fronts(70_000, 6):
        samples = stream(rng, 40 * made.front.push + 7, made.front.channels)
        want = frontend.signals(made.front, samples, "numpy")[1]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(frontend, "AT_A_TIME", made.front.push)
            few = frontend.signals(made.front, samples, "compiled")[1]
        assert all(len(x) and np.array_equal(x, few[n]) for n, x in want.items()), made.text


def test_a_plan_with_a_front_end_is_read_back_and_proved_again() -> None:
    for made in fronts(80_000, 6):
        assert load_plan(made.plan.canonical, "plan.json") == made.plan
        for t in made.plan.space("state"):
            assert t.use == "stream" and USES[t.use] in t.about and t.name.startswith(("front_", "push_"))
        assert all(t.lo <= 0 <= t.hi for t in made.plan.tensors if t.role == "signal"), made.text
        assert made.plan.streams and made.plan.entries[-2:] == (PUSH, "reset")


def test_every_block_and_every_kernel_is_drawn() -> None:
    """Otherwise a green run would say nothing about what was left out."""
    found = list(fronts(0, 60))
    assert {b.kind for made in found for b in made.front.blocks} == set(blocks()) - EVENTFUL
    stems = {"signal", "filter", "ring", "lead_off", "resample", "logarithm", "ratio", "power", "spectrum"}
    drawn = {s.kernel for made in found for _, _, s in made.plan.ops()}
    of_events = {"signal.slope"}
    assert {k for k in drawn if k.split(".")[0] in stems} == {
        k for k in kernels() if k.split(".")[0] in stems and k not in of_events
    }
