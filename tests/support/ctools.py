"""Compiles C for this computer and for a virtual Cortex-M, and drives batches of emitted models on either."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest
from elftools.elf.elffile import ELFFile

from synapcc.gen.emit import render_library
from synapcc.gen.emit.interface import label_type
from synapcc.gen.ir.plan import Plan
from synapcc.gen.sets import REF
from synapcc.host.devices import DeviceError
from synapcc.host.devices.process import host_compiler

HERE = Path(__file__).resolve().parent
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror")
UNDEFINED = ("-fsanitize=undefined", "-fno-sanitize-recover=all")
INIT, INFER, LEARN, RUN, RUN_OP, LOAD, CHECK, LEARN_BEGIN, RUN_BEGIN, STEP, ABORT, CHECK_OP = range(12)
GET_STATE, SET_STATE, GET_ARENA, SET_ARENA = range(12, 16)
ARM_TOOLCHAINS = ("gcc", "zig")


def run(command: Sequence[object], cwd: Path | None = None) -> None:
    """Runs a command; what it said is the failure if it fails."""
    done = subprocess.run([str(c) for c in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (
        f"{' '.join(map(str, command[:3]))} ...: exit status {done.returncode}\n"
        f"{done.stdout[-2000:]}{done.stderr[-4000:]}"
    )


def compile_host(sources: Iterable[Path], program: Path, *flags: str) -> Path:
    """A program for this computer, with what the compiler finds wrong as an error."""
    try:
        compiler = host_compiler()
    except DeviceError as error:
        pytest.skip(str(error))
    sanitize = (
        () if any("-fsanitize" in f for f in flags) or "ziglang" not in compiler else ("-fno-sanitize=all",)
    )
    run([*compiler, *STRICT, *sanitize, *flags, f"-I{HERE / 'c'}", *sources, "-o", program])
    return program


def compile_arm(
    source: Path,
    elf: Path,
    toolchain: str,
    cpu: str = "cortex-m4",
    script: Path = HERE / "c" / "chip.ld",
    *flags: str,
) -> Path:
    """An ELF for a Cortex-M, linked by `script`, without its FPU. Skips where the toolchain is missing."""
    common: list[object] = [
        *STRICT,
        "-O2",
        "-ffunction-sections",
        *flags,
        f"-I{HERE / 'c'}",
        source,
        "-o",
        elf,
        f"-Wl,-T,{script}",
    ]
    if toolchain == "gcc":
        if not shutil.which("arm-none-eabi-gcc"):
            pytest.skip("arm-none-eabi-gcc is not installed")
        machine = [f"-mcpu={cpu}", "-mthumb", "-mfloat-abi=soft", "-nostartfiles", "--specs=nano.specs"]
        machine.append("-Wlogical-op")  # of gcc alone
        run(["arm-none-eabi-gcc", *machine, *common, "-lc", "-lgcc"])
        return elf
    pytest.importorskip("ziglang", reason="zig is not installed: pip install ziglang")
    machine = [
        "-target",
        "thumb-freestanding-eabi",
        f"-mcpu={cpu.replace('-', '_')}",
        "-fno-sanitize=all",
        "-fno-stack-protector",
    ]
    include = HERE.parents[1] / "firmware" / "platform" / "include"
    run(
        [
            sys.executable,
            "-m",
            "ziglang",
            "cc",
            *machine,
            "-isystem",
            include,
            "-nostdlib",
            "-rtlib=compiler-rt",
            "-Wl,-e,0",
            *common,
        ]
    )
    return elf


def any_arm(source: Path, elf: Path) -> Path:
    """As compile_arm for a Cortex-M4, with whichever toolchain is there."""
    return compile_arm(source, elf, "gcc" if shutil.which("arm-none-eabi-gcc") else "zig")


class Chip:
    """A virtual Cortex-M4 whose functions are called one at a time."""

    RAM, RAM_BYTES, END = 0x2000_0000, 0x200_0000, 0x00FF_F000
    FREE = RAM + 0x10_0000  # above what the linker placed

    def __init__(self, elf: Path) -> None:
        unicorn: Any = pytest.importorskip("unicorn", reason="unicorn is not installed: pip install unicorn")
        arm: Any = pytest.importorskip("unicorn.arm_const")
        self._arm = arm
        # not UC_MODE_MCLASS: with it unicorn takes a Cortex-M33 whatever the model
        self._uc = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB, arm.UC_CPU_ARM_CORTEX_M4)
        self._uc.mem_map(0, 0x100_0000, unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC)
        self._uc.mem_map(self.RAM, self.RAM_BYTES, unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE)
        with elf.open("rb") as handle:
            file: Any = ELFFile(handle)
            for segment in file.iter_segments():
                if segment["p_type"] == "PT_LOAD" and segment["p_filesz"]:
                    self._uc.mem_write(segment["p_paddr"], segment.data())
            self.symbols = {
                s.name: int(s["st_value"]) for s in file.get_section_by_name(".symtab").iter_symbols()
            }

    def write(self, address: int, content: bytes) -> None:
        if content:
            self._uc.mem_write(address, content)

    def read(self, address: int, count: int) -> bytes:
        return bytes(self._uc.mem_read(address, count))

    def call(self, function: str, *arguments: int) -> int:
        """Runs a function of up to five integer arguments and returns r0."""
        arm, uc, stack = self._arm, self._uc, self.RAM + self.RAM_BYTES - 64
        registers = (arm.UC_ARM_REG_R0, arm.UC_ARM_REG_R1, arm.UC_ARM_REG_R2, arm.UC_ARM_REG_R3)
        for register, value in zip(registers, arguments, strict=False):
            uc.reg_write(register, value & 0xFFFF_FFFF)
        for i, value in enumerate(arguments[4:]):
            uc.mem_write(stack + 4 * i, struct.pack("<I", value & 0xFFFF_FFFF))
        uc.reg_write(arm.UC_ARM_REG_SP, stack)
        uc.reg_write(arm.UC_ARM_REG_LR, self.END | 1)
        uc.emu_start(self.symbols[function] | 1, self.END)
        return int(uc.reg_read(arm.UC_ARM_REG_R0))


class Batch(Protocol):
    """Several emitted models in one program. `ask`: one request of a model, (status, bytes of the answer)."""

    plans: Sequence[Plan]

    def ask(self, model: int, request: int, argument: int = 0, payload: bytes = b"") -> tuple[int, bytes]: ...


def state_size(plan: Plan) -> int:
    return plan.state_bytes or 4  # a struct cannot be empty


def output_bytes(plan: Plan) -> int:
    return -(-(8 + 2 * plan.scores) // 4) * 4


def batch_source(plans: Sequence[Plan], folder: Path, kernels: str = REF, portable: bool = False) -> Path:
    """One C file that holds all models (each under its own name) and the table that drives them."""
    assert len({p.model for p in plans}) == len(plans)
    text = ['#include "driver.h"', "#include <string.h>", ""]
    for plan in plans:
        files = render_library(plan, "a test", "a test", {}, kernels, portable=portable)
        for name, content in files.items():
            (folder / name).write_text(content)
        m = plan.model
        text.append(f'#include "{m}.c"')
        text += [
            f"""
uint32_t {m}_call(void *m, uint32_t request, const void *x, void *y, uint32_t argument);
uint32_t {m}_call(void *m, uint32_t request, const void *x, void *y, uint32_t argument)
{{
    switch (request) {{
    case INIT:
        return {m}_init(m);
    case INFER:
        return {m}_infer(m, x, y);
    case LEARN:
        return {m}_learn(m, x, ({label_type(plan)})argument);
    case RUN:
        return {m}_run(m, argument);
    case RUN_OP:
        return {m}_run_op(m, argument);
    case CHECK_OP:
        return {m}_check_op(m, argument);
    case CHECK:
        return {m}_check((const {m}_state_t *)m);
    case LEARN_BEGIN:
        return {m}_learn_begin(m, x, ({label_type(plan)})argument);
    case RUN_BEGIN:
        return {m}_run_begin(m, argument);
    case STEP:
        return argument ? {m}_learn_step(m) : {m}_run_step(m);
    case ABORT:
        return {m}_run_abort(m);
    default:
        return {m}_load(m, x, ({label_type(plan)})argument);
    }}
}}
"""
        ]
    rows = [
        f"    {{ {p.model}_call, sizeof({p.model}_t), {p.state_bytes}u, {state_size(p)}u, {p.arena_bytes}u, "
        f"sizeof({p.model}_outputs_t) }},"
        for p in plans
    ]
    text += [
        "const driver_model models[] = {",
        *rows,
        "};",
        f"const uint32_t model_count = {len(plans)}u;",
        "",
    ]
    path = folder / "batch.c"
    path.write_text("\n".join(text))
    return path


class HostBatch:
    """A batch as a process of this computer. A crash or a sanitizer's finding fails the request behind it."""

    def __init__(self, plans: Sequence[Plan], folder: Path, *flags: str, kernels: str = REF) -> None:
        self.plans = plans
        folder.mkdir(parents=True, exist_ok=True)
        sources = [batch_source(plans, folder, kernels), HERE / "c" / "driver.c"]
        command = self._program(sources, folder / "batch", *flags)
        self._errors = (folder / "stderr").open("w+b")
        self._child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors
        )

    def _program(self, sources: Iterable[Path], program: Path, *flags: str) -> list[str]:
        """The command that runs the batch."""
        return [str(compile_host(sources, program, *flags))]

    def ask(self, model: int, request: int, argument: int = 0, payload: bytes = b"") -> tuple[int, bytes]:
        plan = self.plans[model]
        assert self._child.stdin and self._child.stdout
        count = {INFER: output_bytes(plan), GET_STATE: plan.state_bytes, GET_ARENA: plan.arena_bytes}.get(
            request, 0
        )
        try:
            self._child.stdin.write(struct.pack("<4I", model, request, argument, len(payload)) + payload)
            self._child.stdin.flush()
            answer = self._child.stdout.read(4 + count)
        except BrokenPipeError:
            answer = b""
        if len(answer) < 4 + count:
            self._errors.seek(0)
            said = self._errors.read().decode(errors="replace")[-600:]
            raise AssertionError(
                f"{plan.model}: request {request} ended the program with status {self._child.wait()}: {said}"
            )
        return struct.unpack_from("<I", answer)[0], answer[4:]

    def close(self) -> None:
        self._child.kill()
        self._child.communicate()
        self._errors.close()


class ChipBatch:
    """A batch on the virtual Cortex-M4, its functions called directly."""

    def __init__(self, plans: Sequence[Plan], folder: Path, toolchain: str = "", kernels: str = REF) -> None:
        self.plans = plans
        folder.mkdir(parents=True, exist_ok=True)
        source, elf = batch_source(plans, folder, kernels), folder / "batch.elf"
        self._place(Chip(compile_arm(source, elf, toolchain) if toolchain else any_arm(source, elf)))

    def _place(self, chip: Chip) -> None:
        """Models behind one another in what is free of the chip's RAM."""
        self.chip = chip
        self._x, self._y = Chip.FREE, Chip.FREE + 0x10000
        self._memory, at = [], Chip.FREE + 0x20000
        for plan in self.plans:
            self._memory.append(at)
            at += plan.ram_bytes

    def ask(self, model: int, request: int, argument: int = 0, payload: bytes = b"") -> tuple[int, bytes]:
        plan, m = self.plans[model], self._memory[model]
        arena = m + state_size(plan)
        if request in (SET_STATE, SET_ARENA):
            self.chip.write(m if request == SET_STATE else arena, payload)
            return 0, b""
        if request in (GET_STATE, GET_ARENA):
            return 0, self.chip.read(m, plan.state_bytes) if request == GET_STATE else self.chip.read(
                arena, plan.arena_bytes
            )
        self.chip.write(self._x, payload)
        status = self.chip.call(f"{plan.model}_call", m, request, self._x, self._y, argument)
        return status, self.chip.read(self._y, output_bytes(plan)) if request == INFER else b""


class HeliumBatch(HostBatch):
    """A batch as a program of the virtual Cortex-M55."""

    def _program(self, sources: Iterable[Path], program: Path, *flags: str) -> list[str]:
        return helium(compile_helium(sources, program, *flags))


def compile_helium(sources: Iterable[Path], elf: Path, *flags: str) -> Path:
    """An ELF for a virtual Cortex-M55 with Helium. Skips where GCC is missing."""
    if not shutil.which("arm-none-eabi-gcc"):
        pytest.skip("arm-none-eabi-gcc is not installed")
    here = HERE / "c"
    machine = ["-mcpu=cortex-m55", "-mthumb", "-mfloat-abi=hard", "-mfpu=auto", "-nostartfiles"]
    linked = ["--specs=rdimon.specs", f"-Wl,-T,{here / 'helium.ld'}"]
    files = [*sources, here / "helium.c"]
    run(["arm-none-eabi-gcc", *machine, *STRICT, "-O2", *flags, f"-I{here}", *files, *linked, "-o", elf])
    return elf


def helium(elf: Path) -> list[str]:
    """The command that runs such an ELF; its console is the command's. Skips where QEMU is missing."""
    qemu = shutil.which("qemu-system-arm")
    if not qemu:
        pytest.skip("qemu-system-arm is not installed")
    quiet = ["-display", "none", "-monitor", "none", "-serial", "none"]
    console = ["-semihosting-config", "enable=on,target=native"]
    return [qemu, "-M", "mps3-an547", *quiet, *console, "-kernel", str(elf)]
