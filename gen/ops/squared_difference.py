"""y = (left - right)^2, element by element, of an int8 .tflite file: LayerNormalization takes its mean.

Networks in float write it as a difference and its product with itself, which learn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..errors import CompileError
from ..ir.graph import Node
from ..ir.plan import PlanTensor
from ..ir.tape import Tape
from . import Accumulator, Arrays, Attrs, Bounds, Case, Cost, Format, Kernel, Known, Layer, Variant
from . import _broadcast as broadcast
from . import _requantise as requantise
from ._contract import INT8, Tensors, takes, within
from ._element_loops import FACTORS, aligned, stretched, walk
from ._loops import Cells, Loop, Number, end_row

UP = 7  # bits that LiteRT puts behind the point of both sides
SIDES = ("left", "right")
OWN = ("rounds", "left_zero", "right_zero", "y_zero", "left_multiplier", "right_multiplier", "multiplier")


class SquaredDifference(Layer):
    op = "squared_difference"
    holds = True

    def shape(self, node: Node, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
        return broadcast.common(node, shapes)

    def forward(self, tape: Tape, node: Node) -> None:
        left, right = (tape.value(name) for name in node.inputs)
        shapes = [tape.shape(name) for name in node.inputs]
        args = {"left": left, "right": right}
        broadcast.forward(tape, node, "squared_difference.forward", args, shapes)

    def feedback(self, tape: Tape, node: Node, teach: str, matrix: str | None) -> dict[str, str]:
        hint = "let only layers behind it learn"
        raise CompileError(
            node.name, "no teaching signal passes a squared difference in a file's integers", hint
        )

    def sample(
        self, rng: np.random.Generator, shapes: Sequence[tuple[int, ...]]
    ) -> tuple[Node, dict[str, NDArray[Any]]] | None:
        return None  # it has numbers of a file alone


def _forward(
    left: Cells, right: Cells, y: Cells, left_starts: Cells, left_inner: Cells, right_starts: Cells,
    right_inner: Cells, left_factor: Number, right_factor: Number, rounds: int, multiplier: int, shift: int,
    y_zero: int, lo: int, hi: int,
) -> None:  # fmt: skip
    a, b = stretched(left, left_starts, left_inner), stretched(right, right_starts, right_inner)
    aligned(a, left_factor, UP, rounds)
    aligned(b, right_factor, UP, rounds)
    for i in range(len(a)):
        less = np.int32(a[i] - b[i])
        a[i] = np.int32(less * less)
    end_row(y, a, a[:0], a[:0], shift, multiplier, lo, hi, rounds, y_zero)


class Forward(Kernel):
    """y = e^2 * t^2 / (2^(2 UP) * scale of y), e = left * 2^UP * scale of left / t - right alike, t twice the
    larger scale; each side less its zero point, as LiteRT has it."""

    name = "squared_difference.forward"
    loop = Loop(_forward, FACTORS, walk)
    reads = SIDES
    writes = ("y",)
    inplace = ("left", "right", "y")
    operands = takes(left="int8 [left]", right="int8 [right]", y="int8 [n]")
    attributes = within(
        requantise.ATTRIBUTES,
        broadcast.WALK,
        left_shift=(1, 62),
        right_shift=(1, 62),
        left_zero=INT8,
        right_zero=INT8,
        left_multiplier=(0, requantise.MULTIPLIER_TOP),
        right_multiplier=(0, requantise.MULTIPLIER_TOP),
    )
    spare = ("x_zero", *broadcast.WALK)

    def misfit(self, t: Tensors, a: Attrs) -> str:
        return requantise.form_misfit(a, OWN, 0) or broadcast.misfit(t, a)

    def integer(self, t: Arrays, a: Attrs) -> None:
        left, right = (
            _scaled(v.astype(np.int32), side, a) for v, side in zip(broadcast.sides(t, a), SIDES, strict=True)
        )
        less = left - right
        t["y"][...] = requantise.finish(less * less, a["multiplier"], a["shift"], a)

    def real(self, t: Arrays, a: Attrs) -> None:
        left, right = broadcast.sides(t, a)
        t["y"][...] = requantise.held((left - right) ** 2, a)

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        own = {k: int(v) for k, v in a.items() if k not in ("least", "most")}
        scales = {role: requantise.scale(fmt, where) for role, fmt in f.items()}
        twice = 2.0 * max(scales["left"], scales["right"])
        out = own | requantise.factor(twice * twice / (2.0 ** (2 * UP) * scales["y"]), "", where)
        for side in SIDES:
            out |= requantise.factor(scales[side] / twice, f"{side}_", where)
            out[f"{side}_zero"] = requantise.zero(f[side])
        return out | requantise.ends(f["y"])

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        top, proofs = 0, []
        for side in SIDES:
            most = requantise.reach(k[side].lo, k[side].hi, a[f"{side}_zero"]) << UP
            proofs.append(Accumulator(f"{side} with {UP} bits more", -most, most))
            top += (most * a[f"{side}_multiplier"] >> a[f"{side}_shift"]) + 1
        end = (top * top * a["multiplier"] >> a["shift"]) + 256
        proofs += [Accumulator("square", 0, top * top), Accumulator("scaled square", -256, end)]
        return proofs, {"y": (a["lo"], a["hi"], k["y"].shape[0] * max(-a["lo"], a["hi"]))}

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        return Cost(macs=4 * shapes["y"][0])

    def variant(self, kernel_set: str, t: Mapping[str, PlanTensor], a: Attrs) -> Variant:
        numbers = requantise.printed(t, a)[1]
        for side in SIDES:
            numbers |= requantise.literal(a, f"{side}_")
        return replace(super().variant(kernel_set, t, a), numbers=numbers)

    def case(self, rng: np.random.Generator) -> Case:
        shapes = broadcast.random_shapes(rng)
        left, right = (rng.integers(-128, 128, int(np.prod(s))).astype(np.int8) for s in shapes)
        n = int(np.prod(np.broadcast_shapes(*shapes)))
        formats = dict(zip((*SIDES, "y"), requantise.random_formats(rng, 3), strict=True))
        own = broadcast.loops(*shapes, "") | {"rounds": requantise.TWICE}
        return Case(
            {"left": left, "right": right, "y": np.zeros(n, np.int8)}, self.lower(formats, own, ""), {}
        )


def _scaled(v: numeric.Int, side: str, a: Attrs) -> numeric.Int:
    up = (v - np.int32(a[f"{side}_zero"])) << np.int32(UP)
    return requantise.EXACT[a["rounds"]](up, a[f"{side}_multiplier"], a[f"{side}_shift"])
