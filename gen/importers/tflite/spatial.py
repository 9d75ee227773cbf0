"""Pooling, means and padding of a TensorFlow Lite file."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tflite.Pool2DOptions import Pool2DOptions
from tflite.ReducerOptions import ReducerOptions

from ...ir.format import Scaled
from ...ops._requantise import ONCE, TWICE
from .._build import Sliding
from .file import LiteOp, LiteTensor
from .layers import sliding
from .scope import Act, Operand, Scope, activated, activation, around, axis, constant, integers, names

AXES = 4  # of what a transpose moves


def pool(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """MAX_POOL_2D, AVERAGE_POOL_2D: places beyond the map never count; nothing is rescaled."""
    x, o = activation(op, args), op.read(Pool2DOptions)
    seen = scope.map(op, x)
    window = sliding(op, x.shape, (op.number(o.FilterHeight), op.number(o.FilterWidth)), o)
    if min(window.output((x.shape[1], x.shape[2]))) < 1:
        raise op.error(f"its window {window.kernel} does not fit into {x.shape}")
    if op.op == "MAX_POOL_2D":
        y = scope.moved(op, scope.builder.maxpool2d(seen, window, names(op), op.source), [x])
    else:
        tensor = scope.builder.avgpool2d(seen, window, False, names(op), op.source)
        scope.moved(op, tensor, [x])
        y = scope.made(op, tensor, rounds=ONCE)
    return activated(scope, op, y, op.number(o.FusedActivationFunction))


def mean(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """MEAN over any axes."""
    seen, window = together(scope, op, args)
    return scope.made(op, scope.builder.avgpool2d(seen, window, False, names(op), op.source), rounds=TWICE)


def total(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """SUM over any axes."""
    seen, window = together(scope, op, args)
    tensor = scope.builder.avgpool2d(seen, window, False, names(op), op.source, total=True)
    return scope.made(op, tensor, rounds=ONCE)


def together(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> tuple[str, Sliding]:
    """The axes of a reduction brought side by side: a map, and the one window over them."""
    x = activation(op, args)
    op.read(ReducerOptions)
    over = {axis(op, int(v), len(x.shape)) for v in integers(op, args, 1, "axes").reshape(-1)}
    gone = [i for i, n in enumerate(x.shape) if n > 1 and i in over]
    kept = [i for i, n in enumerate(x.shape) if n > 1 and i not in over]
    outer = [i for i in kept if not gone or i < gone[0]]
    order = [*outer, *gone, *(i for i in kept if i not in outer)]
    tensor = ordered(scope, op, x, order)
    sizes = [math.prod(x.shape[i] for i in part) for part in (outer, gone, order[len(outer) + len(gone) :])]
    return scope.builder.view(tensor, (sizes[0], sizes[1], sizes[2])), Sliding((1, sizes[1]))


def ordered(scope: Scope, op: LiteOp, x: Act, order: list[int]) -> str:
    """x without axes of one element, the others in this order."""
    if order == sorted(order):
        return x.tensor
    if len(order) > AXES:
        raise op.error(f"its input has shape {x.shape}", f"up to {AXES} axes can be moved")
    rising = sorted(order)
    seen = scope.builder.view(x.tensor, tuple(x.shape[i] for i in rising))
    return scope.builder.transpose(seen, [rising.index(i) for i in order], op.source)


def pad(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """PAD, with what stands for 0; PADV2, with a constant."""
    x, ends = activation(op, args), integers(op, args, 1, "padding")
    if ends.shape != (len(x.shape), 2) or ends.min(initial=0) < 0:
        raise op.error(f"pads {ends.tolist()}, its input has shape {x.shape}")
    value = 0.0 if op.op == "PAD" else _value(op, constant(op, args, 2, "value"), x)
    wider = [i for i in range(len(x.shape)) if ends[i].any()]
    tensor, shape = x.tensor, x.shape
    if wider in ([1], [2], [1, 2]) and len(shape) == 4 and shape[0] == 1:
        (top, bottom), (left, right) = ends[1:3].tolist()
        seen = scope.builder.view(tensor, shape[1:])
        tensor = scope.builder.pad(seen, (top, left, bottom, right), value, names(op), op.source)
        wider = []
    for i in wider:
        tensor, shape = _along(scope, op, tensor, shape, i, ends[i], value, x)
    return scope.moved(op, tensor, [x])


def _along(
    scope: Scope,
    op: LiteOp,
    tensor: str,
    shape: tuple[int, ...],
    i: int,
    ends: NDArray[np.int64],
    value: float,
    x: Act,
) -> tuple[str, tuple[int, ...]]:
    """The tensor, of this shape, with a border along axis i; and its new shape."""
    before, after = (int(v) for v in ends)
    seen = scope.builder.view(tensor, around(shape, i))
    padded = scope.builder.pad(seen, (0, before, 0, after), value, names(op), op.source)
    if x.format:
        scope.builder.hold(padded, x.format)
    return padded, (*shape[:i], shape[i] + before + after, *shape[i + 1 :])


def _value(op: LiteOp, value: LiteTensor, x: Act) -> float:
    """The number that PADV2 pads with, which must be held as its input is."""
    assert value.value is not None
    held = x.format.meaning if x.format else None
    if value.size != 1 or (value.scaled != held if held else value.kind != "float32"):
        hint = "one number, held as its input is, is supported"
        raise op.error(f"pads with {value.size} values, {value.kind}, {value.scaled}", hint)
    number = value.value.reshape(-1)
    if isinstance(held, Scaled):
        number = held.real(number)
    return float(number[0])
