"""The table of supported TensorFlow Lite operators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .choices import choice
from .ends import dequantize, quantize
from .extremes import bounded, extreme
from .file import LiteOp
from .float import arithmetic, chosen, in_float, negative
from .float_maps import reduced
from .functions import FUNCTIONS, IN_FLOAT, LIMITS
from .gather import gather, pack, resize_nearest, split
from .layers import conv_2d, depthwise_conv_2d, fully_connected
from .matmul import batch_matmul
from .normalise import normalised, unit, unit_integers
from .pairs import pair, quotient, squared_difference
from .pointwise import composed, function, prelu, relu, softmax
from .scope import Handler
from .slices import (
    broadcast_to,
    cut_out,
    mirror_pad,
    reverse,
    split_by_sizes,
    strided_slice,
    tile,
    unpack,
)
from .spatial import mean, pad, pool, total
from .upsampling import resize_bilinear, transpose_conv
from .views import concatenation, depth_to_space, reshape, space_to_depth, transpose


@dataclass(frozen=True, slots=True)
class Row:
    """handler: what writes the operator; data: how many of its inputs it needs, the first ones, all if 0."""

    handler: Handler
    data: int = 0


TFLITE_OPERATORS: Mapping[str, Row] = {
    "ADD": Row(pair),
    "AVERAGE_POOL_2D": Row(pool),
    "BATCH_MATMUL": Row(batch_matmul),
    "BROADCAST_TO": Row(broadcast_to),
    "CONCATENATION": Row(concatenation),
    "CONV_2D": Row(conv_2d),
    "DEPTHWISE_CONV_2D": Row(depthwise_conv_2d),
    "DEPTH_TO_SPACE": Row(depth_to_space),
    "DEQUANTIZE": Row(dequantize),
    "DIV": Row(quotient),
    "EXPAND_DIMS": Row(reshape, 1),
    "FULLY_CONNECTED": Row(fully_connected),
    "GATHER": Row(gather),
    "L2_NORMALIZATION": Row(unit_integers),
    "LOG_SOFTMAX": Row(softmax),
    "MAX_POOL_2D": Row(pool),
    "MAXIMUM": Row(bounded),
    "MEAN": Row(mean),
    "MINIMUM": Row(bounded),
    "MIRROR_PAD": Row(mirror_pad),
    "MUL": Row(pair),
    "PACK": Row(pack),
    "PAD": Row(pad),
    "PADV2": Row(pad),
    "PRELU": Row(prelu),
    "QUANTIZE": Row(quantize),
    "REDUCE_MAX": Row(extreme),
    "REDUCE_MIN": Row(extreme),
    "RESHAPE": Row(reshape, 1),
    "RESIZE_BILINEAR": Row(resize_bilinear),
    "RESIZE_NEAREST_NEIGHBOR": Row(resize_nearest),
    "REVERSE_V2": Row(reverse),
    "SLICE": Row(cut_out),
    "SOFTMAX": Row(softmax),
    "SPACE_TO_DEPTH": Row(space_to_depth),
    "SPLIT": Row(split),
    "SPLIT_V": Row(split_by_sizes),
    "SQUARED_DIFFERENCE": Row(squared_difference),
    "SQUEEZE": Row(reshape, 1),
    "STRIDED_SLICE": Row(strided_slice),
    "SUB": Row(pair),
    "SUM": Row(total),
    "TILE": Row(tile),
    "TRANSPOSE": Row(transpose),
    "TRANSPOSE_CONV": Row(transpose_conv),
    "UNPACK": Row(unpack),
    **dict.fromkeys(FUNCTIONS, Row(function, 1)),
    **dict.fromkeys(LIMITS, Row(relu, 1)),
}

FLOAT_ROWS: Mapping[str, Row] = {
    "ADD": Row(arithmetic),
    "DIV": Row(arithmetic),
    **dict.fromkeys(IN_FLOAT, Row(function)),
    "L2_NORMALIZATION": Row(unit),
    "MUL": Row(arithmetic),
    "NEG": Row(negative),
    "REDUCE_MAX": Row(reduced),
    "SELECT": Row(chosen),
    "SELECT_V2": Row(chosen),
    "REDUCE_MIN": Row(reduced),
    "SQUARED_DIFFERENCE": Row(arithmetic),
    "SUB": Row(arithmetic),
    "SUM": Row(reduced),
}
"""Of networks in float32: what `TFLITE_OPERATORS` has as well goes this way there."""


def row(op: LiteOp) -> Row | None:
    """The row of an operator of the file; None where synapcc has none like it."""
    if op.composed:
        return Row(composed)
    if op.test:
        return Row(choice)
    if op.normalised is not None:
        return Row(normalised)
    own = FLOAT_ROWS.get(op.op) if in_float(op) else None
    return own or TFLITE_OPERATORS.get(op.op) or (FLOAT_ROWS.get(op.op) if op.between else None)


def known(op: LiteOp) -> tuple[str, ...]:
    """The operators that there are in the numbers that `op` works on."""
    return tuple({*TFLITE_OPERATORS, *(FLOAT_ROWS if in_float(op) else ())})
