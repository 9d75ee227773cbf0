"""The DSP instructions: numpy, portable C and the instruction itself agree, over edges and random values."""

from __future__ import annotations

import inspect
import re
import subprocess
from pathlib import Path

import pytest
from counts import ONE_TOOLCHAIN
from ctools import UNDEFINED, compile_host
from primitives import compare, draw, host_source, on_the_chip, on_this_computer

from synapcc.gen.numeric import PRIMITIVES
from synapcc.gen.sets.dsp import INSTRUCTIONS, Instruction, called, instruction, pkhtb, ssat, ssat16, usat

VECTORS = 20_000
FAMILIES = [
    *(ssat(bits, shift) for bits in (1, 2, 8, 16, 31) for shift in (0, 1, 7, 24, 31)),
    *(usat(bits, shift) for bits in (1, 2, 8, 16, 31) for shift in (0, 1, 7, 24, 31)),
    *(ssat16(bits) for bits in range(1, 17)),
    *(pkhtb(shift) for shift in (1, 2, 8, 15, 16, 31)),
]
TABLE: list[Instruction] = [*INSTRUCTIONS.values(), *FAMILIES]


def test_the_table_is_well_formed() -> None:
    assert not set(INSTRUCTIONS) & set(PRIMITIVES)
    for row in TABLE:
        assert instruction(row.name) == row or instruction(row.name) is row, row.name
        assert len(inspect.signature(row.py).parameters) == len(row.args), row.name
        operands = set(re.findall(r"%(\d)", row.asm))
        assert operands == {str(i) for i in range(len(row.args) + 1)}, f"{row.name}: {row.asm}"
    assert [i.name for i in called(["y = ssat8_asr3(smlad(u, v, a)); z = saturate(ssat(1), 2)"])] == [
        "smlad",
        "ssat8_asr3",
    ]
    for name in (
        "ssat32",
        "ssat0",
        "ssat8_asr32",
        "usat32",
        "usat8_asr32",
        "ssat16_17",
        "pkhtb_asr0",
        "pkhtb",
        "smlal",
    ):
        assert instruction(name) is None, name


def test_portable_c_on_this_computer(tmp_path: Path) -> None:
    source = tmp_path / "functions.c"
    source.write_text(host_source(TABLE))
    program = compile_host([source], tmp_path / "functions", "-O2", *UNDEFINED)
    cases = draw(TABLE, VECTORS)
    compare(cases, on_this_computer(program, cases, tmp_path))


@pytest.mark.parametrize("form", ["instruction", "portable"])
@pytest.mark.parametrize("toolchain", ONE_TOOLCHAIN)
def test_on_the_virtual_m4(toolchain: str, form: str, tmp_path: Path) -> None:
    flags = ("-U__ARM_FEATURE_DSP",) if form == "portable" else ()
    cases = draw(TABLE, VECTORS)
    compare(cases, on_the_chip(toolchain, cases, tmp_path, *flags))
    if toolchain == "gcc":
        command = ["arm-none-eabi-objdump", "-d", tmp_path / "functions.elf"]
        listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        used = {row.asm.split()[0] for row in TABLE if re.search(rf"\b{row.asm.split()[0]}\b", listing)}
        every = {row.asm.split()[0] for row in TABLE}
        assert used == every if form == "instruction" else "usada8" not in used
