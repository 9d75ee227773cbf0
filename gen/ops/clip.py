"""y = min(max(x, lo), hi): ReLU (lo 0, no hi), ReLU6, hard tanh. Its derivative: 1 inside, else 0.

Where y is needed for nothing else, a bit for each value says what the derivative is: `mask`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from .. import numeric
from ..errors import CompileError
from ..ir.graph import Attr, Node
from ..ir.program import Step
from ..ir.tape import Tape
from . import Arrays, Attrs, Bounds, Case, Format, Kept, Kernel, Known, Layer, _kept_loops
from . import _packed as bits
from ._contract import BETWEEN, Tensors, crossed, takes, within
from ._folding import Shape
from ._loops import Cells, Loop, put
from ._parts import Applied, Part
from ._requantise import zero

OUTSIDE = 2**15 + 1  # what no int16 is, on either side
INSIDE = within(above=(-OUTSIDE, OUTSIDE), below=(-OUTSIDE, OUTSIDE))
"""Of a step that writes a mask: between which values a bit is 1."""


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

    def applied(self, node: Node, constants: Sequence[np.ndarray]) -> Applied:
        return Applied("limits", *limits(node))

    def doing(self, parts: Sequence[Part]) -> Mapping[str, Attr] | None:
        first = parts[0].applied
        alone = len(parts) == 1 and first.name == "limits"
        return {"lo": first.alpha, "hi": first.beta} if alone else None

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


def _mask_misfit(t: Tensors, count: int) -> str:
    """Whether a mask has other bytes than `count` values need; "" if not, or if there is none."""
    wanted = bits.size(count, 1)
    fits = "mask" not in t or t["mask"].shape[0] == wanted
    return "" if fits else f"a mask of {count} values has {wanted} bytes"


class Forward(Kernel):
    name = "clip.forward"
    loop = Loop(_forward, otherwise=Loop(_kept_loops.clip_forward))
    reads = ("x",)
    writes = ("y", "mask")
    optional = ("mask",)
    inplace = ("x", "y")
    moves = True
    operands = takes(x="int8|int16 [n]", y="int8|int16 [n]", mask="uint8 [bytes]")
    attributes = within(BETWEEN, INSIDE)
    spare = tuple(INSIDE)

    def least(self, least: Mapping[str, float], a: Attrs) -> float:
        return min(max(least["x"], float(a["lo"])), float(a["hi"]))

    def misfit(self, t: Tensors, a: Attrs) -> str:
        if any((name in a) != ("mask" in t) for name in INSIDE):
            return "it takes operand mask and the attributes above and below together"
        return crossed(a) or _mask_misfit(t, t["y"].shape[0])

    def integer(self, t: Arrays, a: Attrs) -> None:
        t["y"][...] = numeric.saturate(t["x"].astype(np.int32), a["lo"], a["hi"])
        self._mask(t, a)

    def real(self, t: Arrays, a: Attrs) -> None:
        t["y"][...] = np.clip(t["x"], a["lo"], a["hi"])
        self._mask(t, a)

    @staticmethod
    def _mask(t: Arrays, a: Attrs) -> None:
        if "mask" in t:
            y = t["y"] if t["y"].dtype.kind == "f" else t["y"].astype(np.int32)
            t["mask"][...] = bits.packed((y > a["above"]) & (y < a["below"]), 1)

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
        written = {"y": (min(lo, hi), max(lo, hi), n * max(-lo, hi, 0))}
        return [], written | ({"mask": bits.anything(k["mask"].shape[0])} if "mask" in k else {})

    def case(self, rng: np.random.Generator) -> Case:
        n = int(rng.integers(1, 50))
        x = rng.integers(-128, 128, n).astype(np.int8)
        attrs = {"lo": -int(rng.integers(0, 128)), "hi": int(rng.integers(0, 128))}
        if not rng.integers(2):
            return Case({"x": x, "y": np.zeros_like(x)}, attrs, {})
        ends = {"above": [attrs["lo"], -OUTSIDE, 5], "below": [attrs["hi"], OUTSIDE, 5]}
        attrs |= {name: int(rng.choice(some)) for name, some in ends.items()}
        return Case({"x": x, "y": np.zeros_like(x), "mask": np.zeros(bits.size(n, 1), np.uint8)}, attrs, {})


class Feedback(Kernel):
    """g = d where lo < y < hi, else 0. Limits that do not exist lie outside of y's type.

    With `mask`, d where its bit is 1; then it has no limits.
    """

    name = "clip.feedback"
    loop = Loop(_feedback, otherwise=Loop(_kept_loops.clip_feedback))
    reads = ("y", "mask", "d")
    writes = ("g",)
    optional = ("y", "mask")
    inplace = ("d", "g")
    operands = takes(y="int8|int16 [n]", mask="uint8 [bytes]", d="int16 [n]", g="int16 [n]")
    attributes = within(lo=(-OUTSIDE, OUTSIDE), hi=(-OUTSIDE, OUTSIDE))
    spare = ("lo", "hi")

    def misfit(self, t: Tensors, a: Attrs) -> str:
        if len({"y", "mask"} & t.keys()) != 1 or any((name in a) != ("y" in t) for name in self.spare):
            return "it takes operand y with its limits, or a mask"
        return _mask_misfit(t, t["g"].shape[0])

    def integer(self, t: Arrays, a: Attrs) -> None:
        if "mask" in t:
            inside = bits.unpacked(t["mask"], t["g"].shape[1], 1) != 0
        else:
            y = t["y"].astype(np.int32)
            inside = (y > a["lo"]) & (y < a["hi"])
        t["g"][...] = np.where(inside, t["d"], t["d"].dtype.type(0))

    def real(self, t: Arrays, a: Attrs) -> None:
        if "mask" in t:
            self.integer(t, a)
        else:
            t["g"][...] = np.where((t["y"] > a["lo"]) & (t["y"] < a["hi"]), t["d"], 0.0)

    def kept(self, step: Step, made: Step, fresh: Callable[[str], str]) -> Kept | None:
        if made.kernel != Forward.name or "y" not in step.args or made.args["y"] != step.args["y"]:
            return None
        ends = {"above": step.attrs["lo"], "below": step.attrs["hi"]}
        name = fresh(f"{made.args['y']}_mask")
        writer = Step(
            made.kernel, made.node, {**made.args, "mask": name}, dict(sorted({**made.attrs, **ends}.items()))
        )
        reader = Step(step.kernel, step.node, {"mask": name, **bits.without(step, "y")}, {})
        return Kept(writer, reader, name, made.args["y"], 1)

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        return {"lo": _integer(a["lo"], f["y"], -OUTSIDE), "hi": _integer(a["hi"], f["y"], OUTSIDE)}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return [], {"g": (min(k["d"].lo, 0), max(k["d"].hi, 0), k["d"].l1)}

    def case(self, rng: np.random.Generator) -> Case:
        n = int(rng.integers(1, 50))
        d = rng.integers(-(2**15), 2**15, n).astype(np.int16)
        lo = int(rng.choice([-32769, -20, 0]))
        if rng.integers(2):
            mask = rng.integers(0, 256, bits.size(n, 1)).astype(np.uint8)
            return Case({"mask": mask, "d": d, "g": np.zeros_like(d)}, {}, {})
        return Case(
            {"y": rng.integers(-128, 128, n).astype(np.int8), "d": d, "g": np.zeros_like(d)},
            {"lo": lo, "hi": int(rng.choice([32769, 50, 3]))},
            {},
        )
