"""Transposed convolutions and resized maps: random ONNX nets against onnx's own reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_models as om
import pytest
from onnx_nets import Net, Rng, graph_of, ops, pick

from synapcc.gen.errors import CompileError
from synapcc.gen.importers import load_model


def deconvolution(g: Rng, rank: int) -> tuple[Net, Net]:
    """A net, and the same with one group and weights that are 0 between others: onnx's reference takes wrong
    slices of the weights of groups."""
    groups = pick(g, 1, 1, 2, 3)
    inputs, each = groups * int(g.integers(1, 4)), int(g.integers(1, 4))
    kernel = [int(g.integers(1, 5)) for _ in range(rank)]
    stride = [int(g.integers(1, 4)) for _ in range(rank)]
    size = [int(g.integers(1, 6)) for _ in range(rank)]
    mode = pick(g, "none", "pads", "pads", "SAME_UPPER", "SAME_LOWER")
    dilation = [1] * rank if mode.startswith("SAME") else [pick(g, 1, 1, 2) for _ in range(rank)]
    attrs: dict[str, Any] = {"strides": stride, "dilations": dilation, "group": groups}
    if mode == "pads":
        attrs["pads"] = [int(g.integers(0, (k - 1) * d + 1)) for k, d in zip(kernel, dilation, strict=True)]
        attrs["pads"] *= 2
        attrs["output_padding"] = [int(g.integers(0, s)) for s in stride]
        sizes = zip(size, stride, kernel, dilation, attrs["pads"], strict=False)
        out = [(n - 1) * s + (k - 1) * d + 1 - 2 * p for n, s, k, d, p in sizes]
        if min(out) < 1:
            del attrs["pads"]
    elif mode != "none":
        attrs["auto_pad"] = mode
        kernel = [max(k, s) for k, s in zip(kernel, stride, strict=True)]
    net = Net(g, ["batch", inputs, *size])  # type: ignore[list-item]
    if g.random() < 0.5:
        net.put("Relu")
    biases = [net.weight(each * groups)] if g.random() < 0.7 else []
    weight = net.weight(inputs, each, *kernel)
    net.put("ConvTranspose", weight, *biases, **attrs)
    whole = np.zeros((inputs, each * groups, *kernel), np.float32)
    for i, of in enumerate(np.repeat(np.arange(groups), inputs // groups)):
        whole[i, of * each : (of + 1) * each] = net.weights[weight][i]
    plain = Net(g, net.shape)
    plain.nodes, plain.weights, plain.last = net.nodes[:-1], {**net.weights, weight: whole}, net.last
    plain.nodes.append(
        om.node("ConvTranspose", " ".join(net.nodes[-1].input), net.last, **attrs | {"group": 1})
    )
    return net, plain


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("seed", range(25))
def test_transposed_convolutions(seed: int, rank: int, tmp_path: Path) -> None:
    net, plain = deconvolution(om.rng(1000 * rank + seed), rank)
    graph = graph_of(net.proto(), tmp_path, plain.proto())
    assert ops(graph).count("conv2d") == 1


def test_an_output_shape_says_what_is_cut_off(tmp_path: Path) -> None:
    """The larger half in front, as the specification says it."""
    net, padded = (Net(om.rng(1), ["batch", 2, 4, 5]) for _ in range(2))  # type: ignore[list-item]
    net.put("ConvTranspose", net.weight(2, 3, 3, 3), strides=[2, 2], output_shape=[8, 10])
    padded.put("ConvTranspose", padded.weight(2, 3, 3, 3), strides=[2, 2], pads=[1, 1, 0, 0])
    graph = graph_of(net.proto(), tmp_path, padded.proto())
    assert graph.tensors[graph.output].size == 3 * 8 * 10


MODES = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric")
PLACES = 1e-4  # places are rounded to 2^-15 between neighbours that lie some units apart
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


def resized(g: Rng, rank: int, mode: str, how: str) -> Net:
    """By sizes or by scales; two modes that look at the output's size by sizes alone: onnx's reference does
    not round one that follows from scales."""
    size = [int(g.integers(1, 7)) for _ in range(rank)]
    net = Net(g, ["batch", 3, *size], opset=19)  # type: ignore[list-item]
    none = net.value(np.zeros(0, np.float32))
    attrs: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": how}
    if mode == "nearest":
        attrs["nearest_mode"] = pick(g, *ROUNDINGS)
    if how in ("align_corners", "pytorch_half_pixel") or g.random() < 0.5:
        sizes = net.value(np.array([1, 3, *g.integers(1, 13, rank)]))
        net.put("Resize", none, none, sizes, **attrs)
    else:
        factors = np.array([1, 1, *g.choice([0.5, 1, 1.5, 2, 3, 4], rank)], np.float32)
        factors[2:] = np.maximum(factors[2:], 1 / np.array(size))
        net.put("Resize", none, net.value(factors), **attrs)
    return net


@pytest.mark.parametrize("how", MODES)
@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("seed", range(12))
def test_resized_maps(seed: int, mode: str, how: str, tmp_path: Path) -> None:
    net = resized(om.rng(seed), 1 + seed % 2, mode, how)
    graph = graph_of(with_head(net), tmp_path, atol=PLACES)
    assert set(ops(graph)) <= {"gather", "interpolate", "transpose", "affine"}


def with_head(net: Net) -> Any:
    """A layer behind it, as a network that computes nothing is refused."""
    net.put("Mul", net.value(np.float32(0.5)))
    return net.proto()


def test_a_region_and_upsample_and_an_aspect_that_is_kept(tmp_path: Path) -> None:
    g = om.rng(5)
    net = Net(g, ["batch", 2, 5, 6], opset=18)  # type: ignore[list-item]
    region, sizes = np.array([0, 0, 0.25, 0.1, 1, 1, 0.75, 0.9], np.float32), np.array([1, 2, 4, 3])
    none = net.value(np.zeros(0, np.float32))
    how = "tf_crop_and_resize"
    attrs = {"mode": "linear", "coordinate_transformation_mode": how}
    net.put("Resize", net.value(region), none, net.value(sizes), **attrs)
    graph_of(with_head(net), tmp_path, atol=PLACES)
    for policy in ("not_larger", "not_smaller"):
        net = Net(g, ["batch", 2, 5, 6], opset=18)  # type: ignore[list-item]
        attrs = {"axes": [2, 3], "keep_aspect_ratio_policy": policy, "mode": "linear"}
        none = net.value(np.zeros(0, np.float32))
        net.put("Resize", none, none, net.value(np.array([9, 7])), **attrs)
        graph_of(with_head(net), tmp_path, atol=PLACES)
    for mode in ("nearest", "linear"):
        old, new = (Net(g, ["batch", 2, 3, 4], opset=opset) for opset in (9, 19))  # type: ignore[list-item]
        for net in (old, new):
            factors = net.value(np.array([1, 1, 2, 3], np.float32))
            attrs = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor", "mode": mode}
            if net is old:
                net.put("Upsample", factors, mode=mode)
            else:
                net.put("Resize", net.value(np.zeros(0, np.float32)), factors, **attrs)
        graph_of(with_head(old), tmp_path, with_head(new), atol=PLACES)


@pytest.mark.parametrize(
    "attrs, scales, said",
    [
        ({"mode": "cubic"}, [1, 1, 2, 2], "cubic"),
        ({"mode": "linear"}, [1, 2, 2, 2], "only height and width"),
        ({"mode": "linear"}, [1, 1, 2], "do not fit"),
        ({"mode": "linear"}, [1, 1, -1, 2], "scales or sizes are"),
        ({"mode": "linear"}, [1, 1, 0.01, 2], "nothing is left"),
        ({"mode": "linear", "antialias": 1}, [1, 1, 0.5, 0.5], "antialias"),
        ({"nearest_mode": "up"}, [1, 1, 2, 2], "nearest_mode"),
        ({"coordinate_transformation_mode": "here"}, [1, 1, 2, 2], "coordinate_transformation_mode"),
        ({"coordinate_transformation_mode": "tf_crop_and_resize"}, [1, 1, 2, 2], "no region"),
    ],
)
def test_what_cannot_be_resized_is_told(
    attrs: dict[str, Any], scales: list[float], said: str, tmp_path: Path
) -> None:
    net = Net(om.rng(1), ["batch", 2, 4, 4], opset=19)  # type: ignore[list-item]
    none = net.value(np.zeros(0, np.float32))
    net.put("Resize", none, net.value(np.array(scales, np.float32)), **attrs)
    with pytest.raises(CompileError, match=said):
        load_model(om.save(net.proto(), tmp_path))
