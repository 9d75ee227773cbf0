"""The table of supported TensorFlow Lite operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ._tflite_file import LiteOp
from ._tflite_layers import conv_2d, depthwise_conv_2d, fully_connected
from ._tflite_pointwise import FUNCTIONS, LIMITS, function, prelu, relu, softmax
from ._tflite_scope import Act, Handler, Operand, Scope
from ._tflite_views import reshape


@dataclass(frozen=True, slots=True)
class Row:
    """handler: what writes the operator; data: how many of its inputs it needs, the first ones, all if 0."""

    handler: Handler
    data: int = 0


TFLITE_OPERATORS: Mapping[str, Row] = {
    "CONV_2D": Row(conv_2d),
    "DEPTHWISE_CONV_2D": Row(depthwise_conv_2d),
    "EXPAND_DIMS": Row(reshape, 1),
    "FULLY_CONNECTED": Row(fully_connected),
    "LOG_SOFTMAX": Row(softmax),
    "PRELU": Row(prelu),
    "RESHAPE": Row(reshape, 1),
    "SOFTMAX": Row(softmax),
    "SQUEEZE": Row(reshape, 1),
    **dict.fromkeys(FUNCTIONS, Row(function, 1)),
    **dict.fromkeys(LIMITS, Row(relu, 1)),
}


def convert(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """The operator's output; CompileError where synapcc has none like it."""
    return TFLITE_OPERATORS[op.op].handler(scope, op, args)
