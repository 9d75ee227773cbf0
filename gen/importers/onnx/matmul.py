"""MatMul of ONNX files: by constants a dense layer, of two activations a product, as attention has it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .._layout import arrange, is_natural, natural
from .._names import from_node
from .file import AGAIN, OnnxNode
from .layers import Act, Operand, Scope, disordered, matmul, scaled


def product(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """left right over the last two axes, the others being alike."""
    acts = [a for a in args if isinstance(a, Act)]
    if len(args) != 2 or len(acts) != 2:
        return matmul(scope, node, args)
    shapes = [a.shape for a in acts]
    if min(len(s) for s in shapes) < 2 or shapes[0][-1] != shapes[1][-2]:
        raise node.error(f"operands of shape {shapes[0]} and {shapes[1]} do not fit", AGAIN)
    outer = [[n for n in s[:-2] if n > 1] for s in shapes]
    if outer[0] != outer[1]:
        what = f"multiplies matrices of shape {shapes[0]} by such of {shapes[1]}"
        raise node.error(what, "both must hold as many matrices")
    sides, turned = zip(*(_matrices(scope, node, a, math.prod(outer[0])) for a in acts), strict=True)
    y = scope.builder.matmul(sides[0], sides[1], turned, [from_node(node.name)], node.source)
    longer = max(shapes, key=len)
    return Act(y, natural((*longer[:-2], shapes[0][-2], shapes[1][-1])))


def fused_product(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """FusedMatMul of onnxruntime: either side turned, and a factor."""
    if node.integer("transBatchA", 0) or node.integer("transBatchB", 0):
        raise node.error("turns its first axes too", "optimise the model less")
    sides = [
        _turned(node, a) if node.integer(name, 0) else a
        for a, name in zip(args, ("transA", "transB"), strict=False)
    ]
    y, factor = product(scope, node, sides), node.real("alpha", 1.0)
    return y if factor == 1.0 else scaled(scope, node, y, factor)


def _turned(node: OnnxNode, x: Operand) -> Operand:
    values = x.places if isinstance(x, Act) else x.value if x is not None else np.zeros(())
    if values.ndim < 2:
        return x  # a vector has no other side
    if isinstance(x, Act):
        return replace(x, places=x.places.swapaxes(-1, -2))
    assert x is not None
    return x._replace(value=x.value.swapaxes(-1, -2))


def _matrices(scope: Scope, node: OnnxNode, x: Act, count: int) -> tuple[str, int]:
    """x as [count, rows, columns], and whether these two lie turned."""
    places = x.places.reshape(count, *x.shape[-2:])
    turned = places.swapaxes(1, 2)
    if not is_natural(places) and is_natural(turned):
        return scope.builder.view(x.tensor, turned.shape), 1
    tensor = arrange(scope.builder, x.tensor, places, node.source)
    if tensor is None:
        raise disordered(node)
    return tensor, 0
