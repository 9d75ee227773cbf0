"""Normalisations of ONNX files: over the last axes, over maps, over groups of channels, to unit vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .._build import Sliding
from .._layout import arrange, is_natural, natural
from .._names import from_node
from .file import AGAIN, DAMAGED, OnnxNode
from .fold import axis
from .layers import Act, Operand, Scope, activation, affine, disordered, weights
from .pairs import product

LP = {1: "magnitudes", 2: "squares"}
NORMALIZER = {"L1": "magnitudes", "L2": "squares", "MAX": "largest"}


def _normalised(scope: Scope, node: OnnxNode, x: Act, over: Sequence[int], kind: str, epsilon: float) -> Act:
    """x over the measure `kind` of its values along the axes `over`, taken together."""
    gone = [i for i in range(len(x.shape)) if i in over]
    kept = [i for i in range(len(x.shape)) if i not in over]
    size = math.prod(x.shape[i] for i in gone)
    if not (math.isfinite(epsilon) and epsilon >= 0):
        raise node.error(f"its epsilon is {epsilon}", DAMAGED)
    names, builder = [from_node(node.name)], scope.builder
    for order, shape, at in (((*kept, *gone), (-1, size), 1), ((*gone, *kept), (size, -1), 0)):
        if is_natural(x.places.transpose(order)):
            wanted = x.places.transpose(order).reshape(shape)
            y = builder.normalise(builder.view(x.tensor, wanted.shape), at, kind, epsilon, names, node.source)
            return Act(y, x.places)
    order = (*kept, *gone)
    rows = arrange(builder, x.tensor, x.places.transpose(order).reshape(-1, size), node.source)
    if rows is None:
        raise disordered(node)
    y = builder.normalise(rows, 1, kind, epsilon, names, node.source)
    moved = natural([x.shape[i] for i in order]).transpose(np.argsort(order))
    return Act(y, moved)


def _scaled(scope: Scope, node: OnnxNode, y: Act, args: Sequence[Operand], shape: Sequence[int]) -> Act:
    """y times the operand 1, plus the operand 2, where they are there; each in `shape`."""
    given = []
    for i, (role, usual) in enumerate((("scale", 1.0), ("bias", 0.0)), 1):
        there = i < len(args) and args[i] is not None
        value = weights(scope, node, args, i, role) if there else np.full((), usual)
        if there and value.size > 1:
            if value.size != math.prod(shape):
                raise node.error(f"its {role} has shape {value.shape}, its input {y.shape}", AGAIN)
            value = value.reshape(tuple(shape))
        given.append(value.reshape(()) if value.size == 1 else value)
    if not any(v.ndim for v in given) and (float(given[0]), float(given[1])) == (1.0, 0.0):
        return y
    return affine(scope, node, y, given[0], given[1])


def _axis(node: OnnxNode, x: Act, number: int) -> int:
    try:
        return axis(number, len(x.shape))
    except ValueError as error:
        raise node.error(str(error), AGAIN) from None


def last_axes(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """LayerNormalization; RMSNormalization and SimplifiedLayerNormalization, which take no mean off."""
    x = activation(node, args)
    listed = node.integers("axes")  # of what exporters write in several operators
    if listed is not None:
        chosen = sorted({_axis(node, x, i) for i in listed})
        return _normalised(scope, node, x, chosen, "mean_square", node.real("epsilon", 0.0))
    first = _axis(node, x, node.integer("axis", -1))
    if first == 0 and len(x.shape) > 1:
        raise node.error(f"normalises all of shape {x.shape}, the batch too", "keep the batch in front")
    kind = "variance" if node.op == "LayerNormalization" else "mean_square"
    over = range(first, len(x.shape))
    y = _normalised(scope, node, x, over, kind, node.real("epsilon", 1e-5))
    return _scaled(scope, node, y, args, x.shape[first:])


def any_axes(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """MeanVarianceNormalization, over given axes; also what exporters write in several operators."""
    x = activation(node, args)
    over = {_axis(node, x, i) for i in node.integers("axes") or (0, 2, 3)}
    return _normalised(scope, node, x, sorted(over), "variance", node.real("epsilon", 1e-9))


def instance(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """InstanceNormalization: each channel of a map by itself."""
    x = activation(node, args)
    if len(x.shape) < 3:
        raise node.error(f"works on shape {x.shape}", "only maps have channels and places")
    y = _normalised(scope, node, x, range(2, len(x.shape)), "variance", node.real("epsilon", 1e-5))
    return _scaled(scope, node, y, args, (x.shape[1], *(1 for _ in x.shape[2:])))


def group(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """GroupNormalization: scale and bias are those of groups up to opset 20, then those of channels."""
    x, groups = activation(node, args), node.integer("num_groups", 0)
    if len(x.shape) < 2 or groups < 1 or x.shape[1] % groups:
        raise node.error(f"makes {groups} groups of shape {x.shape}", AGAIN)
    each = x.shape[1] // groups
    split = Act(x.tensor, x.places.reshape(x.shape[0], groups, each, *x.shape[2:]))
    over = range(2, len(split.shape))
    y = _normalised(scope, node, split, over, "variance", node.real("epsilon", 1e-5))
    channels = each if scope.opset >= 21 else 1
    y = _scaled(scope, node, y, args, (groups, channels, *(1 for _ in x.shape[2:])))
    return Act(y.tensor, y.places.reshape(x.shape))


def unit(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """LpNormalization; Normalizer, as scikit-learn's becomes. A row of zeros stays one."""
    x = activation(node, args)
    if node.op == "Normalizer":
        kind = NORMALIZER.get(node.string("norm", "MAX"))
        along = len(x.shape) - 1
    else:
        kind, along = LP.get(node.integer("p", 2)), _axis(node, x, node.integer("axis", -1))
    if kind is None:
        raise node.error("has a norm that is unknown", "L1, L2 and, of a Normalizer, MAX are")
    return _normalised(scope, node, x, [along], kind, 0.0)


def local(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """LRN: x over a power of a sum, of the squares of channels beside it and a constant."""
    x, size = activation(node, args), node.integer("size", 0)
    alpha, beta, bias = node.real("alpha", 1e-4), node.real("beta", 0.75), node.real("bias", 1.0)
    if len(x.shape) < 3 or not 1 <= size <= x.shape[1] * 2 or not (bias > 0 and alpha >= 0 and beta > 0):
        what = f"has size {size}, alpha {alpha}, beta {beta}, bias {bias} for shape {x.shape}"
        raise node.error(what, "a map, and positive numbers are needed")
    builder, inner = scope.builder, replace(node, name="")
    rows = np.moveaxis(x.places, 1, -1).reshape(-1, x.shape[1])
    tensor = arrange(builder, x.tensor, rows[..., None], node.source)
    if tensor is None:
        raise disordered(node)
    seen = Act(tensor, natural(rows.shape))
    squares = builder.table(tensor, "power", [], node.source, 2.0)
    around = Sliding((1, size), padding=(0, (size - 1) // 2, 0, size // 2))
    sums = Act(builder.avgpool2d(squares, around, True, [], node.source), natural(rows.shape))
    sums = affine(scope, inner, sums, np.full((), alpha), np.full((), bias))
    fn, power = ("rsqrt", 0.0) if beta == 0.5 else ("power", -beta)
    factor = replace(sums, tensor=builder.table(sums.tensor, fn, [], node.source, power))
    y = product(scope, node, seen, factor)
    moved = y.places.reshape(x.shape[0], *x.shape[2:], x.shape[1])
    return replace(y, places=np.moveaxis(moved, -1, 1))
