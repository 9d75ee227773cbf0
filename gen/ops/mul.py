"""y = left * right, element by element: gates, squeeze-and-excite. Each hears the signal times the other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..ir.format import Scaled
from ..ir.graph import Node
from ..ir.plan import PlanTensor
from ..ir.tape import Tape
from . import Accumulator, Arrays, Attrs, Bounds, Case, Cost, Format, Kernel, Known, Layer, Variant
from . import _broadcast as broadcast
from . import _requantise as requantise
from ._contract import INT16, Tensors, takes, within
from ._element_loops import stretched, walk
from ._loops import Cells, Loop, Number, end_row
from ._parts import Applied
from ._shifts import MAX_SHIFT, requantising

OWN = ("rounds", "left_zero", "right_zero", "y_zero", "multiplier")
FEEDBACK_OWN = ("rounds", "right_zero", "y_zero", "multiplier")
"""Attributes of steps where a file's integers are read."""
SPARE = 5  # bits that a product of a signal and an int8 less its zero point leaves in 31


class Mul(Layer):
    op = "mul"
    holds = True

    def shape(self, node: Node, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
        return broadcast.common(node, shapes)

    def applied(self, node: Node, constants: Sequence[np.ndarray]) -> Applied:
        return Applied("product")

    def forward(self, tape: Tape, node: Node) -> None:
        left, right = (tape.value(name) for name in node.inputs)
        shapes = [tape.shape(name) for name in node.inputs]
        broadcast.forward(tape, node, "mul.forward", {"left": left, "right": right}, shapes)

    def feedback(self, tape: Tape, node: Node, teach: str, matrix: str | None) -> dict[str, str]:
        out: dict[str, str] = {}
        for name, other in (node.inputs, node.inputs[::-1]):
            if tape.wants_teach(name):
                signal = heard(tape, node, teach, name, tape.value(other), tape.shape(other))
                out[name] = tape.sum(name, out[name], signal) if name in out else signal
        return out

    def sample(
        self, rng: np.random.Generator, shapes: Sequence[tuple[int, ...]]
    ) -> tuple[Node, dict[str, np.ndarray]] | None:
        if len(shapes) == 1:
            return Node("mul", "", ("in0", "in0"), "out"), {}
        return (Node("mul", "", ("in0", "in1"), "out"), {}) if broadcast.fit(shapes) else None


def heard(tape: Tape, node: Node, teach: str, name: str, other: str, shape: tuple[int, ...]) -> str:
    """What input `name` hears: teach times the value `other`, which has `shape`."""
    out = tape.shape(node.output)
    g = tape.teach(f"{node.name}_input", out)
    walk = broadcast.loops(out, shape, node.name)
    tape.step("mul.feedback", node, {"left": teach, "right": other, "g": g}, **walk)
    return broadcast.heard(tape, node, name, g)


def _forward(
    left: Cells, right: Cells, y: Cells, left_starts: Cells, left_inner: Cells, right_starts: Cells,
    right_inner: Cells, left_zero: Number, right_zero: Number, rounds: Number, multiplier: Number, shift: int,
    y_zero: Number, lo: int, hi: int,
) -> None:  # fmt: skip
    a, b = stretched(left, left_starts, left_inner), stretched(right, right_starts, right_inner)
    for i in range(len(a)):
        a[i] = np.int32(np.int32(a[i] - np.int32(left_zero)) * np.int32(b[i] - np.int32(right_zero)))
    end_row(y, a, a[:0], a[:0], shift, multiplier, lo, hi, rounds, y_zero)


def _feedback(
    left: Cells, right: Cells, g: Cells, left_starts: Cells, left_inner: Cells, right_starts: Cells,
    right_inner: Cells, right_zero: Number, rounds: Number, multiplier: Number, shift: int, lo: int, hi: int,
) -> None:  # fmt: skip
    a, b = stretched(left, left_starts, left_inner), stretched(right, right_starts, right_inner)
    for i in range(len(a)):
        a[i] = np.int32(a[i] * np.int32(b[i] - np.int32(right_zero)))
    end_row(g, a, a[:0], a[:0], shift, multiplier, lo, hi, rounds, 0)


class Forward(Kernel):
    """y = left * right / 2^shift.

    Where a model file brought the integers, both less their zero points, times one factor: scale of left
    times scale of right over that of y, each result in float32, as LiteRT has it.
    """

    name = "mul.forward"
    loop = Loop(_forward, tables=walk)
    reads = ("left", "right")
    writes = ("y",)
    inplace = ("left", "right", "y")
    operands = takes(left="int8|int16 [left]", right="int8|int16 [right]", y="int8|int16 [n]")
    attributes = within(
        requantise.ATTRIBUTES, broadcast.WALK, left_zero=INT16, right_zero=INT16, y_zero=INT16
    )
    spare = ("x_zero", *OWN, *broadcast.WALK)

    def misfit(self, t: Tensors, a: Attrs) -> str:
        return requantise.form_misfit(a, OWN, MAX_SHIFT) or broadcast.misfit(t, a)

    def integer(self, t: Arrays, a: Attrs) -> None:
        left, right = (v.astype(np.int32) for v in broadcast.sides(t, a))
        if "rounds" in a:
            product = (left - np.int32(a["left_zero"])) * (right - np.int32(a["right_zero"]))
            t["y"][...] = requantise.finish(product, a["multiplier"], a["shift"], a)
        else:
            t["y"][...] = numeric.saturate(numeric.shift_round(left * right, a["shift"]), a["lo"], a["hi"])

    def real(self, t: Arrays, a: Attrs) -> None:
        left, right = broadcast.sides(t, a)
        t["y"][...] = requantise.held(left * right, a)

    def cap(self, f: Mapping[str, Format], a: Attrs) -> dict[str, int]:
        return {} if "rounds" in a else {"y": f["left"].frac + f["right"].frac}

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        own = {k: int(v) for k, v in a.items() if k not in ("least", "most")}
        if "rounds" in a:
            left, right, y = (np.float32(requantise.scale(f[r], where)) for r in ("left", "right", "y"))
            zeros = {f"{side}_zero": requantise.zero(f[side]) for side in ("left", "right")}
            found = requantise.factor(float(left * right / y), "", where)
            return own | zeros | found | requantise.ends(f["y"])
        shift = f["left"].frac + f["right"].frac - f["y"].frac
        requantising(shift, where, "rescale one of the two inputs")
        return own | {"shift": shift, "lo": f["y"].lo, "hi": f["y"].hi}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        n = int(np.prod(k["y"].shape))
        written = {"y": (a["lo"], a["hi"], n * max(-a["lo"], a["hi"]))}
        if "rounds" in a:
            top = math.prod(
                max(abs(k[s].lo - a[f"{s}_zero"]), abs(k[s].hi - a[f"{s}_zero"])) for s in ("left", "right")
            )
            end = (top * a["multiplier"] >> a["shift"]) + 256
            return [Accumulator("product", -top, top), Accumulator("scaled product", -end, end)], written
        top = k["left"].mag * k["right"].mag
        return [Accumulator("product", -top, top + ((1 << a["shift"]) >> 1))], written

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        return Cost(macs=math.prod(shapes["y"]))

    def variant(self, kernel_set: str, t: Mapping[str, PlanTensor], a: Attrs) -> Variant:
        plain = super().variant(kernel_set, t, a)
        return replace(plain, numbers=requantise.printed(t, a)[1]) if "rounds" in a else plain

    def case(self, rng: np.random.Generator) -> Case:
        shapes = broadcast.random_shapes(rng)
        arrays: dict[str, NDArray[Any]] = {
            side: rng.integers(-128, 128, int(np.prod(shape))).astype(np.int8)
            for side, shape in zip(("left", "right"), shapes, strict=True)
        }
        own, n = broadcast.loops(*shapes, ""), int(np.prod(np.broadcast_shapes(*shapes)))
        arrays["y"] = np.zeros(n, np.int8)
        if rng.integers(2):
            found = requantise.random_formats(rng, 3, bool(rng.integers(2)))
            formats = dict(zip(("left", "right", "y"), found, strict=True))
            if found[0].dtype == "int16":
                arrays = {role: requantise.widened(rng, v) for role, v in arrays.items()}
            return Case(arrays, self.lower(formats, own | {"rounds": requantise.TWICE}, ""), {})
        return Case(arrays, own | {"shift": int(rng.integers(0, 17)), "lo": -128, "hi": 127}, {})


class Feedback(Kernel):
    """g = left * right / 2^shift: a teaching signal, times an activation or a constant.

    Where that has a scale and a zero point, g = left * (right - right_zero) * multiplier / 2^shift.
    """

    name = "mul.feedback"
    loop = Loop(_feedback, tables=walk)
    reads = ("left", "right")
    writes = ("g",)
    inplace = ("left", "g")
    operands = takes(left="int16 [left]", right="int8|int16 [right]", g="int16 [n]")
    attributes = within(requantise.ATTRIBUTES, broadcast.WALK, right_zero=INT16, y_zero=INT16)
    spare = ("x_zero", *FEEDBACK_OWN, *broadcast.WALK)

    def misfit(self, t: Tensors, a: Attrs) -> str:
        form = requantise.form_misfit(a, FEEDBACK_OWN, MAX_SHIFT)
        return form or broadcast.misfit(t, a, "g")

    def integer(self, t: Arrays, a: Attrs) -> None:
        left, right = (v.astype(np.int32) for v in broadcast.sides(t, a))
        if "multiplier" in a:
            product = left * (right - np.int32(a["right_zero"]))
            g = requantise.EXACT[a["rounds"]](product, a["multiplier"], a["shift"])
        else:
            g = numeric.shift_round(left * right, a["shift"])
        t["g"][...] = numeric.saturate(g, a["lo"], a["hi"])

    def real(self, t: Arrays, a: Attrs) -> None:
        left, right = broadcast.sides(t, a)
        t["g"][...] = left * right

    def cap(self, f: Mapping[str, Format], a: Attrs) -> dict[str, int]:
        right = f["right"].meaning
        if isinstance(right, Scaled):  # a factor of 2^SPARE at most
            return {"g": f["left"].frac + math.floor(SPARE - math.log2(right.step))}
        return {"g": f["left"].frac + right.frac}

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        own = {k: int(v) for k, v in a.items()} | {"lo": f["g"].lo, "hi": f["g"].hi}
        right = f["right"].meaning
        if isinstance(right, Scaled):
            found = requantise.factor(right.step * 2.0 ** (f["g"].frac - f["left"].frac), "", where)
            return (
                own
                | found
                | {"right_zero": requantise.zero(f["right"]), "rounds": requantise.ONCE, "y_zero": 0}
            )
        shift = f["left"].frac + right.frac - f["g"].frac
        requantising(shift, where, "rescale one of the two inputs")
        return own | {"shift": shift}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        zero, n = a.get("right_zero", 0), int(np.prod(k["g"].shape))
        top = k["left"].mag * max(abs(k["right"].lo - zero), abs(k["right"].hi - zero))
        written = {"g": (a["lo"], a["hi"], n * max(-a["lo"], a["hi"]))}
        if "multiplier" in a:
            end = (top * a["multiplier"] >> a["shift"]) + 1
            return [Accumulator("product", -top, top), Accumulator("scaled product", -end, end)], written
        return [Accumulator("product", -top, top + ((1 << a["shift"]) >> 1))], written

    def variant(self, kernel_set: str, t: Mapping[str, PlanTensor], a: Attrs) -> Variant:
        plain = super().variant(kernel_set, t, a)
        return replace(plain, numbers=requantise.printed(t, a)[1]) if "rounds" in a else plain

    def case(self, rng: np.random.Generator) -> Case:
        _, other = broadcast.random_shapes(rng)
        shape = tuple(int(rng.integers(1, 5)) if n == 1 else n for n in other)
        n = int(np.prod(shape))
        arrays: dict[str, NDArray[Any]] = {
            "left": rng.integers(-(2**15), 2**15, n).astype(np.int16),
            "right": rng.integers(-128, 128, int(np.prod(other))).astype(np.int8),
            "g": np.zeros(n, np.int16),
        }
        own = broadcast.loops(shape, other, "")
        signal = Format("int16", 12, -(2**13), 2**13 - 1)
        if rng.integers(2):
            formats = {"left": signal, "right": requantise.random_formats(rng, 1)[0]}
            frac = self.cap(formats, own)["g"] - int(rng.integers(0, 12))
            formats["g"] = Format("int16", frac, -(2**13), 2**13 - 1)
            return Case(arrays, self.lower(formats, own, ""), {})
        return Case(arrays, own | {"shift": int(rng.integers(0, 17)), "lo": -(2**13), "hi": 2**13 - 1}, {})
