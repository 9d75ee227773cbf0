"""Functions that files in float32 have in several operators, told by the pieces that they consist of."""

from __future__ import annotations

import math

import numpy as np

from .pieces import NOTHING, Form, Pieces

LIMITED = "limits"
RECOGNISED = ("elu", "leaky_relu", LIMITED, "shrink", "thresholded_relu")
NEAR = 1e-6  # relative: of float32
Found = tuple[str, float, float, float]


def recognised(y: Pieces) -> Found | None:
    """(function, alpha, beta, factor) of y = factor * function(x), by the names of gen/ops/table.py, or
    LIMITED and the ends of x; None where it is none of them for every x."""
    forms: list[Form] = []
    for cell in y.cells:
        if not isinstance(cell, tuple):
            return None
        forms.append(cell)
    points, forms = _merged(list(y.points), forms)
    if not points:
        a, b, c = forms[0]
        return ("leaky_relu", 1.0, 0.0, b) if b and not a and not c else None
    return _clip(points, forms) or (_of_one if len(points) == 1 else _shrink)(points, forms)


def _merged(points: list[float], forms: list[Form]) -> tuple[list[float], list[Form]]:
    """Without points where nothing changes."""
    kept, cells = [], forms[:1]
    for i, p in enumerate(points):
        at, right = forms[2 * i + 1 : 2 * i + 3]
        if right != cells[-1] or not _alike(_value(at, p), _value(right, p)):
            kept.append(p)
            cells += [at, right]
    return kept, cells


def _value(form: Form, x: float) -> float:
    return form[0] + form[1] * x + (form[2] * math.exp(min(x, 700.0)) if form[2] else 0.0)


def _alike(a: float, b: float) -> bool:
    return abs(a - b) <= NEAR * max(abs(a), abs(b))


def _meets(form: Form, other: Form, x: float) -> bool:
    """Whether two forms have one value at x, to what float32 leaves of its summands."""
    top = max(abs(v) for f in (form, other) for v in (f[0], f[1] * x, f[2]))
    return abs(_value(form, x) - _value(other, x)) <= NEAR * top


def _unbroken(points: list[float], forms: list[Form]) -> bool:
    return all(_meets(forms[2 * i], forms[2 * i + k], p) for i, p in enumerate(points) for k in (1, 2))


def _clip(points: list[float], forms: list[Form]) -> Found | None:
    """factor * x between constants."""
    between = forms[::2]
    rising = [i for i, (a, b, c) in enumerate(between) if b or c]
    if len(rising) != 1 or not _unbroken(points, forms):
        return None
    at = rising[0]
    a, factor, c = between[at]
    if a or c or len(between) > 3 or (len(between) == 3 and at != 1):
        return None
    lo = points[at - 1] if at else -math.inf
    hi = points[at] if at < len(points) else math.inf
    return LIMITED, lo, hi, factor


def _of_one(points: list[float], forms: list[Form]) -> Found | None:
    (p,), (left, at, right) = points, forms
    a, factor, c = right
    if a or c or not factor:
        return None
    if not p and not left[0] and not left[2] and not _value(at, p):
        return "leaky_relu", left[1] / factor, 0.0, factor
    if not p and not left[1] and _unbroken(points, forms):
        return "elu", left[2] / factor, 0.0, factor
    if left != NOTHING:
        return None
    edge = _edge(p, _value(at, p), 0.0, factor * p)
    return None if edge is None else ("thresholded_relu", edge, 0.0, factor)


def _shrink(points: list[float], forms: list[Form]) -> Found | None:
    """0 around 0, and factor * x - sign(x) * offset beyond."""
    if len(points) != 2 or points[0] != -points[1] or forms[2] != NOTHING:
        return None
    (offset, factor, c), right, p = forms[0], forms[4], points[1]
    if c or not factor or right != (-offset, factor, 0.0):
        return None
    edges = {
        _edge(p, sign * _value(at, sign * p), 0.0, _value(right, p))
        for sign, at in ((-1, forms[1]), (1, forms[3]))
    }
    edge = edges.pop()
    return None if edges or edge is None else ("shrink", edge, offset / factor, factor)


def _edge(p: float, value: float, inside: float, beyond: float) -> float | None:
    """The largest float32 inside, below what counts as beyond; p itself where it is inside."""
    if _alike(value, inside):
        return p
    near = np.float32(p)
    below = near if near < p else np.nextafter(near, np.float32(-np.inf))
    return float(below) if _alike(value, beyond) else None
