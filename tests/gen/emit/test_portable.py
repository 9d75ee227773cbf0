"""The core `portable`: C99 and nothing else, the same bytes."""

from __future__ import annotations

import ctypes
import importlib.util
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from ctools import run
from golden_nets import golden_plan
from play import emulate, packed
from projects import case, refusal
from random_nets import ANY, accepted, life

from synapcc.gen.emit import render, render_library
from synapcc.gen.emit.interface import label_type
from synapcc.gen.errors import CompileError
from synapcc.gen.ir.plan import Plan
from synapcc.gen.target.boards import board_dict, generic_board, load_board, parse_board
from synapcc.host.cli import main
from synapcc.host.run.emulator import Emulator

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-pedantic-errors", "-Werror")
LEVELS = ("-O0", "-O3", "-Os")
OTHERS = (("riscv32", "musl"), ("arm", "musleabi"), ("mipsel", "musleabi"), ("x86", "musl"))
ZIG = importlib.util.find_spec("ziglang") is not None


def written(plan: Plan, folder: Path) -> Path:
    """The library's C, in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in render_library(plan, "a test", "a test", {}, portable=True).items():
        (folder / name).write_text(text)
    return folder / f"{plan.model}.c"


def test_it_has_nothing_of_a_compiler() -> None:
    for name in ("ring", "byte", "pair"):
        texts = render_library(golden_plan(name), "a test", "a test", {}, portable=True)
        for text in texts.values():
            code = re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL)
            assert not re.search(
                r"asm|__\w+__|__GNUC__|__clang__|#pragma|__builtin", code.replace("__cplusplus", "")
            )
        plain = render_library(golden_plan(name), "a test", "a test", {})
        assert texts[f"{name}.h"] == plain[f"{name}.h"] and texts[f"{name}.c"] != plain[f"{name}.c"]


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
@pytest.mark.parametrize(
    "level", ["-O2", *(pytest.param(o, marks=pytest.mark.long) for o in ("-O0", "-O3", "-Os"))]
)
@pytest.mark.parametrize("first, count", [(ANY, 2), pytest.param(ANY, 100, marks=pytest.mark.long)])
def test_the_same_bytes(level: str, first: int, count: int, tmp_path: Path) -> None:
    """Golden and random networks live, as the emulator does."""
    lives = [(golden_plan("ring"), 2), *((c.plan, seed) for c, seed in accepted(first, count))]
    for plan, seed in lives:
        source = written(plan, tmp_path / f"{plan.model}{seed}")
        path = source.with_suffix(".so")
        run(["gcc", level, *STRICT, "-shared", "-fPIC", source, "-o", path])
        library, machine = ctypes.CDLL(str(path)), Emulator(plan)
        memory = ctypes.create_string_buffer(plan.ram_bytes)
        call = lambda name, *words: library[f"{plan.model}_{name}"](memory, *words)  # noqa: B023, E731
        assert call("init") == 0
        wide = ctypes.c_uint16 if label_type(plan) == "uint16_t" else ctypes.c_uint8
        for deed in life(plan, seed):
            said, x = emulate(machine, deed), packed(plan, deed)
            if deed.what == "state":
                memory[: len(deed.state)] = deed.state
            elif said:
                y = ctypes.create_string_buffer(8 + 2 * plan.scores)
                assert call("infer", x, y) == 0 and y.raw[8:] == np.int16(said.scores[0]).tobytes()
            elif deed.what == "learn":
                assert call("learn", x, wide(deed.label)) == 0
            else:
                assert not x or call("load", x, wide(deed.label)) == 0
                assert call("run", plan.entries.index(deed.what)) == 0
            assert memory.raw[: plan.state_bytes] == machine.state[0].tobytes(), (plan.model, seed, deed.what)


@pytest.mark.long
@pytest.mark.skipif(not ZIG, reason="zig is not installed: pip install ziglang")
@pytest.mark.parametrize(
    "target", ["riscv32-linux-musl", "arm-linux-musleabi", "mipsel-linux-musleabi", "x86-linux-musl"]
)
def test_it_compiles_for_other_cores_of_32_bits(target: str, tmp_path: Path) -> None:
    for name in ("ring", "byte", "pair"):
        command = [sys.executable, "-m", "ziglang", "cc", "-target", target, "-O2", *STRICT, "-c"]
        run([*command, written(golden_plan(name), tmp_path), "-o", tmp_path / "o"])


def test_the_board_asks_for_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan, board = golden_plan("ring"), generic_board("portable", 1 << 20, 1 << 18)
    files = render(plan, board, "a test")
    want = render_library(plan, "a test", "", {}, portable=True)
    assert files["lib/ring/src/ring.c"] == want["ring.c"].encode() and "plan.json" in files
    assert not [f for f in files if f.startswith(("src/", "platforms/"))]
    words = ("--board", "generic", "--core", "portable", "--flash", "1M", "--ram", "64K")
    c = case(tmp_path / "files")
    assert main(c.words(tmp_path / "out", *words, "--package", "esp-idf")) == 0
    assert "volatile hidden" in (tmp_path / "out" / "lib" / "net" / "src" / "net.c").read_text()
    said = refusal(c.words(tmp_path / "other", *words, "--kernels", "dsp"), capsys)
    assert "portable" in said and "DSP" in said
    linked = board_dict(load_board("mps2_an386"))
    linked["core"] = {"cpu": "portable"}
    with pytest.raises(CompileError, match="no firmware for the core portable; leave \\[link\\] out"):
        parse_board(linked, "mine.toml")
