"""Tables of functions that have a numpy meaning and a C text: vectors for them, and programs that compare."""

from __future__ import annotations

import itertools
import math
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from ctools import HERE, Chip, compile_arm
from numpy.typing import NDArray

from synapcc.gen.numeric import Primitive

HOST_VECTORS, CHIP_VECTORS = 1_000_000, 50_000
EXHAUSTIVE = 1 << 16  # so many argument tuples or fewer are all tried
FEW = (
    64  # an argument with no more values is handed over as one number at a time, as kernels hand over shifts
)
CHIP = HERE / "c" / "chip.ld"

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


def c_text(table: Iterable[Primitive]) -> str:
    """All functions, and for each another one that runs it over records of argument words."""
    table = list(table)
    text = ["#include <stdint.h>", "", *(p.c_function for p in table)]
    for p in table:
        arguments = ", ".join(f"({ctype})in[{i}]" for i, (ctype, *_) in enumerate(p.args))
        signature = f"void run_{p.name}(const uint32_t *in, uint32_t *out, uint32_t n)"
        text.append(
            f"{signature};\n{signature}\n{{\n    for (uint32_t i = 0u; i < n; i++, in += {len(p.args)})\n"
            f"        out[i] = (uint32_t){p.name}({arguments});\n}}\n"
        )
    return "\n".join(text)


def calls(table: Iterable[Primitive], before: str) -> str:
    """The table of those functions for a driver."""
    rows = "".join(f"    {{ run_{p.name}, {len(p.args)}u }},\n" for p in table)
    row = "struct { void (*run)(const uint32_t *, uint32_t *, uint32_t); uint32_t words; }"
    return f"{before}\nstatic const {row} table[] = {{\n{rows}}};\n"


HOST_MAIN = """
/* in: for each function the number of records and their words. out: the results. */
int main(void)
{
    static uint32_t in[8 * 4096], out[4096];

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


def draw(table: Iterable[Primitive], n: int) -> list[tuple[Primitive, Vectors]]:
    rng = np.random.default_rng(20240611)
    return [(p, vectors(p, n, rng)) for p in table]


def host_source(table: Iterable[Primitive]) -> str:
    """A program that answers `stream` on its input with the results of the C text."""
    table = list(table)
    return c_text(table) + calls(table, "#include <stdio.h>\n#include <stdlib.h>") + HOST_MAIN


def on_this_computer(program: Path, cases: list[tuple[Primitive, Vectors]], folder: Path) -> bytes:
    with (folder / "in").open("wb") as handle:
        for block in stream(cases):
            handle.write(block)
    with (folder / "in").open("rb") as handle:
        done = subprocess.run([program], stdin=handle, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-1000:]
    return done.stdout


def on_the_chip(toolchain: str, cases: list[tuple[Primitive, Vectors]], folder: Path, *flags: str) -> bytes:
    """The same on the virtual Cortex-M4."""
    source = folder / "functions.c"
    source.write_text(c_text(p for p, _ in cases))
    chip = Chip(compile_arm(source, folder / "functions.elf", toolchain, "cortex-m4", CHIP, *flags))
    answer = b""
    for p, rows in cases:
        records = (rows & 0xFFFFFFFF).astype("<u4").tobytes()
        chip.write(Chip.FREE, records)
        chip.call(f"run_{p.name}", Chip.FREE, Chip.FREE + len(records), len(rows))
        answer += chip.read(Chip.FREE + len(records), 4 * len(rows))
    return answer
