"""Normalisations of a .tflite file in float32: over any axes, to unit vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from tflite.L2NormOptions import L2NormOptions

from .file import AGAIN, LiteOp, LiteTensor
from .float import OPTIONS, spread
from .scope import Act, Operand, Scope, activated, activation, names
from .spatial import ordered


def normalised(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """What gen/importers/tflite/norms.py put together: x, gamma, beta."""
    how, x = op.normalised, activation(op, args)
    assert how is not None
    if not (math.isfinite(how.epsilon) and how.epsilon >= 0):
        raise op.error(f"its epsilon is {how.epsilon}", AGAIN)
    if x.shape != op.outputs[0].shape:
        raise op.error(f"makes shape {op.outputs[0].shape} of {x.shape}", AGAIN)
    tensor = _rows(scope, op, x, set(how.axes), how.kind, how.epsilon)
    gamma, beta = args[1:3]
    if isinstance(gamma, LiteTensor) or isinstance(beta, LiteTensor):
        scale = spread(op, gamma, x) if isinstance(gamma, LiteTensor) else np.ones(x.size)
        shift = spread(op, beta, x) if isinstance(beta, LiteTensor) else np.zeros(x.size)
        seen = scope.builder.view(tensor, scope.builder.shape(x.tensor))
        tensor = scope.builder.affine(seen, scale, shift, [], op.source)
    fused = op.number(op.read(OPTIONS[op.op]).FusedActivationFunction) if op.table is not None else 0
    return activated(scope, op, Act(tensor, x.shape, None), fused)


def unit_integers(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """L2_NORMALIZATION in int8: over the last axis."""
    x = activation(op, args)
    if not x.shape or x.shape != op.outputs[0].shape:
        raise op.error(f"makes shape {op.outputs[0].shape} of {x.shape}", AGAIN)
    seen = scope.builder.view(x.tensor, (x.size // x.shape[-1], x.shape[-1]))
    y = scope.made(op, scope.builder.unit_length(seen, names(op), op.source))
    fused = op.number(op.read(L2NormOptions).FusedActivationFunction) if op.table is not None else 0
    return activated(scope, op, y, fused)


def unit(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """L2_NORMALIZATION: over the last axis."""
    x = activation(op, args)
    return Act(_rows(scope, op, x, {len(x.shape) - 1}, "squares", 0.0), x.shape, None)


def _rows(scope: Scope, op: LiteOp, x: Act, over: set[int], kind: str, epsilon: float) -> str:
    """x over a measure of its values along these axes, taken together; in the order of x."""
    build, hints = scope.builder, names(op)
    gone = [i for i, n in enumerate(x.shape) if n > 1 and i in over]
    kept = [i for i, n in enumerate(x.shape) if n > 1 and i not in over]
    if gone != [i for i in range(gone[0], gone[-1] + 1) if x.shape[i] > 1] if gone else False:
        order = [*kept, *gone]
        size = math.prod(x.shape[i] for i in gone)
        rows = build.view(ordered(scope, op, x, order), (x.size // size, size))
        y = build.view(
            build.normalise(rows, 1, kind, epsilon, hints, op.source), tuple(x.shape[i] for i in order)
        )
        return build.transpose(y, np.argsort(order).tolist(), op.source)
    first, last = (gone[0], gone[-1] + 1) if gone else (len(x.shape), len(x.shape))
    sizes = [math.prod(part) for part in (x.shape[:first], x.shape[first:last], x.shape[last:])]
    seen = build.view(x.tensor, (sizes[0], sizes[1], sizes[2]))
    return build.normalise(seen, 1, kind, epsilon, hints, op.source)
