"""Operators of a TensorFlow Lite file that take values by constant places: picks, parts, stacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from tflite.GatherOptions import GatherOptions
from tflite.PackOptions import PackOptions
from tflite.ResizeNearestNeighborOptions import ResizeNearestNeighborOptions
from tflite.SplitOptions import SplitOptions

from .file import LiteOp
from .scope import Act, Operand, Scope, activation, around, axis, integers, names
from .views import joined


def taken(scope: Scope, op: LiteOp, x: Act, at: int, places: Sequence[int]) -> Act:
    """x at these places of an axis; itself where they are all, in order."""
    if list(places) == list(range(x.shape[at])):
        return x
    seen = scope.builder.view(x.tensor, around(x.shape, at))
    tensor = scope.builder.gather(seen, 1, places, names(op), op.source)
    if x.format:
        scope.builder.hold(tensor, x.format)
    return replace(x, tensor=tensor, shape=(*x.shape[:at], len(places), *x.shape[at + 1 :]))


def gather(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """GATHER by constant indices."""
    x, places, o = activation(op, args), integers(op, args, 1, "indices"), op.read(GatherOptions)
    at = axis(op, op.number(o.Axis), len(x.shape))
    if op.number(o.BatchDims):
        raise op.error("gathers by sample", "one table of indices for all is supported")
    if not places.size or places.min() < 0 or places.max() >= x.shape[at]:
        raise op.error(f"takes places beyond axis {at} of {x.shape}")
    y = taken(scope, op, x, at, places.reshape(-1).tolist())
    return scope.moved(op, y.tensor, [x])


def split(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> tuple[Act, ...]:
    """SPLIT into equal parts."""
    numbers, x = integers(op, args, 0, "axis"), activation(op, args, 1)
    op.read(SplitOptions)
    if numbers.size != 1:
        raise op.error(f"splits along {numbers.size} axes")
    at, count = axis(op, int(numbers.reshape(-1)[0]), len(x.shape)), len(op.outputs)
    if x.shape[at] % count:
        raise op.error(f"splits axis {at} of {x.shape} into {count} parts")
    n = x.shape[at] // count
    parts = [taken(scope, op, x, at, range(i * n, (i + 1) * n)) for i in range(count)]
    return tuple(scope.moved(op, p.tensor, [x], out) for p, out in zip(parts, op.outputs, strict=True))


def pack(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """PACK: along a new axis."""
    parts, o = [activation(op, args, i) for i in range(len(args))], op.read(PackOptions)
    if not parts or len({p.shape for p in parts}) != 1:
        raise op.error(f"stacks shapes {[p.shape for p in parts]}")
    at = axis(op, op.number(o.Axis), len(parts[0].shape) + 1)
    stacked = [replace(p, shape=(*p.shape[:at], 1, *p.shape[at:])) for p in parts]
    return scope.moved(op, joined(scope, op, stacked, at), parts)


def resize_nearest(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """RESIZE_NEAREST_NEIGHBOR of a map."""
    x, size, o = activation(op, args), integers(op, args, 1, "size"), op.read(ResizeNearestNeighborOptions)
    out = op.outputs[0].shape
    if len(x.shape) != 4 or tuple(size.reshape(-1)) != out[1:3] or size.min() < 1:
        hint = "maps (1, height, width, channels) can be resized"
        raise op.error(f"resizes {x.shape} to {size.tolist()}, the file says {out}", hint)
    y = x
    for at, n in zip((1, 2), out[1:3], strict=True):
        align, half = op.number(o.AlignCorners), op.number(o.HalfPixelCenters)
        y = taken(scope, op, y, at, nearest(x.shape[at], n, bool(align), bool(half)).tolist())
    return scope.moved(op, y.tensor, [x])


def nearest(size: int, out: int, align: bool, half: bool) -> NDArray[np.int64]:
    """Which of `size` places each of `out` shows, in float32, as LiteRT counts."""
    between = align and out > 1
    scale = np.float32(size - 1) / np.float32(out - 1) if between else np.float32(size) / np.float32(out)
    at = (np.arange(out).astype(np.float32) + np.float32(0.5 if half else 0.0)) * scale
    at = np.floor(at + np.float32(0.5)) if align else np.floor(at)
    places: NDArray[np.int64] = np.clip(at.astype(np.int64), 0, size - 1)
    return places
