"""Operators of a TensorFlow Lite file in float32 that work on maps: pools, means, padding, order."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from tflite.ConcatenationOptions import ConcatenationOptions
from tflite.Pool2DOptions import Pool2DOptions
from tflite.ReducerOptions import ReducerOptions

from ._build import Sliding
from ._layout import MAX_AXES
from ._tflite_file import AGAIN, DAMAGED, LiteOp
from ._tflite_layers import sliding
from ._tflite_scope import Act, Operand, Scope, activated, activation, constant, names


def numbers(op: LiteOp, args: Sequence[Operand], at: int, what: str) -> np.ndarray:
    """A constant operand of whole numbers."""
    tensor = constant(op, args, at, what)
    if tensor.kind not in ("int32", "int64"):
        raise op.error(f"its {what} are {tensor.kind}", AGAIN)
    assert tensor.value is not None
    return tensor.value.astype(np.int64)


def real_number(op: LiteOp, args: Sequence[Operand], at: int, what: str) -> float:
    """A constant operand of one float."""
    tensor = constant(op, args, at, what)
    assert tensor.value is not None
    if tensor.kind != "float32" or tensor.size != 1 or not np.isfinite(tensor.value).all():
        raise op.error(
            f"its {what} is {tensor.kind} of shape {tensor.shape}", "one finite float is supported"
        )
    return float(tensor.value.reshape(-1)[0])


def pool(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """MAX_POOL_2D, AVERAGE_POOL_2D: what lies beyond the map never counts."""
    x = activation(op, args)
    seen, o = scope.map(op, x), op.read(Pool2DOptions)
    window = sliding(op, x.shape, (op.number(o.FilterHeight), op.number(o.FilterWidth)), o)
    if min(window.output((x.shape[1], x.shape[2]))) < 1:
        raise op.error(f"its window {window.kernel} is larger than its input {x.shape}", AGAIN)
    hints, builder = names(op), scope.builder
    if op.op == "MAX_POOL_2D":
        tensor = builder.maxpool2d(seen, window, hints, op.source)
    else:
        tensor = builder.avgpool2d(seen, window, False, hints, op.source)
    y = Act(tensor, (1, *builder.shape(tensor)), None)
    return activated(scope, op, y, op.number(o.FusedActivationFunction))


def reduced(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """MEAN, SUM, REDUCE_MAX over neighbouring axes."""
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
    tensor = builder.avgpool2d(seen, window, False, names(op), op.source)
    if op.op == "SUM":
        size = before * after
        tensor = builder.affine(tensor, np.full(size, float(count)), np.zeros(size), [], op.source)
    return Act(tensor, shape, None)


def _parts(shape: tuple[int, ...], first: int, last: int) -> tuple[tuple[int, ...], ...]:
    return shape[:first], shape[first:last], shape[last:]


def pad(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """PAD with zeros, PADV2 with any number: along the axes between the batch and the channels."""
    x, margins = activation(op, args), numbers(op, args, 1, "margins")
    value = real_number(op, args, 2, "value") if op.op == "PADV2" else 0.0
    if margins.shape != (len(x.shape), 2) or margins.min(initial=0) < 0 or margins.max(initial=0) > 1 << 16:
        raise op.error(f"its margins have shape {margins.shape}, or are none", DAMAGED)
    shape = x.shape if len(x.shape) > 2 else (*x.shape, 1)
    rows = margins.tolist() + [[0, 0]] * (len(shape) - len(x.shape))
    if any(map(any, (rows[0], rows[-1]))) or not 3 <= len(shape) <= 4 or shape[0] != 1:
        what = f"pads shape {x.shape} by {margins.tolist()}"
        raise op.error(what, "only height and width can be padded")
    high, wide = rows[1], rows[2] if len(shape) == 4 else [0, 0]
    seen = scope.builder.view(x.tensor, shape[1:] if len(shape) == 4 else (shape[1], 1, shape[2]))
    tensor = scope.builder.pad(seen, (high[0], wide[0], high[1], wide[1]), value, names(op), op.source)
    return Act(tensor, tuple(n + sum(r) for n, r in zip(x.shape, margins.tolist(), strict=True)), None)


def concatenation(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """CONCATENATION of activations along any axis."""
    parts = [activation(op, args, i) for i in range(len(args))]
    o = op.read(ConcatenationOptions)
    first, axis = parts[0].shape if parts else (), op.number(o.Axis)
    if not -len(first) <= axis < len(first):
        raise op.error(f"joins along axis {axis}, and has {len(parts)} parts of shape {first}", DAMAGED)
    axis %= len(first)
    rest = {(p.shape[:axis], p.shape[axis + 1 :]) for p in parts}
    if len(rest) > 1:
        raise op.error(f"joins shapes {[p.shape for p in parts]} along axis {axis}", DAMAGED)
    shape = (*first[:axis], sum(p.shape[axis] for p in parts), *first[axis + 1 :])
    outer = math.prod(first[:axis])
    views = [scope.builder.view(p.tensor, (outer, p.size // outer)) for p in parts]
    y = Act(scope.builder.concat(views, names(op), op.source), shape, None)
    return activated(scope, op, y, op.number(o.FusedActivationFunction))


def transpose(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """TRANSPOSE: axes of one value do not count."""
    x, order = activation(op, args), numbers(op, args, 1, "order").reshape(-1).tolist()
    if sorted(order) != list(range(len(x.shape))):
        raise op.error(f"has the order {order} for shape {x.shape}", DAMAGED)
    shape = tuple(x.shape[i] for i in order)
    wide = [i for i, n in enumerate(x.shape) if n > 1]
    moved = [wide.index(i) for i in order if i in wide]
    if moved == sorted(moved):
        return Act(x.tensor, shape, None)
    if len(wide) > MAX_AXES:
        raise op.error(f"moves {len(wide)} axes", f"at most {MAX_AXES} can be moved")
    seen = scope.builder.view(x.tensor, tuple(x.shape[i] for i in wide))
    return Act(scope.builder.transpose(seen, moved, op.source), shape, None)
