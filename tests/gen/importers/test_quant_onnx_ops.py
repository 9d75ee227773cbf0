"""Operators of quantised ONNX files against ONNX's reference evaluator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from counts import counted
from numpy.typing import NDArray
from onnx import numpy_helper
from quant_onnx import Held, QuantNet, Rng, beside_ties, compiled, drawn, scores, wanted

Make = Callable[[QuantNet], Held]
Shape = Callable[[Rng], tuple[int, ...]]


def sizes(rng: Rng) -> tuple[int, int, int]:
    """Channels, height, width."""
    return int(rng.integers(1, 5)), int(rng.integers(3, 8)), int(rng.integers(3, 8))


def vector(rng: Rng) -> tuple[int]:
    return (int(rng.integers(2, 20)),)


def gemm(net: QuantNet) -> Held:
    x, n = net.start(), int(net.rng.integers(2, 9))
    value = net.rng.normal(0, 1, (n, net.shape[0]))
    turned = bool(net.rng.integers(2))
    w = net.weight(value if turned else value.T, 0 if turned else 1)
    operands = [net.real(x), w]
    if net.rng.integers(3):
        operands.append(net.bias(x, net.rng.normal(0, 1, n), net.steps(w)))
    return net.quantise(net.fused(net.op("Gemm", operands, transB=int(turned))))


def matmul(net: QuantNet) -> Held:
    x, n = net.start(), int(net.rng.integers(2, 9))
    w = net.weight(net.rng.normal(0, 1, (net.shape[0], n)), 1)
    y = net.op("MatMul", [net.real(x), w])
    bias = net.rng.normal(0, 1, n)
    match int(net.rng.integers(3)):
        case 0:
            y = net.op("Add", [y, net.const(bias.astype(np.float32))])
        case 1:
            y = net.op("Add", [net.bias(x, bias, net.steps(w)), y])
    return net.quantise(net.fused(y))


def conv(net: QuantNet) -> Held:
    x, rng, (c, *size) = net.start(), net.rng, net.shape
    groups = c if not rng.integers(3) else 1
    outputs = groups * int(rng.integers(1, 4)) if groups > 1 else int(rng.integers(1, 6))
    kernel = [int(rng.integers(1, min(4, n) + 1)) for n in size]
    pads = [int(rng.integers(0, k)) for k in (*kernel, *kernel)]
    w = net.weight(rng.normal(0, 1, (outputs, c // groups, *kernel)), 0)
    operands = [net.real(x), w]
    if rng.integers(3):
        operands.append(net.bias(x, rng.normal(0, 1, outputs), net.steps(w)))
    strides = rng.integers(1, 3, len(size)).tolist()
    y = net.op("Conv", operands, kernel_shape=kernel, pads=pads, strides=strides, group=groups)
    return net.quantise(net.fused(y))


def half(net: QuantNet, make: Callable[[str], str], given: tuple[float, int] | None = None) -> Held:
    """One operator on the input."""
    return net.quantise(make(net.real(net.start())), given)


def pool(op: str, padded: bool = True, **fixed: int) -> Make:
    def make(net: QuantNet) -> Held:
        _, *size = net.shape
        kernel = [int(net.rng.integers(1, min(4, n) + 1)) for n in size]
        pads = [int(net.rng.integers(0, k)) for k in kernel] * 2  # the evaluator takes no others
        pads = pads if padded and net.rng.integers(2) else [0] * 4
        strides = net.rng.integers(1, 3, 2).tolist()
        attrs = {"kernel_shape": kernel, "strides": strides, "pads": pads, **fixed}
        return half(net, lambda x: net.op(op, [x], **attrs))

    return make


def single(op: str, **attrs: float) -> Make:
    return lambda net: half(net, lambda x: net.op(op, [x], **attrs))


def steered(op: str, *constants: NDArray[Any], **attrs: int) -> Make:
    return lambda net: half(net, lambda x: net.op(op, [x, *(net.const(c) for c in constants)], **attrs))


def branches(net: QuantNet) -> tuple[Held, Held]:
    """The input, and a function of it."""
    x = net.start()
    return x, net.quantise(net.op("Tanh", [net.real(x)]))


def pair(op: str) -> Make:
    def make(net: QuantNet) -> Held:
        operands = [net.real(v) for v in branches(net)]
        if net.rng.integers(2):
            operands.reverse()
        return net.quantise(net.fused(net.op(op, operands)))

    return make


def with_constant(op: str) -> Make:
    """A constant for each channel or each value, as integers with a scale; a number in float."""

    def make(net: QuantNet) -> Held:
        x = net.real(net.start())
        shape = [net.shape, (net.shape[0], 1, 1), ()][int(net.rng.integers(3))]
        value = net.rng.choice([-1, 1], shape) * net.rng.uniform(0.3, 2, shape)
        net.by_channel = False
        c = (
            net.weight(value, 0)
            if shape == net.shape or (shape and net.rng.integers(2))
            else net.const(np.float32(value))
        )
        operands = [x, c] if net.rng.integers(2) or op == "Div" else [c, x]
        return net.quantise(net.op(op, operands))

    return make


def normalised(net: QuantNet) -> Held:
    """A batch normalisation that stands alone."""
    n, rng = net.shape[0], net.rng
    values = (rng.normal(0, 1, n), rng.normal(0, 1, n), rng.normal(0, 1, n), rng.uniform(0.3, 2, n))
    constants = [net.const(np.float32(v)) for v in values]
    return half(net, lambda x: net.op("BatchNormalization", [x, *constants]))


def joined(net: QuantNet) -> Held:
    parts = [net.real(v) for v in branches(net)]
    return net.quantise(net.op("Concat", parts, axis=1))


def prelu(net: QuantNet) -> Held:
    x = net.real(net.start())
    net.by_channel = False
    slope = net.weight(np.abs(net.rng.normal(0, 0.2, (net.shape[0], 1, 1))), 0)
    return net.quantise(net.op("PRelu", [x, slope]))


def gated(op: str) -> Make:
    """x times a function of itself, with no integers between."""

    def make(net: QuantNet) -> Held:
        x = net.real(net.start())
        return net.quantise(net.op("Mul", [x, net.op(op, [x])]))

    return make


def moved(net: QuantNet) -> Held:
    """Views, a transpose and a pool without integers between, and other integers behind them."""
    x = net.real(net.start())
    c, h, w = net.shape
    y = net.op("Transpose", [net.op("Relu", [x])], perm=[0, 2, 3, 1])
    y = net.op("Reshape", [y, net.const(np.array([-1, h * w, c]))])
    return net.quantise(y)


def softmax(net: QuantNet) -> Held:
    return inside(net, half(net, lambda x: net.op("Softmax", [x], axis=-1)))


def inside(net: QuantNet, y: Held) -> Held:
    """Inside a network: something reads it that changes nothing of what is not negative."""
    last = net.quantise(net.op("LeakyRelu", [net.real(y)], alpha=0.5), (y.scale, y.zero))
    return Held(last.name, last.scale, last.zero, last.dtype, y.real)


LAYERS: Mapping[str, tuple[Make, Shape]] = {
    "Add": (pair("Add"), sizes),
    "Add constant": (with_constant("Add"), sizes),
    "AveragePool": (pool("AveragePool", padded=False), sizes),
    "AveragePool counting": (pool("AveragePool", count_include_pad=1), sizes),
    "BatchNormalization": (normalised, sizes),
    "Conv": (conv, sizes),
    "Conv1d": (conv, lambda rng: sizes(rng)[:2]),
    "Gemm": (gemm, vector),
    "GlobalAveragePool": (single("GlobalAveragePool"), sizes),
    "MatMul": (matmul, vector),
    "Mul": (pair("Mul"), sizes),
    "Mul constant": (with_constant("Mul"), sizes),
    "ReduceMean": (steered("ReduceMean", np.array([2, 3]), keepdims=0), sizes),
    "Sub": (pair("Sub"), sizes),
    "Sub constant": (with_constant("Sub"), sizes),
}
ROUNDED_TWICE: Mapping[str, tuple[Make, Shape]] = {
    "Div": (with_constant("Div"), sizes),
    "PRelu": (prelu, sizes),
    "Softmax": (softmax, vector),
}
EXACT: Mapping[str, tuple[Make, Shape]] = {
    "Concat": (joined, sizes),
    "Elu": (single("Elu", alpha=0.7), vector),
    "HardSigmoid": (single("HardSigmoid"), vector),
    "HardSwish": (single("HardSwish"), vector),
    "LeakyRelu": (single("LeakyRelu", alpha=0.1), vector),
    "MaxPool": (pool("MaxPool", padded=False), sizes),
    "Pad": (steered("Pad", np.array([0, 0, 1, 2, 0, 0, 0, 1])), sizes),
    "Relu": (single("Relu"), vector),
    "SiLU": (gated("Sigmoid"), vector),
    "Sigmoid": (lambda net: inside(net, single("Sigmoid")(net)), vector),
    "Tanh": (single("Tanh"), vector),
    "Views": (moved, sizes),
}
"""What reads 256 integers, or moves them: as the evaluator, ties to even, but for the last bit of exp."""


@counted(40, 200)
@pytest.mark.parametrize("kind", LAYERS)
def test_sums_are_within_one_unit_and_the_same_where_nothing_ties(
    kind: str, count: int, tmp_path: Path
) -> None:
    make, shape = LAYERS[kind]
    ties = 0
    for seed in range(count):
        rng = np.random.default_rng(seed)
        net = drawn(rng, shape(rng))
        y = make(net)
        want, tie = wanted(net, y), beside_ties(net, y)
        got = scores(compiled(net.model(net.real(y)), tmp_path, net.x), net.x)
        far = np.abs(got - want)
        assert far.max() <= 1, (seed, net.ties, far.max())
        assert not np.any(far[~tie]), (seed, net.ties, np.argwhere((far > 0) & ~tie)[:3])
        ties += np.count_nonzero(tie)
    assert ties


@counted(60, 200)
@pytest.mark.parametrize("kind", EXACT)
def test_what_is_looked_up_or_moved_is_the_same(kind: str, count: int, tmp_path: Path) -> None:
    make, shape = EXACT[kind]
    for seed in range(count):
        rng = np.random.default_rng(seed)
        net = drawn(rng, shape(rng))
        y = make(net)
        got = scores(compiled(net.model(net.real(y)), tmp_path, net.x), net.x)
        assert np.array_equal(got, wanted(net, y)), (seed, net.ties)


@pytest.mark.parametrize("kind", ROUNDED_TWICE)
def test_what_is_rounded_twice_is_within_one_unit(kind: str, tmp_path: Path) -> None:
    make, shape = ROUNDED_TWICE[kind]
    for seed in range(200):
        rng = np.random.default_rng(seed)
        net = drawn(rng, shape(rng))
        y = make(net)
        got = scores(compiled(net.model(net.real(y)), tmp_path, net.x), net.x)
        assert np.abs(got - wanted(net, y)).max() <= 1, (seed, net.ties)


def test_windows_of_several_sizes_are_rounded_to_their_input_s_steps_first(tmp_path: Path) -> None:
    for seed in range(200):
        rng = np.random.default_rng(seed)
        net = drawn(rng, sizes(rng))
        y = pool("AveragePool")(net)
        x = next(n for n in net.nodes if n.op_type == "QuantizeLinear")
        steps = next(numpy_helper.to_array(c) for c in net.constants if c.name == x.input[1])
        got = scores(compiled(net.model(net.real(y)), tmp_path, net.x), net.x)
        assert np.abs(got - wanted(net, y)).max() <= 1 + float(steps) / y.scale / 2, seed
