"""y = x / sqrt(sum x^2), row by row, of an int8 .tflite file: L2_NORMALIZATION as LiteRT's reference kernels
have it. Networks in float have it as a measure of gen/ops/normalise.py, which learns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..errors import CompileError
from ..ir.format import Scaled
from ..ir.graph import Node
from ..ir.tape import Tape
from ..numeric import gemmlowp
from . import Accumulator, Arrays, Attrs, Bounds, Case, Cost, Format, Kernel, Known, Layer
from ._contract import BETWEEN, INT8, Tensors, crossed, takes, within
from ._loops import Cells, Loop
from ._requantise import SCALES, ends, random_formats, zero

OUTPUT = Scaled((2.0**-7,))
LONGEST = 2**13  # values of a row: the sum of their squares is below 2^29
ROUNDS = 5  # of Newton and Raphson


class UnitLength(Layer):
    op = "unit_length"
    holds = True

    def shape(self, node: Node, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
        if not 0 < shapes[0][-1] <= LONGEST:
            what = f"normalises {shapes[0][-1]} values together, the most is {LONGEST}"
            raise CompileError(node.name, what, "normalise shorter rows")
        return shapes[0]

    def forward(self, tape: Tape, node: Node) -> None:
        args = {"x": tape.value(node.inputs[0]), "y": tape.activation(node)}
        tape.step("unit_length.forward", node, args, size=tape.shape(node.inputs[0])[-1])

    def feedback(self, tape: Tape, node: Node, teach: str, matrix: str | None) -> dict[str, str]:
        hint = "let only layers behind it learn"
        raise CompileError(node.name, "no teaching signal passes a norm in a file's integers", hint)

    def sample(
        self, rng: np.random.Generator, shapes: Sequence[tuple[int, ...]]
    ) -> tuple[Node, dict[str, NDArray[Any]]] | None:
        return None  # it has numbers of a file alone


def inverse_roots(total: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """(m, n) with 1 / sqrt(total) = m / 2^n of 0 <= total < 2^29, 0 as 1: gemmlowp.inverse_root of each."""
    value = np.maximum(total, 2).astype(np.int32)
    pairs = (numeric.leading_zeros(value).astype(np.int32) - np.int32(1)) // np.int32(2) - np.int32(1)
    half = numeric.shift_away((value << (np.int32(2) * pairs)) >> np.int32(1), 1)
    x: numeric.Int = np.full(value.shape, 1 << 28, np.int32)
    for _ in range(ROUNDS):
        cube = np.int32(64) * numeric.high_product(numeric.high_product(x, x), x)
        three = numeric.high_product(np.full_like(x, 3 << 27), x)
        x = np.int32(8) * (three - numeric.high_product(half, cube))
    m = numeric.high_product(x, np.full_like(x, gemmlowp.ROOT_HALF))
    m = m << np.maximum(pairs - np.int32(11), 0)
    n = np.int32(31) + np.maximum(np.int32(11) - pairs, 0)
    small = total <= 1
    return np.where(small, np.int32(gemmlowp.TOP), m), np.where(small, np.int32(31), n)


def _forward(x: Cells, y: Cells, size: int, x_zero: int, lo: int, hi: int) -> None:
    zero = numeric.int32(x_zero)
    for first in range(0, len(x), size):
        total: Any = numeric.int32(0)
        for i in range(first, first + size):
            v: Any = numeric.int32(numeric.int32(x[i]) - zero)
            total = numeric.int32(total + v * v)
        m: Any = numeric.int32(gemmlowp.TOP)
        n: Any = numeric.int32(31)
        if total > 1:
            pairs: Any = numeric.int32((numeric.leading_zeros(total) - 1) // 2 - 1)
            half: Any = numeric.shift_away(numeric.int32(numeric.int32(total << (2 * pairs)) >> 1), 1)
            root: Any = numeric.int32(1 << 28)
            for _ in range(ROUNDS):
                cube = numeric.int32(64 * numeric.high_product(numeric.high_product(root, root), root))
                three = numeric.high_product(numeric.int32(3 << 27), root)
                root = numeric.int32(8 * (three - numeric.high_product(half, cube)))
            m = numeric.int32(numeric.high_product(root, gemmlowp.ROOT_HALF) << max(pairs - 11, 0))
            n = numeric.int32(31 + max(11 - pairs, 0))
        for i in range(first, first + size):
            v = numeric.int32(numeric.int32(x[i]) - zero)
            y[i] = numeric.saturate(numeric.scale_twice(v, m, n - 7), lo, hi)


class Forward(Kernel):
    """y = (x - x_zero) * 2^7 / sqrt(sum (x - x_zero)^2), in rows of `size` values."""

    name = "unit_length.forward"
    loop = Loop(_forward)
    reads = ("x",)
    writes = ("y",)
    inplace = ("x", "y")
    operands = takes(x="int8 [n]", y="int8 [n]")
    attributes = within(BETWEEN, size=(1, LONGEST), x_zero=INT8)

    def misfit(self, t: Tensors, a: Attrs) -> str:
        n, size = t["x"].shape[0], a["size"]
        return crossed(a) or (f"rows of {size} do not divide {n} values" if n % size else "")

    def integer(self, t: Arrays, a: Attrs) -> None:
        x = t["x"].reshape(len(t["x"]), -1, a["size"]).astype(np.int32) - np.int32(a["x_zero"])
        m, n = inverse_roots((x * x).sum(axis=2, keepdims=True, dtype=np.int32))
        y = numeric.scale_twice(x, np.broadcast_to(m, x.shape), np.broadcast_to(n - np.int32(7), x.shape))
        t["y"][...] = numeric.saturate(y, a["lo"], a["hi"]).reshape(t["y"].shape)

    def real(self, t: Arrays, a: Attrs) -> None:
        x = t["x"].reshape(len(t["x"]), -1, a["size"])
        length = np.sqrt((x * x).sum(axis=2, keepdims=True))
        t["y"][...] = (x / np.maximum(length, np.finfo(np.float32).tiny)).reshape(t["y"].shape)

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        if f["y"].meaning != OUTPUT:
            what = f"its output has {f['y'].meaning}, LiteRT demands {OUTPUT}"
            raise CompileError(where, what, SCALES)
        held = {key: value for key, value in ends(f["y"]).items() if key != "y_zero"}
        return {"size": int(a["size"]), "x_zero": zero(f["x"]), **held}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        top = max(abs(k["x"].lo - a["x_zero"]), abs(k["x"].hi - a["x_zero"]))
        sums = [Accumulator("sum of squares", 0, a["size"] * top * top, 30)]
        return sums, {"y": (a["lo"], a["hi"], k["y"].shape[0] * max(-a["lo"], a["hi"]))}

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        return Cost(macs=2 * shapes["x"][0])

    def case(self, rng: np.random.Generator) -> Case:
        size, rows = int(rng.choice([1, 2, 5, 40])), int(rng.integers(1, 4))
        spread = int(rng.choice([1, 4, 128]))
        x = rng.integers(-spread, spread, size * rows).astype(np.int8)
        formats = {"x": random_formats(rng, 1)[0], "y": Format("int8", OUTPUT, -128, 127)}
        return Case({"x": x, "y": np.zeros_like(x)}, self.lower(formats, {"size": size}, ""), {})
