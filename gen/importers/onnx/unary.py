"""The ONNX operators that apply a function to each value."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from .._layers import LEAST, MOST
from .._names import from_node
from .file import OnnxNode
from .layers import Act, Operand, Scope, activation, constant, scaled, weights
from .pairs import reciprocal

_FUNCTIONS: Mapping[str, str] = {
    "Abs": "abs",
    "Atan": "atan",
    "Ceil": "ceil",
    "Celu": "celu",
    "Cos": "cos",
    "Elu": "elu",
    "Erf": "erf",
    "Exp": "exp",
    "Floor": "floor",
    "Gelu": "gelu",
    "HardSigmoid": "hardsigmoid",
    "HardSwish": "hardswish",
    "LeakyRelu": "leaky_relu",
    "Log": "log",
    "Mish": "mish",
    "PRelu": "leaky_relu",
    "Round": "round",
    "Selu": "elu",
    "Shrink": "shrink",
    "Sigmoid": "sigmoid",
    "Sign": "sign",
    "Sin": "sin",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Sqrt": "sqrt",
    "Swish": "silu",
    "Tanh": "tanh",
    "ThresholdedRelu": "thresholded_relu",
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


def _gelu(node: OnnxNode) -> str:
    how = node.string("approximate", "none")
    if how not in ("none", "tanh"):
        raise node.error(f"is approximated by {how[:20]!r}", "there are none and tanh")
    return "gelu" if how == "none" else "gelu_tanh"


def unary(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """Sigmoid, Tanh, LeakyRelu, … of each value."""
    x = activation(node, args)
    alpha, beta, fn = 0.0, 0.0, _FUNCTIONS[node.op]
    match node.op:
        case "HardSigmoid":
            alpha, beta = node.real("alpha", 0.2), node.real("beta", 0.5)
        case "LeakyRelu":
            alpha = node.real("alpha", 0.01)
        case "Celu" | "Elu" | "ThresholdedRelu":
            alpha = node.real("alpha", 1.0)
            if node.op == "Celu" and alpha == 0.0:
                raise node.error("has alpha = 0", "use Relu")
        case "Shrink":
            alpha, beta = node.real("lambd", 0.5), node.real("bias", 0.0)
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
        case "Gelu":
            fn = _gelu(node)
        case "Log":
            scope.builder.notes.append(
                f"{node.source}: of numbers below {LEAST:.3g} it is that of {LEAST:.3g}"
            )
        case "Exp":
            scope.builder.notes.append(f"{node.source}: of numbers above {MOST:g} it is that of {MOST:g}")
    if not (math.isfinite(alpha) and math.isfinite(beta)):
        raise node.error(f"its constants are {alpha} and {beta}", "repair the file")
    builder, names = scope.builder, [from_node(node.name)]
    y = replace(x, tensor=builder.table(x.tensor, fn, names, node.source, alpha, beta))
    return scaled(scope, node, y, node.real("gamma", SELU_GAMMA)) if node.op == "Selu" else y


_POWERS: Mapping[float, str] = {-0.5: "rsqrt", 0.5: "sqrt"}


def power(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """Pow: an activation to a constant power, or a positive constant to the power of an activation."""
    if len(args) > 1 and isinstance(args[1], Act):
        return _exponential(scope, node, args)
    x, exponent = activation(node, args), constant(node, args, 1, "exponent")
    if exponent is None or exponent.size != 1 or exponent.dtype.kind not in "fiu":
        raise node.error("has no one exponent for all values", "use one number")
    alpha = float(exponent.reshape(-1)[0])
    if not math.isfinite(alpha) or alpha == 0.0:
        raise node.error(f"has the exponent {alpha}", "use a finite power other than 0")
    if alpha == 1.0:
        return x
    if alpha == -1.0:
        return reciprocal(scope, node, x)
    if alpha < 0.0 or alpha != int(alpha):
        least = f"below {LEAST:.3g}" if alpha < 0.0 else "below 0"
        scope.builder.notes.append(f"{node.source}: of numbers {least} it is that of the limit")
    fn, names = _POWERS.get(alpha, "power"), [from_node(node.name)]
    own = 0.0 if alpha in _POWERS else alpha
    return replace(x, tensor=scope.builder.table(x.tensor, fn, names, node.source, own))


def _exponential(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    x, base = activation(node, args, 1), weights(scope, node, args, 0, "base")
    if base.size != 1 or float(base.reshape(-1)[0]) <= 0.0:
        raise node.error("raises something else than one positive number", "use one positive number")
    inner = scaled(scope, node, x, math.log(float(base.reshape(-1)[0])))
    return replace(
        inner, tensor=scope.builder.table(inner.tensor, "exp", [from_node(node.name)], node.source)
    )


def inverse(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """Reciprocal."""
    return reciprocal(scope, node, activation(node, args))
