"""Random float32 .tflite networks, operator by operator, as converters write them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from lite import Author
from numpy.typing import ArrayLike

Rng = np.random.Generator
Shape = tuple[int, ...]
MOST = 600  # values of an activation


class Net:
    """A network that grows; `at` is its last activation, of `shape`."""

    def __init__(self, rng: Rng, shape: Shape) -> None:
        self.rng, self.a, self.shape = rng, Author(), shape
        self.input = self.at = self.a.tensor("x", shape, "FLOAT32")
        self.used: list[str] = []

    def constant(self, value: ArrayLike, kind: str = "FLOAT32") -> int:
        array = np.asarray(value)
        return self.a.tensor(f"c{len(self.a.graph.tensors)}", array.shape, kind, data=array)

    def weight(self, *shape: int) -> int:
        """A weight in float32, or in float16 or int8 behind DEQUANTIZE."""
        value = self.rng.normal(0, 1 / np.sqrt(np.prod(shape[1:])), shape)
        how = int(self.rng.integers(4))
        if how < 2:
            return self.constant(value)
        name, out = f"w{len(self.a.graph.tensors)}", self.a.tensor("", shape, "FLOAT32")
        if how == 2:
            stored = self.a.tensor(name, shape, "FLOAT16", data=value)
        else:
            data = self.rng.integers(-127, 128, shape)
            stored = self.a.tensor(
                name, shape, scale=self.rng.uniform(0.001, 0.01, shape[0]), data=data, zero=0
            )
        self.a.op("DEQUANTIZE", [stored], [out], "DequantizeOptions", 5)
        self.used.append("DEQUANTIZE")
        return out

    def put(
        self,
        op: str,
        inputs: Sequence[int],
        shape: Shape,
        options: str = "",
        version: int = 1,
        **fields: object,
    ) -> int:
        """An operator whose output becomes the last activation."""
        self.at, self.shape = self.a.tensor(f"{op.lower()}_{len(self.used)}", shape, "FLOAT32"), shape
        self.a.op(op, inputs, [self.at], options, version, **fields)
        self.used.append(op)
        return self.at

    def fused(self) -> int:
        return int(self.rng.integers(4))


def _window(n: Net) -> tuple[dict[str, int], tuple[int, int], Shape]:
    """Options, kernel and height and width of the output of a window over the map."""
    size, same = n.shape[1:3], bool(n.rng.integers(2))
    kernel = [int(n.rng.integers(1, (4 if same else min(s, 4)) + 1)) for s in size]
    stride = [int(s) for s in n.rng.integers(1, 3, 2)]
    out = [-(-s // t) if same else (s - k) // t + 1 for s, k, t in zip(size, kernel, stride, strict=True)]
    options = {"padding": int(not same), "strideH": stride[0], "strideW": stride[1]}
    return options, (kernel[0], kernel[1]), tuple(out)


def conv(n: Net) -> None:
    options, kernel, out = _window(n)
    outputs, channels = int(n.rng.integers(1, 6)), n.shape[3]
    options |= {"fusedActivationFunction": n.fused(), "dilationHFactor": 1, "dilationWFactor": 1}
    weights = [n.weight(outputs, *kernel, channels), n.weight(outputs)]
    n.put("CONV_2D", [n.at, *weights], (1, *out, outputs), "Conv2DOptions", 1, **options)


def depthwise(n: Net) -> None:
    options, kernel, out = _window(n)
    each = int(n.rng.integers(1, 3))
    options |= {"fusedActivationFunction": n.fused(), "depthMultiplier": each}
    options |= {"dilationHFactor": 1, "dilationWFactor": 1}
    outputs = n.shape[3] * each
    weights = [n.weight(1, *kernel, outputs), n.weight(outputs)]
    n.put("DEPTHWISE_CONV_2D", [n.at, *weights], (1, *out, outputs), "DepthwiseConv2DOptions", 1, **options)


def pool(n: Net) -> None:
    options, kernel, out = _window(n)
    options |= {"filterHeight": kernel[0], "filterWidth": kernel[1], "fusedActivationFunction": n.fused()}
    name = str(n.rng.choice(["MAX_POOL_2D", "AVERAGE_POOL_2D"]))
    n.put(name, [n.at], (1, *out, n.shape[3]), "Pool2DOptions", 1, **options)


def resized(n: Net) -> None:
    """Twice as large: places lie in the middle of two values or on one, as exactly as synapcc has them."""
    size = [2 * s for s in n.shape[1:3]]
    given = n.constant(np.array(size), "INT32")
    options = {"alignCorners": False, "halfPixelCenters": False}
    n.put("RESIZE_BILINEAR", [n.at, given], (1, *size, n.shape[3]), "ResizeBilinearOptions", 3, **options)


def batch_norm(n: Net) -> None:
    """Scale and shift: of each channel, of each value, or one for all."""
    shape = [(), n.shape[-1:], n.shape][int(n.rng.integers(3))]
    scale, shift = n.constant(n.rng.normal(1, 0.3, shape)), n.constant(n.rng.normal(0, 0.3, shape))
    ways: list[tuple[str, Sequence[int], str]] = [
        ("MUL", (n.at, scale), "MulOptions"), ("MUL", (scale, n.at), "MulOptions"),
        ("DIV", (n.at, n.constant(2 + n.rng.random(shape))), "DivOptions"),
    ]  # fmt: skip
    op, inputs, options = ways[int(n.rng.integers(3))]
    n.put(op, inputs, n.shape, options, fusedActivationFunction=0)
    ways = [
        ("ADD", (n.at, shift), "AddOptions"), ("ADD", (shift, n.at), "AddOptions"),
        ("SUB", (n.at, shift), "SubOptions"), ("SUB", (shift, n.at), "SubOptions"),
    ]  # fmt: skip
    op, inputs, options = ways[int(n.rng.integers(4))]
    n.put(op, inputs, n.shape, options, fusedActivationFunction=n.fused())


def function(n: Net) -> None:
    name = str(n.rng.choice(["ELU", "GELU", "HARD_SWISH", "LEAKY_RELU", "LOGISTIC", "NEG", "PRELU", "TANH"]))
    inputs = [n.at]
    if name == "PRELU":
        inputs.append(n.constant(n.rng.uniform(0, 0.4, (1,) * (len(n.shape) - 2) + n.shape[-1:])))
    options, fields = {"LEAKY_RELU": ("LeakyReluOptions", {"alpha": 0.3}), "GELU": ("GeluOptions", {})}.get(
        name, ("", {})
    )
    n.put(name, inputs, n.shape, options, **fields)


def shares(n: Net) -> None:
    """A softmax over the last axis, inside the network."""
    n.put("SOFTMAX", [n.at], n.shape, "SoftmaxOptions", beta=float(n.rng.uniform(0.5, 2)))


def limits(n: Net) -> None:
    name = str(n.rng.choice(["RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1", "MINIMUM", "MAXIMUM"]))
    bound = [n.constant(0.25)] if name in ("MINIMUM", "MAXIMUM") else []
    n.put(name, [n.at, *bound], n.shape, "MaximumMinimumOptions" if bound else "")


def residual(n: Net) -> None:
    before = n.at
    function(n)
    op = str(n.rng.choice(["ADD", "SUB", "MUL"]))
    n.put(op, [n.at, before], n.shape, f"{op.title()}Options", fusedActivationFunction=n.fused())


def gate(n: Net) -> None:
    """The map and its own means over some axes, which are stretched."""
    before, shape = n.at, n.shape
    axes = [i for i in range(1, len(shape)) if n.rng.integers(2)] or [1]
    held = tuple(1 if i in axes else s for i, s in enumerate(shape))
    n.put("MEAN", [before, n.constant(np.array(axes), "INT32")], held, "ReducerOptions", 1, keepDims=True)
    op, both = str(n.rng.choice(["ADD", "SUB", "MUL"])), [before, n.at]
    order = both if n.rng.integers(2) else both[::-1]
    n.put(op, order, shape, f"{op.title()}Options", fusedActivationFunction=n.fused())


def concat(n: Net) -> None:
    before, axis = n.at, int(n.rng.integers(1, len(n.shape)))
    function(n)
    shape = tuple(2 * s if i == axis else s for i, s in enumerate(n.shape))
    axis -= len(shape) * int(n.rng.integers(2))
    options = {"axis": axis, "fusedActivationFunction": 0}
    n.put("CONCATENATION", [before, n.at], shape, "ConcatenationOptions", **options)


def reduction(n: Net) -> None:
    rank = len(n.shape)
    first = int(n.rng.integers(1, rank))
    axes = list(range(first, int(n.rng.integers(first + 1, rank + 1))))
    keep = bool(n.rng.integers(2)) or len(axes) == rank - 1
    shape = tuple(1 if i in axes else s for i, s in enumerate(n.shape) if keep or i not in axes)
    name = str(n.rng.choice(["MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"]))
    given = n.constant(np.array(axes), "INT32")
    n.put(name, [n.at, given], shape, "ReducerOptions", 1, keepDims=keep)


def pad(n: Net) -> None:
    rows = np.zeros((len(n.shape), 2), int)
    rows[1 : max(2, len(n.shape) - 1)] = n.rng.integers(0, 3, (max(1, len(n.shape) - 2), 2))
    shape = tuple(s + int(sum(r)) for s, r in zip(n.shape, rows, strict=True))
    value = [n.constant(np.array([0.5]))] if n.rng.integers(2) else []
    margins = n.constant(rows, "INT32")
    n.put("PADV2" if value else "PAD", [n.at, margins, *value], shape)


def transpose(n: Net) -> None:
    order = [0, *(1 + n.rng.permutation(len(n.shape) - 1)).tolist()]
    given = n.constant(np.array(order), "INT32")
    n.put("TRANSPOSE", [n.at, given], tuple(n.shape[i] for i in order))


ON_MAPS: tuple[Callable[[Net], None], ...] = (conv, depthwise, pool, resized)
ON_ALL: tuple[Callable[[Net], None], ...] = (
    *(batch_norm, function, shares, limits, residual, gate, concat, reduction, pad, transpose),
)


def network(rng: Rng) -> tuple[bytes, Shape, list[str]]:
    """A file, the shape of its input without the batch, and the operators in it."""
    maps = rng.integers(4)
    shape = (1, *(int(v) for v in rng.integers(2, 7, 3))) if maps else (1, int(rng.integers(2, 20)))
    n = Net(rng, shape)
    for _ in range(int(rng.integers(1, 6))):
        steps = [*ON_ALL, *(ON_MAPS * 3 if len(n.shape) == 4 else ())]
        step = steps[int(rng.integers(len(steps)))]
        if np.prod(n.shape) < MOST or step not in (concat, pad, resized):
            step(n)
    inputs, outputs = int(np.prod(n.shape)), int(rng.integers(2, 6))
    n.put("RESHAPE", [n.at, n.constant(np.array([1, inputs]), "INT32")], (1, inputs), "ReshapeOptions")
    options = {"fusedActivationFunction": 0}
    weights = [n.weight(outputs, inputs), n.weight(outputs)]
    n.put("FULLY_CONNECTED", [n.at, *weights], (1, outputs), "FullyConnectedOptions", 1, **options)
    end = int(rng.integers(3))
    if end == 1:
        n.put("SOFTMAX", [n.at], n.shape, "SoftmaxOptions", beta=1.0)
    elif end == 2:
        n.put("LOG_SOFTMAX", [n.at], n.shape, "LogSoftmaxOptions")
    return n.a.bytes([n.input], [n.at]), shape[1:], n.used
