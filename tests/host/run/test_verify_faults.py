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
from typing import Any

import numpy as np
import pytest
from projects import Case, compiled
from verifying import Capsys, keep_nothing, reported, verified

from synapcc.gen.ir.plan import Plan
from synapcc.gen.target.messages import SAMPLE
from synapcc.host.cli import main
from synapcc.host.devices.process import ProcessDevice
from synapcc.host.link import client as client_module
from synapcc.host.link.state import ABOUT
from synapcc.host.run.emulator import Emulator
from synapcc.host.run.plans import read_plan
from synapcc.host.run.samples import Samples, load_samples

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
    call += ' fault(machine.samples, "FAULT_SAMPLES", machine.learns);'
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

    Where later steps of the exchange have carried it on, or put it right by writing over it, too.
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
    lines = said.out.splitlines()
    place = reported(lines)
    assert code == 1 and int(place[1]) == step, (lines, step)
    assert place[3] == t.name == tensor_at(plan, at), lines
    assert (int(place[5]) ^ int(place[6])) % (1 << 8 * t.itemsize) == 1 << 8 * (at % t.itemsize) + bit
    assert "the state changed between steps" in place[7]


@pytest.mark.parametrize("seed", range(DRAWN))
def test_a_bit_of_a_kept_sample_that_turns_is_told_as_one(
    seed: int, failing: tuple[Case, Path], capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any bit of a sample, at any step once all are kept, in time for its second turn; a label may be no
    class then.

    Where it changes nothing that is learned, nothing differs: not where a label is read as a byte, once the
    exchange was found to have classes only.
    """
    c, out = failing
    plan, rng = read_plan(out), np.random.default_rng([23, seed])
    samples = load_samples(plan, c.data, labels=True)
    i = int(rng.integers(1, STEPS - len(samples)))
    size = SAMPLE.fixed_bytes + len(samples.packed(i))
    label = SAMPLE.fixed_bytes
    byte, bit = int(rng.integers(label, size) if seed % 4 else rng.integers(label)), int(rng.integers(8))
    at_step("SAMPLES", len(samples) + int(rng.integers(i + 1)), i * size + byte, bit, monkeypatch)
    code, lines = verified(out, c.data, STEPS, "process", capsys, "--batch", str(rng.choice([0, 3])))
    if code == 0:
        assert byte == 1 or byte >= label
        assert byte == 1 or after(plan, samples) == after(plan, samples, i, byte - label, bit)
        return
    place = reported(lines)
    assert code == 1 and int(place[1]) == len(samples) + i + 1, lines
    assert (place[3], place[4]) == ("samples", f"[{i}][{byte}]"), lines
    assert int(place[5]) ^ int(place[6]) == 1 << bit
    assert f"kept sample {i} changed in the device's memory" in place[7]


def after(plan: Plan, samples: Samples, *turned: int) -> bytes:
    """The state after STEPS, where (i, byte, bit) turned in the inputs of sample i, before its 2nd turn."""
    order = np.arange(STEPS) % len(samples)
    x, machine = samples.inputs[plan.inputs[0]][order], Emulator(plan)
    if turned:
        i, byte, bit = turned
        x[len(samples) + i].view(np.uint8)[byte] ^= 1 << bit
    assert samples.labels is not None
    machine.learn_many({plan.inputs[0]: x[:, None]}, samples.labels[order])
    return machine.state[0].tobytes()


@pytest.mark.parametrize("step", [2, 40])
@pytest.mark.parametrize("batch", ["0", "1"])
def test_a_chip_that_stops_within_a_step_is_told(
    batch: str, step: int, failing: tuple[Case, Path], capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As soon in a batch as in a single step, though the emulator may load its engine in the first one."""
    c, out = failing
    at_step("STATE", step, 0, 8, monkeypatch)
    learn, slow = Emulator.learn, [0.2]

    def loading(self: Emulator, *words: Any) -> None:
        time.sleep(slow.pop() if slow else 0)
        learn(self, *words)

    monkeypatch.setattr(Emulator, "learn", loading)
    monkeypatch.setattr(client_module, "connect", functools.partial(client_module.connect, timeout=0.3))
    words = ["verify", str(out), "--data", str(c.data), "--steps", str(STEPS), "--device", "process"]
    assert main([*words, "--batch", batch]) == 2
    said = capsys.readouterr().err
    assert f"no answer to {'LEARN' if batch == '1' else 'LEARN_KEPT'} in" in said and said.count("\n") == 1
    told = re.search(r" in ([\d.]+) s", said)
    assert told and float(told[1]) < 2 * 5 * 0.3, "a batch does not make the wait longer"


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
