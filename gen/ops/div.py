"""y = left / right, element by element, of a .tflite file's int8, as LiteRT's reference kernels divide.

A divisor of 0, which LiteRT leaves undefined, counts as one unit. Networks in float write the product with a
reciprocal, which learn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..errors import CompileError
from ..ir.graph import Node
from ..ir.program import Value
from ..ir.tape import Tape
from ..numeric import gemmlowp
from . import Accumulator, Arrays, Attrs, Bounds, Case, Cost, Format, Kernel, Known, Layer
from . import _broadcast as broadcast
from . import _requantise as requantise
from ._contract import BETWEEN, INT8, Tensors, crossed, takes, within
from ._element_loops import stretched, walk
from ._loops import Cells, Loop

DIVISORS = 256  # magnitudes of an int8 less its zero point
WORD = 31  # bits of a number beside its sign
SPARE = 23  # of them that repeat the sign in a difference of two int8, at least
FAR = 2**16  # beyond what int8 holds, and far from the ends of 32 bits
SIDES = ("left", "right")


class Div(Layer):
    op = "div"
    holds = True

    def shape(self, node: Node, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
        return broadcast.common(node, shapes)

    def forward(self, tape: Tape, node: Node) -> None:
        left, right = (tape.value(name) for name in node.inputs)
        walk = broadcast.loops(tape.shape(node.inputs[0]), tape.shape(node.inputs[1]), node.name)
        if (held := tape.given(node.output)) is not None and held.dtype == "int16":
            args = {"left": left, "right": right, "y": tape.activation(node)}
            tape.step("div16.forward", node, args, **walk)
            return
        note = "1 / (1 + a) with 31 bits behind the point, of 0 .. 255 as (1 + a) 2^n"
        table = tape.add(Value(f"{node.name}_table", (DIVISORS,), "const", "table", note=note))
        args = {"left": left, "right": right, "table": table, "y": tape.activation(node)}
        tape.step("div.forward", node, args, **walk)

    def feedback(self, tape: Tape, node: Node, teach: str, matrix: str | None) -> dict[str, str]:
        hint = "let only layers behind it learn"
        raise CompileError(node.name, "no teaching signal passes a quotient in a file's integers", hint)

    def sample(
        self, rng: np.random.Generator, shapes: Sequence[tuple[int, ...]]
    ) -> tuple[Node, dict[str, NDArray[Any]]] | None:
        return None  # it has numbers of a file alone


def reciprocals() -> NDArray[np.int32]:
    """[256], those of 1 and of 1 .. 255."""
    return gemmlowp.reciprocal(np.maximum(np.arange(DIVISORS), 1).astype(np.int32))[0]


def divided(
    x: NDArray[np.int32], d: NDArray[np.int32], table: NDArray[np.int32], m: int, n: int
) -> NDArray[np.int32]:
    """x / d * m / 2^n of differences of int8; table: `reciprocals`, [256] or [D, 256] beside x and d [D, n].

    Beyond a shift of 31 LiteRT's C leaves what comes out to the processor: this is x86's.
    """
    x, d = np.where(d < 0, -x, x), np.maximum(np.abs(d), 1)
    low = np.where(x < 0, ~x, x)
    spare = np.where(low == 0, WORD, numeric.leading_zeros(np.maximum(low, 1)) - 1).astype(np.int32)
    rows = np.broadcast_to(table, (*d.shape[:-1], DIVISORS))
    inverse = np.take_along_axis(rows, d.astype(np.intp), axis=-1)
    v = numeric.high_product(numeric.high_product(x << spare, inverse), m)
    shift = np.int32(n) + spare - numeric.leading_zeros(d).astype(np.int32)
    far = (v >> (shift & np.int32(WORD))) + np.where(v < 0, 0, 1)
    near = numeric.shift_away(v, np.minimum(shift, WORD))
    return np.where(shift > WORD, far, near).astype(np.int32)


def _forward(
    left: Cells, right: Cells, table: Cells, y: Cells, left_starts: Cells, left_inner: Cells,
    right_starts: Cells, right_inner: Cells, left_zero: int, right_zero: int, y_zero: int, multiplier: int,
    shift: int, lo: int, hi: int,
) -> None:  # fmt: skip
    a, b = stretched(left, left_starts, left_inner), stretched(right, right_starts, right_inner)
    for i in range(len(a)):
        x: Any = numeric.int32(a[i] - numeric.int32(left_zero))
        d: Any = numeric.int32(b[i] - numeric.int32(right_zero))
        if d < 0:
            x, d = numeric.int32(-x), numeric.int32(-d)
        d = max(d, numeric.int32(1))
        low: Any = ~x if x < 0 else x
        spare: Any = numeric.leading_zeros(low) - numeric.int32(1) if low > 0 else numeric.int32(WORD)
        inverse: Any = numeric.high_product(numeric.int32(x << spare), table[d])
        v: Any = numeric.high_product(inverse, numeric.int32(multiplier))
        by: Any = numeric.int32(shift + spare - numeric.leading_zeros(d))
        far = numeric.int32((v >> (by & WORD)) + (v >= 0))  # as x86 has it
        v = far if by > WORD else numeric.shift_away(v, by)
        v = numeric.int32(numeric.saturate(v, -FAR, FAR) + numeric.int32(y_zero))
        y[i] = numeric.saturate(v, lo, hi)


class Forward(Kernel):
    """y = (left - left_zero) / (right - right_zero) * multiplier / 2^shift + y_zero, by a table of
    reciprocals: the quotient has 31 bits, whose rest is rounded once."""

    name = "div.forward"
    loop = Loop(_forward, tables=walk)
    reads = (*SIDES, "table")
    writes = ("y",)
    inplace = ("left", "right", "y")
    operands = takes(left="int8 [left]", right="int8 [right]", table=f"int32 [{DIVISORS}]", y="int8 [n]")
    attributes = within(
        BETWEEN,
        broadcast.WALK,
        multiplier=(0, requantise.MULTIPLIER_TOP),
        shift=(WORD - SPARE, 62),
        left_zero=INT8,
        right_zero=INT8,
        y_zero=INT8,
    )
    spare = tuple(broadcast.WALK)

    def misfit(self, t: Tensors, a: Attrs) -> str:
        table = t["table"]
        whole = table.data is not None and np.array_equal(table.array(), reciprocals())
        return crossed(a) or broadcast.misfit(t, a) or ("" if whole else "its table has no reciprocals")

    def integer(self, t: Arrays, a: Attrs) -> None:
        left, right = (
            v.astype(np.int32) - np.int32(a[f"{side}_zero"])
            for v, side in zip(broadcast.sides(t, a), SIDES, strict=True)
        )
        v = numeric.saturate(divided(left, right, t["table"], a["multiplier"], a["shift"]), -FAR, FAR)
        t["y"][...] = numeric.saturate(v + np.int32(a["y_zero"]), a["lo"], a["hi"])

    def real(self, t: Arrays, a: Attrs) -> None:
        left, right = broadcast.sides(t, a)
        least = float(np.finfo(np.float32).tiny)
        t["y"][...] = left / np.where(np.abs(right) < least, least, right)

    def derived(
        self, role: str, f: Mapping[str, Format], a: Attrs, where: str
    ) -> tuple[Format, NDArray[np.int64]]:
        return Format("int32", 0, 0, gemmlowp.TOP), reciprocals().astype(np.int64)

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        left, right, y = (np.float32(requantise.scale(f[role], where)) for role in (*SIDES, "y"))
        found = float(left / (right * y))
        factor = requantise.factor(found, "", where)
        if factor["shift"] < WORD - SPARE:
            what = f"needs the factor {found:.3g}, 2^{SPARE} is the most"
            raise CompileError(where, what, requantise.SCALES)
        zeros = {f"{side}_zero": requantise.zero(f[side]) for side in SIDES}
        return {k: int(v) for k, v in a.items()} | factor | zeros | requantise.ends(f["y"])

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        written = {"y": (a["lo"], a["hi"], k["y"].shape[0] * max(-a["lo"], a["hi"]))}
        most = 2**31 - 2**SPARE + 1  # of a positive one: x is 255 * 2^SPARE at most
        return [Accumulator("quotient", 1 - 2**31, most), Accumulator("sum", -FAR - 128, FAR + 127)], written

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        return Cost(macs=3 * shapes["y"][0], reads=4 * DIVISORS)

    def case(self, rng: np.random.Generator) -> Case:
        shapes = broadcast.random_shapes(rng)
        left, right = (rng.integers(-128, 128, int(np.prod(s))).astype(np.int8) for s in shapes)
        n = int(np.prod(np.broadcast_shapes(*shapes)))
        formats = dict(zip((*SIDES, "y"), requantise.random_formats(rng, 3), strict=True))
        y, table = np.zeros(n, np.int8), reciprocals()
        arrays: dict[str, NDArray[Any]] = {"left": left, "right": right, "table": table, "y": y}
        lowered = self.lower(formats, broadcast.loops(*shapes, ""), "")
        return Case(arrays, lowered, {"table": (0, gemmlowp.TOP)})
