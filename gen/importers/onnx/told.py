"""Nodes in the place of one of the file: what an operator is told as."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import onnx
from onnx import AttributeProto

from .file import OnnxNode

CONTRIB = "com.microsoft"  # the domain of onnxruntime's own operators


@dataclass(slots=True)
class Told:
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

    def constant(self, *numbers: int) -> str:
        """Whole numbers."""
        return self.write("Constant", (), {"value_ints": onnx.helper.make_attribute("value_ints", numbers)})

    def number(self, value: float) -> str:
        """One real number."""
        return self.write("Constant", (), {"value_float": onnx.helper.make_attribute("value_float", value)})

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
