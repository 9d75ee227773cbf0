"""Shapes that a .tflite file leaves to the run: where it says -1 in a signature, and 1 in the shape itself.

Keras writes so where a Dense works on rows of something: RESHAPE to numbers computed from a SHAPE, then
FULLY_CONNECTED of as many rows as there are. With one sample all of it is known when the file is read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .file import LiteOp, LiteTensor
from .functions import FUNCTIONS, IN_FLOAT, LIMITS
from .scope import Act, Operand, Shape

POINTWISE = (*FUNCTIONS, *IN_FLOAT, *LIMITS, "DEQUANTIZE", "LOG_SOFTMAX", "QUANTIZE", "SOFTMAX")
OF_TWO = ("ADD", "DIV", "MAXIMUM", "MINIMUM", "MUL", "SQUARED_DIFFERENCE", "SUB")


def asked(op: LiteOp) -> bool:
    """Whether the shape that comes out of a RESHAPE is told by its operand alone."""
    return op.op == "RESHAPE" and -1 in op.outputs[0].signature[1:] and len(op.inputs) > 1


def settled(op: LiteOp, args: Sequence[Operand]) -> LiteOp:
    """The operator with the shape that its first output has in a run; as it is where the file says it, or
    where what it says does not fit."""
    out = op.outputs[0]
    found = _shape(op, args) if -1 in out.signature else None
    if found is None or len(found) != len(out.signature) or min(found, default=1) < 1:
        return op
    if any(told not in (-1, n) for told, n in zip(out.signature, found, strict=True)):
        return op
    return replace(op, outputs=(replace(out, shape=found), *op.outputs[1:]))


def _shape(op: LiteOp, args: Sequence[Operand]) -> Shape | None:
    x = args[0] if args else None
    other = args[1] if len(args) > 1 else None
    if op.op in OF_TWO and isinstance(x, Act | LiteTensor) and isinstance(other, Act | LiteTensor):
        try:
            return np.broadcast_shapes(x.shape, other.shape)
        except ValueError:
            return None
    if not isinstance(x, Act):
        return None
    if op.op in POINTWISE:
        return x.shape
    if not isinstance(other, LiteTensor) or other.value is None:
        return None
    if op.op == "RESHAPE" and other.value.dtype.kind == "i":
        return _reshaped(x.size, [int(n) for n in other.value.reshape(-1)])
    if op.op == "FULLY_CONNECTED" and len(other.shape) == 2 and len(op.outputs[0].signature) == 2:
        return (x.size // max(other.shape[1], 1), other.shape[0])
    return None


def _reshaped(size: int, to: list[int]) -> Shape | None:
    """What RESHAPE makes of so many values: one length may be what is left over."""
    known = math.prod(n for n in to if n != -1)
    if to.count(-1) > 1 or known < 1 or size % known:
        return None
    made = tuple(size // known if n == -1 else n for n in to)
    return made if math.prod(made) == size else None
