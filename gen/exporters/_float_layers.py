"""The float ONNX form of each layer: one function per op, in one table."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from onnx import TensorProto

from ..discovery import rows
from ..ir.graph import Attr, Node
from ..ops._window import Window, taps
from ..ops.bilinear import ONE as BILINEAR_ONE
from ..ops.choice import FREE
from ..ops.clip import limits
from ..ops.composed import parts_of
from ..ops.interpolate import ONE
from ..ops.masked import CHOSEN
from ..ops.table import CUBE, LEAST, MOST, ROOT_2_PI
from ._tensors import Tensors


def dense(t: Tensors, node: Node) -> None:
    x, w, b = node.inputs
    weight = t.constant(f"{node.name}.weight", t.value(w))
    bias = t.constant(f"{node.name}.bias", t.value(b))
    t.put("Gemm", [t.get(x), weight, bias], node, transB=1)


def recurrent(t: Tensors, node: Node) -> None:
    """Time in front of the batch, as runtimes have it; both biases, of which the first has all but what a GRU
    adds before its reset gate."""
    cell, units = str(node.attrs["cell"]), t.shape(node.inputs[3])[1]
    w, b, u, c = (t.value(i) for i in node.inputs[1:])
    constants = [
        t.constant(f"{node.name}.{what}", value[None])
        for what, value in (("weight", w), ("recurrent_weight", u), ("bias", np.concatenate([b, c])))
    ]
    given = t.get(node.inputs[0])
    x = t.node("Transpose", [given], f"{node.output}/window", f"{node.name}_window", perm=[1, 0, 2])
    attrs: dict[str, Any] = {"hidden_size": units} | ({"linear_before_reset": 1} if cell == "gru" else {})
    made, every = f"{node.output}/states", node.whole("all")
    t.node(cell.split("_")[0].upper(), [x, *constants], made, node.name, omitted=0 if every else 1, **attrs)
    if not every:
        t.put("Squeeze", [made, t.integers(0)], node)
        return
    steps = t.node("Squeeze", [made, t.integers(1)], f"{node.output}/rows", f"{node.name}_rows")
    t.put("Transpose", [steps], node, perm=[1, 0, 2])


def affine(t: Tensors, node: Node) -> None:
    """The one operator that is scale * x + shift; a batch normalisation of what has mean 0, variance 1."""
    x, shape = node.inputs[0], t.shape(node.output)
    pairs = [t.value(i).reshape(-1, shape[-1]) for i in node.inputs[1:]]
    by_channel = len(shape) == 3 and all(np.all(v == v[0]) for v in pairs)
    scale, shift = (v[0] if by_channel else v.reshape(-1) for v in pairs)
    constants = [
        t.constant(f"{node.name}.{what}", value)
        for what, value in (
            ("scale", scale),
            ("shift", shift),
            ("mean", np.zeros_like(scale)),
            ("variance", np.ones_like(scale)),
        )
    ]
    if by_channel or len(shape) == 1:
        t.put("BatchNormalization", [t.get(x, by_channel), *constants], node, by_channel, epsilon=0.0)
        return
    flat = t.node("Reshape", [t.get(x), t.integers(-1, scale.size)], f"{node.output}/flat", "")
    y = t.node("BatchNormalization", [flat, *constants], f"{node.output}/affine", node.name, epsilon=0.0)
    t.put("Reshape", [y, t.integers(-1, *shape)], node)


def gather(t: Tensors, node: Node) -> None:
    (axis,), places = _ints(node, "axis"), t.integers(*_ints(node, "indices"))
    t.put("Gather", [t.get(node.inputs[0]), places], node, axis=axis + 1)


def interpolate(t: Tensors, node: Node) -> None:
    (axis,), places = _ints(node, "axis"), np.array(_ints(node, "places"))
    t.put("Add", _between(t, node, t.get(node.inputs[0]), axis, places / ONE), node)


def bilinear(t: Tensors, node: Node) -> None:
    """Along rows, then along columns."""
    rows, columns = (np.array(_ints(node, axis)) / BILINEAR_ONE for axis in ("rows", "columns"))
    parts = _between(t, node, t.get(node.inputs[0]), 0, rows, "_rows")
    lines = t.node("Add", parts, f"{node.output}/lines", node.name)
    t.put("Add", _between(t, node, lines, 1, columns), node)


def _between(t: Tensors, node: Node, x: str, axis: int, places: np.ndarray, more: str = "") -> list[str]:
    """The two neighbours of each place by Gather, each times its share."""
    share = places % 1
    shape = [-1 if i == axis else 1 for i in range(len(t.shape(node.output)))]
    parts: list[str] = []
    for at, weight in ((np.floor(places), 1 - share), (np.ceil(places), share)):
        index = t.integers(*at.astype(np.int64).tolist())
        taken = t.node("Gather", [x, index], f"{node.output}{more}/{len(parts)}", node.name, axis=axis + 1)
        factor = t.constant(f"{node.name}{more}.share{len(parts)}", weight.reshape(shape).astype(np.float32))
        parts.append(t.node("Mul", [taken, factor], f"{taken}/by", f"{node.name}_part"))
    return parts


def normalise(t: Tensors, node: Node) -> None:
    """Along the last axis, brought there: LayerNormalization, LpNormalization, and what has no operator in
    opset 17 as others write it."""
    rank, (axis,), kind = len(t.shape(node.output)), _ints(node, "axis"), str(node.attrs["kind"])
    order = [0, *(i + 1 for i in range(rank) if i != axis), axis + 1]
    x = t.get(node.inputs[0])
    moved = order != sorted(order)
    if moved:
        x = t.node("Transpose", [x], f"{node.output}/rows", f"{node.name}_part", perm=order)
    y = _measured(t, node, x, kind, t.shape(node.output)[axis], moved)
    if moved:
        t.put("Transpose", [y], node, perm=[int(i) for i in np.argsort(order)])


def _measured(t: Tensors, node: Node, x: str, kind: str, size: int, inside: bool) -> str:
    """x over the measure of its rows: the node's output, or what lies before that where `inside`."""

    def last(op: str, operands: list[str], **attrs: Any) -> str:
        if inside:
            return t.node(op, operands, f"{node.output}/normalised", node.name, **attrs)
        t.put(op, operands, node, False, **attrs)
        return ""

    epsilon = _real(node, "epsilon")
    if kind == "variance":
        ones = t.constant(f"{node.name}.scale", np.ones(size, np.float32))
        return last("LayerNormalization", [x, ones], axis=-1, epsilon=epsilon)
    if kind in ("magnitudes", "squares"):
        return last("LpNormalization", [x], axis=-1, p=1 if kind == "magnitudes" else 2)
    part = f"{node.name}_part"
    if kind == "largest":
        sizes = t.node("Abs", [x], f"{node.output}/sizes", part)
        most = t.node("ReduceMax", [sizes], f"{node.output}/most", part, axes=[-1])
        return last("Div", [x, most])
    squares = t.node("Mul", [x, x], f"{node.output}/squares", part)
    mean = t.node("ReduceMean", [squares], f"{node.output}/mean", part, axes=[-1])
    return last("Div", [x, _part(t, node, "Sqrt", _part(t, node, "Add", mean, epsilon))])


def matmul(t: Tensors, node: Node) -> None:
    sides = []
    for k, (x, turned) in enumerate(zip(node.inputs, _ints(node, "turned"), strict=True)):
        side = t.get(x)
        if turned:
            side = t.node("Transpose", [side], f"{node.output}/{k}", f"{node.name}_part", perm=[0, 1, 3, 2])
        sides.append(side)
    if (scale := _real(node, "scale")) == 1.0:
        t.put("MatMul", sides, node)
        return
    factor = t.constant(f"{node.name}.factor", np.array(scale, np.float32))
    product = t.node("MatMul", sides, f"{node.output}/product", node.name)
    t.put("Mul", [product, factor], node)


def clip(t: Tensors, node: Node) -> None:
    lo, hi = limits(node)
    first = t.is_first(node.inputs[0])
    x = t.get(node.inputs[0], first)
    if (lo, hi) == (0.0, math.inf):
        t.put("Relu", [x], node, first)
        return
    ends = [
        "" if math.isinf(v) else t.constant(f"{node.name}.{what}", np.array(v, np.float32))
        for what, v in (("min", lo), ("max", hi))
    ]
    t.put("Clip", [x, *ends], node, first)


def concat(t: Tensors, node: Node) -> None:
    rank = len(t.shape(node.output))
    first = rank == 3 and all(t.is_first(x) for x in node.inputs)
    t.put("Concat", [t.get(x, first) for x in node.inputs], node, first, axis=1 if first else rank)


def reshape(t: Tensors, node: Node) -> None:
    t.put("Reshape", [t.get(node.inputs[0]), t.integers(-1, *t.shape(node.output))], node)


def transpose(t: Tensors, node: Node) -> None:
    order = _ints(node, "order")
    t.put("Transpose", [t.get(node.inputs[0])], node, perm=[0, *(axis + 1 for axis in order)])


def add(t: Tensors, node: Node) -> None:
    _pair(t, node, "Sub" if node.attrs.get("subtract") else "Add")


def mul(t: Tensors, node: Node) -> None:
    _pair(t, node, "Mul")


def div(t: Tensors, node: Node) -> None:
    _pair(t, node, "Div")


COMPARISONS = {
    "equal": "Equal",
    "not_equal": "Equal",
    "less": "Less",
    "less_equal": "LessOrEqual",
    "greater": "Greater",
    "greater_equal": "GreaterOrEqual",
}
"""By the test of a choice."""


def choice(t: Tensors, node: Node) -> None:
    """left < right ? yes : no; numbers in the place of tensors are constants."""
    given = iter(node.inputs)
    left = _whole(t, next(given), node)
    right, yes, no = (
        t.constant(f"{node.name}.{role}", np.array(node.number(f"{role}_real"), np.float32))
        if f"{role}_is" in node.attrs
        else _whole(t, next(given), node)
        for role in FREE
    )
    test = str(node.attrs["test"])
    met = t.node(COMPARISONS[test], [left, right], f"{node.output}/met", f"{node.name}_met")
    t.put("Where", [met, *((no, yes) if test == "not_equal" else (yes, no))], node)


def masked(t: Tensors, node: Node) -> None:
    """mask ? yes : no"""
    *given, mask = node.inputs
    held = t.constant(f"{node.name}.mask", t.value(mask) != 0)
    rest = iter(given)
    sides = [
        t.constant(f"{node.name}.{role}", np.array(node.number(f"{role}_real"), np.float32))
        if f"{role}_is" in node.attrs
        else _whole(t, next(rest), node)
        for role in CHOSEN
    ]
    t.put("Where", [held, *sides], node)


def unit_length(t: Tensors, node: Node) -> None:
    t.put("LpNormalization", [t.get(node.inputs[0])], node, axis=-1, p=2)


def squared_difference(t: Tensors, node: Node) -> None:
    less = t.node("Sub", [_whole(t, x, node) for x in node.inputs], f"{node.output}_less", node.name)
    t.put("Mul", [less, less], node)


def _pair(t: Tensors, node: Node, op: str) -> None:
    """Two activations; channels lie first only where nothing is stretched."""
    first = all(t.is_first(x) and t.shape(x) == t.shape(node.output) for x in node.inputs)
    t.put(op, [_whole(t, x, node) if not first else t.get(x, first) for x in node.inputs], node, first)


def _whole(t: Tensors, x: str, node: Node) -> str:
    """x with as many axes as the output: behind the batch, runtimes count from the end."""
    shape, rank = t.shape(x), len(t.shape(node.output))
    if len(shape) == rank:
        return t.get(x)
    whole = t.integers(-1, *(1,) * (rank - len(shape)), *shape)
    return t.node("Reshape", [t.get(x), whole], f"{node.output}/{x}", f"{node.name}_shape")


def add_constant(t: Tensors, node: Node) -> None:
    _with_constant(t, node, "Sub" if node.attrs.get("subtract") else "Add")


def mul_constant(t: Tensors, node: Node) -> None:
    _with_constant(t, node, "Mul")


def _with_constant(t: Tensors, node: Node, op: str) -> None:
    x, c = node.inputs
    shape = (1,) * (len(t.shape(node.output)) - len(t.shape(c))) + t.shape(c)
    operands = [_whole(t, x, node), t.constant(f"{node.name}.constant", t.value(c).reshape(shape))]
    t.put(op, operands[::-1] if node.attrs.get("first") else operands, node)


def pad(t: Tensors, node: Node) -> None:
    first = t.is_first(node.inputs[0])
    top, left, bottom, right = _ints(node, "padding")
    ends = ([0, top, left], [0, bottom, right]) if first else ([top, left, 0], [bottom, right, 0])
    pads = t.integers(0, *ends[0], 0, *ends[1])
    value = t.constant(f"{node.name}.value", np.array(_real(node, "value"), np.float32))
    t.put("Pad", [t.get(node.inputs[0], first), pads, value], node, first)


def dilate(t: Tensors, node: Node) -> None:
    """A transposed convolution of each channel, its one weight 1."""
    channels = t.shape(node.output)[-1]
    ones = t.constant(f"{node.name}.weight", np.ones((channels, 1, 1, 1), np.float32))
    attrs = {"strides": list(_ints(node, "stride")), "group": channels}
    t.put("ConvTranspose", [t.get(node.inputs[0], True), ones], node, True, **attrs)


def maxpool2d(t: Tensors, node: Node) -> None:
    t.put("MaxPool", [t.get(node.inputs[0], True)], node, True, **_window(node))


def avgpool2d(t: Tensors, node: Node) -> None:
    counted = _ints(node, "count_padding")[0]
    x = t.get(node.inputs[0], True)
    if "total" not in node.attrs:
        t.put("AveragePool", [x], node, True, count_include_pad=counted, **_window(node))
        return
    window = _window(node)
    mean = t.node("AveragePool", [x], f"{node.output}_mean", node.name, **window)
    count = np.array(np.prod(_ints(node, "kernel")), np.float32)
    t.put("Mul", [mean, t.constant(f"{node.name}.count", count)], node, True)


def conv2d(t: Tensors, node: Node) -> None:
    """Rows of the Graph's weights are in the order (ky, kx, channel); ONNX has channels in front."""
    _convolution(t, node, *(t.value(i) for i in node.inputs[1:]))


def _convolution(t: Tensors, node: Node, rows: np.ndarray, bias: np.ndarray) -> None:
    weight = rows.reshape(len(rows), *_ints(node, "kernel"), -1).transpose(0, 3, 1, 2)
    constants = [t.constant(f"{node.name}.weight", weight), t.constant(f"{node.name}.bias", bias)]
    geometry = {
        **_window(node),
        "dilations": list(_ints(node, "dilation")),
        "group": _ints(node, "groups")[0],
    }
    t.put("Conv", [t.get(node.inputs[0], True), *constants], node, True, **geometry)


def local2d(t: Tensors, node: Node) -> None:
    """A convolution, as long as all positions are alike: as it was when it was untied.

    ONNX has none with weights a position: windows by Gather, and a product for each of them.
    """
    rows, cols, filters = t.shape(node.output)
    weights, biases = (t.value(i).reshape(rows * cols, filters, -1) for i in node.inputs[1:])
    if np.all(weights == weights[0]) and np.all(biases == biases[0]):
        _convolution(t, node, weights[0], biases[0].reshape(-1))
        return
    groups = _ints(node, "groups")[0]
    blocks = weights.reshape(rows * cols, groups, filters // groups, -1).swapaxes(2, 3)
    constants = [
        t.constant(f"{node.name}.{what}", value)
        for what, value in (("weight", blocks), ("bias", biases.reshape(rows, cols, filters)))
    ]
    sums = t.node("MatMul", [_seen(t, node), constants[0]], f"{node.output}/sums", node.name)
    shaped = t.node("Reshape", [sums, t.integers(-1, rows, cols, filters)], f"{node.output}/map", node.name)
    t.put("Add", [shaped, constants[1]], node)


def _seen(t: Tensors, node: Node) -> str:
    """What each position of a convolution sees: [batch, positions, groups, 1, taps]."""
    where = taps(Window.of(node, t.shape(node.inputs[0]))).swapaxes(0, 1)
    size = t.graph.tensors[node.inputs[0]].size
    flat = t.node("Reshape", [t.get(node.inputs[0]), t.integers(-1, size)], f"{node.output}/flat", node.name)
    if where.max() >= size:  # one zero behind the map stands for all padding
        flat = t.node("Pad", [flat, t.integers(0, 0, 0, 1)], f"{node.output}/padded", node.name)
    table = t.constant(f"{node.name}.windows", where[:, :, None].astype(np.int64))
    return t.node("Gather", [flat, table], f"{node.output}/seen", node.name, axis=1)


def table(t: Tensors, node: Node) -> None:
    fn, first = str(node.attrs["fn"]), t.is_first(node.inputs[0])
    x = t.get(node.inputs[0], first)
    if fn in PRODUCTS:
        PRODUCTS[fn](t, node, x, first)
        return
    op, given = FUNCTIONS[fn]
    t.put(op, [x], node, first, **{key: _real(node, key) for key in given})


def composed(t: Tensors, node: Node) -> None:
    """Its parts, one behind another."""
    parts = parts_of(node)
    t.get(node.inputs[0])
    made = [node.inputs[0]]
    for i, part in enumerate(parts):
        name, out = f"{node.name}_part{i}", f"{node.output}/{i}"
        if i == len(parts) - 1:
            name, out = node.name, node.output
        own, alpha, beta = part.applied.name, part.applied.alpha, part.applied.beta
        attrs: dict[str, Attr] = {"fn": own, "alpha": alpha, "beta": beta, "lo": alpha, "hi": beta}
        inner = Node("", name, (made[part.left], made[part.right]), out, attrs)
        APPLIED.get(own, table)(t, inner)
        made.append(out)


def _scaled(t: Tensors, node: Node) -> None:
    inner = _part(t, node, "Mul", t.get(node.inputs[0]), _real(node, "alpha"))
    shift = t.constant(f"{node.name}.shift", np.array(_real(node, "beta"), np.float32))
    t.put("Add", [inner, shift], node)


def _of_two(op: str) -> Callable[[Tensors, Node], None]:
    return lambda t, node: t.put(op, [t.get(i) for i in node.inputs], node)


def lookup(t: Tensors, node: Node) -> None:
    """Straight lines between the values at the integers of the file's x; the ends' values beyond them."""
    values = t.value(node.inputs[1])
    ends = {
        "first": _real(node, "first"),
        "step": _real(node, "step"),
        "least": 0.0,
        "most": len(values) - 1.0,
    }
    first, step, *held = (t.constant(f"{node.name}.{k}", np.array(v, np.float32)) for k, v in ends.items())

    def then(op: str, inputs: list[str], what: str, **attrs: Any) -> str:
        return t.node(op, inputs, f"{node.output}/{what}", node.name, **attrs)

    place = then("Div", [then("Sub", [t.get(node.inputs[0]), first], "from"), step], "place")
    place = then("Clip", [place, *held], "held")
    low = then("Floor", [place], "low")
    at = then("Cast", [low], "at", to=TensorProto.INT64)
    tables = {"values": values, "rises": np.diff(values, append=values[-1:])}
    value, rise = (
        then("Gather", [t.constant(f"{node.name}.{k}", v.astype(np.float32)), at], k, axis=0)
        for k, v in tables.items()
    )
    t.put("Add", [value, then("Mul", [rise, then("Sub", [place, low], "share")], "above")], node)


def prelu(t: Tensors, node: Node) -> None:
    slope, shape = t.value(node.inputs[1]), t.shape(node.output)
    each = slope if slope.size == shape[-1] else slope.reshape(shape)
    t.put("PRelu", [t.get(node.inputs[0]), t.constant(f"{node.name}.slope", each)], node)


def softmax(t: Tensors, node: Node) -> None:
    x, beta = t.get(node.inputs[0]), _real(node, "beta")
    if beta != 1.0:
        x = _part(t, node, "Mul", x, beta)
    t.put("LogSoftmax" if node.attrs["log"] else "Softmax", [x], node, axis=-1)


def _silu(t: Tensors, node: Node, x: str, first: bool) -> None:
    t.put("Mul", [x, _part(t, node, "Sigmoid", x)], node, first)


def _gelu(t: Tensors, node: Node, x: str, first: bool) -> None:
    """x / 2 * (1 + erf(x / sqrt 2)): the operator itself came with opset 20."""
    share = _part(t, node, "Erf", _part(t, node, "Mul", x, math.sqrt(0.5)))
    t.put("Mul", [_part(t, node, "Mul", x, 0.5), _part(t, node, "Add", share, 1.0)], node, first)


def _part(t: Tensors, node: Node, op: str, x: str, number: float | None = None) -> str:
    """An operator of a function that is several; its name is no layer's."""
    inner = f"{node.name}_part"
    other = [] if number is None else [t.constant(f"number/{number:.9g}", np.array(number, np.float32))]
    return t.node(op, [x, *other], f"{x}/{node.name}/{op.lower()}{len(t.nodes)}", inner)


def _ints(node: Node, key: str) -> tuple[int, ...]:
    value = node.attrs[key]
    return tuple(int(v) for v in value) if isinstance(value, tuple) else (int(value),)


def _real(node: Node, key: str) -> float:
    value = node.attrs[key]
    assert isinstance(value, int | float)
    return float(value)


def _window(node: Node) -> dict[str, list[int]]:
    """What convolutions and pools have in common. Paddings of both are (top, left, bottom, right)."""
    keys = {"kernel_shape": "kernel", "strides": "stride", "pads": "padding"}
    return {name: list(_ints(node, key)) for name, key in keys.items()}


def _gelu_tanh(t: Tensors, node: Node, x: str, first: bool) -> None:
    """x sigmoid(2 sqrt(2 / pi) (x + .044715 x^3)), which is x / 2 * (1 + tanh of half that)."""
    square = t.node("Mul", [x, x], f"{x}/{node.name}/square", f"{node.name}_part")
    inner = _part(t, node, "Add", _part(t, node, "Mul", square, CUBE), 1.0)
    inner = t.node(
        "Mul", [_part(t, node, "Mul", x, 2 * ROOT_2_PI), inner], f"{inner}/by", f"{node.name}_part"
    )
    t.put("Mul", [x, _part(t, node, "Sigmoid", inner)], node, first)


def _within(least: float, most: float, *ops: str) -> Callable[[Tensors, Node, str, bool], None]:
    """The operators `ops` of x held within least .. most, either of which may be infinite."""

    def written(t: Tensors, node: Node, x: str, first: bool) -> None:
        for op, end in (("Max", least), ("Min", most)):
            x = x if math.isinf(end) else _part(t, node, op, x, end)
        for op in ops[:-1]:
            x = _part(t, node, op, x)
        t.put(ops[-1], [x], node, first)

    return written


def _mish(t: Tensors, node: Node, x: str, first: bool) -> None:
    """The operator itself came with opset 18."""
    t.put("Mul", [x, _part(t, node, "Tanh", _part(t, node, "Softplus", x))], node, first)


def _shrink(t: Tensors, node: Node, x: str, first: bool) -> None:
    t.put("Shrink", [x], node, first, lambd=_real(node, "alpha"), bias=_real(node, "beta"))


def _away(t: Tensors, node: Node, x: str) -> str:
    """x, not nearer to 0 than LEAST: its sign, that of 0 being 1, times its held magnitude."""
    sign = _part(t, node, "Sign", _part(t, node, "Add", _part(t, node, "Sign", x), 0.5))
    held = _part(t, node, "Max", _part(t, node, "Abs", x), LEAST)
    return t.node("Mul", [sign, held], f"{held}/signed", f"{node.name}_part")


def _reciprocal(t: Tensors, node: Node, x: str, first: bool) -> None:
    t.put("Reciprocal", [_away(t, node, x)], node, first)


def _power(t: Tensors, node: Node, x: str, first: bool) -> None:
    alpha = _real(node, "alpha")
    if alpha != int(alpha):
        x = _part(t, node, "Max", x, 0.0)
    x = _away(t, node, x) if alpha < 0.0 else x
    exponent = t.constant(f"number/{alpha:.9g}", np.array(alpha, np.float32))
    t.put("Pow", [x, exponent], node, first)


PRODUCTS: Mapping[str, Callable[[Tensors, Node, str, bool], None]] = {
    "exp": _within(-math.inf, MOST, "Exp"),
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "log": _within(LEAST, math.inf, "Log"),
    "mish": _mish,
    "power": _power,
    "reciprocal": _reciprocal,
    "rsqrt": _within(LEAST, math.inf, "Sqrt", "Reciprocal"),
    "shrink": _shrink,
    "silu": _silu,
    "sqrt": _within(0.0, math.inf, "Sqrt"),
}
"""Functions that are several operators in opset 17, or whose operator calls its numbers otherwise."""
FUNCTIONS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "abs": ("Abs", ()),
    "atan": ("Atan", ()),
    "ceil": ("Ceil", ()),
    "celu": ("Celu", ("alpha",)),
    "cos": ("Cos", ()),
    "elu": ("Elu", ("alpha",)),
    "erf": ("Erf", ()),
    "floor": ("Floor", ()),
    "hardsigmoid": ("HardSigmoid", ("alpha", "beta")),
    "hardswish": ("HardSwish", ()),
    "identity": ("Identity", ()),
    "leaky_relu": ("LeakyRelu", ("alpha",)),
    "neg": ("Neg", ()),
    "round": ("Round", ()),
    "sigmoid": ("Sigmoid", ()),
    "sign": ("Sign", ()),
    "sin": ("Sin", ()),
    "softplus": ("Softplus", ()),
    "softsign": ("Softsign", ()),
    "tanh": ("Tanh", ()),
    "thresholded_relu": ("ThresholdedRelu", ("alpha",)),
}
"""The operator of a function, and which of alpha and beta it takes."""

APPLIED: Mapping[str, Callable[[Tensors, Node], None]] = {
    "difference": _of_two("Sub"),
    "limits": clip,
    "product": _of_two("Mul"),
    "scale": _scaled,
    "sum": _of_two("Add"),
    "view": lambda t, node: t.put("Identity", [t.get(node.inputs[0])], node),
}
"""What a part of a composed function is that is none of FUNCTIONS."""

ONNX_LAYERS: Mapping[str, Callable[[Tensors, Node], None]] = {
    "add": add,
    "add_constant": add_constant,
    "affine": affine,
    "avgpool2d": avgpool2d,
    "bilinear": bilinear,
    "choice": choice,
    "clip": clip,
    "composed": composed,
    "concat": concat,
    "conv2d": conv2d,
    "dense": dense,
    "dilate": dilate,
    "div": div,
    "gather": gather,
    "interpolate": interpolate,
    "local2d": local2d,
    "lookup": lookup,
    "masked": masked,
    "matmul": matmul,
    "maxpool2d": maxpool2d,
    "mul": mul,
    "mul_constant": mul_constant,
    "normalise": normalise,
    "pad": pad,
    "prelu": prelu,
    "recurrent": recurrent,
    "reshape": reshape,
    "softmax": softmax,
    "squared_difference": squared_difference,
    "table": table,
    "transpose": transpose,
    "unit_length": unit_length,
}
"""By op: writes a node and puts its output."""


def float_layers() -> Mapping[str, Callable[[Tensors, Node], None]]:
    """The table, with the rows that ops from outside bring as `ONNX_LAYERS`."""
    return rows("ONNX_LAYERS", ONNX_LAYERS)
