"""The float ONNX form of each layer: one function per op, in one table."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from ..graph import Node
from ..ops.clip import limits
from ._tensors import Tensors


def dense(t: Tensors, node: Node) -> None:
    x, w, b = node.inputs
    weight = t.constant(f"{node.name}.weight", t.value(w))
    bias = t.constant(f"{node.name}.bias", t.value(b))
    t.put("Gemm", [t.get(x), weight, bias], node, transB=1)


def affine(t: Tensors, node: Node) -> None:
    """The one operator that is scale * x + shift; a batch normalisation of what has mean 0, variance 1."""
    x, scale, shift = node.inputs
    size, shape = t.graph.tensors[x].size, t.shape(node.output)
    zeros, ones = np.zeros(size, np.float32), np.ones(size, np.float32)
    constants = [
        t.constant(f"{node.name}.{what}", value)
        for what, value in (
            ("scale", t.value(scale)),
            ("shift", t.value(shift)),
            ("mean", zeros),
            ("variance", ones),
        )
    ]
    if len(shape) == 1:
        t.put("BatchNormalization", [t.get(x), *constants], node, epsilon=0.0)
        return
    flat = t.node("Reshape", [t.get(x), t.integers(-1, size)], f"{node.output}/flat", "")
    moved = t.node("BatchNormalization", [flat, *constants], f"{node.output}/affine", node.name, epsilon=0.0)
    t.put("Reshape", [moved, t.integers(-1, *shape)], node)


def clip(t: Tensors, node: Node) -> None:
    lo, hi = limits(node)
    first = t.is_first(node.inputs[0])
    x = t.get(node.inputs[0], first)
    if (lo, hi) == (0.0, math.inf):
        t.put("Relu", [x], node, first)
        return
    ends = [
        "" if math.isinf(v) else t.constant(f"{node.name}.{what}", np.array(v, np.float32))
        for what, v in (("min", lo), ("max", hi))
    ]
    t.put("Clip", [x, *ends], node, first)


def concat(t: Tensors, node: Node) -> None:
    t.put("Concat", [t.get(x) for x in node.inputs], node, axis=len(t.shape(node.output)))


def reshape(t: Tensors, node: Node) -> None:
    t.put("Reshape", [t.get(node.inputs[0]), t.integers(-1, *t.shape(node.output))], node)


LAYERS: Mapping[str, Callable[[Tensors, Node], None]] = {
    "affine": affine,
    "clip": clip,
    "concat": concat,
    "dense": dense,
    "reshape": reshape,
}
"""By op: writes a node and puts its output."""
