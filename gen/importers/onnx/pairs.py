"""The ONNX operators that take two activations or more together, value by value, or one and constants."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from .._build import Sliding
from .._layers import LEAST
from .._layout import MAX_AXES, MOST_AXES, Places, arrange, arrangeable, axes_by_stride, is_natural, natural
from .._names import from_node
from .file import AGAIN, MAX_RANK, OnnxNode
from .layers import Act, Const, Operand, Scope, activation, affine, disordered, scaled, weights
from .views import limit, limited


def common_shape(x: Act, y: Act) -> tuple[int, ...] | None:
    """The shape in which two activations meet value by value; None if one would be repeated."""
    try:
        shape = np.broadcast_shapes(x.shape, y.shape)
    except ValueError:
        return None
    return shape if math.prod(shape) == x.size == y.size and len(shape) <= MAX_RANK else None


def together(scope: Scope, node: OnnxNode, x: Act, y: Act) -> tuple[str, str, Places]:
    """Two tensors whose values meet where those of x and y do; and where what they give lies."""
    shape = common_shape(x, y)
    if shape is not None:
        return aligned(scope, node, [replace(a, places=a.places.reshape(shape)) for a in (x, y)])
    return _stretched(scope, node, x, y)


def aligned(scope: Scope, node: OnnxNode, parts: Sequence[Act]) -> tuple[str, str, Places]:
    """Of two parts of one shape: their values lie alike.

    The order of a part that is not the file's (channels last) is preferred to the file's.
    """
    shape, builder = parts[0].shape, scope.builder
    moved = [p for p in parts if not is_natural(p.places)]
    orders = [(p.places, builder.shape(p.tensor)) for p in moved]
    orders.append((natural(shape), builder.shape(parts[0].tensor)))
    for most, (places, stored) in itertools.product((MAX_AXES, MOST_AXES), orders):
        at = np.argsort(places.reshape(-1)).astype(np.int32)
        wanted = [p.places.reshape(-1)[at].reshape(stored) for p in parts]
        if all(arrangeable(w, most) for w in wanted):
            a, b = (arrange(builder, p.tensor, w, node.source) for p, w in zip(parts, wanted, strict=True))
            assert a is not None and b is not None
            return a, b, places
    raise disordered(node)


def _stretched(scope: Scope, node: OnnxNode, x: Act, y: Act) -> tuple[str, str, Places]:
    """Of two parts, each of which stands still along axes where it has one element: a gate of channels."""
    try:
        shape = np.broadcast_shapes(x.shape, y.shape)
    except ValueError:
        shape = ()
    if not shape or len(shape) > MAX_RANK:
        raise node.error(f"combines shapes {x.shape} and {y.shape}", "shapes must be alike, or 1 where not")
    seen = [a.places.reshape((1,) * (len(shape) - len(a.shape)) + a.shape) for a in (x, y)]
    for most, order in itertools.product((MAX_AXES, MOST_AXES), list(_orders(seen))):
        wanted = [p.transpose(order) for p in seen]
        kept = [i for i, axis in enumerate(order) if shape[axis] > 1]
        wanted = [w.reshape([w.shape[i] for i in kept]) for w in wanted]
        if all(arrangeable(w, most) for w in wanted):
            a, b = (
                arrange(scope.builder, p.tensor, w, node.source) for p, w in zip((x, y), wanted, strict=True)
            )
            assert a is not None and b is not None
            return a, b, natural([shape[i] for i in order]).transpose(np.argsort(order))
    raise disordered(node)


def _orders(seen: Sequence[Places]) -> Iterator[tuple[int, ...]]:
    """Orders of axes to try, the outermost first: as the larger part lies, as the other, as in the file."""
    for places in sorted(seen, key=lambda p: -p.size):
        yield axes_by_stride(places)
    yield tuple(range(seen[0].ndim))


def total(scope: Scope, node: OnnxNode, x: Act, y: Act, minus: bool = False) -> Act:
    """The sum of two activations, or their difference: a residual connection."""
    alike = common_shape(x, y) == x.shape == y.shape and np.array_equal(x.places, y.places)
    if x.tensor == y.tensor and alike and not minus:
        return scaled(scope, node, x, 2.0)
    y = scaled(scope, node, y, -1.0) if minus else y
    a, b, places = together(scope, node, x, y)
    return Act(scope.builder.sum(a, b, [from_node(node.name)], node.source), places)


def product(scope: Scope, node: OnnxNode, x: Act, y: Act) -> Act:
    """The product of two activations: a gate."""
    a, b, places = together(scope, node, x, y)
    return Act(scope.builder.product(a, b, [from_node(node.name)], node.source), places)


def reciprocal(scope: Scope, node: OnnxNode, x: Act) -> Act:
    """1 / x."""
    scope.builder.notes.append(
        f"{node.source}: of numbers nearer to 0 than {LEAST:.3g} it takes {LEAST:.3g}, with their sign"
    )
    return replace(x, tensor=scope.builder.table(x.tensor, "reciprocal", [from_node(node.name)], node.source))


def arithmetic(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """Add, Sub, Div of two activations, or of one and a constant, in either order; Mul by a constant; Neg."""
    if node.op == "Neg":
        return scaled(scope, node, activation(node, args), -1.0)
    if len(args) != 2:
        raise node.error(f"has {len(args)} operands", AGAIN)
    x, y = args
    if isinstance(x, Act) and isinstance(y, Act):
        if node.op == "Div":
            return product(scope, node, x, reciprocal(scope, node, y))
        return total(scope, node, x, y, node.op == "Sub")
    first = isinstance(x, Act)
    act = activation(node, args, 0 if first else 1)
    c = weights(scope, node, args, 1 if first else 0, "constant")
    if node.op != "Div":
        return by_constant(scope, node, act, c, first)
    if not first:
        return affine(scope, node, reciprocal(scope, node, act), c, np.zeros(()))
    if not np.all(c):
        raise node.error("divides by 0", "give constant features a scale of 1 before exporting")
    return affine(scope, node, act, 1.0 / c, np.zeros(()))


def by_constant(scope: Scope, node: OnnxNode, x: Act, c: np.ndarray, first: bool = True) -> Act:
    """x + c, x - c, c - x where x is not the first operand, x * c."""
    one, zero = np.ones(()), np.zeros(())
    if node.op == "Mul":
        return affine(scope, node, x, c, zero)
    if node.op == "Sub":
        return affine(scope, node, x, one, -c) if first else affine(scope, node, x, -one, c)
    return affine(scope, node, x, one, c)


def several(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """Sum and Mean of activations and constants."""
    acts = [a for a in args if isinstance(a, Act)]
    y = acts[0]
    for x in acts[1:]:
        y = total(scope, node, y, x)
    for i, c in enumerate(args):
        if isinstance(c, Const):
            y = affine(scope, node, y, np.ones(()), weights(scope, node, args, i, "constant"))
    return scaled(scope, node, y, 1.0 / len(args)) if node.op == "Mean" else y


def extreme(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """Max, Min of activations of one shape, and constants."""
    lower = node.op == "Min"
    acts = [a for a in args if isinstance(a, Act)]
    y = acts[0]
    if len(acts) > 1:
        y, *rest = (scaled(scope, node, a, -1.0) if lower else a for a in acts)
        for x in rest:
            y = _larger(scope, node, y, x)
        y = scaled(scope, node, y, -1.0) if lower else y
    for i, c in enumerate(args):
        if isinstance(c, Const) and c.value.size == 1:
            end = limit(node, args, i, "limit", 0.0)
            y = limited(scope, node, y, *((-math.inf, end) if lower else (end, math.inf)))
        elif isinstance(c, Const):
            y = _held(scope, node, y, weights(scope, node, args, i, "limit"), lower)
    return y


def _larger(scope: Scope, node: OnnxNode, x: Act, y: Act) -> Act:
    """The larger of each two values: both stand one above the other, in a map whose height is pooled."""
    if common_shape(x, y) is None:
        raise node.error(f"combines shapes {x.shape} and {y.shape}", "only equal shapes can be compared")
    builder = scope.builder
    a, b, places = together(scope, node, x, y)
    both = builder.view(builder.concat([builder.flat(a), builder.flat(b)], [], node.source), (2, 1, x.size))
    return Act(builder.maxpool2d(both, Sliding((2, 1)), [from_node(node.name)], node.source), places)


def _held(scope: Scope, node: OnnxNode, x: Act, c: np.ndarray, lower: bool) -> Act:
    """x, not above c where `lower`, else not below it; c has more than one value."""
    inner = replace(node, name="")
    over = affine(scope, inner, x, np.ones(()), -c)
    kept = limited(scope, inner, over, *((-math.inf, 0.0) if lower else (0.0, math.inf)))
    return affine(scope, node, kept, np.ones(()), c)
