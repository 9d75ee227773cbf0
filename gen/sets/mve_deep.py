"""Blocks of Helium instructions that sum a depthwise window, eight channels at a time: gen/sets/mve.py.

Channels are lanes. VLDRB.S16 widens eight of them, and two taps add up within 16 bits, as no weight is -128;
what two taps make is widened and added to the even channels' sums and to the odd ones', which is the order of
starts, multipliers and shifts: channels 0, 2, 4, 6, then 1, 3, 5, 7.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..numeric import Int
from .mve_block import Block
from .mve_ends import End, ends

CHANNELS = 8
ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
WIDEST = 7
"""Taps of a row that are written out one after another, at most."""


def _sums(x: NDArray[np.int8], w: NDArray[np.int8], start: Int) -> NDArray[np.int64]:
    """Of windows x [taps, n] and w [taps, 8] the sums of n <= 8 channels, of starts in their order."""
    n = x.shape[1]
    begin = start[np.argsort(ORDER)][:n].astype(np.int64)
    sums: NDArray[np.int64] = begin + (x.astype(np.int64) * w[:, :n].astype(np.int64)).sum(axis=0)
    return sums


def _window(
    end: End, x: NDArray[np.int8], w: NDArray[np.int8], start: Int, lo: int, hi: int, *ending: Any
) -> Int:
    """The outputs of those channels, of shifts and multipliers in their order."""
    place = np.argsort(ORDER)[: x.shape[1]]
    own = (v[place] if isinstance(v, np.ndarray) else v for v in ending)
    return end.py(_sums(x, w, start).astype(np.int32), lo, hi, *own)


def _row(width: int) -> list[str]:
    """The taps of a row, two at a time."""
    lines = []
    for tap in range(0, width, 2):
        pair = tap + 1 < width
        for name, q in (("x", 0), ("w", 1), ("x", 1), ("w", 2))[: 4 if pair else 2]:
            lines.append(f"vldrb.s16 q{q}, [%[{name}]]" + (", #8" if name == "w" else ""))
            if name == "x":
                lines.append("adds %[x], %[step]")
            elif q == 1:
                lines.append("vmul.i16 q0, q0, q1")
            else:
                lines += ["vmul.i16 q1, q1, q2", "vadd.i16 q0, q0, q1"]
        lines += ["vmovlb.s16 q1, q0", "vadd.i32 %q[v0], %q[v0], q1"]
        lines += ["vmovlt.s16 q1, q0", "vadd.i32 %q[v1], %q[v1], q1"]
    return lines


def _first(width: int) -> str:
    """The statement that sums a window: v0 the even channels, v1 the odd ones."""
    body = ["dls lr, %[rows]", "vldrw.32 %q[v0], [%[start]]", "vldrw.32 %q[v1], [%[start], #16]", "1:"]
    body += [*_row(width), "adds %[x], %[jump]", "le lr, 1b"]
    text = "\n".join(f'    "{line}\\n\\t"' for line in body[:-1]) + f'\n    "{body[-1]}"'
    return (
        "int32_t v0 __attribute__((vector_size(16)));\n"
        "int32_t v1 __attribute__((vector_size(16)));\n"
        f"__asm__ __volatile__(\n{text}\n"
        '    : [v0] "=&w"(v0), [v1] "=&w"(v1), [x] "+&l"(x), [w] "+&l"(w)\n'
        '    : [start] "r"(start), [step] "r"(step), [jump] "r"(jump), [rows] "r"(rows)\n'
        '    : "lr", "q0", "q1", "q2", "cc", "memory");\n'
    )


def _ended(end: End) -> tuple[str, ...]:
    """What the end does to both vectors, the second of which has its constants behind the first's."""
    further = {"[%[shift]]": "[%[shift], #4]", "[%[rest]]": "[%[rest], #4]", "[%[m]]": "[%[m], #16]"}
    lines = [line.replace("%q[v]", "%q[v0]") for line in end.asm]
    for line in end.asm:
        for near, far in further.items():
            line = line.replace(near, far)
        lines.append(line.replace("%q[v]", "%q[v1]"))
    return tuple(lines)


def _block(width: int, end: End, full: bool) -> Block:
    held = (
        ("vqmovnb.s16 %q[v0], %q[v0]",)
        if full
        else (
            "vdup.16 q1, %[lo]",
            "vmax.s16 %q[v0], %q[v0], q1",
            "vdup.16 q1, %[hi]",
            "vmin.s16 %q[v0], %q[v0], q1",
        )
    )
    joined = ("vqmovnb.s32 %q[v0], %q[v0]", "vqmovnt.s32 %q[v0], %q[v1]")
    store = ("dlstp.16 lr, %[n]", "1:", "vstrb.16 %q[v0], [%[y]]", "letp lr, 1b")
    body = (*_ended(end), *joined, *held, *store)
    lo, hi = ("-128", "127") if full else ("lo", "hi")
    limits = () if full else (("int32_t", "lo"), ("int32_t", "hi"))
    inputs = ['[y] "l"(y)', '[n] "r"(n)', *end.inputs, *([] if full else ['[lo] "r"(lo)', '[hi] "r"(hi)'])]
    used = [f'"{q}"' for q in ("q1", "q2") if any(q in line for line in body)]
    value = end.c.replace("sums[k]", "sum").replace("[k]", "[at]")
    of_sum = end.doc.replace("sums[k]", "sum").replace("[k]", "[at]")
    return Block(
        f"deep{width}_{end.name.removesuffix('{}_each')}{'' if full else '_within'}",
        f"y[c] = {of_sum}, held, of windows of rows * {width} taps: n channels",
        (
            ("int8_t *", "y"), ("const int8_t *", "x"), ("uint32_t", "step"), ("uint32_t", "jump"),
            ("const int8_t *", "w"), ("uint32_t", "rows"), ("const int32_t *", "start"), ("uint32_t", "n"),
            *end.params, *limits,
        ),
        partial(_window, end),
        "for (uint32_t c = 0u; c < n; c++) {\n"
        "    const uint32_t at = (c >> 1) + (c & 1u) * 4u;\n"
        "    int32_t sum = start[at];\n"
        "    for (uint32_t ky = 0u; ky < rows; ky++) {\n"
        f"        for (uint32_t kx = 0u; kx < {width}u; kx++) {{\n"
        f"            const int32_t tap = x[ky * ({width}u * step + jump) + kx * step + c];\n"
        f"            sum += tap * w[(ky * {width}u + kx) * 8u + c];\n"
        "        }\n"
        "    }\n"
        f"    const int32_t v = {value};\n"
        f"    y[c] = (int8_t)(v < {lo} ? {lo} : v > {hi} ? {hi} : v);\n}}",
        body,
        ('[v0] "+w"(v0), [v1] "+w"(v1)', ", ".join(inputs), ", ".join(['"lr"', *used, '"memory"'])),
        local=_first(width),
    )  # fmt: skip


@cache
def deep() -> tuple[Block, ...]:
    """Rows of up to so many taps, each way that rows of their own end."""
    own = [end for end in ends() if end.name.endswith("_each")]
    return tuple(_block(k, end, full) for k in range(1, WIDEST + 1) for end in own for full in (True, False))


def in_lanes(array: NDArray[np.generic], of: Iterable[int] = ORDER) -> NDArray[np.generic]:
    """Values [channels, ...] as [blocks of eight, 8, ...], in an order; zeros where there are less."""
    blocks = -(-len(array) // CHANNELS)
    full = np.zeros((blocks * CHANNELS, *array.shape[1:]), array.dtype)
    full[: len(array)] = array
    return full.reshape(blocks, CHANNELS, *array.shape[1:])[:, list(of)]


def from_lanes(array: NDArray[np.generic], channels: int, of: Iterable[int] = ORDER) -> NDArray[np.generic]:
    """The inverse of in_lanes."""
    return array[:, np.argsort(list(of))].reshape(-1, *array.shape[2:])[:channels]
