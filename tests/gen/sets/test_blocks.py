"""The blocks of Helium instructions: numpy, portable C and the instructions agree, over edges and random values."""

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

RECORDS = 400
LONGEST = 40
TYPES = {"int8_t": np.int8, "int16_t": np.int16, "int32_t": np.int32, "uint8_t": np.uint8, "uint32_t": np.uint32}
MAIN = """
int main(void)
{
    static record r;

    while (fread(&r, 1, sizeof r, stdin) == sizeof r) {
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
RECORD = np.dtype(
    [
        ("block", "<u4"), ("row", "<u4"), ("n", "<u4"), ("lo", "<i4"), ("hi", "<i4"), ("alike", "<u4"),
        ("sums", "<i4", 4), ("m", "<i4", 4), ("zero", "<i4"), ("shift", "u1", 4), ("at", "<u4"), ("x", "i1", LONGEST + 8), ("w", "<i2", 4 * LONGEST),
        ("out", "<i4", 4),
    ]
)  # fmt: skip


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
    kinds = dict((name, kind.removeprefix("const ").removesuffix(" *")) for kind, name in block.params)
    return kinds.get("w", kinds.get("y", kinds.get("to", "")))


def source(blocks: Sequence[Block]) -> str:
    """A program that answers records on its input with what the blocks make of them."""
    fields = "uint32_t block, row, n; int32_t lo, hi; uint32_t alike; int32_t sums[4], m[4], zero; uint8_t shift[4]; uint32_t at;"
    text = ["#include <stdint.h>", "#include <stdio.h>", "#include <string.h>", ""]
    text += [
        f"typedef struct {{ {fields} int8_t x[{LONGEST + 8}]; int16_t w[{4 * LONGEST}]; int32_t out[4]; }} record;"
    ]
    text += [p.c_function for p in helpers_of(f"{block.name}(" for block in blocks).primitives]
    text += [block.c_function for block in blocks]
    rows = []
    for i, block in enumerate(blocks):
        kind, names = weights(block), [name.removesuffix("[4]") for _, name in block.params]
        count = "r.shift" if "_each" in block.name else "r.alike"
        arguments = {"w": f"(const {kind} *)r.w", "x": "&r.x[r.at]", "y": "y", "sum": "r.sums[0]", "rest": count}
        arguments |= {"shift": count, "m": "r.m" if "_each" in block.name else "r.m[0]"}
        given = ", ".join(arguments.get(n, f"r.{n}") for n in names)
        body = f"memcpy(r.out, r.sums, sizeof r.out); {block.name}({given});"
        if "sums" in names and "y" not in names:
            body = f"{block.name}({given}); memcpy(r.out, r.sums, sizeof r.out);"
        elif "to" in names:
            body = f"{{ int8_t to[{LONGEST + 1}] = {{ 0 }}; to[r.n] = 77; {block.name}({given.replace('r.to', 'to')}); "
            body += "if (to[r.n] != 77) return 8; r.out[0] = to[0]; r.out[1] = to[r.n - 1u]; r.out[2] = 0; "
            body += f"for (int k = 0; k < {LONGEST}; k++) r.out[2] += (k + 1) * to[k]; r.out[2] -= 77 * (int)(r.n + 1u) * (r.n < {LONGEST}u); r.out[3] = 0; }}"
        elif block.ret != "void":
            body = f"r.out[0] = {block.name}({given});"
        elif "y" in names:
            copied = " ".join(f"r.out[{k}] = y[{k + 1}];" for k in range(4))
            body = f"{{ {kind} y[6] = {{ 77, 0, 0, 0, 0, 77 }}; {block.name}({given.replace('y', '&y[1]', 1)}); {copied} "
            body += "if (y[0] != 77 || y[5] != 77) return 8; }"
        rows.append(f"        case {i}u:\n            {body}\n            break;")
    return "\n".join(text) + MAIN % "\n".join(rows)


def records(blocks: Sequence[Block], rng: np.random.Generator) -> tuple[NDArray[np.void], NDArray[np.int32]]:
    """Records for each block, and what numpy makes of them; what a block does not return stays zero."""
    given, want = np.zeros((len(blocks), RECORDS), RECORD), np.zeros((len(blocks), RECORDS, 4), np.int32)
    for i, block in enumerate(blocks):
        names = {name.removesuffix("[4]") for _, name in block.params}
        for j in range(RECORDS):
            one = given[i, j]
            one["block"], one["n"], one["at"] = i, rng.integers(1, LONGEST + 1), rng.integers(0, 8)
            one["row"] = rng.integers(one["n"], LONGEST + 1)
            wide = rng.integers(-(2**31), 2**31, 4)
            one["sums"] = rng.choice([wide, wide >> rng.integers(0, 31), np.array([-(2**31), 2**31 - 1, 0, -1])])
            most = 30 if "rest" in names else 32
            one["shift"], one["alike"] = rng.integers(0, most, 4), rng.integers(0, most)
            one["m"] = rng.choice([rng.integers(0, 2**31, 4), 1 << rng.integers(20, 31, 4), np.full(4, 2**31 - 1)])
            one["zero"] = rng.integers(-128, 128)
            if "rest" in names:
                one["sums"] >>= int(rng.integers(1, 20))
            one["lo"], one["hi"] = sorted(rng.integers(-128, 128, 2))
            one["x"] = rng.choice([-128, 127, 0, 1], LONGEST + 8) if j % 2 else rng.integers(-128, 128, LONGEST + 8)
            kind = TYPES[weights(block)]
            info = np.iinfo(kind)
            w = rng.integers(info.min, info.max + 1, 4 * LONGEST).astype(kind)
            w[:: int(rng.integers(1, 9))] = info.min
            one["w"].view(kind)[: len(w)] = w
            n, row = int(one["n"]), int(one["row"])
            x = one["x"][one["at"] : one["at"] + n]
            if "to" in names:
                want[i, j, :3] = x[0], x[-1], x.astype(int) @ np.arange(1, n + 1)
                continue
            if "w" in names:
                rows = 4 if "sums" in names else 1
                matrix = np.stack([w[k * row : k * row + n] for k in range(rows)])
                arguments = (x, matrix) if "x" in names else (matrix, int(one["zero"]))
                want[i, j, :rows] = block.py(one["sums"][:rows], *arguments)
                continue
            each = "_each" in block.name
            shift = one["shift"] if each else np.array(one["alike"])
            ends = (one["m"] if each else one["m"][:1], shift, int(one["zero"])) if "rest" in names else (shift,)
            lo, hi = (one["lo"], one["hi"]) if "lo" in names else (info.min, info.max)
            want[i, j] = block.py(one["sums"], int(lo), int(hi), *ends)
    return given.ravel(), want.reshape(-1, 4)


@pytest.mark.parametrize("where", ["host", "portable", "helium"])
def test_blocks(where: str, tmp_path: Path) -> None:
    """portable: the C that a core without Helium runs, on the Cortex-M55."""
    blocks = list(BLOCKS.values())
    file, program = tmp_path / "blocks.c", tmp_path / "blocks"
    file.write_text(source(blocks))
    if where == "host":
        command = [str(compile_host([file], program, "-O2", *UNDEFINED))]
    else:
        flags = ("-U__ARM_FEATURE_MVE",) if where == "portable" else ()
        command = helium(compile_helium([file], program, *flags))
    given, want = records(blocks, np.random.default_rng(7))
    done = subprocess.run(command, input=given.tobytes(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-500:]
    got = np.frombuffer(done.stdout, "<i4").reshape(-1, 4)
    for i, block in enumerate(blocks):
        part = slice(i * RECORDS, (i + 1) * RECORDS)
        differ = np.flatnonzero((got[part] != want[part]).any(axis=1))
        first = i * RECORDS + (int(differ[0]) if len(differ) else 0)
        assert not len(differ), f"{block.name}: {len(differ)} differ: {given[first]}: {want[first]}, C {got[first]}"
