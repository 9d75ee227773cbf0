"""y = f(x) for a function that is given by its values: one for each of the 256 integers of a file's int8 x.

So a file's operators that work on each value of one tensor, one behind another, become a single table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from ..ir.graph import Node
from ..ir.program import Value
from ..ir.tape import Tape
from . import Arrays, Attrs, Bounds, Case, Format, Kernel, Known, Layer, _table_loops
from ._contract import takes
from ._loops import Loop
from ._tables import ENTRIES, MAX_SLOPE, Slopes, table_bounds, taken

APART = 8  # inputs on either side between which a slope is measured: nearer, roundings would drown it
FINEST = 24  # frac of the slopes


class Lookup(Layer):
    """A node of x, `values` [256] and no other; attributes `first`, the real x of integer -128, and `step`,
    from one integer to the next."""

    op = "lookup"
    pointwise = True
    holds = True
    constants = 1

    def shape(self, node: Node, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
        if shapes[1] != (ENTRIES,):
            what = f"its values have shape {shapes[1]}, not ({ENTRIES},)"
            raise CompileError(node.name, what, "report this model: an importer is wrong")
        return shapes[0]

    def deaf(self, constants: Sequence[np.ndarray]) -> bool:
        return bool(np.all(constants[0] == constants[0][0]))

    def forward(self, tape: Tape, node: Node) -> None:
        real = tape.constant(node.inputs[1])
        kept = Value(
            f"{node.name}_values", real.shape, "const", "constant", real, format=tape.given(node.inputs[1])
        )
        args = {"x": tape.value(node.inputs[0]), "table": tape.add(kept), "y": tape.activation(node)}
        tape.step("lookup.forward", node, args, **_grid(node))

    def feedback(self, tape: Tape, node: Node, teach: str, matrix: str | None) -> dict[str, str]:
        real = slopes(tape.constant(node.inputs[1]), _grid(node)["step"])
        top = float(np.max(np.abs(real)))
        if not top:
            hint = "freeze the layers below it"
            raise CompileError(node.name, "is flat wherever its int8 input can be", hint)
        frac = min(math.floor(math.log2(MAX_SLOPE / top)), FINEST)
        ours = Format("int16", frac, -MAX_SLOPE, MAX_SLOPE)
        kept = Value(f"{node.name}_slope", real.shape, "const", "constant", real, format=ours)
        g = tape.teach(f"{node.name}_input", tape.shape(node.inputs[0]))
        args = {"x": tape.value(node.inputs[0]), "d": teach, "table": tape.b.once(kept), "g": g}
        tape.step("lookup.feedback", node, args, **_grid(node))
        return {node.inputs[0]: g}

    def sample(
        self, rng: np.random.Generator, shapes: Sequence[tuple[int, ...]]
    ) -> tuple[Node, dict[str, NDArray[np.float64]]] | None:
        return None  # it has numbers of a file alone


def _grid(node: Node) -> dict[str, float]:
    """The attributes of its steps: which real x the values are of."""
    return {key: node.number(key) for key in ("first", "step")}


def slopes(values: NDArray[np.float64], step: float) -> NDArray[np.float64]:
    """[256], the slope at each input, between inputs APART away on both sides, the ends at the ends."""
    at = np.arange(ENTRIES)
    low, high = np.maximum(at - APART, 0), np.minimum(at + APART, ENTRIES - 1)
    found: NDArray[np.float64] = (values[high] - values[low]) / ((high - low) * step)
    return found


def _between(x: NDArray[np.floating], table: NDArray[np.floating], a: Attrs) -> NDArray[np.floating]:
    """The values [D, n] on straight lines between those of integers; beyond the ends, the ends'."""
    grid = float(a["first"]) + float(a["step"]) * np.arange(ENTRIES)
    rows = np.broadcast_to(table, (len(x), ENTRIES))
    return np.stack([np.interp(v, grid, row) for v, row in zip(x, rows, strict=True)])


class Forward(Kernel):
    """y = table[x + 128]."""

    name = "lookup.forward"
    loop = Loop(_table_loops.forward)
    reads = ("x", "table")
    writes = ("y",)
    inplace = ("x", "y")
    operands = takes(x="int8 [n]", table=f"int8 [{ENTRIES}]", y="int8 [n]")

    def integer(self, t: Arrays, a: Attrs) -> None:
        t["y"][...] = taken(t)

    def real(self, t: Arrays, a: Attrs) -> None:
        t["y"][...] = _between(t["x"], t["table"], a)

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        if f["table"].meaning != f["y"].meaning:
            what = f"its values have {f['table'].meaning}, its output {f['y'].meaning}"
            raise CompileError(where, what, "report this model: an importer is wrong")
        return {}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return table_bounds(k)

    def case(self, rng: np.random.Generator) -> Case:
        x = rng.integers(-128, 128, int(rng.integers(1, 50))).astype(np.int8)
        table = rng.integers(-128, 128, ENTRIES).astype(np.int8)
        return Case({"x": x, "table": table, "y": np.zeros_like(x)}, {}, {})


class Feedback(Slopes):
    """g = d * table[x + 128] / 2^shift, the table one of slopes."""

    name = "lookup.feedback"
    loop = Loop(_table_loops.feedback)

    def real(self, t: Arrays, a: Attrs) -> None:
        t["g"][...] = t["d"] * _between(t["x"], t["table"], a)

    def cap(self, f: Mapping[str, Format], a: Attrs) -> dict[str, int]:
        return {"g": f["d"].frac + f["table"].frac}
