"""ONNX operators that compute on integers (QLinearConv, …), told as what a QDQ file has in their place:
DequantizeLinear in front of each operand, the float operator, QuantizeLinear behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from .file import AGAIN, OnnxNode
from .runtime import RUNTIME
from .told import CONTRIB, Told


def _conv(node: OnnxNode) -> list[OnnxNode]:
    told = Told(node)
    y = told.write("Conv", (told.real(0), told.real(3, 0), told.bias(8, 0, 3)), node.attrs)
    return told.quantised(y, 6)


def _matmul(node: OnnxNode) -> list[OnnxNode]:
    told = Told(node)
    return told.quantised(told.write("MatMul", (told.real(0, -2), told.real(3, -1))), 6)


def _gemm(node: OnnxNode) -> list[OnnxNode]:
    told = Told(node)
    axis = 0 if node.integer("transB", 0) else 1
    y = told.write("Gemm", (told.real(0), told.real(3, axis), told.bias(6, 0, 3)), node.attrs)
    if told.operand(7):
        return told.quantised(y, 7)
    told.nodes[-1] = replace(told.nodes[-1], outputs=node.outputs[:1])
    return told.nodes


def _pair(op: str) -> Callable[[OnnxNode], list[OnnxNode]]:
    def tell(node: OnnxNode) -> list[OnnxNode]:
        told = Told(node)
        return told.quantised(told.write(op, (told.real(0), told.real(3))), 6)

    return tell


def _single(op: str) -> Callable[[OnnxNode], list[OnnxNode]]:
    def tell(node: OnnxNode) -> list[OnnxNode]:
        told = Told(node)
        if node.integer("channels_last", 0):
            raise node.error("works on maps with channels last", "export it with channels first")
        kept = {k: a for k, a in node.attrs.items() if k not in ("channels_last", "opset")}
        return told.quantised(told.write(op, (told.real(0),), kept), 3)

    return tell


def _concat(node: OnnxNode) -> list[OnnxNode]:
    told = Told(node)
    if len(node.inputs) < 5 or len(node.inputs) % 3 != 2:
        raise node.error(f"has {len(node.inputs)} operands", AGAIN)
    parts = [told.real(i) for i in range(2, len(node.inputs), 3)]
    return told.quantised(told.write("Concat", parts, node.attrs), 0)


TOLD: Mapping[tuple[str, str], Callable[[OnnxNode], list[OnnxNode]]] = {
    ("", "QLinearConv"): _conv,
    ("", "QLinearMatMul"): _matmul,
    (CONTRIB, "QGemm"): _gemm,
    (CONTRIB, "QLinearAdd"): _pair("Add"),
    (CONTRIB, "QLinearAveragePool"): _single("AveragePool"),
    (CONTRIB, "QLinearConcat"): _concat,
    (CONTRIB, "QLinearGlobalAveragePool"): _single("GlobalAveragePool"),
    (CONTRIB, "QLinearLeakyRelu"): _single("LeakyRelu"),
    (CONTRIB, "QLinearMul"): _pair("Mul"),
    (CONTRIB, "QLinearReduceMean"): _single("ReduceMean"),
    (CONTRIB, "QLinearSigmoid"): _single("Sigmoid"),
    (CONTRIB, "QLinearSoftmax"): _single("Softmax"),
}
"""By domain and operator."""
ENDS = ("QuantizeLinear", "DequantizeLinear")


def told(nodes: Sequence[OnnxNode]) -> list[OnnxNode]:
    """The nodes without any that computes on integers with scales of its own, or is onnxruntime's."""
    out: list[OnnxNode] = []
    for node in nodes:
        tell = TOLD.get((node.domain, node.op)) or RUNTIME.get((node.domain, node.op))
        if node.domain == CONTRIB and node.op in ENDS:  # as ONNX has them, and older
            node = replace(node, domain="")
        if tell is not None and not (node.outputs and node.outputs[0]):
            raise node.error("has no output", AGAIN)
        out += [node] if tell is None else tell(node)
    return out
