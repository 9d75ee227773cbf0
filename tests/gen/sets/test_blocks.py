"""Blocks of Helium instructions: numpy, portable C and the instructions agree, edges and random values."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from ctools import UNDEFINED, compile_helium, compile_host, helium
from numpy.typing import NDArray

from synapcc.gen.emit.helpers import helpers_of
from synapcc.gen.numeric import PRIMITIVES
from synapcc.gen.sets.dsp import INSTRUCTIONS
from synapcc.gen.sets.mve import BLOCKS, Block, called

RECORDS = 60
LONGEST = 40
TYPES = {
    "int8_t": np.int8, "int16_t": np.int16, "int32_t": np.int32, "uint8_t": np.uint8, "uint32_t": np.uint32,
}  # fmt: skip
FIELDS = {
    **dict.fromkeys(("block", "row", "n", "at", "alike", "step", "jump", "rows", "taps"), "uint32_t"),
    **dict.fromkeys(("lo", "hi", "zero", "value", "start", "factor", "add"), "int32_t"),
    "sums": ("int32_t", 8), "m": ("int32_t", 8), "shift": ("uint8_t", 8), "out": ("int32_t", 8),
    "x": ("int8_t", 3 * LONGEST), "w": ("int16_t", 4 * LONGEST),
}  # fmt: skip
"""Of a record: where x begins (`at`), one shift for all rows (`alike`) or one a row (`shift`)."""
MAIN = """
static record r;
static union { int8_t int8_t_[64]; int16_t int16_t_[64]; } y;

/* What a block has written: its first and last value, a sum of all, 1 where it wrote beyond its end. */
static void copied(uint32_t n)
{
    r.out[0] = y.int8_t_[1];
    r.out[1] = y.int8_t_[n];
    r.out[2] = 0;
    for (uint32_t k = 1; k <= n; k++)
        r.out[2] += (int32_t)k * y.int8_t_[k];
    r.out[3] = y.int8_t_[0] != 77 || y.int8_t_[n + 1] != 77;
}

int main(void)
{
    while (fread(&r, 1, sizeof r, stdin) == sizeof r) {
        memset(&y, 77, sizeof y);
        memset(r.out, 0, sizeof r.out);
        switch (r.block) {
%s
        default:
            return 9;
        }
        if (fwrite(r.out, 1, sizeof r.out, stdout) != sizeof r.out)
            return 4;
    }
    return fflush(stdout);
}
"""


def test_the_table_is_well_formed() -> None:
    assert not set(BLOCKS) & (set(PRIMITIVES) | set(INSTRUCTIONS))
    for name, block in BLOCKS.items():
        named = set(re.findall(r"%q?\[(\w+)\]", " ".join(block.asm)))
        assert named == set(re.findall(r"\[(\w+)\] ", " ".join(block.operands))), name
        touched = set(re.findall(r"\bq\d\b", " ".join(block.asm)))
        assert touched == set(re.findall(r"\bq\d\b", block.operands[2])), name
    assert called(["dot4(sums); saturate(out8_each(y), 2); dot5(1)"]) == [BLOCKS["dot4"], BLOCKS["out8_each"]]


def weights(block: Block) -> str:
    """The type of what a block takes w of, or makes y of."""
    kinds = {name: kind.removeprefix("const ").removesuffix(" *") for kind, name in block.params}
    return kinds.get("w", kinds.get("y", kinds.get("to", "int8_t")))


def source(blocks: Sequence[Block]) -> str:
    """A program that answers records on its input with what the blocks make of them."""
    text = ["#include <stdint.h>", "#include <stdio.h>", "#include <string.h>", "", "typedef struct {"]
    for name, kind in FIELDS.items():
        text.append(f"    {kind} {name};" if isinstance(kind, str) else f"    {kind[0]} {name}[{kind[1]}];")
    text.append("} record;\n")
    text += [p.c_function for p in helpers_of(f"{block.name}(" for block in blocks).primitives]
    text += [block.c_function for block in blocks]
    cases = [f"        case {i}u:\n            {_call(b)}\n            break;" for i, b in enumerate(blocks)]
    return "\n".join(text) + MAIN % "\n".join(cases)


def deep(block: Block) -> bool:
    """Whether it sums a depthwise window."""
    return block.name.startswith("deep")


def own(block: Block) -> bool:
    """Whether each of its sums has a shift of its own."""
    return "_each" in block.name or deep(block)


def _call(block: Block) -> str:
    """The call of a block with what stands in the record, and where its results go."""
    kind, names = weights(block), [re.sub(r"\[\d\]", "", name) for _, name in block.params]
    each = own(block)
    given = {"w": f"(const {kind} *)r.w", "x": "&r.x[r.at]", "y": f"&y.{kind}_[1]", "to": "&y.int8_t_[1]"}
    given |= dict.fromkeys(("shift", "rest"), "r.shift" if each else "r.alike")
    given |= {
        "m": "r.m" if each else "r.m[0]",
        "sum": "r.sums[0]",
        "start": "r.sums" if deep(block) else "r.start",
    }
    call = f"{block.name}({', '.join(given.get(name, f'r.{name}') for name in names)});"
    if block.ret != "void":
        return f"r.out[0] = {call}"
    if "to" in names:
        before = "memcpy(&y.int8_t_[1], r.w, r.n); " if block.name == "larger" else ""
        return f"{before}{call} copied(r.n);"
    if "y" in names:
        top = 0x4D4D if kind == "int16_t" else 77
        count = "r.n" if deep(block) else "4u"
        around = f"if (y.{kind}_[0] != {top} || y.{kind}_[{count} + 1u] != {top}) return 8;"
        return f"{call} for (uint32_t k = 0; k < {count}; k++) r.out[k] = y.{kind}_[k + 1u]; {around}"
    return f"{call} memcpy(r.out, r.sums, {32 if block.name == 'total8' else 16}u);"


def drawn(block: Block, names: set[str], rng: np.random.Generator, one: np.void) -> None:
    """Fills a record for a block whose parameters have these names."""
    one["n"], one["at"] = rng.integers(1, 9 if deep(block) else LONGEST + 1), rng.integers(0, 8)
    one["row"] = rng.integers(one["n"], LONGEST + 1)
    wide, edges = rng.integers(-(2**31), 2**31, 8), np.array([-(2**31), 2**31 - 1, 0, -1] * 2)
    one["sums"] = rng.choice([wide, wide >> rng.integers(0, 31), edges])
    most = 30 if "rest" in names else 32
    one["shift"], one["alike"] = rng.integers(0, most, 8), rng.integers(0, most)
    any_m, halves = rng.integers(0, 2**31, 8), 1 << rng.integers(20, 31, 8)
    one["m"], one["zero"] = rng.choice([any_m, halves, np.full(8, 2**31 - 1)]), rng.integers(-128, 128)
    if "rest" in names or deep(block):
        one["sums"] >>= int(rng.integers(2, 20))
    one["step"], one["jump"], one["rows"] = rng.integers(0, 5), rng.integers(0, 9), rng.integers(1, 4)
    one["lo"], one["hi"] = sorted(rng.integers(-128, 128, 2))
    edge = rng.choice([-128, 127, 0, 1], 3 * LONGEST)
    one["x"] = edge if rng.integers(2) else rng.integers(-128, 128, 3 * LONGEST)
    one["taps"], one["start"] = rng.choice([one["rows"], rng.integers(1, 4)]), rng.integers(-(2**15), 2**15)
    one["factor"], one["add"] = rng.integers(0, 2**12), rng.integers(-(2**24), 2**24)
    one["value"] = rng.integers(-128, 128)
    kind = TYPES[weights(block)]
    info = np.iinfo(kind)
    w = rng.integers(info.min, info.max + 1, 4 * LONGEST).astype(kind)
    w[:: int(rng.integers(1, 9))] = info.min + deep(block)
    if deep(block):
        w[w == info.min] = 127
    one["w"].view(kind)[: len(w)] = w


def meaning(block: Block, names: set[str], one: np.void) -> NDArray[np.int64]:
    """What numpy makes of a record; zero where a block returns less."""
    out = np.zeros(8, np.int64)
    n, row, kind = int(one["n"]), int(one["row"]), TYPES[weights(block)]
    x = one["x"][one["at"] : one["at"] + n]
    if "to" in names:
        written = np.full(n, block.py(int(one["value"]))) if "value" in names else x.astype(np.int64)
        if block.name == "larger":
            written = block.py(one["w"].view(np.int8)[:n], x).astype(np.int64)
        out[:3] = written[0], written[-1], written @ np.arange(1, n + 1)
    elif block.name == "total8":
        rows, width, begin = int(one["rows"]), int(one["taps"]), int(one["at"])
        places = [
            begin + ky * (width * int(one["step"]) + int(one["jump"])) + kx * int(one["step"])
            for ky in range(rows)
            for kx in range(width)
        ]
        seen = np.stack([one["x"][place : place + 8] for place in places])
        out[:] = block.py(seen, int(one["start"]), int(one["factor"]), int(one["add"]))
    elif deep(block):
        width, rows, begin = int(block.name[4]), int(one["rows"]), int(one["at"])
        step, jump = int(one["step"]), int(one["jump"])
        places = [begin + ky * (width * step + jump) + kx * step for ky in range(rows) for kx in range(width)]
        seen = np.stack([one["x"][place : place + n] for place in places])
        lo, hi = (one["lo"], one["hi"]) if "lo" in names else (-128, 127)
        ended = (one["m"], one["shift"], int(one["zero"])) if "rest" in names else (one["shift"],)
        w = one["w"].view(np.int8)[: 8 * len(places)].reshape(-1, 8)
        out[:n] = block.py(seen, w, one["sums"], int(lo), int(hi), *ended)
    elif "w" in names:
        rows = 4 if "sums" in names else 1
        w = one["w"].view(kind)
        matrix = np.stack([w[k * row : k * row + n] for k in range(rows)])
        arguments = (x, matrix) if "x" in names else (matrix, int(one["zero"]))
        out[:rows] = block.py(one["sums"][:rows], *arguments)
    else:
        each, info = own(block), np.iinfo(kind)
        lo, hi = (one["lo"], one["hi"]) if "lo" in names else (info.min, info.max)
        shift, m = (one["shift"][:4], one["m"][:4]) if each else (np.array(one["alike"]), one["m"][:1])
        ends = (m, shift, int(one["zero"])) if "rest" in names else (shift,)
        out[:4] = block.py(one["sums"][:4], int(lo), int(hi), *ends)
    return out


def records(blocks: Sequence[Block], rng: np.random.Generator) -> tuple[NDArray[np.void], NDArray[np.int64]]:
    """Records for each block, and what numpy makes of them."""
    fields = [
        (name, TYPES[kind]) if isinstance(kind, str) else (name, TYPES[kind[0]], kind[1])
        for name, kind in FIELDS.items()
    ]
    given = np.zeros(len(blocks) * RECORDS, np.dtype(fields))  # type: ignore[call-overload]
    want = np.zeros((len(given), 8), np.int64)
    for j in range(len(given)):
        block = blocks[j // RECORDS]
        names = {re.sub(r"\[\d\]", "", name) for _, name in block.params}
        given[j]["block"] = j // RECORDS
        drawn(block, names, rng, given[j])
        want[j] = meaning(block, names, given[j])
    return given, want


@pytest.mark.parametrize("where", ["host", "helium", pytest.param("portable", marks=pytest.mark.long)])
def test_blocks(where: str, tmp_path: Path) -> None:
    """portable: the C that a core without Helium runs, on the Cortex-M55."""
    blocks = list(BLOCKS.values())
    file, program = tmp_path / "blocks.c", tmp_path / "blocks"
    file.write_text(source(blocks))
    if where == "host":
        command = [str(compile_host([file], program, "-O0", *UNDEFINED))]
    else:
        flags = ("-U__ARM_FEATURE_MVE",) if where == "portable" else ()
        command = helium(compile_helium([file], program, *flags))
    given, want = records(blocks, np.random.default_rng(7))
    done = subprocess.run(command, input=given.tobytes(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-500:]
    got = np.frombuffer(done.stdout, "<i4").reshape(-1, 8)
    assert len(got) == len(want)
    differ = np.flatnonzero((got != want).any(axis=1))
    first = int(differ[0]) if len(differ) else 0
    block = blocks[first // RECORDS]
    assert not len(differ), f"{block.name} of {given[first]}: numpy {want[first]}, C {got[first]}"
