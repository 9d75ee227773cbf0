"""The ONNX operators that make maps larger: transposed convolutions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .._build import MAX_ELEMENTS, Pair, Sliding
from .file import AGAIN, DAMAGED, OnnxNode
from .layers import Act, Operand, Scope, activation, hints, param_names, weights
from .spatial import Map, overhangs, pair, seen_as_map

CROPS = "pads more than its kernel reaches, which cuts its output off"


def conv_transpose(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """ConvTranspose in one or two dimensions: a convolution with the kernel turned around, of the map with
    zeros between its values."""
    x, weight = activation(node, args), weights(scope, node, args, 1, "weight")
    if weight.ndim != len(x.shape):
        raise node.error(f"its weight has shape {weight.shape}, the activation {x.shape}", AGAIN)
    m = seen_as_map(scope, node, x)
    inputs, each, *kernel = weight.shape
    given, groups = node.integers("kernel_shape"), node.integer("group", 1)
    if given is not None and given != tuple(kernel):
        raise node.error(f"its kernel_shape is {given}, its weight has shape {weight.shape}", DAMAGED)
    if groups < 1 or inputs % groups or inputs != m.channels:
        what = f"its weight {weight.shape} in {groups} groups does not fit {m.channels} channels"
        raise node.error(what, AGAIN)
    outputs, bias = each * groups, np.zeros(each * groups)
    if len(args) > 2 and args[2] is not None:
        bias = weights(scope, node, args, 2, "bias").reshape(-1)
        if bias.size != outputs:
            raise node.error(f"its bias has {bias.size} values, the layer {outputs} outputs", AGAIN)
    stride, window = _turned(node, m, kernel)
    rows = weight.reshape(groups, inputs // groups, each, *window.kernel).swapaxes(1, 2)
    rows = rows.reshape(outputs, inputs // groups, *window.kernel)[:, :, ::-1, ::-1].transpose(0, 2, 3, 1)
    tensor = scope.builder.dilate(m.tensor, stride, node.source)
    plain = window == Sliding((1, 1)) and groups == inputs == outputs
    if plain and np.all(weight == 1) and not np.any(bias):  # as an exported network has its zeros
        return m.act(tensor, scope.builder.shape(tensor))
    if overhangs(window):
        tensor = scope.builder.pad(tensor, window.padding, 0.0, [], node.source)
        window = Sliding(window.kernel, dilation=window.dilation)
    names = hints(node, param_names(args))
    y = scope.builder.conv2d(tensor, rows, bias, window, groups, names, node.source)
    return m.act(y, scope.builder.shape(y))


def _turned(node: OnnxNode, m: Map, kernel: Sequence[int]) -> tuple[Pair, Sliding]:
    """How far apart the map's values lie, and the window that moves over them one place at a time."""
    rank = len(m.spatial)
    sizes = pair(node, "kernel_shape", kernel, rank, 1)
    stride = pair(node, "strides", node.integers("strides"), rank, 1)
    dilation = pair(node, "dilations", node.integers("dilations"), rank, 1)
    extra = _sides(node, "output_padding", node.integers("output_padding"), rank)
    ends = _cut(node, m, [(k - 1) * d + 1 for k, d in zip(sizes, dilation, strict=True)], stride, extra)
    padding = []
    for k, d, (before, after), more in zip(sizes, dilation, ends, extra, strict=True):
        padding.append(((k - 1) * d - before, (k - 1) * d - after + more))
    (top, bottom), (left, right) = padding
    if min(top, left, bottom, right) < 0:
        raise node.error(CROPS, "export with smaller pads")
    window = Sliding(sizes, (1, 1), dilation, (top, left, bottom, right))
    large = [(n - 1) * s + 1 for n, s in zip(m.size, stride, strict=True)]
    if min(window.output((large[0], large[1]))) < 1:
        raise node.error(f"its output of a map of {m.spatial} is empty", AGAIN)
    return stride, window


def _sides(node: OnnxNode, name: str, given: Sequence[int] | None, rank: int) -> Pair:
    """Height and width of an attribute that may be 0."""
    values = (0,) * rank if given is None else tuple(given)
    if len(values) != rank or any(not 0 <= v <= MAX_ELEMENTS for v in values):
        raise node.error(f"its {name} {values[:8]} is impossible for {rank} spatial axes", AGAIN)
    return (values[0], values[1]) if rank == 2 else (0, values[0])


def _cut(node: OnnxNode, m: Map, reach: Sequence[int], stride: Pair, extra: Pair) -> list[Pair]:
    """What is cut off before and after, of height and width: pads, or what output_shape or auto_pad asks."""
    rank, mode = len(m.spatial), node.string("auto_pad", "NOTSET") or "NOTSET"
    shape = node.integers("output_shape")
    if mode not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise node.error(f"its auto_pad is {mode[:20]!r}", DAMAGED)
    if shape is None and not mode.startswith("SAME"):
        pads = (node.integers("pads") if mode == "NOTSET" else None) or (0,) * 2 * rank
        if len(pads) != 2 * rank or any(not 0 <= p <= MAX_ELEMENTS for p in pads):
            raise node.error(f"its pads {pads[:8]} are impossible for {rank} spatial axes", AGAIN)
        return [(0, 0)] * (2 - rank) + [(pads[i], pads[i + rank]) for i in range(rank)]
    wanted = (
        (m.size[0] * stride[0], m.size[1] * stride[1])
        if shape is None
        else pair(node, "output_shape", shape[-rank:], rank, 1)
    )
    ends = []
    for n, out, r, s, more in zip(m.size, wanted, reach, stride, extra, strict=True):
        total = s * (n - 1) + more + r - out
        if total < 0:
            raise node.error(f"its output of {wanted} is larger than its kernel makes it", AGAIN)
        small, large = total // 2, total - total // 2
        ends.append((small, large) if mode == "SAME_UPPER" else (large, small))
    return ends
