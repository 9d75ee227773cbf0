"""Operators of onnxruntime's own, and files that its tools have optimised or quantised."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx_models as om
import onnxruntime
import pytest
from float_graph import run_graph
from onnx import ModelProto, helper
from onnx_nets import Net, pick
from onnxruntime.quantization import QuantType, quantize_dynamic

from synapcc.gen.compile import compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.importers import load_model
from synapcc.gen.importers.onnx.runtime import RUNTIME
from synapcc.gen.spec import INFERENCE_ONLY, RuleSpec

SHAPE = (1, 4, 6)
ACTIVATIONS = ("Relu", "Tanh", "Sigmoid", "LeakyRelu", "HardSigmoid", "Clip", "")
NUMBERS = {"LeakyRelu": (0.25,), "HardSigmoid": (0.25, 0.375), "Clip": (-0.25, 0.5)}


def ours(net: Net, op: str, *operands: str, **attrs: object) -> str:
    net.join(op, *operands, domain="com.microsoft", **attrs)
    return net.last


def conv(net: Net) -> None:
    act = pick(net.g, *ACTIVATIONS)
    x, w, b = net.last, net.weight(4, 4, 3), net.weight(4)
    end = {"activation": act, **({"activation_params": list(NUMBERS[act])} if act in NUMBERS else {})}
    more = [x] if net.g.random() < 0.5 else []
    ours(net, "FusedConv", x, w, b, *more, pads=[1, 1], **(end if act else {}))


def gemm(net: Net) -> None:
    act = pick(net.g, *ACTIVATIONS[:5])
    numbers = dict(zip(("activation_alpha", "activation_beta"), NUMBERS.get(act, ()), strict=False))
    net.put("Flatten")
    ours(net, "FusedGemm", net.last, net.weight(5, 24), net.weight(5), transB=1, activation=act, **numbers)


def matmul(net: Net) -> None:
    x, g = net.last, net.g
    first, second = (int(n) for n in g.integers(2, size=2))
    inner = SHAPE[1] if first else SHAPE[2]
    if g.random() < 0.5:
        other = net.weight(*((3, inner) if second else (inner, 3)))
    else:
        other = net.join("MatMul", net.weight(inner, 4), x) if not second else x
        second, first = (0, first) if other != x else (1 - first, first)
        second = second if other != x else 1 - first
    ours(net, "FusedMatMul", x, other, transA=first, transB=second, alpha=0.5)


def gelu(net: Net) -> None:
    op = pick(net.g, "Gelu", "BiasGelu", "FastGelu", "QuickGelu")
    net.put("Mul", net.value(np.float32(4)))  # to where an approximation differs
    bias = [net.weight(6)] if op == "BiasGelu" or (op == "FastGelu" and net.g.random() < 0.5) else []
    ours(net, op, net.last, *bias, **({"alpha": 1.5} if op == "QuickGelu" else {}))


def norm_of_sum(net: Net) -> None:
    x = net.last
    other, gamma = net.join("Tanh", x), net.weight(6)
    if net.g.random() < 0.5:  # so little that a wrong epsilon shows
        x, other = (net.join("Mul", part, net.value(np.float32(1e-2))) for part in (x, other))
    epsilon = {} if net.g.random() < 0.5 else {"epsilon": 1e-3}
    if net.g.random() < 0.5:
        more = pick(net.g, [], [net.weight(6)], [net.weight(6), net.weight(6)])
        ours(net, "SkipLayerNormalization", x, other, gamma, *more, **epsilon)
    else:
        more = pick(net.g, [], [net.weight(6)])
        ours(net, "SkipSimplifiedLayerNormalization", x, other, gamma, *more, **epsilon)


def attention(net: Net) -> None:
    x = net.last
    parts = [net.join("MatMul", x, net.weight(6, 6)) for _ in range(3)]
    bias = [net.weight(18)] if net.g.random() < 0.5 else []
    scale = pick(net.g, {}, {"scale": 0.0}, {"scale": 0.25})
    ours(net, "MultiHeadAttention", *parts, *bias, num_heads=2, **scale)


OPERATORS: Mapping[str, Callable[[Net], None]] = {
    f.__name__: f for f in (conv, gemm, matmul, gelu, norm_of_sum, attention)
}


def written(net: Net) -> ModelProto:
    proto = net.proto()
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return proto


def agrees(path: Path, tolerance: float = 2e-4) -> None:
    """The float network is what onnxruntime computes."""
    session = onnxruntime.InferenceSession(path)
    graph = load_model(path)
    for x in om.rng(3).standard_normal((3, *SHAPE[1:])).astype(np.float32):
        want = np.asarray(session.run(None, {"x": x[None]})[0]).reshape(-1)
        np.testing.assert_allclose(run_graph(graph, {"x": x}), want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_of_its_own(name: str, seed: int, tmp_path: Path) -> None:
    net = Net(om.rng(seed), SHAPE, 17)
    net.put("Tanh")
    OPERATORS[name](net)
    net.put("Tanh")
    agrees(om.save(written(net), tmp_path))


def test_every_one_is_tested() -> None:
    made = set[str]()
    for build in OPERATORS.values():
        for seed in range(20):
            net = Net(om.rng(seed), SHAPE, 17)
            build(net)
            made |= {n.op_type for n in net.nodes if n.domain}
    assert made == {op for _, op in RUNTIME}


@pytest.mark.parametrize("beta", [0.5, 0.75])
@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("size", [1, 3, 7])
def test_a_norm_over_channels_beside(size: int, rows: int, beta: float, tmp_path: Path) -> None:
    """LRN, which onnx's own reference computes for as many channels as there are samples."""
    net = Net(om.rng(size), SHAPE, 17)
    net.put("Reshape", net.value(np.array([rows, 4, 3, 2 // rows])))
    net.put("LRN", size=size, alpha=0.5, beta=beta, bias=1.5)
    agrees(om.save(net.proto(), tmp_path))


def small(seed: int) -> ModelProto:
    """A convolution, a norm, a dense layer on rows and one behind all."""
    net = Net(om.rng(seed), SHAPE, 17)
    net.conv(4, 6, 3, pads=[1, 1])
    net.put("Relu")
    net.put("Transpose", perm=[0, 2, 1])
    x = net.put("MatMul", net.weight(6, 6))
    net.join("Add", x, net.join("Tanh", x))
    net.put("LayerNormalization", net.weight(6), net.weight(6), axis=-1)
    net.put("Flatten")
    net.head(36)
    return net.proto()


@pytest.mark.parametrize("seed", range(24))
def test_a_pool_of_repeated_edges(seed: int, tmp_path: Path) -> None:
    """The edges are the pool's own padding where that cannot show, else they are repeated."""
    g = om.rng(seed)
    rank = int(g.integers(1, 3))
    net = Net(g, [1, 2, *(int(n) for n in g.integers(5, 8, rank))])
    kernel, own = [[int(n) for n in g.integers(least, 4, rank)] for least in (1, 0)]
    own = [min(p, k - 1) for p, k in zip(own, kernel, strict=True)]
    ends = [[0, 0], [int(g.integers(8) == 0)] * 2, *g.integers(0, 4, (rank, 2)).tolist()]
    net.put("Pad", net.value(np.array(ends).T.reshape(-1)), mode="edge")
    attrs = {"dilations": [2] * rank} if g.random() < 0.3 else {}
    attrs |= {"strides": [int(n) for n in g.integers(1, 3, rank)], "pads": own * 2}
    net.put("MaxPool", kernel_shape=kernel, **attrs)
    net.put("Tanh")
    path = om.save(net.proto(), tmp_path)
    x, graph = g.standard_normal(net.shape).astype(np.float32), load_model(path)
    (want,) = onnxruntime.InferenceSession(path).run(None, {"x": x})  # onnx's own reads beside the map
    np.testing.assert_allclose(run_graph(graph, {"x": x[0]}), np.asarray(want).reshape(-1), rtol=1e-5)
    found = [n.op for n in graph.nodes]
    hidden = all(max(n) + p < k for n, p, k in zip(ends[2:], own, kernel, strict=True))
    if any(map(any, ends)):
        assert ("gather" not in found) == (hidden and not ends[1][0] and "dilations" not in attrs)


@pytest.mark.parametrize("act", NUMBERS)
@pytest.mark.parametrize("op", ["FusedConv", "FusedGemm"])
def test_an_activation_without_its_numbers_is_refused(op: str, act: str, tmp_path: Path) -> None:
    """All but the last of them, all but the first: the second is not taken for the first."""
    for given in (NUMBERS[act][:-1], NUMBERS[act][1:]):
        net = Net(om.rng(0), SHAPE, 17)
        if op == "FusedConv":
            ours(net, op, "x", net.weight(4, 4, 1), activation=act, activation_params=list(given) or None)
        else:
            names = ("activation_beta",) if given == NUMBERS[act][1:] else ("activation_alpha",)
            net.put("Flatten")
            numbers = dict(zip(names, given, strict=True)) if given else {}
            ours(net, op, net.last, net.weight(24, 5), activation=act, **numbers)
        with pytest.raises(CompileError, match=f"its {act} has [01] of the numbers"):
            load_model(om.save(written(net), tmp_path))


@pytest.mark.parametrize("last", [0, 1, 3])
def test_a_mask_for_fewer_keys_is_refused(last: int, tmp_path: Path) -> None:
    """What it leaves out is hidden: it is not one number for all keys."""
    net = Net(om.rng(0), SHAPE, 23)
    q = net.join("MatMul", "x", net.weight(6, 4))
    mask = net.weight(4, last) if last else net.value(np.float32(0.5))
    net.join("Attention", q, q, q, mask, q_num_heads=2, kv_num_heads=2)
    with pytest.raises(CompileError, match=r"its mask has shape .* there are 4 keys"):
        load_model(om.save(net.proto(), tmp_path))


def hiding(way: str, least: float) -> ModelProto:
    """What comes later in a sequence of four is hidden."""
    net, seen = Net(om.rng(4), SHAPE, 23), np.tril(np.ones((4, 4), bool))
    q, k = (net.join("MatMul", "x", net.weight(6, 4)) for _ in range(2))
    mask = net.value(np.where(seen, 0, least).astype(np.float32))
    if way == "Attention":
        net.join("Attention", q, k, q, mask, q_num_heads=2, kv_num_heads=2)
    else:
        scores = net.join("MatMul", q, net.join("Transpose", k, perm=[0, 2, 1]))
        if way == "Where":
            net.join("Where", net.value(seen), scores, net.value(np.float32(least)))
        else:
            net.join("Add", scores, mask)
        net.join("MatMul", net.put("Softmax", axis=-1), q)
    net.head(16)
    return net.proto()


@pytest.mark.parametrize("least", [-1e4, -1e9, float(np.finfo(np.float32).min), -np.inf])
@pytest.mark.parametrize("way", ["Add", "Attention", "Where"])
def test_what_a_mask_hides_stays_within_16_bits(way: str, least: float, tmp_path: Path) -> None:
    """It is as good as hidden 128 below the rest, which integers can hold beside the scores."""
    path = om.save(hiding(way, least), tmp_path)
    graph = load_model(path)
    assert sum("what it hides" in n and "128" in n for n in graph.notes) == 1
    session = onnxruntime.InferenceSession(path)
    x = om.rng(3).standard_normal((8, *SHAPE[1:])).astype(np.float32)
    for one in x:
        want = np.asarray(session.run(None, {"x": one[None]})[0]).reshape(-1)
        np.testing.assert_allclose(run_graph(graph, {"x": one}), want, rtol=2e-4, atol=2e-4)
    near = load_model(om.save(hiding(way, -128.0), tmp_path))
    assert [n.op for n in near.nodes] == [n.op for n in graph.nodes]
    for one, other in zip(graph.tensors.values(), near.tensors.values(), strict=True):
        assert np.array_equal(one.value, other.value)  # type: ignore[arg-type]
    assert compile_model(graph, RuleSpec(INFERENCE_ONLY), {"x": x}).plan.digest


def test_summands_of_one_size_are_no_mask(tmp_path: Path) -> None:
    """Rows of a bias each as low as the other keep their differences."""
    net = Net(om.rng(0), SHAPE, 18)
    low = om.rng(1).standard_normal((4, 6)).astype(np.float32) - np.float32([[300], [0], [400], [200]])
    net.put("Add", net.value(low))
    net.put("Softmax", axis=-1)
    net.put("Tanh")
    agrees(om.save(net.proto(), tmp_path))


@pytest.mark.parametrize("level", ["BASIC", "EXTENDED"])
def test_an_optimised_file(level: str, tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
    options.optimized_model_filepath = str(tmp_path / "made.onnx")
    onnxruntime.InferenceSession(om.save(small(1), tmp_path), options)
    agrees(tmp_path / "made.onnx")


def test_a_file_for_one_processor_is_refused(tmp_path: Path) -> None:
    net = Net(om.rng(0), SHAPE, 17)
    net.join("ReorderInput", "x", domain="com.microsoft.nchwc")
    with pytest.raises(CompileError, match="save it at ORT_ENABLE_EXTENDED"):
        load_model(om.save(net.proto(), tmp_path))


@pytest.mark.parametrize("kind", [QuantType.QInt8, QuantType.QUInt8])
@pytest.mark.parametrize("each", [False, True])
def test_a_dynamically_quantised_file(kind: QuantType, each: bool, tmp_path: Path) -> None:
    """Its weights stand for real numbers; what its activations lose in each run is all that differs."""
    path, made = om.save(small(2), tmp_path), tmp_path / "made.onnx"
    quantize_dynamic(path, made, weight_type=kind, per_channel=each and kind == QuantType.QInt8)
    assert "DynamicQuantizeLinear" in {n.op_type for n in onnx.load(made).graph.node}
    assert any("read as real numbers" in n for n in load_model(made).notes)
    agrees(made, 0.1)


def test_a_dynamically_quantised_product(tmp_path: Path) -> None:
    net = Net(om.rng(0), SHAPE, 17)
    w = net.value(net.g.integers(-127, 128, (6, 3)).astype(np.int8))
    scale, zero = net.value(np.float32([0.01, 0.02, 0.005])), net.value(np.zeros(3, np.int8))
    ours(net, "DynamicQuantizeMatMul", "x", w, scale, zero, net.weight(3))
    agrees(om.save(written(net), tmp_path), 0.1)
