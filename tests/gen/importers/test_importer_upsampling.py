"""Transposed convolutions and resized maps: random ONNX nets against onnx's own reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_models as om
import pytest
from onnx_nets import Net, Rng, graph_of, ops, pick


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
