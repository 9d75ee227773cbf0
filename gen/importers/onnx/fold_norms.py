"""Normalisations of constants: weights that an ONNX file normalises by an operator of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from .file import OnnxNode

Operands = Sequence[np.ndarray | None]


def _value(operands: Operands) -> np.ndarray:
    value = operands[0] if operands else None
    if value is None or value.dtype.kind != "f":
        raise ValueError("it is no tensor of real numbers")
    return value


def _inside(number: int, rank: int) -> int:
    if not -rank <= number < rank:
        raise ValueError(f"there is no axis {number} in {rank} dimensions")
    return number % rank


def _scaled(y: np.ndarray, operands: Operands, places: int = 0) -> np.ndarray:
    """y times the operand 1, plus the operand 2, where they are there, broadcast to it as ONNX does, `places`
    axes behind theirs."""
    for i, apply in ((1, np.multiply), (2, np.add)):
        given = operands[i] if i < len(operands) else None
        if given is None:
            continue
        given = given.reshape((*given.shape, *(1 for _ in range(places))))
        if np.broadcast_shapes(given.shape, y.shape) != y.shape:
            raise ValueError(f"a factor of shape {given.shape} does not go with {y.shape}")
        y = np.asarray(apply(y, given))
    return y


def _over(x: np.ndarray, axes: tuple[int, ...], epsilon: float, centre: bool = True) -> np.ndarray:
    """x over the root of its variance along axes, or of its mean square."""
    less = x - x.mean(axes, keepdims=True) if centre else x
    return np.asarray(less / np.sqrt(np.square(less).mean(axes, keepdims=True) + epsilon))


def _unit(node: OnnxNode, operands: Operands) -> np.ndarray:
    """LpNormalization. A row of zeros stays one."""
    x = _value(operands)
    along, p = _inside(node.integer("axis", -1), x.ndim), node.integer("p", 2)
    if p not in (1, 2):
        raise ValueError(f"its norm is L{p}, where L1 and L2 are known")
    norm = np.linalg.norm(x.astype(np.float64), p, along, keepdims=True)
    return np.asarray(x / np.where(norm == 0, 1, norm)).astype(x.dtype)


def _last(node: OnnxNode, operands: Operands) -> np.ndarray:
    """LayerNormalization; RMSNormalization and SimplifiedLayerNormalization, which take no mean off."""
    x = _value(operands)
    first = _inside(node.integer("axis", -1), x.ndim)
    centre = node.op == "LayerNormalization"
    epsilon, axes = node.real("epsilon", 1e-5), tuple(range(first, x.ndim))
    y = _over(x.astype(np.float64), axes, epsilon, centre)
    return _scaled(y, operands).astype(x.dtype)


def _given(node: OnnxNode, operands: Operands) -> np.ndarray:
    """MeanVarianceNormalization."""
    x = _value(operands)
    axes = tuple(_inside(i, x.ndim) for i in node.integers("axes") or (0, 2, 3))
    less = x.astype(np.float64) - x.astype(np.float64).mean(axes, keepdims=True)
    deviation = np.sqrt(np.square(less).mean(axes, keepdims=True))
    return np.asarray(less / (deviation + 1e-9)).astype(x.dtype)  # epsilon stands outside of the root here


def _instance(node: OnnxNode, operands: Operands) -> np.ndarray:
    """InstanceNormalization."""
    x = _value(operands)
    if x.ndim < 2:
        raise ValueError(f"shape {x.shape} has no channels")
    y = _over(x.astype(np.float64), tuple(range(2, x.ndim)), node.real("epsilon", 1e-5))
    return _scaled(y, operands, x.ndim - 2).astype(x.dtype)


NORMALISATIONS: Mapping[str, Callable[[OnnxNode, Operands], np.ndarray]] = {
    "InstanceNormalization": _instance,
    "LayerNormalization": _last,
    "LpNormalization": _unit,
    "MeanVarianceNormalization": _given,
    "RMSNormalization": _last,
    "SimplifiedLayerNormalization": _last,
}
