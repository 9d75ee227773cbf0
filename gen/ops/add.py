"""y = left + right, element by element: residual connections. Both inputs hear the whole teaching signal.

With the attribute `subtract` y = left - right, and the right one hears the opposite.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..errors import CompileError
from ..ir.graph import Node
from ..ir.plan import PlanTensor
from ..ir.program import Value
from ..ir.tape import Tape
from . import Accumulator, Arrays, Attrs, Bounds, Case, Format, Kernel, Known, Layer, Variant, _zeros
from . import _broadcast as broadcast
from . import _requantise as requantise
from ._contract import ADDEND, HELD, INT16, Tensors, takes, within
from ._element_loops import FACTORS, aligned, stretched, walk
from ._loops import Cells, Loop, Number, end_row
from ._parts import Applied
from ._shifts import MAX_SHIFT, requantising

OWN = (
    *("rounds", "left_zero", "right_zero", "y_zero"),
    *("left_multiplier", "right_multiplier", "multiplier"),
)
"""Attributes of a step whose integers are a file's."""
MAX_ALIGN = 22  # at which the sum of two int8 and the rounding half still fit 32 bits
UP = {"int8": 20, "int16": 15}
"""By type: the bits that LiteRT puts behind the point of both sides."""
LEAST_UP = UP["int8"]
"""Where a step does not say."""


class Add(Layer):
    op = "add"
    holds = True

    def shape(self, node: Node, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
        return broadcast.common(node, shapes)

    def homogeneous(self, node: Node) -> bool:
        return True

    def applied(self, node: Node, constants: Sequence[np.ndarray]) -> Applied:
        return Applied("difference" if node.attrs.get("subtract") else "sum")

    def forward(self, tape: Tape, node: Node) -> None:
        left, right = (tape.value(name) for name in node.inputs)
        shapes = [tape.shape(name) for name in node.inputs]
        broadcast.forward(tape, node, "add.forward", {"left": left, "right": right}, shapes)

    def feedback(self, tape: Tape, node: Node, teach: str, matrix: str | None) -> dict[str, str]:
        left, right = node.inputs
        out: dict[str, str] = {}
        if tape.wants_teach(left):
            out[left] = broadcast.heard(tape, node, left, teach)
        if tape.wants_teach(right):
            signal = opposite(tape, node, teach) if node.attrs.get("subtract") else teach
            signal = broadcast.heard(tape, node, right, signal)
            out[right] = tape.sum(right, out[right], signal) if right in out else signal
        return out

    def sample(
        self, rng: np.random.Generator, shapes: Sequence[tuple[int, ...]]
    ) -> tuple[Node, dict[str, np.ndarray]] | None:
        if len(shapes) == 1:
            return Node("add", "", ("in0", "in0"), "out"), {}
        if not broadcast.fit(shapes):
            return None
        return Node("add", "", ("in0", "in1"), "out", {} if rng.integers(3) else {"subtract": 1}), {}


def opposite(tape: Tape, node: Node, teach: str) -> str:
    """The teaching signal -teach."""
    g = tape.teach(f"{node.name}_opposite", tape.shape(node.output), tie=teach)
    tape.step("add.opposite", node, {"d": teach, "g": g})
    return g


def _forward(
    left: Cells, right: Cells, y: Cells, left_starts: Cells, left_inner: Cells, right_starts: Cells,
    right_inner: Cells, left_factor: Number, right_factor: Number, more: Number, rounds: Number,
    multiplier: Number, shift: int, y_zero: Number, lo: int, hi: int,
) -> None:  # fmt: skip
    a, b = stretched(left, left_starts, left_inner), stretched(right, right_starts, right_inner)
    subtract, addend, up = more
    bits = up if up > 0 else LEAST_UP
    aligned(a, left_factor, bits, rounds)
    aligned(b, right_factor, bits, rounds)
    for i in range(len(a)):
        total = a[i] - b[i] if subtract else a[i] + b[i]
        a[i] = np.int32(np.int32(total) + np.int32(addend))
    end_row(y, a, a[:0], a[:0], shift, multiplier, lo, hi, rounds, y_zero)


def _opposite(d: Cells, g: Cells, lo: int, hi: int) -> None:
    for i in range(len(g)):
        g[i] = numeric.saturate(numeric.int32(-np.int32(d[i])), lo, hi)


class Forward(Kernel):
    """y = (left * 2^left_shift + right * 2^right_shift + addend) / 2^shift: both at the finer one's frac.

    addend: what zero points bring to the sum, where there are any

    Where a model file brought the integers, as LiteRT: each side less its zero point, times 2^up and its
    scale / (2 * the larger scale); their sum times 2 * the larger scale / (2^up * scale of y). up is 20; of
    int16 it is an attribute.
    """

    name = "add.forward"
    loop = Loop(_forward, {**FACTORS, "more": ("subtract", "addend", "up")}, walk)
    reads = ("left", "right")
    writes = ("y",)
    inplace = ("left", "right", "y")
    operands = takes(left="int8|int16 [left]", right="int8|int16 [right]", y="int8|int16 [n]")
    attributes = within(
        requantise.ATTRIBUTES,
        broadcast.WALK,
        subtract=(1, 1),
        left_shift=(0, 62),
        right_shift=(0, 62),
        left_zero=INT16,
        right_zero=INT16,
        y_zero=INT16,
        addend=ADDEND,
        up=(UP["int16"], UP["int8"]),
        left_multiplier=(0, requantise.MULTIPLIER_TOP),
        right_multiplier=(0, requantise.MULTIPLIER_TOP),
    )
    spare = ("subtract", "x_zero", "addend", "up", *OWN, *broadcast.WALK)

    def misfit(self, t: Tensors, a: Attrs) -> str:
        least, most = (1, 62) if "rounds" in a else (0, MAX_ALIGN)
        if not all(least <= a[f"{side}_shift"] <= most for side in ("left", "right")):
            return f"its inputs are shifted by {a['left_shift']} and {a['right_shift']}"
        if ("addend" in a and "rounds" in a) or ("up" in a and "rounds" not in a):
            return "it has an addend and multipliers, or bits behind the point and none"
        return requantise.form_misfit(a, OWN, MAX_SHIFT) or broadcast.misfit(t, a)

    def zeros(self, args: Mapping[str, Value], a: Attrs) -> tuple[str, ...]:
        return () if "rounds" in a else ("left", "right", "y")

    def least(self, least: Mapping[str, float], a: Attrs) -> float:
        return -math.inf if "subtract" in a else least["left"] + least["right"]

    def integer(self, t: Arrays, a: Attrs) -> None:
        left, right = (v.astype(np.int32) for v in broadcast.sides(t, a))
        if "rounds" in a:
            left, right = self._scaled(left, "left", a), self._scaled(right, "right", a)
        else:
            left, right = left << np.int32(a["left_shift"]), right << np.int32(a["right_shift"])
        total = left - right if "subtract" in a else left + right
        total = total + np.int32(a.get("addend", 0))
        if "rounds" in a:
            t["y"][...] = requantise.finish(total, a["multiplier"], a["shift"], a)
        else:
            t["y"][...] = numeric.saturate(numeric.shift_round(total, a["shift"]), a["lo"], a["hi"])

    @staticmethod
    def _scaled(v: numeric.Int, side: str, a: Attrs) -> numeric.Int:
        up = (v - np.int32(a[f"{side}_zero"])) << np.int32(_up(a))
        return requantise.EXACT[a["rounds"]](up, a[f"{side}_multiplier"], a[f"{side}_shift"])

    def real(self, t: Arrays, a: Attrs) -> None:
        left, right = broadcast.sides(t, a)
        t["y"][...] = requantise.held(left - right if "subtract" in a else left + right, a)

    def cap(self, f: Mapping[str, Format], a: Attrs) -> dict[str, int]:
        return {} if "rounds" in a else {"y": max(f["left"].power, f["right"].power)}

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        own = {k: int(v) for k, v in a.items() if k not in ("least", "most")}
        if "rounds" in a:
            return own | self._factors(f, where) | requantise.ends(f["y"])
        finer = max(f["left"].power, f["right"].power)
        align = {f"{role}_shift": finer - f[role].power for role in ("left", "right")}
        shift, hint = finer - f["y"].power, "rescale one of the two inputs"
        if max(align.values()) > MAX_ALIGN:
            raise CompileError(
                where,
                f"its inputs have fracs {f['left'].power} and {f['right'].power}, its output {f['y'].power}: "
                "too far apart to be added",
                hint,
            )
        requantising(shift, where, hint)
        zeros = [requantise.zero(f[role]) << align[f"{role}_shift"] for role in ("left", "right")]
        brought = zeros[1] - zeros[0] if "subtract" in own else -zeros[0] - zeros[1]
        ends = {"shift": shift, "lo": f["y"].lo, "hi": f["y"].hi}
        return own | align | ends | _zeros.addend(brought, f["y"], shift)

    @staticmethod
    def _factors(f: Mapping[str, Format], where: str) -> dict[str, int]:
        scales = {role: requantise.scale(fmt, where) for role, fmt in f.items()}
        twice = 2.0 * max(scales["left"], scales["right"])
        wide = {"up": UP["int16"]} if f["y"].dtype == "int16" else {}
        end = twice / (2.0 ** _up(wide) * scales["y"])
        if end >= 1.0:
            what = f"its output's scale {scales['y']:.3g} is too small beside {twice / 2:.3g} of its inputs"
            raise CompileError(where, what, requantise.SCALES)
        out = wide | requantise.factor(end, "", where)
        for side in ("left", "right"):
            out |= requantise.factor(scales[side] / twice, f"{side}_", where)
            out[f"{side}_zero"] = requantise.zero(f[side])
        return out

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        n = int(np.prod(k["y"].shape))
        written = {"y": (a["lo"], a["hi"], n * max(-a["lo"], a["hi"]))}
        ends = {role: (k[role].lo, k[role].hi) for role in ("left", "right")}
        if "rounds" in a:
            return self._scaled_sums(ends, a), written
        (lo, hi), (least, most) = ([v << a[f"{r}_shift"] for v in pair] for r, pair in ends.items())
        if "subtract" in a:
            least, most = -most, -least
        more, half = a.get("addend", 0), (1 << a["shift"]) >> 1
        before = [Accumulator("sum without zero points", lo + least, hi + most)] if more else []
        return [*before, Accumulator("sum", lo + least + more, hi + most + more + half)], written

    @staticmethod
    def _scaled_sums(ends: Mapping[str, tuple[int, int]], a: Attrs) -> list[Accumulator]:
        top, proofs = 0, []
        for side, pair in ends.items():
            most = max(abs(v - a[f"{side}_zero"]) for v in pair) << _up(a)
            proofs.append(Accumulator(f"{side} with {_up(a)} bits more", -most, most))
            top += (most * a[f"{side}_multiplier"] >> a[f"{side}_shift"]) + 1
        end = (top * a["multiplier"] >> a["shift"]) + 256
        return [*proofs, Accumulator("sum", -top, top), Accumulator("scaled sum", -end, end)]

    def variant(self, kernel_set: str, t: Mapping[str, PlanTensor], a: Attrs) -> Variant:
        plain = super().variant(kernel_set, t, a)
        if "rounds" not in a:
            return plain
        numbers = requantise.printed(t, a)[1]
        for side in ("left", "right"):
            numbers |= requantise.literal(a, f"{side}_")
        return replace(plain, numbers=numbers)

    def case(self, rng: np.random.Generator) -> Case:
        shapes = broadcast.random_shapes(rng)
        left, right = (_int8(rng, s) for s in shapes)
        own = broadcast.loops(*shapes, "") | ({"subtract": 1} if rng.integers(2) else {})
        n = int(np.prod(np.broadcast_shapes(*shapes)))
        if rng.integers(2):
            found = requantise.random_formats(rng, 3, bool(rng.integers(2)))
            formats = dict(zip(("left", "right", "y"), found, strict=True))
            lowered = self.lower(formats, own | {"rounds": requantise.TWICE}, "")
            if found[0].dtype == "int16":
                left, right = (requantise.widened(rng, v) for v in (left, right))
            return Case({"left": left, "right": right, "y": np.zeros(n, left.dtype)}, lowered, {})
        align = int(rng.integers(0, MAX_ALIGN + 1))
        first = bool(rng.integers(2))
        dtype = np.int16 if rng.integers(2) else np.int8
        info = np.iinfo(dtype)
        attrs = own | {
            "left_shift": align if first else 0,
            "right_shift": 0 if first else align,
            "shift": int(rng.integers(0, align + 4)),
            "lo": int(info.min),
            "hi": int(info.max),
        }
        attrs |= _zeros.random_addend(rng, 2**28)
        return Case({"left": left, "right": right, "y": np.zeros(n, dtype)}, attrs, {})


def _int8(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[Any]:
    return rng.integers(-128, 128, int(np.prod(shape))).astype(np.int8)


def _up(a: Attrs) -> int:
    return int(a.get("up", LEAST_UP))


class Opposite(Kernel):
    """g = -d, held within g's limits."""

    name = "add.opposite"
    loop = Loop(_opposite)
    reads = ("d",)
    writes = ("g",)
    inplace = ("d", "g")
    operands = takes(d="int16 [n]", g="int16 [n]")
    attributes = HELD

    def integer(self, t: Arrays, a: Attrs) -> None:
        t["g"][...] = numeric.saturate(-t["d"].astype(np.int32), a["lo"], a["hi"])

    def real(self, t: Arrays, a: Attrs) -> None:
        t["g"][...] = -t["d"]

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        return {"lo": f["g"].lo, "hi": f["g"].hi}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        lo, hi = max(-k["d"].hi, a["lo"]), min(-k["d"].lo, a["hi"])
        return [], {"g": (lo, hi, k["d"].l1)}

    def case(self, rng: np.random.Generator) -> Case:
        d = rng.integers(-(2**15), 2**15, int(rng.integers(1, 40))).astype(np.int16)
        return Case({"d": d, "g": np.zeros_like(d)}, {"lo": -(2**15), "hi": 2**15 - 1}, {})
