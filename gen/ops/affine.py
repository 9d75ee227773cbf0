"""y = scale * x + shift, one pair a feature: normalisations that could not be folded into a neighbour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .. import numeric
from ..errors import CompileError
from ..ir.graph import Node
from ..ir.program import Value
from ..ir.tape import Tape
from . import Accumulator, Arrays, Attrs, Bounds, Case, Cost, Format, Kernel, Known, Layer
from ._contract import REQUANTISED, takes
from ._folding import Shape
from ._loops import Cells, Loop
from ._parts import Applied
from ._shifts import requantising


class Affine(Layer):
    op = "affine"
    pointwise = True
    constants = 2
    scales = True

    def shape(self, node: Node, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
        x, scale, shift = shapes
        n = int(np.prod(x))
        if scale != (n,) or shift != (n,):
            raise CompileError(
                node.name,
                f"input {x}, scale {scale} and shift {shift} do not fit",
                "one factor and one summand a feature",
            )
        return x

    def idle(self, node: Node, shape: Shape, to: Shape, constants: Sequence[np.ndarray]) -> bool:
        """1 * x + 0 is x; so is what a file's float32 rounding leaves of 6 * (x / 6)."""
        scale, shift = constants
        return bool(np.all(np.abs(scale - 1.0) <= np.finfo(np.float32).eps) and np.all(shift == 0.0))

    def deaf(self, constants: Sequence[np.ndarray]) -> bool:
        return not np.any(constants[0])

    def applied(self, node: Node, constants: Sequence[np.ndarray]) -> Applied | None:
        scale, shift = constants
        alike = bool(np.all(scale == scale[0]) and np.all(shift == shift[0]))
        return Applied("scale", float(scale[0]), float(shift[0])) if alike else None

    def takes_in(self, node: Node, shifted: bool) -> bool:
        return True

    def forward(self, tape: Tape, node: Node) -> None:
        x, scale, shift = node.inputs
        gain = tape.add(Value(f"{node.name}_scale", tape.shape(scale), "const", "gain", tape.constant(scale)))
        bias = tape.add(Value(f"{node.name}_shift", tape.shape(shift), "const", "bias", tape.constant(shift)))
        args = {"x": tape.value(x), "w": gain, "b": bias, "y": tape.activation(node)}
        tape.step("affine.forward", node, args)

    def feedback(self, tape: Tape, node: Node, teach: str, matrix: str | None) -> dict[str, str]:
        g = tape.teach(f"{node.name}_input", tape.shape(node.inputs[0]))
        tape.step("affine.feedback", node, {"d": teach, "w": f"{node.name}_scale", "g": g})
        return {node.inputs[0]: g}

    def sample(
        self, rng: np.random.Generator, shapes: Sequence[tuple[int, ...]]
    ) -> tuple[Node, dict[str, np.ndarray]] | None:
        n = int(np.prod(shapes[0]))
        consts = {"w": rng.normal(1, 0.5, n), "b": rng.normal(0, 0.5, n)}
        return Node("affine", "", ("in0", "w", "b"), "out"), consts


def _forward(x: Cells, w: Cells, b: Cells, y: Cells, shift: int, lo: int, hi: int) -> None:
    for i in range(len(y)):
        total = numeric.int32(numeric.int32(np.int32(x[i]) * np.int32(w[i])) + np.int32(b[i]))
        y[i] = numeric.saturate(numeric.shift_round(total, shift), lo, hi)


def _feedback(d: Cells, w: Cells, g: Cells, shift: int, lo: int, hi: int) -> None:
    for i in range(len(g)):
        product = numeric.int32(np.int32(d[i]) * np.int32(w[i]))
        g[i] = numeric.saturate(numeric.shift_round(product, shift), lo, hi)


class Forward(Kernel):
    name = "affine.forward"
    loop = Loop(_forward)
    reads = ("x", "w", "b")
    writes = ("y",)
    inplace = ("x", "y")
    operands = takes(x="int8|int16 [n]", w="int8 [n]", b="int32 [n]", y="int8|int16 [n]")
    attributes = REQUANTISED

    def integer(self, t: Arrays, a: Attrs) -> None:
        x = t["x"].astype(np.int32)
        acc = x * t["w"].astype(np.int32) + t["b"]
        t["y"][...] = numeric.saturate(numeric.shift_round(acc, a["shift"]), a["lo"], a["hi"])

    def real(self, t: Arrays, a: Attrs) -> None:
        t["y"][...] = t["x"] * t["w"] + t["b"]

    def cap(self, f: Mapping[str, Format], a: Attrs) -> dict[str, int]:
        return {"y": f["x"].frac + f["w"].frac}

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        shift = f["x"].frac + f["w"].frac - f["y"].frac
        requantising(shift, where, "rescale the normalisation")
        return {"shift": shift, "lo": f["y"].lo, "hi": f["y"].hi}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        top = k["x"].mag * k["w"].mag + k["b"].mag
        n = int(np.prod(k["x"].shape))
        sums = [Accumulator("sum", -top, top + ((1 << a["shift"]) >> 1))]
        return sums, {"y": (a["lo"], a["hi"], n * max(-a["lo"], a["hi"]))}

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        return Cost(macs=shapes["w"][0], reads=shapes["w"][0])

    def case(self, rng: np.random.Generator) -> Case:
        n = int(rng.integers(1, 50))
        x = rng.integers(-128, 128, n).astype(np.int8)
        w = rng.integers(-127, 128, n).astype(np.int8)
        b = rng.integers(-(2**14), 2**14, n).astype(np.int32)
        return Case(
            {"x": x, "w": w, "b": b, "y": np.zeros_like(x)},
            {"shift": int(rng.integers(0, 12)), "lo": -128, "hi": 127},
            {"w": (-127, 127)},
        )


class Feedback(Kernel):
    name = "affine.feedback"
    loop = Loop(_feedback)
    reads = ("d", "w")
    writes = ("g",)
    inplace = ("d", "g")
    operands = takes(d="int16 [n]", w="int8 [n]", g="int16 [n]")
    attributes = REQUANTISED

    def integer(self, t: Arrays, a: Attrs) -> None:
        p = t["d"].astype(np.int32) * t["w"].astype(np.int32)
        t["g"][...] = numeric.saturate(numeric.shift_round(p, a["shift"]), a["lo"], a["hi"])

    def real(self, t: Arrays, a: Attrs) -> None:
        t["g"][...] = t["d"] * t["w"]

    def cap(self, f: Mapping[str, Format], a: Attrs) -> dict[str, int]:
        return {"g": f["d"].frac + f["w"].frac}

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        shift = f["d"].frac + f["w"].frac - f["g"].frac
        requantising(shift, where, "rescale the normalisation")
        return {"shift": shift, "lo": f["g"].lo, "hi": f["g"].hi}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        top = k["d"].mag * k["w"].mag
        n = int(np.prod(k["d"].shape))
        sums = [Accumulator("product", -top, top + ((1 << a["shift"]) >> 1))]
        return sums, {"g": (a["lo"], a["hi"], n * max(-a["lo"], a["hi"]))}

    def case(self, rng: np.random.Generator) -> Case:
        n = int(rng.integers(1, 50))
        d = rng.integers(-(2**15), 2**15, n).astype(np.int16)
        w = rng.integers(-127, 128, n).astype(np.int8)
        return Case(
            {"d": d, "w": w, "g": np.zeros_like(d)},
            {"shift": int(rng.integers(0, 12)), "lo": -512, "hi": 511},
            {"w": (-127, 127)},
        )
