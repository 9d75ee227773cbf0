"""BATCH_MATMUL of a TensorFlow Lite file: products of two activations."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tflite.BatchMatMulOptions import BatchMatMulOptions

from ...ops._requantise import TWICE
from .file import DAMAGED, LiteOp
from .scope import Act, Operand, Scope, activation, names


def batch_matmul(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """left right over the last two axes; adj_x, adj_y: of matrices that are turned."""
    acts, o = [activation(op, args, i) for i in range(2)], op.read(BatchMatMulOptions)
    turned = tuple(int(bool(op.number(v))) for v in (o.AdjX, o.AdjY))
    shapes = [a.shape for a in acts]
    outer = [[n for n in s[:-2] if n > 1] for s in shapes]
    if min(len(s) for s in shapes) < 2 or outer[0] != outer[1]:
        what = f"multiplies matrices of shape {shapes[0]} by such of {shapes[1]}"
        raise op.error(what, "both must hold as many matrices")
    sides, rest = [], []
    for a, t in zip(acts, turned, strict=True):
        sides.append(scope.builder.view(a.tensor, (math.prod(outer[0]), *a.shape[-2:])))
        rest.append(a.shape[-2:][::-1] if t else a.shape[-2:])
    if rest[0][1] != rest[1][0] or op.outputs[0].shape[-2:] != (rest[0][0], rest[1][1]):
        raise op.error(f"multiplies {shapes[0]} by {shapes[1]}, the file says {op.outputs[0].shape}", DAMAGED)
    name = scope.builder.matmul(sides[0], sides[1], turned, names(op), op.source)
    return scope.made(op, name, rounds=TWICE)
