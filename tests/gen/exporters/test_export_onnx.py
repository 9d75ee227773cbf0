"""The float network that goes out: what it computes, and that it comes back as the network that it was."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnx_models as om
import pytest
from exported import Arrays, assert_close, computed, random_feeds
from lite import Author
from lite_wide import chosen, conditional
from onnx.reference import ReferenceEvaluator
from projects import compiled
from random_nets import random_graph

from synapcc.gen.errors import CompileError
from synapcc.gen.exporters._float_layers import ONNX_LAYERS
from synapcc.gen.exporters.onnx import export
from synapcc.gen.importers import load_model
from synapcc.gen.importers.onnx.operators import supported
from synapcc.gen.ir.graph import Graph
from synapcc.gen.ops import layers
from synapcc.gen.stages.graph_check import verify
from synapcc.host.cli import main

NETS = 200


def run(file: bytes, feeds: Arrays) -> np.ndarray:
    model = onnx.load_from_string(file)
    onnx.checker.check_model(model, full_check=True)
    (result,) = ReferenceEvaluator(model).run(None, dict(feeds))
    return np.asarray(result, np.float64)


def described(graph: Graph) -> list[tuple[object, ...]]:
    """The layers by name, as branches have no order, without the names of tensors between them and without
    reshapes, which cost nothing."""
    shapes = {n.name: [graph.tensors[t].shape for t in (*n.inputs[1:], n.output)] for n in graph.nodes}
    nodes = sorted(graph.nodes, key=lambda n: n.name)
    return [(n.op, n.name, dict(n.attrs), shapes[n.name]) for n in nodes if n.op != "reshape"]


BOUNDED = ("exp", "log", "mish", "power", "reciprocal", "rsqrt", "sqrt")
"""What holds their inputs within their domain, or is a part of them, comes back as a layer of its own."""
NAMED = ("abs",)
"""A layer that comes back is called after its operator, too."""


UNREAD = {"local2d", "interpolate", "add_constant", "mul_constant"}
"""What is written in operators that do not come back as the layer that it was."""


UNDRAWN = {"choice", "composed", "div", "lookup", "masked", "squared_difference", "unit_length"}
"""What has numbers of a file alone, or is made by a stage: a test of its own draws it."""


def test_every_layer_has_a_form() -> None:
    assert set(layers()) <= set(ONNX_LAYERS)


def test_random_networks_compute_the_same_and_come_back(tmp_path: Path) -> None:
    """Those with weights a position come back only while all positions are alike; constants of a format of
    their own, as an affine."""
    seen, read = set[str](), set[str]()
    for seed in range(NETS):
        rng = np.random.default_rng([4711, seed])
        try:
            graph = verify(random_graph(rng, "net"))
        except CompileError:
            continue
        feeds = random_feeds(rng, graph)
        want = computed(graph, feeds)
        file = export(graph)
        assert_close(run(file, feeds), want)
        seen |= {n.op for n in graph.nodes}
        if any(n.attrs.get("log") for n in graph.nodes):
            continue  # at the end it comes back as the head, which is no layer
        written = {n.op_type for n in onnx.load_from_string(file).graph.node}
        untied = any(n.op == "local2d" for n in graph.nodes)  # a product a position
        if not written <= set(supported()) or (untied and "MatMul" in written):
            continue
        read |= {n.op for n in graph.nodes}
        (tmp_path / "net.onnx").write_bytes(file)
        back = load_model(tmp_path / "net.onnx")  # simplified
        assert_close(computed(back, feeds), want)
        if any(n.attrs.get("fn") in (*BOUNDED, *NAMED) for n in graph.nodes):
            continue
        (tmp_path / "net.onnx").write_bytes(export(back))
        assert described(load_model(tmp_path / "net.onnx")) == described(back), seed
    assert seen == set(layers()) - UNDRAWN and seen - UNREAD <= read


@pytest.mark.parametrize("head", ["Softmax", "Sigmoid"])
def test_the_head_goes_out_again(head: str, tmp_path: Path) -> None:
    model = om.mlp((6, 5, 3))
    model.graph.node[-1].output[0] = "scores"
    model.graph.node.append(om.node(head, "scores", "output", f"/{head}"))
    graph = load_model(om.save(model, tmp_path))
    assert graph.head == head.lower()
    feeds = random_feeds(np.random.default_rng(1), graph)
    file = export(graph)
    assert_close(run(file, feeds), computed(graph, feeds))
    (tmp_path / "again.onnx").write_bytes(file)
    assert load_model(tmp_path / "again.onnx").head == graph.head


@pytest.mark.parametrize("rule", ["hebbian", "dfa"])
def test_the_network_of_a_project_compiles_to_the_same_plan(rule: str, tmp_path: Path) -> None:
    c, out = compiled(tmp_path, rule)
    words = ["compile", str(out / "network.onnx"), "--rule", str(c.rule), "--calibrate", str(c.data)]
    assert main([*words, "--name", "net", "-o", str(tmp_path / "again")]) == 0
    digests = [json.loads((o / "report.json").read_text())["digest"] for o in (out, tmp_path / "again")]
    assert digests[0] == digests[1]
    files = [(o / "network.onnx").read_bytes() for o in (out, tmp_path / "again")]
    assert files[0] == files[1]


@pytest.mark.parametrize("integers", [True, False])
def test_totals_go_out_as_valid_float32(integers: bool, tmp_path: Path) -> None:
    """SUM of a .tflite, along any axes that one pool can cover."""
    rng, totals = np.random.default_rng(7 + integers), 0
    for _ in range(12):
        a, shape = Author(), (1, *(int(n) for n in rng.integers(2, 6, int(rng.integers(1, 4)))))
        first = int(rng.integers(1, len(shape)))
        axes = list(range(first, int(rng.integers(first + 1, len(shape) + 1))))
        held = {"scale": 0.1, "zero": 3} if integers else {"kind": "FLOAT32"}
        out = tuple(1 if i in axes else n for i, n in enumerate(shape))
        x, y, z = (a.tensor(name, s, **held) for name, s in (("x", shape), ("y", out), ("z", out)))
        over = a.tensor("axes", (len(axes),), "INT32", data=axes)
        a.op("SUM", [x, over], [y], "ReducerOptions", 2, keepDims=True)
        a.op("RELU", [y], [z])
        (tmp_path / "net.tflite").write_bytes(a.bytes([x], [z]))
        graph = load_model(tmp_path / "net.tflite")
        totals += sum("total" in n.attrs for n in graph.nodes)
        feeds = random_feeds(rng, graph)
        assert_close(run(export(graph), feeds), computed(graph, feeds))
    assert (totals > 0) == integers  # in float a SUM is a mean, times a constant


def test_choices_go_out(tmp_path: Path) -> None:
    """SELECT by a comparison of two tensors, of numbers and of stretched ones."""
    rng, seen = np.random.default_rng(6), set[object]()
    for _ in range(24):
        (tmp_path / "net.tflite").write_bytes(chosen(rng, "INT8")[0])
        graph = load_model(tmp_path / "net.tflite")
        seen |= {n.attrs["test"] for n in graph.nodes if n.op == "choice"}
        feeds = random_feeds(rng, graph)
        assert_close(run(export(graph), feeds), computed(graph, feeds))
    assert len(seen) >= 5


def test_choices_by_masks_go_out(tmp_path: Path) -> None:
    """SELECT by masks and comparisons, one behind the other."""
    rng, seen = np.random.default_rng(7), set[str]()
    for _ in range(12):
        (tmp_path / "net.tflite").write_bytes(conditional(rng, "INT8")[0])
        graph = load_model(tmp_path / "net.tflite")
        seen |= {n.op for n in graph.nodes}
        feeds = random_feeds(rng, graph)
        assert_close(run(export(graph), feeds), computed(graph, feeds))
    assert {"choice", "masked"} <= seen


def test_squared_differences_go_out(tmp_path: Path) -> None:
    """Of an activation and what a ReLU leaves of it, of one place or all."""
    rng = np.random.default_rng(5)
    for _ in range(8):
        a, shape = Author(), (1, *(int(n) for n in rng.integers(2, 6, 3)))
        out = (1, 1, 1, shape[-1]) if rng.integers(2) else shape
        x, h, y = (
            a.tensor(name, s, scale=0.1, zero=3) for name, s in (("x", shape), ("h", out), ("y", shape))
        )
        over = a.tensor("axes", (2,), "INT32", data=[1, 2])
        if out == shape:
            a.op("RELU", [x], [h])
        else:
            a.op("MEAN", [x, over], [h], "ReducerOptions", 2, keepDims=True)
        a.op("SQUARED_DIFFERENCE", [x, h], [y], "SquaredDifferenceOptions", 2)
        (tmp_path / "net.tflite").write_bytes(a.bytes([x], [y]))
        graph = load_model(tmp_path / "net.tflite")
        assert "squared_difference" in {n.op for n in graph.nodes}
        feeds = random_feeds(rng, graph)
        assert_close(run(export(graph), feeds), computed(graph, feeds))
