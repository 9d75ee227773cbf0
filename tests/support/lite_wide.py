"""Random operators of .tflite files on activations of 16 bits, one a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from lite import Author

Rng = np.random.Generator
Made = tuple[bytes, list[tuple[int, ...]]]
"""A file, and the shapes of its inputs without the batch."""
UNIT = 2.0**-15
"""The scale that LiteRT demands of what lies within 1."""
VERSIONS = {
    "ADD": 4,
    "SUB": 5,
    "MUL": 4,
    "LEAKY_RELU": 2,
    "QUANTIZE": 2,
    "DEPTHWISE_CONV_2D": 5,
    "CONV_2D": 8,
    "FULLY_CONNECTED": 11,
    "TRANSPOSE_CONV": 3,
    "PRELU": 1,
    "RESIZE_BILINEAR": 4,
    "BATCH_MATMUL": 4,
    **dict.fromkeys(("EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL", "NOT_EQUAL"), 2),
    "LOGICAL_NOT": 1,
}
"""Of each operator, those from which on it takes int16; 3 where none is said."""


def activation(rng: Rng, a: Author, name: str, shape: Sequence[int], scale: float = 0.0) -> tuple[int, float]:
    """A tensor of int16 with a batch of 1, and its scale; powers of two are common."""
    found = scale or 2.0 ** rng.uniform(-14, -6)
    if not scale and not rng.integers(4):
        found = 2.0 ** np.rint(np.log2(found))
    found = float(np.float32(found))
    return a.tensor(name, (1, *shape), "INT16", scale=found), found


def add(
    a: Author, op: str, inputs: Sequence[int], outputs: Sequence[int], options: str = "", **says: object
) -> None:
    a.op(op, inputs, outputs, options, VERSIONS.get(op, 3), **says)


def weights(
    rng: Rng, a: Author, shape: tuple[int, ...], axis: int, scale: float, kind: str
) -> tuple[list[int], float]:
    """Weight and bias, of `kind` if there is one; and the scale at which outputs just fill int16."""
    count, fan = shape[axis], int(np.prod(shape)) // shape[axis]
    scales = np.float32(2.0 ** rng.uniform(-9, -3, count if rng.integers(2) else 1))
    if not rng.integers(4):
        scales = np.exp2(np.rint(np.log2(scales)))
    made = [a.tensor("w", shape, scale=scales, data=rng.integers(-127, 128, shape), axis=axis)]
    if kind:
        bias = rng.integers(-(10**6), 10**6, count)
        made.append(a.tensor("b", (count,), kind, scale=scales * np.float32(scale), data=bias))
    return made, float(scales.max()) * scale * 127 * np.sqrt(fan)


def dense(rng: Rng) -> Made:
    a, n, m = Author(), int(rng.integers(1, 70)), int(rng.integers(1, 20))
    n = 2500 if not rng.integers(12) else n  # sums of more than 32 bits
    batch, kind = int(rng.choice([1, 1, 3])), str(rng.choice(["INT64", "INT32", ""]))
    kind = "INT64" if n > 70 and kind else kind
    lead = (batch,) if batch > 1 else ()
    x, scale = activation(rng, a, "x", (*lead, n))
    constants, usual = weights(rng, a, (m, n), 0, scale, kind)
    y, _ = activation(rng, a, "y", (*lead, m), usual * 2.0 ** rng.uniform(-2, 2))
    options = {"fusedActivationFunction": int(rng.integers(4)), "keepNumDims": batch > 1}
    options["quantizedBiasType"] = {"INT64": 4, "INT32": 2, "": 0}[kind]
    add(a, "FULLY_CONNECTED", [x, *constants], [y], "FullyConnectedOptions", **options)
    return a.bytes([x], [y]), [(*lead, n)]


def _axis(rng: Rng, n: int, same: bool) -> tuple[int, int, int, int]:
    """(kernel, stride, dilation, output) along an axis of n."""
    dilation = 2 if not rng.integers(3) else 1
    kernel = int(rng.integers(1, 5 if same else (n - 1) // dilation + 2))
    stride = int(rng.integers(1, 4)) if dilation == 1 else 1
    out = -(-n // stride) if same else (n - (kernel - 1) * dilation - 1) // stride + 1
    return kernel, stride, dilation, out


def convolution(rng: Rng) -> Made:
    """CONV_2D, perhaps of several groups, or DEPTHWISE_CONV_2D."""
    a, channels, same, depthwise = (
        Author(),
        int(rng.integers(1, 9)),
        bool(rng.integers(2)),
        bool(rng.integers(2)),
    )
    size = [int(v) for v in rng.integers(1, 10, 2)]
    axes = [_axis(rng, n, same) for n in size]
    kernel, stride, dilation, out = ([v[i] for v in axes] for i in range(4))
    each, m = int(rng.integers(1, 4)), int(rng.integers(1, 9))
    m = channels * each if depthwise else m
    x, scale = activation(rng, a, "x", (*size, channels))
    kind = "INT64" if depthwise or rng.integers(3) else "INT32"
    shape, axis = ((1, *kernel, m), 3) if depthwise else ((m, *kernel, channels), 0)
    constants, usual = weights(rng, a, shape, axis, scale, kind)
    y, _ = activation(rng, a, "y", (*out, m), usual * 2.0 ** rng.uniform(-2, 2))
    options: dict[str, object] = {
        "padding": 0 if same else 1,
        "strideH": stride[0],
        "strideW": stride[1],
        "dilationHFactor": dilation[0],
        "dilationWFactor": dilation[1],
        "fusedActivationFunction": int(rng.integers(4)),
    }
    options |= {"depthMultiplier": each} if depthwise else {"quantizedBiasType": 4 if kind == "INT64" else 2}
    op, table = ("DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions") if depthwise else ("CONV_2D", "Conv2DOptions")
    add(a, op, [x, *constants], [y], table, **options)
    return a.bytes([x], [y]), [(*size, channels)]


def transposed(rng: Rng) -> Made:
    a, channels, m = Author(), int(rng.integers(1, 6)), int(rng.integers(1, 6))
    size, kernel, stride = ([int(v) for v in rng.integers(1, n, 2)] for n in (6, 4, 3))
    same = bool(rng.integers(2)) and all(k >= s for k, s in zip(kernel, stride, strict=True))
    out = [n * s if same else (n - 1) * s + k for n, k, s in zip(size, kernel, stride, strict=True)]
    x, scale = activation(rng, a, "x", (*size, channels))
    (w, b), usual = weights(rng, a, (m, *kernel, channels), 0, scale, "INT64")
    y, _ = activation(rng, a, "y", (*out, m), usual * 2.0 ** rng.uniform(-2, 1))
    shape = a.tensor("shape", (4,), "INT32", data=[1, *out, m])
    says = {"padding": 0 if same else 1, "strideH": stride[0], "strideW": stride[1]}
    add(a, "TRANSPOSE_CONV", [shape, w, x, b], [y], "TransposeConvOptions", **says)
    return a.bytes([x], [y]), [(*size, channels)]


def pair(rng: Rng) -> Made:
    """ADD, SUB, MUL of two activations, or one and a constant, which may be stretched."""
    a, op = Author(), str(rng.choice(["ADD", "SUB", "MUL"]))
    shape = tuple(int(v) for v in rng.integers(1, 6, 3))
    other = tuple(n if rng.integers(2) else 1 for n in shape)
    x, scale = activation(rng, a, "x", shape)
    second = float(np.float32(scale * 2.0 ** rng.uniform(-4, 4)))
    usual = scale * second * 2.0**15 * 0.5 if op == "MUL" else max(scale, second)
    y, _ = activation(rng, a, "y", shape, usual * 2.0 ** rng.uniform(-1, 2))
    says: dict[str, object] = {"fusedActivationFunction": int(rng.integers(4))}
    says |= {} if op == "MUL" else {"potScaleInt16": False}
    options = f"{op.capitalize()}Options"
    if rng.integers(2):
        c = a.tensor("c", (1, *other), "INT16", scale=second, data=rng.integers(-(2**15), 2**15, (1, *other)))
        add(a, op, [x, c], [y], options, **says)
        return a.bytes([x], [y]), [shape]
    z, _ = activation(rng, a, "z", other, second)
    add(a, op, [x, z], [y], options, **says)
    return a.bytes([x, z], [y]), [shape, other]


def pool(rng: Rng) -> Made:
    a, op, same = Author(), str(rng.choice(["AVERAGE_POOL_2D", "MAX_POOL_2D"])), bool(rng.integers(2))
    size, channels = [int(v) for v in rng.integers(1, 9, 2)], int(rng.integers(1, 9))
    kernel, stride = [int(rng.integers(1, n + 1)) for n in size], [int(v) for v in rng.integers(1, 4, 2)]
    out = [-(-n // s) if same else (n - k) // s + 1 for n, k, s in zip(size, kernel, stride, strict=True)]
    x, scale = activation(rng, a, "x", (*size, channels))
    y, _ = activation(rng, a, "y", (*out, channels), scale)
    says = {"padding": 0 if same else 1, "strideH": stride[0], "strideW": stride[1]}
    says |= {
        "filterHeight": kernel[0],
        "filterWidth": kernel[1],
        "fusedActivationFunction": int(rng.integers(4)),
    }
    add(a, op, [x], [y], "Pool2DOptions", **says)
    return a.bytes([x], [y]), [(*size, channels)]


def _clipped(rng: Rng, a: Author, y: int, shape: Sequence[int], scale: float) -> int:
    """y, in two files of three behind a clip: one of RELU's kind, or by a constant."""
    way = int(rng.integers(6))
    if way < 2:
        return y
    end, _ = activation(rng, a, "end", shape, scale)
    if way < 4:
        add(a, ("RELU", "RELU6")[way - 2], [y], [end])
    else:
        c = a.tensor("limit", (), "INT16", scale, data=int(rng.integers(-(2**14), 2**14)))
        add(a, str(rng.choice(["MAXIMUM", "MINIMUM"])), [y, c], [end], "MaximumMinimumOptions")
    return end


def reduced(rng: Rng) -> Made:
    a, op = Author(), str(rng.choice(["MEAN", "REDUCE_MAX", "REDUCE_MIN"]))
    shape = tuple(int(v) for v in rng.integers(1, 9, 3))
    axes = [[1, 2], [1], [2], [3]][int(rng.integers(4))]
    x, scale = activation(rng, a, "x", shape)
    own = op == "MEAN" and rng.integers(2)
    left = [n for i, n in enumerate(shape, 1) if i not in axes]
    y, _ = activation(rng, a, "y", left, scale * 2.0 ** rng.uniform(-2, 2) if own else scale)
    over = a.tensor("axes", (len(axes),), "INT32", data=axes)
    add(a, op, [x, over], [y], "ReducerOptions", keepDims=False)
    y = _clipped(rng, a, y, left, scale) if not own else y
    return a.bytes([x], [y]), [shape]


def function(rng: Rng) -> Made:
    """QUANTIZE, RELU and its kin, LEAKY_RELU, LOGISTIC, TANH, SOFTMAX."""
    a = Author()
    kinds = ("QUANTIZE", "RELU", "RELU6", "LEAKY_RELU", "LOGISTIC", "TANH", "SOFTMAX")
    op, shape = str(rng.choice(kinds)), (int(rng.integers(1, 6)), int(rng.integers(1, 200)))
    x, scale = activation(rng, a, "x", shape)
    fixed = op in kinds[4:]
    y, _ = activation(rng, a, "y", shape, UNIT if fixed else scale * 2.0 ** rng.uniform(-2, 2))
    options, says = {
        "QUANTIZE": ("QuantizeOptions", {}),
        "LEAKY_RELU": ("LeakyReluOptions", {"alpha": float(rng.uniform(-1, 1.5))}),
        "SOFTMAX": ("SoftmaxOptions", {"beta": float(rng.choice([1.0, 0.7]))}),
    }.get(op, ("", {}))
    add(a, op, [x], [y], options, **says)
    return a.bytes([x], [y]), [shape]


def curved(rng: Rng) -> Made:
    """ABS, EXP, LOG, NEG, RSQRT, SQRT, perhaps behind a clip; also at scales where entries lie far apart."""
    a, shape = Author(), (int(rng.integers(1, 6)), int(rng.integers(1, 200)))
    op = str(rng.choice(["ABS", "EXP", "LOG", "NEG", "RSQRT", "SQRT"]))
    x, scale = activation(rng, a, "x", shape)
    usual = {
        "EXP": np.exp(min(scale * 2.0**15, 80.0)) / 2**15,
        "LOG": np.log(scale * 2.0**15 + 2) / 2**15,
        "RSQRT": scale**-0.5 / 2**17,
        "SQRT": scale**0.5 / 2**7,
    }.get(op, scale)
    usual = scale if op == "NEG" else usual * 2.0 ** rng.uniform(-2, 2)
    given = x
    if op in ("RSQRT", "SQRT"):  # of negative numbers LiteRT takes no roots
        given, _ = activation(rng, a, "given", shape, scale)
        add(a, "RELU", [x], [given])
    y, usual = activation(rng, a, "y", shape, float(usual))
    a.op(op, [given], [y])
    y = _clipped(rng, a, y, shape, usual)
    return a.bytes([x], [y]), [shape]


def quotient(rng: Rng) -> Made:
    """DIV of two activations, either stretched perhaps, by small numbers and large ones."""
    a, shape = Author(), tuple(int(v) for v in rng.integers(1, 6, 3))
    shapes = [shape, tuple(n if rng.integers(2) else 1 for n in shape)][:: int(rng.choice([-1, 1]))]
    (x, first), (z, second) = (activation(rng, a, n, s) for n, s in zip("xz", shapes, strict=True))
    y, _ = activation(rng, a, "y", shape, first / second * 2.0 ** rng.uniform(-14, 6))
    q = a.tensor("q", (1, *shapes[1]), "INT16", scale=second)
    one, sign = int(rng.choice([1, 2, 300])), int(rng.choice([-1, 1]))
    limit = a.tensor("limit", (), "INT16", second, data=one * sign)  # LiteRT refuses to divide by 0
    add(a, "MAXIMUM" if sign > 0 else "MINIMUM", [z, limit], [q], "MaximumMinimumOptions")
    a.op("DIV", [x, q], [y], "DivOptions", 2, fusedActivationFunction=int(rng.integers(4)))
    return a.bytes([x, z], [y]), shapes


TESTS = ("EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL")


def chosen(rng: Rng, kind: str = "INT16") -> Made:
    """SELECT_V2, or SELECT, by a comparison of two tensors, one a number perhaps, as are those it chooses
    between; the comparison perhaps turned round, operands perhaps stretched."""
    a, shape = Author(), tuple(int(v) for v in rng.integers(1, 6, 3))
    ends, old, inputs, shapes = (
        (-128, 128) if kind == "INT8" else (-(2**15), 2**15),
        rng.integers(4) == 0,
        [],
        [],
    )

    def held() -> dict[str, Any]:
        scale = float(np.float32(2.0 ** rng.uniform(-14, -1)))
        return {"scale": scale, "zero": int(rng.integers(-128, 128)) if kind == "INT8" else 0}

    def operand(name: str, own: dict[str, Any], number: bool, stretch: bool) -> int:
        if number:
            return a.tensor(name, (), kind, data=int(rng.integers(*ends)) >> 3, **own)
        inner = tuple(n if rng.integers(3) or not stretch else 1 for n in shape)
        inputs.append(a.tensor(name, (1, *inner), kind, **own))
        shapes.append(inner)
        return inputs[-1]

    number, whole = [bool(v) for v in rng.integers(0, 3, 4) == 0], held()
    number[1] &= not number[0]
    first = held()
    other = first if rng.integers(2) else held()
    left, right = (
        operand("x", first, number[0], False),
        operand("z", other, number[1], not old and not number[0]),
    )
    yes, no = (operand(n, whole, v and not old, not old) for n, v in zip(("p", "q"), number[2:], strict=True))
    test, met = str(rng.choice(TESTS)), a.tensor("met", (1, *shape), "BOOL")
    add(a, test, [left, right], [met])
    if rng.integers(3) == 0:
        turned = a.tensor("turned", (1, *shape), "BOOL")
        add(a, "LOGICAL_NOT", [met], [turned])
        met = turned
    y = a.tensor("y", (1, *shape), kind, **whole)
    a.op("SELECT" if old else "SELECT_V2", [met, yes, no], [y])
    return a.bytes(inputs, [y]), shapes


def conditional(rng: Rng, kind: str = "INT16") -> Made:
    """SELECT_V2, or SELECT, by LOGICAL_AND, LOGICAL_OR and LOGICAL_NOT of comparisons and masks, which are
    stretched perhaps, as is what it chooses between; numbers perhaps, of a constant full of them."""
    a, shape = Author(), tuple(int(v) for v in rng.integers(1, 5, 3))
    ends = (-128, 128) if kind == "INT8" else (-(2**15), 2**15)
    held = {"scale": float(np.float32(2.0 ** rng.uniform(-14, -1)))}
    held["zero"] = int(rng.integers(-128, 128)) if kind == "INT8" else 0
    inputs, shapes, old = list[int](), list[tuple[int, ...]](), rng.integers(5) == 0

    def some(free: bool = True) -> tuple[int, ...]:
        return tuple(n if rng.integers(3) or not free else 1 for n in shape)

    def operand(free: bool = True) -> int:
        if inputs and rng.integers(3) == 0 and (free or shapes[0] == shape):
            return inputs[0]
        inner = some(free)
        inputs.append(a.tensor(f"x{len(inputs)}", (1, *inner), kind, **held))
        shapes.append(inner)
        return inputs[-1]

    def number(size: tuple[int, ...]) -> int:
        value = int(rng.integers(*ends)) >> 3
        return a.tensor("number", size, kind, data=np.full(size, value), **held)

    def truth(depth: int) -> tuple[int, tuple[int, ...]]:
        """A truth value and its shape, with the batch."""
        turn = int(rng.integers(6)) if depth else int(rng.integers(2))
        if turn == 0:
            own = (1, *some(not old))
            return a.tensor("mask", own, "BOOL", data=rng.integers(0, 2, own)), own
        if turn == 1 or len(inputs) > 5:
            own, free = (1, *shape), not old
            left, right = operand(False), operand(free) if rng.integers(3) else number(())
            met = a.tensor("met", own, "BOOL")
            add(a, str(rng.choice(TESTS)), [left, right] if rng.integers(2) else [right, left], [met])
            return met, own
        if turn == 2:
            (x, own), made = truth(depth - 1), "LOGICAL_NOT"
            y = a.tensor("not", own, "BOOL")
            add(a, made, [x], [y])
            return y, own
        (x, first), (z, second) = truth(depth - 1), truth(depth - 1)
        own = tuple(np.broadcast_shapes(first, second))
        y = a.tensor("both", own, "BOOL")
        a.op("LOGICAL_AND" if rng.integers(2) else "LOGICAL_OR", [x, z], [y])
        return y, own

    met, own = truth(3)
    full = number((1, *shape) if own != (1, *shape) or old or rng.integers(2) else ())
    sides = [operand(not old), operand(not old) if own == (1, *shape) and rng.integers(2) else full][
        :: int(rng.choice([-1, 1]))
    ]
    y = a.tensor("y", (1, *shape), kind, **held)
    a.op("SELECT" if old and own == (1, *shape) else "SELECT_V2", [met, *sides], [y])
    return a.bytes(inputs, [y]), shapes


def between_types(rng: Rng) -> Made:
    """QUANTIZE from 16 bits to 8 and back: twice, so that both ends have 16."""
    a, shape = Author(), (int(rng.integers(1, 400)),)
    x, scale = activation(rng, a, "x", shape)
    zero = int(rng.integers(-128, 128))
    narrow = float(np.float32(scale * 256 * 2.0 ** rng.uniform(-1, 1)))
    middle = a.tensor("m", (1, *shape), scale=narrow, zero=zero)
    y, _ = activation(rng, a, "y", shape, narrow / 256 * 2.0 ** rng.uniform(-1, 2))
    add(a, "QUANTIZE", [x], [middle], "QuantizeOptions")
    add(a, "QUANTIZE", [middle], [y], "QuantizeOptions")
    return a.bytes([x], [y]), [shape]


def limited(rng: Rng) -> Made:
    """MINIMUM, MAXIMUM of a constant that QUANTIZE brings to the scale of the other side."""
    a, shape = Author(), (int(rng.integers(1, 400)),)
    x, scale = activation(rng, a, "x", shape)
    own = float(np.float32(scale * 2.0 ** rng.uniform(-3, 3)))
    c = a.tensor("c", (), "INT16", own, data=int(rng.integers(-(2**15), 2**15)))
    held = a.tensor("held", (), "INT16", scale)
    y, _ = activation(rng, a, "y", shape, scale)
    add(a, "QUANTIZE", [c], [held], "QuantizeOptions")
    add(a, str(rng.choice(["MAXIMUM", "MINIMUM"])), [x, held], [y], "MaximumMinimumOptions")
    return a.bytes([x], [y]), [shape]


def extreme(rng: Rng) -> Made:
    """MINIMUM, MAXIMUM of two activations, of which one may be stretched."""
    a, shape = Author(), tuple(int(v) for v in rng.integers(1, 6, 3))
    other = tuple(n if rng.integers(2) else 1 for n in shape)
    x, scale = activation(rng, a, "x", shape)
    (z, _), (y, _) = activation(rng, a, "z", other, scale), activation(rng, a, "y", shape, scale)
    add(a, str(rng.choice(["MAXIMUM", "MINIMUM"])), [x, z], [y], "MaximumMinimumOptions")
    y = _clipped(rng, a, y, shape, scale)
    return a.bytes([x, z], [y]), [shape, other]


def resized(rng: Rng) -> Made:
    """RESIZE_BILINEAR, by corners that are aligned, by middles of pixels, or by neither."""
    a, way = Author(), int(rng.integers(3))
    height, width, channels, lines, columns = (int(n) for n in rng.integers(1, (8, 8, 4, 14, 14)))
    x, scale = activation(rng, a, "x", (height, width, channels))
    size = a.tensor("size", (2,), "INT32", data=[lines, columns])
    y, _ = activation(rng, a, "y", (lines, columns, channels), scale)
    says = {"alignCorners": way == 1, "halfPixelCenters": way == 2}
    add(a, "RESIZE_BILINEAR", [x, size], [y], "ResizeBilinearOptions", **says)
    return a.bytes([x], [y]), [(height, width, channels)]


def matrices(rng: Rng) -> Made:
    """BATCH_MATMUL of two activations, either turned."""
    a, (turned, other) = Author(), (bool(v) for v in rng.integers(0, 2, 2))
    batch, rows, inner, columns = (int(n) for n in rng.integers(1, (4, 8, 40, 8)))
    shapes = [(batch, inner, rows) if turned else (batch, rows, inner)]
    shapes.append((batch, columns, inner) if other else (batch, inner, columns))
    (x, first), (z, second) = (activation(rng, a, n, s) for n, s in zip("xz", shapes, strict=True))
    usual = first * second * 2.0**15 * np.sqrt(inner)
    y, _ = activation(rng, a, "y", (batch, rows, columns), usual * 2.0 ** rng.uniform(-2, 2))
    add(a, "BATCH_MATMUL", [x, z], [y], "BatchMatMulOptions", adjX=turned, adjY=other)
    return a.bytes([x, z], [y]), shapes


def sloped(rng: Rng) -> Made:
    """PRELU, whose slopes have 8 bits: one, one a channel or one a value."""
    a, shape = Author(), tuple(int(v) for v in rng.integers(1, 7, 3))
    slopes = [(1, 1, 1), (1, 1, shape[2]), shape][int(rng.integers(3))]
    x, scale = activation(rng, a, "x", shape)
    data, zero = rng.integers(-128, 128, slopes), int(rng.integers(-128, 128))
    w = a.tensor("w", slopes, scale=2.0 ** rng.uniform(-9, -4), zero=zero, data=data)
    y, _ = activation(rng, a, "y", shape, scale * 2.0 ** rng.uniform(-2, 3))
    add(a, "PRELU", [x, w], [y])
    return a.bytes([x], [y]), [shape]


def moved(rng: Rng) -> Made:
    """PAD, and a CONCATENATION of it and an input; and a sum, since what only moves is no network."""
    a = Author()
    size, channels = [int(v) for v in rng.integers(1, 6, 2)], int(rng.integers(1, 5))
    around = np.concatenate([[[0, 0]], rng.integers(0, 3, (2, 2)), [[0, 0]]])
    x, scale = activation(rng, a, "x", (*size, channels))
    wider = [n + int(e.sum()) for n, e in zip(size, around[1:3], strict=True)]
    z, _ = activation(rng, a, "z", (*wider, 3), scale)
    p, _ = activation(rng, a, "p", (*wider, channels), scale)
    c, _ = activation(rng, a, "c", (*wider, channels + 3), scale)
    y, _ = activation(rng, a, "y", (*wider, channels + 3), scale * 1.7)
    add(a, "PAD", [x, a.tensor("around", (4, 2), "INT32", data=around)], [p], "PadOptions")
    add(a, "CONCATENATION", [p, z], [c], "ConcatenationOptions", axis=3)
    add(a, "ADD", [c, c], [y], "AddOptions", potScaleInt16=False)
    return a.bytes([x, z], [y]), [(*size, channels), (*wider, 3)]


KINDS: dict[str, Callable[[Rng], Made]] = {
    f.__name__: f
    for f in (
        *(
            dense,
            convolution,
            transposed,
            pair,
            pool,
            reduced,
            function,
            curved,
            quotient,
            chosen,
            conditional,
            between_types,
            limited,
            extreme,
            matrices,
            resized,
            sloped,
            moved,
        ),
    )
}


def drawn(rng: Rng, shapes: Sequence[tuple[int, ...]], samples: int) -> list[np.ndarray]:
    """Inputs of int16, both ends and small values among them."""
    out = []
    for shape in shapes:
        x = rng.integers(-(2**15), 2**15, (samples, *shape))
        x[samples // 2 :] >>= int(rng.integers(0, 10))
        x.flat[: min(2, x.size)] = [-(2**15), 2**15 - 1][: min(2, x.size)]
        out.append(x.astype(np.int16))
    return out
