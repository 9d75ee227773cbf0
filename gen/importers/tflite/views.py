"""Operators of a TensorFlow Lite file that only show or move values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from tflite.ConcatenationOptions import ConcatenationOptions
from tflite.DepthToSpaceOptions import DepthToSpaceOptions
from tflite.SpaceToDepthOptions import SpaceToDepthOptions

from ...ops._requantise import TWICE
from .._layout import arrange, natural
from .ends import signed
from .file import AGAIN, DAMAGED, LiteOp, LiteTensor
from .scope import Act, Operand, Scope, activated, activation, around, axis, integers, names


def reshape(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """RESHAPE, SQUEEZE, EXPAND_DIMS: the file says what shape comes out.

    Where it leaves that to the run, it may say 1 for each length that it does not know: then the lengths that
    it knows stay, and the one behind the batch that it does not is what is left.
    """
    x, out = activation(op, args), op.outputs[0]
    shape = out.shape
    if out.size != x.size and out.signature[:1] == (-1,) and out.signature[1:].count(-1) == 1:
        known = math.prod(n for n in out.signature if n > 0)
        if known and x.size % known == 0:
            shape = (1, *(n if n > 0 else x.size // known for n in out.signature[1:]))
    if math.prod(shape) != x.size:
        raise op.error(f"makes shape {shape} of {x.shape}")
    held = scope.format(op, out) if out.kind != "uint8" else signed(out)
    if x.format is not None and held is not None and held.meaning != x.format.meaning:
        raise op.error(
            "its output has another scale or zero point than its input, and it does not rescale", AGAIN
        )
    return replace(x, shape=shape)


def transpose(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """TRANSPOSE."""
    x, order = activation(op, args), integers(op, args, 1, "order").reshape(-1)
    if sorted(order.tolist()) != list(range(len(x.shape))):
        raise op.error(f"brings axes of {x.shape} into the order {order.tolist()}")
    tensor = arrange(scope.builder, x.tensor, natural(x.shape).transpose(order), op.source)
    if tensor is None:
        raise op.error(f"moves axes of {x.shape} into the order {order.tolist()}", "move up to 4 axes")
    return scope.moved(op, tensor, [x])


def depth_to_space(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """DEPTH_TO_SPACE: channels become the places of a block."""
    x, block = activation(op, args), op.number(op.read(DepthToSpaceOptions).BlockSize)
    height, width, channels = _map(op, x)
    if block < 1 or channels % block**2:
        raise op.error(f"makes blocks of {block} of {channels} channels", DAMAGED)
    sizes = (height, width, block, block, channels // block**2)
    return _blocks(scope, op, x, sizes, (0, 2, 1, 3, 4))


def space_to_depth(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """SPACE_TO_DEPTH: the places of a block become channels."""
    x, block = activation(op, args), op.number(op.read(SpaceToDepthOptions).BlockSize)
    height, width, channels = _map(op, x)
    if block < 1 or height % block or width % block:
        raise op.error(f"makes blocks of {block} of {x.shape}", DAMAGED)
    sizes = (height // block, block, width // block, block, channels)
    return _blocks(scope, op, x, sizes, (0, 2, 1, 3, 4))


def _map(op: LiteOp, x: Act) -> tuple[int, int, int]:
    """Height, width, channels of a map of one sample."""
    if len(x.shape) != 4 or x.shape[0] != 1:
        raise op.error(f"its input has shape {x.shape}", "maps (1, height, width, channels) are supported")
    return x.shape[1], x.shape[2], x.shape[3]


def _blocks(scope: Scope, op: LiteOp, x: Act, sizes: tuple[int, ...], order: tuple[int, ...]) -> Act:
    """x as `sizes`, its axes in another order."""
    tensor = arrange(scope.builder, x.tensor, natural(sizes).transpose(order), op.source)
    assert tensor is not None  # of five axes the last two stay neighbours
    return scope.moved(op, tensor, [x])


def concatenation(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """CONCATENATION along any axis: of what lies within it, one behind another."""
    seen = next((a for a in args if isinstance(a, Act)), None)
    parts = [
        always(scope, op, a, seen)
        if isinstance(a, LiteTensor) and seen is not None
        else activation(op, args, i)
        for i, a in enumerate(args)
    ]
    o, rank = op.read(ConcatenationOptions), len(op.outputs[0].shape)
    at = axis(op, op.number(o.Axis), rank)
    if (
        any(len(p.shape) != rank for p in parts)
        or len({(*p.shape[:at], *p.shape[at + 1 :]) for p in parts}) != 1
    ):
        raise op.error(f"joins shapes {[p.shape for p in parts]} along axis {at}")
    y = scope.moved(op, joined(scope, op, parts, at), parts)
    return activated(scope, op, y, op.number(o.FusedActivationFunction))


def always(scope: Scope, op: LiteOp, c: LiteTensor, x: Act) -> Act:
    """A constant as an activation: as many values of x as it has, times 0, and it. In int8 that is exact."""
    build, held = scope.builder, scope.format(op, c)
    if c.value is None or (x.format is None) != (held is None) or held != x.format:
        raise op.error(f"its constant {c.label} is {c.kind}, held otherwise than what it stands beside")
    flat = build.view(x.tensor, (x.size,))
    if c.size != x.size:
        flat = build.gather(flat, 0, [i % x.size for i in range(c.size)], [], op.source)
        build.hold(flat, x.format)
    if held is None:
        real = c.value.astype(np.float64).reshape(-1)
        return Act(build.affine(flat, np.zeros(c.size), real, [], op.source), c.shape, None)
    if held.dtype != "int8":
        raise op.error("joins a constant in int16", "convert the model to int8")
    first, second = held.meaning.real([held.lo, held.lo + 1]).tolist()
    none = build.lookup(flat, np.zeros(held.hi - held.lo + 1), first, second - first, [], op.source)
    build.hold(none, held, (held,))
    real = held.meaning.real(c.value.astype(np.float64)).reshape(-1)
    y = build.plus(none, real, [], op.source, False, False)
    build.hold(y, held, (held,), TWICE)
    return Act(y, c.shape, held)


def joined(scope: Scope, op: LiteOp, parts: Sequence[Act], at: int) -> str:
    """The parts one behind another along axis `at`, as [outside, all within]."""
    if len(parts) == 1:
        return parts[0].tensor
    sizes = [around(p.shape, at) for p in parts]
    seen = [scope.builder.view(p.tensor, (n, k * m)) for p, (n, k, m) in zip(parts, sizes, strict=True)]
    return scope.builder.concat(seen, names(op), op.source)
