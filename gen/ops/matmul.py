"""y = scale * left right, matrices of activations: attention. Each hears the signal times the other.

left is [batch, rows, inner], right [batch, inner, columns]; either may lie turned, its last two axes changed
over, which costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..errors import CompileError
from ..ir.format import Scaled
from ..ir.graph import Attr, Node
from ..ir.plan import PlanTensor
from ..ir.tape import Tape
from . import Accumulator, Arrays, Attrs, Bounds, Case, Cost, Format, Kernel, Known, Layer, Variant
from . import _requantise as requantise
from ._contract import INT16, SIZE, Tensors, takes, within
from ._folding import Shape
from ._loops import Cells, Loop, Number, end_row, helper
from ._shifts import MAX_SHIFT, requantising

SPARE = 5  # bits that a product of a signal and an int8 less its zero point leaves in 31
TURNED: tuple[int, int] = (0, 1)
GEOMETRY = within(batch=SIZE, rows=SIZE, inner=SIZE, columns=SIZE, left_turned=TURNED, right_turned=TURNED)


class MatMul(Layer):
    op = "matmul"
    holds = True

    def shape(self, node: Node, shapes: Sequence[Shape]) -> Shape:
        if len(shapes) == 2 and all(len(s) == 3 for s in shapes):
            left, right = (_matrix(s, t) for s, t in zip(shapes, _turned(node), strict=True))
            if left[0] == right[0] and left[2] == right[1] and 0 < abs(_scale(node)) < math.inf:
                return left[0], left[1], right[2]
        what = f"multiplies {list(shapes)}, turned {_turned(node)}, by {_scale(node)}"
        raise CompileError(node.name, what, "it takes two tensors of as many matrices, which fit")

    def scaled(self, node: Node, factor: float) -> Mapping[str, Attr] | None:
        """In float32, as files hold it."""
        return {"scale": float(np.float32(_scale(node) * factor))} if factor > 0 else None

    def forward(self, tape: Tape, node: Node) -> None:
        left, right = (tape.value(name) for name in node.inputs)
        given = tape.given(node.output)
        ends = requantise.held_within(given, node) if given else {}
        args = {"left": left, "right": right, "y": tape.activation(node)}
        shapes = [tape.shape(name) for name in node.inputs]
        sizes = _geometry(shapes[0], shapes[1], *_turned(node))
        kernel = "matmul16.forward" if _wide(tape, node) else "matmul.forward"
        tape.step(kernel, node, args, scale=_scale(node), **sizes, **ends)

    def feedback(self, tape: Tape, node: Node, teach: str, matrix: str | None) -> dict[str, str]:
        out: dict[str, str] = {}
        if _wide(tape, node):
            what = "no teaching signal passes through a product of int16"
            raise CompileError(node.name, what, "let only layers behind it learn")
        for side in (0, 1):
            name = node.inputs[side]
            if tape.wants_teach(name):
                signal = self._heard(tape, node, teach, side)
                out[name] = tape.sum(name, out[name], signal) if name in out else signal
        return out

    @staticmethod
    def _heard(tape: Tape, node: Node, teach: str, side: int) -> str:
        """What one side hears: of left, d right^T; of right, left^T d; turned, if that lies turned."""
        name, other = node.inputs[side], node.inputs[1 - side]
        turned = _turned(node)
        first = (side == 0) == (turned[side] == 0)  # whether the signal is the left one
        signal = bool(turned[side]), tape.shape(node.output), teach
        against = turned[1 - side] == turned[side], tape.shape(other), tape.value(other)
        left, right = (signal, against) if first else (against, signal)
        sizes = _geometry(left[1], right[1], int(left[0]), int(right[0]))
        g = tape.teach(f"{node.name}_input", tape.shape(name))
        args = {"left": left[2], "right": right[2], "g": g}
        kernel = "matmul.feedback" if first else "matmul.feedback_right"
        tape.step(kernel, node, args, scale=_scale(node), **sizes)
        return g

    def sample(
        self, rng: np.random.Generator, shapes: Sequence[Shape]
    ) -> tuple[Node, dict[str, np.ndarray]] | None:
        if len(shapes[0]) != 3 or len(shapes) > 2 or shapes[0] != shapes[-1]:
            return None
        first = int(rng.integers(2))
        attrs: dict[str, Attr] = {"turned": (first, 1 - first)}
        attrs |= {"scale": float(rng.choice([1.0, 0.25, 0.3]))}
        return Node("matmul", "", ("in0", f"in{len(shapes) - 1}"), "out", attrs), {}


def _wide(tape: Tape, node: Node) -> bool:
    """Whether a node multiplies a model file's int16 (gen/ops/matmul16.py)."""
    return any((f := tape.given(name)) is not None and f.dtype == "int16" for name in node.inputs)


def _turned(node: Node) -> tuple[int, int]:
    left, right = node.wholes("turned")
    return left, right


def _scale(node: Node) -> float:
    scale = node.attrs["scale"]
    assert isinstance(scale, int | float)
    return float(scale)


def _matrix(shape: Shape, turned: int) -> Shape:
    return (shape[0], shape[2], shape[1]) if turned else shape


def _geometry(left: Shape, right: Shape, left_turned: int, right_turned: int) -> dict[str, int]:
    batch, rows, inner = _matrix(left, left_turned)
    columns = _matrix(right, right_turned)[2]
    return dict(zip(GEOMETRY, (batch, rows, inner, columns, left_turned, right_turned), strict=True))


def _ending(factor: float, rounds: int, zeros: Mapping[str, int], where: str) -> dict[str, int]:
    """The attributes that end a sum; factor: one of it in units of the output. A shift where that is a power
    of two and no zero point stands beside it."""
    exponent = -math.log2(abs(factor))
    if not rounds and factor > 0 and exponent.is_integer():
        requantising(int(exponent), where, "scale one of the two inputs")
        return {"shift": int(exponent)}
    if factor < 0:
        raise CompileError(where, f"is multiplied by {factor:.3g}", "negate one of the two inputs")
    return requantise.factor(factor, "", where) | dict(zeros) | {"rounds": rounds or requantise.ONCE}


SIZES = {"sizes": tuple(GEOMETRY), "zeros": ("left_zero", "right_zero")}


@helper
def lines(x: Cells, at: Any, n: Any, inner: Any, across: Any, zero: Any) -> Any:
    """int32 [n, inner]: a matrix that begins at x[at], less its zero point. across: whether it lies turned"""
    out = np.empty((n, inner), np.int32)
    for i in range(n):
        for k in range(inner):
            place = k * n + i if across else i * inner + k
            out[i, k] = np.int32(np.int32(x[at + place]) - np.int32(zero))
    return out


@helper
def products(
    left: Cells, right: Cells, y: Cells, sizes: Any, zeros: Any, rounds: Any, multiplier: Any, shift: Any,
    y_zero: Any, lo: Any, hi: Any,
) -> None:  # fmt: skip
    """What all have in common."""
    batch, rows, inner, columns, left_turned, right_turned = sizes
    acc = np.empty(rows * columns, np.int32)
    for k in range(batch):
        first = lines(left, k * rows * inner, rows, inner, left_turned, zeros[0])
        second = lines(right, k * columns * inner, columns, inner, 1 - right_turned, zeros[1])
        for i in range(rows):
            for j in range(columns):
                total = np.int32(0)
                for n in range(inner):
                    total = np.int32(total + np.int32(first[i, n] * second[j, n]))
                acc[i * columns + j] = total
        made = y[k * rows * columns : (k + 1) * rows * columns]
        end_row(made, acc, acc[:0], acc[:0], shift, multiplier, lo, hi, rounds, y_zero)


def _forward(
    left: Cells, right: Cells, y: Cells, sizes: Number, zeros: Number, rounds: Number, multiplier: Number,
    shift: int, y_zero: Number, lo: int, hi: int,
) -> None:  # fmt: skip
    products(left, right, y, sizes, zeros, rounds, multiplier, shift, y_zero, lo, hi)


def _feedback(
    left: Cells, right: Cells, g: Cells, sizes: Number, zeros: Number, rounds: Number, multiplier: Number,
    shift: int, y_zero: Number, lo: int, hi: int,
) -> None:  # fmt: skip
    products(left, right, g, sizes, zeros, rounds, multiplier, shift, y_zero, lo, hi)


class MatMulStep(Kernel):
    """What all have in common: acc = left right, either less its zero point."""

    reads = ("left", "right")
    own = ("rounds", "left_zero", "right_zero", "y_zero", "multiplier")
    attributes = within(requantise.ATTRIBUTES, GEOMETRY, left_zero=INT16, right_zero=INT16, y_zero=INT16)
    spare: ClassVar[tuple[str, ...]] = ("x_zero", *own)

    def sizes(self, a: Attrs) -> dict[str, int]:
        counts = {"left": (a["rows"], a["inner"]), "right": (a["inner"], a["columns"])}
        counts["n"] = a["rows"], a["columns"]
        return {name: a["batch"] * m * n for name, (m, n) in counts.items()}

    def misfit(self, t: Tensors, a: Attrs) -> str:
        return requantise.form_misfit(a, self.own, MAX_SHIFT)

    @staticmethod
    def _sides(t: Arrays, a: Attrs) -> tuple[NDArray[Any], NDArray[Any]]:
        """[D, batch, rows, inner] and [D, batch, inner, columns]."""
        sides = []
        for role, down, across in (("left", "rows", "inner"), ("right", "inner", "columns")):
            shape = (a[across], a[down]) if a[f"{role}_turned"] else (a[down], a[across])
            x = t[role].reshape(len(t[role]), a["batch"], *shape)
            sides.append(x.swapaxes(-1, -2) if a[f"{role}_turned"] else x)
        return sides[0], sides[1]

    def _ended(self, t: Arrays, a: Attrs) -> NDArray[Any]:
        left, right = self._sides(t, a)
        if "rounds" not in a:
            acc = numeric.matmul(left, right)
            return numeric.saturate(numeric.shift_round(acc, a["shift"]), a["lo"], a["hi"])
        zeros = (np.int32(a[f"{side}_zero"]) for side in ("left", "right"))
        acc = numeric.matmul(*(x.astype(np.int32) - z for x, z in zip((left, right), zeros, strict=True)))
        return requantise.finish(acc, a["multiplier"], a["shift"], a)

    @staticmethod
    def _reach(k: Mapping[str, Known], a: Attrs) -> int:
        """The largest magnitude of a sum."""
        sides = [
            max(abs(k[s].lo - a.get(f"{s}_zero", 0)), abs(k[s].hi - a.get(f"{s}_zero", 0)))
            for s in ("left", "right")
        ]
        return int(a["inner"]) * int(sides[0]) * int(sides[1])

    def _proved(self, k: Mapping[str, Known], a: Attrs, out: str) -> Bounds:
        top = self._reach(k, a)
        written = {out: (a["lo"], a["hi"], k[out].shape[0] * max(-a["lo"], a["hi"]))}
        if "rounds" in a:
            end = (top * a["multiplier"] >> a["shift"]) + 256
            return [Accumulator("sum", -top, top), Accumulator("scaled sum", -end, end)], written
        return [Accumulator("sum", -top, top + ((1 << a["shift"]) >> 1))], written

    @staticmethod
    def _own(a: Attrs) -> dict[str, int]:
        return {key: int(a[key]) for key in GEOMETRY}

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        return Cost(macs=math.prod(a[key] for key in ("batch", "rows", "inner", "columns")))

    def variant(self, kernel_set: str, t: Mapping[str, PlanTensor], a: Attrs) -> Variant:
        plain = super().variant(kernel_set, t, a)
        return replace(plain, numbers=requantise.printed(t, a)[1]) if "rounds" in a else plain

    def _drawn(self, rng: np.random.Generator) -> tuple[dict[str, int], dict[str, int]]:
        """Geometry, and the sizes of the operands."""
        sizes = (*(int(n) for n in rng.integers(1, (4, 6, 9, 6))), *rng.integers(0, 2, 2).tolist())
        a = dict(zip(GEOMETRY, sizes, strict=True))
        return a, self.sizes(a)


class Forward(MatMulStep):
    """y = acc / 2^shift; where a scale is no power of two, times a multiplier, less and plus zero points."""

    name = "matmul.forward"
    loop = Loop(_forward, SIZES)
    writes = ("y",)
    operands = takes(left="int8 [left]", right="int8 [right]", y="int8|int16 [n]")

    def integer(self, t: Arrays, a: Attrs) -> None:
        t["y"][...] = self._ended(t, a).reshape(t["y"].shape)

    def real(self, t: Arrays, a: Attrs) -> None:
        left, right = self._sides(t, a)
        y = np.matmul(left, right) * left.dtype.type(a["scale"])
        t["y"][...] = requantise.held(y, a).reshape(t["y"].shape)

    def cap(self, f: Mapping[str, Format], a: Attrs) -> dict[str, int]:
        if "rounds" in a:
            return {}
        return {"y": math.floor(f["left"].frac + f["right"].frac - math.log2(abs(a["scale"])))}

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        zeros = {f"{role}_zero": requantise.zero(f[role]) for role in ("left", "right", "y")}
        left, right, y = (f[role].meaning.step for role in ("left", "right", "y"))
        factor = float(np.float32(left) * np.float32(right)) / y * a.get("scale", 1.0)
        end = _ending(factor, int(a.get("rounds", 0)), zeros, where)
        return self._own(a) | end | {"lo": f["y"].lo, "hi": f["y"].hi}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return self._proved(k, a, "y")

    def case(self, rng: np.random.Generator) -> Case:
        a, sizes = self._drawn(rng)
        arrays: dict[str, NDArray[Any]] = {
            side: rng.integers(-128, 128, sizes[side]).astype(np.int8) for side in ("left", "right")
        }
        arrays["y"] = np.zeros(sizes["n"], np.int8)
        if rng.integers(2):
            formats = dict(zip(("left", "right", "y"), requantise.random_formats(rng, 3), strict=True))
            own = a | {"rounds": int(rng.integers(1, 3)), "scale": 1.0}
            return Case(arrays, self.lower(formats, own, ""), {})
        return Case(arrays, a | {"shift": int(rng.integers(0, 17)), "lo": -128, "hi": 127}, {})


class Feedback(MatMulStep):
    """g = left right / 2^shift or times a multiplier: left is the signal."""

    name = "matmul.feedback"
    loop = Loop(_feedback, SIZES)
    writes = ("g",)
    operands = takes(left="int16 [left]", right="int8 [right]", g="int16 [n]")
    signal, other = "left", "right"

    def integer(self, t: Arrays, a: Attrs) -> None:
        t["g"][...] = self._ended(t, a).reshape(t["g"].shape)

    def real(self, t: Arrays, a: Attrs) -> None:
        left, right = self._sides(t, a)
        t["g"][...] = (np.matmul(left, right) * left.dtype.type(a["scale"])).reshape(t["g"].shape)

    def cap(self, f: Mapping[str, Format], a: Attrs) -> dict[str, int]:
        fine = f[self.signal].frac - math.log2(abs(a["scale"]))
        other = f[self.other].meaning
        spare = SPARE - math.log2(other.step) if isinstance(other, Scaled) else other.frac
        return {"g": math.floor(fine + spare)}

    def limit(
        self, role: str, f: Mapping[str, Format], shapes: Mapping[str, tuple[int, ...]], a: Attrs
    ) -> int:
        if role != self.signal:
            return 2**31 - 1
        zero = requantise.zero(f[self.other])
        reach = requantise.reach(f[self.other].lo, f[self.other].hi, zero)
        return int((2**31 - 2**29) // (a["inner"] * reach))

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        other = f[self.other].meaning
        factor = other.step * 2.0 ** (f["g"].frac - f[self.signal].frac) * a.get("scale", 1.0)
        zeros = {f"{self.signal}_zero": 0, f"{self.other}_zero": requantise.zero(f[self.other]), "y_zero": 0}
        rounds = requantise.ONCE if isinstance(other, Scaled) else 0
        return self._own(a) | _ending(factor, rounds, zeros, where) | {"lo": f["g"].lo, "hi": f["g"].hi}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return self._proved(k, a, "g")

    def case(self, rng: np.random.Generator) -> Case:
        a, sizes = self._drawn(rng)
        top = (2**31 - 2**29) // (a["inner"] * 255)
        top = min(top, 2 ** int(rng.integers(6, 16)) - 1)
        arrays: dict[str, NDArray[Any]] = {
            self.signal: rng.integers(-top, top + 1, sizes[self.signal]).astype(np.int16),
            self.other: rng.integers(-128, 128, sizes[self.other]).astype(np.int8),
            "g": np.zeros(sizes["n"], np.int16),
        }
        limits = {self.signal: (-top, top)}
        if rng.integers(2):
            formats = {
                self.signal: Format("int16", 12, -top, top),
                self.other: requantise.random_formats(rng, 1)[0],
            }
            own = a | {"scale": float(rng.choice([1.0, 0.3]))}
            frac = self.cap(formats, own)["g"] - int(rng.integers(0, 12))
            formats["g"] = Format("int16", frac, -(2**13), 2**13 - 1)
            return Case(arrays, self.lower(formats, own, ""), limits)
        return Case(arrays, a | {"shift": int(rng.integers(0, 17)), "lo": -(2**13), "hi": 2**13 - 1}, limits)


class FeedbackRight(Feedback):
    """g = left right / 2^shift or times a multiplier: right is the signal."""

    name = "matmul.feedback_right"
    loop = Loop(_feedback, SIZES)
    operands = takes(left="int8 [left]", right="int16 [right]", g="int16 [n]")
    signal, other = "right", "left"
