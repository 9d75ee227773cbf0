"""A function of one number that several operators of a float file make, as pieces of a + b x + c exp(x).

What TensorFlow's `where` makes of x is told exactly so: between two points where a condition turns stands one
form, and at each point one. What has another form is None, and what chooses by it is, too.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tflite.LeakyReluOptions import LeakyReluOptions

from .file import LiteOp, LiteTensor
from .functions import LIMITS
from .scope import ENDS
from .values import OPTIONS, SELECTS, VIEWS, operands

Form = tuple[float, float, float]
"""(a, b, c) of a + b x + c exp(x)."""
Cell = Form | bool | None
LARGEST = float(np.finfo(np.float32).max)
MOST_POINTS = 32  # a few operators can fold a line into any number of pieces
NOTHING, ITSELF = (0.0, 0.0, 0.0), (0.0, 1.0, 0.0)
ORDER: dict[str, Callable[[int], bool]] = {
    "EQUAL": lambda sign: sign == 0,
    "GREATER": lambda sign: sign > 0,
    "GREATER_EQUAL": lambda sign: sign >= 0,
    "LESS": lambda sign: sign < 0,
    "LESS_EQUAL": lambda sign: sign <= 0,
    "NOT_EQUAL": lambda sign: sign != 0,
}
"""By comparison: whether it holds, by the sign of the difference."""
LOGIC: dict[str, Callable[[bool, bool], bool]] = {
    "LOGICAL_AND": lambda a, b: a and b,
    "LOGICAL_OR": lambda a, b: a or b,
}


@dataclass(frozen=True, slots=True)
class Pieces:
    """points: rising; cells: below the first point, at it, between it and the next, at that, …"""

    points: tuple[float, ...]
    cells: tuple[Cell, ...]

    def on(self, points: tuple[float, ...]) -> Pieces:
        """The same with more points."""
        cells = []
        for i in range(2 * len(points) + 1):
            left = points[(i - 1) // 2] if i else -math.inf
            if i % 2 and left in self.points:
                cells.append(self.cells[2 * bisect_left(self.points, left) + 1])
            else:
                cells.append(self.cells[2 * bisect_right(self.points, left)])
        return Pieces(points, tuple(cells))


def _always(form: Cell) -> Pieces:
    return Pieces((), (form,))


def _each(found: Callable[..., Cell], *given: Pieces) -> Pieces:
    """`found` of what each has, cell by cell; None where a float32 cannot hold it."""
    points = tuple(sorted({p for g in given for p in g.points}))
    return Pieces(points, tuple(map(_held, map(found, *(g.on(points).cells for g in given)))))


def _held(cell: Cell) -> Cell:
    fits = not isinstance(cell, tuple) or all(abs(v) <= LARGEST for v in cell)
    return cell if fits else None


def _plus(x: Cell, y: Cell, factor: float = 1.0) -> Cell:
    if not isinstance(x, tuple) or not isinstance(y, tuple):
        return None
    return (x[0] + factor * y[0], x[1] + factor * y[1], x[2] + factor * y[2])


def _times(x: Cell, y: Cell) -> Cell:
    if not isinstance(x, tuple) or not isinstance(y, tuple):
        return None
    if x[1:] == (0.0, 0.0):
        return (x[0] * y[0], x[0] * y[1], x[0] * y[2])
    return _times(y, x) if y[1:] == (0.0, 0.0) else None


def _over(x: Cell, y: Cell) -> Cell:
    if not isinstance(x, tuple) or not isinstance(y, tuple) or y[1:] != (0.0, 0.0) or not y[0]:
        return None
    return (x[0] / y[0], x[1] / y[0], x[2] / y[0])


def _power(x: Cell) -> Cell:
    """exp of a form."""
    if not isinstance(x, tuple) or x[2] or x[1] not in (0.0, 1.0) or x[0] > 80:
        return None
    return (0.0, 0.0, math.exp(x[0])) if x[1] else (math.exp(x[0]), 0.0, 0.0)


def _compared(holds: Callable[[int], bool], x: Pieces, y: Pieces) -> Pieces:
    """Where the sign of x - y is such that `holds`: it turns at roots, which become points."""
    less = _each(lambda a, b: _plus(a, b, -1.0), x, y)
    roots = {-d[0] / d[1] for d in less.cells if isinstance(d, tuple) and d[1]}
    points = tuple(sorted({*less.points, *(r for r in roots if math.isfinite(r))}))
    if len(points) > MOST_POINTS:
        return _always(None)
    less = less.on(points)
    cells: list[Cell] = []
    for i, d in enumerate(less.cells):
        if not isinstance(d, tuple) or d[2]:
            cells.append(None)
        elif not d[1]:
            cells.append(holds(int(np.sign(d[0]))))
        else:
            left, root = (points[(i - 1) // 2] if i else -math.inf), -d[0] / d[1]
            side = 0 if i % 2 and left == root else 1 if left >= root else -1
            cells.append(holds(side * int(np.sign(d[1]))))
    return Pieces(points, tuple(cells))


def _chosen(which: Pieces, yes: Pieces, no: Pieces) -> Pieces:
    return _each(lambda w, a, b: (a if w else b) if isinstance(w, bool) else None, which, yes, no)


def _larger(x: Pieces, y: Pieces) -> Pieces:
    return _chosen(_compared(ORDER["GREATER"], x, y), x, y)


def _smaller(x: Pieces, y: Pieces) -> Pieces:
    return _chosen(_compared(ORDER["LESS"], x, y), x, y)


def _within(x: Pieces, lo: float, hi: float) -> Pieces:
    x = x if math.isinf(lo) else _larger(x, _always((lo, 0.0, 0.0)))
    return x if math.isinf(hi) else _smaller(x, _always((hi, 0.0, 0.0)))


def _scaled(x: Pieces, factor: float) -> Pieces:
    return _each(lambda a: _times(a, (factor, 0.0, 0.0)), x)


def _below(x: Pieces, negative: Pieces) -> Pieces:
    """x, `negative` where x is."""
    return _chosen(_compared(ORDER["LESS"], x, _always(NOTHING)), negative, x)


ARITHMETIC: dict[str, Callable[..., Cell]] = {
    "ADD": _plus,
    "DIV": _over,
    "MUL": _times,
    "SUB": lambda a, b: _plus(a, b, -1.0),
}


def _one(op: LiteOp, x: Pieces) -> Pieces:
    """An operator of one operand."""
    if op.op in LIMITS:
        return _within(x, *LIMITS[op.op])
    match op.op:
        case "ABS":
            return _below(x, _scaled(x, -1.0))
        case "ELU":
            return _below(x, _each(lambda a: _plus(_power(a), (-1.0, 0.0, 0.0)), x))
        case "EXP":
            return _each(_power, x)
        case "LEAKY_RELU":
            return _below(x, _scaled(x, op.real(op.read(LeakyReluOptions).Alpha)))
        case "LOGICAL_NOT":
            return _each(lambda a: not a if isinstance(a, bool) else None, x)
        case "NEG":
            return _scaled(x, -1.0)
        case "ZEROS_LIKE":
            return _always(NOTHING)
    return x if op.op in VIEWS else _always(None)


def _several(op: LiteOp, given: Sequence[Pieces]) -> Pieces:
    if op.op in SELECTS and len(given) == 3:
        return _chosen(*given)
    if len(given) != 2:
        return _always(None)
    if op.op in ORDER:
        return _compared(ORDER[op.op], *given)
    if op.op in LOGIC:
        both = LOGIC[op.op]
        return _each(lambda a, b: both(a, b) if isinstance(a, bool) and isinstance(b, bool) else None, *given)
    if op.op in ("MAXIMUM", "MINIMUM"):
        return (_larger if op.op == "MAXIMUM" else _smaller)(*given)
    if op.op not in ARITHMETIC:
        return _always(None)
    y, kind = _each(ARITHMETIC[op.op], *given), OPTIONS[op.op]
    fused = 0 if op.table is None else op.number(op.read(kind).FusedActivationFunction)
    ends = ENDS.get(fused)
    return _always(None) if ends is None else _within(y, *ends) if ends else y


def _constant(t: LiteTensor) -> Pieces:
    value: Any = t.value.reshape(-1)[0] if t.value is not None else None
    if t.kind == "bool":
        return _always(bool(value))
    finite = t.kind == "float32" and math.isfinite(value)
    return _always((float(value), 0.0, 0.0) if finite else None)


def pieces(parts: Sequence[LiteOp], source: LiteTensor) -> Pieces:
    """What `parts`, in order, make of `source` in the end."""
    found = {source.index: _always(ITSELF)}
    for op in parts:
        given = [
            _always(None) if t is None else found[t.index] if t.value is None else _constant(t)
            for t in operands(op)
        ]
        found[op.outputs[0].index] = _one(op, given[0]) if len(given) == 1 else _several(op, given)
    return found[parts[-1].outputs[0].index]
