"""A map resized along both axes at once, in the integers of a .tflite file, as LiteRT has it.

A place is a number in Q10: the neighbour before it in the upper bits, how far it lies behind that in the
lower ten. Networks in float are resized along one axis after the other (gen/ops/interpolate.py), and so are
signals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..errors import CompileError
from ..ir.graph import Node
from ..ir.program import Value
from ..ir.tape import Tape
from . import Accumulator, Arrays, Attrs, Bounds, Case, Cost, Format, Kernel, Known, Layer
from ._contract import INT8, SIZE, Tensors, takes, within
from ._folding import Shape
from ._loops import Cells, Loop, helper, narrow
from .interpolate import FRAC as SIGNAL_FRAC
from .interpolate import MOST, read_by

FRAC = 10
ONE = 1 << FRAC
HALF_UP = (1 << 30, 30 + 2 * FRAC)  # m and n of 1 / 2^20: halves away from zero
AXES = ("rows", "columns")


class Bilinear(Layer):
    op = "bilinear"
    follows = True

    def shape(self, node: Node, shapes: Sequence[Shape]) -> Shape:
        (shape,) = shapes
        if len(shape) != 3:
            raise CompileError(
                node.name, f"resizes shape {shape}", "maps [height, width, channels] are resized"
            )
        for size, axis in zip(shape, AXES, strict=False):
            places = _places(node, axis)
            if size > MOST or not places or not 0 <= min(places) <= max(places) <= (size - 1) * ONE:
                what = f"takes {len(places)} {axis} of {size}"
                raise CompileError(node.name, what, "they lie between the first and the last one")
        return len(_places(node, "rows")), len(_places(node, "columns")), shape[2]

    def forward(self, tape: Tape, node: Node) -> None:
        x, y = tape.value(node.inputs[0]), tape.activation(node)
        tape.share_format(x, y)
        height, width, channels = tape.shape(node.inputs[0])
        args = {"x": x} | {axis: _index(tape, node, axis, FRAC) for axis in AXES} | {"y": y}
        tape.step("bilinear.forward", node, args, height=height, width=width, channels=channels)

    def feedback(self, tape: Tape, node: Node, teach: str, matrix: str | None) -> dict[str, str]:
        height, width, channels = tape.shape(node.inputs[0])
        rows, columns = (len(_places(node, axis)) for axis in AXES)
        signal = teach
        for axis, outer, size, count, block, shape in (
            ("columns", rows, width, columns, channels, (rows, width, channels)),
            ("rows", 1, height, rows, width * channels, (height, width, channels)),
        ):
            index = np.array(_places(node, axis)) << (SIGNAL_FRAC - FRAC)
            readers, total = read_by(index)
            g = tape.teach(f"{node.name}_{axis}_input", shape)
            args = {"d": signal, "index": _index(tape, node, axis, SIGNAL_FRAC), "g": g}
            around = {"outer": outer, "size": size, "block": block, "count": count}
            tape.step("interpolate.feedback", node, args, readers=readers, total=total, **around)
            signal = g
        return {node.inputs[0]: signal}

    def sample(
        self, rng: np.random.Generator, shapes: Sequence[Shape]
    ) -> tuple[Node, dict[str, np.ndarray]] | None:
        if len(shapes[0]) != 3:
            return None
        attrs = {axis: _random_places(rng, n) for axis, n in zip(AXES, shapes[0], strict=False)}
        return Node("bilinear", "", ("in0",), "out", attrs), {}


def _places(node: Node, axis: str) -> tuple[int, ...]:
    return node.wholes(axis)


def _index(tape: Tape, node: Node, axis: str, frac: int) -> str:
    ints = np.array(_places(node, axis), np.uint32) << np.uint32(frac - FRAC)
    name = f"{node.name}_{axis}{'' if frac == FRAC else '_signal'}"
    return tape.b.once(Value(name, ints.shape, "const", "index", ints=ints, note=f"{axis}, Q{frac}"))


@helper
def both_sides(place: Any) -> Any:
    """(the row or column before a place, the one behind, the weight in Q10 of either)."""
    share, before = numeric.int32(np.int64(place) & (ONE - 1)), np.int64(place) >> FRAC
    return before, before + (1 if share > 0 else 0), numeric.int32(ONE - share), share


def _forward(x: Cells, rows: Cells, columns: Cells, y: Cells, width: int, channels: int) -> None:
    to, factor, end = 0, numeric.int32(HALF_UP[0]), HALF_UP[1]
    for row in rows:
        above, below, first, second = both_sides(row)
        for column in columns:
            before, behind, left, right = both_sides(column)
            for c in range(channels):
                upper = np.int32(x[(above * width + before) * channels + c]) * left
                upper += np.int32(x[(above * width + behind) * channels + c]) * right
                lower = np.int32(x[(below * width + before) * channels + c]) * left
                lower += np.int32(x[(below * width + behind) * channels + c]) * right
                y[to + c] = numeric.scale_once(numeric.int32(upper * first + lower * second), factor, end)
            to += channels


@helper
def half_away(upper: Any, lower: Any, share: Any) -> Any:
    """upper (1024 - share) + lower share over 2^20, halves away from zero, without more than 32 bits."""
    step = numeric.int32(lower - upper)
    low = numeric.int32(numeric.int32(step & (ONE - 1)) * share)
    high = numeric.int32(upper + numeric.int32(step >> FRAC) * share)
    high = numeric.int32(high + numeric.int32(low >> FRAC))
    up = (high >= 0) | ((low & (ONE - 1)) > 0)
    return numeric.int32(numeric.int32(high + np.int32(ONE // 2 - 1) + up) >> FRAC)


def _forward_wide(x: Cells, rows: Cells, columns: Cells, y: Cells, width: int, channels: int) -> None:
    to = 0
    for row in rows:
        above, below, _, share = both_sides(row)
        for column in columns:
            before, behind, left, right = both_sides(column)
            for c in range(channels):
                upper = np.int32(x[(above * width + before) * channels + c]) * left
                upper += np.int32(x[(above * width + behind) * channels + c]) * right
                lower = np.int32(x[(below * width + before) * channels + c]) * left
                lower += np.int32(x[(below * width + behind) * channels + c]) * right
                y[to + c] = half_away(numeric.int32(upper), numeric.int32(lower), share)
            to += channels


class Forward(Kernel):
    """y = the sum of x times both weights over two rows and two columns, / 2^20, halves away from zero.

    Of int16, columns come first, and rows by `half_away`: 32 bits are enough.
    """

    name = "bilinear.forward"
    loop = Loop(_forward, takes=narrow, otherwise=Loop(_forward_wide))
    reads = ("x", "rows", "columns")
    writes = ("y",)
    operands = takes(x="int8|int16 [input]", rows="uint32 [r]", columns="uint32 [c]", y="=x [output]")
    attributes = within(height=(1, MOST), width=(1, MOST), channels=SIZE)

    def sizes(self, a: Attrs) -> dict[str, int]:
        return {"input": a["height"] * a["width"] * a["channels"]}

    def misfit(self, t: Tensors, a: Attrs) -> str:
        moved = [axis for axis in AXES if t[axis].space != "const"]
        if moved:
            return f"{t[moved[0]].name} is no constant"
        made = t["rows"].shape[0] * t["columns"].shape[0] * a["channels"]
        return "" if t["y"].shape[0] == made else f"y has {t['y'].shape[0]} values, it makes {made}"

    def ranges(self, a: Attrs) -> dict[str, tuple[int, int]]:
        return {"rows": (0, (int(a["height"]) - 1) * ONE), "columns": (0, (int(a["width"]) - 1) * ONE)}

    @staticmethod
    def _sides(t: Arrays, axis: str) -> tuple[tuple[NDArray[np.intp], NDArray[np.int32]], ...]:
        """Of each place the value before it and its weight in Q10, the one behind and its; [places]."""
        index = t[axis][0].astype(np.int64)
        share = (index & (ONE - 1)).astype(np.int32)
        before = (index >> FRAC).astype(np.intp)
        return (before, np.int32(ONE) - share), (before + (share > 0), share)

    def _sum(self, t: Arrays, a: Attrs, kind: Any) -> NDArray[Any]:
        x = t["x"].reshape(len(t["x"]), a["height"], a["width"], a["channels"]).astype(kind)
        total: Any = 0
        for rows, down in self._sides(t, "rows"):
            for columns, across in self._sides(t, "columns"):
                weight = (down[:, None] * across).astype(kind)[..., None]
                total = total + x[:, rows[:, None], columns] * weight
        return np.asarray(total).reshape(t["y"].shape)

    def integer(self, t: Arrays, a: Attrs) -> None:
        if t["x"].dtype == np.int16:
            self._wide(t, a)
            return
        t["y"][...] = numeric.scale_once(
            self._sum(t, a, np.int32), np.asarray(HALF_UP[0], np.int32), HALF_UP[1]
        )

    def _wide(self, t: Arrays, a: Attrs) -> None:
        x = t["x"].reshape(len(t["x"]), a["height"], a["width"], a["channels"]).astype(np.int32)
        sums: Any = np.int32(0)
        for columns, across in self._sides(t, "columns"):
            sums = sums + x[:, :, columns] * across[:, None]
        (above, _), (below, share) = self._sides(t, "rows")
        y = half_away(sums[:, above], sums[:, below], share[:, None, None])
        t["y"][...] = y.reshape(t["y"].shape)

    def real(self, t: Arrays, a: Attrs) -> None:
        kind = t["x"].dtype.type
        t["y"][...] = self._sum(t, a, kind) / kind(ONE * ONE)

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        if f["x"].meaning != f["y"].meaning:
            what = f"its input has {f['x'].meaning}, its output {f['y'].meaning}: it does not rescale"
            raise CompileError(where, what, "report this model")
        return super().lower(f, a, where)

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        x, top = k["x"], k["x"].mag << FRAC
        sums = [Accumulator("sum over columns", -top, top)]
        if x.mag <= INT8[1] + 1:  # as all int8 are
            sums.append(Accumulator("weighted sum", -(top << FRAC), top << FRAC))
        sums.append(Accumulator("difference of two", -2 * top, 2 * top))
        sums.append(Accumulator("sum of both", -top - 2 * ONE, top + 2 * ONE))
        return sums, {"y": (x.lo, x.hi, k["y"].shape[0] * x.mag)}

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        return Cost(macs=4 * shapes["y"][0])

    def case(self, rng: np.random.Generator) -> Case:
        height, width, channels = (int(n) for n in rng.integers(1, (7, 7, 4)))
        index = {
            axis: np.array(_random_places(rng, n), np.uint32)
            for axis, n in zip(AXES, (height, width), strict=True)
        }
        kind = np.dtype(rng.choice(["int8", "int16"]))
        most = np.iinfo(kind).max
        arrays: dict[str, NDArray[Any]] = {
            "x": rng.integers(-most - 1, most + 1, height * width * channels).astype(kind),
            **index,
            "y": np.zeros(len(index["rows"]) * len(index["columns"]) * channels, kind),
        }
        a = {"height": height, "width": width, "channels": channels}
        return Case(arrays, a, self.ranges(a), AXES)


def _random_places(rng: np.random.Generator, size: int) -> tuple[int, ...]:
    """For tests: evenly spaced places, or any."""
    count, last = int(rng.integers(1, 2 * size + 2)), (size - 1) * ONE
    if rng.integers(2):
        return tuple(int(p) for p in np.rint(np.linspace(0, last, count)))
    return tuple(int(p) for p in rng.integers(0, last + 1, count))
