"""MINIMUM, MAXIMUM of a .tflite file, of an activation and one number or of two; REDUCE_MIN, REDUCE_MAX."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .._build import Sliding
from .ends import opposite
from .file import AGAIN, LiteOp, LiteTensor
from .float import spread
from .scope import Act, Operand, Scope, activation, clipped, constant, names
from .slices import stretched
from .spatial import together


def bounded(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """MINIMUM, MAXIMUM; nothing is rescaled."""
    at = next((i for i, a in enumerate(args) if isinstance(a, LiteTensor)), None)
    if len(args) != 2:
        raise op.error(f"has {len(args)} operands", AGAIN)
    if at is None:
        return _of_two(scope, op, args)
    x, value = activation(op, args, 1 - at), constant(op, args, at, "operand")
    if x.format is None:
        bounds = np.unique(spread(op, value, x))
    else:
        held, own = value.format(), scope.moved(op, x.tensor, [x]).format
        if held is None or own is None or held.meaning != own.meaning:
            raise op.error("compares integers of several scales", AGAIN)
        assert value.value is not None
        bounds = np.unique(held.meaning.real(value.value.astype(np.float64)))
    if len(bounds) != 1 or x.shape != op.outputs[0].shape:
        raise op.error("has a limit for each value", "one limit for all values is supported")
    lo, hi = (-math.inf, float(bounds[0])) if op.op == "MINIMUM" else (float(bounds[0]), math.inf)
    return clipped(scope, op, x, lo, hi)


def _of_two(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """The larger of two values side by side, by a pool; the smaller is the larger of their opposites."""
    build, shape = scope.builder, op.outputs[0].shape
    given = [activation(op, args, i) for i in range(2)]
    sides = [stretched(scope, op, x, shape).tensor for x in given]
    if op.op == "MINIMUM":
        sides = [opposite(scope, op, x) for x in sides]
    held = build.held(sides[0])
    if build.held(sides[1]) != held:
        raise op.error("compares integers of several scales", AGAIN)
    size = math.prod(shape)
    pairs = build.concat([build.view(x, (size, 1)) for x in sides], [], op.source)
    build.hold(pairs, held)
    y = build.maxpool2d(build.view(pairs, (size, 2, 1)), Sliding((1, 2)), names(op), op.source)
    build.hold(y, held)
    return scope.moved(op, opposite(scope, op, y) if op.op == "MINIMUM" else y, given)


def extreme(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """REDUCE_MAX, REDUCE_MIN over any axes; nothing is rescaled."""
    smallest, x = op.op == "REDUCE_MIN", activation(op, args)
    turned = replace(x, tensor=opposite(scope, op, x.tensor)) if smallest else x
    seen, window = together(scope, op, [turned, *args[1:]])
    y = scope.builder.maxpool2d(seen, window, names(op), op.source)
    if (held := scope.builder.held(seen)) is not None:
        scope.builder.hold(y, held)
    return scope.moved(op, opposite(scope, op, y) if smallest else y, [x])
