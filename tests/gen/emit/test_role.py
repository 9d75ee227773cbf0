"""Infer-only libraries: what another chip has learned, taken piece by piece, gives its scores to the byte."""

from __future__ import annotations

import ctypes
import itertools
import re
import shutil
import subprocess
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ctools import Chip as VirtualChip
from ctools import any_arm, compile_host, run
from golden_nets import golden_plan
from packaged import package
from play import emulate
from random_nets import ANY, accepted, life

from synapcc.gen.emit import render, render_library
from synapcc.gen.emit.flash import stored
from synapcc.gen.emit.role import Inference, inferring
from synapcc.gen.errors import CompileError
from synapcc.gen.ir.plan import Plan
from synapcc.gen.stages.state_check import fault
from synapcc.gen.target.boards import load_board
from synapcc.host.run.emulator import Emulator

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
OK, BAD_ARGUMENT, BAD_STATE, BUSY = 0, 1, 3, 5
"""Of <model>_status."""
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wpedantic", "-Werror")


class Chip:
    """An infer-only library, loaded into this process."""

    def __init__(self, plan: Plan, folder: Path, kernel_set: str = "ref") -> None:
        self.small, self.plan = inferring(plan), plan
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in render_library(self.small, "a test", "a test", {}, kernel_set).items():
            (folder / name).write_text(text)
        source, self.path = folder / f"{plan.model}.c", folder / "library.so"
        run(["gcc", "-O1", *STRICT, "-shared", "-fPIC", source, "-o", self.path])
        self._library = ctypes.CDLL(str(self.path))
        self.memory = ctypes.create_string_buffer(self.small.ram_bytes)

    def call(self, function: str, *arguments: object) -> int:
        return int(self._library[f"{self.plan.model}_{function}"](self.memory, *arguments))

    def take(self, state: bytes, offset: int) -> int:
        return self.call("take", state, offset, len(state))

    def infer(self, x: bytes) -> bytes:
        y = ctypes.create_string_buffer(8 + 2 * self.plan.scores)
        assert self.call("infer", x, y) == OK
        return y.raw


def learned(plan: Plan, seed: int) -> Emulator:
    """A machine after some of a life: it has learned."""
    machine = Emulator(plan)
    for deed in life(plan, seed):
        emulate(machine, deed)
    return machine


def same_scores(chip: Chip, machine: Emulator, rng: np.random.Generator) -> None:
    """What the machine has learned, in pieces of any size and order; then scores of samples."""
    state = machine.state[0].tobytes()
    assert chip.call("init") == OK
    ends = sorted({0, len(state), *rng.integers(0, len(state) + 1, 5).tolist()})
    pieces = list(itertools.pairwise(ends))
    rng.shuffle(pieces)
    for first, last in pieces:
        assert chip.take(state[first:last], first) == OK
    for whole, own in chip.small.taken:
        held = chip.memory.raw[own.offset : own.offset + own.nbytes]
        assert held == state[whole.offset : whole.offset + whole.nbytes], own.name
    assert chip.call("check") == OK
    for _ in range(8):
        x = {
            n: rng.integers(chip.plan[n].lo, chip.plan[n].hi + 1, (1, chip.plan[n].count)).astype(
                chip.plan[n].dtype
            )
            for n in chip.plan.inputs
        }
        want = machine.infer(x)
        y = np.int32([want.winner[0], want.margin[0]]).tobytes() + np.int16(want.scores[0]).tobytes()
        assert chip.infer(b"".join(a.tobytes() for a in x.values())) == y


def takes(plan: Plan) -> bool:
    """Whether inference reads anything that is learned."""
    try:
        inferring(plan)
    except CompileError:
        return False
    return True


@pytest.mark.parametrize("name, kernel_set", [("ring", "ref"), ("byte", "ref"), ("pair", "dsp")])
def test_scores_of_what_another_chip_has_learned(name: str, kernel_set: str, tmp_path: Path) -> None:
    plan = golden_plan(name)
    chip = Chip(plan, tmp_path, kernel_set)
    same_scores(chip, learned(plan, 3), np.random.default_rng(1))


@pytest.mark.parametrize("first, count", [(ANY, 8), pytest.param(ANY + 8, 300, marks=pytest.mark.long)])
def test_scores_of_any_network_under_any_rule(first: int, count: int, tmp_path: Path) -> None:
    """Those that learn nothing which inference reads are refused by name."""
    seen = 0
    for compiled, seed in accepted(first, count):
        plan = compiled.plan
        if not takes(plan):
            with pytest.raises(CompileError, match=r"reads nothing that is learned|learning chip goes on"):
                inferring(plan)
            continue
        rng = np.random.default_rng(seed)
        same_scores(Chip(plan, tmp_path / str(seed), ("ref", "dsp")[seed % 2]), learned(plan, seed), rng)
        seen += 1
    assert seen > count // 3


def test_what_is_refused(tmp_path: Path) -> None:
    plan = golden_plan("ring")
    chip, state = Chip(plan, tmp_path), Emulator(plan).state[0].tobytes()
    assert chip.call("init") == OK
    before = chip.memory.raw
    for offset, count in (
        (1, len(state)),
        (len(state) + 1, 0),
        (0, len(state) + 1),
        (2**32 - 1, 2),
        (2, 2**32 - 1),
    ):
        assert (
            chip.call("take", state + b"\0", ctypes.c_uint32(offset), ctypes.c_uint32(count)) == BAD_ARGUMENT
        )
    assert chip.memory.raw == before
    marked = bytearray(before)
    marked[plan_mark(chip.small)] = 1  # as if an interrupt came amid an inference
    chip.memory.raw = bytes(marked)
    assert chip.take(state, 0) == BUSY and chip.memory.raw == bytes(marked)
    chip.memory.raw = before
    narrow = next(t for t, _ in chip.small.taken if t.hi < np.iinfo(t.dtype).max)
    wrong = bytearray(state)
    wrong[narrow.offset : narrow.offset + 4] = np.int32(narrow.hi + 1).tobytes()
    assert fault(plan, bytes(wrong))
    assert chip.take(bytes(wrong), 0) == OK and chip.call("check") == BAD_STATE


def test_an_inference_that_changes_the_state_is_refused() -> None:
    plan = golden_plan("ring")
    learn = next(p for p in plan.programs.values() if p.name == "learn")
    infer = replace(plan.programs["infer"], items=(*plan.programs["infer"].items, *learn.items))
    odd = replace(plan, programs={**plan.programs, "infer": infer})
    with pytest.raises(CompileError, match=r"ring: infer changes \w+, which the learning chip goes on from"):
        inferring(odd)


def plan_mark(small: Inference) -> int:
    """Where the mark of an inference in progress lies in <model>_t."""
    return small.state_bytes + small.arena_bytes + 3


def test_learning_is_not_there_and_memory_is_saved(tmp_path: Path) -> None:
    for name in ("ring", "byte", "pair"):
        plan = golden_plan(name)
        chip = Chip(plan, tmp_path / name)
        done = subprocess.run(
            ["nm", "-D", "--defined-only", chip.path], capture_output=True, text=True, check=True
        )
        functions = {line.split()[2] for line in done.stdout.splitlines() if line.split()[1] == "T"}
        wanted = ("init", "infer", "check", "check_part", "take", "tensor")
        assert {f for f in functions if f.startswith(name)} == {f"{name}_{f}" for f in wanted}
        assert chip.small.ram_bytes < plan.ram_bytes and chip.small.digest == plan.digest
        assert stored(chip.small).nbytes <= stored(plan).nbytes
        assert {t.name for t in chip.small.space("state")} < {t.name for t in plan.space("state")}


def test_the_folder_has_the_whole_plan_and_no_firmware() -> None:
    plan, board = golden_plan("ring"), load_board("mps2_an386")
    files = render(plan, board, "a test", "all of it", role="infer", packages=("platformio",))
    assert files["plan.json"] == plan.canonical
    assert not [f for f in files if f.startswith(("src/", "include/", "platforms/")) or f == "platformio.ini"]
    header = files["lib/ring/src/ring.h"].decode()
    assert header.splitlines()[1] == " * ring: all of it, inference alone"
    assert f'#define RING_PLAN_DIGEST "{plan.digest.hex()}"' in header
    assert f"#define RING_LEARNER_STATE_BYTES {plan.state_bytes} " in header


def test_its_example_takes_a_state_and_infers(tmp_path: Path) -> None:
    folder = package(golden_plan("ring"), tmp_path, ("cmake", "arduino"), role="infer")
    words = [line.split("\t")[0] for line in (folder / "keywords.txt").read_text().splitlines()]
    assert "ring_take" in words and "ring_learn" not in words
    header = (folder / "src" / "ring.h").read_text()
    assert "RING_BAD_ARGUMENT = 1, /* a piece reaches beyond the learner's state */" in header
    assert all(re.search(rf"\b{word}\b", header) for word in words)
    inside = folder / "examples" / "cmake"
    files = [*inside.glob("*.c"), folder / "src" / "ring.c"]
    program = compile_host(files, tmp_path / "learn", f"-I{folder / 'src'}")
    said = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    assert said.count("class ") == 12 and "learned" not in said


HARNESS = """
#include <stdio.h>
#include <string.h>
#include "ring.h"

static FILE *line; /* the other chip: its Plan's digest, a CRC-32 of its state, and the state */

static int announced(char *digest, uint32_t *crc)
{
    return fread(digest, sizeof RING_PLAN_DIGEST, 1, line) == 1 && fread(crc, 4, 1, line) == 1;
}

static uint32_t received(uint8_t *piece, uint32_t most)
{
    return (uint32_t)fread(piece, 1, most, line);
}

static uint32_t crc32(uint32_t crc, const uint8_t *bytes, uint32_t count)
{
    crc = ~crc;
    for (uint32_t i = 0; i < count; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (0xEDB88320u & (0u - (crc & 1u)));
    }
    return ~crc;
}

int take_learned(void);
%s
int main(int argc, char **argv)
{
    (void)ring_init(&model);
    for (int i = 1; i < argc; i++) {
        line = fopen(argv[i], "rb");
        if (line == NULL) return 2;
        printf("%%d ", take_learned());
        for (size_t j = 0; j < sizeof model.state; j++) printf("%%02x", ((const uint8_t *)&model.state)[j]);
        printf("\\n");
        (void)fclose(line);
    }
    return 0;
}
"""


def test_the_text_of_the_page_keeps_the_old_state_until_the_new_one_is_whole(tmp_path: Path) -> None:
    """As PACKAGES.md has it: a lost piece, flipped bits and another Plan leave the model as it was."""
    page = (Path(__file__).resolve().parents[3] / "docs" / "PACKAGES.md").read_text()
    (text,) = re.findall(r"```c\n(.*?)```", page, flags=re.DOTALL)
    plan = golden_plan("ring")
    small, rng = inferring(plan), np.random.default_rng(6)
    for name, source in render_library(small, "a test", "a test", {}).items():
        (tmp_path / name).write_text(source)
    (tmp_path / "main.c").write_text(HARNESS % text.replace("ecg", "ring").replace("ECG", "RING"))

    first, second = (learned(plan, seed).state[0].tobytes() for seed in (5, 6))
    digest = plan.digest.hex().encode() + b"\0"
    flipped, at = bytearray(second), small.taken[-1][0]
    flipped[at.offset + int(rng.integers(at.nbytes))] ^= 1
    lines = {
        "first": digest + zlib.crc32(first).to_bytes(4, "little") + first,
        "lost": digest + zlib.crc32(second).to_bytes(4, "little") + second[:-64],
        "amid": digest + zlib.crc32(second).to_bytes(4, "little") + second[:64] + second[80:],
        "flipped": digest + zlib.crc32(second).to_bytes(4, "little") + flipped,
        "another": b"0" * 64 + b"\0" + zlib.crc32(second).to_bytes(4, "little") + second,
        "silent": b"",
        "second": digest + zlib.crc32(second).to_bytes(4, "little") + second,
    }
    for name, content in lines.items():
        (tmp_path / name).write_bytes(content)
    program = compile_host([tmp_path / "main.c", tmp_path / "ring.c"], tmp_path / "take", f"-I{tmp_path}")
    done = subprocess.run(
        [program, *(tmp_path / name for name in lines)], capture_output=True, text=True, check=True
    )

    def held(state: bytes) -> str:
        parts = (state[whole.offset : whole.offset + whole.nbytes] for whole, _ in small.taken)
        return b"".join(parts).ljust(small.state_bytes, b"\0").hex()

    wanted = {name: f"0 {held(first)}" for name in lines}
    wanted |= {"first": f"1 {held(first)}", "second": f"1 {held(second)}"}
    assert dict(zip(lines, done.stdout.splitlines(), strict=True)) == wanted
    assert first != second and fault(plan, bytes(flipped)) == ""


def test_on_a_chip(tmp_path: Path) -> None:
    """The same library on a virtual Cortex-M4, its functions called one by one."""
    plan, machine = golden_plan("pair"), learned(golden_plan("pair"), 5)
    small, state = inferring(plan), machine.state[0].tobytes()
    for file, text in render_library(small, "a test", "a test", {}, "dsp").items():
        (tmp_path / file).write_text(text)
    chip = VirtualChip(any_arm(tmp_path / "pair.c", tmp_path / "pair.elf"))
    m, x, y, bytes_ = (VirtualChip.FREE + 0x10000 * i for i in range(4))
    chip.write(bytes_, state)
    assert chip.call("pair_init", m) == OK
    assert chip.call("pair_take", m, bytes_, 0, len(state)) == OK and chip.call("pair_check", m) == OK
    for i in range(10):
        sample = (np.arange(7) * 29 + i * 31 - 90).astype(np.int8)
        chip.write(x, sample.tobytes())
        want = machine.infer({"x": sample[None]})
        assert chip.call("pair_infer", m, x, y) == OK
        assert chip.read(y + 8, 2 * plan.scores) == np.int16(want.scores[0]).tobytes()
        assert chip.read(y, 8) == np.int32([want.winner[0], want.margin[0]]).tobytes()
