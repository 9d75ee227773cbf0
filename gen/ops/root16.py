"""The square root of int16 values of a .tflite file, in LiteRT's own float32 steps, as integers have them.

LiteRT 2.3.0 takes it of each number, without a table. A `table` layer writes this step where its input is
int16: gen/ops/pointwise16.py. No teaching signal passes. Numbers below 0 LiteRT refuses when they come; here
they have the root 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from .. import numeric
from ..errors import CompileError
from . import Accumulator, Arrays, Attrs, Bounds, Case, Cost, Format, Kernel, Known
from ._contract import BETWEEN, INT16, Range, Tensors, crossed, takes, within
from ._loops import Cells, Loop
from ._requantise import SCALES, scale

BITS = 17  # zero bits above the highest of 15
EVEN = 41  # of the exponents of a root: 2 (12 + 24) for its and the quotient's bits, 5 for those of x
LIFT: Range = (-BITS, 31)  # so that a shift is 0 to 31


def _forward(x: Cells, y: Cells, x_part: Any, y_part: Any, lift: int, lo: int, hi: int) -> None:
    for i in range(len(y)):
        v: Any = numeric.int32(0)
        if x[i] > 0:
            d = numeric.int32(x[i])
            lead: Any = numeric.leading_zeros(d)
            shift = numeric.int32(numeric.int32(lift) + lead)
            real = numeric.significand_product(
                numeric.uint32(x_part), numeric.uint32(numeric.int64(d) << (lead - BITS))
            )
            root = numeric.significand_root(numeric.uint32(numeric.int64(real) << (shift & 1)))
            whole = numeric.int64(numeric.significand_quotient(root, numeric.uint32(y_part)))
            v = numeric.int32(whole >> ((shift + 1) >> 1))
        y[i] = numeric.saturate(v, lo, hi)


class Forward(Kernel):
    """y = the whole part of sqrt(x scale_x) / scale_y, where product, root and quotient are of float32;
    0 where x < 0.

    x_part, y_part: the significands of both scales; lift: 41 + 2 e_y - e_x of their exponents
    """

    name = "root16.forward"
    loop = Loop(_forward)
    reads = ("x",)
    writes = ("y",)
    inplace = ("x", "y")
    operands = takes(x="int16 [n]", y="int16 [n]")
    attributes: ClassVar[Mapping[str, Range]] = within(
        BETWEEN, x_part=numeric.SIGNIFICAND, y_part=numeric.SIGNIFICAND, lift=LIFT
    )

    def misfit(self, t: Tensors, a: Attrs) -> str:
        return crossed(a)

    def integer(self, t: Arrays, a: Attrs) -> None:
        d = np.maximum(t["x"], 1).astype(np.int32)
        lead = numeric.leading_zeros(d)
        shift = np.int32(a["lift"]) + lead
        up = (d << (lead - np.int32(BITS))).astype(np.uint32)
        real = numeric.significand_product(numeric.uint32(a["x_part"]), up)
        root = numeric.significand_root(real << (shift & 1).astype(np.uint32))
        whole = numeric.significand_quotient(root, numeric.uint32(a["y_part"])).astype(np.int64)
        y = np.where(t["x"] > 0, whole >> ((shift + 1) >> 1), 0)
        t["y"][...] = numeric.saturate(y.astype(np.int32), a["lo"], a["hi"])

    def real(self, t: Arrays, a: Attrs) -> None:
        t["y"][...] = np.sqrt(np.maximum(t["x"], 0))

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        x, x_exponent = numeric.significand(scale(f["x"], where))
        y, y_exponent = numeric.significand(scale(f["y"], where))
        lift = EVEN + 2 * y_exponent - x_exponent
        if not LIFT[0] <= lift <= LIFT[1]:
            what = f"its output's scale {scale(f['y'], where):.3g} is too {'large' if lift > 0 else 'small'}"
            raise CompileError(where, f"{what} beside its input's {scale(f['x'], where):.3g}", SCALES)
        return {"x_part": x, "y_part": y, "lift": lift, "lo": f["y"].lo, "hi": f["y"].hi}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        written = {"y": (a["lo"], a["hi"], k["y"].shape[0] * max(-a["lo"], a["hi"]))}
        return [Accumulator("quotient of significands", 0, 1 << 26)], written

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        return Cost(macs=100 * shapes["x"][0])

    def case(self, rng: np.random.Generator) -> Case:
        x = rng.integers(*INT16, int(rng.integers(1, 50)), endpoint=True).astype(np.int16)
        x >>= rng.integers(0, 15, x.shape).astype(np.int16)
        parts = [int(rng.integers(*numeric.SIGNIFICAND, endpoint=True)) for _ in range(2)]
        limits = {"lo": 0, "hi": 2**14} if not rng.integers(4) else {"lo": INT16[0], "hi": INT16[1]}
        lift = int(rng.integers(*LIFT, endpoint=True))
        attrs = {"x_part": parts[0], "y_part": parts[1], "lift": lift, **limits}
        return Case({"x": x, "y": np.zeros_like(x)}, attrs, {})
