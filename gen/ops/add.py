"""y = left + right, element by element: residual connections. Both inputs hear the whole teaching signal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .. import numeric
from ..errors import CompileError
from ..ir.graph import Node
from ..ir.tape import Tape
from . import Accumulator, Arrays, Attrs, Bounds, Case, Format, Kernel, Known, Layer
from ._contract import REQUANTISED, takes, within
from ._shifts import requantising

MAX_ALIGN = 22  # at which the sum of two int8 and the rounding half still fit 32 bits


class Add(Layer):
    op = "add"

    def shape(self, node: Node, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
        if len(shapes) != 2 or shapes[0] != shapes[1]:
            raise CompileError(
                node.name,
                f"inputs of shapes {list(shapes)}",
                "two tensors of one shape can be added; nothing is broadcast",
            )
        return shapes[0]

    def forward(self, tape: Tape, node: Node) -> None:
        left, right = (tape.value(name) for name in node.inputs)
        tape.step("add.forward", node, {"left": left, "right": right, "y": tape.activation(node)})

    def feedback(self, tape: Tape, node: Node, teach: str, matrix: str | None) -> dict[str, str]:
        left, right = node.inputs
        if left == right:
            return {left: tape.sum(left, teach, teach)}
        return {left: teach, right: teach}

    def sample(
        self, rng: np.random.Generator, shapes: Sequence[tuple[int, ...]]
    ) -> tuple[Node, dict[str, np.ndarray]] | None:
        if len(shapes) == 1:
            return Node("add", "", ("in0", "in0"), "out"), {}
        return (Node("add", "", ("in0", "in1"), "out"), {}) if shapes[0] == shapes[1] else None


class Forward(Kernel):
    """y = (left * 2^left_shift + right * 2^right_shift) / 2^shift: both at the finer one's frac."""

    name = "add.forward"
    reads = ("left", "right")
    writes = ("y",)
    operands = takes(left="int8|int16 [n]", right="int8|int16 [n]", y="int8|int16 [n]")
    attributes = within(REQUANTISED, left_shift=(0, MAX_ALIGN), right_shift=(0, MAX_ALIGN))

    def integer(self, t: Arrays, a: Attrs) -> None:
        left = t["left"].astype(np.int32) << np.int32(a["left_shift"])
        right = t["right"].astype(np.int32) << np.int32(a["right_shift"])
        t["y"][...] = numeric.saturate(numeric.shift_round(left + right, a["shift"]), a["lo"], a["hi"])

    def real(self, t: Arrays, a: Attrs) -> None:
        t["y"][...] = t["left"] + t["right"]

    def cap(self, f: Mapping[str, Format], a: Attrs) -> dict[str, int]:
        return {"y": max(f["left"].frac, f["right"].frac)}

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        finer = max(f["left"].frac, f["right"].frac)
        align = {f"{role}_shift": finer - f[role].frac for role in ("left", "right")}
        shift, hint = finer - f["y"].frac, "rescale one of the two inputs"
        if max(align.values()) > MAX_ALIGN:
            raise CompileError(
                where,
                f"its inputs have fracs {f['left'].frac} and {f['right'].frac}, its output {f['y'].frac}: "
                "too far apart to be added",
                hint,
            )
        requantising(shift, where, hint)
        return align | {"shift": shift, "lo": f["y"].lo, "hi": f["y"].hi}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        lo = (k["left"].lo << a["left_shift"]) + (k["right"].lo << a["right_shift"])
        hi = (k["left"].hi << a["left_shift"]) + (k["right"].hi << a["right_shift"])
        n = int(np.prod(k["y"].shape))
        return [Accumulator("sum", lo, hi + ((1 << a["shift"]) >> 1))], {
            "y": (a["lo"], a["hi"], n * max(-a["lo"], a["hi"]))
        }

    def case(self, rng: np.random.Generator) -> Case:
        n = int(rng.integers(1, 50))
        left, right = (rng.integers(-128, 128, n).astype(np.int8) for _ in range(2))
        align = int(rng.integers(0, MAX_ALIGN + 1))
        first = bool(rng.integers(2))
        dtype = np.int16 if rng.integers(2) else np.int8
        info = np.iinfo(dtype)
        attrs = {
            "left_shift": align if first else 0,
            "right_shift": 0 if first else align,
            "shift": int(rng.integers(0, align + 4)),
            "lo": int(info.min),
            "hi": int(info.max),
        }
        return Case({"left": left, "right": right, "y": np.zeros(n, dtype)}, attrs, {})
