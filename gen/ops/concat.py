"""Tensors behind one another along the last axis: vectors, or the channels of maps of one size.

Each input is brought to the output's Q format on the way; what has its meaning is only copied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..errors import CompileError
from ..ir.graph import Node
from ..ir.plan import PlanTensor
from ..ir.tape import Tape
from . import Accumulator, Arrays, Attrs, Bounds, Case, Format, Kernel, Known, Layer
from ._contract import ADDEND, REQUANTISED, SIZE, Tensors, takes, within
from ._folding import Shape
from ._loops import Cells, Loop, Number
from ._requantise import zero
from ._shifts import requantising
from ._zeros import addend, random_addend

PLACE = within(offset=(0, SIZE[1]), rows=SIZE)


class Concat(Layer):
    op = "concat"
    joins = True

    def shape(self, node: Node, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
        if len({s[:-1] for s in shapes}) != 1:
            raise CompileError(
                node.name,
                f"inputs of shapes {list(shapes)}",
                "only the last axis may differ; flatten them first",
            )
        return (*shapes[0][:-1], sum(s[-1] for s in shapes))

    def moved(self, node: Node, parts: Sequence[NDArray[Any]], to: Shape, border: int) -> NDArray[Any] | None:
        return np.concatenate(parts, axis=-1)

    def forward(self, tape: Tape, node: Node) -> None:
        y, offset = tape.activation(node), 0
        for name in node.inputs:
            place = {"offset": offset, **_rows(tape.shape(name))}
            tape.step("concat.copy", node, {"x": tape.value(name), "y": y}, **place)
            offset += tape.shape(name)[-1]

    def feedback(self, tape: Tape, node: Node, teach: str, matrix: str | None) -> dict[str, str]:
        out: dict[str, str] = {}
        offset = 0
        for i, name in enumerate(node.inputs):
            shape = tape.shape(name)
            if tape.wants_teach(name):
                part = tape.teach(f"{node.name}_input{i}", shape, tie=teach)
                tape.step("concat.slice", node, {"d": teach, "g": part}, offset=offset, **_rows(shape))
                out[name] = (
                    tape.sum(name, out[name], part) if name in out else part
                )  # one tensor may stand twice
            offset += shape[-1]
        return out

    def sample(
        self, rng: np.random.Generator, shapes: Sequence[tuple[int, ...]]
    ) -> tuple[Node, dict[str, np.ndarray]] | None:
        if len(shapes) < 2 or len({s[:-1] for s in shapes}) != 1:
            return None
        return Node("concat", "", tuple(f"in{i}" for i in range(len(shapes))), "out"), {}


def _rows(shape: tuple[int, ...]) -> dict[str, int]:
    """The attribute `rows` of a tensor that is more than one vector."""
    rows = int(np.prod(shape[:-1]))
    return {"rows": rows} if rows > 1 else {}


def _part(part: np.ndarray, whole: np.ndarray, a: Attrs) -> tuple[np.ndarray, np.ndarray]:
    """(part [D, rows, n], its place in the whole [D, rows, n]), both as views."""
    rows = int(a.get("rows", 1))
    inner, outer = (t.reshape(len(t), rows, -1) for t in (part, whole))
    return inner, outer[..., a["offset"] : a["offset"] + inner.shape[2]]


def _misplaced(part: PlanTensor, whole: PlanTensor, a: Attrs) -> str:
    """Whether a part does not lie within the whole, row by row: what to say of it."""
    rows, sizes = a.get("rows", 1), (part.shape[0], whole.shape[0])
    if any(n % rows for n in sizes):
        return f"{rows} rows do not divide {sizes[0]} and {sizes[1]} values"
    end = a["offset"] + sizes[0] // rows
    return f"a row of {sizes[1] // rows} values ends before {end}" if end > sizes[1] // rows else ""


def _copy(
    x: Cells, y: Cells, rows: Number, offset: int, shift: int, addend: Number, lo: int, hi: int
) -> None:
    n = max(rows, 1)
    inner, outer, more = len(x) // n, len(y) // n, np.int32(addend)
    for row in range(n):
        given, to = x[row * inner :], y[row * outer + offset :]
        for i in range(inner):
            total = numeric.int32(np.int32(given[i]) + more)
            to[i] = numeric.saturate(numeric.shift_round(total, shift), lo, hi)


def _slice(d: Cells, g: Cells, rows: Number, offset: int) -> None:
    n = max(rows, 1)
    inner, outer = len(g) // n, len(d) // n
    for row in range(n):
        given, to = d[row * outer + offset :], g[row * inner :]
        for i in range(inner):
            to[i] = given[i]


class Copy(Kernel):
    """y[row, offset : offset + n] = (x[row] + addend) / 2^shift. A vector is one row.

    addend: what zero points bring to the sum, where x or y has one and both do not mean the same
    """

    name = "concat.copy"
    loop = Loop(_copy)
    reads = ("x",)
    updates = ("y",)
    moves = True
    operands = takes(x="int8|int16 [part]", y="int8|int16 [whole]")
    attributes = within(PLACE, REQUANTISED, addend=ADDEND)
    spare = ("rows", "addend")

    def integer(self, t: Arrays, a: Attrs) -> None:
        x, y = _part(t["x"], t["y"], a)
        total = x.astype(np.int32) + np.int32(a.get("addend", 0))
        y[...] = numeric.saturate(numeric.shift_round(total, a["shift"]), a["lo"], a["hi"])

    def misfit(self, t: Tensors, a: Attrs) -> str:
        return _misplaced(t["x"], t["y"], a)

    def real(self, t: Arrays, a: Attrs) -> None:
        x, y = _part(t["x"], t["y"], a)
        y[...] = x

    def cap(self, f: Mapping[str, Format], a: Attrs) -> dict[str, int]:
        return {} if "y" in f and f["x"].meaning == f["y"].meaning else {"y": f["x"].power}

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        own = {k: int(v) for k, v in a.items()} | {"lo": f["y"].lo, "hi": f["y"].hi}
        if f["x"].meaning == f["y"].meaning:
            return own | {"shift": 0}
        shift = f["x"].power - f["y"].power
        requantising(shift, where, "rescale the inputs that are concatenated")
        return own | {"shift": shift} | addend(-zero(f["x"]), f["y"], shift)

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        more, half = a.get("addend", 0), (1 << a["shift"]) >> 1
        sums = [Accumulator("sum", k["x"].lo + more, k["x"].hi + more + half)] if more else []
        return sums, {"y": (a["lo"], a["hi"], k["y"].shape[0] * max(-a["lo"], a["hi"]))}

    def case(self, rng: np.random.Generator) -> Case:
        n, m, rows = (int(v) for v in rng.integers(1, (30, 30, 6)))
        x = rng.integers(-128, 128, rows * n).astype(np.int8)
        y = rng.integers(-128, 128, rows * (n + m)).astype(np.int8)
        place = {"offset": int(rng.integers(0, m + 1))} | _rows((rows, n))
        more = random_addend(rng, 2**16)
        ends = {"shift": int(rng.integers(0, 9)), "lo": -128, "hi": 127}
        return Case({"x": x, "y": y}, place | ends | more, {})


class Slice(Kernel):
    """g[row] = d[row, offset : offset + n]. A vector is one row."""

    name = "concat.slice"
    loop = Loop(_slice)
    reads = ("d",)
    writes = ("g",)
    operands = takes(d="int16 [whole]", g="=d [part]")
    attributes = PLACE
    spare = ("rows",)

    def integer(self, t: Arrays, a: Attrs) -> None:
        g, d = _part(t["g"], t["d"], a)
        g[...] = d

    real = integer

    def misfit(self, t: Tensors, a: Attrs) -> str:
        return _misplaced(t["g"], t["d"], a)

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return [], {"g": (k["d"].lo, k["d"].hi, min(k["d"].l1, k["g"].shape[0] * k["d"].mag))}

    def case(self, rng: np.random.Generator) -> Case:
        n, m, rows = (int(v) for v in rng.integers(1, (30, 30, 6)))
        d = rng.integers(-(2**15), 2**15, rows * (n + m)).astype(np.int16)
        place = {"offset": int(rng.integers(0, m + 1))} | _rows((rows, n))
        return Case({"d": d, "g": np.zeros(rows * n, np.int16)}, place, {})
