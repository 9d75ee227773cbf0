"""Operators of a TensorFlow Lite file that cut, repeat or turn activations by constant places."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from tflite.MirrorPadOptions import MirrorPadOptions
from tflite.StridedSliceOptions import StridedSliceOptions
from tflite.UnpackOptions import UnpackOptions

from .file import DAMAGED, LiteOp
from .gather import taken
from .scope import Act, Operand, Scope, Shape, activation, axis, integers

MAX_PARTS = 1 << 12


def strided_slice(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """STRIDED_SLICE, as Python slices, with an ellipsis and new axes; axes that the file drops have one
    element."""
    x = y = activation(op, args)
    for i, places in cuts(op, args, x.shape):
        y = taken(scope, op, y, i, places)
    return scope.moved(op, y.tensor, [x])


def cuts(op: LiteOp, args: Sequence[Operand], shape: Shape) -> Iterator[tuple[int, list[int]]]:
    """Each axis of `shape` that is named, and the places that are taken of it."""
    o = op.read(StridedSliceOptions)
    ends = [integers(op, args, i + 1, what).reshape(-1) for i, what in enumerate(("begin", "end", "strides"))]
    begins, stops, steps = (v.tolist() for v in ends)
    masks = (o.BeginMask, o.EndMask, o.ShrinkAxisMask, o.NewAxisMask, o.EllipsisMask)
    bits = [[op.number(m) >> i & 1 for m in masks] for i in range(len(begins))]
    named = sum(not fresh and not rest for *_, fresh, rest in bits)
    several = sum(rest for *_, rest in bits) > 1
    if len({len(v) for v in ends}) != 1 or named > len(shape) or several or not all(steps):
        raise op.error(f"slices {shape} from {begins} to {stops} by {steps}")
    if any(rest for *_, rest in bits) and named == len(shape):
        hint = "leave it out: LiteRT takes it for an axis"
        raise op.error("has an ellipsis that stands for no axis", hint)
    at, moved = 0, bool(op.number(o.Offset))
    for begin, end, step, (open_begin, open_end, single, fresh, rest) in zip(
        begins, stops, steps, bits, strict=True
    ):
        if rest:
            at += len(shape) - named
        if rest or fresh:
            continue
        end = end + begin if moved else end
        if single:
            places = [axis(op, begin, shape[at])]
        else:
            cut = slice(None if open_begin else begin, None if open_end else end, step)
            places = list(range(shape[at])[cut])
        if not places:
            raise op.error(f"takes nothing of axis {at} of {shape}")
        yield at, places
        at += 1


def cut_out(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """SLICE: so many values from a place on, all that are left where the size is -1."""
    x = y = activation(op, args)
    begins, sizes = (integers(op, args, i + 1, what).reshape(-1) for i, what in enumerate(("begin", "size")))
    if len(begins) != len(sizes) or len(begins) != len(x.shape):
        raise op.error(f"cuts {x.shape} from {begins.tolist()} on, sizes {sizes.tolist()}")
    for i, (begin, size) in enumerate(zip(begins.tolist(), sizes.tolist(), strict=True)):
        end = x.shape[i] if size == -1 else begin + size
        if not 0 <= begin < end <= x.shape[i]:
            raise op.error(f"takes places {begin} to {end} of axis {i} of {x.shape}")
        y = taken(scope, op, y, i, range(begin, end))
    return scope.moved(op, y.tensor, [x])


def split_by_sizes(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> tuple[Act, ...]:
    """SPLIT_V: one part may be as large as what is left, -1."""
    x, sizes = activation(op, args), integers(op, args, 1, "sizes").reshape(-1)
    at = axis(op, _one(op, args, 2, "axis"), len(x.shape))
    left = x.shape[at] - int(sizes[sizes >= 0].sum())
    lengths = np.where(sizes == -1, left, sizes)
    fits = len(sizes) == len(op.outputs) and lengths.min(initial=1) > 0 and lengths.sum() == x.shape[at]
    if not fits or np.count_nonzero(sizes < 0) > 1:
        raise op.error(f"splits axis {at} of {x.shape} into {sizes.tolist()}")
    ends = np.cumsum(lengths).tolist()
    parts = [
        taken(scope, op, x, at, range(end - n, end)) for n, end in zip(lengths.tolist(), ends, strict=True)
    ]
    return tuple(scope.moved(op, p.tensor, [x], out) for p, out in zip(parts, op.outputs, strict=True))


def unpack(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> tuple[Act, ...]:
    """UNPACK: each place of an axis by itself."""
    x, o = activation(op, args), op.read(UnpackOptions)
    at = axis(op, op.number(o.Axis), len(x.shape))
    if x.shape[at] != len(op.outputs):
        raise op.error(f"takes axis {at} of {x.shape} apart into {len(op.outputs)}", DAMAGED)
    parts = [taken(scope, op, x, at, [i]) for i in range(x.shape[at])]
    return tuple(scope.moved(op, p.tensor, [x], out) for p, out in zip(parts, op.outputs, strict=True))


def tile(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """TILE: each axis so many times."""
    x = y = activation(op, args)
    times = integers(op, args, 1, "multiples").reshape(-1)
    if len(times) != len(x.shape) or times.min(initial=1) < 1 or times.max(initial=1) > MAX_PARTS:
        raise op.error(f"repeats {x.shape} {times.tolist()} times")
    for i, n in enumerate(times.tolist()):
        y = taken(scope, op, y, i, list(range(x.shape[i])) * n)
    return scope.moved(op, y.tensor, [x])


def stretched(scope: Scope, op: LiteOp, x: Act, shape: tuple[int, ...]) -> Act:
    """x with axes of one element repeated, so that it has `shape`; CompileError where it does not fit."""
    try:
        fits = np.broadcast_shapes(x.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise op.error(f"makes shape {shape} of {x.shape}")
    y = replace(x, shape=(1,) * (len(shape) - len(x.shape)) + x.shape)
    for i, n in enumerate(shape):
        if y.shape[i] != n:
            y = taken(scope, op, y, i, [0] * n)
    return y


def broadcast_to(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """BROADCAST_TO: axes of one element repeated, to the shape of the output."""
    x = activation(op, args)
    return scope.moved(op, stretched(scope, op, x, op.outputs[0].shape).tensor, [x])


def mirror_pad(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """MIRROR_PAD: a border of the values inside, with or without the outermost ones."""
    x = y = activation(op, args)
    ends, same = integers(op, args, 1, "padding"), op.number(op.read(MirrorPadOptions).Mode)
    if ends.shape != (len(x.shape), 2) or same not in (0, 1):
        raise op.error(f"pads {ends.tolist()}, its input has shape {x.shape}")
    for i, (before, after) in enumerate(ends.tolist()):
        n = x.shape[i]
        if not 0 <= max(before, after) <= n - 1 + same or min(before, after) < 0:
            raise op.error(f"pads axis {i} of {x.shape} by {before} and {after}", "pad less than there is")
        front, back = range(before - same, -same, -1), range(n - 2 + same, n - 2 + same - after, -1)
        y = taken(scope, op, y, i, [*front, *range(n), *back])
    return scope.moved(op, y.tensor, [x])


def reverse(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """REVERSE_V2: axes backwards."""
    x = y = activation(op, args)
    for number in integers(op, args, 1, "axes").reshape(-1).tolist():
        at = axis(op, number, len(x.shape))
        y = replace(taken(scope, op, y, at, range(x.shape[at] - 1, -1, -1)), shape=x.shape)
    return scope.moved(op, y.tensor, [x])


def _one(op: LiteOp, args: Sequence[Operand], at: int, what: str) -> int:
    numbers = integers(op, args, at, what)
    if numbers.size != 1:
        raise op.error(f"its {what} has {numbers.size} numbers")
    return int(numbers.reshape(-1)[0])
