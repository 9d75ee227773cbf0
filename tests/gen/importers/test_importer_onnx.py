"""ONNX in, Graph out: what exporters write is computed right, in canonical layers."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_models as om
import onnx_variants as ov
import pytest
from float_graph import run_graph
from onnx import ModelProto, TensorProto, helper
from onnx.reference import ReferenceEvaluator
from onnx_models import TWO, X8, Y4, model, node, real, save

from synapcc.gen.errors import CompileError
from synapcc.gen.importers import load_model
from synapcc.gen.ir.graph import Graph

pytestmark = pytest.mark.anywhere


def imported(proto: ModelProto, folder: Path, name: str = "net.onnx") -> Graph:
    return load_model(save(proto, folder, name))


def ops(graph: Graph) -> list[str]:
    return [n.op for n in graph.nodes]


def names(graph: Graph) -> list[str]:
    return [n.name for n in graph.nodes]


def assert_same(proto: ModelProto, graph: Graph, output: int = -1) -> None:
    """The graph computes what onnx's own reference says, for one sample."""
    g = om.rng(5)
    listed = [i for i in proto.graph.input if i.name not in {t.name for t in proto.graph.initializer}]
    evaluator = ReferenceEvaluator(proto)
    for _ in range(4):
        feeds = {}
        for i in listed:
            dims = [d.dim_value or 1 for d in i.type.tensor_type.shape.dim]
            feeds[i.name] = (g.standard_normal(dims) * 2).astype(np.float32)
        renamed = {re.sub(r"\W", "_", k.lower()): v for k, v in feeds.items()}
        expected = np.asarray(list(evaluator.run(None, feeds))[output]).reshape(-1)
        got = run_graph(graph, renamed)
        if graph.head == "softmax":
            got = np.exp(got - got.max()) / np.exp(got - got.max()).sum()
            expected = np.exp(expected) if expected.max() <= 0 else expected
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", sorted(ov.VARIANTS))
def test_computes_what_the_file_says(name: str, tmp_path: Path) -> None:
    proto = ov.VARIANTS[name]()
    graph = imported(proto, tmp_path)
    assert_same(proto, graph)
    assert len(graph.tensors[graph.output].shape) == 1
    words = [*graph.tensors, *names(graph), graph.name]
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", w) for w in words)
    used = {i for n in graph.nodes for i in n.inputs} | {n.output for n in graph.nodes} | set(graph.inputs)
    assert set(graph.tensors) == used


@pytest.mark.parametrize(
    ("name", "expected", "layers"),
    [
        ("torch_old", "dense clip dense", "fc1 relu1 fc2"),
        ("torch_softmax", "dense clip dense", "fc1 relu1 fc2"),
        ("torch_dynamo", "dense clip dense", "fc1 clip1 fc2"),
        ("torch_dynamo_transposes", "dense clip dense", "fc1 clip1 fc2"),
        ("torch_matmul_in_three_dimensions", "reshape dense clip dense", "reshape1 fc1 clip1 dense2"),
        ("torch_sequential", "dense clip dense", "net_0 net_1 net_2"),
        ("torch_view", "reshape dense clip dense", "reshape1 fc1 clip1 fc2"),
        ("flatten_image", "reshape dense clip dense", "reshape1 fc1 clip1 fc2"),
        ("views_in_a_row", "dense dense", "fc1 fc2"),
        ("keras", "dense clip dense", "sequential_dense sequential_dense_clip sequential_dense_1"),
        ("sklearn", "dense clip dense", "dense1 clip1 dense2"),
        ("batch_norm_everywhere", "dense clip dense", "fc1 relu fc2"),
        ("batch_norm_of_channels", "reshape dense dense", "reshape1 fc1 fc2"),
        ("affine_that_stays", "clip affine clip dense dense", "clip1 affine3 clip2 fc1 fc2"),
        ("affine_in_front", "clip dense dense", "clip1 fc1 fc2"),
        ("two_inputs", "concat dense clip concat dense", "concat1 fc1 clip1 concat2 fc2"),
        ("clips", "clip dense clip dense clip", "hardtanh fc1 clip3 fc2 clip5"),
        ("opset_7", "dense clip dense", "fc1 clip2 fc2"),
        ("dropout_and_identity", "dense dense", "fc1 fc2"),
        ("weight_on_the_left", "dense dense", "fc1 fc2"),
        ("constants", "dense dense", "dense1 dense2"),
    ],
)
def test_canonical_layers(name: str, expected: str, layers: str, tmp_path: Path) -> None:
    graph = imported(ov.VARIANTS[name](), tmp_path)
    assert ops(graph) == expected.split()
    assert names(graph) == layers.split()


def test_folds_are_noted_and_sources_kept(tmp_path: Path) -> None:
    graph = imported(ov.batch_norm_everywhere(), tmp_path)
    assert [n.source for n in graph.nodes] == ['Gemm "/fc1/Gemm"', 'Relu "/relu/Relu"', 'Gemm "/fc2/Gemm"']
    assert len(graph.notes) == 4
    assert 'input x: its quantiser took in BatchNormalization "/bn0/BatchNormalization"' in graph.notes
    assert 'fc2: took in BatchNormalization "/bn3/BatchNormalization", which stood behind it' in graph.notes


def test_heads(tmp_path: Path) -> None:
    assert imported(ov.torch_softmax(), tmp_path).head == "softmax"
    assert imported(ov.gemm_forms(), tmp_path).head == "softmax"
    assert imported(ov.torch_old(), tmp_path).head == "none"


def test_clip_limits(tmp_path: Path) -> None:
    graph = imported(ov.clips(), tmp_path)
    limits = [(n.attrs["lo"], n.attrs["hi"]) for n in graph.nodes if n.op == "clip"]
    assert limits == [(-1.0, 1.0), (0.0, 6.0), (-1.0, 6.0)]
    relu = next(n for n in imported(ov.torch_old(), tmp_path).nodes if n.op == "clip")
    assert (relu.attrs["lo"], relu.attrs["hi"]) == (0.0, np.inf)


@pytest.mark.parametrize("build", [ov.sklearn, ov.sklearn_zipmap, ov.sklearn_label_only])
def test_sklearn_outputs(build: Callable[[], ModelProto], tmp_path: Path) -> None:
    graph = imported(build(), tmp_path)
    assert_same(ov.sklearn(), graph)
    assert graph.head == "softmax" and graph.inputs == ("x",)
    assert any("left out" in n or "dropped" in n for n in graph.notes)
    assert 'input "X" is called x' in graph.notes


def test_one_of_several_outputs_is_chosen_by_name(tmp_path: Path) -> None:
    proto = ov.torch_old()
    proto.graph.output.append(helper.make_tensor_value_info("/fc1/Gemm_output_0", 1, [1, 6]))
    path = save(proto, tmp_path)
    with pytest.raises(CompileError, match="choose the one with the class scores: --scores NAME"):
        load_model(path)
    assert ops(load_model(path, output="/fc1/Gemm_output_0")) == ["dense"]
    assert_same(ov.torch_old(), load_model(path, output="output"))
    with pytest.raises(
        CompileError, match=re.escape('no output is called "fc1"; the outputs are "output", ')
    ):
        load_model(path, output="fc1")


def test_argmax_at_the_end(tmp_path: Path) -> None:
    proto = ov.torch_old()
    proto.graph.node.append(node("ArgMax", "output", "label", "/ArgMax", axis=1, keepdims=0))
    del proto.graph.output[:]
    proto.graph.output.append(helper.make_tensor_value_info("label", TensorProto.INT64, ["batch"]))
    graph = imported(proto, tmp_path)
    assert ops(graph) == ["dense", "clip", "dense"]
    assert any("ArgMax" in n for n in graph.notes)


def test_widened_weights_are_noted(tmp_path: Path) -> None:
    proto = model([node("Gemm", "x w", "y")], X8, Y4, {"w": real(8, 4, dtype=np.float64)})
    graph = imported(proto, tmp_path)
    assert any("float64" in n for n in graph.notes)
    assert np.array_equal(graph.tensors["dense1_weight"].value, real(8, 4, dtype=np.float64).T)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [TensorProto.BFLOAT16, TensorProto.FLOAT16])
@pytest.mark.parametrize("raw", [True, False])
def test_half_floats(kind: int, raw: bool, tmp_path: Path) -> None:
    values = [1.0, -0.5, 0.25, 3.0] * 8
    bits = [struct.unpack("<I", struct.pack("<f", v))[0] >> 16 for v in values]
    proto = model([node("Gemm", "x w", "y")], X8, Y4, {"w": real(8, 4)})
    if kind == TensorProto.FLOAT16 or not raw:
        tensor = helper.make_tensor("w", kind, [8, 4], values)
    else:
        tensor = helper.make_tensor("w", kind, [8, 4], struct.pack("<32H", *bits), raw=True)
    proto.graph.initializer[0].CopyFrom(tensor)
    graph = imported(proto, tmp_path)
    assert np.array_equal(graph.tensors["dense1_weight"].value.T.reshape(-1), values)  # type: ignore[union-attr]


def test_external_data(tmp_path: Path) -> None:
    proto = model([node("Gemm", "x w", "y")], X8, Y4, {"w": real(8, 4)})
    path = tmp_path / "big.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="big.data", size_threshold=0)
    assert np.array_equal(load_model(path).tensors["dense1_weight"].value, real(8, 4).T)  # type: ignore[arg-type]
    (tmp_path / "big.data").write_bytes(b"short")
    with pytest.raises(CompileError, match="big"):
        load_model(path)
    (tmp_path / "big.data").unlink()
    with pytest.raises(CompileError, match="keep that file next to the model"):
        load_model(path)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("ECG net-2.onnx", "ecg_net_2"),
        ("3layers.onnx", "net_3layers"),
        ("int.onnx", "net_int"),
        ("größe.onnx", "groe"),
        ("日本.onnx", "net"),
        ("MODEL.ONNX", "net_model"),
        ("poll.onnx", "net_poll"),
        ("Aux.onnx", "net_aux"),
        ("com1.onnx", "net_com1"),
        ("Semaphore.onnx", "net_semaphore"),
    ],
)
def test_network_names(file: str, name: str, tmp_path: Path) -> None:
    assert imported(ov.torch_old(), tmp_path, file).name == name


def test_given_name(tmp_path: Path) -> None:
    assert load_model(save(ov.torch_old(), tmp_path), "Heart").name == "heart"


@pytest.mark.parametrize(
    ("node_name", "weight", "layer"),
    [
        ("/model/fc1/Gemm", "w", "model_fc1"),
        ("/Gemm", "model.fc1.weight", "model_fc1"),
        ("Gemm_0", "0.weight", "layer_0"),
        ("/0/Gemm", "onnx::Gemm_7", "layer_0"),
        ("Gemm__12", "model/dense/MatMul/ReadVariableOp:0", "model_dense"),
        ("", "onnx::MatMul_12", "dense1"),
        ("node_linear_3", "while.weight", "layer_while"),
        ("/Int/Gemm", "w", "layer_int"),
        ("fc*/evil\n\\", "w", "fc_evil"),
        ("x", "w", "x_dense"),
    ],
)
def test_layer_names(node_name: str, weight: str, layer: str, tmp_path: Path) -> None:
    proto = model([node("Gemm", f"x {weight}", "y", node_name)], X8, Y4, {weight: real(8, 4)})
    graph = imported(proto, tmp_path)
    assert names(graph) == [layer]
    assert "*/" not in graph.nodes[0].source and "\n" not in graph.nodes[0].source


def test_equal_names_are_numbered(tmp_path: Path) -> None:
    nodes = [node("Gemm", "x a.weight", "h", "/a/Gemm"), node("Gemm", "h b.weight", "y", "/a/Gemm")]
    graph = imported(model(nodes, X8, Y4, {"a.weight": real(8, 6), "b.weight": real(6, 4)}), tmp_path)
    assert names(graph) == ["a", "a_2"]


def test_a_shared_affine_stays_for_whom_it_cannot_fold(tmp_path: Path) -> None:
    nodes = [
        node("Relu", "x", "p"),
        node("Mul", "p s", "n"),
        node("Gemm", "n w1", "a"),
        node("Relu", "n", "r"),
        node("Gemm", "r w2", "b"),
        node("Concat", "a b", "c", axis=1),
        node("Gemm", "c w3", "d"),
        node("Mul", "d s4", "e"),
        node("Concat", "d e", "f", axis=1),
        node("Gemm", "f w4", "y"),
    ]
    weights = {
        "s": real(8),
        "w1": real(8, 3),
        "w2": real(8, 3),
        "w3": real(6, 4),
        "w4": real(8, 4),
        "s4": real(4),
    }
    proto = model(nodes, X8, Y4, weights)
    graph = imported(proto, tmp_path)
    assert_same(proto, graph)
    assert ops(graph).count("affine") == 1


def test_unused_inputs_are_noted(tmp_path: Path) -> None:
    proto = ov.torch_old()
    proto.graph.input.append(helper.make_tensor_value_info("spare", TensorProto.FLOAT, [1, 3]))
    graph = imported(proto, tmp_path)
    assert graph.inputs == ("input",)
    assert 'input "spare" does not reach the output: left out' in graph.notes


def test_the_order_of_nodes_does_not_matter(tmp_path: Path) -> None:
    proto = ov.keras()
    shuffled = ov.keras()
    del shuffled.graph.node[:]
    shuffled.graph.node.extend(reversed(proto.graph.node))
    assert_same(proto, imported(shuffled, tmp_path))


def test_the_weights_are_not_shared_with_the_file(tmp_path: Path) -> None:
    graph = imported(ov.torch_old(), tmp_path)
    for tensor in graph.tensors.values():
        if tensor.value is not None:
            assert tensor.value.dtype == np.float64 and tensor.value.shape == tensor.shape
    assert np.array_equal(TWO["fc1.weight"].shape, graph.tensors["fc1_weight"].shape)
