"""The table of supported TensorFlow Lite operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ._tflite_file import LiteOp
from ._tflite_gather import gather, pack, resize_nearest, split, strided_slice
from ._tflite_layers import conv_2d, depthwise_conv_2d, fully_connected
from ._tflite_pairs import pair
from ._tflite_scope import Act, Handler, Operand, Scope
from ._tflite_spatial import mean, pad, pool
from ._tflite_views import concatenation, reshape, softmax, transpose


@dataclass(frozen=True, slots=True)
class Row:
    """handler: what writes the operator; data: how many of its inputs it needs, the first ones, all if 0."""

    handler: Handler
    data: int = 0


TFLITE_OPERATORS: Mapping[str, Row] = {
    "ADD": Row(pair),
    "AVERAGE_POOL_2D": Row(pool),
    "CONCATENATION": Row(concatenation),
    "CONV_2D": Row(conv_2d),
    "DEPTHWISE_CONV_2D": Row(depthwise_conv_2d),
    "EXPAND_DIMS": Row(reshape, 1),
    "FULLY_CONNECTED": Row(fully_connected),
    "GATHER": Row(gather),
    "MAX_POOL_2D": Row(pool),
    "MEAN": Row(mean),
    "MUL": Row(pair),
    "PACK": Row(pack),
    "PAD": Row(pad),
    "PADV2": Row(pad),
    "RESHAPE": Row(reshape, 1),
    "RESIZE_NEAREST_NEIGHBOR": Row(resize_nearest),
    "SOFTMAX": Row(softmax),
    "SPLIT": Row(split),
    "SQUEEZE": Row(reshape, 1),
    "STRIDED_SLICE": Row(strided_slice),
    "SUB": Row(pair),
    "TRANSPOSE": Row(transpose),
}


def convert(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act | tuple[Act, ...]:
    """The operator's output, or all of them; CompileError where synapcc has none like it."""
    return TFLITE_OPERATORS[op.op].handler(scope, op, args)
