"""Products of two activations, and attention as exporters write it: against onnx's own reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_models as om
import pytest
from onnx_nets import Net, Rng, graph_of, ops, pick

from synapcc.gen.compile import compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.importers import load_model
from synapcc.gen.spec import RuleSpec
from synapcc.host.run.emulator import Emulator


@pytest.mark.parametrize("seed", range(20))
def test_products_of_activations(seed: int, tmp_path: Path) -> None:
    g = om.rng(seed)
    batch, rows, inner, columns = (int(n) for n in g.integers(1, 6, 4))
    net = Net(g, [1, batch, rows, inner] if seed % 3 else [1, rows, inner])
    other = [1, batch, inner, columns] if seed % 3 else [1, inner, columns]
    if seed % 2:
        other[-2:] = other[:-3:-1]
        net.join("Transpose", "other", perm=[*range(len(other) - 2), len(other) - 1, len(other) - 2])
    net.join("MatMul", "x", net.last if seed % 2 else "other")
    if seed % 4 < 2:
        net.put(pick(g, "Mul", "Div"), net.value(np.float32(2.5)))
    graph = graph_of(net.proto(other=other), tmp_path)
    assert ops(graph) == ["matmul"]


def block(g: Rng, tokens: int = 16, width: int = 32, heads: int = 2, how: str = "behind") -> Net:
    """One block of a transformer, norms first, as PyTorch exports it; `how`: where the scores are scaled."""
    net = Net(g, ["batch", tokens, width])  # type: ignore[list-item]
    each = width // heads
    factor = np.float32(each**-0.5)

    def norm(x: str) -> str:
        return net.join("LayerNormalization", x, net.weight(width), net.weight(width), axis=-1)

    def dense(x: str, inputs: int, outputs: int) -> str:
        product = net.join("MatMul", x, net.weight(inputs, outputs, scale=float(inputs**-0.5)))
        return net.join("Add", product, net.weight(outputs))

    def head(x: str, perm: list[int]) -> str:
        split = net.join("Reshape", dense(x, width, width), net.value(np.array([1, tokens, heads, each])))
        return net.join("Transpose", split, perm=perm)

    seen = norm("x")
    q, k, v = (head(seen, perm) for perm in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]))
    if how == "front":
        q = net.join("Mul", q, net.value(factor))
    elif how == "both":
        q, k = (net.join("Mul", side, net.value(np.sqrt(factor))) for side in (q, k))
    scores = net.join("MatMul", q, k)
    if how == "behind":
        scores = net.join("Div", scores, net.value(np.float32(1 / factor)))
    mixed = net.join("MatMul", net.join("Softmax", scores, axis=-1), v)
    joined = net.join(
        "Reshape", net.join("Transpose", mixed, perm=[0, 2, 1, 3]), net.value(np.array([1, tokens, width]))
    )
    x = net.join("Add", "x", dense(joined, width, width))
    hidden = net.join("Relu", dense(norm(x), width, 2 * width))
    x = net.join("Add", x, dense(hidden, 2 * width, width))
    net.last = net.join("ReduceMean", x, net.value(np.array([1])), keepdims=0)
    net.head(width)
    return net


@pytest.mark.parametrize("how", ["behind", "front", "both"])
@pytest.mark.parametrize("heads", [1, 2])
def test_a_block_of_a_transformer(heads: int, how: str, tmp_path: Path) -> None:
    graph = graph_of(block(om.rng(heads), 6, 8, heads, how).proto(), tmp_path, atol=2e-4)
    found = ops(graph)
    assert found.count("matmul") == found.count("normalise") == 2 and found.count("softmax") == 1
    assert found.count("conv2d") == 6 and "affine" not in found
    scale = next(n.attrs["scale"] for n in graph.nodes if n.op == "matmul")
    assert scale == pytest.approx(
        (8 // heads) ** -0.5 if how == "behind" else 1.0
    )  # else the weights have it


def test_a_block_of_16_tokens_and_32_channels_learns(tmp_path: Path) -> None:
    """All that has weights, under backpropagation, from random weights: two passes over 96 samples."""
    net = block(om.rng(4))
    graph = load_model(om.save(net.proto(), tmp_path))
    rng = np.random.default_rng(5)
    x = rng.normal(0, 1, (96, 16, 32)).astype(np.float32)
    label = rng.integers(0, 2, 96)
    x[label == 1, :, :3] += 0.8
    rule = RuleSpec("bp", layers="all", rate=7)
    c = compile_model(graph, rule, {"x": x, "label": label})
    machine = Emulator(c.plan)
    before = np.mean([machine.infer({"x": v[None]}).winner[0] == y for v, y in zip(x, label, strict=True)])
    for _ in range(2):
        for v, y in zip(x, label, strict=True):
            machine.learn({"x": v[None]}, np.array([y]))
    after = np.mean([machine.infer({"x": v[None]}).winner[0] == y for v, y in zip(x, label, strict=True)])
    assert before < 0.2 and after > 0.9


@pytest.mark.parametrize("left, right", [([1, 2, 3, 4], [1, 3, 4, 2]), ([1, 3, 4], [1, 3, 4])])
def test_matrices_that_do_not_fit_are_told(left: list[int], right: list[int], tmp_path: Path) -> None:
    net = Net(om.rng(1), left)
    net.join("MatMul", "x", "other")
    with pytest.raises(CompileError, match=r"multiplies matrices|do not fit"):
        load_model(om.save(net.proto(other=right), tmp_path))
