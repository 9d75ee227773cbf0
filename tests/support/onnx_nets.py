"""ONNX networks grown node by node, and compared with onnx's own reference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_models as om
from float_graph import run_graph
from onnx import ModelProto, NodeProto
from onnx.reference import ReferenceEvaluator
from onnx_models import model, node, save

from synapcc.gen.importers import load_model
from synapcc.gen.ir.graph import Graph

Rng = np.random.Generator


def graph_of(
    proto: ModelProto, folder: Path, reference: ModelProto | None = None, atol: float = 2e-5
) -> Graph:
    """The imported network, after it was compared with the reference on three samples."""
    graph = load_model(save(proto, folder))
    g, evaluator = om.rng(3), ReferenceEvaluator(reference or proto)
    for _ in range(3):
        feeds = {
            i.name: g.standard_normal([d.dim_value or 1 for d in i.type.tensor_type.shape.dim]).astype("f4")
            for i in proto.graph.input
        }
        expected = np.asarray(evaluator.run(None, feeds)[0]).reshape(-1)  # type: ignore[index]
        got = run_graph(graph, {k.lower(): v for k, v in feeds.items()})
        np.testing.assert_allclose(got, expected, rtol=2e-4, atol=atol)
    return graph


def ops(graph: Graph) -> list[str]:
    return [n.op for n in graph.nodes if n.op != "reshape"]


class Net:
    """A net of one input x, grown node by node; `weights` are random."""

    def __init__(self, g: Rng, shape: Sequence[int], opset: int = 18) -> None:
        self.g, self.shape, self.opset = g, shape, opset
        self.nodes: list[NodeProto] = []
        self.weights: dict[str, np.ndarray] = {}
        self.last = "x"

    def weight(self, *shape: int, scale: float = 0.5) -> str:
        name = f"w{len(self.weights)}"
        self.weights[name] = (self.g.standard_normal(shape) * scale).astype(np.float32)
        return name

    def value(self, value: Any) -> str:
        name = f"w{len(self.weights)}"
        self.weights[name] = np.asarray(value)
        return name

    def put(self, op: str, *operands: str, **attrs: Any) -> str:
        """op(last, *operands); returns the new tensor."""
        return self.join(op, self.last, *operands, **attrs)

    def join(self, op: str, *operands: str, **attrs: Any) -> str:
        self.last = f"t{len(self.nodes)}"
        self.nodes.append(node(op, " ".join(o or "-" for o in operands), self.last, **attrs))
        return self.last

    def conv(self, channels: int, outputs: int, *kernel: int, groups: int = 1, **attrs: Any) -> str:
        w, b = self.weight(outputs, channels // groups, *kernel), self.weight(outputs)
        return self.put("Conv", w, b, group=groups, **attrs)

    def norm(self, channels: int) -> str:
        spread = self.value(np.abs(self.g.standard_normal(channels)).astype("f4") + 0.2)
        operands = [self.weight(channels), self.weight(channels), self.weight(channels), spread]
        return self.put("BatchNormalization", *operands)

    def head(self, size: int, outputs: int = 3) -> None:
        self.put("Flatten")
        self.put("Gemm", self.weight(outputs, size), self.weight(outputs), transB=1)

    def proto(self, **inputs: Sequence[int]) -> ModelProto:
        given = {"x": self.shape, **inputs}
        return model(self.nodes, given, {self.last: [1, "n"]}, self.weights, opset=self.opset)


def pick(g: Rng, *values: Any) -> Any:
    return values[int(g.integers(len(values)))]
