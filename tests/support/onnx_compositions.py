"""Functions of each value that a file writes in several operators, as torch.where and hand-written
activations are exported: comparisons, Where, Clip, Min, Max and arithmetic."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_models as om
from onnx import ModelProto, TensorProto
from onnx_nets import Net, Rng

Composition = Callable[[Net, str], str]
"""Writes a function of a tensor into a net; the tensor that holds it."""


def _number(net: Net, value: float) -> str:
    return net.value(np.float32(value))


def _by(net: Net, op: str, x: str, value: float) -> str:
    return net.join(op, x, _number(net, value))


def _where(net: Net, condition: str, yes: str | float, no: str | float) -> str:
    sides = (side if isinstance(side, str) else _number(net, side) for side in (yes, no))
    return net.join("Where", condition, *sides)


def _expm1(net: Net, x: str, alpha: float) -> str:
    return _by(net, "Mul", _by(net, "Sub", net.join("Exp", x), 1.0), alpha)


def _cast(net: Net, condition: str) -> str:
    return net.join("Cast", condition, to=TensorProto.FLOAT)


def elu(net: Net, x: str) -> str:
    return _where(net, _by(net, "Less", x, 0.0), _expm1(net, x, 1.0), x)


def elu_clipped(net: Net, x: str) -> str:
    """exp of what is not positive alone, so that it never overflows."""
    return _where(net, _by(net, "Greater", x, 0.0), x, _expm1(net, _by(net, "Min", x, 0.0), 0.7))


def selu(net: Net, x: str) -> str:
    inner = _where(net, _by(net, "LessOrEqual", x, 0.0), _expm1(net, x, 1.6732632), x)
    return _by(net, "Mul", inner, 1.0507010)


def celu(net: Net, x: str) -> str:
    below = _expm1(net, _by(net, "Div", x, 1.5), 1.5)
    return _where(net, _by(net, "GreaterOrEqual", x, 0.0), x, below)


def leaky(net: Net, x: str) -> str:
    return _where(net, _by(net, "Less", x, 0.0), _by(net, "Mul", x, 0.2), x)


def bent(net: Net, x: str) -> str:
    """Another slope from 0.5 on, without a jump."""
    beyond = _by(net, "Add", _by(net, "Mul", x, 0.25), 0.375)
    return _where(net, _by(net, "Greater", x, 0.5), beyond, x)


def threshold(net: Net, x: str) -> str:
    return _where(net, _by(net, "Greater", x, 0.3), x, 0.0)


def jump(net: Net, x: str) -> str:
    return _where(net, _by(net, "Less", x, -0.4), -1.25, x)


def hard_shrink(net: Net, x: str) -> str:
    high, low = _by(net, "Greater", x, 0.5), _by(net, "Less", x, -0.5)
    return _where(net, high, x, _where(net, low, x, 0.0))


def soft_shrink(net: Net, x: str) -> str:
    high, low = _by(net, "Greater", x, 0.25), _by(net, "Less", x, -0.25)
    less, more = _by(net, "Sub", x, 0.25), _by(net, "Add", x, 0.25)
    return _where(net, high, less, _where(net, low, more, 0.0))


def hard_tanh(net: Net, x: str) -> str:
    held = _where(net, _by(net, "Greater", x, 1.0), 1.0, x)
    return _where(net, _by(net, "Less", x, -1.0), -1.0, held)


def hard_swish(net: Net, x: str) -> str:
    inside = _by(net, "Div", net.join("Mul", x, _by(net, "Add", x, 3.0)), 6.0)
    upper = _where(net, _by(net, "GreaterOrEqual", x, 3.0), x, inside)
    return _where(net, _by(net, "LessOrEqual", x, -3.0), 0.0, upper)


def hard_swish_clipped(net: Net, x: str) -> str:
    ramp = net.join("Clip", _by(net, "Add", x, 3.0), _number(net, 0.0), _number(net, 6.0))
    gate = _where(net, _by(net, "Less", x, -3.0), 0.0, _by(net, "Mul", ramp, 1.0 / 6.0))
    return net.join("Mul", x, gate)


def softsign(net: Net, x: str) -> str:
    size = _where(net, _by(net, "Less", x, 0.0), net.join("Neg", x), x)
    return net.join("Div", x, _by(net, "Add", size, 1.0))


def square_root(net: Net, x: str) -> str:
    """The root of |x|, with the sign of x."""
    size = net.join("Sqrt", _by(net, "Add", net.join("Abs", x), 0.25))
    return _where(net, _by(net, "Less", x, 0.0), net.join("Neg", size), size)


def gated_silu(net: Net, x: str) -> str:
    return _where(net, _by(net, "Greater", x, -2.0), net.join("Mul", x, net.join("Sigmoid", x)), 0.0)


def tanh_below(net: Net, x: str) -> str:
    return _where(net, _by(net, "Less", x, 0.0), net.join("Tanh", x), x)


def by_a_product(net: Net, x: str) -> str:
    """x * (x > 0.2), as (x * (x > t)) is exported."""
    return net.join("Mul", x, _cast(net, _by(net, "Greater", x, 0.2)))


def relu6_by_min(net: Net, x: str) -> str:
    held = _by(net, "Max", _by(net, "Min", x, 2.0), 0.0)
    return _where(net, _by(net, "Less", x, 1.0), held, 1.0)


def not_less(net: Net, x: str) -> str:
    return _where(net, net.join("Not", _by(net, "Less", x, 0.1)), x, _by(net, "Mul", x, -0.3))


def huber(net: Net, x: str) -> str:
    """x^2 / 2 where |x| < 1, else |x| - 1/2."""
    size = net.join("Abs", x)
    square = _by(net, "Mul", net.join("Mul", x, x), 0.5)
    return _where(net, _by(net, "Less", size, 1.0), square, _by(net, "Sub", size, 0.5))


def residue(net: Net, x: str) -> str:
    """What is left of x behind its whole part, as x - floor(x)."""
    return net.join("Sub", x, net.join("Floor", x))


COMPOSITIONS: tuple[Composition, ...] = (
    elu,
    elu_clipped,
    selu,
    celu,
    leaky,
    bent,
    threshold,
    jump,
    hard_shrink,
    soft_shrink,
    hard_tanh,
    hard_swish,
    hard_swish_clipped,
    softsign,
    square_root,
    gated_silu,
    tanh_below,
    by_a_product,
    relu6_by_min,
    not_less,
    huber,
    residue,
)


def composed(g: Rng, function: Composition) -> ModelProto:
    """A perceptron of six inputs and three classes with the function between its layers."""
    net = Net(g, [1, 6])
    net.last = function(net, net.put("Gemm", net.weight(6, 8), net.weight(8)))
    net.put("Gemm", net.weight(8, 3), net.weight(3))
    return net.proto()


def samples(g: Rng, count: int = 60) -> dict[str, np.ndarray]:
    return {
        "x": g.standard_normal((count, 6)).astype(np.float32),
        "label": g.integers(0, 3, count).astype(np.int64),
    }


def rng(seed: int) -> Rng:
    return om.rng(seed)


BRANCHES: tuple[Callable[[Net, str], str], ...] = (
    lambda net, x: x,
    lambda net, x: net.join("Tanh", x),
    lambda net, x: _by(net, "Mul", x, float(net.g.normal(0, 1))),
    lambda net, x: _by(net, "Add", net.join("Mul", x, x), float(net.g.normal(0, 1))),
    lambda net, x: net.join("Sigmoid", _by(net, "Sub", x, float(net.g.normal(0, 1)))),
    lambda net, x: _by(net, "Min", _by(net, "Max", x, -1.5), 1.25),
    lambda net, x: _expm1(net, _by(net, "Min", x, 1.0), float(net.g.normal(0, 1))),
)


def drawn(net: Net, x: str) -> str:
    """A choice of two functions by a random comparison, perhaps one of two such, or times another one."""

    def branch() -> str:
        return BRANCHES[int(net.g.integers(len(BRANCHES)))](net, x)

    def choice(no: str) -> str:
        op = str(net.g.choice(["Greater", "GreaterOrEqual", "Less", "LessOrEqual"]))
        return _where(net, _by(net, op, x, float(np.float32(net.g.normal(0, 0.7)))), branch(), no)

    first = choice(branch())
    way = int(net.g.integers(3))
    return choice(first) if way == 0 else net.join("Mul", first, branch()) if way == 1 else first
