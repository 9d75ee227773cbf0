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
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..numeric import Int, saturate, scale_once_right, scale_twice_right

Lanes = NDArray[np.integer]

WIDTH = 120  # of a line of the emitted file
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
        params = ", ".join(
            f"{ctype}{'' if ctype.endswith('*') else ' '}{name}" for ctype, name in self.params
        )
        lines = [f'        "{line}\\n\\t"' for line in self.asm[:-1]] + [f'        "{self.asm[-1]}"']
        outputs, inputs, clobbers = self.operands
        return (
            f"/* {self.doc} */\n"
            f"{_broken(f'static inline {self.ret} {self.name}({params})')}\n{{\n"
            "#if defined(__ARM_FEATURE_MVE)\n"
            f"{_indented(self.local)}"
            "    __asm__ __volatile__(\n" + "\n".join(lines) + "\n"
            f"        : {outputs}\n        : {inputs}\n        : {clobbers});\n"
            f"{_indented(self.after)}"
            "#else\n"
            f"{_indented(self.c)}"
            "#endif\n}\n"
        ).replace(" \n", "\n")


def _broken(line: str) -> str:
    """A line in as many as it takes, each behind a comma."""
    if len(line) <= WIDTH:
        return line
    at = line.rindex(", ", 0, WIDTH)
    return f"{line[: at + 1]}\n{_broken('    ' + line[at + 2 :])}"


def _indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.strip().split("\n")) if text.strip() else ""


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


# ---- outputs --------------------------------------------------------------------------------------------


def _shifted(sums: Int, lo: int, hi: int, shift: Lanes) -> Int:
    """Sums that hold what rounds, shifted to the right and held within lo .. hi."""
    return saturate(sums >> shift.astype(np.int32), lo, hi)


def _once(sums: Int, lo: int, hi: int, m: Int, rest: Lanes, zero: int) -> Int:
    return saturate(scale_once_right(sums, m, rest.astype(np.int32)) + np.int32(zero), lo, hi)


def _twice(sums: Int, lo: int, hi: int, m: Int, rest: Lanes, zero: int) -> Int:
    return saturate(scale_twice_right(sums, m, rest.astype(np.int32)) + np.int32(zero), lo, hi)


_INTO = (
    "int32_t v __attribute__((vector_size(16)));\n"
    '__asm__("vmov %q[v][2], %q[v][0], %[a0], %[a2]\\n\\t"\n'
    '        "vmov %q[v][3], %q[v][1], %[a1], %[a3]"\n'
    '        : [v] "=&w"(v)\n'
    '        : [a0] "r"(sums[0]), [a1] "r"(sums[1]), [a2] "r"(sums[2]), [a3] "r"(sums[3]));\n'
)
"""The sums as a vector: a statement of its own, so that none asks for more registers than there are."""
_OUT = {"int8_t": ("vstrb.32", "vqmovnb.s16 %q[v], %q[v]"), "int16_t": ("vstrh.32", "")}


@dataclass(frozen=True, slots=True)
class _End:
    """How sums end: parameters, what portable C makes of sums[k], instructions on the vector v, inputs."""

    name: str
    doc: str
    params: tuple[tuple[str, str], ...]
    py: Callable[..., Int]
    c: str
    asm: tuple[str, ...]
    inputs: tuple[str, ...]
    local: str = ""


def _ends() -> Iterable[_End]:
    """By a shift, or by a multiplier rounded once or twice; each row by its own, or all alike."""
    for each, at in ((True, "[k]"), (False, "")):
        name = "each" if each else "alike"
        count = "const uint8_t *" if each else "uint32_t"
        by = "%q[v], %q[v], q1" if each else "%q[v], %[left]"
        own = ("vldrb.u32 q1, [%[shift]]", "vneg.s32 q1, q1") if each else ()
        yield _End(
            f"out{{}}_{name}",
            f"sums[k] >> shift{at}",
            ((count, "shift"),),
            _shifted,
            f"sums[k] >> shift{at}",
            (*own, f"vshl.s32 {by}"),
            ('[shift] "l"(shift)',) if each else ('[left] "r"(left)',),
            "" if each else "const int32_t left = -(int32_t)shift;\n",
        )
        own = ("vldrb.u32 q1, [%[rest]]", "vmvn q1, q1") if each else ()  # ~rest is -(rest + 1)
        inputs = ('[m] "r"(m)', '[rest] "l"(rest)' if each else '[left] "r"(left)', '[zero] "r"(zero)')
        params = (
            ("const int32_t *", "m") if each else ("int32_t", "m"),
            (count, "rest"),
            ("int32_t", "zero"),
        )
        left = "" if each else "const int32_t left = -1 - (int32_t)rest;\n"
        factor = "vldrw.32 q1, [%[m]]" if each else "vdup.32 q1, %[m]"
        twice = (
            factor,
            "vqrdmulh.s32 %q[v], %q[v], q1",
            "vshr.s32 q1, %q[v], #31",
            "vadd.i32 %q[v], %q[v], q1",
        )
        yield _End(
            f"twice{{}}_{name}",
            f"sums[k] * m{at} / 2^(32 + rest{at}), rounded twice (scale_twice), + zero",
            params,
            _twice,
            f"scale_twice_right(sums[k], m{at}, rest{at}) + zero",
            (*twice, *own, f"vrshl.s32 {by}", "vadd.i32 %q[v], %q[v], %[zero]"),
            inputs,
            left,
        )
        once = (factor, "vshr.s32 q2, %q[v], #31", "vabs.s32 %q[v], %q[v]", "vmulh.s32 %q[v], %q[v], q1")
        yield _End(
            f"once{{}}_{name}",
            f"sums[k] * m{at} / 2^(33 + rest{at}), halves away from zero (scale_once), + zero",
            params,
            _once,
            f"scale_once_right(sums[k], m{at}, rest{at}) + zero",
            (
                *once,
                *own,
                f"vrshl.s32 {by}",
                "veor %q[v], %q[v], q2",
                "vsub.i32 %q[v], %q[v], q2",
                "vadd.i32 %q[v], %q[v], %[zero]",
            ),
            inputs,
            left,
        )


def _outputs(end: _End, ctype: str, full: bool) -> Block:
    """Four sums as outputs of a type, held: `full`, in the type."""
    bits = 8 if ctype == "int8_t" else 16
    store, last = _OUT[ctype]
    held = (
        ("vqmovnb.s32 %q[v], %q[v]", *((last,) if last else ()))
        if full
        else (
            "vdup.32 q1, %[lo]",
            "vmax.s32 %q[v], %q[v], q1",
            "vdup.32 q1, %[hi]",
            "vmin.s32 %q[v], %q[v], q1",
        )
    )
    body = (*end.asm, *held, f"{store} %q[v], [%[y]]")
    used = sorted({q for line in body for q in re.findall(r"\bq\d\b", line)})
    top = (1 << (bits - 1)) - 1
    lo, hi = (str(-top - 1), str(top)) if full else ("lo", "hi")
    inputs = ['[y] "l"(y)', *end.inputs, *([] if full else ['[lo] "r"(lo)', '[hi] "r"(hi)'])]
    limits = () if full else (("int32_t", "lo"), ("int32_t", "hi"))
    return Block(
        end.name.format(bits) + ("" if full else "_within"),
        f"y[k] = {end.doc}, held within {f'{bits} bits' if full else 'lo .. hi'}, for four sums",
        ((f"{ctype} *", "y"), ("const int32_t", "sums[4]"), *end.params, *limits),
        end.py,
        "for (uint32_t k = 0u; k < 4u; k++) {\n"
        f"    const int32_t v = {end.c};\n"
        f"    y[k] = ({ctype})(v < {lo} ? {lo} : v > {hi} ? {hi} : v);\n}}",
        body,
        ('[v] "+w"(v)', ", ".join(inputs), ", ".join((*(f'"{q}"' for q in used), '"memory"'))),
        local=_INTO + end.local,
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


BLOCKS: dict[str, Block] = {
    block.name: block
    for block in (
        *_products("dot{}", "int8_t"),
        *_products("dot{}_wide", "int16_t"),
        _copy(),
        *_less("less{}", "int8_t"),
        *_less("less{}_wide", "int16_t"),
        *(_outputs(end, t, full) for t in _OUT for end in _ends() for full in (True, False)),
    )
}
"""Every row by name."""


def called(texts: Iterable[str]) -> list[Block]:
    """The blocks that `texts` call, by name."""
    words = {w for text in texts for w in re.findall(r"\b([a-z_0-9]+)\(", text)}
    return [BLOCKS[name] for name in sorted(words & BLOCKS.keys())]
