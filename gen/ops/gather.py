"""Values by constant index along one axis: slices, every other value, repeats.

y[before, k, behind] = x[before, indices[k], behind]. A value that is read several times hears all that read
it.
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
from . import Accumulator, Arrays, Attrs, Bounds, Case, Format, Kernel, Known, Layer
from ._contract import REQUANTISED, SIZE, Tensors, takes, within
from ._element_loops import copied
from ._folding import Shape
from ._loops import Cells, Loop, Number, helper, write_signal
from ._shifts import MAX_SHIFT, requantising
from ._window import fitting_shift


class Gather(Layer):
    op = "gather"
    follows = True

    def shape(self, node: Node, shapes: Sequence[Shape]) -> Shape:
        (shape,) = shapes
        axis, places = _axis(node), _indices(node)
        if not 0 <= axis < len(shape) or not places or not all(0 <= p < shape[axis] for p in places):
            what = f"takes {len(places)} places of axis {axis} of {shape}"
            raise CompileError(node.name, what, "indices are 0 or more, and within the axis")
        return *shape[:axis], len(places), *shape[axis + 1 :]

    def picking(self, axis: int, places: tuple[int, ...]) -> Mapping[str, Attr]:
        return {"axis": axis, "indices": places}

    def moved(self, node: Node, parts: Sequence[NDArray[Any]], to: Shape, border: int) -> NDArray[Any] | None:
        return parts[0].take(_indices(node), axis=_axis(node))

    def forward(self, tape: Tape, node: Node) -> None:
        x, y = tape.value(node.inputs[0]), tape.activation(node)
        tape.share_format(x, y)
        args = {"x": x} | self._index(tape, node) | {"y": y}
        tape.step("gather.forward", node, args, **_geometry(tape, node))

    def feedback(self, tape: Tape, node: Node, teach: str, matrix: str | None) -> dict[str, str]:
        overlap = _overlap(_indices(node))
        tie = teach if overlap == 1 else ""  # else sums, which have a range of their own
        g = tape.teach(f"{node.name}_input", tape.shape(node.inputs[0]), tie=tie)
        args = {"d": teach} | self._index(tape, node) | {"g": g}
        tape.step("gather.feedback", node, args, overlap=overlap, **_geometry(tape, node))
        return {node.inputs[0]: g}

    def sample(
        self, rng: np.random.Generator, shapes: Sequence[Shape]
    ) -> tuple[Node, dict[str, np.ndarray]] | None:
        axis = int(rng.integers(len(shapes[0])))
        attrs: dict[str, Attr] = {"axis": axis, "indices": _random_places(rng, shapes[0][axis])}
        return Node("gather", "", ("in0",), "out", attrs), {}

    @staticmethod
    def _index(tape: Tape, node: Node) -> dict[str, str]:
        """The operand `index`, where places are not evenly spaced."""
        places = _indices(node)
        if _even(places):
            return {}
        note = f"places along axis {_axis(node)}"
        ints = np.array(places, np.uint32)
        return {
            "index": tape.b.once(
                Value(f"{node.name}_index", ints.shape, "const", "index", ints=ints, note=note)
            )
        }


def _axis(node: Node) -> int:
    axis = node.attrs["axis"]
    assert isinstance(axis, int)
    return axis


def _indices(node: Node) -> tuple[int, ...]:
    return node.wholes("indices")


def _even(places: Sequence[int]) -> dict[str, int]:
    """The attributes `start` and `step` of evenly spaced places; empty if they are not."""
    steps = set(np.diff(places).tolist()) or {1}
    return {"start": int(places[0]), "step": steps.pop()} if len(steps) == 1 else {}


def _overlap(places: Sequence[int]) -> int:
    """How often the place that is read most often is read."""
    return int(np.bincount(places).max())


def _geometry(tape: Tape, node: Node) -> dict[str, int]:
    shape, axis, places = tape.shape(node.inputs[0]), _axis(node), _indices(node)
    sizes = {
        "outer": int(np.prod(shape[:axis])),
        "size": shape[axis],
        "block": int(np.prod(shape[axis + 1 :])),
    }
    return sizes | {"count": len(places)} | _even(places)


def _places(t: Arrays, a: Attrs) -> NDArray[np.intp]:
    """[D or 1, 1, places, 1], to be broadcast over blocks."""
    if "index" in t:
        return t["index"].astype(np.intp)[:, None, :, None]
    even: NDArray[np.intp] = np.arange(a["count"], dtype=np.intp) * int(a["step"]) + int(a["start"])
    return even[None, None, :, None]


def _blocks(flat: NDArray[Any], a: Attrs, along: str) -> NDArray[Any]:
    """A view [D, outer, places along the axis, block]."""
    return flat.reshape(len(flat), a["outer"], a[along], a["block"])


GEOMETRY = within(outer=SIZE, size=SIZE, block=SIZE, count=SIZE, start=(0, SIZE[1]), step=(-SIZE[1], SIZE[1]))


def _sizes(a: Attrs) -> dict[str, int]:
    around = a["outer"] * a["block"]
    return {"input": around * a["size"], "output": around * a["count"], "count": a["count"]}


def _misfit(t: Tensors, a: Attrs) -> str:
    """Why its places are none; "" if they are."""
    if ("start" in a) != ("step" in a) or ("start" in a) == ("index" in t):
        return "it takes start and step, or operand index"
    if "index" in t:
        return "" if t["index"].space == "const" else f"{t['index'].name} is no constant"
    last = a["start"] + (a["count"] - 1) * a["step"]
    ends = min(a["start"], last), max(a["start"], last)
    return "" if ends[0] >= 0 and ends[1] < a["size"] else f"it reads places {ends[0]} to {ends[1]}"


def _read_by(t: Tensors, a: Attrs) -> int:
    """How often the place that is read most often is read."""
    if "index" in t:
        return _overlap(t["index"].array().tolist())
    return a["count"] if a["step"] == 0 else 1


BLOCKS = {"sizes": ("outer", "size", "block", "count")}


@helper
def place_read(k: Any, index: Cells, start: Any, step: Any) -> Any:
    """The place that the k-th value comes from."""
    return np.int64(index[k]) if len(index) else start + k * step


def _forward(x: Cells, index: Cells, y: Cells, sizes: Number, start: Number, step: Number) -> None:
    outer, size, block, count = sizes
    for o in range(outer):
        for k in range(count):
            at = (o * size + place_read(k, index, start, step)) * block
            copied(y, (o * count + k) * block, x, at, block)


def _feedback(
    d: Cells, index: Cells, g: Cells, sizes: Number, start: Number, step: Number, before: int, shift: int,
    lo: int, hi: int,
) -> None:  # fmt: skip
    outer, size, block, count = sizes
    total = np.zeros(len(g), np.int32)
    for o in range(outer):
        for k in range(count):
            at, given = (o * size + place_read(k, index, start, step)) * block, (o * count + k) * block
            for b in range(block):
                total[at + b] += numeric.shift_round(numeric.int32(d[given + b]), before)
    write_signal(g, total, shift, lo, hi)


class Forward(Kernel):
    """y[o, k] = x[o, index[k]], blocks of values that stay together; or index[k] = start + k * step."""

    name = "gather.forward"
    loop = Loop(_forward, BLOCKS)
    reads = ("x", "index")
    writes = ("y",)
    optional = ("index",)
    moves = True
    operands = takes(x="int8|int16 [input]", index="uint32 [count]", y="=x [output]")
    attributes = GEOMETRY
    spare = ("start", "step")

    def sizes(self, a: Attrs) -> dict[str, int]:
        return _sizes(a)

    def misfit(self, t: Tensors, a: Attrs) -> str:
        return _misfit(t, a)

    def integer(self, t: Arrays, a: Attrs) -> None:
        x = _blocks(t["x"], a, "size")
        _blocks(t["y"], a, "count")[...] = np.take_along_axis(x, _places(t, a), axis=2)

    real = integer

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        if f["x"].meaning != f["y"].meaning:
            what = f"its input has {f['x'].meaning}, its output {f['y'].meaning}: moving does not rescale"
            raise CompileError(where, what, "report this model")
        return super().lower(f, a, where)

    def ranges(self, a: Attrs) -> dict[str, tuple[int, int]]:
        return {} if "start" in a else {"index": (0, int(a["size"]) - 1)}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return [], {"y": (k["x"].lo, k["x"].hi, k["y"].shape[0] * k["x"].mag)}

    def case(self, rng: np.random.Generator) -> Case:
        a, arrays, limits = _case(rng)
        dtype = np.int16 if rng.integers(2) else np.int8
        info = np.iinfo(dtype)
        x = rng.integers(info.min, info.max + 1, a["outer"] * a["size"] * a["block"]).astype(dtype)
        y = np.zeros(a["outer"] * a["count"] * a["block"], dtype)
        return Case({"x": x, **arrays, "y": y}, a, limits, tuple(arrays))


class Feedback(Kernel):
    """g[o, i] is the sum of d[o, k] / 2^before over the k that read place i, divided by 2^shift.

    Where several read one place, `before` makes their sum fit g's 16 bits, else it is 0.
    """

    name = "gather.feedback"
    loop = Loop(_feedback, BLOCKS)
    reads = ("d", "index")
    writes = ("g",)
    optional = ("index",)
    operands = takes(d="int16 [output]", index="uint32 [count]", g="int16 [input]")
    attributes = within(GEOMETRY, REQUANTISED, overlap=SIZE, before=(0, MAX_SHIFT))
    spare = ("start", "step")

    def sizes(self, a: Attrs) -> dict[str, int]:
        return _sizes(a)

    def misfit(self, t: Tensors, a: Attrs) -> str:
        fault = _misfit(t, a)
        if not fault and a["overlap"] != _read_by(t, a):
            return f"overlap is {a['overlap']}, one place is read {_read_by(t, a)} times"
        return fault

    def integer(self, t: Arrays, a: Attrs) -> None:
        d = numeric.shift_round(t["d"].astype(np.int32), a["before"])
        g = numeric.shift_round(self._spread(d, t, a), a["shift"])
        t["g"][...] = numeric.saturate(g, a["lo"], a["hi"])

    def real(self, t: Arrays, a: Attrs) -> None:
        t["g"][...] = self._spread(t["d"], t, a)

    @staticmethod
    def _spread(d: NDArray[Any], t: Arrays, a: Attrs) -> NDArray[Any]:
        """Signals summed up at the places that they come from, [D, size of g]."""
        total = np.zeros((len(d), a["outer"], a["size"], a["block"]), d.dtype)
        device, outer, block = np.ogrid[: len(d), : a["outer"], : a["block"]]
        where: Any = device[..., None], outer[..., None], _places(t, a), block[:, :, None]
        np.add.at(total, where, _blocks(d, a, "count"))
        return total.reshape(len(d), -1)

    @staticmethod
    def _before(d: Format, a: Attrs) -> int:
        return fitting_shift(int(a["overlap"]), max(-d.lo, d.hi))

    def cap(self, f: Mapping[str, Format], a: Attrs) -> dict[str, int]:
        return {"g": f["d"].frac - self._before(f["d"], a)}

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        before = self._before(f["d"], a)
        shift = f["d"].frac - before - f["g"].frac
        requantising(shift, where, "report this model")
        ends = {"before": before, "shift": shift, "lo": f["g"].lo, "hi": f["g"].hi}
        return super().lower(f, a, where) | ends

    def ranges(self, a: Attrs) -> dict[str, tuple[int, int]]:
        return {} if "start" in a else {"index": (0, int(a["size"]) - 1)}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        d, half = k["d"], (1 << a["before"]) >> 1
        lo, hi = (min(d.lo, 0) + half) >> a["before"], (max(d.hi, 0) + half) >> a["before"]
        lo, hi = a["overlap"] * min(lo, 0), a["overlap"] * hi
        sums = [
            Accumulator("signal and its rounding", d.lo, d.hi + half),
            Accumulator("sum of readers", lo, hi, 16),
        ]
        lo, hi = max(lo, a["lo"]), min(hi, a["hi"])
        return sums, {"g": (lo, hi, k["g"].shape[0] * max(-lo, hi))}

    def case(self, rng: np.random.Generator) -> Case:
        a, arrays, limits = _case(rng)
        places = _places({n: v[None] for n, v in arrays.items()}, a)
        overlap = _overlap(places.ravel().tolist())
        before = fitting_shift(overlap, 2**15)
        ends = {"shift": int(rng.integers(0, 4)), "lo": -(2**13), "hi": 2**13 - 1}
        if overlap == 1:
            ends = {"shift": 0, "lo": -(2**15), "hi": 2**15 - 1}
        d = rng.integers(-(2**15), 2**15, a["outer"] * a["count"] * a["block"]).astype(np.int16)
        g = np.zeros(a["outer"] * a["size"] * a["block"], np.int16)
        attrs = a | {"overlap": overlap, "before": before} | ends
        return Case({"d": d, **arrays, "g": g}, attrs, limits, tuple(arrays))


def _random_places(rng: np.random.Generator, size: int) -> tuple[int, ...]:
    """For tests: a slice, perhaps with a step, everything backwards, or any places."""
    kind = int(rng.integers(4))
    if kind < 2:
        first, last = sorted(int(v) for v in rng.integers(0, size, 2))
        return tuple(range(first, last + 1, int(rng.integers(1, 3)) if kind else 1))
    if kind == 2:
        return tuple(range(size - 1, -1, -1))
    return tuple(int(v) for v in rng.integers(0, size, int(rng.integers(1, size + 3))))


def _case(
    rng: np.random.Generator,
) -> tuple[dict[str, int], dict[str, NDArray[Any]], dict[str, tuple[int, int]]]:
    """Attributes, and the operand `index` with its limits where it needs one."""
    outer, size, block = (int(n) for n in rng.integers(1, (4, 8, 5)))
    places = _random_places(rng, size)
    a = {"outer": outer, "size": size, "block": block, "count": len(places)} | _even(places)
    if _even(places):
        return a, {}, {}
    return a, {"index": np.array(places, np.uint32)}, {"index": (0, size - 1)}
