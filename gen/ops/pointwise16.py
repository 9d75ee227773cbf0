"""Functions of int16, where a model file holds its activations in 16 bits: no table has an entry for each.

The arithmetic is that of TensorFlow Lite's reference kernels (LiteRT 2.3.0). A `table` layer writes these
steps where its input or output is int16. No teaching signal passes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from .. import numeric
from ..errors import CompileError
from ..ir.format import Scaled
from ..ir.graph import Node
from ..ir.program import Value
from ..ir.tape import Tape
from . import Accumulator, Arrays, Attrs, Bounds, Case, Cost, Format, Kernel, Known
from ._contract import BETWEEN, INT8, INT16, Range, Tensors, crossed, takes, within
from ._loops import Cells, Loop, Number, helper
from ._requantise import MULTIPLIER_TOP, SCALES, ends, factor, random_formats, reach, scale, zero

RESCALED = ("abs", "identity", "leaky_relu")
LOOKED_UP = ("exp", "log", "rsqrt")  # gen/ops/curve16.py
CURVES = {"sigmoid": "pointwise16.sigmoid", "tanh": "pointwise16.tanh"}
TABLE_STEPS = 3 * 4096.0  # of the curves' table in 1.0 of x
INTEGER_BITS = 3  # of x before the point, where its scale is a power of two
MOST = 2**16 - 1  # of a factor: times 2^15 it fits 32 bits


def wide(tape: Tape, node: Node) -> bool:
    """Whether a node reads a model file's int16, or makes one of its integers."""
    x, y = tape.given(node.inputs[0]), tape.given(node.output)
    return x is not None and "int16" in (x.dtype, y.dtype if y else "")


def taken(tape: Tape, node: Node, number: int) -> bool:
    """Writes the step of a `table` node, if it is one of these; CompileError if there is none like it.

    number: that of its function in gen/ops/table.py
    """
    if not wide(tape, node):
        return False
    fn, alpha = str(node.attrs["fn"]), node.number("alpha")
    args = {"x": tape.value(node.inputs[0]), "y": tape.activation(node)}
    if fn in CURVES:
        tape.step(CURVES[fn], node, args)
    elif fn == "neg" and "between" in node.attrs:
        tape.step("pointwise16.opposite", node, args)
    elif fn == "neg":
        tape.step("pointwise16.negative", node, args)
    elif fn in LOOKED_UP:
        _looked_up(tape, node, number, args)
    elif fn == "sqrt":
        tape.step("root16.forward", node, args)
    elif fn in RESCALED:
        own = {"alpha": alpha} if fn == "leaky_relu" else {"folded": 1} if fn == "abs" else {}
        exact = {"exact": 1} if node.attrs.get("exact") else {}
        tape.step("pointwise16.rescale", node, args, **own, **exact)
    else:
        known = ", ".join((*CURVES, *LOOKED_UP, "neg", *RESCALED, "sqrt"))
        what = f"its input is int16, and {fn} is none of {known}"
        raise CompileError(node.name, what, "convert the model to int8")
    return True


def _looked_up(tape: Tape, node: Node, number: int, args: Mapping[str, str]) -> None:
    """The step of a function of which LiteRT has entries, linear between them."""
    note = f"{node.attrs['fn']} at 512 steps over int16"
    table = tape.add(Value(f"{node.name}_table", (513,), "const", "table", note=note))
    tape.step("curve16.forward", node, {"x": args["x"], "table": table, "y": args["y"]}, fn=number)


def check_feedback(tape: Tape, node: Node) -> None:
    """CompileError where a teaching signal would have to pass a function of int16."""
    if wide(tape, node):
        what = f"no teaching signal passes through {node.attrs['fn']} of int16"
        raise CompileError(node.source or node.name, what, "let only layers behind it learn")


def _rescale(
    x: Cells, y: Cells, multiplier: Number, shift: Number, y_zero: int, more: Number, lo: int, hi: int
) -> None:
    x_zero, below_multiplier, below_shift, turned, folded = more
    for i in range(len(y)):
        d = numeric.int32(np.int32(x[i]) - np.int32(x_zero))
        d = numeric.int32(abs(d)) if folded else d
        if below_shift > 0 and d < 0:
            v = numeric.scale_twice(d, below_multiplier, below_shift)
            v = numeric.int32(-v if turned else v)
        else:
            v = numeric.scale_twice(d, multiplier, shift)
        y[i] = numeric.saturate(numeric.int32(v + np.int32(y_zero)), lo, hi)


def _opposite(x: Cells, y: Cells) -> None:
    for i in range(len(y)):
        y[i] = numeric.int32(np.int32(-1) - np.int32(x[i]))


def _opposite_within(x: Cells, y: Cells, lo: int, hi: int) -> None:
    for i in range(len(y)):
        y[i] = numeric.saturate(numeric.int32(np.int32(-1) - np.int32(x[i])), lo, hi)


@helper
def table_steps(x: Any, multiplier: Any, shift: Any) -> Any:
    """x in steps of a curve's table."""
    half = numeric.int32((1 << shift) >> 1)
    return numeric.int32(numeric.int32(numeric.int32(np.int32(x) * np.int32(multiplier)) + half) >> shift)


def _sigmoid(x: Cells, y: Cells, multiplier: Number, shift: Number, lo: int, hi: int) -> None:
    for i in range(len(y)):
        at = table_steps(x[i], multiplier, shift)
        curve = numeric.sigmoid_curve(numeric.int32(abs(at)), 9)
        whole = curve + np.int32(512) if at >= 0 else numeric.int32(2**25 + 511) - curve
        y[i] = numeric.saturate(numeric.int32(whole >> 10), lo, hi)


def _tanh(x: Cells, y: Cells, multiplier: Number, shift: Number, lo: int, hi: int) -> None:
    for i in range(len(y)):
        at = table_steps(x[i], multiplier, shift)
        curve = numeric.sigmoid_curve(numeric.int32(abs(at)), 8) - np.int32(2**23)
        whole = curve + np.int32(128) if at >= 0 else np.int32(127) - curve
        y[i] = numeric.saturate(numeric.int32(whole >> 8), lo, hi)


class Rescale(Kernel):
    """y = (x - x_zero) * multiplier / 2^shift + y_zero, rounded twice; below 0 by below_multiplier and
    below_shift, if there are any, and with the other sign where `turned`.

    Abstract: alpha, the slope below 0; `exact`, whether the factor is a quotient in float64, not in float32.
    """

    name = "pointwise16.rescale"
    loop = Loop(_rescale, {"more": ("x_zero", "below_multiplier", "below_shift", "turned", "folded")})
    reads = ("x",)
    writes = ("y",)
    operands = takes(x="int8|int16 [n]", y="int8|int16 [n]")
    attributes: ClassVar[Mapping[str, Range]] = within(
        BETWEEN,
        multiplier=(0, MULTIPLIER_TOP),
        shift=(1, 62),
        x_zero=INT8,
        y_zero=INT16,
        below_multiplier=(0, MULTIPLIER_TOP),
        below_shift=(1, 62),
        turned=(1, 1),
        folded=(1, 1),
    )
    spare = ("x_zero", "below_multiplier", "below_shift", "turned", "folded")

    def misfit(self, t: Tensors, a: Attrs) -> str:
        if ("below_multiplier" in a) != ("below_shift" in a) or ("turned" in a and "below_shift" not in a):
            return "a part of its factor below 0 is missing"
        if "folded" in a and "below_shift" in a:
            return "it has a factor below 0, where there is nothing"
        return crossed(a)

    def integer(self, t: Arrays, a: Attrs) -> None:
        x = t["x"].astype(np.int32) - np.int32(a.get("x_zero", 0))
        x = np.abs(x) if "folded" in a else x
        y = numeric.scale_twice(x, np.asarray(a["multiplier"], np.int32), a["shift"])
        if "below_shift" in a:
            below = numeric.scale_twice(x, np.asarray(a["below_multiplier"], np.int32), a["below_shift"])
            y = np.where(x < 0, -below if "turned" in a else below, y)
        t["y"][...] = numeric.saturate(y + np.int32(a["y_zero"]), a["lo"], a["hi"])

    def real(self, t: Arrays, a: Attrs) -> None:
        below = -1.0 if "folded" in a else float(a.get("alpha", 1.0))
        t["y"][...] = np.where(t["x"] < 0, t["x"] * below, t["x"])

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        x, y = scale(f["x"], where), f["y"].meaning.step  # of scores where something learns: ours
        single = np.float32
        found = factor(x / y if "exact" in a else float(single(x) / single(y)), "", where) | ends(f["y"])
        if zero(f["x"]):
            found["x_zero"] = zero(f["x"])
        if "folded" in a:
            found["folded"] = 1
        if "alpha" not in a:
            return found
        slope = float(single(x) * single(a["alpha"]) / single(y))
        below = factor(abs(slope), "below_", where)
        return found | below | ({"turned": 1} if slope < 0 else {})

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        top = reach(k["x"].lo, k["x"].hi, a.get("x_zero", 0))
        tops = [top * a["multiplier"] >> a["shift"]]
        if "below_shift" in a:
            tops.append(top * a["below_multiplier"] >> a["below_shift"])
        most, n = max(tops) + 1 + abs(a["y_zero"]), k["y"].shape[0]
        written = {"y": (a["lo"], a["hi"], n * max(-a["lo"], a["hi"]))}
        return [Accumulator("scaled value", -most, most)], written

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        return Cost(macs=shapes["x"][0])

    def case(self, rng: np.random.Generator) -> Case:
        x_format, y_format = (random_formats(rng, 1, bool(rng.integers(3)))[0] for _ in range(2))
        x = _inputs(rng)
        x = x if x_format.dtype == "int16" else (x >> 8).astype(np.int8)
        attrs = [{}, {"folded": 1.0}, *[{"alpha": float(rng.uniform(-1, 1))}] * 2][int(rng.integers(4))]
        lowered = self.lower({"x": x_format, "y": y_format}, attrs, "")
        return Case({"x": x, "y": np.zeros(x.shape, y_format.dtype)}, lowered, {})


class Opposite(Kernel):
    """y = -1 - x: of numbers about zero point z those of the opposite about -1 - z, which always fit 16 bits;
    saturated to lo .. hi where a clip behind it leaves its output less."""

    name = "pointwise16.opposite"
    loop = Loop(_opposite_within, takes=lambda t, a: "lo" in a, otherwise=Loop(_opposite))
    reads = ("x",)
    writes = ("y",)
    inplace = ("x", "y")
    operands = takes(x="int16 [n]", y="=x [n]")
    attributes: ClassVar[Mapping[str, Range]] = BETWEEN
    spare = ("lo", "hi")

    def misfit(self, t: Tensors, a: Attrs) -> str:
        if ("lo" in a) != ("hi" in a):
            return "one of its limits is missing"
        return crossed(a) if "lo" in a else ""

    def integer(self, t: Arrays, a: Attrs) -> None:
        y = np.int32(-1) - t["x"].astype(np.int32)
        t["y"][...] = numeric.saturate(y, a["lo"], a["hi"]) if "lo" in a else y

    def real(self, t: Arrays, a: Attrs) -> None:
        t["y"][...] = -t["x"]

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        if f["y"].meaning != Scaled((scale(f["x"], where),), (-1 - zero(f["x"]),)):
            what = f"its input has {f['x'].meaning}, its output {f['y'].meaning}: they are no opposites"
            raise CompileError(where, what, "report this model: an importer is wrong")
        fits = f["y"].lo <= -1 - f["x"].hi and -1 - f["x"].lo <= f["y"].hi
        return {} if fits else {"lo": f["y"].lo, "hi": f["y"].hi}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        lo, hi = a.get("lo", -1 - k["x"].hi), a.get("hi", -1 - k["x"].lo)
        return [], {"y": (lo, hi, k["y"].shape[0] * max(-lo, hi))}

    def case(self, rng: np.random.Generator) -> Case:
        x, limited = _inputs(rng), bool(rng.integers(2))
        limits = {"lo": int(rng.integers(-(2**15), 1)), "hi": int(rng.integers(1, 2**15))} if limited else {}
        return Case({"x": x, "y": np.zeros_like(x)}, limits, {})


def _negative(x: Cells, y: Cells, lo: int, hi: int) -> None:
    for i in range(len(y)):
        v = np.int32(x[i])
        y[i] = numeric.saturate(numeric.int32(-v if v > -(2**15) else v), lo, hi)


class Negative(Kernel):
    """y = -x of the integers themselves in 16 bits, where -2^15 is its own opposite; within lo .. hi."""

    name = "pointwise16.negative"
    loop = Loop(_negative)
    reads = ("x",)
    writes = ("y",)
    inplace = ("x", "y")
    operands = takes(x="int16 [n]", y="=x [n]")
    attributes: ClassVar[Mapping[str, Range]] = BETWEEN

    def misfit(self, t: Tensors, a: Attrs) -> str:
        return crossed(a)

    def integer(self, t: Arrays, a: Attrs) -> None:
        x = t["x"].astype(np.int32)
        t["y"][...] = numeric.saturate(np.where(x > -(2**15), -x, x), a["lo"], a["hi"])

    def real(self, t: Arrays, a: Attrs) -> None:
        t["y"][...] = -t["x"]

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        scale(f["y"], where)
        return {"lo": f["y"].lo, "hi": f["y"].hi}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return [], {"y": (a["lo"], a["hi"], k["y"].shape[0] * max(-a["lo"], a["hi"]))}

    def case(self, rng: np.random.Generator) -> Case:
        x, narrow = _inputs(rng), bool(rng.integers(2))
        x[0] = -(2**15)
        limits = {"lo": -(2**13), "hi": 2**14} if narrow else {"lo": -(2**15), "hi": 2**15 - 1}
        return Case({"x": x, "y": np.zeros_like(x)}, limits, {})


class _Curve(Kernel):
    """f(x) from a table of the sigmoid, whose steps are x * multiplier / 2^shift."""

    reads = ("x",)
    writes = ("y",)
    inplace = ("x", "y")
    operands = takes(x="int16 [n]", y="int16 [n]")
    attributes: ClassVar[Mapping[str, Range]] = within(BETWEEN, multiplier=(1, MOST), shift=(0, 31))

    def misfit(self, t: Tensors, a: Attrs) -> str:
        return crossed(a)

    @staticmethod
    def _steps(t: Arrays, a: Attrs) -> numeric.Int:
        half = np.int32((1 << a["shift"]) >> 1)
        steps: numeric.Int = (t["x"].astype(np.int32) * np.int32(a["multiplier"]) + half) >> np.int32(
            a["shift"]
        )
        return steps

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        step, meaning = scale(f["x"], where), f["y"].meaning
        if meaning != Scaled((2.0**-15,)):
            what = f"its output has {meaning}, LiteRT demands scale {2.0**-15:.6g}, zero point 0"
            raise CompileError(where, what, SCALES)
        m, n = _factor(step)
        if not 1 <= m <= MOST:
            what = f"its input's scale {step:.3g} is too {'large' if m else 'small'}"
            raise CompileError(where, what, SCALES)
        return {"multiplier": m, "shift": n, "lo": f["y"].lo, "hi": f["y"].hi}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        top, n = k["x"].mag * a["multiplier"], k["y"].shape[0]
        sums = [Accumulator("steps", -top, top + ((1 << a["shift"]) >> 1))]
        return sums, {"y": (a["lo"], a["hi"], n * max(-a["lo"], a["hi"]))}

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        return Cost(macs=shapes["x"][0])

    def case(self, rng: np.random.Generator) -> Case:
        x, narrow = _inputs(rng), not rng.integers(4)
        m, n = _factor(float(np.float32(2.0 ** rng.uniform(-16, 0))))
        limits = {"lo": -(2**13), "hi": 2**14} if narrow else {"lo": -(2**15), "hi": 2**15 - 1}
        return Case({"x": x, "y": np.zeros_like(x)}, {"multiplier": m, "shift": n, **limits}, {})


def _factor(step: float) -> tuple[int, int]:
    """(multiplier, shift) of an input's scale: 15 bits, cut; exact where that is 2^-12 or 2^-11."""
    exponent = math.log2(step) + 15 - INTEGER_BITS
    if exponent in (0.0, 1.0):
        return 3 << int(exponent), 0
    found, shift = step * TABLE_STEPS, 0
    while found <= 32767.0 / 2.0 and shift <= 30:
        found, shift = found * 2.0, shift + 1
    return int(found), shift


def _inputs(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(*INT16, int(rng.integers(1, 50)), endpoint=True).astype(np.int16)


class Sigmoid(_Curve):
    name = "pointwise16.sigmoid"
    loop = Loop(_sigmoid)

    def integer(self, t: Arrays, a: Attrs) -> None:
        x = self._steps(t, a)
        curve = numeric.sigmoid_curve(np.abs(x), 9)
        y = np.where(x >= 0, curve + np.int32(512), np.int32(2**25 + 511) - curve) >> np.int32(10)
        t["y"][...] = numeric.saturate(y, a["lo"], a["hi"])

    def real(self, t: Arrays, a: Attrs) -> None:
        small = np.exp(-np.abs(t["x"]))
        t["y"][...] = np.where(t["x"] < 0, small, 1.0) / (1.0 + small)


class Tanh(_Curve):
    name = "pointwise16.tanh"
    loop = Loop(_tanh)

    def integer(self, t: Arrays, a: Attrs) -> None:
        x = self._steps(t, a)
        curve = numeric.sigmoid_curve(np.abs(x), 8) - np.int32(2**23)
        y = np.where(x >= 0, curve + np.int32(128), np.int32(127) - curve) >> np.int32(8)
        t["y"][...] = numeric.saturate(y, a["lo"], a["hi"])

    def real(self, t: Arrays, a: Attrs) -> None:
        t["y"][...] = np.tanh(t["x"])
