"""Values between two neighbours along one axis, at constant places: linear interpolation.

A place is a number in Q15: the neighbour before it in the upper bits, how far it lies behind that in the
lower 15. Maps are resized along one axis after the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..errors import CompileError
from ..ir.graph import Attr, Node
from ..ir.program import Value
from ..ir.tape import Tape
from . import Accumulator, Arrays, Attrs, Bounds, Case, Cost, Format, Kernel, Known, Layer
from ._contract import REQUANTISED, SIZE, Tensors, takes, within
from ._folding import Shape
from ._loops import Cells, Loop, Number, helper, write_signal
from ._shifts import MAX_SHIFT, requantising

FRAC = 15
ONE = 1 << FRAC
MOST = 1 << 16  # values along an axis


class Interpolate(Layer):
    op = "interpolate"
    follows = True

    def shape(self, node: Node, shapes: Sequence[Shape]) -> Shape:
        (shape,) = shapes
        axis, places = _axis(node), _places(node)
        fits = 0 <= axis < len(shape) and bool(places) and shape[axis] <= MOST
        if not fits or not 0 <= min(places) <= max(places) <= (shape[axis] - 1) * ONE:
            what = f"takes {len(places)} places of axis {axis} of {shape}"
            raise CompileError(node.name, what, "they lie between the first and the last value of the axis")
        return *shape[:axis], len(places), *shape[axis + 1 :]

    def forward(self, tape: Tape, node: Node) -> None:
        x, y = tape.value(node.inputs[0]), tape.activation(node)
        tape.share_format(x, y)
        args = {"x": x, "index": _index(tape, node), "y": y}
        tape.step("interpolate.forward", node, args, **_geometry(tape, node))

    def feedback(self, tape: Tape, node: Node, teach: str, matrix: str | None) -> dict[str, str]:
        g = tape.teach(f"{node.name}_input", tape.shape(node.inputs[0]))
        args = {"d": teach, "index": _index(tape, node), "g": g}
        readers, total = read_by(np.array(_places(node)))
        attrs = {"readers": readers, "total": total}
        tape.step("interpolate.feedback", node, args, **attrs, **_geometry(tape, node))
        return {node.inputs[0]: g}

    def sample(
        self, rng: np.random.Generator, shapes: Sequence[Shape]
    ) -> tuple[Node, dict[str, np.ndarray]] | None:
        axis = int(rng.integers(len(shapes[0])))
        attrs: dict[str, Attr] = {"axis": axis, "places": _random_places(rng, shapes[0][axis])}
        return Node("interpolate", "", ("in0",), "out", attrs), {}


def _axis(node: Node) -> int:
    axis = node.attrs["axis"]
    assert isinstance(axis, int)
    return axis


def _places(node: Node) -> tuple[int, ...]:
    return node.wholes("places")


def _index(tape: Tape, node: Node) -> str:
    ints = np.array(_places(node), np.uint32)
    note = f"places along axis {_axis(node)}, Q{FRAC}"
    value = Value(f"{node.name}_index", ints.shape, "const", "index", ints=ints, note=note)
    return tape.b.once(value)


def _geometry(tape: Tape, node: Node) -> dict[str, int]:
    shape, axis = tape.shape(node.inputs[0]), _axis(node)
    return {
        "outer": int(np.prod(shape[:axis])),
        "size": shape[axis],
        "block": int(np.prod(shape[axis + 1 :])),
        "count": len(_places(node)),
    }


def read_by(places: NDArray[np.integer]) -> tuple[int, int]:
    """How many places the value that is read most often counts for, and the largest sum of such weights."""
    before, share = places.astype(np.int64) >> FRAC, places.astype(np.int64) & (ONE - 1)
    inside = share > 0
    at = np.concatenate([before, before[inside] + 1])
    weight = np.concatenate([ONE - share, share[inside]])
    return int(np.bincount(at).max()), int(np.bincount(at, weight).max())


GEOMETRY = within(outer=SIZE, size=(1, MOST), block=SIZE, count=SIZE)


class _Interpolate(Kernel):
    """What both have in common."""

    attributes = GEOMETRY

    def sizes(self, a: Attrs) -> dict[str, int]:
        around = a["outer"] * a["block"]
        return {"input": around * a["size"], "output": around * a["count"], "count": a["count"]}

    def misfit(self, t: Tensors, a: Attrs) -> str:
        return "" if t["index"].space == "const" else f"{t['index'].name} is no constant"

    def ranges(self, a: Attrs) -> dict[str, tuple[int, int]]:
        return {"index": (0, (int(a["size"]) - 1) * ONE)}

    @staticmethod
    def _neighbours(t: Arrays) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.int32]]:
        """Of each place the value before it, the one behind, and its share in Q15; [D, 1, places, 1]."""
        index = t["index"].astype(np.int64)[:, None, :, None]
        share = (index & (ONE - 1)).astype(np.int32)
        before = (index >> FRAC).astype(np.intp)
        return before, before + (share > 0), share

    def _case(self, rng: np.random.Generator) -> tuple[dict[str, int], NDArray[np.uint32]]:
        outer, size, block = (int(n) for n in rng.integers(1, (4, 8, 5)))
        places = np.array(_random_places(rng, size), np.uint32)
        return {"outer": outer, "size": size, "block": block, "count": len(places)}, places


BLOCKS = {"sizes": tuple(GEOMETRY)}


@helper
def neighbours(place: Any, o: Any, size: Any, block: Any) -> Any:
    """(where the block before a place begins, the one behind, its share in Q15)."""
    share = numeric.int32(np.int64(place) & (ONE - 1))
    at = (o * size + (np.int64(place) >> FRAC)) * block
    return at, at + (block if share > 0 else 0), share


def _forward(x: Cells, index: Cells, y: Cells, sizes: Number) -> None:
    outer, size, block, count = sizes
    for o in range(outer):
        for k in range(count):
            at, behind, share = neighbours(index[k], o, size, block)
            rest, to = numeric.int32(ONE - share), (o * count + k) * block
            for b in range(block):
                total = numeric.int32(np.int32(x[at + b]) * rest + np.int32(x[behind + b]) * share)
                y[to + b] = numeric.shift_round(total, FRAC)


def _feedback(
    d: Cells, index: Cells, g: Cells, sizes: Number, before: int, shift: int, lo: int, hi: int
) -> None:
    outer, size, block, count = sizes
    total = np.zeros(len(g), np.int32)
    for o in range(outer):
        for k in range(count):
            at, behind, share = neighbours(index[k], o, size, block)
            rest, given = numeric.int32(ONE - share), (o * count + k) * block
            for b in range(block):
                signal = np.int32(d[given + b])
                total[at + b] += numeric.shift_round(numeric.int32(signal * rest), before)
                total[behind + b] += numeric.shift_round(numeric.int32(signal * share), before)
    write_signal(g, total, shift, lo, hi)


class Forward(_Interpolate):
    """y = (x[i] (2^15 - w) + x[i + 1] w) / 2^15, i and w being the upper and lower bits of the place."""

    name = "interpolate.forward"
    loop = Loop(_forward, BLOCKS)
    reads = ("x", "index")
    writes = ("y",)
    operands = takes(x="int8|int16 [input]", index="uint32 [count]", y="=x [output]")

    def _sides(self, t: Arrays, a: Attrs) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.int32]]:
        x = t["x"].reshape(len(t["x"]), a["outer"], a["size"], a["block"])
        before, behind, share = self._neighbours(t)
        return np.take_along_axis(x, before, axis=2), np.take_along_axis(x, behind, axis=2), share

    def integer(self, t: Arrays, a: Attrs) -> None:
        first, second, share = self._sides(t, a)
        total = first.astype(np.int32) * (np.int32(ONE) - share) + second.astype(np.int32) * share
        t["y"][...] = numeric.shift_round(total, FRAC).reshape(t["y"].shape)

    def real(self, t: Arrays, a: Attrs) -> None:
        first, second, share = self._sides(t, a)
        part = share / ONE
        t["y"][...] = (first * (1 - part) + second * part).reshape(t["y"].shape)

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        if f["x"].meaning != f["y"].meaning:
            what = (
                f"its input has {f['x'].meaning}, its output {f['y'].meaning}: interpolation does not rescale"
            )
            raise CompileError(where, what, "report this model")
        return super().lower(f, a, where)

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        x = k["x"]
        sums = [Accumulator("weighted sum", x.lo << FRAC, (x.hi << FRAC) + ONE // 2)]
        return sums, {"y": (x.lo, x.hi, k["y"].shape[0] * x.mag)}

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        return Cost(macs=2 * shapes["y"][0], reads=4 * shapes["index"][0])

    def case(self, rng: np.random.Generator) -> Case:
        a, index = self._case(rng)
        dtype = np.int16 if rng.integers(2) else np.int8
        info = np.iinfo(dtype)
        x = rng.integers(info.min, info.max + 1, a["outer"] * a["size"] * a["block"]).astype(dtype)
        y = np.zeros(a["outer"] * a["count"] * a["block"], dtype)
        return Case({"x": x, "index": index, "y": y}, a, {"index": self.ranges(a)["index"]}, ("index",))


class Feedback(_Interpolate):
    """g[i] is the sum of d (2^15 - w) / 2^before of all places behind it and of d w / 2^before of those in
    front of it, divided by 2^shift; `before` makes the sum fit g's 16 bits.

    readers: the most places that one value counts for; total: the largest sum of their weights
    """

    name = "interpolate.feedback"
    loop = Loop(_feedback, BLOCKS)
    reads = ("d", "index")
    writes = ("g",)
    operands = takes(d="int16 [output]", index="uint32 [count]", g="int16 [input]")
    attributes = within(GEOMETRY, REQUANTISED, readers=SIZE, total=SIZE, before=(0, MAX_SHIFT))

    def misfit(self, t: Tensors, a: Attrs) -> str:
        fault = super().misfit(t, a)
        if not fault and (a["readers"], a["total"]) != read_by(t["index"].array()):
            return f"readers and total are {a['readers']} and {a['total']}, not {read_by(t['index'].array())}"
        return fault

    def integer(self, t: Arrays, a: Attrs) -> None:
        before = a["before"]

        def part(d: NDArray[Any], weight: NDArray[np.int32]) -> NDArray[Any]:
            return numeric.shift_round(d.astype(np.int32) * weight, before)

        g = numeric.shift_round(self._spread(t, a, part, np.int32), a["shift"])
        t["g"][...] = numeric.saturate(g, a["lo"], a["hi"])

    def real(self, t: Arrays, a: Attrs) -> None:
        kind = t["d"].dtype.type
        t["g"][...] = self._spread(t, a, lambda d, weight: d * (weight / kind(ONE)), kind)

    def _spread(self, t: Arrays, a: Attrs, part: Any, kind: Any) -> NDArray[Any]:
        """Weighted signals summed up at the values that they come from, [D, size of g]."""
        d = t["d"].reshape(len(t["d"]), a["outer"], a["count"], a["block"])
        before, behind, share = self._neighbours(t)
        total = np.zeros((len(d), a["outer"], a["size"], a["block"]), kind)
        device, outer, block = np.ogrid[: len(d), : a["outer"], : a["block"]]
        for at, weight in ((before, np.int32(ONE) - share), (behind, share)):
            where: Any = device[..., None], outer[..., None], at, block[:, :, None]
            np.add.at(total, where, part(d, weight))
        return total.reshape(len(d), -1)

    @staticmethod
    def _before(d: Format, a: Attrs, where: str = "interpolation") -> int:
        """The least shift of a product, FRAC or more, at which the sums fit 16 bits."""
        top = max(-d.lo, d.hi)
        for shift in range(FRAC, MAX_SHIFT):
            if (top * int(a["total"]) >> shift) + int(a["readers"]) < 2**15:
                return shift
        what = f"one value counts for {a['readers']} places, whose signals cannot be summed"
        raise CompileError(where, what, "resize by a smaller factor")

    def cap(self, f: Mapping[str, Format], a: Attrs) -> dict[str, int]:
        return {"g": f["d"].frac + FRAC - self._before(f["d"], a)}

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        before = self._before(f["d"], a, where)
        shift = f["d"].frac + FRAC - before - f["g"].frac
        requantising(shift, where, "report this model")
        ends = {"before": before, "shift": shift, "lo": f["g"].lo, "hi": f["g"].hi}
        return super().lower(f, a, where) | ends

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        mag, half = k["d"].mag, (1 << a["before"]) >> 1
        total = (mag * a["total"] >> a["before"]) + a["readers"]
        sums = [
            Accumulator("weighted signal", -mag * ONE, mag * ONE + half),
            Accumulator("sum of readers", -total, total, 16),
        ]
        lo, hi = max(-total, a["lo"]), min(total, a["hi"])
        return sums, {"g": (lo, hi, k["g"].shape[0] * max(-lo, hi))}

    def case(self, rng: np.random.Generator) -> Case:
        a, index = self._case(rng)
        readers, total = read_by(index)
        top = int(rng.choice([2**9, 2**15 - 1]))
        own = {"readers": readers, "total": total}
        before = self._before(Format("int16", 0, -top, top), own)
        d = rng.integers(-top, top + 1, a["outer"] * a["count"] * a["block"]).astype(np.int16)
        g = np.zeros(a["outer"] * a["size"] * a["block"], np.int16)
        own |= {"before": before, "shift": int(rng.integers(0, 4)), "lo": -(2**13), "hi": 2**13 - 1}
        limits = {"index": self.ranges(a)["index"], "d": (-top, top)}
        return Case({"d": d, "index": index, "g": g}, a | own, limits, ("index",))


def _random_places(rng: np.random.Generator, size: int) -> tuple[int, ...]:
    """For tests: evenly spaced places, or any."""
    count, last = int(rng.integers(1, 2 * size + 2)), (size - 1) * ONE
    if rng.integers(2):
        return tuple(int(p) for p in np.rint(np.linspace(0, last, count)))
    return tuple(int(p) for p in rng.integers(0, last + 1, count))
