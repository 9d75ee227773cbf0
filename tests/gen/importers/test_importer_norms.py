"""Normalisations, as operators and as exporters write them in several: against onnx's own reference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_models as om
import pytest
from onnx_nets import Net, Rng, graph_of, ops, pick

from synapcc.gen.errors import CompileError
from synapcc.gen.importers import load_model


def shape(g: Rng, rank: int) -> list[int]:
    return [1, *(int(n) for n in g.integers(2, 7, rank))]


def layer_norm(g: Rng) -> Net:
    size = shape(g, int(g.integers(1, 4)))
    net = Net(g, size)
    axis = int(g.integers(1, len(size)))
    over = size[axis:]
    bias = [net.weight(*over)] if g.integers(2) else []
    net.put("LayerNormalization", net.weight(*over), *bias, axis=axis - pick(g, 0, len(size)), epsilon=1e-3)
    return net


def instance_norm(g: Rng) -> Net:
    size = shape(g, int(g.integers(2, 4)))
    net = Net(g, size)
    net.conv(size[1], 3, *[1] * (len(size) - 2))
    net.put("InstanceNormalization", net.weight(3), net.weight(3), epsilon=1e-3)
    return net


def group_norm(g: Rng, opset: int = 21) -> Net:
    groups, size = int(g.integers(1, 4)), shape(g, int(g.integers(2, 4)))
    size[1] = groups * int(g.integers(1, 4))
    net = Net(g, size, opset=opset)
    channels = groups if opset < 21 else size[1]
    net.put("GroupNormalization", net.weight(channels), net.weight(channels), num_groups=groups, epsilon=1e-3)
    return net


def old_group_norm(g: Rng) -> Net:
    return group_norm(g, 18)


def mean_variance(g: Rng) -> Net:
    size = shape(g, 3)
    net = Net(g, size)
    net.put("MeanVarianceNormalization", axes=pick(g, [0, 2, 3], [1, 2, 3], [2, 3], [0, 1]))
    return net


def rms_norm(g: Rng) -> Net:
    size = shape(g, int(g.integers(1, 4)))
    net = Net(g, size, opset=23)
    axis = int(g.integers(1, len(size)))
    net.put("RMSNormalization", net.weight(*size[axis:]), axis=axis, epsilon=1e-3)
    return net


def unit_vectors(g: Rng) -> Net:
    """Of magnitudes where p is 1: onnx's reference forgets them."""
    net, p = Net(g, shape(g, 2)), int(g.integers(1, 3))
    if p == 1:
        net.put("Abs")
    net.put("LpNormalization", p=p, axis=pick(g, -1, 1, 2))
    return net


def centred(net: Net, x: str, axes: list[int], opset: int) -> str:
    return net.join("Sub", x, reduced(net, "ReduceMean", x, axes, opset))


def reduced(net: Net, op: str, x: str, axes: list[int], opset: int) -> str:
    if opset < 18:
        return net.join(op, x, axes=axes, keepdims=1)
    return net.join(op, x, net.value(np.array(axes)), keepdims=1)


def decomposed(g: Rng) -> Net:
    """PyTorch's LayerNorm up to opset 16, and an RMS norm; in all ways to write a square and a quotient."""
    opset, size = pick(g, 13, 18), shape(g, int(g.integers(1, 4)))
    net = Net(g, size, opset=opset)
    axes = pick(g, [-1], [len(size) - 1])
    mean = bool(g.integers(2))
    x = net.put("Mul", net.value(np.float32(1.5)))
    d = centred(net, x, axes, opset) if mean else x
    other = centred(net, x, axes, opset) if mean and g.integers(2) else d
    square = (
        net.join("Mul", other, other) if g.integers(2) else net.join("Pow", other, net.value(np.float32(2)))
    )
    raised = [reduced(net, "ReduceMean", square, axes, opset), net.value(np.float32(1e-3))]
    root = net.join("Sqrt", net.join("Add", *raised[:: pick(g, 1, -1)]))
    match int(g.integers(3)):
        case 0:
            y = net.join("Div", d, root)
        case 1:
            y = net.join("Mul", *[d, net.join("Reciprocal", root)][:: pick(g, 1, -1)])
        case _:
            y = net.join("Mul", d, net.join("Div", net.value(np.float32(1)), root))
    net.join("Mul", y, net.weight(size[-1]))
    net.put("Add", net.weight(size[-1]))
    return net


def torch_normalize(g: Rng) -> Net:
    size = shape(g, 2)
    net = Net(g, size)
    norm = reduced(net, "ReduceL2", "x", [1], 18)
    held = net.join("Clip", norm, net.value(np.float32(1e-12)))
    wide = net.join("Expand", held, net.join("Shape", "x"))
    net.join("Div", "x", wide)
    return net


def stretched_normalize(g: Rng) -> Net:
    """The norm of one row, expanded to several: so is what it divides."""
    net, axis = Net(g, [1, 1, int(g.integers(2, 7))]), pick(g, 2, -1)
    norm = reduced(net, "ReduceL2", "x", [axis], 18)
    held = net.join("Clip", norm, net.value(np.float32(1e-12))) if g.integers(2) else norm
    wide = [*pick(g, [], [1]), 1, int(g.integers(1, 4)), net.shape[2]]
    net.join("Div", "x", net.join("Expand", held, net.value(np.array(wide))))
    net.put("Softmax", axis=-2)
    net.put("Tanh")
    return net


MADE: tuple[Callable[[Rng], Net], ...] = (
    layer_norm, instance_norm, group_norm, old_group_norm, mean_variance, rms_norm, unit_vectors, decomposed,
    torch_normalize, stretched_normalize,
)  # fmt: skip


@pytest.mark.parametrize("make", MADE)
@pytest.mark.parametrize("seed", range(12))
def test_normalisations(seed: int, make: Callable[[Rng], Net], tmp_path: Path) -> None:
    graph = graph_of(make(om.rng(seed)).proto(), tmp_path)
    assert ops(graph).count("normalise") == 1


@pytest.mark.parametrize("norm", ["MAX", "L1", "L2"])
def test_scikit_learns_normalizer(norm: str, tmp_path: Path) -> None:
    nodes = [om.ml("Normalizer", "x", "n", norm=norm), om.node("Gemm", "n w", "y", transB=1)]
    proto = om.model(nodes, {"x": ["batch", 5]}, {"y": ["batch", 3]}, {"w": om.real(3, 5)})
    graph = graph_of(proto, tmp_path)
    assert ops(graph) == ["normalise", "dense"]


def test_a_layer_between_two_takes_scale_and_shift_in(tmp_path: Path) -> None:
    net = Net(om.rng(1), ["batch", 6])  # type: ignore[list-item]
    net.put("LayerNormalization", net.weight(6), net.weight(6))
    net.head(6)
    assert ops(graph_of(net.proto(), tmp_path)) == ["normalise", "dense"]


@pytest.mark.parametrize("change", ["square", "subtrahend", "limit"])
def test_what_only_looks_like_one_stays_what_it_is(change: str, tmp_path: Path) -> None:
    """It is read, or refused, as the operators that it is made of are."""
    net = Net(om.rng(2), ["batch", 4, 5], opset=18)  # type: ignore[list-item]
    if change == "limit":
        norm = reduced(net, "ReduceL2", "x", [2], 18)
        net.join("Div", "x", net.join("Clip", norm, net.value(np.float32(0.5))))
    else:
        d = centred(net, "x", [2], 18)
        exponent = net.value(np.float32(3 if change == "square" else 2))
        square = net.join("Pow", d, exponent)
        root = net.join("Sqrt", reduced(net, "ReduceMean", square, [2], 18))
        net.join("Div", "x" if change == "subtrahend" else d, root)
    try:
        found = ops(load_model(om.save(net.proto(), tmp_path)))
    except CompileError:
        found = []
    assert "normalise" not in found


@pytest.mark.parametrize(
    "op, attrs, said",
    [
        ("LayerNormalization", {"axis": 0}, "the batch too"),
        ("LayerNormalization", {"axis": 5}, "axis"),
        ("LayerNormalization", {"epsilon": -1.0}, "epsilon"),
        ("GroupNormalization", {"num_groups": 3}, "3 groups"),
        ("LpNormalization", {"p": 3}, "unknown"),
    ],
)
def test_what_cannot_be_normalised_is_told(
    op: str, attrs: dict[str, float], said: str, tmp_path: Path
) -> None:
    net = Net(om.rng(3), ["batch", 4, 5], opset=21)  # type: ignore[list-item]
    net.put(op, net.weight(5), **attrs)
    with pytest.raises(CompileError, match=said):
        load_model(om.save(net.proto(), tmp_path))


def over_norm(net: Net, w: str, axes: list[int]) -> str:
    """w / |w|, as PyTorch writes weight_norm."""
    return net.join("Div", w, net.join("ReduceL2", w, net.value(np.array(axes)), keepdims=1))


def standardised(net: Net, w: str, axes: list[int]) -> str:
    """(w - mean) / sqrt(variance + epsilon): weight standardisation."""
    over = net.value(np.array(axes))
    less = net.join("Sub", w, net.join("ReduceMean", w, over, keepdims=1))
    square = net.join("Pow", less, net.value(np.float32(2)))
    added = net.join("Add", net.join("ReduceMean", square, over, keepdims=1), net.value(np.float32(1e-5)))
    return net.join("Div", less, net.join("Sqrt", added))


def unit(net: Net, w: str, axes: list[int]) -> str:
    """w / |w| by an operator of its own, as a cosine classifier in a file of opset 11 may have it."""
    return net.join("LpNormalization", w, axis=axes[0], p=2)


def layer(net: Net, w: str, axes: list[int]) -> str:
    """Standardised by LayerNormalization, along the last axes."""
    flat = net.join("Transpose", w, perm=[1, 0]) if axes == [0] else w
    made = net.join("LayerNormalization", flat, net.value(np.float32(1)), axis=1)
    return net.join("Transpose", made, perm=[1, 0]) if axes == [0] else made


@pytest.mark.parametrize("way", [over_norm, standardised, unit, layer])
@pytest.mark.parametrize("op", ["Conv", "Gemm", "MatMul"])
def test_weights_are_normalised_once(
    op: str, way: Callable[[Net, str, list[int]], str], tmp_path: Path
) -> None:
    """They are no activations: what is left is the layer."""
    net = Net(om.rng(4), [1, 3, 9] if op == "Conv" else [1, 6])
    w = net.weight(*{"Conv": (4, 3, 3), "Gemm": (4, 6), "MatMul": (6, 4)}[op])
    made = way(net, w, {"Conv": [1, 2], "Gemm": [1], "MatMul": [0]}[op])
    gain = net.weight(*{"Conv": (4, 1, 1), "Gemm": (4, 1), "MatMul": (4,)}[op])
    made = net.join("Mul", made, gain)
    more = {"Gemm": {"transB": 1}}.get(op, {})
    net.join(op, "x", made, **more)
    net.put("Relu")
    net.head(28 if op == "Conv" else 4)
    graph = graph_of(net.proto(), tmp_path)
    assert {*ops(graph)} <= {"clip", "conv2d", "dense", "transpose"}
