"""Each primitive: its numpy meaning against its C text, byte for byte, here and on the virtual cores."""

from __future__ import annotations

import inspect
import itertools
import math
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ctools import ARM_TOOLCHAINS, HERE, UNDEFINED, Chip, compile_arm, compile_host, run
from numpy.typing import NDArray

from synapcc.gen.numeric import PRIMITIVES, Primitive

HOST_VECTORS, CHIP_VECTORS = 1_000_000, 50_000
EXHAUSTIVE = 1 << 16  # so many argument tuples or fewer are all tried
FEW = (
    64  # an argument with no more values is handed over as one number at a time, as kernels hand over shifts
)
C_TYPES = {"int32_t", "uint32_t"}

Vectors = NDArray[np.int64]


def _edges(lo: int, hi: int) -> list[int]:
    near = [
        0,
        1,
        -1,
        lo,
        lo + 1,
        hi,
        hi - 1,
        *(s * 2**k + d for k in range(1, 33) for s in (1, -1) for d in (-1, 0, 1)),
    ]
    return sorted({v for v in near if lo <= v <= hi})


def vectors(p: Primitive, n: int, rng: np.random.Generator) -> Vectors:
    """Argument tuples [*, arguments]: all there are if they are few, else edges, uniform and small ones."""
    spans = [(lo, hi) for _, _, lo, hi in p.args]
    if math.prod(hi - lo + 1 for lo, hi in spans) <= EXHAUSTIVE:
        rows = np.array(list(itertools.product(*(range(lo, hi + 1) for lo, hi in spans))), np.int64)
    else:
        columns = []
        for lo, hi in spans:
            wide = rng.integers(lo, hi + 1, n)
            small = np.clip(np.sign(wide) * (np.abs(wide) >> rng.integers(0, 32, n)), lo, hi)
            columns.append(
                np.choose(
                    rng.integers(0, 3, n), [wide, small, rng.choice(np.array(_edges(lo, hi), np.int64), n)]
                )
            )
        rows = np.stack(columns, axis=1)
    if p.given:
        rows = rows[p.given(*rows.T)]
    return rows


def meaning(p: Primitive, rows: Vectors) -> NDArray[np.uint32]:
    """What numpy says, as 32-bit words."""
    out = np.zeros(len(rows), np.int64)
    few = [i for i, (_, _, lo, hi) in enumerate(p.args) if hi - lo < FEW]
    group = np.zeros(len(rows), np.int64)
    for i in few:
        group = group * FEW + rows[:, i] - p.args[i][2]
    order = np.argsort(group, kind="stable")
    for chosen in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        arguments: list[int | NDArray[np.generic]] = []
        for i, (_, _, _, hi) in enumerate(p.args):
            arguments.append(
                int(rows[chosen[0], i])
                if i in few
                else rows[chosen, i].astype(np.int32 if hi < 2**31 else np.uint32)
            )
        out[chosen] = p.py(*arguments)
    return (out & 0xFFFFFFFF).astype(np.uint32)


def c_text() -> str:
    """All primitives, and for each a function that runs it over records of argument words."""
    text = ["#include <stdint.h>", "", *(p.c_function for p in PRIMITIVES.values())]
    for p in PRIMITIVES.values():
        arguments = ", ".join(f"({ctype})in[{i}]" for i, (ctype, *_) in enumerate(p.args))
        signature = f"void run_{p.name}(const uint32_t *in, uint32_t *out, uint32_t n)"
        text.append(
            f"{signature};\n{signature}\n{{\n    for (uint32_t i = 0u; i < n; i++, in += {len(p.args)})\n"
            f"        out[i] = (uint32_t){p.name}({arguments});\n}}\n"
        )
    return "\n".join(text)


def calls(before: str) -> str:
    """The table of those functions for a driver."""
    rows = "".join(f"    {{ run_{p.name}, {len(p.args)}u }},\n" for p in PRIMITIVES.values())
    row = "struct { void (*run)(const uint32_t *, uint32_t *, uint32_t); uint32_t words; }"
    return f"{before}\nstatic const {row} table[] = {{\n{rows}}};\n"


HOST_MAIN = (
    calls("#include <stdio.h>\n#include <stdlib.h>")
    + """
/* in: for each function the number of records and their words. out: the results. */
int main(void)
{
    static uint32_t in[3 * 4096], out[4096];

    for (size_t f = 0; f < sizeof table / sizeof table[0]; f++) {
        uint32_t left;
        if (fread(&left, sizeof left, 1, stdin) != 1)
            return 3;
        while (left) {
            const uint32_t n = left < 4096u ? left : 4096u;
            if (fread(in, 4u * table[f].words, n, stdin) != n)
                return 3;
            table[f].run(in, out, n);
            if (fwrite(out, 4u, n, stdout) != n)
                return 4;
            left -= n;
        }
    }
    return 0;
}
"""
)

QEMU_MAIN = (
    calls("void Reset_Handler(void);")
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


def _differ(p: Primitive, rows: Vectors, want: NDArray[np.uint32], got: NDArray[np.uint32]) -> str:
    at = np.flatnonzero(want != got)
    shown = dict(zip((name for _, name, _, _ in p.args), rows[at[0]].tolist(), strict=True))
    values = f"numpy {want[at[0]]:#x}, C {got[at[0]]:#x}"
    return f"{p.name}: {len(at)} of {len(rows)} differ; first at {shown}: {values}"


def compare(cases: list[tuple[Primitive, Vectors]], answer: bytes) -> None:
    got = np.frombuffer(answer, "<u4")
    assert len(got) == sum(len(rows) for _, rows in cases)
    for p, rows in cases:
        part, got = got[: len(rows)], got[len(rows) :]
        want = meaning(p, rows)
        assert part.tobytes() == want.astype("<u4").tobytes(), _differ(p, rows, want, part)


def stream(cases: list[tuple[Primitive, Vectors]]) -> Iterator[bytes]:
    for _, rows in cases:
        yield np.uint32(len(rows)).tobytes() + (rows & 0xFFFFFFFF).astype("<u4").tobytes()


def draw(n: int) -> list[tuple[Primitive, Vectors]]:
    rng = np.random.default_rng(20240611)
    return [(p, vectors(p, n, rng)) for p in PRIMITIVES.values()]


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
    source.write_text(c_text() + HOST_MAIN)
    return compile_host([source], folder / "primitives", "-O2", *UNDEFINED)


def test_every_primitive_on_this_computer(host_program: Path, tmp_path: Path) -> None:
    cases = draw(HOST_VECTORS)
    with (tmp_path / "in").open("wb") as handle:
        for block in stream(cases):
            handle.write(block)
    with (tmp_path / "in").open("rb") as handle:
        done = subprocess.run([host_program], stdin=handle, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-1000:]
    compare(cases, done.stdout)


@pytest.mark.parametrize("toolchain", ARM_TOOLCHAINS)
def test_every_primitive_on_the_virtual_m4(toolchain: str, tmp_path: Path) -> None:
    source = tmp_path / "primitives.c"
    source.write_text(c_text())
    chip = Chip(compile_arm(source, tmp_path / "primitives.elf", toolchain))
    cases, answer = draw(CHIP_VECTORS), b""
    for p, rows in cases:
        records = (rows & 0xFFFFFFFF).astype("<u4").tobytes()
        chip.write(Chip.FREE, records)
        chip.call(f"run_{p.name}", Chip.FREE, Chip.FREE + len(records), len(rows))
        answer += chip.read(Chip.FREE + len(records), 4 * len(rows))
    compare(cases, answer)


@pytest.mark.skipif(shutil.which("qemu-system-arm") is None, reason="qemu-system-arm is not installed")
@pytest.mark.parametrize("cpu, machine", [("cortex-m3", "mps2-an385")])
def test_every_primitive_in_qemu(cpu: str, machine: str, tmp_path: Path) -> None:
    cases = draw(CHIP_VECTORS)
    source = tmp_path / "primitives.c"
    source.write_text(c_text() + QEMU_MAIN % sum(len(rows) for _, rows in cases))
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
