"""Which operators of a TensorFlow Lite file work on activations of 16 bits."""

from __future__ import annotations

from collections.abc import Sequence

from tflite.AddOptions import AddOptions
from tflite.SubOptions import SubOptions

from .file import LiteOp
from .scope import Act, Operand

# fmt: off
WIDE_OPERATORS = frozenset((
    "ABS", "ADD", "AVERAGE_POOL_2D", "BATCH_MATMUL", "BROADCAST_TO", "CONCATENATION", "CONV_2D",
    "DEPTHWISE_CONV_2D", "DEQUANTIZE", "DIV", "EXP", "EXPAND_DIMS", "FULLY_CONNECTED", "GATHER", "LEAKY_RELU",
    "LOG", "LOGISTIC", "MAXIMUM", "MAX_POOL_2D", "MEAN", "MINIMUM", "MIRROR_PAD", "MUL", "NEG", "PACK", "PAD",
    "PADV2", "PRELU", "QUANTIZE", "REDUCE_MAX", "REDUCE_MIN", "RELU", "RELU6", "RESHAPE", "RESIZE_BILINEAR",
    "RESIZE_NEAREST_NEIGHBOR", "REVERSE_V2", "RSQRT", "SELECT", "SELECT_V2", "SLICE", "SOFTMAX", "SPLIT",
    "SPLIT_V", "SQRT", "SQUEEZE", "STRIDED_SLICE", "SUB", "TANH", "TILE", "TRANSPOSE", "TRANSPOSE_CONV",
    "UNPACK",
))
# fmt: on
"""Those whose results are LiteRT's there, byte for byte."""
OPTIONS = {"ADD": AddOptions, "SUB": SubOptions}


def check_wide(op: LiteOp, args: Sequence[Operand]) -> None:
    """CompileError where `op` has activations of 16 bits and synapcc no such operator."""
    kinds = {a.format.dtype for a in args if isinstance(a, Act) and a.format is not None}
    kinds |= {t.kind for t in op.outputs if t.kind in ("int8", "int16")}
    if "int16" not in kinds:
        return
    if op.op not in WIDE_OPERATORS:
        hint = f"convert the model to int8; in int16 there are {', '.join(sorted(WIDE_OPERATORS))}"
        raise op.error("is not supported in int16", hint)
    if len(kinds) > 1 and op.op != "QUANTIZE":
        raise op.error("takes together int8 and int16", "only QUANTIZE goes from one to the other")
    if (options := OPTIONS.get(op.op)) is not None:
        _of_any_scale(op, bool(op.number(op.read(options).PotScaleInt16)))


def _of_any_scale(op: LiteOp, powers: bool) -> None:
    """CompileError where LiteRT takes another way, as it does for scales that are all powers of two."""
    scales = [t.scaled.scale[0] for t in (*op.inputs, *op.outputs) if t is not None and t.scaled]
    if powers and all(float(s).hex().startswith("0x1.0000000000000p") for s in scales):
        what = "has scales that are powers of two, as converters before 2.5 wrote it (pot_scale_int16)"
        raise op.error(what, "convert the model with TensorFlow 2.5 or newer")
