"""verify on chips that fail once: a bit, an answer, or all of the chip; and a host that is killed."""

from __future__ import annotations

import functools
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from projects import Case, compiled
from verifying import Capsys, keep_nothing, reported, verified

from synapcc.gen.ir.plan import Plan
from synapcc.host.cli import main
from synapcc.host.devices.process import ProcessDevice
from synapcc.host.link import client as client_module
from synapcc.host.link.state import ABOUT
from synapcc.host.run.emulator import Emulator
from synapcc.host.run.plans import read_plan
from synapcc.host.run.samples import load_samples

STEPS = 90
DRAWN = int(os.environ.get("SYNAPCC_FAULTS", 8))
FAULT = """
#include <stdio.h>
#include <stdlib.h>

/* Where the environment says "step byte bit", that bit turns at that step; bit 8: nothing works any more. */
static void fault(uint8_t *block, const char *name, unsigned now)
{
    const char *const told = getenv(name);
    unsigned step, at, bit;

    if (told == NULL || sscanf(told, "%u %u %u", &step, &at, &bit) != 3 || now != step)
        return;
    while (bit == 8)
        ;
    block[at] ^= (uint8_t)(1u << bit);
}
"""
MORE = "[store]\nsamples = 6\n"


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, Path]:
    """A chip that fails where the environment says; tests do not change its folder."""
    c, out = compiled(tmp_path_factory.mktemp("failing"), more=MORE)
    machine = out / "src" / "machine.c"
    text, call = machine.read_text(), 'fault((uint8_t *)&machine.model.state, "FAULT_STATE", machine.learns);'
    begin = text.index("machine_t machine;\n")
    assert text.count("machine.learns++;") == 2
    rest = text[begin:].replace("machine.learns++;", f"machine.learns++; {call}")
    machine.write_text(text[:begin] + FAULT + rest)
    source = next(out.glob("lib/*/src/*.c"))
    text = source.read_text()
    update = re.search(r"^static void net_fc2_update\(net_t \*m\)\n\{\n", text, re.M)
    assert update
    call = '    fault((uint8_t *)&m->arena, "FAULT_ARENA", m->state.step[0] + 1u);\n'
    text = text[: update.start()] + FAULT + update[0] + call + text[update.end() :]
    source.write_text(text)
    return c, out


def at_step(kind: str, step: int, at: int, bit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"FAULT_{kind}", f"{step} {at} {bit}")


def tensor_at(plan: Plan, at: int) -> str | None:
    """Whose byte of the state that is; None: padding."""
    for t in plan.space("state"):
        if t.offset <= at < t.offset + t.nbytes:
            return t.name
    return None


@pytest.mark.parametrize("seed", range(DRAWN))
def test_a_bit_of_the_state_that_turns_is_named_with_its_step(
    seed: int, failing: tuple[Case, Path], capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any bit of any tensor, at any step, first and last ones among them, in exchanges of any size.

    Where later steps of the exchange have put it right, by writing over it, the step is told all the same.
    """
    c, out = failing
    plan, rng = read_plan(out), np.random.default_rng([17, seed])
    t = plan.space("state")[seed % len(plan.space("state"))]
    at, bit = t.offset + int(rng.integers(t.nbytes)), int(rng.integers(8))
    step = int(rng.choice([1, 2, 60, 61, STEPS, *rng.integers(3, STEPS, 5)]))
    at_step("STATE", step, at, bit, monkeypatch)
    if not rng.integers(3):
        keep_nothing(monkeypatch)
    batch = str(rng.choice([0, 1, 3]))
    words = ["verify", str(out), "--data", str(c.data), "--steps", str(STEPS), "--device", "process"]
    code = main([*words, "--batch", batch])
    said = capsys.readouterr()
    if code == 2:
        assert batch != "1" and (t.role == "counter" or t.name.startswith("store")), said
        assert f"step {step}: the digest differs and the state read back does not" in said.err
        return
    lines = said.out.splitlines()
    place = reported(lines)
    assert code == 1 and int(place[1]) == step, (lines, step)
    if batch == "1":  # no later step has carried it on
        assert place[3] == tensor_at(plan, at), lines
    assert "the state changed between steps" in place[7]


def test_a_bit_of_the_arena_that_turns_is_found_at_the_step_whose_result_it_changes(
    failing: tuple[Case, Path], capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    c, out = failing
    plan, rng, found = read_plan(out), np.random.default_rng(5), 0
    update = next(s for _, _, s in plan.ops() if s.node == "fc2" and s.kernel == "dense.update")
    g = plan[update.args["d"]]
    for step in (1, *map(int, rng.integers(2, STEPS, 4))):
        # the second highest bit of an element: the signal is another one by far
        at, bit = g.offset + g.itemsize * int(rng.integers(g.count)) + g.itemsize - 1, 6
        at_step("ARENA", step, at, bit, monkeypatch)
        code, lines = verified(out, c.data, STEPS, "process", capsys)
        if code:
            assert int(reported(lines)[1]) == step
            found += 1
        else:
            assert lines[-1] == f"verify: {STEPS} steps, 0 differing bytes"
    assert found >= 3


@pytest.mark.parametrize("batch", ["0", "1"])
def test_a_chip_that_stops_within_a_step_is_told(
    batch: str, failing: tuple[Case, Path], capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    c, out = failing
    at_step("STATE", 40, 0, 8, monkeypatch)
    monkeypatch.setattr(client_module, "connect", functools.partial(client_module.connect, timeout=0.3))
    began = time.monotonic()
    words = ["verify", str(out), "--data", str(c.data), "--steps", str(STEPS), "--device", "process"]
    assert main([*words, "--batch", batch]) == 2
    said = capsys.readouterr().err
    assert f"no answer to {'LEARN' if batch == '1' else 'LEARN_KEPT'} in" in said and said.count("\n") == 1
    assert time.monotonic() - began < 60, "a batch does not make the wait much longer"


def test_answers_that_are_lost_are_asked_for_again_and_nothing_is_learned_twice(
    failing: tuple[Case, Path], capsys: Capsys, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    c, out = failing
    monkeypatch.setattr(client_module, "connect", functools.partial(client_module.connect, timeout=0.3))
    read, answers = ProcessDevice.read, [0]

    def lossy(self: ProcessDevice, timeout: float) -> bytes:
        data = read(self, timeout)
        answers[0] += bool(data)
        return b"" if data and answers[0] % 61 == 7 else data

    monkeypatch.setattr(ProcessDevice, "read", lossy)
    code, lines = verified(
        out, c.data, STEPS, "process", capsys, "--batch", "2", "--json", str(tmp_path / "v")
    )
    assert code == 0 and lines[-1] == f"verify: {STEPS} steps, 0 differing bytes"
    assert json.loads((tmp_path / "v").read_text())["stats"]["repeats"] > 1


def test_a_run_that_was_killed_goes_on_as_if_it_had_not_been(
    failing: tuple[Case, Path], tmp_path: Path, capsys: Capsys
) -> None:
    c, out = failing
    kept = tmp_path / "run.npz"
    words = ["--data", str(c.data), "--device", "process", "--resume", str(kept)]
    command = [sys.executable, "-m", "synapcc.host", "verify", str(out), *words, "--steps", "100000000"]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while not kept.exists():
            assert child.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    with np.load(kept) as held:
        done = int(json.loads(str(held[ABOUT]))["steps"])
    steps = done + 37
    code, lines = verified(out, c.data, steps, "process", capsys, *words[4:])
    assert code == 0 and lines[-1] == f"verify: {steps} steps, 0 differing bytes"
    assert any(line.startswith(f"{done} of the steps were compared before") for line in lines)
    plan = read_plan(out)
    samples, machine = load_samples(plan, c.data, labels=True), Emulator(plan)
    assert samples.labels is not None
    order = np.arange(steps) % len(samples)
    machine.learn_many({n: x[order, None] for n, x in samples.inputs.items()}, samples.labels[order])
    with np.load(kept) as held:
        assert np.array_equal(held["state"], machine.state[0])
