"""Files of onnxruntime's quantize_dynamic, told in float: their weights stand for real numbers.

Their activations get a scale from each input anew, which a chip with fixed scales does not do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from onnx import TensorProto, helper

from .file import OnnxNode
from .told import CONTRIB, Told

Constants = Callable[[str], np.ndarray | None]
QUANTISE = "DynamicQuantizeLinear"
INTEGER = {"ConvInteger": "Conv", "MatMulInteger": "MatMul"}
NOTE = "weights in integers beside activations whose scales are no constants are read as real numbers, and "
NOTE += "quantised again by synapcc"


def without_dynamic(nodes: Sequence[OnnxNode], constant: Constants) -> list[OnnxNode]:
    """The nodes without scales that follow the input; the same list where there are none.

    constant: the content of a small tensor that the file holds; None where it is computed, or large
    """
    scaled = {n.outputs[0] for n in nodes if n.op == QUANTISE and not n.domain and len(n.outputs) == 3}
    out: list[OnnxNode] = []
    for node in nodes:
        if node.outputs and node.outputs[0] in scaled and node.inputs:
            out += _as_it_is(node)
        elif node.op in INTEGER and not node.domain and node.inputs and node.inputs[0] in scaled:
            out += _real(node, constant)
        elif node.op == "DynamicQuantizeMatMul" and node.domain == CONTRIB and node.outputs:
            out += _matmul(node)
        else:
            out.append(node)
    return out


def _as_it_is(node: OnnxNode) -> list[OnnxNode]:
    """The activation, in steps of 1 from 0."""
    told = Told(node)
    told.write("Identity", node.inputs, output=node.outputs[0])
    one = {"value_float": helper.make_attribute("value_float", 1.0)}
    told.write("Constant", (), one, node.outputs[1])
    told.write("Constant", (), {"value_int": helper.make_attribute("value_int", 0)}, node.outputs[2])
    return told.nodes


def _real(node: OnnxNode, constant: Constants) -> list[OnnxNode]:
    """The float operator, of integers less their zero point as real numbers."""
    told = Told(node)
    to = {"to": helper.make_attribute("to", TensorProto.FLOAT)}
    weight, zero = told.write("Cast", (told.operand(1),), to), told.operand(3)
    if zero:
        value = constant(zero)
        if node.op == "ConvInteger" and (value is None or value.size != 1):
            raise node.error("has a zero point for each channel", "quantise weights with one zero point")
        weight = told.write("Sub", (weight, told.write("Cast", (zero,), to)))
    told.write(INTEGER[node.op], (told.operand(0), weight), node.attrs, node.outputs[0])
    return told.nodes


def _matmul(node: OnnxNode) -> list[OnnxNode]:
    """x times a dequantised weight, plus a bias."""
    told = Told(node)
    along = {"axis": helper.make_attribute("axis", -1)}
    weight = told.write("DequantizeLinear", (told.operand(1), told.operand(2), told.operand(3)), along)
    product = (told.operand(0), weight)
    if told.operand(4):
        y = told.write("MatMul", product)
        told.write("Add", (y, told.operand(4)), output=node.outputs[0])
    else:
        told.write("MatMul", product, output=node.outputs[0])
    return told.nodes
