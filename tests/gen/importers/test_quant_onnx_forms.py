"""The forms in which files hold integers: QLinear operators, ConvInteger, integer ends, Brevitas, weights alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper
from quant_onnx import Held, QuantNet, Rng, compiled, drawn, scores, wanted

from synapcc.gen.errors import CompileError
from synapcc.gen.importers import load_model
from synapcc.gen.ir.format import Scaled

Written = tuple[QuantNet, ModelProto, Held]


def on_integers(net: QuantNet, name: str, x: Held, operands: list[str], given: tuple[float, int], **attrs: Any) -> Held:
    """A QLinear operator whose other operands are `operands`, and the end that is given."""
    scale, zero = net.scalars(*given)
    domain = "" if name in ("QLinearConv", "QLinearMatMul") else "com.microsoft"
    first = [x.name, *net.scalars(x.scale, x.zero)]
    at = {"QLinearConv": 6, "QLinearMatMul": 6}.get(name, len(first) + len(operands))
    rest = [*first, *operands]
    y = net.op(name, [*rest[:at], scale, zero, *rest[at:]], domain, **attrs)
    return Held(y, *given, net.dtype)


def numbers(net: QuantNet, value: NDArray[Any], axis: int) -> tuple[list[str], NDArray[Any]]:
    whole, scale, zero = net.numbers(value, axis)
    return [net.const(whole, "w"), net.const(scale, "s"), net.const(zero, "z")], scale


def qconv(net: QuantNet) -> Held:
    x, rng, (c, *size) = net.start(), net.rng, net.shape
    outputs = int(rng.integers(1, 6))
    kernel = [int(rng.integers(1, 4)) for _ in size]
    value = rng.normal(0, 1, (outputs, c, *kernel))
    operands, scale = numbers(net, value, 0)
    if rng.integers(2):
        steps = np.float32(x.scale) * scale
        operands.append(net.const(np.rint(rng.normal(0, 1, outputs) / steps).astype(np.int32)))
    end = net.pair(rng.normal(0, np.sqrt(c * np.prod(kernel)), 500))
    return on_integers(net, "QLinearConv", x, operands, end, kernel_shape=kernel)


def qmatmul(net: QuantNet) -> Held:
    x, n = net.start(), int(net.rng.integers(2, 9))
    operands, _ = numbers(net, net.rng.normal(0, 1, (net.shape[0], n)), 1)
    end = net.pair(net.rng.normal(0, np.sqrt(net.shape[0]), 500))
    return on_integers(net, "QLinearMatMul", x, operands, end)


def integer_product(net: QuantNet) -> Held:
    """MatMulInteger, the scale and the bias in float behind it, as onnxruntime writes it with static scales."""
    x, n = net.start(), int(net.rng.integers(2, 9))
    net.by_channel = False
    (whole, scale, zero), _ = numbers(net, net.rng.normal(0, 1, (net.shape[0], n)), 1)
    y = net.op("MatMulInteger", [x.name, whole, net.const(np.dtype(net.dtype).type(x.zero)), zero])
    y = net.op("Cast", [y], to=TensorProto.FLOAT)
    y = net.op("Mul", [y, net.op("Mul", [net.const(np.float32(x.scale)), scale])])
    y = net.op("Add", [y, net.const(net.rng.normal(0, 1, n).astype(np.float32))])
    return net.quantise(net.op("Relu", [y]))


def integer_conv(net: QuantNet) -> Held:
    x, n = net.start(), int(net.rng.integers(1, 5))
    net.by_channel = False
    (whole, scale, zero), _ = numbers(net, net.rng.normal(0, 1, (n, net.shape[0], 3, 2)), 0)
    y = net.op("ConvInteger", [x.name, whole, net.const(np.dtype(net.dtype).type(x.zero)), zero])
    y = net.op("Cast", [y], to=TensorProto.FLOAT)
    return net.quantise(net.op("Mul", [y, net.op("Mul", [net.const(np.float32(x.scale)), scale])]))


def vector(rng: Rng) -> tuple[int, ...]:
    return (int(rng.integers(2, 20)),)


def sizes(rng: Rng) -> tuple[int, ...]:
    return int(rng.integers(1, 5)), int(rng.integers(3, 8)), int(rng.integers(3, 8))


FORMS: Mapping[str, tuple[Callable[[QuantNet], Held], Callable[[Rng], tuple[int, ...]]]] = {
    "ConvInteger": (integer_conv, sizes),
    "MatMulInteger": (integer_product, vector),
    "QLinearConv": (qconv, sizes),
    "QLinearMatMul": (qmatmul, vector),
}


@pytest.mark.parametrize("kind", FORMS)
def test_operators_on_integers_are_within_one_unit(kind: str, tmp_path: Path) -> None:
    make, shape = FORMS[kind]
    other = of = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        net = drawn(rng, shape(rng))
        y = make(net)
        far = np.abs(scores(compiled(net.model(net.real(y)), tmp_path, net.x), net.x) - wanted(net, y))
        assert far.max() <= 1, (seed, net.ties)
        other, of = other + np.count_nonzero(far), of + far.size
    assert other < of / 100  # ties


def test_an_output_may_be_integers_and_so_may_the_input(tmp_path: Path) -> None:
    for seed in range(40):
        rng = np.random.default_rng(seed)
        net = drawn(rng, vector(rng), ties=False)
        y = qmatmul(net)
        want, model = wanted(net, y), net.model(y.name)
        got = scores(compiled(model, tmp_path, net.x), net.x)
        assert np.abs(got - want).max() <= 1
        first = model.graph.node[0]
        kind = TensorProto.UINT8 if net.dtype == "uint8" else TensorProto.INT8
        model.graph.node.remove(first)
        model.graph.input[0].CopyFrom(helper.make_tensor_value_info(first.output[0], kind, ["N", *net.shape]))
        c = compiled(model, tmp_path, net.x)
        assert np.array_equal(scores(c, net.x), got)
