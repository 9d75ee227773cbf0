"""y = x where x is not negative, else slope * x; a slope a channel, or one for each value."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..errors import CompileError
from ..ir.format import Scaled
from ..ir.graph import Node
from ..ir.program import Value
from ..ir.tape import Tape
from . import Accumulator, Arrays, Attrs, Bounds, Case, Cost, Format, Kernel, Known, Layer
from ._contract import BETWEEN, INT8, REQUANTISED, Tensors, crossed, takes, within
from ._loops import Cells, Loop, Number
from ._requantise import MULTIPLIER_TOP, SCALES, beside_zero, zero
from ._shifts import MAX_SHIFT, requantising

FINEST = 14  # frac of the slopes: 1.0 at it, times 16 bits, leaves a bit of 32 to spare
TOP = 127


class PRelu(Layer):
    op = "prelu"
    pointwise = True
    constants = 1
    holds = True

    def shape(self, node: Node, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
        x, slope = shapes
        if slope not in ((x[-1],), (math.prod(x),)):
            raise CompileError(
                node.name, f"input {x} and slopes {slope} do not fit", "one slope a channel, or one a value"
            )
        return x

    def homogeneous(self, node: Node) -> bool:
        return True

    def forward(self, tape: Tape, node: Node) -> None:
        given = tape.given(node.inputs[1])
        slope = _slopes(tape, node, given)
        args = {"x": tape.value(node.inputs[0]), "w": slope, "y": tape.activation(node)}
        tape.step("prelu.forward", node, args)

    def feedback(self, tape: Tape, node: Node, teach: str, matrix: str | None) -> dict[str, str]:
        given = tape.given(node.inputs[0])
        if given is not None and given.dtype == "int16":
            what = "no teaching signal passes through a PReLU of int16"
            raise CompileError(node.name, what, "let only layers behind it learn")
        g = tape.teach(f"{node.name}_input", tape.shape(node.inputs[0]))
        args = {"x": tape.value(node.inputs[0]), "d": teach, "w": _slopes(tape, node, None), "g": g}
        tape.step("prelu.feedback", node, args)
        return {node.inputs[0]: g}

    def sample(
        self, rng: np.random.Generator, shapes: Sequence[tuple[int, ...]]
    ) -> tuple[Node, dict[str, np.ndarray]] | None:
        n = shapes[0][-1] if rng.integers(2) else math.prod(shapes[0])
        return Node("prelu", "", ("in0", "w"), "out"), {"w": rng.normal(0.2, 0.2, n)}


def _slopes(tape: Tape, node: Node, given: Format | None) -> str:
    """The value of the slopes: as a model file holds them, or in a format of ours, which feedback needs."""
    real = tape.constant(node.inputs[1])
    if given is not None:
        return tape.b.once(Value(f"{node.name}_given", real.shape, "const", "gain", real, format=given))
    top = float(np.max(np.abs(real)))
    frac = min(FINEST, math.floor(math.log2(TOP / top))) if top else FINEST
    if frac < 0:
        what = f"has a slope of {top:.3g}, the largest is {TOP}"
        raise CompileError(node.name, what, "rescale the layer in front of it")
    ours = Format("int8", frac, -TOP, TOP)
    return tape.b.once(Value(f"{node.name}_slope", real.shape, "const", "gain", real, format=ours))


OWN = ("x_zero", "w_zero", "y_zero", "multiplier", "slope_multiplier", "slope_shift")
"""What a step has whose tensors have scales and zero points."""


def channels_misfit(t: Tensors) -> str:
    """Whether the slopes do not go round in the values."""
    x, w = t["x"].shape[0], t["w"].shape[0]
    return f"{x} values do not go round in {w} slopes" if x % w else ""


def _each(w: NDArray[np.generic], size: int) -> NDArray[np.int32]:
    """[fleet, size]: the slope of each value."""
    return np.tile(w.astype(np.int32), (1, size // w.shape[1]))


def _forward(
    x: Cells, w: Cells, y: Cells, shift: int, frac: Number, x_zero: Number, w_zero: Number, y_zero: Number,
    multiplier: Number, slope_multiplier: Number, slope_shift: Number, lo: int, hi: int,
) -> None:  # fmt: skip
    one = numeric.int32(1 << frac)
    for first in range(0, len(y), len(w)):
        for c in range(len(w)):
            d = numeric.int32(np.int32(x[first + c]) - np.int32(x_zero))
            slope = numeric.int32(np.int32(w[c]) - np.int32(w_zero))
            if slope_shift == 0:
                v = numeric.shift_round(numeric.int32(d * (slope if d < 0 else one)), shift)
            elif d < 0:
                v = numeric.scale_twice(numeric.int32(d * slope), slope_multiplier, slope_shift)
            else:
                v = numeric.scale_twice(d, multiplier, shift)
            y[first + c] = numeric.saturate(numeric.int32(v + np.int32(y_zero)), lo, hi)


def _feedback(
    x: Cells, d: Cells, w: Cells, g: Cells, frac: int, zero: int, shift: int, lo: int, hi: int
) -> None:
    one = numeric.int32(1 << frac)
    for first in range(0, len(g), len(w)):
        for c in range(len(w)):
            factor = np.int32(w[c]) if x[first + c] < zero else one
            product = numeric.int32(np.int32(d[first + c]) * factor)
            g[first + c] = numeric.saturate(numeric.shift_round(product, shift), lo, hi)


class Forward(Kernel):
    """y = (x >= 0 ? x << frac : x w) / 2^shift, frac that of w.

    Where a model file brought the formats, one of two factors, rounded twice: x - zero times
    scale_x / scale_y, or its product with w - zero times scale_x scale_w / scale_y, of float32. Input and
    output then have 8 bits or, without zero points, 16; else the output may have 16, as scores do.
    """

    name = "prelu.forward"
    loop = Loop(_forward)
    reads = ("x", "w")
    writes = ("y",)
    inplace = ("x", "y")
    operands = takes(x="int8|int16 [n]", w="int8 [channels]", y="int8|int16 [n]")
    attributes = within(
        BETWEEN,
        shift=(0, 62),
        frac=(0, FINEST),
        x_zero=INT8,
        w_zero=INT8,
        y_zero=INT8,
        multiplier=(0, MULTIPLIER_TOP),
        slope_multiplier=(0, MULTIPLIER_TOP),
        slope_shift=(1, 62),
    )
    spare = ("frac", *OWN)

    def misfit(self, t: Tensors, a: Attrs) -> str:
        own = [name for name in OWN if name in a]
        if own:
            whole = len(own) == len(OWN) and "frac" not in a and a["shift"] > 0
            if t["x"].dtype != t["y"].dtype:
                return f"makes {t['y'].dtype} of {t['x'].dtype} by multipliers"
            if t["x"].dtype == "int16" and any(a.get(f"{role}_zero") for role in "xy"):
                return "a tensor of 16 bits has a zero point"
            return (
                crossed(a) or channels_misfit(t) or ("" if whole else "some of its multipliers are missing")
            )
        if "frac" not in a or a["shift"] > MAX_SHIFT or t["x"].dtype != "int8":
            return "it has neither a frac nor multipliers, too large a shift, or no input of 8 bits"
        return beside_zero(a) or channels_misfit(t)

    def integer(self, t: Arrays, a: Attrs) -> None:
        x, w = t["x"].astype(np.int32), _each(t["w"], t["x"].shape[1])
        if "x_zero" not in a:
            product = x * np.where(x < 0, w, np.int32(1 << a["frac"]))
            t["y"][...] = numeric.saturate(numeric.shift_round(product, a["shift"]), a["lo"], a["hi"])
            return
        d = x - np.int32(a["x_zero"])
        below = numeric.scale_twice(d * (w - np.int32(a["w_zero"])), a["slope_multiplier"], a["slope_shift"])
        y = np.where(d < 0, below, numeric.scale_twice(d, a["multiplier"], a["shift"]))
        t["y"][...] = numeric.saturate(y + np.int32(a["y_zero"]), a["lo"], a["hi"])

    def real(self, t: Arrays, a: Attrs) -> None:
        t["y"][...] = np.where(
            t["x"] < 0, t["x"] * np.tile(t["w"], t["x"].shape[1] // t["w"].shape[1]), t["x"]
        )

    def cap(self, f: Mapping[str, Format], a: Attrs) -> dict[str, int]:
        return {} if isinstance(f["x"].meaning, Scaled) else {"y": f["x"].frac + f["w"].frac}

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        ends = {"lo": f["y"].lo, "hi": f["y"].hi}
        meanings = {role: f[role].meaning for role in ("x", "w", "y")}
        scales = {role: m.scale[0] for role, m in meanings.items() if isinstance(m, Scaled)}
        if not scales:
            shift = f["x"].frac + f["w"].frac - f["y"].frac
            requantising(shift, where, "rescale the layer in front of it")
            return {"shift": shift, "frac": f["w"].frac, **ends}
        if len(scales) < len(meanings):
            what = f"some of its tensors have a scale and a zero point ({', '.join(scales)}), others not"
            raise CompileError(where, what, "report this model: an importer is wrong")
        x, w, y = (np.float32(scales[role]) for role in ("x", "w", "y"))  # LiteRT's factors are of float32
        m, n = numeric.multiplier(float(x / y))
        slope_m, slope_n = numeric.multiplier(float(x * w / y))
        requantising([n - 1, slope_n - 1], where, SCALES, 61)
        zeros = {f"{role}_zero": zero(f[role]) for role in meanings}
        return {
            "multiplier": m, "shift": n, "slope_multiplier": slope_m, "slope_shift": slope_n, **zeros, **ends
        }  # fmt: skip

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        n = k["x"].shape[0]
        written = {"y": (a["lo"], a["hi"], n * max(-a["lo"], a["hi"]))}
        if "x_zero" not in a:
            top = k["x"].mag * max(k["w"].mag, 1 << a["frac"])
            return [Accumulator("product", -top, top + ((1 << a["shift"]) >> 1))], written
        x = max(abs(end - a["x_zero"]) for end in (k["x"].lo, k["x"].hi))
        w = max(abs(end - a["w_zero"]) for end in (k["w"].lo, k["w"].hi))
        most = max(x * a["multiplier"] >> a["shift"], x * w * a["slope_multiplier"] >> a["slope_shift"])
        return [Accumulator("scaled product", -most - 256, most + 256)], written

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        return Cost(macs=shapes["x"][0], reads=shapes["w"][0])

    def case(self, rng: np.random.Generator) -> Case:
        channels, rows = (int(v) for v in rng.integers(1, 9, 2))
        x = rng.integers(-128, 128, channels * rows).astype(np.int8)
        w = rng.integers(-127, 128, channels).astype(np.int8)
        attrs: dict[str, int] = {"shift": int(rng.integers(0, 20)), "frac": int(rng.integers(0, FINEST + 1))}
        if rng.integers(2):
            zeros = zip(("x_zero", "w_zero", "y_zero"), rng.integers(-128, 128, 3), strict=True)
            attrs = {key: int(v) for key, v in zeros}
            for of, shifts in (("", (26, 40)), ("slope_", (30, 48))):
                attrs |= {f"{of}multiplier": int(rng.integers(2**30, 2**31))}
                attrs |= {f"{of}shift": int(rng.integers(*shifts))}
            if rng.integers(2):
                attrs |= {"x_zero": 0, "y_zero": 0, "lo": -(2**15), "hi": 2**15 - 1}
                x = rng.integers(-(2**15), 2**15, x.shape).astype(np.int16)
                return Case({"x": x, "w": w, "y": np.zeros_like(x)}, attrs, {"w": (-127, 127)})
        attrs |= {"lo": int(rng.choice([-128, 0])), "hi": 127}
        y = np.zeros_like(x)
        if "frac" in attrs and rng.integers(2):
            attrs |= {"lo": -(2**15), "hi": 2**15 - 1}
            y = y.astype(np.int16)
        return Case({"x": x, "w": w, "y": y}, attrs, {"w": (-127, 127)})


class Feedback(Kernel):
    """g = d (x >= 0 ? 1 : w), at w's frac."""

    name = "prelu.feedback"
    loop = Loop(_feedback)
    reads = ("x", "d", "w")
    writes = ("g",)
    inplace = ("d", "g")
    operands = takes(x="int8 [n]", d="int16 [n]", w="int8 [channels]", g="int16 [n]")
    attributes = within(REQUANTISED, frac=(0, FINEST), zero=INT8)

    def misfit(self, t: Tensors, a: Attrs) -> str:
        return channels_misfit(t)

    def integer(self, t: Arrays, a: Attrs) -> None:
        w = _each(t["w"], t["x"].shape[1])
        factor = np.where(t["x"] < a["zero"], w, np.int32(1 << a["frac"]))
        product = t["d"].astype(np.int32) * factor
        t["g"][...] = numeric.saturate(numeric.shift_round(product, a["shift"]), a["lo"], a["hi"])

    def real(self, t: Arrays, a: Attrs) -> None:
        t["g"][...] = t["d"] * np.where(t["x"] < 0, np.tile(t["w"], t["x"].shape[1] // t["w"].shape[1]), 1.0)

    def cap(self, f: Mapping[str, Format], a: Attrs) -> dict[str, int]:
        return {"g": f["d"].frac + f["w"].frac}

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        shift = f["d"].frac + f["w"].frac - f["g"].frac
        requantising(shift, where, "rescale the layer in front of it")
        least = zero(f["x"]) if isinstance(f["x"].meaning, Scaled) else 0
        return {"shift": shift, "frac": f["w"].frac, "zero": least, "lo": f["g"].lo, "hi": f["g"].hi}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        top = k["d"].mag * max(k["w"].mag, 1 << a["frac"])
        sums = [Accumulator("product", -top, top + ((1 << a["shift"]) >> 1))]
        return sums, {"g": (a["lo"], a["hi"], k["g"].shape[0] * max(-a["lo"], a["hi"]))}

    def case(self, rng: np.random.Generator) -> Case:
        channels, rows = (int(v) for v in rng.integers(1, 9, 2))
        d = rng.integers(-(2**15), 2**15, channels * rows).astype(np.int16)
        arrays: dict[str, NDArray[np.generic]] = {
            "x": rng.integers(-128, 128, d.size).astype(np.int8),
            "d": d,
            "w": rng.integers(-127, 128, channels).astype(np.int8),
            "g": np.zeros_like(d),
        }
        attrs = {"shift": int(rng.integers(0, 20)), "frac": int(rng.integers(0, FINEST + 1)), "lo": -(2**12)}
        attrs |= {"hi": 2**12 - 1, "zero": int(rng.integers(-128, 128)) if rng.integers(2) else 0}
        return Case(arrays, attrs, {"w": (-127, 127)})
