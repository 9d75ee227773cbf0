"""What operators of a float file make of each value of one tensor, as pieces (gen/stages/pieces.py)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ...stages.pieces import (
    ITSELF,
    NOTHING,
    ORDER,
    Cell,
    Pieces,
    always,
    below,
    chosen,
    compared,
    each,
    larger,
    over,
    plus,
    power,
    scaled,
    smaller,
    times,
    within,
)
from .file import LiteOp, LiteTensor
from .functions import LIMITS, leak
from .scope import ENDS
from .values import OPTIONS, SELECTS, VIEWS, operands

LOGIC: dict[str, Callable[[bool, bool], bool]] = {
    "LOGICAL_AND": lambda a, b: a and b,
    "LOGICAL_OR": lambda a, b: a or b,
}
ARITHMETIC: dict[str, Callable[..., Cell]] = {
    "ADD": plus,
    "DIV": over,
    "MUL": times,
    "SUB": lambda a, b: plus(a, b, -1.0),
}


def _one(op: LiteOp, x: Pieces) -> Pieces:
    """An operator of one operand."""
    if op.op in LIMITS:
        return within(x, *LIMITS[op.op])
    match op.op:
        case "ABS":
            return below(x, scaled(x, -1.0))
        case "ELU":
            return below(x, each(lambda a: plus(power(a), (-1.0, 0.0, 0.0)), x))
        case "EXP":
            return each(power, x)
        case "LEAKY_RELU":
            return below(x, scaled(x, leak(op)))
        case "LOGICAL_NOT":
            return each(lambda a: not a if isinstance(a, bool) else None, x)
        case "NEG":
            return scaled(x, -1.0)
        case "ZEROS_LIKE":
            return always(NOTHING)
    return x if op.op in VIEWS else always(None)


def _several(op: LiteOp, given: Sequence[Pieces]) -> Pieces:
    if op.op in SELECTS and len(given) == 3:
        return chosen(*given)
    if len(given) != 2:
        return always(None)
    if op.op in ORDER:
        return compared(ORDER[op.op], *given)
    if op.op in LOGIC:
        both = LOGIC[op.op]
        return each(lambda a, b: both(a, b) if isinstance(a, bool) and isinstance(b, bool) else None, *given)
    if op.op in ("MAXIMUM", "MINIMUM"):
        return (larger if op.op == "MAXIMUM" else smaller)(*given)
    if op.op not in ARITHMETIC:
        return always(None)
    y, kind = each(ARITHMETIC[op.op], *given), OPTIONS[op.op]
    fused = 0 if op.table is None else op.number(op.read(kind).FusedActivationFunction)
    ends = ENDS.get(fused)
    return always(None) if ends is None else within(y, *ends) if ends else y


def _constant(t: LiteTensor) -> Pieces:
    value: Any = t.value.reshape(-1)[0] if t.value is not None else None
    if t.kind == "bool":
        return always(bool(value))
    finite = t.kind == "float32" and math.isfinite(value)
    return always((float(value), 0.0, 0.0) if finite else None)


def pieces(parts: Sequence[LiteOp], source: LiteTensor) -> Pieces:
    """What `parts`, in order, make of `source` in the end."""
    found = {source.index: always(ITSELF)}
    for op in parts:
        given = [
            always(None) if t is None else found[t.index] if t.value is None else _constant(t)
            for t in operands(op)
        ]
        found[op.outputs[0].index] = _one(op, given[0]) if len(given) == 1 else _several(op, given)
    return found[parts[-1].outputs[0].index]
