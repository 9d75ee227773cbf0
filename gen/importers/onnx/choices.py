"""Comparisons of ONNX files, as masks of zeros and ones, and Where, which chooses by one.

sign(relu(a - b)) is 1 where a > b, else 0: no number between. Against numbers nothing is lost in integers;
of two activations whose formats differ, a difference below a step of the sum's is rounded, perhaps to 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .._names import from_node
from .file import OnnxNode
from .layers import Act, Const, Operand, Scope, affine, stretched, weights
from .pairs import arithmetic, product, total
from .views import limited

MIRRORED = ("Less", "GreaterOrEqual")
"""Those that ask whether the second number is the larger one,"""
OTHERWISE = ("LessOrEqual", "GreaterOrEqual")
"""and those that are true where the answer is no."""


def compare(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """1 where the comparison holds, else 0; of two activations, or of one and constants."""
    sides = args[::-1] if node.op in MIRRORED else args
    inner = replace(node, op="Sub", name="")
    return mask(scope, node, arithmetic(scope, inner, sides), node.op in OTHERWISE)


def mask(scope: Scope, node: OnnxNode, difference: Act, otherwise: bool = False) -> Act:
    """1 where the difference is above 0, else 0; the other way round where `otherwise`."""
    above = limited(scope, replace(node, name=""), difference, 0.0, math.inf)
    sign = scope.builder.table(above.tensor, "sign", [from_node(node.name)], node.source)
    return opposite(scope, node, replace(above, tensor=sign)) if otherwise else replace(above, tensor=sign)


def opposite(scope: Scope, node: OnnxNode, given: Act) -> Act:
    """1 where the mask is 0, 0 where it is 1."""
    return affine(scope, replace(node, name=""), given, np.full((), -1.0), np.ones(()))


def chosen(scope: Scope, node: OnnxNode, given: Act, args: Sequence[Operand]) -> Act:
    """The first branch times the mask, and the second one times what is left of 1. args: of the Where"""
    inner, y = replace(node, name=""), None
    beside: tuple[int, ...] = ()
    for i, side in ((1, given), (2, opposite(scope, node, given))):
        branch = args[i]
        if isinstance(branch, Const):
            value = weights(scope, node, args, i, "value")
            if not value.any():  # adds nothing, but may be what the others are stretched along
                beside = _of_one(scope, value.shape)
                continue
            part = affine(scope, inner, side, value, np.zeros(()))
        else:
            assert isinstance(branch, Act)
            part = product(scope, inner, branch, side)
        y = part if y is None else total(scope, node, y, part)
    if y is None:
        wider = [_of_one(scope, a.value.shape) for a in args if isinstance(a, Const)]
        y, beside = affine(scope, inner, given, np.zeros(()), np.zeros(())), np.broadcast_shapes(*wider)
    return beside_zeros(scope, inner, y, beside)


def beside_zeros(scope: Scope, node: OnnxNode, x: Act, zeros: tuple[int, ...]) -> Act:
    """x in the shape that it has with zeros of this shape added. CompileError where they do not fit."""
    try:
        shape = np.broadcast_shapes(x.shape, zeros)
    except ValueError:
        shape = ()
    return stretched(scope, node, x, shape, zeros)


def _of_one(scope: Scope, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that one sample sees of zeros, which are alike for all samples of a file's batch."""
    return (1, *shape[1:]) if shape and scope.batch > 1 and shape[0] == scope.batch else shape
