"""Small ONNX models as the exporters write them.

`VARIANTS` maps a name to a function without arguments that builds a model; all are valid and can be imported.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx_models import TWO, X8, Y4, ml, mlp, model, node, real

VARIANTS: dict[str, Callable[[], ModelProto]] = {}


def variant(build: Callable[[], ModelProto]) -> Callable[[], ModelProto]:
    """Adds a builder to VARIANTS."""
    VARIANTS[build.__name__] = build
    return build


def _label(name: str, kind: int = TensorProto.INT64) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, [None])


@variant
def torch_old() -> ModelProto:
    return mlp([8, 6, 4])


@variant
def torch_softmax() -> ModelProto:
    return mlp([8, 6, 4], softmax=True)


@variant
def torch_dynamo() -> ModelProto:
    nodes = [
        node("Gemm", "x fc1.weight fc1.bias", "linear", "node_linear", transB=1, alpha=1.0, beta=1.0),
        node("Relu", "linear", "relu", "node_relu"),
        node("Gemm", "relu fc2.weight fc2.bias", "y", "node_Gemm_3", transB=1, alpha=1.0, beta=1.0),
    ]
    return model(nodes, {"x": ["s0", 8]}, Y4, TWO)


@variant
def torch_dynamo_transposes() -> ModelProto:
    nodes = [
        node("Transpose", "fc1.weight", "val_0", "node_Transpose_0", perm=[1, 0]),
        node("MatMul", "x val_0", "val_1", "node_MatMul_1"),
        node("Add", "val_1 fc1.bias", "linear", "node_Add_2"),
        node("Relu", "linear", "relu", "node_relu"),
        node("Transpose", "fc2.weight", "val_3", "node_Transpose_3", perm=[1, 0]),
        node("MatMul", "relu val_3", "val_4", "node_MatMul_4"),
        node("Add", "val_4 fc2.bias", "y", "node_Add_5"),
    ]
    return model(nodes, X8, Y4, TWO)


@variant
def torch_matmul_in_three_dimensions() -> ModelProto:
    weights = {"onnx::MatMul_12": real(8, 6), "fc1.bias": real(6), "onnx::MatMul_13": real(6, 4)}
    nodes = [
        node("MatMul", "x onnx::MatMul_12", "a", "MatMul_3"),
        node("Add", "fc1.bias a", "b", "Add_4"),
        node("Relu", "b", "c", "Relu_5"),
        node("MatMul", "c onnx::MatMul_13", "y", "MatMul_6"),
    ]
    return model(nodes, {"x": ["batch", 1, 8]}, {"y": ["batch", 1, 4]}, weights, opset=11)


@variant
def torch_sequential() -> ModelProto:
    weights = {
        "net.0.weight": real(6, 8),
        "net.0.bias": real(6),
        "net.2.weight": real(4, 6),
        "net.2.bias": real(4),
    }
    nodes = [
        node("Gemm", "x net.0.weight net.0.bias", "a", "/net/net.0/Gemm", transB=1),
        node("Relu", "a", "b", "/net/net.1/Relu"),
        node("Gemm", "b net.2.weight net.2.bias", "y", "Gemm_2", transB=1),
    ]
    return model(nodes, X8, Y4, weights)


@variant
def torch_view() -> ModelProto:
    """x.view(x.size(0), -1)."""
    nodes = [
        node("Shape", "x", "s", "/Shape"),
        node("Constant", "", "zero", "/Constant", value=numpy_helper.from_array(np.array(0, np.int64))),
        node("Gather", "s zero", "b", "/Gather", axis=0),
        node("Constant", "", "front", "/Constant_1", value_ints=[0]),
        node("Unsqueeze", "b front", "u", "/Unsqueeze"),
        node("Constant", "", "rest", "/Constant_2", value_ints=[-1]),
        node("Concat", "u rest", "target", "/Concat", axis=0),
        node("Reshape", "x target", "flat", "/Reshape"),
        node("Gemm", "flat fc1.weight fc1.bias", "a", "/fc1/Gemm", transB=1),
        node("Relu", "a", "r", "/Relu"),
        node("Gemm", "r fc2.weight fc2.bias", "y", "/fc2/Gemm", transB=1),
    ]
    return model(nodes, {"x": ["batch", 2, 4]}, Y4, TWO, opset=13)


@variant
def torch_view_by_product() -> ModelProto:
    """The batch from Slice, the features from ReduceProd, joined after a Cast and a Div."""
    nodes = [
        node("Shape", "x", "s"),
        node("Slice", "s zero one", "b"),
        node("Slice", "s one end", "f"),
        node("ReduceProd", "f", "p", keepdims=1),
        node("Mul", "p two", "p2"),
        node("Div", "p2 two", "p3"),
        node("Cast", "p3", "p4", to=TensorProto.INT64),
        node("Concat", "b p4", "target", axis=0),
        node("Reshape", "x target", "flat"),
        node("Gemm", "flat fc1.weight fc1.bias", "a", transB=1),
        node("Gemm", "a fc2.weight fc2.bias", "y", transB=1),
    ]
    shape = {"zero": [0], "one": [1], "end": [2**63 - 1], "two": [2]}
    weights = {**TWO, **{k: np.array(v, np.int64) for k, v in shape.items()}}
    return model(nodes, {"x": ["batch", 4, 2]}, Y4, weights, opset=13)


@variant
def flatten_image() -> ModelProto:
    nodes = [
        node("Flatten", "x", "f", "/Flatten"),
        node("Gemm", "f fc1.weight fc1.bias", "a", "/fc1/Gemm", transB=1),
        node("Relu", "a", "r", "/Relu"),
        node("Gemm", "r fc2.weight fc2.bias", "y", "/fc2/Gemm", transB=1),
    ]
    return model(nodes, {"x": [1, 2, 2, 2]}, {"y": [1, 4]}, TWO)


@variant
def views_in_a_row() -> ModelProto:
    ints = {"t1": [0, 4, 2], "ax1": [1], "ax2": [1], "t2": [-1, 8], "ax3": [2]}
    nodes = [
        node("Reshape", "x t1", "a"),
        node("Unsqueeze", "a ax1", "b"),
        node("Squeeze", "b ax2", "c"),
        node("Unsqueeze", "c ax3", "d"),
        node("Transpose", "d", "e", perm=[0, 1, 3, 2]),
        node("Flatten", "e", "f", axis=-3),
        node("Reshape", "f t2", "g"),
        node("Gemm", "g fc1.weight fc1.bias", "h", transB=1),
        node("Gemm", "h fc2.weight fc2.bias", "y", transB=1),
    ]
    weights = {**TWO, **{k: np.array(v, np.int64) for k, v in ints.items()}}
    return model(nodes, X8, Y4, weights)


@variant
def keras() -> ModelProto:
    """tf2onnx with a Normalization layer in front."""
    p = "StatefulPartitionedCall/sequential"
    weights = {
        f"{p}/normalization/Sub/y:0": real(1, 8),
        f"{p}/normalization/Sqrt:0": np.abs(real(1, 8, seed=1)) + 0.5,
        f"{p}/dense/MatMul/ReadVariableOp:0": real(8, 6),
        f"{p}/dense/BiasAdd/ReadVariableOp:0": real(6),
        f"{p}/dense_1/MatMul/ReadVariableOp:0": real(6, 4),
        f"{p}/dense_1/BiasAdd/ReadVariableOp:0": real(4),
    }
    w = list(weights)
    nodes = [
        node("Sub", f"x {w[0]}", "n1", f"{p}/normalization/sub"),
        node("Div", f"n1 {w[1]}", "n2", f"{p}/normalization/truediv"),
        node("MatMul", f"n2 {w[2]}", "m1", f"{p}/dense/MatMul"),
        node("Add", f"m1 {w[3]}", "a1", f"{p}/dense/BiasAdd"),
        node("Relu", "a1", "r1", f"{p}/dense/Relu"),
        node("MatMul", f"r1 {w[4]}", "m2", f"{p}/dense_1/MatMul"),
        node("Add", f"m2 {w[5]}", "a2", f"{p}/dense_1/BiasAdd"),
        node("Softmax", "a2", "y", f"{p}/dense_1/Softmax"),
    ]
    return model(nodes, {"x": ["unk__6", 8]}, {"y": ["unk__7", 4]}, weights, opset=13)


def _sklearn(zipmap: bool) -> ModelProto:
    weights = {
        "coefficient": real(8, 6),
        "intercepts": real(1, 6),
        "coefficient1": real(6, 4),
        "intercepts1": real(1, 4),
        "classes": np.array([10, 11, 12, 13], np.int32),
        "shape_tensor": np.array([-1], np.int64),
    }
    nodes = [
        node("Cast", "X", "cast_input", "Cast", to=TensorProto.FLOAT),
        node("MatMul", "cast_input coefficient", "mul_result", "MatMul"),
        node("Add", "mul_result intercepts", "add_result", "Add"),
        node("Relu", "add_result", "next_activations", "Relu"),
        node("MatMul", "next_activations coefficient1", "mul_result1", "MatMul1"),
        node("Add", "mul_result1 intercepts1", "add_result1", "Add1"),
        node("Softmax", "add_result1", "out_activations_result", "Softmax", axis=1),
        node("Identity", "out_activations_result", "probabilities", "Identity"),
        node("ArgMax", "probabilities", "argmax_output", "ArgMax", axis=1),
        ml("ArrayFeatureExtractor", "classes argmax_output", "array_result", "ArrayFeatureExtractor"),
        node("Reshape", "array_result shape_tensor", "reshaped_result", "Reshape"),
        node("Cast", "reshaped_result", "output_label", "Cast1", to=TensorProto.INT64),
    ]
    scores = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 4])
    if zipmap:
        nodes.append(
            ml("ZipMap", "probabilities", "output_probability", "ZipMap", classlabels_int64s=[10, 11, 12, 13])
        )
        entry = helper.make_map_type_proto(
            TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, [])
        )
        scores = helper.make_value_info("output_probability", helper.make_sequence_type_proto(entry))
    return model(nodes, {"X": [None, 8]}, [_label("output_label"), scores], weights, opset=13)


@variant
def sklearn() -> ModelProto:
    return _sklearn(False)


def sklearn_zipmap() -> ModelProto:
    return _sklearn(True)


def sklearn_label_only() -> ModelProto:
    proto = _sklearn(False)
    del proto.graph.output[1]
    return proto


@variant
def batch_norm_everywhere() -> ModelProto:
    """In front of a dense layer, behind one, and between Relu and the next one."""
    weights = dict(TWO)
    for i, n in (("0", 8), ("1", 6), ("2", 6), ("3", 4)):
        weights |= {f"s{i}": real(n, seed=3), f"b{i}": real(n, seed=4), f"m{i}": real(n, seed=5)}
        weights[f"v{i}"] = np.abs(real(n, seed=6)) + 0.1
    nodes = [
        node("BatchNormalization", "x s0 b0 m0 v0", "n", "/bn0/BatchNormalization", epsilon=1e-3),
        node("Gemm", "n fc1.weight fc1.bias", "a", "/fc1/Gemm", transB=1),
        node("BatchNormalization", "a s1 b1 m1 v1", "b", "/bn1/BatchNormalization"),
        node("Relu", "b", "c", "/relu/Relu"),
        node("BatchNormalization", "c s2 b2 m2 v2", "d", "/bn2/BatchNormalization"),
        node("Gemm", "d fc2.weight fc2.bias", "e", "/fc2/Gemm", transB=1),
        node("BatchNormalization", "e s3 b3 m3 v3", "y", "/bn3/BatchNormalization"),
    ]
    return model(nodes, X8, Y4, weights)


@variant
def batch_norm_of_channels() -> ModelProto:
    weights = {**TWO, "s": real(2), "b": real(2, seed=1), "m": real(2, seed=2), "v": np.abs(real(2)) + 0.1}
    nodes = [
        node("BatchNormalization", "x s b m v", "n", "/bn/BatchNormalization"),
        node("Flatten", "n", "f", "/Flatten"),
        node("Gemm", "f fc1.weight fc1.bias", "a", "/fc1/Gemm", transB=1),
        node("Gemm", "a fc2.weight fc2.bias", "y", "/fc2/Gemm", transB=1),
    ]
    return model(nodes, {"x": ["batch", 2, 2, 2]}, Y4, weights)


@variant
def affine_that_stays() -> ModelProto:
    """Relu before and behind the normalisation: nothing can take it in."""
    proto = affine_in_front()
    proto.graph.node.insert(0, node("Relu", "x", "positive"))
    proto.graph.node[1].input[1] = "positive"
    return proto


@variant
def affine_in_front() -> ModelProto:
    """Relu behind the normalisation: only the input's quantiser can take it in."""
    weights = {**TWO, "mean": real(8), "scale": real(8, seed=2), "c": np.array(1.5, np.float32)}
    nodes = [
        node("Sub", "mean x", "a"),
        node("Mul", "scale a", "b"),
        node("Add", "b c", "d"),
        node("Relu", "d", "e"),
        node("Gemm", "e fc1.weight fc1.bias", "f", transB=1),
        node("Gemm", "f fc2.weight fc2.bias", "y", transB=1),
    ]
    return model(nodes, X8, Y4, weights)


@variant
def two_inputs() -> ModelProto:
    """Each normalised, joined, with one of them also going round a dense layer."""
    weights = {
        "mean": real(5), "std": np.abs(real(5, seed=1)) + 0.5, "gain": np.array([2.0], np.float32),
        "fc1.weight": real(6, 8), "fc1.bias": real(6), "fc2.weight": real(4, 9), "fc2.bias": real(4),
    }  # fmt: skip
    nodes = [
        node("Sub", "beat mean", "a"),
        node("Div", "a std", "b"),
        node("Mul", "rr gain", "c"),
        node("Concat", "b c", "d", "/Concat", axis=1),
        node("Gemm", "d fc1.weight fc1.bias", "e", "/fc1/Gemm", transB=1),
        node("Relu", "e", "f"),
        node("Concat", "f rr", "g", "/Concat_1", axis=-1),
        node("Gemm", "g fc2.weight fc2.bias", "y", "/fc2/Gemm", transB=1),
    ]
    return model(nodes, {"beat": ["batch", 5], "rr": ["batch", 3]}, Y4, weights)


@variant
def clips() -> ModelProto:
    weights = {
        **TWO,
        "lo": np.array(-1, np.float32),
        "hi": np.array([1], np.float32),
        "six": np.array(6, np.float32),
    }
    nodes = [
        node("Clip", "x lo hi", "a", "/hardtanh/Clip"),
        node("Gemm", "a fc1.weight fc1.bias", "b", transB=1),
        node("Clip", "b - six", "c"),
        node("Relu", "c", "d"),
        node("Gemm", "d fc2.weight fc2.bias", "e", transB=1),
        node("Max", "e lo", "f"),
        node("Min", "six f", "g"),
        node("Clip", "g", "y"),
    ]
    return model(nodes, X8, Y4, weights)


@variant
def opset_7() -> ModelProto:
    """Limits and axes as attributes, the mask of Dropout, initializers among the inputs, typed fields."""
    nodes = [
        node("Unsqueeze", "x", "u", axes=[1]),
        node("Squeeze", "u", "s", axes=[1]),
        node("Dropout", "s", "d mask", ratio=0.5),
        node("Gemm", "d fc1.weight fc1.bias", "a", transB=1, alpha=0.5, beta=2.0),
        node("Clip", "a", "b", min=0.0, max=6.0),
        node("Clip", "b", "c", min=0.125),
        node("Gemm", "c fc2.weight fc2.bias", "e", transB=1),
        node("Softmax", "e", "y"),
    ]
    return model(nodes, X8, Y4, TWO, opset=7, weights_are_inputs=True, raw=False)


@variant
def dropout_and_identity() -> ModelProto:
    weights = {**TWO, "ratio": np.array(0.5, np.float32), "training": np.array(False)}
    nodes = [
        node("Identity", "x", "i"),
        node("Gemm", "i fc1.weight fc1.bias", "a", transB=1),
        node("Dropout", "a ratio training", "b mask"),
        node("Gemm", "b fc2.weight fc2.bias", "c", transB=1),
        node("Cast", "c", "y", to=TensorProto.FLOAT),
    ]
    return model(nodes, X8, Y4, weights)


@variant
def gemm_forms() -> ModelProto:
    """No bias, a scalar bias, a bias [1, out], a weight that is not transposed, LogSoftmax."""
    weights = {
        "w1": real(8, 6),
        "w2": real(6, 5),
        "c2": np.array(0.25, np.float32),
        "w3": real(4, 5),
        "c3": real(1, 4),
    }
    nodes = [
        node("Gemm", "x w1", "a"),
        node("Gemm", "a w2 c2", "b", beta=0.5),
        node("Gemm", "b w3 c3", "c", transB=1),
        node("LogSoftmax", "c", "y", axis=1),
    ]
    return model(nodes, X8, Y4, weights)


@variant
def weight_on_the_left() -> ModelProto:
    nodes = [
        node("MatMul", "fc1.weight x", "a"),
        node("Add", "a fc1.bias", "b"),
        node("MatMul", "fc2.weight b", "y"),
    ]
    return model(nodes, {"x": [8]}, {"y": [4]}, TWO)


@variant
def columns() -> ModelProto:
    nodes = [
        node("MatMul", "fc1.weight x", "a"),
        node("Add", "a bias", "b"),
        node("MatMul", "fc2.weight b", "c"),
        node("Squeeze", "c last", "y"),
    ]
    weights = {**TWO, "bias": real(6, 1), "last": np.array([-1], np.int64)}
    return model(nodes, {"x": ["batch", 8, 1]}, Y4, weights)


@variant
def widened_weights() -> ModelProto:
    weights = {
        "w1": real(8, 6, dtype=np.float16),
        "b1": real(6),
        "w2": real(6, 4, dtype=np.float64),
        "b2": real(4),
    }
    nodes = [
        node("Cast", "w1", "w1f", to=TensorProto.FLOAT),
        node("Gemm", "x w1f b1", "a"),
        node("Cast", "w2", "w2f", to=TensorProto.FLOAT),
        node("Gemm", "a w2f b2", "y"),
    ]
    return model(nodes, X8, Y4, weights)


@variant
def constants() -> ModelProto:
    """Weights made by Constant, ConstantOfShape, Expand, Where, and pruned leftovers that reach nothing."""
    nodes = [
        node("Constant", "", "w1", value=numpy_helper.from_array(real(8, 6))),
        node("Constant", "", "b1", value_floats=real(6).tolist()),
        node("Gemm", "x w1 b1", "a"),
        node("Constant", "", "half", value_float=0.5),
        node("Mul", "a half", "b"),
        node("Constant", "", "six_four", value_ints=[6, 4]),
        node(
            "ConstantOfShape", "six_four", "w2", value=helper.make_tensor("v", TensorProto.FLOAT, [1], [0.25])
        ),
        node("Constant", "", "four", value_int=4),
        node("Unsqueeze", "four zero", "fours"),
        node("Expand", "half fours", "b2"),
        node("Equal", "w2 w2", "same"),
        node("Where", "same w2 half", "w2b"),
        node("Gemm", "b w2b b2", "y"),
        node("Sigmoid", "y", "unused"),
    ]
    return model(nodes, X8, Y4, {"zero": np.array([0], np.int64)}, opset=13)
