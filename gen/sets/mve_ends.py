"""Blocks of Helium instructions that make outputs of four sums: gen/sets/mve.py."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from ..numeric import Int, saturate, scale_once_right, scale_twice_right
from .mve_block import Block, Lanes


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
OUT = {"int8_t": ("vstrb.32", "vqmovnb.s16 %q[v], %q[v]"), "int16_t": ("vstrh.32", "")}


@dataclass(frozen=True, slots=True)
class End:
    """How sums end: parameters, what portable C makes of sums[k], instructions on the vector v, inputs."""

    name: str
    doc: str
    params: tuple[tuple[str, str], ...]
    py: Callable[..., Int]
    c: str
    asm: tuple[str, ...]
    inputs: tuple[str, ...]
    local: str = ""


def ends() -> Iterable[End]:
    """By a shift, or by a multiplier rounded once or twice; each row by its own, or all alike."""
    for each, at in ((True, "[k]"), (False, "")):
        name = "each" if each else "alike"
        count = "const uint8_t *" if each else "uint32_t"
        by = "%q[v], %q[v], q1" if each else "%q[v], %[left]"
        own = ("vldrb.u32 q1, [%[shift]]", "vneg.s32 q1, q1") if each else ()
        yield End(
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
        yield End(
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
        yield End(
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


def outputs(end: End, ctype: str, full: bool) -> Block:
    """Four sums as outputs of a type, held: `full`, in the type."""
    bits = 8 if ctype == "int8_t" else 16
    store, last = OUT[ctype]
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
