"""The ONNX operators that apply a function to each value."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ._names import from_node
from ._onnx_file import OnnxNode
from ._onnx_layers import Act, Operand, Scope, activation, constant, scaled

_FUNCTIONS: Mapping[str, str] = {
    "Elu": "elu",
    "Gelu": "gelu",
    "HardSigmoid": "hardsigmoid",
    "HardSwish": "hardswish",
    "LeakyRelu": "leaky_relu",
    "PRelu": "leaky_relu",
    "Sigmoid": "sigmoid",
    "Selu": "elu",
    "Softplus": "softplus",
    "Swish": "silu",
    "Tanh": "tanh",
}
SELU_ALPHA, SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875  # ONNX's


def unary(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """Sigmoid, Tanh, LeakyRelu, … of each value."""
    x = activation(node, args)
    alpha = beta = 0.0
    match node.op:
        case "HardSigmoid":
            alpha, beta = node.real("alpha", 0.2), node.real("beta", 0.5)
        case "LeakyRelu":
            alpha = node.real("alpha", 0.01)
        case "Elu":
            alpha = node.real("alpha", 1.0)
        case "Selu":
            alpha = node.real("alpha", SELU_ALPHA)
        case "PRelu":
            slope = constant(node, args, 1, "slope")
            if slope is None or slope.size != 1:
                shape = None if slope is None else slope.shape
                raise node.error(
                    f"its slope has shape {shape}", "only one slope for all values can be compiled"
                )
            alpha = float(slope.reshape(-1)[0])
        case "Swish" if node.real("alpha", 1.0) != 1.0:
            raise node.error(
                f"has alpha = {node.real('alpha', 1.0)}", "only alpha = 1, SiLU, can be compiled"
            )
        case "Gelu" if node.string("approximate", "none") != "none":
            scope.builder.notes.append(f"{node.source}: computed exactly, not by its approximation")
    if not (math.isfinite(alpha) and math.isfinite(beta)):
        raise node.error(f"its constants are {alpha} and {beta}", "repair the file")
    builder, names = scope.builder, [from_node(node.name)]
    y = replace(x, tensor=builder.table(x.tensor, _FUNCTIONS[node.op], names, node.source, alpha, beta))
    return scaled(scope, node, y, node.real("gamma", SELU_GAMMA)) if node.op == "Selu" else y
