"""y = left / right of int16 values of a .tflite file: gen/ops/div.py, whose layer writes this step, without a
table of reciprocals, which would have 2^15 entries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..errors import CompileError
from . import Accumulator, Arrays, Attrs, Bounds, Case, Cost, Format, Kernel, Known
from . import _broadcast as broadcast
from . import _requantise as requantise
from ._contract import BETWEEN, INT16, Tensors, crossed, takes, within
from ._element_loops import stretched, walk
from ._loops import Cells, Loop
from .div import FAR, SIDES, WORD

SPARE = 15  # bits that repeat the sign of a number of int16, or of its opposite, in 32: at least
LEAST = 16  # of a shift: that of a divisor of 1, by which LiteRT shifts back, is not negative then


def _forward(
    left: Cells, right: Cells, y: Cells, left_starts: Cells, left_inner: Cells, right_starts: Cells,
    right_inner: Cells, multiplier: int, shift: int, lo: int, hi: int,
) -> None:  # fmt: skip
    a, b = stretched(left, left_starts, left_inner), stretched(right, right_starts, right_inner)
    for i in range(len(a)):
        x: Any = numeric.int32(a[i])
        d: Any = numeric.int32(b[i])
        if d < 0:
            x, d = numeric.int32(-x), numeric.int32(-d)
        d = max(d, numeric.int32(1))
        lead: Any = numeric.leading_zeros(d)
        inverse: Any = numeric.reciprocal_q0(numeric.int32((np.int64(d) << lead) - 2**31))
        low: Any = ~x if x < 0 else x
        spare: Any = numeric.leading_zeros(low) - numeric.int32(1) if low > 0 else numeric.int32(WORD)
        part: Any = numeric.high_product(numeric.int32(x << spare), inverse)
        v: Any = numeric.high_product(part, numeric.int32(multiplier))
        by: Any = numeric.int32(shift + spare - lead)
        far = numeric.int32((v >> (by & WORD)) + (v >= 0))  # as x86 has it
        v = far if by > WORD else numeric.shift_away(v, by)
        y[i] = numeric.saturate(numeric.int32(numeric.saturate(v, -FAR, FAR)), lo, hi)


class Forward(Kernel):
    """y = left / right * multiplier / 2^shift by the reciprocal: the quotient has 31 bits, whose rest
    is rounded once. A divisor of 0, which LiteRT refuses, counts as one."""

    name = "div16.forward"
    loop = Loop(_forward, tables=walk)
    reads = SIDES
    writes = ("y",)
    inplace = ("left", "right", "y")
    operands = takes(left="int16 [left]", right="int16 [right]", y="int16 [n]")
    attributes = within(BETWEEN, broadcast.WALK, multiplier=(0, requantise.MULTIPLIER_TOP), shift=(LEAST, 62))
    spare = tuple(broadcast.WALK)

    def misfit(self, t: Tensors, a: Attrs) -> str:
        return crossed(a) or broadcast.misfit(t, a)

    def integer(self, t: Arrays, a: Attrs) -> None:
        x, d = (v.astype(np.int32) for v in broadcast.sides(t, a))
        x, d = np.where(d < 0, -x, x), np.maximum(np.abs(d), 1)
        lead = numeric.leading_zeros(d)
        inverse = numeric.reciprocal_q0(((d.astype(np.int64) << lead) - 2**31).astype(np.int32))
        low = np.where(x < 0, ~x, x)
        spare = np.where(low == 0, WORD, numeric.leading_zeros(np.maximum(low, 1)) - 1).astype(np.int32)
        v = numeric.high_product(numeric.high_product(x << spare, inverse), a["multiplier"])
        by = np.int32(a["shift"]) + spare - lead
        far = (v >> (by & np.int32(WORD))) + np.where(v < 0, 0, 1)
        near = numeric.shift_away(v, np.minimum(by, WORD))
        v = numeric.saturate(np.where(by > WORD, far, near).astype(np.int32), -FAR, FAR)
        t["y"][...] = numeric.saturate(v, a["lo"], a["hi"])

    def real(self, t: Arrays, a: Attrs) -> None:
        left, right = broadcast.sides(t, a)
        least = float(np.finfo(np.float32).tiny)
        t["y"][...] = left / np.where(np.abs(right) < least, least, right)

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        left, right, y = (np.float32(requantise.scale(f[role], where)) for role in (*SIDES, "y"))
        found = float(left / (right * y))
        factor = requantise.factor(found, "", where)
        if factor["shift"] < LEAST:
            what = f"needs the factor {found:.3g}, 2^{WORD - LEAST} is the most"
            raise CompileError(where, what, requantise.SCALES)
        return {k: int(v) for k, v in a.items()} | factor | {"lo": f["y"].lo, "hi": f["y"].hi}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        written = {"y": (a["lo"], a["hi"], k["y"].shape[0] * max(-a["lo"], a["hi"]))}
        return [Accumulator("quotient", 1 - 2**31, 2**31 - 1)], written

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        return Cost(macs=12 * shapes["y"][0])

    def case(self, rng: np.random.Generator) -> Case:
        shapes = broadcast.random_shapes(rng)
        left, right = (rng.integers(*INT16, int(np.prod(s)), endpoint=True) for s in shapes)
        right >>= rng.integers(0, 16, right.shape)
        left[0], right[0] = rng.choice([[-(2**15), -1], [0, 0], [-(2**15), -(2**15)], [left[0], right[0]]])
        y: NDArray[Any] = np.zeros(int(np.prod(np.broadcast_shapes(*shapes))), np.int16)
        n = int(rng.integers(LEAST, 63))
        own = {"multiplier": int(rng.integers(2**30, 2**31)), "shift": n, "lo": INT16[0], "hi": INT16[1]}
        arrays = {"left": left.astype(np.int16), "right": right.astype(np.int16), "y": y}
        return Case(arrays, broadcast.loops(*shapes, "") | own, {})
