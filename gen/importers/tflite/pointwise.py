"""Operators of a TensorFlow Lite file that apply a function to each value."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from tflite.GeluOptions import GeluOptions
from tflite.SoftmaxOptions import SoftmaxOptions

from ...ir.format import Scaled
from ...ops._litert_pairs import Held
from ...stages.recognise import LIMITED, RECOGNISED, recognised
from .ends import between, head, tabled
from .file import AGAIN, LiteOp, LiteTensor
from .functions import FUNCTIONS, IN_FLOAT, LIMITS, leak
from .pieces import pieces
from .scope import Act, Operand, Scope, activation, clipped, constant, names
from .values import FIRST, Values, computed, every, operands
from .values import constant as constant_of

BETWEEN = frozenset({*FUNCTIONS, *IN_FLOAT, *LIMITS, "PRELU"})
"""What an int8 file may have in float32 between DEQUANTIZE and QUANTIZE."""
FIXED_OUTPUTS: Mapping[str, tuple[float, int]] = {
    "LOGISTIC": (1 / 256, -128),
    "LOG_SOFTMAX": (1 / 16, 127),
    "SOFTMAX": (1 / 256, -128),
    "TANH": (1 / 128, 0),
}
"""Scale and zero point that LiteRT demands of an int8 output."""
FIXED_WIDE = (2.0**-15, 0)
"""The same of an int16 one."""


def function(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """LOGISTIC, TANH, LEAKY_RELU, … of each value."""
    x, fn, alpha = _taken(scope, op, args), (FUNCTIONS | IN_FLOAT)[op.op], 0.0
    match op.op:
        case "LEAKY_RELU":
            alpha = leak(op)
        case "ELU":
            alpha = 1.0
        case "POW":
            alpha = _exponent(op, args)
        case "SQUARE":
            alpha = 2.0
        case "GELU" if op.number(op.read(GeluOptions).Approximate):
            fn = "gelu_tanh"
    if not math.isfinite(alpha):
        raise op.error(f"has alpha = {alpha}", "repair the file")
    if op.op in FIXED_OUTPUTS and not op.between:
        output_is(scope, op, *FIXED_OUTPUTS[op.op])
    return scope.made(op, tabled(scope, op, x, fn, alpha))


def _exponent(op: LiteOp, args: Sequence[Operand]) -> float:
    """The one number that POW raises to."""
    power = constant(op, args, 1, "exponent")
    if power.value is None or power.kind != "float32" or power.size != 1:
        raise op.error(f"its exponent is {power.kind} of shape {power.shape}", "one float32 is supported")
    return float(power.value.reshape(-1)[0])


def relu(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """RELU and its kin: limits, in the numbers of the output."""
    x = y = _taken(scope, op, args)
    held = scope.format(op, op.outputs[0])
    if held is not None and x.format is not None and held.meaning != x.format.meaning:
        moved = between(scope, x.tensor, "identity", [], op.source) if op.between else None
        y = scope.made(op, moved or scope.builder.table(x.tensor, "identity", [], op.source, 1.0))
    return clipped(scope, op, y, *LIMITS[op.op])


def softmax(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """SOFTMAX, LOG_SOFTMAX over the last axis."""
    x, log, beta = activation(op, args), op.op == "LOG_SOFTMAX", 1.0
    if x.format is not None and op.outputs[0].kind == "float32":
        return head(op, x)
    same_kind(scope, op, x)
    output_is(scope, op, *FIXED_OUTPUTS[op.op])
    if not log:
        o = op.read(SoftmaxOptions)
        beta = op.real(o.Beta)
    size = x.shape[-1] if x.shape else 1
    return scope.made(op, scope.builder.softmax(x.tensor, size, log, beta, names(op), op.source))


def prelu(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """PRELU, whose slope may be broadcast in any way."""
    x, slope = _taken(scope, op, args), constant(op, args, 1, "slope")
    assert slope.value is not None
    if op.between:
        if slope.kind != "float32" or slope.size != 1:
            what = f"its slope between DEQUANTIZE and QUANTIZE is {slope.kind} of shape {slope.shape}"
            raise op.error(what, "one float32 is supported there")
        return scope.made(op, tabled(scope, op, x, "leaky_relu", float(slope.value.reshape(-1)[0])))
    try:
        each = np.broadcast_to(slope.value, x.shape).reshape(-1)
    except ValueError:
        raise op.error(f"its input has shape {x.shape}, its slope {slope.shape}") from None
    if x.format is None and np.all(each == each[0]) and math.isfinite(each[0]):
        table = scope.builder.table(x.tensor, "leaky_relu", names(op), op.source, float(each[0]))
        return scope.made(op, table)
    if x.format is None:
        return scope.made(op, scope.builder.prelu(x.tensor, each, names(op), op.source))
    held = slope.format()
    if slope.kind != "int8" or slope.scaled is None or len(slope.scaled.scale) != 1 or held is None:
        what = f"its input is {x.format.dtype}, its slope {slope.kind}"
        raise op.error(what, "convert to int8 slopes with one scale")
    real = held.meaning.real(each)
    return scope.made(op, scope.builder.prelu(x.tensor, real, names(op), op.source), (held,))


def composed(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """Several operators that are a function of each value of one int8 tensor, put together by
    gen/importers/tflite/composed.py."""
    x, held = activation(op, args), scope.format(op, op.outputs[0])
    source = op.inputs[0]
    assert source is not None and op.composed
    if held is None and x.format is None:
        return _recognised(scope, op, x)
    if (
        held is None
        or x.format is None
        or x.format.dtype != "int8"
        or not isinstance(x.format.meaning, Scaled)
    ):
        raise op.error("its input is not int8", AGAIN)
    made = _along(op, source, every(x.format))
    assert isinstance(made, Held)
    first, second = x.format.meaning.real([FIRST, FIRST + 1]).tolist()
    tensor = scope.builder.lookup(
        x.tensor, held.meaning.real(made.v), first, second - first, names(op), op.source
    )
    return scope.made(op, tensor, (held,))


def _along(op: LiteOp, source: LiteTensor, x: Values) -> Values:
    """What the operators that `op` stands for make of values of its input."""
    found: dict[int, Values] = {source.index: x}
    for part in op.composed:
        given = [
            constant_of(part, t) if t.value is not None else found[t.index]
            for t in operands(part)
            if t is not None
        ]
        found[part.outputs[0].index] = computed(part, given)
    return found[op.outputs[0].index]


def _recognised(scope: Scope, op: LiteOp, x: Act) -> Act:
    """A function in float32 that several operators make."""
    source, build = op.inputs[0], scope.builder
    assert source is not None
    found = recognised(pieces(op.composed, source))
    if found is None:
        what = "chooses between values by a function that is none of those synapcc knows"
        raise op.error(what, f"there are {', '.join(RECOGNISED)}, each times a factor")
    fn, alpha, beta, factor = found
    if fn == LIMITED:
        tensor = build.clip(x.tensor, alpha, beta, names(op), op.source)
    else:
        tensor = build.table(x.tensor, fn, names(op), op.source, alpha, beta)
    if factor != 1.0:
        tensor = build.affine(tensor, np.full(x.size, factor), np.zeros(x.size), [], op.source)
    return Act(tensor, op.outputs[0].shape, None)


def _taken(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """The values that a function takes, in the shape in which it gives them."""
    x = activation(op, args)
    if op.between and x.size == op.outputs[0].size:  # views may stand there too
        x = replace(x, shape=op.outputs[0].shape)
    same_kind(scope, op, x)
    return x


def same_kind(scope: Scope, op: LiteOp, x: Act) -> None:
    """CompileError where integers become floats, or floats integers, and where the shape changes."""
    out = op.outputs[0]
    if (scope.format(op, out) is None) != (x.format is None):
        raise op.error(f"makes {out.kind} of {'float32' if x.format is None else x.format.dtype}")
    if out.shape != x.shape:
        raise op.error(f"makes shape {out.shape} of {x.shape}")


def output_is(scope: Scope, op: LiteOp, scale: float, zero: int) -> None:
    """CompileError where an output has another scale or zero point; those of int16 are FIXED_WIDE."""
    held = scope.format(op, op.outputs[0])
    if held is not None and held.dtype == "int16":
        scale, zero = FIXED_WIDE
    if held is not None and held.meaning.to_json() != {"scale": (scale,), "zero": (zero,)}:
        what = f"its output has {held.meaning}, LiteRT demands scale {scale:.6g}, zero point {zero}"
        raise op.error(what)
