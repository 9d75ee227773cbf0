"""ONNX operators that compute on integers (QLinearConv, …), told as what a QDQ file has in their place:
DequantizeLinear in front of each operand, the float operator, QuantizeLinear behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import onnx
from onnx import AttributeProto

from ._onnx_file import AGAIN, OnnxNode

CONTRIB = "com.microsoft"  # the domain of onnxruntime's own operators


@dataclass(slots=True)
class _Told:
    """The nodes that stand for one of the file. Between them tensors bear its output's name and a number."""

    node: OnnxNode
    nodes: list[OnnxNode] = field(default_factory=list)

    def operand(self, i: int) -> str:
        """Operand i, "" where it is left out."""
        return self.node.inputs[i] if i < len(self.node.inputs) else ""

    def write(
        self,
        op: str,
        inputs: Sequence[str],
        attrs: Mapping[str, AttributeProto] | None = None,
        output: str = "",
    ) -> str:
        """One node more; returns what its output is called."""
        kept = tuple(inputs)
        while kept and not kept[-1]:
            kept = kept[:-1]
        output = output or f"{self.node.outputs[0]} ({len(self.nodes) + 1} of {self.node.op})"
        made = replace(self.node, op=op, domain="", inputs=kept, outputs=(output,), attrs=attrs or {})
        self.nodes.append(made)
        return output

    def real(self, i: int, axis: int | None = None) -> str:
        """What the integers of operand i stand for, its scale and zero point being the operands behind it."""
        return self._real(self.operand(i), self.operand(i + 1), self.operand(i + 2), axis)

    def bias(self, i: int, x: int, w: int) -> str:
        """The int32 bias that is operand i, in steps of the products of operands x and w."""
        if not self.operand(i):
            return ""
        scale = self.write("Mul", (self.operand(x + 1), self.operand(w + 1)))
        return self._real(self.operand(i), scale, "", 0)

    def _real(self, x: str, scale: str, zero: str, axis: int | None) -> str:
        attrs = {} if axis is None else {"axis": onnx.helper.make_attribute("axis", axis)}
        return self.write("DequantizeLinear", (x, scale, zero), attrs)

    def quantised(self, y: str, scale: int) -> list[OnnxNode]:
        """All nodes, y being the result in float; operands `scale` and behind it are what it is held in."""
        operands = (y, self.operand(scale), self.operand(scale + 1))
        self.write("QuantizeLinear", operands, output=self.node.outputs[0])
        return self.nodes


def _conv(node: OnnxNode) -> list[OnnxNode]:
    told = _Told(node)
    y = told.write("Conv", (told.real(0), told.real(3, 0), told.bias(8, 0, 3)), node.attrs)
    return told.quantised(y, 6)


def _matmul(node: OnnxNode) -> list[OnnxNode]:
    told = _Told(node)
    return told.quantised(told.write("MatMul", (told.real(0, -2), told.real(3, -1))), 6)


def _gemm(node: OnnxNode) -> list[OnnxNode]:
    told = _Told(node)
    axis = 0 if node.integer("transB", 0) else 1
    y = told.write("Gemm", (told.real(0), told.real(3, axis), told.bias(6, 0, 3)), node.attrs)
    if told.operand(7):
        return told.quantised(y, 7)
    told.nodes[-1] = replace(told.nodes[-1], outputs=node.outputs[:1])
    return told.nodes


def _pair(op: str) -> Callable[[OnnxNode], list[OnnxNode]]:
    def tell(node: OnnxNode) -> list[OnnxNode]:
        told = _Told(node)
        return told.quantised(told.write(op, (told.real(0), told.real(3))), 6)

    return tell


def _single(op: str) -> Callable[[OnnxNode], list[OnnxNode]]:
    def tell(node: OnnxNode) -> list[OnnxNode]:
        told = _Told(node)
        if node.integer("channels_last", 0):
            raise node.error("works on maps with channels last", "export it with channels first")
        kept = {k: a for k, a in node.attrs.items() if k not in ("channels_last", "opset")}
        return told.quantised(told.write(op, (told.real(0),), kept), 3)

    return tell


def _concat(node: OnnxNode) -> list[OnnxNode]:
    told = _Told(node)
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
    """The nodes of a file without any that computes on integers with scales of its own."""
    out: list[OnnxNode] = []
    for node in nodes:
        tell = TOLD.get((node.domain, node.op))
        if node.domain == CONTRIB and node.op in ENDS:  # as ONNX has them, and older
            node = replace(node, domain="")
        if tell is not None and not (node.outputs and node.outputs[0]):
            raise node.error("has no output", AGAIN)
        out += [node] if tell is None else tell(node)
    return out
