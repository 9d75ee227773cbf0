"""How files hold integers: QLinear operators, ConvInteger, integer ends, Brevitas, weights; refusals."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper
from quant_onnx import Held, QuantNet, Rng, compiled, drawn, scores, wanted

from synapcc.gen.errors import CompileError
from synapcc.gen.importers import load_model
from synapcc.gen.ir.format import Scaled

Written = tuple[QuantNet, ModelProto, Held]


def on_integers(
    net: QuantNet, name: str, x: Held, operands: list[str], given: tuple[float, int], **attrs: Any
) -> Held:
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
    """MatMulInteger with static scales, and the scale and the bias in float behind it."""
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


def brevitas(net: QuantNet, x: str, scale: float, zero: float, bits: float, **attrs: int) -> str:
    """Brevitas' own node; a scale of its weight's shape or one."""
    operands = [x, net.const(np.float32(scale)), net.const(np.float32(zero)), net.const(np.float32(bits))]
    return net.op("Quant", operands, "onnx.brevitas", rounding_mode="ROUND", **attrs)


def clipped(net: QuantNet, x: str, scale: float, zero: int, lo: int, hi: int) -> Held:
    """What Brevitas writes for the same with ONNX's operators alone."""
    kind = np.dtype("int8" if lo < 0 else "uint8").type
    s, z = net.const(np.float32(scale)), net.const(kind(zero))
    y = net.op("QuantizeLinear", [x, s, z])
    y = net.op("Clip", [y, net.const(kind(lo)), net.const(kind(hi))])
    return Held(y, scale, zero, np.dtype(kind).name)


def quant_network(rng: Rng, own: bool) -> tuple[QuantNet, Held | None, ModelProto]:
    """Two layers with few bits, by Brevitas' own node or by QuantizeLinear, Clip and DequantizeLinear."""
    net = QuantNet(rng, (6,))
    bits, signed, narrow = int(rng.integers(3, 9)), int(rng.integers(2)), int(rng.integers(2))
    top = (1 << (bits - 1)) - 1
    lo, hi = (-top - 1 + narrow, top) if signed else (0, 2 * top + 1 - narrow)
    value = np.float32(rng.normal(0, 1, (6, 5)))
    scales = np.float32(np.abs(value).max(0) / 7)
    y, last = "x", None
    for scale in (3 / 127, 4 / hi):
        ends = (-127, 127, 0) if y == "x" else (lo, hi, 0)
        if own:
            kind = {"signed": 1, "narrow": 1} if y == "x" else {"signed": signed, "narrow": narrow}
            y = brevitas(net, y, scale, 0, 8 if y == "x" else bits, **kind)
        else:
            last = clipped(net, y, scale, ends[2], *ends[:2])
            y = net.real(last)
        if scale == 3 / 127:
            w = net.const(value, "w")
            if own:
                operands = [w, net.const(scales), net.const(np.float32(0)), net.const(np.float32(4))]
                w = net.op("Quant", operands, "onnx.brevitas", rounding_mode="ROUND", signed=1, narrow=1)
            else:
                zeros = net.const(np.zeros(5, np.int8))
                w = net.op("QuantizeLinear", [w, net.const(scales), zeros], axis=1)
                w = net.op("Clip", [w, net.const(np.int8(-7)), net.const(np.int8(7))])
                w = net.op("DequantizeLinear", [w, net.const(scales), zeros], axis=1)
            y = net.op("MatMul", [y, w])
    return net, last, net.model(y)


def test_brevitas_node_is_what_it_writes_with_onnx_s_operators(tmp_path: Path) -> None:
    for seed in range(200):
        own, plain = (quant_network(np.random.default_rng(seed), kind) for kind in (True, False))
        net, last = plain[0], plain[1]
        assert last is not None
        a, b = (compiled(model, tmp_path, net.x) for _, _, model in (own, plain))
        got, same = (scores(c, net.x) for c in (a, b))
        ends = [c.graph.tensors[c.graph.output].format for c in (a, b)]
        assert ends[0] is not None and ends[1] is not None
        assert np.array_equal(ends[0].meaning.real(got), ends[1].meaning.real(same)), seed
        assert np.abs(same - wanted(net, last)).max() <= 1, seed


def test_weights_alone_are_taken_as_what_they_stand_for(tmp_path: Path) -> None:
    for seed in range(20):
        net = drawn(np.random.default_rng(seed), (6,))
        w = net.weight(net.rng.normal(0, 1, (6, 4)), 1)
        graph = compiled(net.model(net.op("MatMul", ["x", w])), tmp_path, net.x).graph
        assert any("weights alone are quantised" in note for note in graph.notes)
        assert all(t.format is None for t in graph.tensors.values())
        assert any(
            np.array_equal(t.value, net.run(w).T) for t in graph.tensors.values() if t.value is not None
        )


def test_a_scale_that_is_no_float32_is_taken(tmp_path: Path) -> None:
    net = QuantNet(np.random.default_rng(0), (6,))
    s, z = net.const(np.float16(0.03)), net.const(np.int8(3))
    x = net.op("DequantizeLinear", [net.op("QuantizeLinear", ["x", s, z]), s, z])
    w = net.weight(net.rng.normal(0, 1, (6, 4)), 1)
    c = compiled(net.model(net.quantise(net.op("MatMul", [x, w]), (0.05, 0)).name), tmp_path, net.x)
    held = c.graph.tensors["x"].format
    assert held is not None and held.meaning == Scaled((float(np.float16(0.03)),), (3,))


def dynamic(net: QuantNet) -> str:
    net.nodes.append(helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"], name="d"))
    w, scale = net.const(np.ones((6, 3), np.int8)), net.const(np.float32(0.1))
    return net.op("MatMulIntegerToFloat", ["q", w, "s", scale], domain="com.microsoft")


def wide(net: QuantNet) -> str:
    s, z = net.const(np.float32(0.01)), net.const(np.int16(0))
    x = net.op("DequantizeLinear", [net.op("QuantizeLinear", ["x", s, z]), s, z])
    return net.op("MatMul", [x, net.const(np.ones((6, 3), np.float32))])


def scales(net: QuantNet) -> str:
    s, z = net.const(np.full(6, 0.01, np.float32)), net.const(np.zeros(6, np.int8))
    return net.op("DequantizeLinear", [net.op("QuantizeLinear", ["x", s, z], axis=1), s, z], axis=1)


def asymmetric(net: QuantNet) -> str:
    whole = net.const(np.arange(18, dtype=np.uint8).reshape(6, 3) * 15)
    w = net.op("DequantizeLinear", [whole, net.const(np.float32(0.01)), net.const(np.uint8(20))])
    return net.real(net.quantise(net.op("MatMul", [net.real(net.start()), w])))


def float_weight(net: QuantNet) -> str:
    w = net.const(np.ones((6, 3), np.float32))
    return net.real(net.quantise(net.op("MatMul", [net.real(net.start()), w])))


def float_between(net: QuantNet) -> str:
    y = net.op("Tanh", [net.op("MatMul", [net.real(net.start()), net.weight(np.eye(6), 1)])])
    return net.real(net.quantise(y))


def float_layer_first(net: QuantNet) -> str:
    y = net.op("MatMul", ["x", net.weight(np.eye(6), 1)])
    return net.real(net.quantise(y))


def float_behind(net: QuantNet) -> str:
    y = net.op("MatMul", [net.real(net.start()), net.weight(np.eye(6), 1)])
    return net.op("MatMul", [net.op("Tanh", [y]), net.weight(np.eye(6), 1)])


def on_raw_integers(net: QuantNet) -> str:
    return net.op("Cast", [net.op("Cast", [net.start().name], to=TensorProto.FLOAT)], to=TensorProto.FLOAT)


def another_scale(net: QuantNet) -> str:
    x = net.start()
    return net.op("DequantizeLinear", [x.name, *net.scalars(x.scale * 2, x.zero)])


def block(net: QuantNet) -> str:
    w = net.const(np.ones((6, 4), np.int8))
    s = net.const(np.ones((3, 4), np.float32))
    w = net.op("DequantizeLinear", [w, s], axis=0, block_size=2)
    return net.real(net.quantise(net.op("MatMul", [net.real(net.start()), w])))


def many_bits(net: QuantNet) -> str:
    return brevitas(net, "x", 0.01, 0, 16, signed=1, narrow=0)


def large_bias(net: QuantNet) -> str:
    y = net.op("MatMul", [net.real(net.start()), net.weight(np.eye(6) * 1e-3, 1)])
    y = net.op("Add", [y, net.const(np.full(6, 1e9, np.float32))])
    return net.real(net.quantise(y, (0.1, 0)))


def read_twice(net: QuantNet) -> str:
    """A layer is quantised behind a Relu, and read by a Sigmoid as well."""
    y = net.op("MatMul", [net.real(net.start()), net.weight(np.eye(6), 1)])
    a = net.real(net.quantise(net.op("Relu", [y])))
    b = net.real(net.quantise(net.op("Sigmoid", [y])))
    return net.real(net.quantise(net.op("Add", [a, b])))


def in_two_ways(net: QuantNet) -> str:
    a, b = (net.real(net.quantise("x", (scale, 0))) for scale in (0.01, 0.1))
    return net.real(net.quantise(net.op("Add", [a, b])))


def input_in_float(net: QuantNet) -> str:
    a = net.real(net.start())
    return net.real(net.quantise(net.op("Add", [a, net.op("Tanh", ["x"])])))


def bad_scale(net: QuantNet) -> str:
    s, z = net.const(np.float32(-1)), net.const(np.int8(0))
    return net.op("DequantizeLinear", [net.op("QuantizeLinear", ["x", s, z]), s, z])


REFUSED: Mapping[str, tuple[Callable[[QuantNet], str], str]] = {
    "another scale": (another_scale, r"with another scale than they were written"),
    "asymmetric weight": (asymmetric, r"weight less its zero point is -20 \.\. 235, beyond int8"),
    "bias": (large_bias, r"its bias is up to .* beyond int32"),
    "bits": (many_bits, r"has 16 bits"),
    "blocks": (block, r"has a scale for each block"),
    "by channel": (scales, r"gives an activation 6 scales"),
    "dynamic": (dynamic, r"MatMulIntegerToFloat .*takes its scale from each input anew"),
    "float between": (float_between, r'Tanh ".*its output is quantised, and an input of it is not'),
    "float behind": (float_behind, r"in float32"),
    "float first": (float_layer_first, r"its output is quantised, and an input of it is not"),
    "float weight": (float_weight, r"its input is quantised, its weight float32"),
    "in two ways": (in_two_ways, r'"x" is quantised in another way as well'),
    "input in float": (input_in_float, r'(reads|is) .*"?x"? .*float32'),
    "int16": (wide, r"holds an activation in int16"),
    "raw integers": (on_raw_integers, r'Cast ".*works on int8'),
    "read twice": (read_twice, r"float32"),
    "scale": (bad_scale, r"scale that is no positive number"),
}


FREED = {
    *("asymmetric weight", "bias", "float between", "float behind", "float first", "float weight"),
    *("in two ways", "input in float", "int16", "read twice"),
}
"""Those that are networks of real numbers all the same."""


@pytest.mark.parametrize("kind", REFUSED)
def test_a_refusal_is_one_line_that_names_the_node(kind: str, tmp_path: Path) -> None:
    make, said = REFUSED[kind]
    net = QuantNet(np.random.default_rng(0), (6,))
    path = tmp_path / "net.onnx"
    path.write_bytes(net.model(make(net)).SerializeToString())
    if kind in FREED:
        notes = load_model(path).notes
        what = re.escape("; so the file's integers are taken as the real numbers")
        assert [n for n in notes if re.search(said.split(";")[0] + ".*" + what, n)], notes
        return
    with pytest.raises(CompileError, match=said) as found:
        load_model(path)
    assert "\n" not in str(found.value) and ";" in str(found.value)


def torch_layer(net: QuantNet, x: Held, w: NDArray[Any], b: NDArray[Any], op: str, **attrs: Any) -> str:
    """As torch.ao's quantised modules are exported: constants are nodes, the bias is quantised by nodes."""

    def const(value: NDArray[Any]) -> str:
        name = net.new("constant")
        net.nodes.append(helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value)))
        return name

    whole, scale, zero = net.numbers(w, 0)
    steps, axis = const(scale), {"axis": 0} if net.by_channel else {}
    weight = net.op("DequantizeLinear", [const(whole), steps, const(zero)], **axis)
    bias_scale = net.op("Mul", [steps, const(np.float32(x.scale))])
    shape = net.op("Shape", [bias_scale])
    zeros = net.op("ConstantOfShape", [shape], value=numpy_helper.from_array(np.zeros(1, np.int32)))
    div = net.op("Div", [const(b.astype(np.float32)), bias_scale])
    bias = net.op(
        "DequantizeLinear", [net.op("Cast", [div], to=TensorProto.INT32), bias_scale, zeros], **axis
    )
    return net.op(op, [net.real(x), weight, bias], **attrs)


def test_networks_as_torch_writes_them(tmp_path: Path) -> None:
    """A module of torch.ao, and what pt2e ends with: a transposed weight, scores in float."""
    for seed in range(60):
        rng = np.random.default_rng(seed)
        net = drawn(rng, (2, 5, 5), ties=False, uint8_weights=False)
        x = net.quantise("x")
        w, b = rng.normal(0, 1, (4, 2, 3, 3)), rng.normal(0, 1, 4)
        y = net.quantise(net.op("Relu", [torch_layer(net, x, w, b, "Conv", kernel_shape=[3, 3])]))
        flat = net.op("Reshape", [net.real(y), net.const(np.array([-1, 36]))])
        whole = net.weight(rng.normal(0, 1, (3, 36)), 0)
        out = net.op("MatMul", [flat, net.op("Transpose", [whole], perm=[1, 0])])
        out = net.op("Add", [out, net.const(np.float32(rng.normal(0, 1, 3)))])
        c = compiled(net.model(out), tmp_path, net.x)
        logits = c.plan[c.plan.logits]
        assert c.graph.tensors[c.graph.output].format is None and logits.dtype == "int16"
        got, want = logits.meaning.real(scores(c, net.x)), net.run(out)
        unit = y.scale * float(np.max(net.steps(whole))) * 127
        assert np.abs(got - want).max() < 2 * unit, seed
        assert np.median(np.abs(got - want)) <= logits.meaning.step


def test_fake_quantisation_with_a_reduced_range(tmp_path: Path) -> None:
    """0 .. 127 of uint8, by a Clip between QuantizeLinear and DequantizeLinear."""
    for seed in range(40):
        net = QuantNet(np.random.default_rng(seed), (6,), "uint8")
        x = clipped(net, "x", 0.03, 64, 0, 127)
        y = net.op("MatMul", [net.real(x), net.weight(net.rng.normal(0, 1, (6, 4)), 1)])
        last = clipped(net, y, 0.08, 60, 0, 127)
        got = scores(compiled(net.model(net.real(last)), tmp_path, net.x), net.x)
        assert np.abs(got - wanted(net, last)).max() <= 1 and got.max() <= -1


def test_a_function_in_float_may_give_the_scores(tmp_path: Path) -> None:
    for op in ("Tanh", "Elu", "Sigmoid"):
        net = QuantNet(np.random.default_rng(3), (6,))
        w = net.weight(net.rng.normal(0, 1, (6, 3)), 1)
        y = net.quantise(net.op("MatMul", [net.real(net.start()), w]))
        out = net.op(op, [net.real(y)])
        c = compiled(net.model(out), tmp_path, net.x)
        logits = c.plan[c.plan.logits]
        if op == "Sigmoid":  # of several scores it changes no class: left out
            assert c.graph.head == "sigmoid" and np.array_equal(scores(c, net.x), wanted(net, y))
            continue
        far = np.abs(logits.meaning.real(scores(c, net.x)) - net.run(out))
        assert far.max() <= y.scale * 1.1 and np.median(far) <= logits.meaning.step


def test_an_input_may_be_scaled_in_float_before_it_is_quantised(tmp_path: Path) -> None:
    """The same for all values: one unit where the offset is no whole step."""
    other = of = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        net = drawn(rng, (2, 4, 4))
        y = net.op("Sub", ["x", net.const(np.float32(rng.uniform(-0.4, 0.4)))])
        x = net.quantise(net.op("Div", [y, net.const(np.float32(rng.uniform(0.2, 3)))]))
        held = net.quantise(net.op("LeakyRelu", [net.real(x)], alpha=0.3), (x.scale, x.zero))
        got = scores(compiled(net.model(net.real(held)), tmp_path, net.x), net.x)
        far = np.abs(got - wanted(net, held))
        assert far.max() <= 1, seed
        other, of = other + np.count_nonzero(far), of + far.size
    assert other < of / 2


@pytest.mark.parametrize("op", ["Add", "Mul", "Sub"])
@pytest.mark.parametrize(
    "stored", [(255, 0, "uint8"), (127, -128, "int8"), (0, 255, "uint8"), (3, 0, "int8")]
)
def test_a_constant_may_have_any_zero_point(op: str, stored: tuple[int, int, str], tmp_path: Path) -> None:
    whole, zero, dtype = stored
    for seed in range(10):
        net = drawn(np.random.default_rng(seed), (6,), ties=False)
        operands = [net.const(np.dtype(dtype).type(whole)), *net.scalars(0.007, zero, dtype)]
        y = net.quantise(net.op(op, [net.real(net.start()), net.op("DequantizeLinear", operands)]))
        far = np.abs(scores(compiled(net.model(net.real(y)), tmp_path, net.x), net.x) - wanted(net, y))
        assert far.max() <= 1 and np.mean(far) < 0.02, seed
