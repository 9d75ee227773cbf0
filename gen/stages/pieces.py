"""A function of one number that several operators make, as pieces of a + b x + c exp(x).

What `where` makes of x is told exactly so: between two points where a condition turns stands one form, and at
each point one. What has another form is None, and what chooses by it is, too. Importers ask it of a file's
operators, `pieces` of what layers do with each value.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..ops._parts import Applied, Part

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


def always(form: Cell) -> Pieces:
    return Pieces((), (form,))


def each(found: Callable[..., Cell], *given: Pieces) -> Pieces:
    """`found` of what each has, cell by cell; None where a float32 cannot hold it."""
    points = tuple(sorted({p for g in given for p in g.points}))
    return Pieces(points, tuple(map(_held, map(found, *(g.on(points).cells for g in given)))))


def _held(cell: Cell) -> Cell:
    fits = not isinstance(cell, tuple) or all(abs(v) <= LARGEST for v in cell)
    return cell if fits else None


def plus(x: Cell, y: Cell, factor: float = 1.0) -> Cell:
    if not isinstance(x, tuple) or not isinstance(y, tuple):
        return None
    return (x[0] + factor * y[0], x[1] + factor * y[1], x[2] + factor * y[2])


def times(x: Cell, y: Cell) -> Cell:
    if not isinstance(x, tuple) or not isinstance(y, tuple):
        return None
    if x[1:] == (0.0, 0.0):
        return (x[0] * y[0], x[0] * y[1], x[0] * y[2])
    return times(y, x) if y[1:] == (0.0, 0.0) else None


def over(x: Cell, y: Cell) -> Cell:
    if not isinstance(x, tuple) or not isinstance(y, tuple) or y[1:] != (0.0, 0.0) or not y[0]:
        return None
    return (x[0] / y[0], x[1] / y[0], x[2] / y[0])


def power(x: Cell) -> Cell:
    """exp of a form."""
    if not isinstance(x, tuple) or x[2] or x[1] not in (0.0, 1.0) or x[0] > 80:
        return None
    return (0.0, 0.0, math.exp(x[0])) if x[1] else (math.exp(x[0]), 0.0, 0.0)


def compared(holds: Callable[[int], bool], x: Pieces, y: Pieces) -> Pieces:
    """Where the sign of x - y is such that `holds`: it turns at roots, which become points."""
    less = each(lambda a, b: plus(a, b, -1.0), x, y)
    roots = {-d[0] / d[1] for d in less.cells if isinstance(d, tuple) and d[1]}
    points = tuple(sorted({*less.points, *(r for r in roots if math.isfinite(r))}))
    if len(points) > MOST_POINTS:
        return always(None)
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


def chosen(which: Pieces, yes: Pieces, no: Pieces) -> Pieces:
    return each(lambda w, a, b: (a if w else b) if isinstance(w, bool) else None, which, yes, no)


def larger(x: Pieces, y: Pieces) -> Pieces:
    return chosen(compared(ORDER["GREATER"], x, y), x, y)


def smaller(x: Pieces, y: Pieces) -> Pieces:
    return chosen(compared(ORDER["LESS"], x, y), x, y)


def within(x: Pieces, lo: float, hi: float) -> Pieces:
    x = x if math.isinf(lo) else larger(x, always((lo, 0.0, 0.0)))
    return x if math.isinf(hi) else smaller(x, always((hi, 0.0, 0.0)))


def scaled(x: Pieces, factor: float) -> Pieces:
    return each(lambda a: times(a, (factor, 0.0, 0.0)), x)


def below(x: Pieces, negative: Pieces) -> Pieces:
    """x, `negative` where x is."""
    return chosen(compared(ORDER["LESS"], x, always(NOTHING)), negative, x)


def _sign(x: Pieces) -> Pieces:
    above, beneath = (compared(ORDER[op], x, always(NOTHING)) for op in ("GREATER", "LESS"))
    return chosen(above, always((1.0, 0.0, 0.0)), chosen(beneath, always((-1.0, 0.0, 0.0)), always(NOTHING)))


def _elu(x: Pieces, alpha: float) -> Pieces:
    less = each(lambda a: plus(power(a), (-1.0, 0.0, 0.0)), x)
    return below(x, scaled(less, alpha))


def _one(a: Applied, x: Pieces) -> Pieces:
    """What a layer makes of one activation."""
    match a.name:
        case "view" | "identity":
            return x
        case "scale":
            return each(lambda v: plus(times(v, (a.alpha, 0.0, 0.0)), (a.beta, 0.0, 0.0)), x)
        case "limits":
            return within(x, a.alpha, a.beta)
        case "abs":
            return below(x, scaled(x, -1.0))
        case "elu":
            return _elu(x, a.alpha)
        case "exp":
            return each(power, x)
        case "leaky_relu":
            return below(x, scaled(x, a.alpha))
        case "neg":
            return scaled(x, -1.0)
        case "sign":
            return _sign(x)
    return always(None)


TOGETHER: dict[str, Callable[[Cell, Cell], Cell]] = {
    "difference": lambda a, b: plus(a, b, -1.0),
    "product": times,
    "sum": plus,
}


def pieces(parts: Sequence[Part]) -> Pieces:
    """What layers make of each value, one behind another."""
    found = [always(ITSELF)]
    for part in parts:
        left, right = found[part.left], found[part.right]
        name = part.applied.name
        found.append(each(TOGETHER[name], left, right) if name in TOGETHER else _one(part.applied, left))
    return found[-1]
