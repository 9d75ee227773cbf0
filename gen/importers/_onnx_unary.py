"""The ONNX operators that apply a function to each value."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ._layers import LEAST, MOST
from ._names import from_node
from ._onnx_file import OnnxNode
from ._onnx_layers import Act, Operand, Scope, activation, scaled, weights

_FUNCTIONS: Mapping[str, str] = {
    "Abs": "abs",
    "Elu": "elu",
    "Exp": "exp",
    "Gelu": "gelu",
    "HardSigmoid": "hardsigmoid",
    "HardSwish": "hardswish",
    "LeakyRelu": "leaky_relu",
    "Log": "log",
    "PRelu": "leaky_relu",
    "Sigmoid": "sigmoid",
    "Selu": "elu",
    "Softplus": "softplus",
    "Sqrt": "sqrt",
    "Swish": "silu",
    "Tanh": "tanh",
}
SELU_ALPHA, SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875  # ONNX's


def _by_channel(scope: Scope, node: OnnxNode, x: Act, slope: np.ndarray) -> Act:
    try:
        each = np.broadcast_to(slope, x.shape)
    except ValueError:
        what = f"its slope has shape {slope.shape}, its input {x.shape}"
        raise node.error(what, "one slope for all values, or one a channel, can be compiled") from None
    name = scope.builder.prelu(x.tensor, x.stored(each), [from_node(node.name)], node.source)
    return replace(x, tensor=name)


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
            slope = weights(scope, node, args, 1, "slope")
            if slope.size > 1:
                return _by_channel(scope, node, x, slope)
            alpha = float(slope.reshape(-1)[0])
        case "Swish" if node.real("alpha", 1.0) != 1.0:
            raise node.error(
                f"has alpha = {node.real('alpha', 1.0)}", "only alpha = 1, SiLU, can be compiled"
            )
        case "Gelu" if node.string("approximate", "none") != "none":
            scope.builder.notes.append(f"{node.source}: computed exactly, not by its approximation")
        case "Log":
            scope.builder.notes.append(
                f"{node.source}: of numbers below {LEAST:.3g} it is that of {LEAST:.3g}"
            )
        case "Exp":
            scope.builder.notes.append(f"{node.source}: of numbers above {MOST:g} it is that of {MOST:g}")
    if not (math.isfinite(alpha) and math.isfinite(beta)):
        raise node.error(f"its constants are {alpha} and {beta}", "repair the file")
    builder, names = scope.builder, [from_node(node.name)]
    y = replace(x, tensor=builder.table(x.tensor, _FUNCTIONS[node.op], names, node.source, alpha, beta))
    return scaled(scope, node, y, node.real("gamma", SELU_GAMMA)) if node.op == "Selu" else y
