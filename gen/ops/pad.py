"""A map [height, width, channels] with a border of one value. The signal of the border is dropped."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from ..ir.graph import Node
from ..ir.tape import Tape
from . import Arrays, Attrs, Bounds, Case, Format, Kernel, Known, Layer
from ._contract import SIZE, Tensors, beyond, takes, within
from ._element_loops import copied
from ._folding import Border, Shape
from ._loops import Cells, Loop, Number

BORDER = within(dict.fromkeys(("above", "before", "after", "below"), (0, SIZE[1])), rows=SIZE, row=SIZE)


class Pad(Layer):
    op = "pad"
    follows = True

    def shape(self, node: Node, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
        (shape,) = shapes
        if len(shape) != 3:
            raise CompileError(node.name, f"input {shape}", "maps [height, width, channels] can be padded")
        top, left, bottom, right = padding(node)
        if min(top, left, bottom, right) < 0:
            what = f"padding {(top, left, bottom, right)} cuts something off"
            raise CompileError(node.name, what, "only zero or more rows and columns can be added")
        if not math.isfinite(value(node)):
            what = f"pads with {value(node)}"
            raise CompileError(node.name, what, "pad with a number, or use the padding of a pooling layer")
        return shape[0] + top + bottom, shape[1] + left + right, shape[2]

    def moved(self, node: Node, parts: Sequence[NDArray[Any]], to: Shape, border: int) -> NDArray[Any] | None:
        if value(node) != 0:
            return None
        top, left, bottom, right = padding(node)
        return np.pad(parts[0], ((top, bottom), (left, right), (0, 0)), constant_values=border)

    def border(self, node: Node) -> Border | None:
        return padding(node), value(node)

    def forward(self, tape: Tape, node: Node) -> None:
        x, y = tape.value(node.inputs[0]), tape.activation(node)
        tape.share_format(x, y)
        geometry = _geometry(tape, node)
        tape.step("pad.forward", node, {"x": x, "y": y}, value=value(node), **geometry)

    def feedback(self, tape: Tape, node: Node, teach: str, matrix: str | None) -> dict[str, str]:
        g = tape.teach(f"{node.name}_input", tape.shape(node.inputs[0]), tie=teach)
        tape.step("pad.feedback", node, {"d": teach, "g": g}, **_geometry(tape, node))
        return {node.inputs[0]: g}

    def sample(
        self, rng: np.random.Generator, shapes: Sequence[tuple[int, ...]]
    ) -> tuple[Node, dict[str, np.ndarray]] | None:
        if len(shapes[0]) != 3:
            return None
        around = tuple(int(p) for p in rng.integers(0, 3, 4))
        value = float(rng.choice([0.0, 0.5, -1.0]))
        return Node("pad", "", ("in0",), "out", {"padding": around, "value": value}), {}


def padding(node: Node) -> tuple[int, int, int, int]:
    """(top, left, bottom, right)."""
    top, left, bottom, right = node.wholes("padding")
    return top, left, bottom, right


def value(node: Node) -> float:
    v = node.attrs["value"]
    assert isinstance(v, int | float)
    return float(v)


def _geometry(tape: Tape, node: Node) -> dict[str, int]:
    """Sizes of the map and of its border, in values: a row is width * channels of them."""
    height, width, channels = tape.shape(node.inputs[0])
    top, left, bottom, right = padding(node)
    return {
        "rows": height,
        "row": width * channels,
        "above": top,
        "before": left * channels,
        "after": right * channels,
        "below": bottom,
    }


def _inside(whole: np.ndarray, a: Attrs) -> np.ndarray:
    """What of the padded map [D, n] is the map itself, [D, rows, row], as a view."""
    outer = whole.reshape(len(whole), a["above"] + a["rows"] + a["below"], -1)
    return outer[:, a["above"] : a["above"] + a["rows"], a["before"] : a["before"] + a["row"]]


SIZES = {"border": ("above", "before", "after", "rows", "row")}


def _forward(x: Cells, y: Cells, border: Number, value: int) -> None:
    above, before, after, rows, row = border
    y[:] = value
    for r in range(rows):
        copied(y, (above + r) * (before + row + after) + before, x, r * row, row)


def _feedback(d: Cells, g: Cells, border: Number) -> None:
    above, before, after, rows, row = border
    for r in range(rows):
        copied(g, r * row, d, (above + r) * (before + row + after) + before, row)


class Forward(Kernel):
    name = "pad.forward"
    loop = Loop(_forward, SIZES)
    reads = ("x",)
    writes = ("y",)
    moves = True
    operands = takes(x="int8|int16 [inner]", y="=x [outer]")
    attributes = within(BORDER, value=(-(2**15), 2**15 - 1))

    def sizes(self, a: Attrs) -> dict[str, int]:
        return {"inner": a["rows"] * a["row"], "outer": _size(a)}

    def misfit(self, t: Tensors, a: Attrs) -> str:
        return beyond(t["y"], a["value"], a["value"])

    def integer(self, t: Arrays, a: Attrs) -> None:
        t["y"][...] = a["value"]
        inside = _inside(t["y"], a)
        inside[...] = t["x"].reshape(inside.shape)

    real = integer

    def least(self, least: Mapping[str, float], a: Attrs) -> float:
        return min(least["x"], float(a["value"]))

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        y = f["y"]
        if f["x"].meaning != y.meaning:
            what = f"its input has {f['x'].meaning}, its output {y.meaning}: padding does not rescale"
            raise CompileError(where, what, "report this model")
        held = min(max(y.meaning.unit(float(a["value"])), y.lo), y.hi)
        return {k: int(v) for k, v in a.items()} | {"value": held}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        x, border = k["x"], int(np.prod(k["y"].shape)) - int(np.prod(k["x"].shape))
        lo, hi = (min(x.lo, a["value"]), max(x.hi, a["value"])) if border else (x.lo, x.hi)
        return [], {"y": (lo, hi, x.l1 + border * abs(a["value"]))}

    def case(self, rng: np.random.Generator) -> Case:
        a = _border(rng)
        dtype = np.int16 if rng.integers(2) else np.int8
        x = rng.integers(-128, 128, a["rows"] * a["row"]).astype(dtype)
        return Case({"x": x, "y": np.zeros(_size(a), dtype)}, a | {"value": int(rng.integers(-128, 128))}, {})


class Feedback(Kernel):
    """g is d without the border."""

    name = "pad.feedback"
    loop = Loop(_feedback, SIZES)
    reads = ("d",)
    writes = ("g",)
    operands = takes(d="int16 [outer]", g="=d [inner]")
    attributes = BORDER

    def sizes(self, a: Attrs) -> dict[str, int]:
        return {"inner": a["rows"] * a["row"], "outer": _size(a)}

    def integer(self, t: Arrays, a: Attrs) -> None:
        t["g"][...] = _inside(t["d"], a).reshape(t["g"].shape)

    real = integer

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return [], {"g": (k["d"].lo, k["d"].hi, min(k["d"].l1, k["g"].shape[0] * k["d"].mag))}

    def case(self, rng: np.random.Generator) -> Case:
        a = _border(rng)
        d = rng.integers(-(2**15), 2**15, _size(a)).astype(np.int16)
        return Case({"d": d, "g": np.zeros(a["rows"] * a["row"], np.int16)}, a, {})


def _border(rng: np.random.Generator) -> dict[str, int]:
    sizes = {"rows": 5, "row": 9} | dict.fromkeys(("above", "before", "after", "below"), 4)
    return {key: int(rng.integers(key.startswith("row"), n)) for key, n in sizes.items()}


def _size(a: Mapping[str, int]) -> int:
    return (a["above"] + a["rows"] + a["below"]) * (a["before"] + a["row"] + a["after"])
