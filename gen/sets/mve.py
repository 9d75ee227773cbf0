"""The blocks of Helium instructions that the kernel set `mve` is written in: one table, three texts a row.

A row is a short loop or a few instructions on vectors, since compilers move vectors about more than they
compute with them where each instruction is a call. Each is emitted as a small function with a body in portable
C, and one in inline assembly where the core has Helium (`__ARM_FEATURE_MVE`). So a library of the set `mve`
compiles for every core and every compiler that knows GNU C, and does the same there.
tests/gen/sets/test_blocks.py proves that numpy, portable C and the instructions agree.

Loops are tail-predicated (DLSTP, LETP): lanes behind the end are neither read nor summed, so that rows of any
length begin anywhere and nothing is padded. VMLADAVA adds into an even register, which the constraint Te says.
Inline assembly, not ACLE's intrinsics. Reference: Armv8-M Architecture Reference Manual, chapter C2.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..numeric import Int, saturate

Lanes = NDArray[np.integer]

LANES = 4
"""Sums that a block makes at once: as many as there are even registers for."""


@dataclass(frozen=True, slots=True)
class Block:
    """A row of the table.

    params:   (C type, name) of each parameter
    py:       the meaning: what it makes of arrays of these names; sums modulo 2^32
    c:        the body in portable C
    local:    what stands before the instructions
    asm:      the instructions, %[name] their operands
    operands: outputs, inputs and what is overwritten, as GNU C says them
    after:    what stands behind the instructions
    """

    name: str
    doc: str
    params: tuple[tuple[str, str], ...]
    py: Callable[..., Int]
    c: str
    asm: tuple[str, ...]
    operands: tuple[str, str, str]
    ret: str = "void"
    local: str = ""
    after: str = ""

    @property
    def c_function(self) -> str:
        """The definition in GNU C, as it stands in the emitted file."""
        params = ", ".join(f"{ctype}{'' if ctype.endswith('*') else ' '}{name}" for ctype, name in self.params)
        lines = [f'        "{line}\\n\\t"' for line in self.asm[:-1]] + [f'        "{self.asm[-1]}"']
        outputs, inputs, clobbers = self.operands
        return (
            f"/* {self.doc} */\n"
            f"static inline {self.ret} {self.name}({params})\n{{\n"
            "#if defined(__ARM_FEATURE_MVE)\n"
            f"{_indented(self.local)}"
            "    __asm__ __volatile__(\n" + "\n".join(lines) + "\n"
            f"        : {outputs}\n        : {inputs}\n        : {clobbers});\n"
            f"{_indented(self.after)}"
            "#else\n"
            f"{_indented(self.c)}"
            "#endif\n}\n"
        ).replace(" \n", "\n")


def _indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.strip().split("\n")) if text.strip() else ""


def _wrapped(x: NDArray[np.int64]) -> Int:
    """Modulo 2^32, as int32."""
    return x.astype(np.uint64).astype(np.uint32).astype(np.int32)


def _sums(sums: Int, x: Lanes, w: Lanes) -> Int:
    """sums [rows] + w [rows, n] x [n]."""
    return _wrapped(sums.astype(np.int64) + w.astype(np.int64) @ x.astype(np.int64))


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


# ---- outputs --------------------------------------------------------------------------------------------


def _held(sums: Int, shift: Lanes, lo: int, hi: int) -> Int:
    """Sums that hold what rounds, shifted to the right and held within lo .. hi."""
    return saturate(sums >> shift.astype(np.int32), lo, hi)


_INTO = ("vmov q0[2], q0[0], %[a0], %[a2]", "vmov q0[3], q0[1], %[a1], %[a3]")
_SUMS = ", ".join(f'[a{k}] "r"(sums[{k}])' for k in range(LANES))
_OUT = {"int8_t": ("vstrb.32", "vqmovnb.s16 q0, q0"), "int16_t": ("vstrh.32", "")}


def _outputs(ctype: str, each: bool, full: bool) -> Block:
    """Four sums as outputs of a type: shifted, each by its row's or all alike, and held, `full` in the type."""
    bits = 8 if ctype == "int8_t" else 16
    store, last = _OUT[ctype]
    shifted = (
        ("vldrb.u32 q1, [%[shift]]", "vneg.s32 q1, q1", "vshl.s32 q0, q0, q1")
        if each
        else ("vshl.s32 q0, %[left]",)
    )
    held = (
        ("vqmovnb.s32 q0, q0", *((last,) if last else ()))
        if full
        else ("vdup.32 q1, %[lo]", "vmax.s32 q0, q0, q1", "vdup.32 q1, %[hi]", "vmin.s32 q0, q0, q1")
    )
    body = (*_INTO, *shifted, *held, f"{store} q0, [%[y]]")
    clobbers = ('"q0", "q1", ' if any("q1" in line for line in body) else '"q0", ') + '"memory"'
    top = (1 << (bits - 1)) - 1
    lo, hi = (str(-top - 1), str(top)) if full else ("lo", "hi")
    inputs = ['[y] "l"(y)', '[shift] "l"(shift)' if each else '[left] "r"(left)']
    inputs += [] if full else ['[lo] "r"(lo)', '[hi] "r"(hi)']
    limits = () if full else (("int32_t", "lo"), ("int32_t", "hi"))
    doc = f"y[k] = sums[k] >> shift{'[k]' if each else ''}, held within {f'{bits} bits' if full else 'lo .. hi'}"
    return Block(
        f"out{bits}_{'each' if each else 'alike'}{'' if full else '_within'}",
        f"{doc}, for four sums",
        (
            (f"{ctype} *", "y"),
            ("const int32_t", "sums[4]"),
            ("const uint8_t *", "shift") if each else ("uint32_t", "shift"),
            *limits,
        ),
        _held,
        "for (uint32_t k = 0u; k < 4u; k++) {\n"
        f"    int32_t v = sums[k] >> shift{'[k]' if each else ''};\n"
        f"    y[k] = ({ctype})(v < {lo} ? {lo} : v > {hi} ? {hi} : v);\n}}",
        body,
        ("", f"{_SUMS},\n          {', '.join(inputs)}", clobbers),
        local="" if each else "const int32_t left = -(int32_t)shift;\n",
    )


BLOCKS: dict[str, Block] = {
    block.name: block
    for block in (
        *_products("dot{}", "int8_t"),
        *_products("dot{}_wide", "int16_t"),
        *(_outputs(t, each, full) for t in _OUT for each in (True, False) for full in (True, False)),
    )
}
"""Every row by name."""


def called(texts: Iterable[str]) -> list[Block]:
    """The blocks that `texts` call, by name."""
    words = {w for text in texts for w in re.findall(r"\b([a-z_0-9]+)\(", text)}
    return [BLOCKS[name] for name in sorted(words & BLOCKS.keys())]
