"""A virtual RISC-V of 32 bits whose functions are called one at a time: the core of an ESP32-C3, RV32IMC.

Of that chip it has nothing but the instructions. zig compiles for it, unicorn runs it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ctools import HERE, Chip, ChipBatch, batch_source, run
from elftools.elf.elffile import ELFFile

from synapcc.gen.ir.plan import Plan

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wpedantic", "-Werror")
TARGET = ("-target", "riscv32-freestanding-none", "-mcpu=generic_rv32+m+c")
HEADERS = HERE.parents[1] / "firmware" / "platform" / "include"


def zig(*words: object) -> None:
    """zig's C compiler for RV32IMC, whose warnings are errors; skips where it is missing."""
    pytest.importorskip("ziglang", reason="zig is not installed: pip install ziglang")
    command = [sys.executable, "-m", "ziglang", "cc", *TARGET, *STRICT, "-fno-sanitize=all"]
    run([*command, "-isystem", HEADERS, *words])


class RiscvChip(Chip):
    """As Chip, whose memory map it has; RV32IMC in the place of a Cortex-M4."""

    def __init__(self, elf: Path) -> None:
        unicorn: Any = pytest.importorskip("unicorn", reason="unicorn is not installed: pip install unicorn")
        registers: Any = pytest.importorskip("unicorn.riscv_const")
        self._registers = registers
        self._uc = unicorn.Uc(unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV32)
        self._uc.mem_map(0, 0x100_0000, unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC)
        self._uc.mem_map(self.RAM, self.RAM_BYTES, unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE)
        with elf.open("rb") as handle:
            file: Any = ELFFile(handle)
            assert file.header["e_machine"] == "EM_RISCV" and file.elfclass == 32
            for segment in file.iter_segments():
                if segment["p_type"] == "PT_LOAD" and segment["p_filesz"]:
                    self._uc.mem_write(segment["p_paddr"], segment.data())
            symbols = file.get_section_by_name(".symtab").iter_symbols()
            self.symbols = {s.name: int(s["st_value"]) for s in symbols}

    def call(self, function: str, *arguments: int) -> int:
        """Runs a function of up to eight integer arguments and returns a0."""
        uc, names = self._uc, self._registers
        for i, value in enumerate(arguments):
            uc.reg_write(getattr(names, f"UC_RISCV_REG_A{i}"), value & 0xFFFF_FFFF)
        uc.reg_write(names.UC_RISCV_REG_SP, self.RAM + self.RAM_BYTES - 64)
        uc.reg_write(names.UC_RISCV_REG_RA, self.END)
        uc.emu_start(self.symbols[function], self.END)
        return int(uc.reg_read(names.UC_RISCV_REG_A0)) & 0xFFFF_FFFF


class RiscvBatch(ChipBatch):
    """Libraries of the core `portable` on it."""

    def __init__(self, plans: Sequence[Plan], folder: Path, level: str = "-O2") -> None:
        self.plans = plans
        folder.mkdir(parents=True, exist_ok=True)
        source, elf = batch_source(plans, folder, portable=True), folder / "batch.elf"
        link = ["-nostdlib", "-rtlib=compiler-rt", "-Wl,-e,0", f"-Wl,-T,{HERE / 'c' / 'riscv.ld'}"]
        zig(level, "-ffunction-sections", f"-I{HERE / 'c'}", source, *link, "-o", elf)
        self._place(RiscvChip(elf))
