"""y = min(max(x, lo), hi): ReLU (lo 0, no hi), ReLU6, hard tanh. Its derivative: 1 inside, else 0."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from .. import numeric
from ..errors import CompileError
from ..ir.graph import Attr, Node
from ..ir.tape import Tape
from . import Arrays, Attrs, Bounds, Case, Format, Kernel, Known, Layer
from ._contract import BETWEEN, Tensors, crossed, takes, within
from ._folding import Shape
from ._loops import Cells, Loop, put
from ._requantise import zero

OUTSIDE = 2**15 + 1  # what no int16 is, on either side


class Clip(Layer):
    op = "clip"
    pointwise = True
    follows = True

    def shape(self, node: Node, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
        return shapes[0]

    def idle(self, node: Node, shape: Shape, to: Shape, constants: Sequence[np.ndarray]) -> bool:
        lo, hi = limits(node)
        return math.isinf(lo) and math.isinf(hi)

    def merged(self, node: Node, before: Node) -> Mapping[str, Attr] | None:
        (lo, hi), inner = limits(node), limits(before)
        new = min(max(inner[0], lo), hi), max(min(inner[1], hi), lo)
        return {"lo": new[0], "hi": new[1]} if new[0] < new[1] else None

    def least(self, node: Node) -> float:
        return limits(node)[0]

    def limits(self, node: Node, held: Format | None) -> Format | None:
        return None if held is None else Format(held.dtype, held.meaning, *_within(held, *limits(node)))

    def homogeneous(self, node: Node) -> bool:
        return {*map(abs, limits(node))} <= {0.0, math.inf}

    def forward(self, tape: Tape, node: Node) -> None:
        x, y = tape.value(node.inputs[0]), tape.activation(node)
        tape.share_format(x, y)
        lo, hi = limits(node)
        tape.step("clip.forward", node, {"x": x, "y": y}, lo=lo, hi=hi)

    def feedback(self, tape: Tape, node: Node, teach: str, matrix: str | None) -> dict[str, str]:
        g = tape.teach(f"{node.name}_input", tape.shape(node.inputs[0]), tie=teach)
        lo, hi = limits(node)
        tape.step("clip.feedback", node, {"y": tape.value(node.output), "d": teach, "g": g}, lo=lo, hi=hi)
        return {node.inputs[0]: g}

    def sample(
        self, rng: np.random.Generator, shapes: Sequence[tuple[int, ...]]
    ) -> tuple[Node, dict[str, np.ndarray]] | None:
        ranges = [(0.0, math.inf), (0.0, 6.0), (-1.0, 1.0), (-0.5, math.inf), (-math.inf, 0.75)]
        lo, hi = ranges[int(rng.integers(5))]
        return Node("clip", "", ("in0",), "out", {"lo": lo, "hi": hi}), {}


def limits(node: Node) -> tuple[float, float]:
    """(lo, hi) of a clip node, infinite where there is no limit."""
    lo, hi = node.attrs["lo"], node.attrs["hi"]
    assert isinstance(lo, int | float) and isinstance(hi, int | float)
    return float(lo), float(hi)


def _integer(limit: float, f: Format, beyond: int) -> int:
    """The limit in integers, halves up, or `beyond` where it is infinite; never further out than `beyond`."""
    if math.isinf(limit):
        return beyond
    v = f.meaning.unit(limit)
    return min(v, beyond) if beyond > 0 else max(v, beyond)


def _within(f: Format, lo: float, hi: float) -> tuple[int, int]:
    """The integers of the format that real limits leave; one at least."""
    return (
        min(max(_integer(lo, f, f.lo), f.lo), f.hi),
        max(min(_integer(hi, f, f.hi), f.hi), f.lo),
    )


# What may be in place is made beside it first: loops that write what they read are no lanes to a compiler.


def _forward(x: Cells, y: Cells, lo: int, hi: int) -> None:
    held = np.empty_like(y)
    for i in range(len(y)):
        held[i] = numeric.saturate(numeric.int32(x[i]), lo, hi)
    put(y, held)


def _feedback(y: Cells, d: Cells, g: Cells, lo: int, hi: int) -> None:
    low, high, passed = np.int32(lo), np.int32(hi), np.empty_like(g)
    for i in range(len(g)):
        v = np.int32(y[i])
        inside = np.int16(v > low) & np.int16(v < high)
        passed[i] = d[i] * inside
    put(g, passed)


class Forward(Kernel):
    name = "clip.forward"
    loop = Loop(_forward)
    reads = ("x",)
    writes = ("y",)
    inplace = ("x", "y")
    moves = True
    operands = takes(x="int8|int16 [n]", y="int8|int16 [n]")
    attributes = BETWEEN

    def least(self, least: Mapping[str, float], a: Attrs) -> float:
        return min(max(least["x"], float(a["lo"])), float(a["hi"]))

    def misfit(self, t: Tensors, a: Attrs) -> str:
        return crossed(a)

    def integer(self, t: Arrays, a: Attrs) -> None:
        t["y"][...] = numeric.saturate(t["x"].astype(np.int32), a["lo"], a["hi"])

    def real(self, t: Arrays, a: Attrs) -> None:
        t["y"][...] = np.clip(t["x"], a["lo"], a["hi"])

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        y = f["y"]
        if f["x"].meaning != y.meaning:
            what = f"its input has {f['x'].meaning}, its output {y.meaning}: a clip does not rescale"
            raise CompileError(where, what, "report this model")
        lo, hi = _within(y, a["lo"], a["hi"])
        return {"lo": lo, "hi": hi}

    def idle(self, f: Mapping[str, Format], a: Attrs) -> bool:
        x = f["x"]
        return zero(x) != 0 and a["lo"] <= x.lo and x.hi <= a["hi"]

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        lo, hi = max(k["x"].lo, a["lo"]), min(k["x"].hi, a["hi"])
        n = int(np.prod(k["x"].shape))
        return [], {"y": (min(lo, hi), max(lo, hi), n * max(-lo, hi, 0))}

    def case(self, rng: np.random.Generator) -> Case:
        n = int(rng.integers(1, 50))
        x = rng.integers(-128, 128, n).astype(np.int8)
        return Case(
            {"x": x, "y": np.zeros_like(x)},
            {"lo": -int(rng.integers(0, 128)), "hi": int(rng.integers(0, 128))},
            {},
        )


class Feedback(Kernel):
    """g = d where lo < y < hi, else 0. Limits that do not exist lie outside of y's type."""

    name = "clip.feedback"
    loop = Loop(_feedback)
    reads = ("y", "d")
    writes = ("g",)
    inplace = ("d", "g")
    operands = takes(y="int8|int16 [n]", d="int16 [n]", g="int16 [n]")
    attributes = within(lo=(-OUTSIDE, OUTSIDE), hi=(-OUTSIDE, OUTSIDE))

    def integer(self, t: Arrays, a: Attrs) -> None:
        y = t["y"].astype(np.int32)
        t["g"][...] = np.where((y > a["lo"]) & (y < a["hi"]), t["d"], 0)

    def real(self, t: Arrays, a: Attrs) -> None:
        t["g"][...] = np.where((t["y"] > a["lo"]) & (t["y"] < a["hi"]), t["d"], 0.0)

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        return {"lo": _integer(a["lo"], f["y"], -OUTSIDE), "hi": _integer(a["hi"], f["y"], OUTSIDE)}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return [], {"g": (min(k["d"].lo, 0), max(k["d"].hi, 0), k["d"].l1)}

    def case(self, rng: np.random.Generator) -> Case:
        n = int(rng.integers(1, 50))
        d = rng.integers(-(2**15), 2**15, n).astype(np.int16)
        lo = int(rng.choice([-32769, -20, 0]))
        return Case(
            {"y": rng.integers(-128, 128, n).astype(np.int8), "d": d, "g": np.zeros_like(d)},
            {"lo": lo, "hi": int(rng.choice([32769, 50, 3]))},
            {},
        )
