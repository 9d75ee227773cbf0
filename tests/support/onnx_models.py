"""Building small ONNX models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Shape = Sequence[int | str | None]
IR = {7: 3, 9: 4, 11: 6, 13: 7, 18: 8}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def real(*shape: int, seed: int = 0, dtype: Any = np.float32) -> np.ndarray:
    """Random values of a trained layer's size."""
    return (rng(seed + 7 * len(shape) + sum(shape)).standard_normal(shape) / 2).astype(dtype)


def node(op: str, inputs: str, outputs: str, name: str = "", **attrs: Any) -> NodeProto:
    """A node; operand names are separated by spaces, "-" stands for an omitted one."""
    names = ["" if i == "-" else i for i in inputs.split()]
    return helper.make_node(op, names, outputs.split(), name=name, **attrs)


def ml(op: str, inputs: str, outputs: str, name: str = "", **attrs: Any) -> NodeProto:
    return helper.make_node(op, inputs.split(), outputs.split(), name=name, domain="ai.onnx.ml", **attrs)


def model(
    nodes: Sequence[NodeProto],
    inputs: Mapping[str, Shape],
    outputs: Mapping[str, Shape] | Sequence[onnx.ValueInfoProto],
    weights: Mapping[str, np.ndarray] | None = None,
    *,
    opset: int = 18,
    weights_are_inputs: bool = False,
    raw: bool = True,
) -> ModelProto:
    """A float model. `weights_are_inputs`: as IR 3 demanded; `raw` False: values in typed fields."""
    tensors = [_tensor(k, v, raw) for k, v in (weights or {}).items()]
    listed = [helper.make_tensor_value_info(k, TensorProto.FLOAT, v) for k, v in inputs.items()]
    if weights_are_inputs:
        listed += [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in tensors]
    results = (
        [helper.make_tensor_value_info(k, TensorProto.FLOAT, v) for k, v in outputs.items()]
        if isinstance(outputs, Mapping)
        else list(outputs)
    )
    graph = helper.make_graph(list(nodes), "main_graph", listed, results, tensors)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR.get(opset, 8))


def _tensor(name: str, value: np.ndarray, raw: bool) -> TensorProto:
    if raw:
        return numpy_helper.from_array(value, name)
    kind = helper.np_dtype_to_tensor_dtype(value.dtype)
    return helper.make_tensor(name, kind, value.shape, value.reshape(-1).tolist())


def mlp(sizes: Sequence[int], *, seed: int = 0, softmax: bool = False, scale: float = 1.0) -> ModelProto:
    """A torch-like perceptron with Relu: fc1, fc2, … with weights of He's variance times scale²."""
    g, nodes, weights, x = rng(seed), [], {}, "input"
    for i, (n, m) in enumerate(pairwise(sizes), 1):
        weights[f"fc{i}.weight"] = (g.standard_normal((m, n)) * scale * np.sqrt(2 / n)).astype(np.float32)
        weights[f"fc{i}.bias"] = (g.standard_normal(m) * 0.1).astype(np.float32)
        last = i == len(sizes) - 1
        y = "output" if last and not softmax else f"/fc{i}/Gemm_output_0"
        nodes.append(node("Gemm", f"{x} fc{i}.weight fc{i}.bias", y, f"/fc{i}/Gemm", transB=1))
        if not last:
            nodes.append(node("Relu", y, f"/relu{i}/Relu_output_0", f"/relu{i}/Relu"))
            y = f"/relu{i}/Relu_output_0"
        x = y
    if softmax:
        nodes.append(node("Softmax", x, "output", "/softmax/Softmax", axis=-1))
    return model(nodes, {"input": ["batch", sizes[0]]}, {"output": ["batch", sizes[-1]]}, weights)


def save(proto: ModelProto, folder: Path, name: str = "net.onnx") -> Path:
    """The model as a file."""
    path = folder / name
    path.write_bytes(proto.SerializeToString())
    return path


TWO = {"fc1.weight": real(6, 8), "fc1.bias": real(6), "fc2.weight": real(4, 6), "fc2.bias": real(4)}
X8: Mapping[str, Shape] = {"x": ["batch", 8]}
Y4: Mapping[str, Shape] = {"y": ["batch", 4]}
