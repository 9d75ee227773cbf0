"""Layers with weights of a TensorFlow Lite file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tflite.Conv2DOptions import Conv2DOptions
from tflite.DepthwiseConv2DOptions import DepthwiseConv2DOptions
from tflite.FullyConnectedOptions import FullyConnectedOptions
from tflite.FullyConnectedOptionsWeightsFormat import FullyConnectedOptionsWeightsFormat
from tflite.Padding import Padding

from ...ir.format import Format, Scaled
from ...ops._long_sums import FINE, NARROW
from ...ops._nearest import nearest_multiplier
from ...ops._requantise import ONCE, TWICE, magnitude
from .._build import Sliding
from .file import AGAIN, DAMAGED, LiteOp, LiteTensor
from .scope import Act, Operand, Scope, activated, activation, constant, names

BIAS_TOP = 2**31 - 1


DYNAMIC = "int8 weights beside float32 activations are read as real numbers, and quantised again by synapcc"


def rows(
    scope: Scope, op: LiteOp, x: Act, weight: LiteTensor, order: tuple[int, ...], axis: int
) -> tuple[NDArray[np.float64], Format | None]:
    """A weight as rows [outputs, ...], and how they are held. axis: of the outputs in the file."""
    assert weight.value is not None
    values = weight.value.transpose(order)
    if x.format is None:
        if weight.kind in ("float32", "float16"):
            return values.astype(np.float64), None
        if weight.kind != "int8" or weight.scaled is None:
            found = weight.kind if weight.scaled else f"{weight.kind} without a scale"
            raise op.error(f"its input is float32, its weight {found}", AGAIN)
        if DYNAMIC not in scope.builder.notes:  # dynamic range quantisation
            scope.builder.notes.append(DYNAMIC)
        return weight.real().transpose(order).astype(np.float64), None
    if weight.kind != "int8" or weight.scaled is None:
        found = weight.kind if weight.kind != "int8" else "int8 without a scale"
        raise op.error(
            f"its input is {x.format.dtype}, its weight {found}", "convert to int8 weights with scales"
        )
    meaning = weight.scaled
    if any(meaning.zero):
        hint = "convert the model again, with symmetric weights"
        raise op.error("its weight has a zero point beside 0", hint)
    if len(meaning.scale) > 1 and weight.axis != axis:
        raise op.error(f"its weight's scales differ along axis {weight.axis}", "they may along the outputs")
    if wide(x) and len(meaning.scale) == 1:  # its steps have a multiplier a row
        meaning = Scaled(meaning.scale * len(values), meaning.zero * len(values))
    flat = values.reshape(len(values), -1)
    return meaning.real(flat).reshape(values.shape), Format("int8", meaning, -128, 127)


def bias(
    op: LiteOp, args: Sequence[Operand], at: int, x: Act, held: Format | None, count: int
) -> tuple[NDArray[np.float64], Format | None]:
    """The bias [count], zero if the layer has none, and how it is held: in steps of the products."""
    there = at < len(args) and args[at] is not None
    given: NDArray[Any] = np.zeros(count)
    if there:
        tensor = constant(op, args, at, "bias")
        assert tensor.value is not None
        given = tensor.value
        kinds = ["float32"] if held is None else ["int32", "int64"][: 2 if wide(x) else 1]
        if given.shape != (count,) or tensor.kind not in kinds:
            wanted = " or ".join(kinds)
            what = f"its bias is {tensor.kind} of shape {given.shape}, not {wanted} ({count},)"
            raise op.error(what)
        if held is not None and np.any((given < -BIAS_TOP - 1) | (given > BIAS_TOP)):
            raise op.error("its bias needs more than 32 bits", "quantise the model again, with usual inputs")
    if held is None or x.format is None:
        return given.astype(np.float64), None
    weight, data = held.meaning, x.format.meaning
    assert isinstance(weight, Scaled) and isinstance(data, Scaled)
    scale = tuple(data.scale[0] * s for s in weight.scale)
    meaning = Scaled(scale, (0,) * len(scale))
    return meaning.real(given.astype(np.float64)), Format("int32", meaning, -BIAS_TOP - 1, BIAS_TOP)


def wide(x: Act) -> bool:
    """Whether an activation has 16 bits."""
    return x.format is not None and x.format.dtype == "int16"


def rounding(op: LiteOp, at: int, x: Act, usual: int) -> int:
    """How a layer's sums are rounded, its bias being input `at`; `usual` is how those of int8 are."""
    if not wide(x):
        return usual
    bias = op.inputs[at] if at < len(op.inputs) else None
    return FINE if usual == ONCE else usual if bias is not None and bias.kind == "int32" else NARROW


def fully_connected(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """FULLY_CONNECTED: of several vectors at once, a convolution over them."""
    x, weight = activation(op, args), constant(op, args, 1, "weight")
    o = op.read(FullyConnectedOptions)
    if op.number(o.WeightsFormat) != FullyConnectedOptionsWeightsFormat.DEFAULT:
        raise op.error("its weights are shuffled", "convert the model for CPUs in general")
    if len(weight.shape) != 2 or not weight.shape[1] or x.size % weight.shape[1]:
        raise op.error(f"its input has shape {x.shape}, its weight {weight.shape}")
    outputs, inputs = weight.shape
    real, held = rows(scope, op, x, weight, (0, 1), 0)
    start, held_bias = bias(op, args, 2, x, held, outputs)
    count, hints = x.size // inputs, names(op, weight)
    if count == 1:
        name = scope.builder.dense(x.tensor, real, start, hints, op.source)
    else:
        seen = scope.builder.view(x.tensor, (1, count, inputs))
        kernel = real.reshape(outputs, 1, 1, inputs)
        name = scope.builder.conv2d(seen, kernel, start, Sliding((1, 1)), 1, hints, op.source)
    if op.outputs[0].shape[-1:] != (outputs,):
        raise op.error(f"makes {outputs} values, the file says {op.outputs[0].shape}", DAMAGED)
    y = scope.made(op, name, (held, held_bias), rounding(op, 2, x, ONCE))
    if held is not None and held_bias is not None and y.format is not None and not wide(x):
        _tell_halves(scope, op, x, (real.reshape(outputs, -1), held), start, y)
    return activated(scope, op, y, op.number(o.FusedActivationFunction))


def _tell_halves(
    scope: Scope,
    op: LiteOp,
    x: Act,
    weight: tuple[NDArray[np.float64], Format],
    bias: NDArray[np.float64],
    y: Act,
) -> None:
    """Notes the outputs whose sums may reach one that no multiplier rounds as LiteRT's float64 does.

    weight: real numbers [outputs, inputs], and how they are held; bias: real, [outputs]
    """
    assert x.format is not None and y.format is not None and isinstance(weight[1].meaning, Scaled)
    step = x.format.meaning.step
    steps = np.broadcast_to(np.array(weight[1].meaning.scale) * step, bias.shape)
    sums = (np.abs(weight[0]).sum(axis=1) * magnitude(x.format) * step + np.abs(bias)) / steps
    factors = steps / y.format.meaning.step
    found = [nearest_multiplier(float(f)).reach <= s for f, s in zip(factors, sums, strict=True)]
    if any(found):
        what = "may reach sums that lie so near a half that LiteRT's float64 rounds them the other way"
        scope.builder.notes.append(f"{op.source}: {sum(found)} of its {len(found)} outputs {what}")


def sliding(op: LiteOp, shape: tuple[int, ...], kernel: tuple[int, int], o: Any) -> Sliding:
    """How the window of options `o` moves over a map [1, height, width, ...]: SAME pads, more at the end."""
    stride = op.number(o.StrideH), op.number(o.StrideW)
    dilation = op.dilated.factor if op.dilated else (1, 1)
    if hasattr(o, "DilationHFactor") and not op.dilated:
        dilation = op.number(o.DilationHFactor), op.number(o.DilationWFactor)
    if min(*stride, *dilation, *kernel) < 1:
        raise op.error(f"has kernel {kernel}, stride {stride}, dilation {dilation}", "sizes are 1 or more")
    if op.dilated:
        return Sliding(kernel, stride, dilation, op.dilated.padding)
    if op.number(o.Padding) != Padding.SAME:
        return Sliding(kernel, stride, dilation)
    around = []
    for n, k, s, d in zip(shape[1:3], kernel, stride, dilation, strict=True):
        lacking = max((math.ceil(n / s) - 1) * s + (k - 1) * d + 1 - n, 0)
        around.append((lacking // 2, lacking - lacking // 2))
    (top, bottom), (left, right) = around
    return Sliding(kernel, stride, dilation, (top, left, bottom, right))


def conv_2d(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """CONV_2D, weight [outputs, height, width, channels of a group]."""
    x, weight = activation(op, args), constant(op, args, 1, "weight")
    o = op.read(Conv2DOptions)
    if len(weight.shape) != 4:
        raise op.error(f"its weight has shape {weight.shape}")
    outputs, height, width, channels = weight.shape
    groups = x.shape[-1] // channels if channels else 0
    return _conv(scope, op, args, o, (0, 1, 2, 3), 0, groups, (height, width), outputs)


def depthwise_conv_2d(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """DEPTHWISE_CONV_2D, weight [1, height, width, channels * multiplier]; one channel is no group."""
    x, weight = activation(op, args), constant(op, args, 1, "weight")
    o = op.read(DepthwiseConv2DOptions)
    if len(weight.shape) != 4 or weight.shape[0] != 1:
        raise op.error(f"its weight has shape {weight.shape}")
    _, height, width, outputs = weight.shape
    return _conv(scope, op, args, o, (3, 1, 2, 0), 3, x.shape[-1], (height, width), outputs)


def _conv(
    scope: Scope,
    op: LiteOp,
    args: Sequence[Operand],
    o: Any,
    order: tuple[int, ...],
    axis: int,
    groups: int,
    kernel: tuple[int, int],
    outputs: int,
) -> Act:
    x, weight = activation(op, args), constant(op, args, 1, "weight")
    seen = scope.builder.view(x.tensor, op.dilated.map) if op.dilated else scope.map(op, x)
    real, held = rows(scope, op, x, weight, order, axis)
    if groups < 1 or x.shape[-1] != groups * real.shape[-1] or outputs % groups:
        raise op.error(f"its input has {x.shape[-1]} channels, its weight shape {weight.shape}")
    start, held_bias = bias(op, args, 2, x, held, outputs)
    window = sliding(op, x.shape, kernel, o)
    name = scope.builder.conv2d(seen, real, start, window, groups, names(op, weight), op.source)
    shape = (1, *scope.builder.shape(name))
    if shape != op.outputs[0].shape and not op.dilated:
        raise op.error(f"makes {shape}, the file says {op.outputs[0].shape}", DAMAGED)
    y = scope.made(op, name, (held, held_bias), rounding(op, 2, x, TWICE))
    return activated(scope, op, y, op.number(o.FusedActivationFunction))
