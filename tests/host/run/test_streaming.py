"""A stream through a project: verify push by push, the command `frontend`, and what a product calls."""

from __future__ import annotations

import ctypes
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from ctools import run
from fronts import stream
from projects import case, refusal, spawn

from synapcc.gen.errors import SynapccError
from synapcc.gen.ir.plan import PUSH, Plan
from synapcc.host.cli import main
from synapcc.host.devices.process import host_compiler
from synapcc.host.run.emulator import Emulator
from synapcc.host.run.plans import read_plan

FRONT = """
[frontend]
rate = 360
channels = 2
push = 6
[[frontend.block]]
name = "base"
kind = "one_pole"
shape = "high"
frequency = 0.5
[[frontend.block]]
name = "smooth"
kind = "biquad"
frequency = 30
[[frontend.block]]
name = "half"
kind = "decimate"
by = 2
[[frontend.block]]
name = "input"
kind = "window"
length = 133.4
hop = 27.8
scale = 0.001
"""
EXAMPLE = """
#include "net.h"

int main(void);
static net_t model;

int main(void)
{
    int16_t samples[NET_PUSH_SAMPLES] = { 0 };
    net_pushed_t said = { 0 };
    int verdicts = 0;

    if (net_init(&model) != NET_OK) {
        return 1;
    }
    for (int push = 0; push < 100; push++) {
        for (unsigned int i = 0u; i < NET_PUSH_SAMPLES; i++) {
            samples[i] = (int16_t)((push * 977 + (int)i * 131) % 4001 - 2000);
        }
        if (net_push(&model, samples, &said) != NET_OK) {
            return 1;
        }
        verdicts += said.made != 0u ? 1 : 0;
        if (said.made != 0u && (said.ago > 2u || said.answer.winner < 0 || said.answer.winner > 2)) {
            return 1;
        }
    }
    return verdicts == 56 ? 0 : 2;
}
"""


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of 24 pairs of values behind a front end, compiled."""
    folder = tmp_path_factory.mktemp("streams")
    c = case(folder, "hebbian", sizes=(48, 8, 3), more=FRONT)
    assert main(c.words(folder / "out")) == 0
    samples = stream(np.random.default_rng(4), 900, 2)
    np.savez(folder / "stream.npz", samples=samples)
    return folder / "out"


@pytest.fixture(scope="module")
def plan(out: Path) -> Plan:
    return read_plan(out)


def words(out: Path, *more: str) -> list[str]:
    data = str(out.parent / "data.npz")
    return ["verify", str(out), "--data", data, "--steps", "4", "--device", "process", *more]


def test_verify_follows_a_stream(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words(out, "--stream", str(out.parent / "stream.npz"))) == 0
    said = capsys.readouterr().out
    assert "programs learn, push, reset (150 pushes, 86 verdicts), and all" in said
    assert said.endswith("verify: 4 steps, 0 differing bytes\n")
    assert main(words(out, "--slices")) == 0
    assert "programs learn, push, reset, and all" in capsys.readouterr().out


def test_a_filter_that_is_another_one_is_found(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A chip whose coefficient differs by one: the push, the tensor and the op are named."""
    for old in [p for p in out.rglob("*") if p.is_file()]:
        new = tmp_path / "out" / old.relative_to(out)
        new.parent.mkdir(parents=True, exist_ok=True)
        new.write_bytes(old.read_bytes())
    source = next((tmp_path / "out").glob("lib/*/src/*.c"))
    text = source.read_text()
    a1 = next(s.attrs["a1"] for _, _, s in read_plan(out).ops() if s.kernel == "filter.biquad")
    assert text.count(f"INT64_C({abs(a1)})") == 1
    source.write_text(text.replace(f"INT64_C({abs(a1)})", f"INT64_C({abs(a1) + 1})"))
    assert main(["verify", str(tmp_path / "out"), *words(out)[2:]]) == 1
    said = capsys.readouterr().out
    assert "(push): front_smooth_" in said, said
    assert "first op that differs: filter.biquad of front_smooth" in said


def test_the_function_of_the_library_is_the_emulator(out: Path, plan: Plan, tmp_path: Path) -> None:
    """net_push says what the emulator says of every push, and leaves an older answer where none is made."""
    source = next(out.glob("lib/*/src/*.c"))
    strict = ["-std=c99", "-O1", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
    run([*host_compiler(), *strict, "-fPIC", "-shared", source, "-o", tmp_path / "net.so"])
    net, machine = ctypes.CDLL(str(tmp_path / "net.so")), Emulator(plan)
    memory = ctypes.create_string_buffer(plan.ram_bytes)
    assert net.net_init(memory) == 0
    said = np.full(4 + -(-plan.scores // 2), 7, np.int32)  # made, ago, winner, margin, scores
    rows = np.load(out.parent / "stream.npz")["samples"].reshape(-1, 12)
    made = 0
    for row in rows:
        before = said.copy()
        assert (
            net.net_push(memory, row.ctypes.data_as(ctypes.c_void_p), said.ctypes.data_as(ctypes.c_void_p))
            == 0
        )
        told = machine.push(row[None])
        assert memory.raw[: plan.state_bytes] == machine.state[0].tobytes()
        assert said[:2].tolist() == [told.made[0], told.ago[0]]
        if said[0]:
            made += 1
            assert said[2:4].tolist() == [told.answer.winner[0], told.answer.margin[0]]
            assert said[4:].view(np.int16)[: plan.scores].tolist() == told.answer.scores[0].tolist()
        else:
            assert np.array_equal(said[2:], before[2:])
    assert made == 86


def test_a_late_label_is_the_emulators(tmp_path: Path) -> None:
    """net_mark and net_deny find what the emulator finds, and learn it alike; for none there is an answer."""
    c = case(
        tmp_path, "hebbian", sizes=(48, 8, 3), more=FRONT + "[mark]\npending = 4\nwithin = 30\ndeny = true\n"
    )
    assert main(c.words(tmp_path / "out")) == 0
    plan = read_plan(tmp_path / "out")
    source = next((tmp_path / "out").glob("lib/*/src/*.c"))
    strict = ["-std=c99", "-O1", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
    run([*host_compiler(), *strict, "-fPIC", "-shared", source, "-o", tmp_path / "net.so"])
    net, machine = ctypes.CDLL(str(tmp_path / "net.so")), Emulator(plan)
    memory, said = ctypes.create_string_buffer(plan.ram_bytes), np.zeros(32, np.int32)
    assert net.net_init(memory) == 0
    found, seen = ctypes.c_uint32(7), set()
    for at, row in enumerate(stream(np.random.default_rng(6), 240, 2).reshape(-1, 12)):
        where = (row.ctypes.data_as(ctypes.c_void_p), said.ctypes.data_as(ctypes.c_void_p))
        assert net.net_push(memory, *where) == 0
        machine.push(row[None])
        label, back = at % 3, (5 * at) % 90
        says, wants = (net.net_deny, machine.deny) if at % 2 else (net.net_mark, machine.mark)
        assert says(memory, ctypes.c_uint8(label), ctypes.c_uint32(back), ctypes.byref(found)) == 0
        assert bool(found.value) == wants([label], [back])[0]
        assert memory.raw[: plan.state_bytes] == machine.state[0].tobytes()
        seen.add((at % 2, found.value))
    assert len(seen) == 4
    before = memory.raw
    for says in (net.net_mark, net.net_deny):
        assert says(memory, ctypes.c_uint8(3), ctypes.c_uint32(0), ctypes.byref(found)) == 2
    assert memory.raw == before
    with pytest.raises(SynapccError, match="keeps no windows"):
        Emulator(plan_without_mark(tmp_path)).mark([0], [0])


def plan_without_mark(folder: Path) -> Plan:
    (folder / "other").mkdir()
    c = case(folder / "other", "hebbian", sizes=(48, 8, 3), more=FRONT)
    assert main(c.words(folder / "plain")) == 0
    return read_plan(folder / "plain")


def test_reset_forgets_the_stream_and_nothing_else(plan: Plan) -> None:
    fresh, machine = Emulator(plan), Emulator(plan)
    rng = np.random.default_rng(3)
    for _ in range(30):
        samples = rng.integers(-(2**15), 2**15, (1, 12)).astype(np.int16)
        machine.run(PUSH, inputs={"front_samples": samples})
    x = rng.integers(-128, 128, (1, 48)).astype(np.int8)
    machine.learn({"input": x}, [1])
    fresh.learn({"input": x}, [1])
    assert not np.array_equal(machine.state, fresh.state)
    machine.run("reset")
    assert np.array_equal(machine.state, fresh.state)


def test_what_leaves_the_chip_has_nothing_of_the_stream(
    out: Path, plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine, fresh = Emulator(plan), Emulator(plan)
    for row in np.load(out.parent / "stream.npz")["samples"].reshape(-1, 12)[:9]:
        machine.run(PUSH, inputs={"front_samples": row[None]})
    machine.save(tmp_path / "state.npz")
    words = ["pull", str(out), "--state", str(tmp_path / "state.npz"), "--npz", str(tmp_path / "pulled.npz")]
    assert main(words) == 0
    machine.load(tmp_path / "pulled.npz")
    assert np.array_equal(machine.state, fresh.state)
    assert main([*words[:-1], str(tmp_path / "all.npz"), "--samples"]) == 0
    capsys.readouterr()
    machine.load(tmp_path / "all.npz")
    assert not np.array_equal(machine.state, fresh.state)
    report = json.loads((out / "report.json").read_text())
    stream = sum(t.nbytes for t in plan.space("state") if t.use == "stream")
    assert str(stream) in json.dumps(report["memory"]) and stream > 100


def test_a_block_from_outside_brings_its_own_steps(tmp_path: Path) -> None:
    """The block of docs/FRONTENDS.md, in a process of its own: it stays known in one."""
    page = (Path(__file__).resolve().parents[3] / "docs" / "FRONTENDS.md").read_text()
    (tmp_path / "doubled.py").write_text(page.split('title="doubled.py"\n')[1].split("```")[0])
    more = FRONT.replace('kind = "biquad"\nfrequency = 30', 'kind = "doubled"')
    c = case(tmp_path / "case", "hebbian", sizes=(48, 8, 3), more=more)
    path = ["--rule-path", str(tmp_path / "doubled.py")]
    assert spawn([*c.words(tmp_path / "out"), *path]).returncode == 0
    done = spawn(["verify", str(tmp_path / "out"), *words(c.folder / "out")[2:]])
    assert done.returncode == 0 and done.stdout.endswith("verify: 4 steps, 0 differing bytes\n")


def test_an_example_compiles_without_a_warning(out: Path, tmp_path: Path) -> None:
    (tmp_path / "example.c").write_text(EXAMPLE)
    source = next(out.glob("lib/*/src/*.c"))
    strict = ["-std=c99", "-Os", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
    files = [tmp_path / "example.c", source, "-I", source.parent, "-o", tmp_path / "example"]
    run([*host_compiler(), *strict, *files])
    assert subprocess.run([tmp_path / "example"], check=False).returncode == 0


def test_frontend_writes_windows(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rule, samples = str(out.parent / "rule.toml"), str(out.parent / "stream.npz")
    first, second = tmp_path / "w.npz", tmp_path / "v.npz"
    assert main(["frontend", rule, "--in", samples, "--out", str(first)]) == 0
    assert capsys.readouterr().out == "900 samples, 2.5 s at 360 Hz: 86 windows of input [24, 2]\n"
    assert main(["frontend", rule, "--in", samples, "--out", str(second), "--planar", "--json", "-"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["windows"], told["shapes"]) == (86, {"input": [2, 24]})
    a, b = np.load(first), np.load(second)
    assert np.array_equal(a["input"], b["input"].transpose(0, 2, 1)) and a["input"].dtype == np.float32
    assert a["end"].tolist() == list(range(47, 900, 10)) and second.read_bytes() != first.read_bytes()
    assert main(["frontend", "--blocks"]) == 0
    assert "biquad " in capsys.readouterr().out


BAD = {
    "no array": ({"sample": np.zeros(9, np.int16)}, "there is no array samples, but sample"),
    "float": ({"samples": np.zeros(9)}, "samples is float64 of shape [9]; give int16"),
    "rank": ({"samples": np.zeros((2, 2, 2), np.int16)}, "samples is int16 of shape [2, 2, 2]"),
    "range": ({"samples": np.full((9, 2), 40000)}, "samples holds 40000 to 40000; give what fits int16"),
    "empty": ({"samples": np.zeros((0, 2), np.int16)}, "samples is int16 of shape [0, 2]"),
    "channels": ({"samples": np.zeros((9, 3), np.int16)}, "3"),
}


@pytest.mark.parametrize("name", BAD)
def test_samples_that_are_none_are_one_line(
    name: str, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arrays, says = BAD[name]
    np.savez(tmp_path / "bad.npz", **arrays)  # type: ignore[arg-type]
    rule, bad, windows = str(out.parent / "rule.toml"), str(tmp_path / "bad.npz"), tmp_path / "w.npz"
    assert says in refusal(["frontend", rule, "--in", bad, "--out", str(windows)], capsys)
    assert says in refusal(words(out, "--stream", bad), capsys) and not windows.exists()


def test_a_fleet_pushes_in_lockstep(plan: Plan) -> None:
    fleet, rng = Emulator(plan, devices=3), np.random.default_rng(6)
    alone = [Emulator(plan) for _ in range(3)]
    for i in range(40):
        samples, active = (
            rng.integers(-(2**15), 2**15, (3, 12)).astype(np.int16),
            np.array([True, i % 2 == 0, True]),
        )
        told = fleet.push(samples, active)
        for d in np.flatnonzero(active):
            own = alone[d].push(samples[d : d + 1])
            assert (own.made[0], own.ago[0]) == (told.made[d], told.ago[d])
            assert not own.made[0] or np.array_equal(own.answer.scores[0], told.answer.scores[d])
    assert [a.state[0].tobytes() for a in alone] == [row.tobytes() for row in fleet.state]
    with pytest.raises(SynapccError, match=r"front_samples is int16 of shape \[3, 5\]"):
        fleet.push(np.zeros((3, 5), np.int16))


def test_what_has_no_front_end_takes_no_stream(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    c = case(tmp_path / "plain")
    assert main(c.words(tmp_path / "out")) == 0
    data, samples = str(c.data), str(tmp_path / "s.npz")
    capsys.readouterr()
    said = refusal(["verify", str(tmp_path / "out"), "--data", data, "--stream", samples], capsys)
    assert "--stream: net has no front end; compile it with [frontend]" in said
    said = refusal(["frontend", str(c.rule), "--in", samples, "--out", str(tmp_path / "w.npz")], capsys)
    assert "frontend is None, not a table" in said
    with pytest.raises(SynapccError, match="net: has no front end"):
        Emulator(read_plan(tmp_path / "out")).push([[0]])
    assert "--in: is missing" in refusal(["frontend", str(c.rule)], capsys)
