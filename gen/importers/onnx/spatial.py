"""The ONNX operators that work on maps: convolutions, pools, means over space.

A file's maps are [1, C, H, W], or [1, C, W], which becomes a map of height 1; the Graph's are [H, W, C].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...ops._window import MAX_WINDOWS
from .._build import MAX_ELEMENTS, Pair, Sliding
from .._layout import Places, arrange, natural
from .._names import from_node
from .file import AGAIN, DAMAGED, OnnxNode
from .fold import axes_of, axis
from .layers import (
    Act,
    Operand,
    Scope,
    activation,
    constant,
    disordered,
    hints,
    param_names,
    scaled,
    weights,
)
from .pairs import total


@dataclass(frozen=True, slots=True)
class Map:
    """An activation as a map: `tensor` is [H, W, C]; `spatial` the sizes as the file has them, 1 or 2."""

    tensor: str
    channels: int
    size: Pair
    spatial: tuple[int, ...]

    def act(self, tensor: str, shape: tuple[int, ...]) -> Act:
        """A tensor [H, W, C] as the file sees it: with the channels in front."""
        spatial = shape[2 - len(self.spatial) : 2]
        return Act(tensor, natural(shape).transpose(2, 0, 1).reshape(1, shape[2], *spatial))


def seen_as_map(scope: Scope, node: OnnxNode, x: Act) -> Map:
    if len(x.shape) not in (3, 4):
        hint = "1-D and 2-D ones can be compiled, of one sample: [1, C, W] or [1, C, H, W]"
        raise node.error(f"works on a map of shape {x.shape}", hint)
    if x.shape[0] != 1:
        raise node.error(f"has a batch of {x.shape[0]} (shape {x.shape})", "export with a batch of 1")
    channels, spatial = x.shape[1], x.shape[2:]
    size = (spatial[0], spatial[1]) if len(spatial) == 2 else (1, spatial[0])
    tensor = _arranged(scope, node, x, x.places.reshape(channels, *size).transpose(1, 2, 0))
    return Map(tensor, channels, size, spatial)


def _arranged(scope: Scope, node: OnnxNode, x: Act, places: Places) -> str:
    tensor = arrange(scope.builder, x.tensor, places, node.source)
    if tensor is None:
        raise disordered(node)
    return tensor


def pair(node: OnnxNode, name: str, values: Sequence[int] | None, rank: int, missing: int) -> Pair:
    """Height and width of an attribute; along the missing height of 1-D data it is 1."""
    given = (1,) * rank if values is None else tuple(values)
    if len(given) != rank or any(not 1 <= v <= MAX_ELEMENTS for v in given):
        raise node.error(f"its {name} {given} is impossible for {rank} spatial axes", AGAIN)
    return (given[0], given[1]) if rank == 2 else (missing, given[0])


def _window(node: OnnxNode, m: Map, kernel: Sequence[int]) -> tuple[Sliding, tuple[int, int]]:
    """The window that the node's attributes describe, and by how much ceil_mode reaches (bottom, right)."""
    rank = len(m.spatial)
    sizes = pair(node, "kernel_shape", kernel, rank, 1)
    stride = pair(node, "strides", node.integers("strides"), rank, 1)
    dilation = pair(node, "dilations", node.integers("dilations"), rank, 1)
    pads = _pads(node, m, sizes, stride, dilation)
    window = Sliding(sizes, stride, dilation, pads)
    beyond = _beyond(window, m.size) if node.integer("ceil_mode", 0) else (0, 0)
    top, left, bottom, right = pads
    window = Sliding(sizes, stride, dilation, (top, left, bottom + beyond[0], right + beyond[1]))
    if min(window.output(m.size)) < 1:
        what = f"its kernel {tuple(kernel)} does not fit into the map of {m.spatial} with padding {pads}"
        raise node.error(what, "use a smaller kernel, or longer inputs")
    return window, beyond


def _pads(node: OnnxNode, m: Map, kernel: Pair, stride: Pair, dilation: Pair) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) from pads or auto_pad."""
    rank, mode = len(m.spatial), node.string("auto_pad", "NOTSET") or "NOTSET"
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        ends = []
        for n, k, s, d in zip(m.size, kernel, stride, dilation, strict=True):
            total = max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
            ends.append((total // 2, total - total // 2)[:: 1 if mode == "SAME_UPPER" else -1])
        return ends[0][0], ends[1][0], ends[0][1], ends[1][1]
    if mode not in ("NOTSET", "VALID"):
        raise node.error(f"its auto_pad is {mode[:20]!r}", DAMAGED)
    given = node.integers("pads") if mode == "NOTSET" else None
    pads = (0,) * (2 * rank) if given is None else given
    if len(pads) != 2 * rank or any(not 0 <= p <= MAX_ELEMENTS for p in pads):
        raise node.error(f"its pads {pads[:8]} are impossible for {rank} spatial axes", AGAIN)
    return (pads[0], pads[1], pads[2], pads[3]) if rank == 2 else (0, pads[0], 0, pads[1])


def _beyond(window: Sliding, size: Pair) -> tuple[int, int]:
    """How far the last windows reach over the end where sizes are rounded up (ceil_mode).

    A window that would start behind the map and its leading padding does not count.
    """
    out = []
    for i, n in enumerate(size):
        before, after = window.padding[i], window.padding[i + 2]
        reach, stride = (window.kernel[i] - 1) * window.dilation[i] + 1, window.stride[i]
        count = max(-(-(n + before + after - reach) // stride), 0)
        if count * stride >= n + before:
            count -= 1
        out.append(max(count * stride + reach - (n + before + after), 0))
    return out[0], out[1]


def overhangs(window: Sliding) -> bool:
    """Whether a window can see nothing but padding."""
    reach = [(k - 1) * d for k, d in zip(window.kernel, window.dilation, strict=True)]
    return any(p > r for p, r in zip(window.padding, (*reach, *reach), strict=True))


def conv(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """Convolution in one or two dimensions: strides, dilations, pads or auto_pad, groups."""
    x, weight = activation(node, args), weights(scope, node, args, 1, "weight")
    if weight.ndim != len(x.shape):
        raise node.error(f"its weight has shape {weight.shape}, the activation {x.shape}", AGAIN)
    m = seen_as_map(scope, node, x)
    outputs, inputs, *kernel = weight.shape
    given, groups = node.integers("kernel_shape"), node.integer("group", 1)
    if given is not None and given != tuple(kernel):
        raise node.error(f"its kernel_shape is {given}, its weight has shape {weight.shape}", DAMAGED)
    if groups < 1 or outputs % groups or inputs * groups != m.channels:
        what = f"its weight {weight.shape} in {groups} groups does not fit {m.channels} channels"
        raise node.error(what, AGAIN)
    bias = np.zeros(outputs)
    if len(args) > 2 and args[2] is not None:
        bias = weights(scope, node, args, 2, "bias").reshape(-1)
        if bias.size != outputs:
            raise node.error(f"its bias has {bias.size} values, the layer {outputs} outputs", AGAIN)
    window, _ = _window(node, m, kernel)
    columns = weight.reshape(outputs, inputs, *window.kernel).transpose(0, 2, 3, 1)
    names, tensor = hints(node, param_names(args)), m.tensor
    if overhangs(window):
        tensor = scope.builder.pad(tensor, window.padding, 0.0, [], node.source)
        window = replace(window, padding=(0, 0, 0, 0))
    y = scope.builder.conv2d(tensor, columns, bias, window, groups, names, node.source)
    return m.act(y, scope.builder.shape(y))


def pool(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """MaxPool, AveragePool."""
    m, names = seen_as_map(scope, node, activation(node, args)), [from_node(node.name)]
    kernel = node.integers("kernel_shape")
    if kernel is None:
        raise node.error("has no kernel_shape", DAMAGED)
    window, beyond = _window(node, m, kernel)
    if overhangs(window):
        raise node.error(f"its padding {window.padding} is as large as its kernel {window.kernel}", AGAIN)
    if window.dilation != (1, 1):
        m, window = _side_by_side(scope, node, m, window)
    if node.op == "MaxPool":
        y = scope.builder.maxpool2d(m.tensor, window, names, node.source)
    else:
        own = any(p > b for p, b in zip(window.padding, (0, 0, *beyond), strict=True))
        counted = own and bool(node.integer("count_include_pad", 0))
        if counted and any(beyond):
            what = "has ceil_mode and count_include_pad: its last windows are divided by another number"
            raise node.error(what, "export with count_include_pad = 0 or ceil_mode = 0")
        y = scope.builder.avgpool2d(m.tensor, window, counted, names, node.source)
    return m.act(y, scope.builder.shape(y))


def minds_no_edge(node: OnnxNode, shape: Sequence[int], before: Sequence[int], after: Sequence[int]) -> bool:
    """Whether a MaxPool of a map of that shape takes margins of edge values for its own padding.

    Each of its windows that sees such a value then sees the edge itself, so that the maximum is the same.
    """
    kernel = node.integers("kernel_shape")
    if kernel is None or len(shape) not in (3, 4) or any((*before[:2], *after[:2])):
        return False
    made = [sum(n) for n in zip(shape, before, after, strict=True)]
    spatial, missing = tuple(made[2:]), [0] * (4 - len(shape))
    size = (spatial[0], spatial[1]) if len(spatial) == 2 else (1, spatial[0])
    window, _ = _window(node, Map("", shape[1], size, spatial), kernel)
    margins = (*missing, *before[2:], *missing, *after[2:])
    around = [p + m for p, m in zip(window.padding, margins, strict=True)]
    return window.dilation == (1, 1) and all(
        p < k for p, k in zip(around, (*window.kernel, *window.kernel), strict=True)
    )


def _side_by_side(scope: Scope, node: OnnxNode, m: Map, window: Sliding) -> tuple[Map, Sliding]:
    """The places that each window of a dilated pool sees, beside one another; and windows without gaps.

    In the place of padding a window sees one of its other places twice, which no maximum minds.
    """
    if node.op != "MaxPool" and any(window.padding):
        raise node.error("is dilated, and has padding", "pad in front of it, or use a dilated convolution")
    tensor, size, out = m.tensor, list(m.size), window.output(m.size)
    stride, padding = list(window.stride), list(window.padding)
    for i in (i for i in range(2) if window.dilation[i] > 1):
        starts = np.arange(out[i])[:, None] * stride[i] - padding[i]
        seen = starts + np.arange(window.kernel[i]) * window.dilation[i]
        inside = (seen >= 0) & (seen < size[i])
        spare = np.take_along_axis(seen, inside.argmax(axis=1)[:, None], axis=1)
        places = np.where(inside, seen, spare).reshape(-1).tolist()
        tensor = scope.builder.gather(tensor, i, places, [], node.source)
        size[i], stride[i], padding[i], padding[i + 2] = len(places), window.kernel[i], 0, 0
    moved = replace(m, tensor=tensor, size=(size[0], size[1]))
    around = (padding[0], padding[1], padding[2], padding[3])
    return moved, Sliding(window.kernel, (stride[0], stride[1]), (1, 1), around)


def global_pool(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """GlobalAveragePool, GlobalMaxPool."""
    x = activation(node, args)
    if len(x.shape) < 3:
        raise node.error(f"works on shape {x.shape}", "only maps can be pooled")
    return _reduced(scope, node, x, range(2, len(x.shape)), True, node.op == "GlobalMaxPool")


REDUCTIONS = tuple(f"Reduce{of}" for of in ("L1", "L2", "Max", "Mean", "Min", "Sum", "SumSquare"))


def reduce(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """ReduceMean and ReduceMax, which exporters write for global pools; and what can be made of these."""
    x, second = activation(node, args), constant(node, args, 1, "axes")
    try:
        axes = axes_of(node, (None, second))
        chosen = tuple(axis(a, len(x.shape)) for a in axes or ())
    except (ValueError, OverflowError) as error:
        raise node.error(str(error), AGAIN) from None
    if not chosen and not node.integer("noop_with_empty_axes", 0):
        chosen = tuple(range(len(x.shape)))
    largest = node.op in ("ReduceMax", "ReduceMin")
    inner, count = replace(node, name=""), math.prod(x.shape[i] for i in chosen)
    x = _before(scope, inner, x)
    y = _reduced(scope, node, x, chosen, bool(node.integer("keepdims", 1)), largest) if chosen else x
    if not largest and node.op != "ReduceMean" and count > 1:
        y = scaled(scope, inner, y, float(count))
    if node.op == "ReduceL2":
        return replace(y, tensor=scope.builder.table(y.tensor, "sqrt", [], node.source))
    return scaled(scope, inner, y, -1.0) if node.op == "ReduceMin" else y


def running(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """CumSum along one axis: the sum of a window over all that comes before, which is as many zeros."""
    x, along = activation(node, args), constant(node, args, 1, "axis")
    if along is None or along.size != 1:
        raise node.error("sums along no axis, or several", AGAIN)
    try:
        at = axis(int(along.reshape(-1)[0]), len(x.shape))
    except ValueError as error:
        raise node.error(str(error), AGAIN) from None
    count, inner = x.shape[at], replace(node, name="")
    if count * x.size > MAX_WINDOWS:
        what = f"sums windows along an axis of {count}, which see {count * x.size} values in all"
        raise node.error(what, f"the most is {MAX_WINDOWS}: sum along a shorter axis")
    wanted = np.moveaxis(x.places, at, 0)
    tensor = _arranged(scope, node, x, wanted.reshape(1, count, -1))
    before = (0, 0, 0, count - 1) if node.integer("reverse", 0) else (0, count - 1, 0, 0)
    window = Sliding((1, count), padding=before)
    mean = scope.builder.avgpool2d(tensor, window, True, [from_node(node.name)], node.source)
    y = scaled(scope, inner, Act(mean, np.moveaxis(natural(wanted.shape), 0, at)), float(count))
    return total(scope, inner, y, x, minus=True) if node.integer("exclusive", 0) else y


def _before(scope: Scope, node: OnnxNode, x: Act) -> Act:
    """What a reduction takes the mean or the maximum of."""
    if node.op == "ReduceMin":
        return scaled(scope, node, x, -1.0)
    fn, alpha = {"ReduceL1": ("abs", 0.0), "ReduceL2": ("power", 2.0), "ReduceSumSquare": ("power", 2.0)}.get(
        node.op, ("", 0.0)
    )
    return replace(x, tensor=scope.builder.table(x.tensor, fn, [], node.source, alpha)) if fn else x


def _reduced(scope: Scope, node: OnnxNode, x: Act, axes: Sequence[int], keep: bool, largest: bool) -> Act:
    gone = [i for i in range(len(x.shape)) if i in axes and x.shape[i] != 1]
    kept = [i for i in range(len(x.shape)) if i not in gone]
    sizes = [x.shape[i] for i in gone]
    size = (sizes[0], math.prod(sizes[1:])) if len(sizes) > 1 else (1, math.prod(sizes))
    y = x.tensor
    if gone:
        wanted = x.places.transpose(*gone, *kept).reshape(*size, -1)
        tensor, window = _arranged(scope, node, x, wanted), Sliding(size)
        names = [from_node(node.name)]
        y = (
            scope.builder.maxpool2d(tensor, window, names, node.source)
            if largest
            else scope.builder.avgpool2d(tensor, window, False, names, node.source)
        )
    shape = tuple(1 if i in axes else d for i, d in enumerate(x.shape) if keep or i not in axes)
    return Act(y, natural(shape) if gone else x.places.reshape(shape))
