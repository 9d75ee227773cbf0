"""SELECT by a comparison of two tensors: the two operators become one (gen/ops/choice.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...ir.format import Format, Scaled
from ...ir.graph import Attr
from ...ops._litert_pairs import COMPARISONS
from .._layers import FREE
from .file import LiteOp, LiteTensor
from .scope import Act, Operand, Scope, inner, names
from .slices import stretched
from .values import SELECTS

MIRRORED = {
    "LESS": "GREATER",
    "LESS_EQUAL": "GREATER_EQUAL",
    "GREATER": "LESS",
    "GREATER_EQUAL": "LESS_EQUAL",
}
"""Those that differ with their sides changed; of int16 LiteRT compares their integers, else by scales."""
INTEGERS = ("int8", "int16")


def tested(ops: Sequence[LiteOp]) -> tuple[LiteOp, ...]:
    """The operators; a SELECT of integers whose condition a comparison of integers gives reads both sides of
    it, and says in `test` which comparison that is."""
    makers = {out.index: op for op in ops for out in op.outputs}
    return tuple(_tested(op, makers) if op.op in SELECTS and not op.composed else op for op in ops)


def _tested(op: LiteOp, makers: dict[int, LiteOp]) -> LiteOp:
    if len(op.inputs) != 3 or None in op.inputs or op.outputs[0].kind not in INTEGERS:
        return op
    condition, *choices = op.inputs
    by = makers.get(condition.index) if condition is not None else None
    while by is not None and by.op == "LOGICAL_NOT" and by.inputs[0] is not None:
        by, choices = makers.get(by.inputs[0].index), choices[::-1]
    if by is None or by.op not in COMPARISONS or len(by.inputs) != 2:
        return op
    left, right = by.inputs
    if left is None or right is None or left.kind not in INTEGERS or right.kind != left.kind:
        return op
    test = by.op
    if left.value is not None:
        left, right, test = right, left, MIRRORED.get(test, test)
    return replace(op, inputs=(left, right, *choices), test=test)


def choice(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """A SELECT of `tested`: its operands in the output's shape, or one number each."""
    held, out = scope.format(op, op.outputs[0]), op.outputs[0].shape
    assert held is not None
    left, *rest = args
    if not isinstance(left, Act):
        raise op.error("compares two constants", "replace it by what it chooses")
    raw = left.format is not None and left.format.dtype == "int16" and op.test in MIRRORED
    attrs: dict[str, Attr] = {"test": op.test.lower(), "raw": int(raw)}
    given, moved = [_seen(scope, op, left, out)], []
    for role, x in zip(FREE, rest, strict=True):
        if isinstance(x, Act):
            given.append(_seen(scope, op, x, out))
            moved += [x] if role != "right" else []
        else:
            attrs |= _number(op, role, x, None if role == "right" else held)
    tensor = scope.builder.choice(given, inner(out, out), attrs, names(op), op.source)
    return scope.moved(op, tensor, moved) if moved else scope.made(op, tensor)


def _seen(scope: Scope, op: LiteOp, x: Act, out: tuple[int, ...]) -> str:
    """An operand in the shape of the output; of one element as it is."""
    if x.size == 1 < np.prod(out):
        return scope.builder.view(x.tensor, (1,))
    return scope.builder.view(stretched(scope, op, x, out).tensor, inner(out, out))


def _number(op: LiteOp, role: str, c: LiteTensor | None, held: Format | None) -> dict[str, Attr]:
    """The attributes of a constant of one element; held: the format that it must have."""
    found = c.format() if c is not None else None
    if c is None or c.value is None or found is None or not isinstance(found.meaning, Scaled):
        raise op.error(f"its operand {role} is no tensor with a scale")
    if c.size != 1:
        hint = "one number is supported beside activations"
        raise op.error(f"its operand {role} is a constant of shape {c.shape}", hint)
    if held is not None and found.meaning != held.meaning:
        raise op.error("chooses between integers of several scales")
    unit = int(c.value.reshape(-1)[0])
    attrs: dict[str, Attr] = {f"{role}_is": unit, f"{role}_real": float(found.meaning.real(unit))}
    own = {"right_scale": found.meaning.scale[0], "right_zero": found.meaning.zero[0]}
    return attrs | (own if role == "right" else {})
