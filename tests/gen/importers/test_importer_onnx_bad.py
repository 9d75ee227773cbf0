"""What cannot be compiled is one clear line, whatever the file holds."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_models as om
import onnx_variants as ov
import pytest
from onnx import ModelProto, TensorProto, helper
from onnx_models import X8, Y4, model, node, real, save

from synapcc.gen.errors import CompileError
from synapcc.gen.importers import load_model, suffixes
from synapcc.gen.importers.onnx.operators import supported
from synapcc.gen.importers.onnx.refusals import NEAREST
from synapcc.gen.ir.graph import Graph

Edit = Callable[[ModelProto], object]


def refused(proto: ModelProto, folder: Path) -> str:
    with pytest.raises(CompileError) as caught:
        load_model(save(proto, folder))
    message = str(caught.value)
    assert "\n" not in message and caught.value.where and caught.value.what and caught.value.hint
    return message


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("net.onnx", b"", "the file is empty"),
        ("net.onnx", b"this is no protobuf", "not an ONNX file"),
        ("net.onnx", ModelProto(ir_version=8).SerializeToString(), "holds no network"),
        ("net.h5", b"x", 'suffix ".h5" is no known model format; give a model file ending in .onnx'),
        ("net", b"x", "the file has no suffix"),
        ("nowhere.onnx", None, "there is no such file"),
    ],
)
def test_bad_files(name: str, content: bytes | None, says: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CompileError) as caught:
        load_model(tmp_path / name)
    assert says in str(caught.value)


@pytest.mark.parametrize("batch", [-1, 0, 1])
def test_a_batch_that_is_left_open(batch: int, tmp_path: Path) -> None:
    """Some exporters write -1: also what reads the shape sees one sample."""
    nodes = [node("Shape", "x", "s"), node("Reshape", "x s", "r"), node("Gemm", "r w b", "y", transB=1)]
    proto = model(nodes, {"x": [1, 8]}, {"y": [1, 4]}, {"w": real(4, 8), "b": real(4)})
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = batch
    graph = load_model(save(proto, tmp_path))
    assert graph.tensors[graph.inputs[0]].shape == (8,) and graph.tensors[graph.output].shape == (4,)


def test_bad_paths(tmp_path: Path) -> None:
    (tmp_path / "folder.onnx").mkdir()
    for path, says in ((tmp_path / "folder.onnx", "is a folder"), (tmp_path / "n\0.onnx", "cannot be read")):
        with pytest.raises(CompileError, match=says):
            load_model(path)


def test_every_truncation_is_refused_or_read(tmp_path: Path) -> None:
    data = ov.torch_old().SerializeToString()
    for size in range(0, len(data), 7):
        _load_bytes(data[:size], tmp_path)


def test_what_is_nearest_is_supported() -> None:
    for op, hint in NEAREST.items():
        assert set(re.findall(r"\b[A-Z]\w+", hint)) & set(supported()), op


def test_suffixes() -> None:
    assert suffixes() == ("onnx", "tflite")


def _dense(nodes: list[onnx.NodeProto], **weights: np.ndarray) -> ModelProto:
    """x [batch, 8] -> nodes -> a [.., 8] -> Gemm -> y."""
    return model([*nodes, node("Gemm", "a w", "y", "/fc/Gemm")], X8, Y4, {"w": real(8, 4), **weights})


def _plain(dims: om.Shape, kind: int = TensorProto.FLOAT) -> ModelProto:
    proto = model([node("Gemm", "x w", "y", "/fc/Gemm")], {"x": dims}, Y4, {"w": real(8, 4)})
    proto.graph.input[0].type.tensor_type.elem_type = kind
    return proto


def _conv(dims: om.Shape, weight: np.ndarray, *front: onnx.NodeProto, **given: Any) -> ModelProto:
    """x -> nodes that end in a -> Conv -> y; `given` are attributes of Conv and further constants."""
    attrs = {k: v for k, v in given.items() if not isinstance(v, np.ndarray)}
    weights = {"w": weight, **{k: v for k, v in given.items() if isinstance(v, np.ndarray)}}
    last = node("Conv", "a w" if front else "x w", "y", "/conv/Conv", **attrs)
    return model([*front, last], {"x": dims}, {"y": [1, "n"]}, weights)


def _chain(length: int, op: str, dims: om.Shape, **attrs: Any) -> ModelProto:
    """x -> one operator after another -> y."""
    names = ["x", *(f"t{i}" for i in range(1, length)), "y"]
    nodes = [node(op, a, b, **attrs) for a, b in pairwise(names)]
    return model(nodes, {"x": dims}, {"y": [1, "n"]})


def _map(*nodes: onnx.NodeProto, **weights: Any) -> ModelProto:
    """x [1, 2, 4, 4] -> nodes -> y."""
    arrays = {k: np.asarray(v) for k, v in weights.items()}
    return model(nodes, {"x": [1, 2, 4, 4]}, {"y": [1, "n"]}, arrays)


def _edited(edit: Edit) -> ModelProto:
    proto = ov.torch_old()
    edit(proto)
    return proto


def _with_weight(value: np.ndarray) -> ModelProto:
    return model([node("Gemm", "x w", "y", "/fc/Gemm")], X8, Y4, {"w": value})


def _function_model() -> ModelProto:
    proto = model([helper.make_node("Linear", ["x"], ["y"], "/lin", domain="mine")], X8, Y4)
    body = [node("Relu", "a", "b")]
    proto.functions.append(helper.make_function("mine", "Linear", ["a"], ["b"], body, proto.opset_import))
    return proto


def _if_model() -> ModelProto:
    branch = helper.make_graph(
        [node("Relu", "x", "b")], "g", [], [helper.make_tensor_value_info("b", 1, None)]
    )
    chosen = node("If", "c", "y", "/If", then_branch=branch, else_branch=branch)
    return model([node("Greater", "x z", "c"), chosen], X8, Y4, {"z": real(1)})


def _nan() -> np.ndarray:
    value = real(8, 4)
    value[3, 2] = np.nan
    value[0, 0] = np.inf
    return value


BN = {"s": real(8), "b": real(8), "m": real(8), "v": np.abs(real(8))}
BAD: dict[str, tuple[Callable[[], ModelProto], str]] = {
    "unsupported": (
        lambda: _dense([node("Tan", "x", "a", "/Tan")]),
        'Tan "/Tan": operator Tan is not supported; nearest is Sin and Cos; supported are Abs, Add',
    ),
    "custom domain": (
        lambda: model([helper.make_node("Gelu", ["x"], ["y"], "g", domain="com.acme")], X8, Y4),
        "Gelu of domain com.acme",
    ),
    "function": (_function_model, "a function of the file; inline it"),
    "control flow": (_if_model, "If is not supported: control flow"),
    "quantised": (
        lambda: _dense([node("QuantizeLinear", "x s z", "a", "/q")], s=real(1), z=real(1)),
        "has a scale that is no positive number",
    ),
    "cycle": (lambda: _dense([node("Relu", "b", "a"), node("Relu", "a", "b")]), "is part of a cycle"),
    "missing tensor": (
        lambda: _dense([node("Relu", "ghost", "a", "/r")]),
        'Relu "/r": "ghost" is produced by nothing',
    ),
    "missing output": (
        lambda: _edited(lambda p: setattr(p.graph.output[0], "name", "ghost")),
        '"ghost" is produced by nothing',
    ),
    "no output": (lambda: _edited(lambda p: p.graph.output.pop()), "no output"),
    "two producers": (
        lambda: _dense([node("Relu", "x", "a"), node("Relu", "x", "a")]),
        'produces "a", which exists already',
    ),
    "output is input": (lambda: model([node("Identity", "x", "y")], X8, {"y": [1, 8]}), "computes nothing"),
    "constant output": (
        lambda: model([node("Constant", "", "y", value_float=1.0)], X8, Y4),
        "does not depend on the input",
    ),
    "several outputs": (
        lambda: _edited(
            lambda p: p.graph.output.append(helper.make_tensor_value_info("/fc1/Gemm_output_0", 1, [1, 6]))
        ),
        'has 2 outputs: "output", "/fc1/Gemm_output_0"',
    ),
    "no opset": (lambda: _edited(lambda p: p.opset_import.pop() and p.opset_import.pop()), "names no opset"),
    "old opset": (
        lambda: _edited(lambda p: setattr(p.opset_import[0], "version", 6)),
        "uses opset 6; export with an opset from 7",
    ),
    "new opset": (lambda: _edited(lambda p: setattr(p.opset_import[0], "version", 999)), "uses opset 999"),
    "integer input": (
        lambda: _plain(["b", 8], TensorProto.INT8),
        "is int8, and no DequantizeLinear says what it stands for",
    ),
    "unknown input": (lambda: _plain(["b", 8], 99), "is type 99, not float32"),
    "fixed batch": (
        lambda: model(
            [node("ReduceMean", "x a", "m", "/mean"), node("Gemm", "m w", "y")],
            {"x": [32, 8]},
            Y4,
            {"w": real(8, 4), "a": np.array([0])},
        ),
        'ReduceMean "/mean": works along the batch, in which the file has 32 samples; a compiled network',
    ),
    "dynamic feature": (lambda: _plain(["b", "n"]), "has shape (?, ?); only the first dimension"),
    "dynamic vector": (lambda: _plain(["b"]), "has shape (?)"),
    "scalar": (lambda: _plain([]), "has shape ()"),
    "no shape": (
        lambda: _edited(lambda p: p.graph.input[0].type.tensor_type.ClearField("shape")),
        "has no shape",
    ),
    "huge input": (lambda: _plain(["b", 10**12]), "elements, the most is"),
    "misfit": (
        lambda: _plain(["b", 9]),
        "its weight takes 8 values (8 -> 4), the activation has shape (1, 9)",
    ),
    "rows": (
        lambda: model([node("Gemm", "x w", "y")], {"x": [3, 7]}, Y4, {"w": real(8, 4)}),
        "one vector per sample",
    ),
    "integer weight": (
        lambda: _with_weight(np.ones((8, 4), np.int8)),
        'its weight "w" is int8; export the float model',
    ),
    "boolean weight": (lambda: _with_weight(np.ones((8, 4), np.bool_)), "is bool"),
    "complex weight": (lambda: _with_weight(np.ones((8, 4), np.complex64)), "element type complex64"),
    "string weight": (lambda: _with_weight(np.array([["a"]], np.object_)), "is str"),
    "nan": (lambda: _with_weight(_nan()), '2 of the 32 values of its weight "w" are NaN or infinite'),
    "empty weight": (lambda: _with_weight(np.ones((8, 0), np.float32)), "is empty"),
    "weight of rank 3": (lambda: _with_weight(real(2, 8, 4)), "are no matrices"),
    "computed weight": (
        lambda: model([node("Gemm", "x x", "y")], {"x": [1, 1]}, Y4),
        "is computed from the model's input",
    ),
    "wrong length": (
        lambda: _edited(lambda p: setattr(p.graph.initializer[0], "raw_data", b"123")),
        "3 bytes are stored, shape (6, 8) needs 192",
    ),
    "huge claim": (
        lambda: _edited(lambda p: p.graph.initializer[0].dims.extend([10**6, 10**6])),
        "elements, the most is",
    ),
    "negative dim": (lambda: _edited(lambda p: p.graph.initializer[0].dims.append(-1)), "impossible shape"),
    "many dims": (
        lambda: _edited(lambda p: p.graph.initializer[0].dims.extend([1] * 70)),
        "impossible shape",
    ),
    "few values": (
        lambda: _edited(lambda p: p.graph.initializer[0].ClearField("raw_data")),
        "0 values are stored",
    ),
    "transA": (
        lambda: model([node("Gemm", "x w", "y", transA=1)], X8, Y4, {"w": real(8, 4)}),
        "transA is set",
    ),
    "bias": (
        lambda: model([node("Gemm", "x w c", "y")], X8, Y4, {"w": real(8, 4), "c": real(3)}),
        "its bias has shape (3,)",
    ),
    "column bias": (
        lambda: model([node("Gemm", "x w c", "y")], X8, Y4, {"w": real(8, 4), "c": real(4, 1)}),
        "its bias has shape (4, 1)",
    ),
    "attribute type": (
        lambda: model([node("Gemm", "x w", "y", transB="yes")], X8, Y4, {"w": real(8, 4)}),
        'attribute "transB" has the wrong type',
    ),
    "division by zero": (
        lambda: _dense([node("Div", "x c", "a")], c=np.zeros(8, np.float32)),
        "divides by 0",
    ),
    "overflow": (lambda: _dense([node("Div", "x c", "a")], c=np.full(8, 1e-320)), "NaN or infinite"),
    "broadcast": (
        lambda: _dense([node("Mul", "x c", "a")], c=real(3, 8)),
        "a constant of shape (3, 8) does not fit",
    ),
    "no broadcast": (
        lambda: _dense([node("Mul", "x c", "a")], c=real(5)),
        "a constant of shape (5,) does not fit",
    ),
    "integer scale": (lambda: _dense([node("Mul", "x c", "a")], c=np.array(2)), "is int64"),
    "norm sizes": (
        lambda: _dense([node("BatchNormalization", "x s b m v", "a")], **{**BN, "s": real(3)}),
        "its constants have [3, 8] values",
    ),
    "norm variance": (
        lambda: _dense([node("BatchNormalization", "x s b m v", "a")], **{**BN, "v": -BN["v"] - 1}),
        "a variance is not positive",
    ),
    "norm training": (
        lambda: _dense([node("BatchNormalization", "x s b m v", "a p q", training_mode=1)], **BN),
        "is in training mode",
    ),
    "norm operands": (
        lambda: _dense([node("BatchNormalization", "x s b m", "a")], **BN),
        "its variance is missing",
    ),
    "dropout training": (
        lambda: _dense([node("Dropout", "x - t", "a")], t=np.array(True)),
        "is in training mode",
    ),
    "dropout mask": (lambda: _dense([node("Dropout", "x", "d a")]), 'reads output 2 ("a") of Dropout'),
    "cast": (lambda: _dense([node("Cast", "x", "a", to=TensorProto.INT32)]), "casts activations to int32"),
    "empty clip": (
        lambda: _dense(
            [node("Clip", "x lo hi", "a")], lo=np.array(2, np.float32), hi=np.array(1, np.float32)
        ),
        "leave no range",
    ),
    "nan clip": (
        lambda: _dense([node("Clip", "x lo", "a")], lo=np.array(np.nan, np.float32)),
        "leave no range",
    ),
    "clip shape": (lambda: _dense([node("Clip", "x lo", "a")], lo=real(8)), "only one limit"),
    "clip by activation": (lambda: _dense([node("Clip", "x x", "a")]), "is computed from the model's input"),
    "max of two shapes": (
        lambda: _map(node("GlobalAveragePool", "x", "g"), node("Max", "x g", "y")),
        "combines shapes (1, 2, 4, 4) and (1, 2, 1, 1); only equal shapes can be compared",
    ),
    "powers": (lambda: _dense([node("Pow", "x c", "a")], c=real(8)), "has no one exponent for all values"),
    "power 0": (lambda: _dense([node("Pow", "x c", "a")], c=np.float32(0)), "has the exponent 0.0"),
    "power of a negative": (
        lambda: _dense([node("Pow", "c x", "a")], c=np.float32(-2)),
        "one positive number",
    ),
    "celu": (lambda: _dense([node("Celu", "x", "a", alpha=0.0)]), "has alpha = 0; use Relu"),
    "slice of nothing": (
        lambda: _dense([node("Slice", "x s e a1", "a")], s=np.array([3]), e=np.array([3]), a1=np.array([1])),
        "takes nothing of axis 1 of shape (1, 8)",
    ),
    "slice by 0": (
        lambda: _dense([node("Slice", "x o o o z", "a")], o=np.array([1]), z=np.array([0])),
        "its limits do not fit: slice step cannot be zero",
    ),
    "slice by a number": (
        lambda: _dense([node("Slice", "x f f", "a")], f=np.array([np.nan], np.float32)),
        "its limits do not fit",
    ),
    "uneven split": (
        lambda: _dense([node("Split", "x s", "a b", axis=1)], s=np.array([3, 4])),
        "splits axis 1 of shape (1, 8) into 2 parts [3, 4]",
    ),
    "place beyond": (
        lambda: _dense([node("Gather", "x i", "a", axis=1)], i=np.array([0, -9])),
        "takes place 9 of 8",
    ),
    "places of floats": (
        lambda: _dense([node("Gather", "x i", "a", axis=1)], i=real(2)),
        "its indices is float32",
    ),
    "places computed": (
        lambda: _dense([node("Relu", "x", "r"), node("Gather", "x r", "a", axis=1)]),
        "its indices is computed from the model's input; only constant ones",
    ),
    "table of places": (
        lambda: _dense([node("GatherElements", "x i", "a", axis=1)], i=np.zeros((2, 3), int)),
        "its indices have shape (2, 3), its input (1, 8)",
    ),
    "depth of places": (
        lambda: _dense([node("GatherND", "x i", "a")], i=np.zeros((2, 3), int)),
        "takes indices of shape (2, 3)",
    ),
    "repeats": (
        lambda: _dense([node("Tile", "x t", "a")], t=np.array([2])),
        "has 1 repeats, its input shape",
    ),
    "no repeat": (lambda: _dense([node("Tile", "x t", "a")], t=np.array([1, 0])), "at least once"),
    "many repeats": (
        lambda: _dense([node("Tile", "x t", "a")], t=np.array([1, 2**40])),
        "the most is 4194304",
    ),
    "expanded": (
        lambda: _dense([node("Expand", "x t", "a")], t=np.array([1, 3])),
        "cannot make [1, 3] of shape",
    ),
    "blocks": (
        lambda: _map(node("SpaceToDepth", "x", "y", blocksize=3)),
        "shape (1, 2, 4, 4) has no blocks of 3",
    ),
    "no blocks": (lambda: _map(node("DepthToSpace", "x", "y", blocksize=0)), "by blocks of 0"),
    "places and values": (
        lambda: _dense([node("Where", "c x k", "a")], c=np.zeros(8, bool), k=real(5)),
        "its condition has shape (8,), its value (5,)",
    ),
    "constants by a constant": (
        lambda: _dense([node("Where", "c x k", "a")], c=np.zeros(5, bool), k=real(8)),
        "does not fit values of shape (1, 8)",
    ),
    "softmax of the batch": (
        lambda: model([node("Softmax", "x", "y", axis=0)], X8, {"y": [1, 8]}),
        "not over the classes",
    ),
    "softmax axis": (
        lambda: model([node("Softmax", "x", "y", axis=5)], X8, {"y": [1, 8]}),
        "there is no axis 5",
    ),
    "argmax inside": (lambda: _dense([node("ArgMax", "x", "a", axis=1)]), "works on class numbers"),
    "reshape": (
        lambda: _dense([node("Reshape", "x t", "a")], t=np.array([1, 9])),
        "8 values of shape (1, 8) do not make shape (1, 9)",
    ),
    "reshape twice unknown": (
        lambda: _dense([node("Reshape", "x t", "a")], t=np.array([-1, -1])),
        "do not make shape (-1, -1)",
    ),
    "reshape to much": (
        lambda: _dense([node("Reshape", "x t", "a")], t=np.array([2**62, 2**62])),
        "do not make shape",
    ),
    "reshape float": (
        lambda: _dense([node("Reshape", "x t", "a")], t=np.array([np.nan], np.float32)),
        "Reshape",
    ),
    "squeeze": (lambda: _dense([node("Squeeze", "x t", "a")], t=np.array([1])), "are not all of size 1"),
    "transpose": (
        lambda: model([node("Transpose", "x", "y", perm=[0, 2, 1])], {"x": [1, 2, 4]}, Y4),
        "computes nothing",
    ),
    "unsqueeze twice one axis": (  # found by fuzzing
        lambda: _dense([node("Unsqueeze", "x t", "a")], t=np.array([1, -3])),
        "axes (1, -3) name one axis twice",
    ),
    "transpose twice one axis": (
        lambda: model([node("Transpose", "x", "y", perm=[0, 2, 2])], {"x": [1, 2, 4]}, Y4),
        "perm (0, 2, 2) does not fit shape (1, 2, 4)",
    ),
    "concat shapes": (
        lambda: model([node("Concat", "x z", "y", axis=1)], {"x": [1, 2], "z": [1, 2, 2]}, Y4),
        "do not fit along axis 1",
    ),
    "concat constant": (
        lambda: _dense([node("Concat", "x c", "a", axis=1)], c=real(2, 1)),
        "shapes (1, 8), (2, 1) do not fit along axis 1",
    ),
    "fold misfit": (
        lambda: _dense(
            [node("Reshape", "x t", "a"), node("Concat", "s t2", "t", axis=0)],
            s=np.array([1]),
            t2=np.array([[1]]),
        ),
        "constant operands do not fit",
    ),
    "fold blow-up": (
        lambda: _dense(
            [node("ConstantOfShape", "n", "c"), node("Mul", "x c", "a")], n=np.array([10**6, 10**6])
        ),
        "elements, the most is",
    ),
    "broadcast blow-up": (
        lambda: _dense([node("Mul", "p q", "c"), node("Mul", "x c", "a")], p=real(1, 4000), q=real(4000, 1)),
        "elements, the most is",
    ),
    "constant string": (
        lambda: _dense([node("Constant", "", "c", value_string="no"), node("Mul", "x c", "a")]),
        "holds value_string",
    ),
    "segment": (
        lambda: _edited(lambda p: setattr(p.graph.initializer[0].segment, "begin", 1)),
        "stored in segments",
    ),
    "weight of another rank": (
        lambda: _conv([1, 1, 8], real(2, 1, 3, 3)),
        "its weight has shape (2, 1, 3, 3)",
    ),
    "three dimensions": (
        lambda: _conv([1, 1, 4, 4, 4], real(2, 1, 3, 3, 3)),
        "1-D and 2-D ones can be compiled",
    ),
    "batch of maps": (
        lambda: _conv([1, 2, 8], real(2, 1, 3), node("Reshape", "x t", "a"), t=np.array([2, 1, 8])),
        "has a batch of 2",
    ),
    "channels": (lambda: _conv([1, 3, 8], real(2, 1, 3)), "in 1 groups does not fit 3 channels"),
    "groups": (lambda: _conv([1, 2, 8], real(3, 1, 3), group=2), "in 2 groups does not fit 2 channels"),
    "no groups": (lambda: _conv([1, 1, 8], real(2, 1, 3), group=0), "in 0 groups"),
    "kernel_shape": (lambda: _conv([1, 1, 8], real(2, 1, 3), kernel_shape=[5]), "its kernel_shape is (5,)"),
    "large kernel": (
        lambda: _conv([1, 1, 8], real(2, 1, 9)),
        "its kernel (9,) does not fit into the map of (8,)",
    ),
    "dilated kernel": (lambda: _conv([1, 1, 8], real(2, 1, 3), dilations=[4]), "does not fit into the map"),
    "strides": (lambda: _conv([1, 1, 8], real(2, 1, 3), strides=[0]), "its strides (0,) is impossible"),
    "two strides": (
        lambda: _conv([1, 1, 8], real(2, 1, 3), strides=[1, 1]),
        "its strides (1, 1) is impossible",
    ),
    "pads": (lambda: _conv([1, 1, 8], real(2, 1, 3), pads=[-1, 0]), "its pads (-1, 0) are impossible"),
    "three pads": (
        lambda: _conv([1, 1, 8], real(2, 1, 3), pads=[1, 0, 1]),
        "its pads (1, 0, 1) are impossible",
    ),
    "huge pads": (lambda: _conv([1, 1, 8], real(2, 1, 3), pads=[2**22, 0]), "the most is"),
    "auto_pad": (lambda: _conv([1, 1, 8], real(2, 1, 3), auto_pad="BOTH"), "its auto_pad is 'BOTH'"),
    "much work": (
        lambda: _conv([1, 16, 128, 128], real(64, 16, 4, 4), pads=[0, 3, 3, 0]),
        "takes 268435456 multiplications, the most is 134217728",
    ),
    "pool without kernel": (lambda: _dense([node("MaxPool", "m", "a")]), '"m" is produced by nothing'),
    "kernel missing": (lambda: _map(node("MaxPool", "x", "y")), "has no kernel_shape"),
    "dilated pool": (
        lambda: _map(node("AveragePool", "x", "y", kernel_shape=[2, 2], dilations=[2, 1], pads=[1, 0, 0, 0])),
        "is dilated, and has padding",
    ),
    "padding of pools": (
        lambda: _map(node("MaxPool", "x", "y", kernel_shape=[2, 2], pads=[2, 0, 0, 0])),
        "its padding (2, 0, 0, 0) is as large as its kernel",
    ),
    "rounded up and counted": (
        lambda: _map(
            node(
                "AveragePool",
                "x",
                "y",
                kernel_shape=[2, 2],
                strides=[2, 2],
                pads=[1, 1, 0, 0],
                ceil_mode=1,
                count_include_pad=1,
            )
        ),
        "divided by another number; export with count_include_pad = 0",
    ),
    "pool of vectors": (lambda: _dense([node("GlobalMaxPool", "x", "a")]), "only maps can be pooled"),
    "axes": (lambda: _map(node("ReduceMax", "x t", "y"), t=np.array([7])), "there is no axis 7"),
    "twisted": (
        lambda: _map(node("Pad", "x t", "y", mode="twist"), t=np.array([0, 0, 1, 1, 0, 0, 1, 1])),
        "pads in mode 'twist'; there are constant, edge, reflect, wrap",
    ),
    "an axis twice": (
        lambda: _map(node("Pad", "x t - a", "y"), t=np.array([1, 1, 1, 1]), a=np.array([2, -2])),
        "pads an axis twice: its axes are [2, 2]",
    ),
    "a sequence that grows": (
        lambda: _map(
            node("SequenceConstruct", "x x", "s"),
            node("SequenceInsert", "s x", "t", "/grow"),
            node("ConcatFromSequence", "t", "y", axis=1),
        ),
        "operator SequenceInsert is not supported; nearest is Concat of all",
    ),
    "a sequence that is counted": (
        lambda: _map(
            node("SequenceConstruct", "x x", "s"),
            node("SequenceLength", "s", "n"),
            node("Cast", "n", "f", to=1),
            node("Mul", "x f", "y"),
        ),
        "operator SequenceLength is not supported",
    ),
    "what is scattered is multiplied": (
        lambda: _map(
            node("ScatterND", "a i b", "c", reduction="mul"),
            node("Mul", "x c", "y"),
            a=real(4),
            i=np.array([[1]]),
            b=real(1),
        ),
        "it scatters with reduction mul",
    ),
    "parts of other lengths": (
        lambda: _map(
            node("SplitToSequence", "x t", "s", axis=2),
            node("SequenceAt", "s i", "y"),
            t=np.array([1, 2]),
            i=np.array(1),
        ),
        "into parts of 3 values together",
    ),
    "parts that no axis has": (
        lambda: _map(
            node("SplitToSequence", "x t", "s", axis=2),
            node("SequenceAt", "s i", "y"),
            t=np.array([1, 2**63 - 1]),
            i=np.array(0),
        ),
        "splits into lengths of 9223372036854775808 together",
    ),
    "cut off": (
        lambda: _map(node("Pad", "x t", "y"), t=np.array([0, 0, -1, 0, 0, 0, -3, 0])),
        "takes nothing of axis 2",
    ),
    "padding of everything": (
        lambda: _map(node("Pad", "x t", "y"), t=np.array([0, 1 << 20, 1 << 20, 1, 0, 0, 0, 0])),
        "elements, the most is",
    ),
    "padding with NaN": (
        lambda: _map(node("Pad", "x t v", "y"), t=np.array([0, 0, 1, 0, 0, 0, 0, 0]), v=np.float32(np.nan)),
        "pads with nan",
    ),
    "outer product": (
        lambda: _dense([node("Reshape", "x t", "r"), node("Mul", "x r", "a")], t=np.array([2, 4])),
        "combines shapes (1, 8) and (2, 4); shapes must be alike, or 1",
    ),
    "many operators": (
        lambda: _dense([node("Relu", "x", f"t{i}") for i in range(2**14)]),
        "operators, the most is",
    ),
    "many layers": (lambda: _chain(1001, "Sigmoid", [1, 8]), "is layer 1001, the most is 1000"),
    "many large views": (
        lambda: _chain(140, "Transpose", [1, 1024, 512], perm=[0, 2, 1]),
        "with it more than 256 MB are computed; use a smaller network",
    ),
    "large maps together": (
        lambda: _chain(17, "Sigmoid", [1, 2**19]),
        "makes 524288 values (8912896 in all), the most is 524288 (8388608)",
    ),
    "large map": (
        lambda: _conv([1, 1, 2**19], real(2, 1, 3)),
        "the most is 524288 (8388608)",
    ),
    "large windows": (
        lambda: _map(
            node("Pad", "x p", "l"),
            node("MaxPool", "l", "y", kernel_shape=[9, 9]),
            p=np.array([0, 0, 250, 250, 0, 0, 250, 250]),
        ),
        "values, the most is 4194304",
    ),
    "whole numbers": (
        lambda: _dense([node("Less", "x t", "c"), node("Where", "c x t", "a")], t=np.int32(0)),
        "is int32",
    ),
    "sums along no axis": (
        lambda: _dense([node("CumSum", "x t", "a")], t=np.array([0, 1])),
        "sums along no axis, or several",
    ),
    "a long running sum": (
        lambda: model([node("CumSum", "x t", "y")], {"x": [1, 2100]}, Y4, {"t": np.array(1)}),
        "windows along an axis of 2100, which see 4410000 values in all; the most is 4194304",
    ),
    "slopes": (
        lambda: _dense([node("PRelu", "x s", "a")], s=real(3)),
        "its slope has shape (3,), its input (1, 8); one slope",
    ),
    "infinite slope": (
        lambda: _dense([node("LeakyRelu", "x", "a", alpha=float("inf"))]),
        "its constants are inf and 0.0",
    ),
    "disorder": (
        lambda: _map(
            node("MaxPool", "x", "m", kernel_shape=[1, 1]),
            node("Flatten", "m", "f"),
            node("ReduceMax", "x", "g", keepdims=0),
            node("Reshape", "g t", "h"),
            node("Concat", "f h", "c", axis=1),
            node("Relu", "c", "y"),
            t=np.array([1, 1]),
        ),
        'output "y" gives its values in an order that no transpose makes; end the network with a dense layer',
    ),
    "sparse": (lambda: _edited(lambda p: p.graph.initializer.pop()), "is produced by nothing"),
}


@pytest.mark.parametrize("name", sorted(BAD))
def test_bad_models(name: str, tmp_path: Path) -> None:
    build, says = BAD[name]
    assert says in refused(build(), tmp_path)


def _load_bytes(data: bytes, folder: Path) -> None:
    path = folder / "mutant.onnx"
    path.write_bytes(data)
    try:
        assert isinstance(load_model(path), Graph)
    except CompileError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    "name", ["torch_view", "keras", "sklearn", "batch_norm_of_channels", "opset_7", "two_inputs"]
)
def test_mutations_are_refused_or_read(name: str, tmp_path: Path) -> None:
    g = om.rng(sum(name.encode()))
    data = ov.VARIANTS[name]().SerializeToString()
    for _ in range(60):
        mutant = bytearray(data)
        for _ in range(int(g.integers(1, 4))):
            mutant[int(g.integers(len(mutant)))] = int(g.integers(256))
        if g.random() < 0.2:
            del mutant[int(g.integers(len(mutant))) :]
        _load_bytes(bytes(mutant), tmp_path)
