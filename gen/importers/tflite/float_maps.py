"""Operators of a TensorFlow Lite file in float32 that work on maps: pools, means, padding, order."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from tflite.ReducerOptions import ReducerOptions

from .._build import Sliding
from .ends import opposite
from .file import AGAIN, DAMAGED, LiteOp
from .scope import Act, Operand, Scope, activation, constant, names


def numbers(op: LiteOp, args: Sequence[Operand], at: int, what: str) -> np.ndarray:
    """A constant operand of whole numbers."""
    tensor = constant(op, args, at, what)
    if tensor.kind not in ("int32", "int64"):
        raise op.error(f"its {what} are {tensor.kind}", AGAIN)
    assert tensor.value is not None
    return tensor.value.astype(np.int64)


def reduced(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """SUM, REDUCE_MAX, REDUCE_MIN over neighbouring axes."""
    x, rank = activation(op, args), len(activation(op, args).shape)
    given = numbers(op, args, 1, "axes").reshape(-1).tolist()
    if any(not -rank <= a < rank for a in given):
        raise op.error(f"works on axes {given} of shape {x.shape}", DAMAGED)
    axes = sorted({a % rank for a in given if x.shape[a % rank] > 1})
    keep = bool(op.number(op.read(ReducerOptions).KeepDims))
    every = {a % rank for a in given}
    shape = tuple(1 if i in every else n for i, n in enumerate(x.shape) if keep or i not in every)
    if shape != op.outputs[0].shape:
        raise op.error(f"makes shape {op.outputs[0].shape} of {x.shape}", DAMAGED)
    if not axes:
        return Act(x.tensor, shape, None)
    between = [i for i in range(axes[0], axes[-1] + 1) if x.shape[i] > 1]
    if between != axes:
        raise op.error(f"works on axes {given} of shape {x.shape}", "axes must be beside one another")
    before, count, after = (math.prod(part) for part in _parts(x.shape, axes[0], axes[-1] + 1))
    seen, builder = scope.builder.view(x.tensor, (before, count, after)), scope.builder
    window = Sliding((1, count), (1, 1))
    if op.op == "REDUCE_MAX":
        return Act(builder.maxpool2d(seen, window, names(op), op.source), shape, None)
    if op.op == "REDUCE_MIN":
        y = builder.maxpool2d(opposite(scope, op, seen), window, names(op), op.source)
        return Act(opposite(scope, op, y), shape, None)
    tensor = builder.avgpool2d(seen, window, False, names(op), op.source)
    if op.op == "SUM":
        size = before * after
        tensor = builder.affine(tensor, np.full(size, float(count)), np.zeros(size), [], op.source)
    return Act(tensor, shape, None)


def _parts(shape: tuple[int, ...], first: int, last: int) -> tuple[tuple[int, ...], ...]:
    return shape[:first], shape[first:last], shape[last:]
