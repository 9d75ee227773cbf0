"""SELECT by comparisons of two tensors and by masks: one step for each (gen/ops/choice.py, masked.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ...ir.format import Format, Scaled
from ...ir.graph import Attr
from ...ops._litert_pairs import COMPARISONS
from .._layers import CHOSEN, FREE
from .file import AGAIN, LiteOp, LiteTensor
from .refusals import MOST_TESTS as MOST
from .scope import Act, Operand, Scope, constant, inner, names
from .slices import stretched
from .values import LOGIC, SELECTS

MIRRORED = {
    "LESS": "GREATER",
    "LESS_EQUAL": "GREATER_EQUAL",
    "GREATER": "LESS",
    "GREATER_EQUAL": "LESS_EQUAL",
}
"""Those that differ with their sides changed; of int16 LiteRT compares their integers, else by scales."""
INTEGERS = ("int8", "int16")
MASK = "mask"
"""The test of a choice by constant truth values."""
UNFIT = "unfit"
"""Of one whose shapes do not fit."""
MANY = "many"
"""Of one whose condition is made of too much."""


def tested(ops: Sequence[LiteOp]) -> tuple[LiteOp, ...]:
    """The operators; in place of a SELECT of integers one for each comparison and each mask of its condition.

    What reads a comparison of integers reads both sides of it, and says in `test` which comparison that is;
    what reads a mask says MASK. LOGICAL_AND and LOGICAL_OR are choices one behind the other:
    a and b ? y : n is a ? (b ? y : n) : n, a or b ? y : n is a ? y : (b ? y : n), so none stands twice.
    """
    parts = _Parts(ops)
    return tuple(one for op in ops for one in parts.of(op))


class _Parts:
    """The choices that a SELECT is made of."""

    def __init__(self, ops: Sequence[LiteOp]) -> None:
        self.makers: Mapping[int, LiteOp] = {out.index: op for op in ops for out in op.outputs}
        tensors = [t for op in ops for t in (*op.inputs, *op.outputs) if t is not None]
        self.last = max((t.index for t in tensors), default=0)

    def of(self, op: LiteOp) -> list[LiteOp]:
        if op.op not in SELECTS or op.composed or len(op.inputs) != 3 or None in op.inputs:
            return [op]
        out, (condition, yes, no) = op.outputs[0], op.inputs
        if out.kind not in INTEGERS or condition is None or yes is None or no is None:
            return [op]
        if not _alike(op, (condition, yes, no)):
            return [replace(op, inputs=(yes, no), test=UNFIT)]
        todo, done = [(condition, yes, no, out)], list[LiteOp]()
        while todo and len(done) + len(todo) <= MOST:
            condition, yes, no, out = todo.pop()
            by = self.makers.get(condition.index)
            read = tuple(t for t in by.inputs if t is not None) if by is not None else ()
            if by is None or self._fixed(condition):
                done.append(replace(op, inputs=(condition, yes, no), outputs=(out,), test=MASK))
            elif by.op == "LOGICAL_NOT" and len(read) == 1:
                todo.append((read[0], no, yes, out))
            elif by.op in LOGIC and len(read) == 2:
                first, second = sorted(read, key=self._fixed, reverse=True)  # so none chooses between numbers
                self.last += 1
                inner = replace(out, index=self.last, name=f"{out.name}_{by.op.lower()}")
                sides = (inner, no) if by.op == "LOGICAL_AND" else (yes, inner)
                todo += [(first, *sides, out), (second, yes, no, inner)]
            elif (compares := _compared(by)) is not None:
                done.append(replace(op, inputs=(*compares[:2], yes, no), outputs=(out,), test=compares[2]))
            else:
                return [op]
        return [replace(op, inputs=(yes, no), test=MANY)] if todo else done

    def _fixed(self, t: LiteTensor) -> bool:
        """Whether a truth value follows from constants alone."""
        todo, seen = [t], set[int]()
        while todo:
            t = todo.pop()
            by = self.makers.get(t.index)
            if t.value is not None or t.index in seen:
                continue
            if by is None:
                return False
            seen.add(t.index)
            todo += [i for i in by.inputs if i is not None]
        return True


def _alike(op: LiteOp, read: Sequence[LiteTensor]) -> bool:
    """Whether the shapes of a SELECT and of what it reads are those that LiteRT gives it."""
    out, which = op.outputs[0], read[0]
    if op.op == "SELECT" and which.shape != out.shape and which.size != 1:  # a truth value for each row
        return False
    if any(-1 in t.signature[1:] for t in (out, *read)):
        return True  # known only in a run
    try:
        return np.broadcast_shapes(*(t.shape for t in read)) == out.shape
    except ValueError:
        return False


def _compared(by: LiteOp) -> tuple[LiteTensor, LiteTensor, str] | None:
    """Both sides of a comparison of integers, the left one computed, and which comparison that is then."""
    if by.op not in COMPARISONS or len(by.inputs) != 2:
        return None
    left, right = by.inputs
    if left is None or right is None or left.kind not in INTEGERS or right.kind != left.kind:
        return None
    return (left, right, by.op) if left.value is None else (right, left, MIRRORED.get(by.op, by.op))


def choice(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """A SELECT of `tested`: its operands in the output's shape, or one number each."""
    held, out = scope.format(op, op.outputs[0]), op.outputs[0].shape
    assert held is not None
    if op.test == UNFIT:
        sides = " and ".join(str(t.shape) for t in op.inputs if t is not None)
        what = f"makes shape {out} of {sides} by a condition that does not fit"
        raise op.error(what, "write SELECT_V2, which stretches what has one element along an axis")
    if op.test == MANY:
        what = f"its condition reads more than {MOST} comparisons and masks"
        raise op.error(what, "choose in several steps, or by MAXIMUM and MINIMUM")
    if op.test == MASK:
        return _masked(scope, op, args, held)
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


def _masked(scope: Scope, op: LiteOp, args: Sequence[Operand], held: Format) -> Act:
    """A SELECT by constant truth values."""
    mask, out = constant(op, args, 0, "condition"), op.outputs[0].shape
    if mask.value is None or mask.kind != "bool":
        raise op.error(f"its condition is {mask.kind}", AGAIN)
    attrs: dict[str, Attr] = {}
    given, moved = list[str](), list[Act]()
    for role, x in zip(CHOSEN, args[1:], strict=True):
        if isinstance(x, Act):
            given.append(_seen(scope, op, x, out))
            moved.append(x)
        else:
            attrs |= _number(op, role, x, held)
    if not moved:
        raise op.error("chooses between constants", "replace it by what it chooses")
    if not _fits(mask.shape, out):
        raise op.error(f"chooses by shape {mask.shape}, makes {out}", AGAIN)
    truths = np.broadcast_to(mask.value, out).reshape(inner(out, out))
    return scope.moved(op, scope.builder.masked(given, truths, attrs, names(op), op.source), moved)


def _fits(shape: tuple[int, ...], out: tuple[int, ...]) -> bool:
    """Whether a tensor can be stretched to the output."""
    try:
        return np.broadcast_shapes(shape, out) == out
    except ValueError:
        return False


def _seen(scope: Scope, op: LiteOp, x: Act, out: tuple[int, ...]) -> str:
    """An operand in the shape of the output; of one element as it is."""
    if x.size == 1 < np.prod(out):
        return scope.builder.view(x.tensor, (1,))
    return scope.builder.view(stretched(scope, op, x, out).tensor, inner(out, out))


def _number(op: LiteOp, role: str, c: LiteTensor | None, held: Format | None) -> dict[str, Attr]:
    """The attributes of a constant that is one number everywhere; held: the format that it must have."""
    found = c.format() if c is not None else None
    if c is None or c.value is None or found is None or not isinstance(found.meaning, Scaled):
        raise op.error(f"its operand {role} is no tensor with a scale")
    if c.size == 0 or (c.value != c.value.reshape(-1)[0]).any() or not _fits(c.shape, op.outputs[0].shape):
        hint = "one number is supported beside activations"
        raise op.error(f"its operand {role} is a constant of shape {c.shape}", hint)
    if held is not None and found.meaning != held.meaning:
        raise op.error("chooses between integers of several scales")
    unit = int(c.value.reshape(-1)[0])
    attrs: dict[str, Attr] = {f"{role}_is": unit, f"{role}_real": float(found.meaning.real(unit))}
    own = {"right_scale": found.meaning.scale[0], "right_zero": found.meaning.zero[0]}
    return attrs | (own if role == "right" else {})
