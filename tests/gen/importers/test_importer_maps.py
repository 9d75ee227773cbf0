"""Convolutions, pools and what stands around them: random ONNX nets against onnx's own reference."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_models as om
import pytest
from onnx_models import model, node, save
from onnx_nets import Net, Rng, graph_of, ops, pick

from synapcc.gen.importers import load_model


def padding(g: Rng, kernel: Sequence[int], dilation: Sequence[int]) -> dict[str, Any]:
    """Attributes for one of the ways to pad."""
    mode = pick(g, "none", "pads", "pads", "SAME_UPPER", "SAME_LOWER", "VALID")
    if mode == "pads":
        reach = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
        return {"pads": [int(g.integers(0, r + 1)) for r in (*reach, *reach)]}
    return {} if mode == "none" else {"auto_pad": mode}


def random_conv(g: Rng, rank: int) -> Net:
    groups = int(g.integers(1, 4))
    channels, outputs = groups * int(g.integers(1, 4)), groups * int(g.integers(1, 4))
    kernel = [int(g.integers(1, 5)) for _ in range(rank)]
    pads = padding(g, kernel, [1] * rank)
    dilation = [1] * rank if "auto_pad" in pads else [int(g.integers(1, 4)) for _ in range(rank)]
    size = [(k - 1) * d + 1 + int(g.integers(0, 7)) for k, d in zip(kernel, dilation, strict=True)]
    net = Net(g, ["batch", channels, *size])  # type: ignore[list-item]
    stride = [int(g.integers(1, 4)) for _ in range(rank)]
    if g.random() < 0.3:
        net.put("Relu")
    net.conv(channels, outputs, *kernel, groups=groups, strides=stride, dilations=dilation, **pads)
    return net


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("seed", range(25))
def test_convolutions(seed: int, rank: int, tmp_path: Path) -> None:
    net = random_conv(om.rng(1000 * rank + seed), rank)
    graph = graph_of(net.proto(), tmp_path)
    assert ops(graph).count("conv2d") == 1


def put_plainly(net: Net, op: str, size: Sequence[int], attrs: dict[str, Any]) -> None:
    """A pool as onnx's reference gets it right: explicit pads, and no uneven ones for maxima."""
    mode, plain = attrs.get("auto_pad", "VALID"), {k: v for k, v in attrs.items() if k != "auto_pad"}
    if mode != "VALID":
        ends = []
        for n, k, s in zip(size, attrs["kernel_shape"], attrs["strides"], strict=True):
            total = max(0, (math.ceil(n / s) - 1) * s + k - n)
            ends.append((total // 2, total - total // 2)[:: 1 if mode == "SAME_UPPER" else -1])
        plain["pads"] = [e[0] for e in ends] + [e[1] for e in ends]
    if op == "MaxPool" and "pads" in plain:
        pads = plain.pop("pads")
        margins = [0, 0, *pads[: len(size)], 0, 0, *pads[len(size) :]]
        net.put("Pad", net.value(np.array(margins)), net.value(np.float32(-1e9)))
    net.put(op, **plain)


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("seed", range(12))
def test_pools(seed: int, rank: int, op: str, tmp_path: Path) -> None:
    g = om.rng(seed + 100 * rank)
    kernel = [int(g.integers(1, 5)) for _ in range(rank)]
    size = [k + int(g.integers(0, 7)) for k in kernel]
    attrs = {"kernel_shape": kernel, "strides": [int(g.integers(1, 4)) for _ in range(rank)]}
    attrs |= padding(g, kernel, [1] * rank)
    if op == "AveragePool":
        attrs["count_include_pad"] = int(g.integers(2))
    net, reference = (Net(g, [1, 3, *size]) for _ in range(2))
    net.put(op, **attrs)
    put_plainly(reference, op, size, attrs)
    graph = graph_of(net.proto(), tmp_path, reference.proto())
    assert ops(graph).count(f"{op[:3].lower()}pool2d".replace("ave", "avg")) == 1


@pytest.mark.parametrize("seed", range(12))
def test_sizes_rounded_up(seed: int, tmp_path: Path) -> None:
    """ceil_mode is padding that never wins."""
    g = om.rng(seed)
    kernel = [int(g.integers(2, 4)) for _ in range(2)]
    net = Net(g, [1, 2, *(k + int(g.integers(0, 6)) for k in kernel)])
    pads = [int(g.integers(0, k)) for k in (*kernel, *kernel)]
    net.put("MaxPool", kernel_shape=kernel, strides=[2, 3], pads=pads, ceil_mode=1)
    graph_of(net.proto(), tmp_path)


GLOBAL = [
    (op, shape)
    for op in ("GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "ReduceMax")
    for shape in ((1, 3, 7), (1, 3, 4, 5), (1, 3, 1, 5))
    if (op, len(shape)) != ("GlobalMaxPool", 3)  # onnx's reference gives shape (1, 1)
]


@pytest.mark.parametrize(("op", "shape"), GLOBAL)
def test_global_pools(op: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    net = Net(om.rng(sum(shape)), shape)
    net.conv(3, 4, *(1,) * (len(shape) - 2))
    axes = list(range(2, len(shape)))
    if op.startswith("Global"):
        net.put(op)
    elif op == "ReduceMean":
        net.put(op, net.value(np.array(axes)), keepdims=0)
    else:
        net.put(op, net.value(np.array(axes)), keepdims=1)
    net.head(4)
    assert ops(graph_of(net.proto(), tmp_path))[-2] in ("maxpool2d", "avgpool2d")


@pytest.mark.parametrize("axes", [[1], [2], [-1], [1, 2], [1, 3], [1, 2, 3], [0, 2]])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_means_along_any_axes(axes: list[int], keepdims: int, tmp_path: Path) -> None:
    net = Net(om.rng(5), (1, 3, 4, 2), opset=13)
    net.conv(3, 5, 1, 1)
    net.put("ReduceMean", axes=axes, keepdims=keepdims)
    graph_of(net.proto(), tmp_path)


def torch_cnn(g: Rng) -> Net:
    net = Net(g, [1, 3, 8, 8])
    net.conv(3, 4, 3, 3, pads=[1, 1, 1, 1])
    net.norm(4)
    net.put("Relu")
    net.put("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    net.conv(4, 4, 3, 3, groups=4)
    net.conv(4, 6, 1, 1)
    net.put("Relu")
    net.head(6 * 2 * 2)
    return net


def test_a_usual_net_transposes_its_input_only(tmp_path: Path) -> None:
    graph = graph_of(torch_cnn(om.rng(1)).proto(), tmp_path)
    expected = "transpose conv2d clip maxpool2d conv2d conv2d clip dense"
    assert ops(graph) == expected.split()
    assert graph.tensors[graph.inputs[0]].shape == (3, 8, 8)
    assert graph.nodes[0].attrs["order"] == (1, 2, 0)


def test_one_channel_needs_no_transpose(tmp_path: Path) -> None:
    net = Net(om.rng(2), [1, 1, 20])
    net.conv(1, 4, 5, strides=[2])
    net.put("Relu")
    net.conv(4, 4, 3)
    net.head(4 * 6)
    graph = graph_of(net.proto(), tmp_path)
    assert ops(graph) == ["conv2d", "clip", "conv2d", "dense"]
    assert graph.tensors[graph.nodes[1].inputs[0]].shape == (1, 20, 1)


def test_keras_transposes_cancel(tmp_path: Path) -> None:
    """Channels-last inputs: tf2onnx transposes in front of every convolution and behind it."""
    net = Net(om.rng(3), ["n", 6, 6, 3])  # type: ignore[list-item]
    net.put("Transpose", perm=[0, 3, 1, 2])
    net.conv(3, 4, 3, 3, auto_pad="SAME_UPPER", strides=[2, 2])
    net.put("Transpose", perm=[0, 2, 3, 1])
    net.put("Relu")
    net.put("Transpose", perm=[0, 3, 1, 2])
    net.put("AveragePool", kernel_shape=[2, 2])
    net.put("Transpose", perm=[0, 2, 3, 1])
    net.put("Reshape", net.value(np.array([-1, 16])))
    net.put("MatMul", net.weight(16, 3))
    assert ops(graph_of(net.proto(), tmp_path)) == ["conv2d", "clip", "avgpool2d", "dense"]


def test_conv1d_between_unsqueeze_and_squeeze(tmp_path: Path) -> None:
    """A Conv1D of Keras, as tf2onnx writes it: a convolution of height 1 over [n, steps, channels]."""
    net = Net(om.rng(4), ["n", 12, 2], opset=13)  # type: ignore[list-item]
    net.put("Unsqueeze", net.value(np.array([1])))
    net.put("Transpose", perm=[0, 3, 1, 2])
    net.conv(2, 4, 1, 3)
    net.put("Transpose", perm=[0, 2, 3, 1])
    net.put("Squeeze", net.value(np.array([1])))
    net.put("ReduceMean", axes=[1], keepdims=0)
    net.put("MatMul", net.weight(4, 3))
    assert ops(graph_of(net.proto(), tmp_path)) == ["conv2d", "avgpool2d", "dense"]


def test_a_second_input_joins_flattened_maps(tmp_path: Path) -> None:
    net = Net(om.rng(5), [1, 1, 16])
    net.conv(1, 3, 4, strides=[2])
    net.put("Relu")
    flat = net.put("Flatten")
    net.join("Concat", flat, "rr", axis=1)
    net.put("Gemm", net.weight(4, 25), net.weight(4), transB=1)
    graph = graph_of(net.proto(rr=[1, 4]), tmp_path)
    assert ops(graph) == ["conv2d", "clip", "concat", "dense"]


@pytest.mark.parametrize("seed", range(6))
def test_residuals(seed: int, tmp_path: Path) -> None:
    g = om.rng(seed)
    net = Net(g, [1, 3, 6, 5] if seed % 2 else [1, 3, 7])
    rank = len(net.shape) - 2
    here = "x" if seed == 5 else net.conv(3, 3, *(1,) * rank)
    net.put("Relu")
    there = net.conv(3, 3, *(3,) * rank, auto_pad="SAME_UPPER")
    net.join("Add", *((here, there) if seed < 3 else (there, here)))
    net.put("Relu")
    net.put("GlobalAveragePool")
    net.head(3)
    graph = graph_of(net.proto(), tmp_path)
    assert ops(graph).count("add") == 1 and ops(graph).count("transpose") == (2 if seed == 5 else 1)


def test_adding_a_tensor_to_itself_is_a_factor(tmp_path: Path) -> None:
    net = Net(om.rng(6), [1, 4, 5])
    y = net.conv(4, 4, 3)
    net.join("Add", y, y)
    assert ops(graph_of(net.proto(), tmp_path)) == ["transpose", "conv2d", "transpose"]


@pytest.mark.parametrize("axis", [1, 2, 3, -3])
def test_maps_are_joined(axis: int, tmp_path: Path) -> None:
    net = Net(om.rng(7), [1, 2, 5, 4])
    a = net.conv(2, 3, 1, 1)
    b = net.join("Relu", "x") if axis % 4 == 1 else net.conv(3, 3, 1, 1)
    net.join("Concat", a, b, axis=axis)
    net.conv(5 if axis % 4 == 1 else 3, 2, 2, 2)
    net.put("GlobalMaxPool")
    net.head(2)
    graph = graph_of(net.proto(), tmp_path)
    assert ops(graph).count("concat") == 1
    if axis % 4 == 1:
        concat = next(n for n in graph.nodes if n.op == "concat")
        assert graph.tensors[concat.output].shape == (5, 4, 5)


def test_inputs_joined_along_channels_are_transposed_once(tmp_path: Path) -> None:
    net = Net(om.rng(8), [1, 2, 4, 4])
    net.join("Concat", "x", "z", axis=1)
    net.conv(5, 2, 4, 4)
    graph = graph_of(net.proto(z=[1, 3, 4, 4]), tmp_path)
    assert ops(graph) == ["concat", "transpose", "conv2d"]


@pytest.mark.parametrize("behind", ["conv", "max", "mean", "counted"])
@pytest.mark.parametrize("form", ["operands", "axes", "attributes"])
def test_padding_goes_into_the_layer_behind(behind: str, form: str, tmp_path: Path) -> None:
    net = Net(om.rng(9), [1, 2, 6, 6], opset={"operands": 13, "axes": 18, "attributes": 10}[form])
    net.conv(2, 3, 1, 1)
    net.put("Relu")
    if form == "operands":
        net.put("Pad", net.value(np.array([0, 0, 1, 0, 0, 0, 2, 1])))
    elif form == "axes":
        net.put("Pad", net.value(np.array([1, 0, 2, 1])), "", net.value(np.array([2, -1])))
    else:
        net.put("Pad", pads=[0, 0, 1, 0, 0, 0, 2, 1])
    if behind == "conv":
        net.conv(3, 2, 3, 3)
    elif behind == "max":
        net.put("MaxPool", kernel_shape=[3, 3])
    else:
        pads = [2, 1, 0, 0] if behind == "counted" else [0, 0, 0, 0]
        net.put("AveragePool", kernel_shape=[3, 3], count_include_pad=int(behind == "counted"), pads=pads)
    graph = graph_of(net.proto(), tmp_path)
    assert ("pad" in ops(graph)) == (behind == "counted")  # more padding than its window: stays


@pytest.mark.parametrize("pads", [[0, 0, 2, 0, 0, 1], [0, 2, 0, 0, 1, 0], [0, 1, 1, 0, 2, 0]])
@pytest.mark.parametrize("value", [0.0, -1.5])
def test_padding_alone(pads: list[int], value: float, tmp_path: Path) -> None:
    net = Net(om.rng(10), [1, 3, 5])
    net.put("Pad", net.value(np.array(pads)), net.value(np.float32(value)))
    net.put("MaxPool", kernel_shape=[2])
    assert "pad" in ops(graph_of(net.proto(), tmp_path))


def test_a_window_of_nothing_but_padding(tmp_path: Path) -> None:
    net = Net(om.rng(11), [1, 2, 4, 4])
    net.conv(2, 3, 1, 1, pads=[1, 1, 1, 1])
    assert ops(graph_of(net.proto(), tmp_path)) == ["transpose", "pad", "conv2d", "transpose"]


def dense_net(g: Rng, shape: Sequence[int]) -> Net:
    net = Net(g, shape)
    net.conv(shape[1], 4, *(3,) * (len(shape) - 2))
    return net


@pytest.mark.parametrize(
    ("op", "attrs", "fn"),
    [
        ("Sigmoid", {}, "sigmoid"),
        ("Tanh", {}, "tanh"),
        ("HardSigmoid", {"alpha": 0.3}, "hardsigmoid"),
        ("HardSwish", {}, "hardswish"),
        ("LeakyRelu", {"alpha": 0.2}, "leaky_relu"),
        ("Elu", {"alpha": 0.7}, "elu"),
        ("Softplus", {}, "softplus"),
        ("Gelu", {}, "gelu"),
    ],
)
def test_functions(op: str, attrs: dict[str, float], fn: str, tmp_path: Path) -> None:
    net = Net(om.rng(12), [1, 1, 9], opset=20)
    net.conv(1, 4, 3)
    net.put(op, **attrs)
    net.head(28)
    graph = graph_of(net.proto(), tmp_path)
    assert ops(graph) == ["conv2d", "table", "dense"]
    assert next(n for n in graph.nodes if n.op == "table").attrs["fn"] == fn


def test_selu_is_a_scaled_elu(tmp_path: Path) -> None:
    net = dense_net(om.rng(26), [1, 1, 6])
    net.put("Selu")
    net.head(16)
    assert ops(graph_of(net.proto(), tmp_path)) == ["conv2d", "table", "dense"]


def test_differences(tmp_path: Path) -> None:
    net = Net(om.rng(27), [1, 2, 6])
    here = net.conv(2, 3, 3)
    there = net.join("Conv", "x", net.weight(3, 2, 3))
    net.join("Sub", here, there)
    net.head(12)
    graph = graph_of(net.proto(), tmp_path)
    assert ops(graph) == ["transpose", "conv2d", "conv2d", "add", "dense"]


def test_prelu_with_one_slope(tmp_path: Path) -> None:
    net = dense_net(om.rng(13), [1, 1, 6])
    net.put("PRelu", net.value(np.array([0.125], np.float32)))
    net.head(16)
    table = next(n for n in graph_of(net.proto(), tmp_path).nodes if n.op == "table")
    assert (table.attrs["fn"], table.attrs["alpha"]) == ("leaky_relu", 0.125)


@pytest.mark.parametrize("shape", [(3, 1), (1, 1), (3, 6)])
def test_prelu_with_a_slope_a_channel(shape: tuple[int, int], tmp_path: Path) -> None:
    """A channel, one for all, each value: x is [1, 3, 6], channels in front."""
    net = Net(om.rng(13), [1, 2, 6])
    net.conv(2, 3, 1)
    slope = om.rng(5).uniform(0.1, 0.9, shape).astype(np.float32)
    net.put("PRelu", net.value(slope))
    net.head(18)
    graph = graph_of(net.proto(), tmp_path)
    assert ops(graph) == ["transpose", "conv2d", "table" if slope.size == 1 else "prelu", "dense"]
    if slope.size > 1:
        node = next(n for n in graph.nodes if n.op == "prelu")
        assert graph.tensors[node.inputs[1]].size == (3 if shape[1] == 1 else 18)


@pytest.mark.parametrize(("op", "axis"), [("Softmax", 1), ("Softmax", -1), ("LogSoftmax", 2)])
def test_softmax_inside(op: str, axis: int, tmp_path: Path) -> None:
    """Over channels, which are in front, and over places: [1, 3, 6]."""
    net = Net(om.rng(31), [1, 2, 6])
    net.conv(2, 3, 1)
    net.put(op, axis=axis)
    net.head(18)
    graph = graph_of(net.proto(), tmp_path)
    node = next(n for n in graph.nodes if n.op == "softmax")
    assert node.attrs == {"log": int(op == "LogSoftmax"), "beta": 1.0} and graph.head == "none"
    assert graph.tensors[node.output].shape == ((6, 3) if axis == 1 else (3, 6))


def test_softmax_over_all_that_a_layer_reads_is_no_head(tmp_path: Path) -> None:
    """Behind a view; a softmax at the end still is one."""
    net = dense_net(om.rng(32), [1, 1, 6])
    net.head(16)
    net.put("Softmax", axis=-1)
    net.join("Unsqueeze", net.last, net.value(np.array([0])))
    net.join("Relu", net.last)
    graph = graph_of(net.proto(), tmp_path)
    assert ops(graph)[-2:] == ["softmax", "clip"] and graph.head == "none"


def silu(net: Net, x: str) -> None:
    net.join("Mul", net.join("Sigmoid", x), x)


def hardswish_by_hardsigmoid(net: Net, x: str) -> None:
    net.join("Mul", x, net.join("HardSigmoid", x, alpha=1 / 6))


def hardswish_by_clip(net: Net, x: str) -> None:
    three, six = net.value(np.float32(3)), net.value(np.float32(6))
    net.join("Clip", net.join("Add", x, three), net.value(np.float32(0)), six)
    net.join("Div", net.join("Mul", x, net.last), six)


def hardswish_by_clip_of_sixths(net: Net, x: str) -> None:
    net.join("Min", net.join("Relu", net.join("Add", x, net.value(np.float32(3)))), net.value(np.float32(6)))
    net.join("Mul", net.join("Mul", net.last, net.value(np.float32(1 / 6))), x)


def gelu_of_torch(net: Net, x: str) -> None:
    net.join("Erf", net.join("Div", x, net.value(np.float32(np.sqrt(2)))))
    net.join("Mul", x, net.join("Add", net.last, net.value(np.float32(1))))
    net.join("Mul", net.last, net.value(np.float32(0.5)))


def gelu_of_keras(net: Net, x: str) -> None:
    half = net.join("Mul", x, net.value(np.float32(0.5)))
    net.join("Erf", net.join("Mul", x, net.value(np.float32(np.sqrt(0.5)))))
    net.join("Mul", half, net.join("Add", net.value(np.float32(1)), net.last))


def mish(net: Net, x: str) -> None:
    net.join("Mul", x, net.join("Tanh", net.join("Softplus", x)))


def _by_tanh(net: Net, cube: str, x: str) -> str:
    """1 + tanh(sqrt(2 / pi) (x + 0.044715 cube))"""
    inner = net.join("Add", x, net.join("Mul", cube, net.value(np.float32(0.044715))))
    net.join("Tanh", net.join("Mul", net.value(np.float32(np.sqrt(2 / np.pi))), inner))
    return net.join("Add", net.last, net.value(np.float32(1)))


def gelu_tanh_by_power(net: Net, x: str) -> None:
    share = _by_tanh(net, net.join("Pow", x, net.value(np.float32(3))), x)
    net.join("Mul", net.join("Mul", x, net.value(np.float32(0.5))), share)


def gelu_tanh_by_products(net: Net, x: str) -> None:
    share = _by_tanh(net, net.join("Mul", net.join("Mul", x, x), x), x)
    net.join("Mul", net.join("Mul", share, x), net.value(np.float32(0.5)))


def gelu_tanh_of_sums(net: Net, x: str) -> None:
    """The factor spread over the sum, and its operands the other way round."""
    root = np.sqrt(2 / np.pi)
    cube = net.join(
        "Mul", net.join("Pow", x, net.value(np.float32(3))), net.value(np.float32(0.044715 * root))
    )
    inner = net.join("Add", cube, net.join("Mul", x, net.value(np.float32(root))))
    half = net.join("Mul", net.join("Tanh", inner), net.value(np.float32(0.5)))
    net.join("Mul", x, net.join("Add", half, net.value(np.float32(0.5))))


@pytest.mark.parametrize(
    ("write", "fn"),
    [
        (mish, "mish"),
        (gelu_tanh_by_power, "gelu_tanh"),
        (gelu_tanh_by_products, "gelu_tanh"),
        (gelu_tanh_of_sums, "gelu_tanh"),
        (silu, "silu"),
        (hardswish_by_hardsigmoid, "hardswish"),
        (hardswish_by_clip, "hardswish"),
        (hardswish_by_clip_of_sixths, "hardswish"),
        (gelu_of_torch, "gelu"),
        (gelu_of_keras, "gelu"),
    ],
)
def test_functions_written_as_products(write: Callable[[Net, str], None], fn: str, tmp_path: Path) -> None:
    net = dense_net(om.rng(14), [1, 1, 6, 6])
    net.norm(4)
    write(net, net.last)
    net.head(64)
    graph = graph_of(net.proto(), tmp_path)
    assert ops(graph) == ["conv2d", "table", "dense"]
    assert next(n for n in graph.nodes if n.op == "table").attrs["fn"] == fn


def test_a_product_with_a_factor(tmp_path: Path) -> None:
    net = dense_net(om.rng(15), [1, 1, 6])
    x = net.put("Relu")
    net.join("Mul", net.join("Mul", x, net.value(np.float32(3))), net.join("Sigmoid", x))
    net.head(16)
    assert ops(graph_of(net.proto(), tmp_path)) == ["conv2d", "clip", "table", "dense"]


def test_normalisation_goes_into_convolutions(tmp_path: Path) -> None:
    """Behind one, through a mean; in front of one without padding, of a grouped one too."""
    net = Net(om.rng(16), [1, 4, 9, 9])
    net.norm(4)
    net.conv(4, 4, 3, 3, groups=2)
    net.put("AveragePool", kernel_shape=[2, 2])
    net.norm(4)
    net.put("Relu")
    net.norm(4)
    net.conv(4, 2, 3, 3)
    net.head(2 * 4 * 4)
    graph = graph_of(net.proto(), tmp_path)
    assert ops(graph) == ["transpose", "conv2d", "avgpool2d", "clip", "conv2d", "dense"]
    assert sum("took in" in n for n in graph.notes) == 3


def test_normalisation_stays_in_front_of_padding(tmp_path: Path) -> None:
    net = Net(om.rng(17), [1, 1, 9])
    net.put("Relu")
    net.norm(1)
    net.conv(1, 2, 3, pads=[1, 1])
    net.put("MaxPool", kernel_shape=[3])
    net.head(14)
    assert ops(graph_of(net.proto(), tmp_path)) == ["clip", "affine", "conv2d", "maxpool2d", "dense"]


def test_factors_pass_padding(tmp_path: Path) -> None:
    net = Net(om.rng(18), [1, 2, 9])
    net.put("Mul", net.weight(2, 1))
    net.conv(2, 2, 3, pads=[1, 1])
    net.head(18)
    assert ops(graph_of(net.proto(), tmp_path)) == ["transpose", "conv2d", "dense"]


def test_normalisation_behind_relu_moves_through_pools_into_the_head(tmp_path: Path) -> None:
    net = dense_net(om.rng(19), [1, 1, 8, 8])
    net.put("Relu")
    net.norm(4)
    net.put("AveragePool", kernel_shape=[2, 2], strides=[2, 2], pads=[1, 1, 1, 1])
    net.head(64)
    assert ops(graph_of(net.proto(), tmp_path)) == ["conv2d", "clip", "avgpool2d", "dense"]


def test_maxima_pass_positive_factors_only(tmp_path: Path) -> None:
    for sign, expected in ((1, ["conv2d", "maxpool2d", "dense"]), (-1, None)):
        net = dense_net(om.rng(20), [1, 1, 8])
        net.put("MaxPool", kernel_shape=[2])
        net.put("Mul", net.value(np.float32([[1], [2], [sign], [3]])))
        net.put("Relu")
        net.head(20)
        graph = graph_of(net.proto(), tmp_path)
        assert ("affine" in ops(graph)) == (expected is None)


def test_a_sigmoid_over_scores_is_dropped(tmp_path: Path) -> None:
    net = dense_net(om.rng(21), [1, 1, 6])
    net.head(16)
    net.put("Sigmoid")
    path = save(net.proto(), tmp_path)
    graph = load_model(path)
    assert ops(graph)[-1] == "dense" and graph.head == "sigmoid"
    assert any("Sigmoid" in n and "dropped" in n for n in graph.notes)


def test_the_sigmoid_of_one_score_stays(tmp_path: Path) -> None:
    net = dense_net(om.rng(22), [1, 1, 6])
    net.head(16, 1)
    net.put("Sigmoid")
    graph = graph_of(net.proto(), tmp_path)
    assert ops(graph)[-1] == "table" and graph.head == "none"


def test_scores_of_a_map_come_in_the_order_of_the_file(tmp_path: Path) -> None:
    net = Net(om.rng(23), [1, 1, 4, 4])
    net.conv(1, 3, 3, 3)
    assert ops(graph_of(net.proto(), tmp_path)) == ["conv2d", "transpose"]


def test_layers_are_called_as_in_the_file(tmp_path: Path) -> None:
    weights = {"features.0.weight": om.real(2, 1, 3), "features.0.bias": om.real(2)}
    nodes = [
        node("Conv", "x features.0.weight features.0.bias", "a", "/features/features.0/Conv"),
        node("Sigmoid", "a", "b", "/act/Sigmoid"),
        node("MaxPool", "b", "c", "MaxPool_3", kernel_shape=[2]),
        node("Conv", "c features.0.weight", "y", "node_conv1d_1"),
    ]
    weights["second.weight"] = om.real(2, 2, 1)
    nodes[3].input[1] = "second.weight"
    graph = graph_of(model(nodes, {"x": [1, 1, 8]}, {"y": [1, "n"]}, weights), tmp_path)
    named = [n.name for n in graph.nodes if n.op not in ("reshape", "transpose")]
    assert named == ["features_0", "act", "maxpool1", "second"]


def test_a_dense_layer_at_each_step_is_a_convolution(tmp_path: Path) -> None:
    net = Net(om.rng(24), ["n", 6, 3])  # type: ignore[list-item]
    net.put("MatMul", net.weight(3, 4))
    net.put("Add", net.weight(4))
    net.put("Relu")
    net.put("ReduceMean", net.value(np.array([1])), keepdims=0)
    net.put("MatMul", net.weight(4, 2))
    assert ops(graph_of(net.proto(), tmp_path)) == ["conv2d", "clip", "avgpool2d", "dense"]


def test_a_mean_rounded_up_without_padding(tmp_path: Path) -> None:
    """PyTorch's avg_pool2d(x, 2, ceil_mode=True): the last windows divide by what they hold."""
    net, reference = (Net(om.rng(25), [1, 1, 5, 4]) for _ in range(2))
    net.put("AveragePool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1, count_include_pad=1)
    reference.put("AveragePool", kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 1, 0])
    graph_of(net.proto(), tmp_path, reference.proto())
