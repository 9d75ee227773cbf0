"""Sums, differences and products of a TensorFlow Lite file: of two activations, or one and a constant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tflite.AddOptions import AddOptions
from tflite.DivOptions import DivOptions
from tflite.MulOptions import MulOptions
from tflite.SubOptions import SubOptions

from ...ir.format import Format
from ...ops._requantise import TWICE
from .file import LiteOp, LiteTensor
from .scope import Act, Operand, Scope, Shape, activated, activation, inner, names

OPTIONS: dict[str, Any] = {"ADD": AddOptions, "SUB": SubOptions, "MUL": MulOptions}


def pair(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """ADD, SUB, MUL, each operand stretched along axes where it has one element."""
    if len(args) != 2 or None in args or not any(isinstance(a, Act) for a in args):
        raise op.error(f"has {len(args)} operands, of which one at least must be computed")
    o, out = op.read(OPTIONS[op.op]), op.outputs[0].shape
    shapes = [a.shape for a in args if a is not None]
    try:
        fits = np.broadcast_shapes(*shapes) == out
    except ValueError:
        fits = False
    if not fits:
        raise op.error(f"makes shape {out} of {shapes[0]} and {shapes[1]}")
    y = scope.made(op, _written(scope, op, args, out), _held(scope, op, args), TWICE)
    return activated(scope, op, y, op.number(o.FusedActivationFunction))


def squared_difference(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """SQUARED_DIFFERENCE of two activations."""
    sides = _two(scope, op, args)
    tensor = scope.builder.squared_difference(*sides, names(op), op.source)
    return scope.made(op, tensor, rounds=TWICE)


def quotient(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """DIV of two activations."""
    sides = _two(scope, op, args)
    y = scope.made(op, scope.builder.quotient(*sides, names(op), op.source))
    return activated(scope, op, y, op.number(op.read(DivOptions).FusedActivationFunction))


def _two(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> tuple[str, str]:
    """Two activations, on shapes without the batch; CompileError where they do not fit."""
    left, right, out = activation(op, args), activation(op, args, 1), op.outputs[0].shape
    try:
        fits = np.broadcast_shapes(left.shape, right.shape) == out
    except ValueError:
        fits = False
    if not fits:
        raise op.error(f"makes shape {out} of {left.shape} and {right.shape}")
    _held(scope, op, args)
    return _seen(scope, left, out), _seen(scope, right, out)


def _written(scope: Scope, op: LiteOp, args: Sequence[Operand], out: Shape) -> str:
    """The node, on shapes without the batch."""
    build, hints, minus = scope.builder, names(op), op.op == "SUB"
    x, y = (_seen(scope, a, out) if isinstance(a, Act) else _real(scope, op, a, out) for a in args)
    if isinstance(x, str) and isinstance(y, str):
        if op.op == "MUL":
            return build.product(x, y, hints, op.source)
        return build.sum(x, y, hints, op.source, minus)
    first = not isinstance(x, str)
    seen, c = (y, x) if first else (x, y)
    assert isinstance(seen, str) and isinstance(c, np.ndarray)
    if scope.format(op, op.outputs[0]) is None:
        return _affine(scope, op, seen, c, first)
    if op.op == "MUL":
        return build.times(seen, c, hints, op.source)
    return build.plus(seen, c, hints, op.source, minus, minus and first)


def _seen(scope: Scope, x: Act, out: Shape) -> str:
    return scope.builder.view(x.tensor, inner(x.shape, out))


def _real(scope: Scope, op: LiteOp, c: LiteTensor | None, out: Shape) -> NDArray[np.float64]:
    """What a constant stands for."""
    assert c is not None and c.value is not None
    held = scope.format(op, c)
    values = c.value.astype(np.float64)
    return (held.meaning.real(values) if held else values).reshape(inner(c.shape, out))


def _held(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> list[Format | None]:
    """How the constant, if there is one, is held; CompileError where one operand is in float alone."""
    formats = [a.format if isinstance(a, Act) else scope.format(op, a) for a in args if a is not None]
    if len({f is None for f in (*formats, scope.format(op, op.outputs[0]))}) != 1:
        raise op.error("takes together integers and float32", "convert with full integers")
    constants = [scope.format(op, a) for a in args if isinstance(a, LiteTensor)]
    return [c for c in constants if c is not None]


def _affine(scope: Scope, op: LiteOp, x: str, c: NDArray[np.float64], first: bool) -> str:
    """In float: scale * x + shift."""
    shape = scope.builder.shape(x)
    if np.broadcast_shapes(shape, c.shape) != shape:
        raise op.error(f"stretches its input {shape} to {c.shape}", "in float32 only constants are stretched")
    each = np.broadcast_to(c, shape).reshape(-1)
    ones, zeros = np.ones_like(each), np.zeros_like(each)
    scale, shift = {
        "ADD": (ones, each),
        "SUB": (-ones, each) if first else (ones, -each),
        "MUL": (each, zeros),
    }[op.op]
    return scope.builder.affine(x, scale, shift, names(op), op.source)
