"""Operators of a TensorFlow Lite file that only show or move values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from tflite.ConcatenationOptions import ConcatenationOptions

from ._layout import arrange, natural
from ._tflite_file import LiteOp
from ._tflite_scope import Act, Operand, Scope, activated, activation, around, axis, integers, names


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


def concatenation(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """CONCATENATION along any axis: of what lies within it, one behind another."""
    parts = [activation(op, args, i) for i in range(len(args))]
    o, rank = op.read(ConcatenationOptions), len(op.outputs[0].shape)
    at = axis(op, op.number(o.Axis), rank)
    if (
        any(len(p.shape) != rank for p in parts)
        or len({(*p.shape[:at], *p.shape[at + 1 :]) for p in parts}) != 1
    ):
        raise op.error(f"joins shapes {[p.shape for p in parts]} along axis {at}")
    y = scope.moved(op, joined(scope, op, parts, at), parts)
    return activated(scope, op, y, op.number(o.FusedActivationFunction))


def joined(scope: Scope, op: LiteOp, parts: Sequence[Act], at: int) -> str:
    """The parts one behind another along axis `at`, as [outside, all within]."""
    if len(parts) == 1:
        return parts[0].tensor
    sizes = [around(p.shape, at) for p in parts]
    seen = [scope.builder.view(p.tensor, (n, k * m)) for p, (n, k, m) in zip(parts, sizes, strict=True)]
    return scope.builder.concat(seen, names(op), op.source)
