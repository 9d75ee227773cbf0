"""Each primitive: its numpy meaning against its C text, byte for byte, here and on the virtual cores."""

from __future__ import annotations

import inspect
import shutil
from pathlib import Path

import numpy as np
import pytest
from ctools import ARM_TOOLCHAINS, HERE, UNDEFINED, compile_arm, compile_host, run
from primitives import (
    CHIP_VECTORS,
    HOST_VECTORS,
    c_text,
    calls,
    compare,
    draw,
    host_source,
    on_the_chip,
    on_this_computer,
    stream,
)

from synapcc.gen.numeric import PRIMITIVES, gemmlowp

C_TYPES = {"int32_t", "uint32_t"}

QEMU_MAIN = (
    calls(PRIMITIVES.values(), "void Reset_Handler(void);")
    + """
#define INPUT ((const uint32_t *)0x21000000)
extern uint32_t stack_top[];
static uint32_t out[%d];

__attribute__((section(".vectors"), used))
static const void *const vectors[2] = { stack_top, (const void *)Reset_Handler };

static int32_t host(int32_t operation, const void *argument)
{
    register int32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

void Reset_Handler(void)
{
    static const char name[] = "out.bin";
    const uint32_t opened[3] = { (uint32_t)(uintptr_t)name, 5u, sizeof name - 1u };
    const uint32_t *in = INPUT;
    uint32_t at = 0u;

    for (uint32_t f = 0u; f < sizeof table / sizeof table[0]; f++) {
        const uint32_t n = *in++;
        table[f].run(in, &out[at], n);
        in += n * table[f].words;
        at += n;
    }
    const uint32_t file = (uint32_t)host(1, opened);
    const uint32_t written[3] = { file, (uint32_t)(uintptr_t)out, 4u * at };
    host(5, written);
    host(2, &file);
    host(0x18, (const void *)0x20026);
    for (;;) {
    }
}
"""
)


def test_the_table_is_well_formed() -> None:
    for p in PRIMITIVES.values():
        assert p.ret in C_TYPES and p.doc and p.args, p.name
        assert len(inspect.signature(p.py).parameters) == len(p.args), (
            f"{p.name}: numpy and C take different numbers of arguments"
        )
        for ctype, name, lo, hi in p.args:
            low, high = (0, 2**32 - 1) if ctype == "uint32_t" else (-(2**31), 2**31 - 1)
            assert ctype in C_TYPES and low <= lo <= hi <= high, f"{p.name}.{name}"


@pytest.fixture(scope="module")
def host_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("numeric")
    source = folder / "primitives.c"
    source.write_text(host_source(PRIMITIVES.values()))
    return compile_host([source], folder / "primitives", "-O2", *UNDEFINED)


def test_every_primitive_on_this_computer(host_program: Path, tmp_path: Path) -> None:
    cases = draw(PRIMITIVES.values(), HOST_VECTORS)
    compare(cases, on_this_computer(host_program, cases, tmp_path))


@pytest.mark.parametrize("toolchain", ARM_TOOLCHAINS)
def test_every_primitive_on_the_virtual_m4(toolchain: str, tmp_path: Path) -> None:
    cases = draw(PRIMITIVES.values(), CHIP_VECTORS)
    compare(cases, on_the_chip(toolchain, cases, tmp_path))


@pytest.mark.skipif(shutil.which("qemu-system-arm") is None, reason="qemu-system-arm is not installed")
@pytest.mark.parametrize("cpu, machine", [("cortex-m3", "mps2-an385")])
def test_every_primitive_in_qemu(cpu: str, machine: str, tmp_path: Path) -> None:
    cases = draw(PRIMITIVES.values(), CHIP_VECTORS * 3 // 4)  # what 16 MB of memory hold
    source = tmp_path / "primitives.c"
    source.write_text(c_text(PRIMITIVES.values()) + QEMU_MAIN % sum(len(rows) for _, rows in cases))
    elf = compile_arm(source, tmp_path / "primitives.elf", "gcc", cpu, HERE / "c" / "qemu.ld")
    (tmp_path / "in.bin").write_bytes(b"".join(stream(cases)))
    run(
        [
            "timeout",
            "120",
            "qemu-system-arm",
            "-M",
            machine,
            "-kernel",
            elf,
            "-display",
            "none",
            "-monitor",
            "none",
            "-serial",
            "none",
            "-semihosting-config",
            "enable=on,target=native",
            "-device",
            "loader,file=in.bin,addr=0x21000000,force-raw=on",
        ],
        tmp_path,
    )
    compare(cases, (tmp_path / "out.bin").read_bytes())


def doubling_high_product(a: int, b: int) -> int:
    """SaturatingRoundingDoublingHighMul as gemmlowp's source has it: a nudge, and a division that cuts."""
    product = a * b
    nudged = product + ((1 << 30) if product >= 0 else 1 - (1 << 30))
    return abs(nudged) // 2**31 * (1 if nudged >= 0 else -1)


def test_reciprocals_break_ties_as_gemmlowp_does() -> None:
    """48/17 - 32/17 x, the first guess, has two x whose product ends on a half."""
    rng = np.random.default_rng(0)
    for a in (2**29, 2**30 + 2**29, 0, 2**31 - 1, *map(int, rng.integers(0, 2**31, 200))):
        half = (a + 2**31) >> 1
        x = 1515870810 + doubling_high_product(half, -1010580540)
        for _ in range(3):
            x += 4 * doubling_high_product(x, (1 << 29) - doubling_high_product(half, x))
        assert int(gemmlowp.reciprocal_q0(np.array(a, np.int32))) == min(2 * x, 2**31 - 1), a
