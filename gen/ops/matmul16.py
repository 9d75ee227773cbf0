"""y = left right of int16, where a model file holds its activations in 16 bits: sums of up to 48 bits.

The arithmetic is that of TensorFlow Lite's reference kernels (LiteRT 2.3.0). A `matmul` layer writes this
step where its inputs are int16. No teaching signal passes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from .. import numeric
from . import Accumulator, Arrays, Attrs, Bounds, Case, Format, Known
from . import _requantise as requantise
from ._contract import BETWEEN, Range, Tensors, crossed, takes, within
from ._long_sums import LONG, NARROW, TOPS
from ._loops import Cells, Loop, Number
from ._shifts import requantising
from .matmul import GEOMETRY, SIZES, MatMulStep, lines


def _forward(
    left: Cells, right: Cells, y: Cells, sizes: Number, multiplier: Number, shift: Number, lo: int, hi: int
) -> None:
    batch, rows, inner, columns, left_turned, right_turned = sizes
    for b in range(batch):
        first = lines(left, b * rows * inner, rows, inner, left_turned, 0)
        second = lines(right, b * columns * inner, columns, inner, 1 - right_turned, 0)
        for i in range(rows):
            for j in range(columns):
                total = np.int64(0)
                for k in range(inner):
                    total += np.int64(first[i, k]) * np.int64(second[j, k])
                acc: Any = total
                v = numeric.scale_half_up(acc, multiplier, shift)
                y[(b * rows + i) * columns + j] = numeric.saturate(v, lo, hi)


class Forward(MatMulStep):
    """y = acc * multiplier / 2^shift, halves up; the multiplier has 15 bits."""

    name = "matmul16.forward"
    loop = Loop(_forward, {"sizes": SIZES["sizes"]})
    writes = ("y",)
    operands = takes(left="int16 [left]", right="int16 [right]", y="int16 [n]")
    attributes: ClassVar[Mapping[str, Range]] = within(
        BETWEEN, GEOMETRY, multiplier=(0, TOPS[NARROW][0]), shift=(1, TOPS[NARROW][1])
    )
    spare: ClassVar[tuple[str, ...]] = ()

    def misfit(self, t: Tensors, a: Attrs) -> str:
        return crossed(a)

    def integer(self, t: Arrays, a: Attrs) -> None:
        acc = numeric.matmul(*self._sides(t, a), dtype=np.int64)
        y = numeric.scale_half_up(acc, a["multiplier"], a["shift"])
        t["y"][...] = numeric.saturate(y, a["lo"], a["hi"]).reshape(t["y"].shape)

    def real(self, t: Arrays, a: Attrs) -> None:
        left, right = self._sides(t, a)
        y = np.matmul(left, right) * left.dtype.type(a["scale"])
        t["y"][...] = requantise.held(y, a).reshape(t["y"].shape)

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        left, right = (np.float32(f[role].meaning.step) for role in ("left", "right"))
        m, n = numeric.narrow_multiplier(float(left * right) / f["y"].meaning.step * a["scale"])
        requantising([n - 1], where, requantise.SCALES, TOPS[NARROW][1] - 1)
        return self._own(a) | {"multiplier": m, "shift": n, "lo": f["y"].lo, "hi": f["y"].hi}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        top = a["inner"] * k["left"].mag * k["right"].mag
        end = (top * a["multiplier"] >> a["shift"]) + 1
        sums = [Accumulator("sum", -top, top, LONG[NARROW]), Accumulator("scaled sum", -end, end)]
        return sums, {"y": (a["lo"], a["hi"], k["y"].shape[0] * max(-a["lo"], a["hi"]))}

    def case(self, rng: np.random.Generator) -> Case:
        a, sizes = self._drawn(rng)
        arrays: dict[str, Any] = {
            side: rng.integers(-(2**15), 2**15, sizes[side]).astype(np.int16) for side in ("left", "right")
        }
        arrays["y"] = np.zeros(sizes["n"], np.int16)
        factor = 2.0 ** rng.uniform(-18, -12) / np.sqrt(a["inner"])
        m, n = numeric.narrow_multiplier(float(factor))
        return Case(arrays, a | {"multiplier": m, "shift": n, "lo": -(2**15), "hi": 2**15 - 1}, {})
