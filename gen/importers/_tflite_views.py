"""Operators of a TensorFlow Lite file that only show values in another shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ._tflite_file import LiteOp
from ._tflite_scope import Act, Operand, Scope, activation


def reshape(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """RESHAPE, SQUEEZE, EXPAND_DIMS: the file says what shape comes out."""
    x, out = activation(op, args), op.outputs[0]
    if out.size != x.size:
        raise op.error(f"makes shape {out.shape} of {x.shape}")
    return replace(x, shape=out.shape)
