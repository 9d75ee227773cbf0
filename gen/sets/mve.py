"""The blocks of Helium instructions that the kernel set `mve` is written in: one table, three texts a row.

A row is a short loop or a few instructions on vectors, since compilers move vectors about more than they
compute with them where each instruction is a call. Each is emitted as a small function with a body in
portable C, and one in inline assembly where the core has Helium (`__ARM_FEATURE_MVE`). So a library of the
set `mve` compiles for every core and every compiler that knows GNU C, and does the same there.
tests/gen/sets/test_blocks.py proves that numpy, portable C and the instructions agree.

Loops are tail-predicated (DLSTP, LETP): lanes behind the end are neither read nor summed, so that rows of
any length begin anywhere and nothing is padded. VMLADAVA adds into an even register, which the constraint Te
says. Inline assembly, not ACLE's intrinsics. Reference: Armv8-M Architecture Reference Manual, chapter C2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ..numeric import Int
from .mve_block import LANES, Block, Lanes
from .mve_deep import deep
from .mve_ends import OUT, ends, outputs


def _wrapped(x: NDArray[np.int64]) -> Int:
    """Modulo 2^32, as int32."""
    return x.astype(np.uint64).astype(np.uint32).astype(np.int32)


def _sums(sums: Int, x: Lanes, w: Lanes) -> Int:
    """sums [rows] + w [rows, n] x [n]."""
    return _wrapped(sums.astype(np.int64) + w.astype(np.int64) @ x.astype(np.int64))


def _without(sums: Int, w: Lanes, zero: int) -> Int:
    """sums [rows] - zero times the sums of the rows of w [rows, n]."""
    return _wrapped(sums.astype(np.int64) - zero * w.astype(np.int64).sum(axis=1))


# ---- sums -----------------------------------------------------------------------------------------------

_LOAD = {"int8_t": ("8", "vldrb.8"), "int16_t": ("16", "vldrh.16")}
_IN = {"int8_t": "vldrb.8 q0, [%[x]], #16", "int16_t": "vldrb.s16 q0, [%[x]], #8"}
_AT = {"int8_t": "r", "int16_t": "l"}  # loads that widen take a low register, and so do stores that narrow


def _products(name: str, ctype: str) -> tuple[Block, Block]:
    """The sums of four rows of weights of a type, and of one."""
    (size, load), at = _LOAD[ctype], _AT[ctype]
    four = ["dlstp." + size + " lr, %[n]", "1:", _IN[ctype]]
    for k in range(LANES):
        four += [f"{load} q1, [%[w{k}]], #16", f"vmladava.s{size} %[a{k}], q0, q1"]
    many = ", ".join(f'[a{k}] "+Te"(a{k})' for k in range(LANES))
    rows = ", ".join(f'[w{k}] "+r"(w{k})' for k in range(LANES))
    clobbers = '"lr", "q0", "q1", "memory"'
    weights = f"const {ctype} *"
    return (
        Block(
            name.format(4),
            "sums[k] += sum of x[j] * w[k * row + j], j < n, for four rows; n is not 0",
            (("int32_t", "sums[4]"), ("const int8_t *", "x"), (weights, "w"), ("uint32_t", "row"),
             ("uint32_t", "n")),
            _sums,
            "for (uint32_t k = 0u; k < 4u; k++) {\n"
            "    for (uint32_t j = 0u; j < n; j++) {\n"
            "        sums[k] = (int32_t)((uint32_t)sums[k] + (uint32_t)(x[j] * w[k * row + j]));\n"
            "    }\n}",
            (*four, "letp lr, 1b"),
            (f'{many},\n          {rows}, [x] "+{at}"(x)', '[n] "r"(n)', clobbers),
            local="int32_t a0 = sums[0], a1 = sums[1], a2 = sums[2], a3 = sums[3];\n"
            f"const {ctype} *w0 = w, *w1 = &w0[row], *w2 = &w1[row], *w3 = &w2[row];\n",
            after="sums[0] = a0;\nsums[1] = a1;\nsums[2] = a2;\nsums[3] = a3;\n",
        ),
        Block(
            name.format(1),
            "sum + sum of x[j] * w[j], j < n; n is not 0",
            (("int32_t", "sum"), ("const int8_t *", "x"), (weights, "w"), ("uint32_t", "n")),
            _sums,
            "for (uint32_t j = 0u; j < n; j++) {\n"
            "    sum = (int32_t)((uint32_t)sum + (uint32_t)(x[j] * w[j]));\n}\nreturn sum;",
            (f"dlstp.{size} lr, %[n]", "1:", _IN[ctype], f"{load} q1, [%[w]], #16",
             f"vmladava.s{size} %[sum], q0, q1", "letp lr, 1b"),
            (f'[sum] "+Te"(sum), [w] "+r"(w), [x] "+{at}"(x)', '[n] "r"(n)', clobbers),
            ret="int32_t",
            after="return sum;\n",
        ),
    )  # fmt: skip


def _less(name: str, ctype: str) -> tuple[Block, Block]:
    """What a zero point of the inputs takes off the sums of four rows of weights of a type, and of one."""
    size, load = _LOAD[ctype]
    four = [f"dlstp.{size} lr, %[n]", "1:"]
    for k in range(LANES):
        four += [f"{load} q0, [%[w{k}]], #16", f"vaddva.s{size} %[a{k}], q0"]
    many = ", ".join(f'[a{k}] "+Te"(a{k})' for k in range(LANES))
    rows = ", ".join(f'[w{k}] "+r"(w{k})' for k in range(LANES))
    weights = f"const {ctype} *"
    clobbers = '"lr", "q0", "memory"'
    off = "sums[{0}] = (int32_t)((uint32_t)sums[{0}] - (uint32_t)(zero * a{0}));"
    return (
        Block(
            name.format(4),
            "sums[k] -= zero * sum of w[k * row + j], j < n, for four rows; n is not 0",
            (
                ("int32_t", "sums[4]"),
                (weights, "w"),
                ("uint32_t", "row"),
                ("uint32_t", "n"),
                ("int32_t", "zero"),
            ),
            _without,
            "for (uint32_t k = 0u; k < 4u; k++) {\n"
            "    for (uint32_t j = 0u; j < n; j++) {\n"
            "        sums[k] = (int32_t)((uint32_t)sums[k] - (uint32_t)(zero * w[k * row + j]));\n"
            "    }\n}",
            (*four, "letp lr, 1b"),
            (f"{many},\n          {rows}", '[n] "r"(n)', clobbers),
            local="int32_t a0 = 0, a1 = 0, a2 = 0, a3 = 0;\n"
            f"const {ctype} *w0 = w, *w1 = &w0[row], *w2 = &w1[row], *w3 = &w2[row];\n",
            after="\n".join(off.format(k) for k in range(LANES)),
        ),
        Block(
            name.format(1),
            "sum - zero * sum of w[j], j < n; n is not 0",
            (("int32_t", "sum"), (weights, "w"), ("uint32_t", "n"), ("int32_t", "zero")),
            _without,
            "for (uint32_t j = 0u; j < n; j++) {\n"
            "    sum = (int32_t)((uint32_t)sum - (uint32_t)(zero * w[j]));\n}\nreturn sum;",
            (
                f"dlstp.{size} lr, %[n]",
                "1:",
                f"{load} q0, [%[w]], #16",
                f"vaddva.s{size} %[a], q0",
                "letp lr, 1b",
            ),
            ('[a] "+Te"(a), [w] "+r"(w)', '[n] "r"(n)', clobbers),
            ret="int32_t",
            local="int32_t a = 0;\n",
            after="return (int32_t)((uint32_t)sum - (uint32_t)(zero * a));\n",
        ),
    )


def _copy() -> Block:
    return Block(
        "copy",
        "to[j] = x[j], j < n; n is not 0",
        (("int8_t *", "to"), ("const int8_t *", "x"), ("uint32_t", "n")),
        lambda x: x,
        "for (uint32_t j = 0u; j < n; j++) {\n    to[j] = x[j];\n}",
        ("dlstp.8 lr, %[n]", "1:", "vldrb.8 q0, [%[x]], #16", "vstrb.8 q0, [%[to]], #16", "letp lr, 1b"),
        ('[to] "+r"(to), [x] "+r"(x)', '[n] "r"(n)', '"lr", "q0", "memory"'),
    )


def _fill() -> Block:
    return Block(
        "fill",
        "to[j] = value, j < n; n is not 0",
        (("int8_t *", "to"), ("int32_t", "value"), ("uint32_t", "n")),
        lambda value: value,
        "for (uint32_t j = 0u; j < n; j++) {\n    to[j] = (int8_t)value;\n}",
        ("vdup.8 q0, %[value]", "dlstp.8 lr, %[n]", "1:", "vstrb.8 q0, [%[to]], #16", "letp lr, 1b"),
        ('[to] "+r"(to)', '[value] "r"(value), [n] "r"(n)', '"lr", "q0", "memory"'),
    )


def _larger() -> Block:
    return Block(
        "larger",
        "to[j] = max(to[j], x[j]), j < n; n is not 0",
        (("int8_t *", "to"), ("const int8_t *", "x"), ("uint32_t", "n")),
        lambda to, x: np.maximum(to, x),
        "for (uint32_t j = 0u; j < n; j++) {\n    to[j] = to[j] < x[j] ? x[j] : to[j];\n}",
        (
            "dlstp.8 lr, %[n]",
            "1:",
            "vldrb.8 q0, [%[to]]",
            "vldrb.8 q1, [%[x]], #16",
            "vmax.s8 q0, q0, q1",
            "vstrb.8 q0, [%[to]], #16",
            "letp lr, 1b",
        ),
        ('[to] "+r"(to), [x] "+r"(x)', '[n] "r"(n)', '"lr", "q0", "q1", "memory"'),
    )


def _total(x: NDArray[np.int8], start: int, factor: int, add: int) -> Int:
    """Of x [taps, 8], at most 256 taps, which is what 16 bits hold."""
    return _wrapped((start + x.astype(np.int64).sum(axis=0)) * factor + add)


def _totals() -> Block:
    body = (
        *("vmov.i32 q0, #0", "1:", "dls lr, %[taps]"),
        *("2:", "vldrb.s16 q1, [%[x]]", "adds %[x], %[step]", "vadd.i16 q0, q0, q1", "le lr, 2b"),
        *("adds %[x], %[jump]", "subs %[rows], #1", "bne 1b", "vmovlt.s16 q1, q0", "vmovlb.s16 q0, q0"),
        *(f"{op} {q}, {q}, %[{by}]" for op, by in _AFTER for q in ("q0", "q1")),
        *("vst20.32 {q0, q1}, [%[sums]]", "vst21.32 {q0, q1}, [%[sums]]"),
    )
    inputs = ('[step] "r"(step)', '[jump] "r"(jump)', '[taps] "r"(taps)', '[start] "r"(start)')
    more = ('[factor] "r"(factor)', '[add] "r"(add)', '[sums] "r"(sums)')
    return Block(
        "total8",
        "sums[c] = (start + sum of a window, rows * taps) * factor + add, for eight channels",
        (
            *(("int32_t", "sums[8]"), ("const int8_t *", "x"), ("uint32_t", "step"), ("uint32_t", "jump")),
            *(("uint32_t", "rows"), ("uint32_t", "taps"), ("int32_t", "start"), ("int32_t", "factor")),
            ("int32_t", "add"),
        ),
        _total,
        "for (uint32_t c = 0u; c < 8u; c++) {\n"
        "    int32_t sum = start;\n"
        "    for (uint32_t ky = 0u; ky < rows; ky++) {\n"
        "        for (uint32_t kx = 0u; kx < taps; kx++) {\n"
        "            sum += x[ky * (taps * step + jump) + kx * step + c];\n"
        "        }\n"
        "    }\n"
        "    sums[c] = sum * factor + add;\n}",
        body,
        (
            '[x] "+&l"(x), [rows] "+&l"(rows)',  # &: apart from an input of the same value
            f"{', '.join(inputs)},\n          {', '.join(more)}",
            '"lr", "q0", "q1", "cc", "memory"',
        ),
    )


_AFTER = (("vadd.i32", "start"), ("vmul.i32", "factor"), ("vadd.i32", "add"))
MOST_TAPS = 256
"""Values of 8 bits whose sum 16 bits hold."""

BLOCKS: dict[str, Block] = {
    block.name: block
    for block in (
        *_products("dot{}", "int8_t"),
        *_products("dot{}_wide", "int16_t"),
        _copy(),
        _fill(),
        _larger(),
        _totals(),
        *_less("less{}", "int8_t"),
        *_less("less{}_wide", "int16_t"),
        *(outputs(end, t, full) for t in OUT for end in ends() for full in (True, False)),
        *deep(),
    )
}
"""Every row by name."""


def called(texts: Iterable[str]) -> list[Block]:
    """The blocks that `texts` call, by name."""
    words = {w for text in texts for w in re.findall(r"\b([a-z_0-9]+)\(", text)}
    return [BLOCKS[name] for name in sorted(words & BLOCKS.keys())]
