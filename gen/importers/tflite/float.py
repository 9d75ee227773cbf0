"""Operators of a TensorFlow Lite file in float32 that work on each value: arithmetic, and functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from tflite.AddOptions import AddOptions
from tflite.DivOptions import DivOptions
from tflite.MulOptions import MulOptions
from tflite.SubOptions import SubOptions

from .._masks import hidden, masked
from .file import AGAIN, LiteOp, LiteTensor
from .scope import Act, Operand, Scope, activated, activation, constant, inner, names
from .slices import stretched

Real = NDArray[np.float64]
OPTIONS = {"ADD": AddOptions, "DIV": DivOptions, "MUL": MulOptions, "SUB": SubOptions}


def in_float(op: LiteOp) -> bool:
    """Whether an operator takes and gives float32."""
    data = op.inputs[1:] if op.op in ("SELECT", "SELECT_V2") else op.inputs  # behind the condition
    first = data[0] if data else None
    return first is not None and first.kind == op.outputs[0].kind == "float32"


def spread(op: LiteOp, tensor: LiteTensor, x: Act) -> Real:
    """A constant operand, one value for each of x."""
    if tensor.value is None or tensor.kind != "float32":
        raise op.error(f"{tensor.label} is {tensor.kind}, and its other operand float32", AGAIN)
    if tensor.size == 1:  # of any rank
        return np.full(x.size, tensor.value.reshape(-1)[0], np.float64)
    try:
        return np.broadcast_to(tensor.value.astype(np.float64), x.shape).reshape(-1)
    except ValueError:
        what = f"its constant has shape {tensor.shape}, its input {x.shape}"
        raise op.error(what, "a constant may be smaller than the input, never larger") from None


def arithmetic(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """ADD, SUB, MUL, DIV: by a constant an affine layer, of two activations their sum, difference or product,
    of a quotient that with a reciprocal; SQUARED_DIFFERENCE."""
    if op.op == "SQUARED_DIFFERENCE":
        less = arithmetic(scope, replace(op, op="SUB", table=None), args)
        return replace(less, tensor=scope.builder.product(less.tensor, less.tensor, [], op.source))
    options = op.read(OPTIONS[op.op]) if op.table is not None else None
    given = [a for a in args if isinstance(a, Act)]
    if len(args) != 2 or not given:
        raise op.error(f"has {len(args)} operands, {len(given)} of them computed", AGAIN)
    y = _of_two(scope, op, *given) if len(given) == 2 else _by_constant(scope, op, args)
    function = op.number(options.FusedActivationFunction) if options is not None else 0
    return activated(scope, op, y, function)


def _of_two(scope: Scope, op: LiteOp, a: Act, b: Act) -> Act:
    build, out = scope.builder, op.outputs[0].shape
    try:
        fits = np.broadcast_shapes(a.shape, b.shape) == out
    except ValueError:
        fits = False
    if not fits:
        raise op.error(f"makes shape {out} of {a.shape} and {b.shape}", AGAIN)
    left, right = a.tensor, b.tensor
    if op.op == "SUB":
        right = build.affine(right, -np.ones(b.size), np.zeros(b.size), names(op), op.source)
    if op.op == "DIV":
        right = build.table(right, "reciprocal", [], op.source)
    if a.shape == b.shape:
        right = build.view(right, build.shape(left))
    else:
        left, right = build.view(left, inner(a.shape, out)), build.view(right, inner(b.shape, out))
    written = build.product if op.op in ("MUL", "DIV") else build.sum
    return Act(written(left, right, names(op), op.source), out, None)


def _by_constant(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    first = isinstance(args[0], Act)
    x = activation(op, args, 0 if first else 1)
    operand = constant(op, args, int(first), "operand")
    if operand.size > 1:
        x = stretched(scope, op, x, op.outputs[0].shape)
    value = spread(op, operand, x)
    one, none = np.ones(x.size), np.zeros(x.size)
    if op.op == "DIV" and not first:
        x = replace(x, tensor=scope.builder.table(x.tensor, "reciprocal", [], op.source))
    elif op.op == "DIV" and np.any(value == 0):
        raise op.error("divides by zero", "multiply instead")
    scale, shift = {
        "ADD": (one, value),
        "SUB": (one, -value) if first else (-one, value),
        "MUL": (value, none),
        "DIV": (1 / np.where(value == 0, 1, value) if first else value, none),
    }[op.op]
    if op.outputs[0].index in scope.scores and scale is one:
        shift = masked(scope.builder, op.source, shift.reshape(x.shape)).reshape(-1)
    return _affine(scope, op, x, scale, shift)


def _affine(scope: Scope, op: LiteOp, x: Act, scale: Real, shift: Real) -> Act:
    if x.shape != op.outputs[0].shape:
        raise op.error(f"makes shape {op.outputs[0].shape} of {x.shape}", AGAIN)
    return replace(x, tensor=scope.builder.affine(x.tensor, scale, shift, names(op), op.source))


def chosen(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """SELECT, SELECT_V2 by a constant condition: each side where it is taken, and their sum. In front of a
    softmax a mask's large negative number becomes one whose share there is nothing (`_masks.py`)."""
    which = constant(op, args, 0, "condition")
    if len(args) != 3 or which.value is None or which.kind != "bool":
        raise op.error("has no constant truth values to choose by", AGAIN)
    out, parts = op.outputs[0].shape, list[str]()
    taken = np.broadcast_to(which.value, out) if _fits(which.shape, out) else None
    if taken is None:
        raise op.error(f"chooses by shape {which.shape}, makes {out}", AGAIN)
    build, shift = scope.builder, np.zeros(math.prod(out))
    for x, mask in ((args[1], taken.reshape(-1)), (args[2], ~taken.reshape(-1))):
        if isinstance(x, Act):
            seen = stretched(scope, op, x, out)
            parts.append(build.affine(seen.tensor, mask * 1.0, mask * 0.0, [], op.source))
        elif isinstance(x, LiteTensor):
            value = np.where(mask, spread(op, x, Act("", out, None)), 0.0)
            shift += hidden(build, op.source, value) if op.outputs[0].index in scope.scores else value
    if not parts:
        raise op.error("chooses between constants", AGAIN)
    tensor = parts[0]
    if len(parts) == 2:
        tensor = build.sum(tensor, build.view(parts[1], build.shape(tensor)), names(op), op.source)
    elif shift.any():
        tensor = build.affine(tensor, np.ones(shift.size), shift, names(op), op.source)
    return Act(tensor, out, None)


def _fits(shape: tuple[int, ...], out: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(shape, out) == out
    except ValueError:
        return False


def negative(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """NEG"""
    x = activation(op, args)
    return _affine(scope, op, x, -np.ones(x.size), np.zeros(x.size))
