"""Operators of a TensorFlow Lite file that make maps larger."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tflite.Padding import Padding
from tflite.ResizeBilinearOptions import ResizeBilinearOptions
from tflite.TransposeConvOptions import TransposeConvOptions

from ...ops._requantise import TWICE
from .._build import Sliding
from .._layers import BILINEAR_ONE
from .file import DAMAGED, LiteOp
from .layers import bias, rounding, rows
from .scope import Act, Operand, Scope, activated, activation, constant, integers, names


def transpose_conv(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """TRANSPOSE_CONV, weight [outputs, height, width, inputs]: a convolution with the kernel turned around,
    of the map with zeros between its values."""
    x, weight = activation(op, args, 2), constant(op, args, 1, "weight")
    size, o = integers(op, args, 0, "output shape"), op.read(TransposeConvOptions)
    out, stride = op.outputs[0].shape, (op.number(o.StrideH), op.number(o.StrideW))
    if len(weight.shape) != 4 or len(out) != 4 or tuple(size.reshape(-1).tolist()) != out or min(stride) < 1:
        what = f"its weight has shape {weight.shape}, its strides are {stride}"
        raise op.error(f"{what}, and it makes {size.tolist()}, the file says {out}", DAMAGED)
    outputs, height, width, inputs = weight.shape
    seen = scope.map(op, x)
    real, held = rows(scope, op, x, weight, (0, 1, 2, 3), 0)
    if x.shape[-1] != inputs or out[-1] != outputs:
        raise op.error(f"its input has {x.shape[-1]} channels, its weight shape {weight.shape}")
    start, held_bias = bias(op, args, 3, x, held, outputs)
    same = op.number(o.Padding) == Padding.SAME
    padding = []
    for n, to, k, s in zip(x.shape[1:3], out[1:3], (height, width), stride, strict=True):
        lacking = max((-(-to // s) - 1) * s + k - to, 0) if same else 0
        before = k - 1 - lacking // 2
        padding.append((before, to - ((n - 1) * s + 1) + k - 1 - before))
    (top, bottom), (left, right) = padding
    if min(top, left, bottom, right) < 0:
        hint = "convert with an output shape that holds all that the kernel reaches"
        raise op.error(f"makes {out} of {x.shape}, which cuts its output off", hint)
    tensor = _held(scope, x, scope.builder.dilate(seen, stride, op.source))
    window = Sliding((height, width), padding=(top, left, bottom, right))
    if max(top, bottom) >= height or max(left, right) >= width:
        tensor = _held(scope, x, scope.builder.pad(tensor, window.padding, 0.0, [], op.source))
        window = Sliding((height, width))
    turned = real[:, ::-1, ::-1]
    name = scope.builder.conv2d(tensor, turned, start, window, 1, names(op, weight), op.source)
    y = scope.made(op, name, (held, held_bias), rounding(op, 3, x, TWICE))
    return activated(scope, op, y, op.number(o.FusedActivationFunction))


def _held(scope: Scope, x: Act, tensor: str) -> str:
    """A tensor that holds numbers of x, in the file's integers."""
    if x.format is not None:
        scope.builder.hold(tensor, x.format)
    return tensor


def resize_bilinear(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """RESIZE_BILINEAR: in float32 along one axis after the other, of integers along both at once."""
    x, size, o = activation(op, args), integers(op, args, 1, "size"), op.read(ResizeBilinearOptions)
    out = op.outputs[0].shape
    if len(out) != 4 or tuple(size.reshape(-1).tolist()) != out[1:3] or min(out) < 1:
        hint = "maps (1, height, width, channels) can be resized"
        raise op.error(f"resizes {x.shape} to {size.tolist()}, the file says {out}", hint)
    tensor = scope.map(op, x)
    align, half = bool(op.number(o.AlignCorners)), bool(op.number(o.HalfPixelCenters))
    if align and half:
        hint = "LiteRT refuses it too: convert with one of them"
        raise op.error("counts from aligned corners and from the middles of pixels at once", hint)
    if x.format is not None:
        lines, columns = (whole(x.shape[i], out[i], align, half) for i in (1, 2))
        return scope.moved(op, scope.builder.bilinear(tensor, lines, columns, names(op), op.source), [x])
    for at, n in zip((0, 1), out[1:3], strict=True):
        places = between(x.shape[at + 1], n, align, half)
        tensor = scope.builder.interpolate(tensor, at, places, names(op), op.source)
    return scope.made(op, tensor)


def between(size: int, out: int, align: bool, half: bool) -> NDArray[np.float64]:
    """Where each of `out` values lies among `size`, as LiteRT counts."""
    scale = (size - 1) / (out - 1) if align and out > 1 else size / out
    at = np.arange(out, dtype=np.float64)
    return (at + 0.5) * scale - 0.5 if half else at * scale


def whole(size: int, out: int, align: bool, half: bool) -> list[int]:
    """Where each of `out` values lies among `size`, in Q10, as LiteRT counts in integers."""
    if align and out > 1:
        scale = (BILINEAR_ONE * (size - 1) + (out - 1) // 2) // (out - 1)
    else:
        scale = (BILINEAR_ONE * size + out // 2) // out
    places = [i * scale + (scale // 2 - BILINEAR_ONE // 2 if half else 0) for i in range(out)]
    return [min(max(p, 0), (size - 1) * BILINEAR_ONE) for p in places]
