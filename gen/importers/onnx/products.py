"""Functions of one value that exporters write as products or choices of activations.

SiLU, HardSwish, Mish and GELU come as products of an activation with a function of itself, softplus as a
choice between the two. They are recognised from what the builder has written; the operands are left for the
pruning.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...errors import CompileError
from ...ir.graph import Graph, Node
from ...ops import layer
from .._layers import CUBE, ROOT_2_PI, LayerBuilder, factors_of, function_of, limits_of, terms_of
from .._names import from_node
from .choices import beside_zeros, chosen, compare, mask, opposite
from .file import AGAIN, OnnxNode, checked_size
from .layers import Act, Const, Operand, Scope, activation, affine, constant, scaled, weights
from .pairs import arithmetic, common_shape, product, total
from .views import same

CLOSE = 1e-5  # of constants that exporters round to float32
NEARLY_LINEAR = 10.0  # from here on softplus(x) is x + 0.00005


def part(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """1 - Erf; Greater than a number, kept until the whole is known; of other numbers, a mask."""
    if node.op == "Greater" and not (
        len(args) == 2 and isinstance(args[1], Const) and args[1].value.size == 1
    ):
        return compare(scope, node, args)
    x, alpha = activation(node, args), 0.0
    if node.op == "Greater":
        alpha = float(weights(scope, node, args, 1, "limit").reshape(-1)[0])
    fn = "greater" if node.op == "Greater" else "erf"
    y = replace(x, tensor=scope.builder.table(x.tensor, fn, [from_node(node.name)], node.source, alpha))
    return (
        affine(scope, replace(node, name=""), y, np.full((), -1.0), np.ones(())) if node.op == "Erfc" else y
    )


def choose(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """A softplus or a leaky ReLU as PyTorch writes them; a choice by a constant condition, or by a mask."""
    if len(args) == 3 and isinstance(args[0], Const):
        return _masked(scope, node, args)
    acts = [a for a in args if isinstance(a, Act)]
    if len(acts) == len(args) == 3 and all(np.array_equal(a.places, acts[0].places) for a in acts):
        found = _piecewise(scope, node, acts)
        if found is not None:
            return found
    if len(args) != 3 or not isinstance(args[0], Act) or None in args[1:]:
        raise node.error(f"has {len(acts)} operands that are computed, of {len(args)}", AGAIN)
    return chosen(scope, node, known(scope, node, args[0]), args)


def known(scope: Scope, node: OnnxNode, x: Act) -> Act:
    """A condition as a mask of zeros and ones, also one that was kept until the whole is known."""
    condition = scope.builder.producer(x.tensor)
    if condition is None or function_of(condition) != "greater":
        return x
    limit, seen = condition.number("alpha"), replace(x, tensor=condition.inputs[0])
    inner = replace(node, name="")
    return mask(scope, inner, affine(scope, inner, seen, np.ones(()), np.full((), -limit)))


def of_mask(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """Not of a condition; Cast of one, or of an activation from float to float."""
    if node.op == "Not":
        return opposite(scope, node, activation(node, args))
    return same(scope, node, [known(scope, node, a) if isinstance(a, Act) else a for a in args])


def _piecewise(scope: Scope, node: OnnxNode, acts: Sequence[Act]) -> Act | None:
    """Where(b x > limit, x, softplus(b x) / b), which is its last operand; Where(x > 0, x, a x)."""
    builder, x = scope.builder, acts[1].tensor
    condition = builder.producer(acts[0].tensor)
    if condition is None or function_of(condition) != "greater":
        return None
    limit, factors = condition.number("alpha"), dict(_unscaled(builder, condition.inputs[0]))
    if x not in factors or not factors[x] > 0:
        return None
    for soft, scale in _unscaled(builder, acts[2].tensor):
        table = builder.producer(soft)
        if _is_table(table, "softplus", condition.inputs[0]) and limit >= NEARLY_LINEAR:
            return acts[2] if _close((scale * factors[x],), (1.0,)) else None
        if soft == x and limit == 0.0:
            y = builder.table(x, "leaky_relu", [from_node(node.name)], node.source, scale)
            return replace(acts[1], tensor=y)
    return None


def _masked(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """Where by a constant condition: each branch times its mask, and their sum."""
    condition = constant(node, args, 0, "condition")
    assert condition is not None
    y: Act | None = None
    shift = np.zeros(())
    for i, shown in ((1, condition != 0), (2, condition == 0)):
        if isinstance(args[i], Act):
            part = affine(scope, replace(node, name=""), activation(node, args, i), shown * 1.0, np.zeros(()))
            y = part if y is None else total(scope, node, y, part)
        else:
            shift = _kept(node, shown, weights(scope, node, args, i, "value"))
    if y is None:
        raise node.error("chooses between constants by a constant", "export the model with constant folding")
    return (
        affine(scope, node, y, np.ones(()), shift)
        if shift.any()
        else beside_zeros(scope, node, y, shift.shape)
    )


def _kept(node: OnnxNode, mask: np.ndarray, value: np.ndarray) -> np.ndarray:
    """A constant where the mask is set, else 0."""
    try:
        checked_size(np.broadcast_shapes(mask.shape, value.shape), node.source)
    except ValueError:
        what = f"its condition has shape {mask.shape}, its value {value.shape}"
        raise node.error(what, AGAIN) from None
    return np.where(mask, value, 0.0)


def _is_table(node: Node | None, fn: str, x: str) -> bool:
    return node is not None and function_of(node) == fn and node.inputs[0] == x


def multiply(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """Mul by a constant; x * sigmoid(x), x * hardsigmoid(x) and x * (1 + erf(x / sqrt 2)) with any factor;
    of any other two activations."""
    acts = [a for a in args if isinstance(a, Act)]
    if len(args) != 2 or len(acts) != 2:
        return arithmetic(scope, node, args)
    shape, flat = common_shape(*acts), [a.places.reshape(-1) for a in acts]
    alike = shape is not None and np.array_equal(flat[0], flat[1])
    for x, y in (acts, acts[::-1]) if alike else ():
        found = _product(scope.builder, x.tensor, y.tensor)
        if found is not None:
            fn, root, factor = found
            tensor = scope.builder.table(root, fn, [from_node(node.name)], node.source)
            result = Act(tensor, flat[0].reshape(shape))
            return result if factor == 1.0 else scaled(scope, node, result, factor)
    return product(scope, node, *acts)


@dataclass(frozen=True, slots=True)
class _Chain:
    """out_scale * fn(in_scale * root + in_shift) + out_shift, limited to lo .. hi; fn "" is the identity."""

    root: str
    fn: str
    in_scale: float
    in_shift: float
    out_scale: float
    out_shift: float
    lo: float = -math.inf
    hi: float = math.inf


def _product(builder: LayerBuilder, x: str, y: str) -> tuple[str, str, float] | None:
    """(function, its argument, factor) if x * y is a known function of one tensor."""
    for root, scale in _unscaled(builder, x):
        if (found := _of_tanh(builder, y, root)) is not None:
            return found[0], root, scale * found[1]
        chain = _chain(builder, y, root)
        if chain.root != root:
            continue
        open_ended = math.isinf(chain.lo) and math.isinf(chain.hi)
        if chain.fn == "erf" and chain.in_scale < 0:  # erf(-x) = -erf(x)
            chain = replace(chain, in_scale=-chain.in_scale, out_scale=-chain.out_scale)
        inside = (chain.in_scale, chain.in_shift, chain.out_shift)
        if chain.fn == "sigmoid" and open_ended and _close(inside, (1, 0, 0)):
            return "silu", root, scale * chain.out_scale
        if chain.fn == "erf" and open_ended and _close(inside, (math.sqrt(0.5), 0, chain.out_scale)):
            return "gelu", root, 2 * scale * chain.out_scale
        ramp = (chain.lo, 6 * chain.out_scale, 2 * chain.out_shift)
        if not chain.fn and _close(ramp, (0, chain.hi, chain.hi)):
            return "hardswish", root, scale * chain.hi
    return None


def _of_tanh(builder: LayerBuilder, y: str, root: str) -> tuple[str, float] | None:
    """(function, factor) where y times root is Mish, or GELU by its approximation."""
    node, scale, shift = builder.producer(y), 1.0, 0.0
    while node is not None and layer(node.op).scales:
        pair = _uniform(builder, node)
        if pair is None:
            return None
        scale, shift = scale * pair[0], scale * pair[1] + shift
        node = builder.producer(node.inputs[0])
    if node is None or function_of(node) != "tanh":
        return None
    if shift == 0.0 and _is_table(builder.producer(node.inputs[0]), "softplus", root):
        return "mish", scale
    if _close((shift,), (scale,)) and _is_cubic(builder, node.inputs[0], root):
        return "gelu_tanh", 2.0 * scale
    return None


def _is_cubic(builder: LayerBuilder, tensor: str, root: str) -> bool:
    """Whether it is sqrt(2 / pi) (x + 0.044715 x^3), the factor before the sum or behind it."""
    for inner, factor in _unscaled(builder, tensor):
        terms = terms_of(node) if (node := builder.producer(inner)) is not None else ()
        for first, second in (terms, terms[::-1]) if terms else ():
            ones = [s for t, s in _unscaled(builder, first) if t == root]
            cubes = [s for t, s in _unscaled(builder, second) if _is_cube(builder, t, root)]
            if (
                ones
                and cubes
                and _close((factor * ones[0], factor * cubes[0]), (ROOT_2_PI, ROOT_2_PI * CUBE))
            ):
                return True
    return False


def _is_cube(builder: LayerBuilder, tensor: str, root: str) -> bool:
    node = builder.producer(tensor)
    if node is None:
        return False
    if _is_table(node, "power", root):
        return node.attrs["alpha"] == 3.0
    factors = factors_of(node)
    return any(
        a == root and (inner := builder.producer(b)) is not None and factors_of(inner) == (root, root)
        for a, b in ((factors, factors[::-1]) if factors else ())
    )


def _unscaled(builder: LayerBuilder, tensor: str) -> Iterator[tuple[str, float]]:
    """`tensor` and what it is a multiple of, with the factors."""
    scale = 1.0
    yield tensor, scale
    while (node := builder.producer(tensor)) is not None and layer(node.op).scales:
        pair = _uniform(builder, node)
        if pair is None or pair[1] != 0.0:
            return
        tensor, scale = node.inputs[0], scale * pair[0]
        yield tensor, scale


def _close(values: Sequence[float], wanted: Sequence[float]) -> bool:
    return all(
        math.isfinite(w) and abs(v - w) <= CLOSE * max(abs(w), CLOSE)
        for v, w in zip(values, wanted, strict=True)
    )


def _chain(builder: LayerBuilder, tensor: str, root: str) -> _Chain:
    """What `tensor` is of `root`, through affine, clip and one table at most; another root if it is not."""
    nodes: list[Node] = []
    while tensor != root and (node := builder.producer(tensor)) is not None:
        if not (layer(node.op).scales or limits_of(node) or function_of(node)):
            break
        nodes.append(node)
        tensor = node.inputs[0]
    chain: _Chain | None = _Chain(tensor, "", 1.0, 0.0, 1.0, 0.0)
    for node in reversed(nodes):
        chain = None if chain is None else _behind(builder, chain, node)
    return chain or _Chain("", "", 1.0, 0.0, 1.0, 0.0)


def _behind(builder: LayerBuilder, chain: _Chain, node: Node) -> _Chain | None:
    """`chain` followed by `node`; None if that is no such function any more."""
    attrs = {k: float(v) for k, v in node.attrs.items() if isinstance(v, int | float)}
    if layer(node.op).scales:
        pair = _uniform(builder, node)
        return None if pair is None else _scaled(chain, *pair)
    if limits := limits_of(node):
        return _limited(chain, *limits)
    if function_of(node) == "hardsigmoid":  # what exporters also write as Add, Clip and Mul
        return _limited(_scaled(chain, attrs["alpha"], attrs["beta"]), 0.0, 1.0)
    if chain.fn or math.isfinite(chain.lo) or math.isfinite(chain.hi):
        return None
    return _Chain(chain.root, function_of(node), chain.out_scale, chain.out_shift, 1.0, 0.0)


def _scaled(chain: _Chain, s: float, t: float) -> _Chain:
    lo, hi = sorted(s * v + t if s else t for v in (chain.lo, chain.hi))
    return replace(chain, out_scale=s * chain.out_scale, out_shift=s * chain.out_shift + t, lo=lo, hi=hi)


def _limited(chain: _Chain, lo: float, hi: float) -> _Chain:
    return replace(chain, lo=min(max(chain.lo, lo), hi), hi=max(min(chain.hi, hi), lo))


def _uniform(builder: LayerBuilder, node: Node) -> tuple[float, float] | None:
    """Scale and shift of an affine node that treats all values alike."""
    scale, shift = builder.constants(node)
    if np.any(scale != scale[0]) or np.any(shift != shift[0]):
        return None
    return float(scale[0]), float(shift[0])


def refuse_leftovers(graph: Graph) -> None:
    """CompileError if a border remains that is only understood as a part of a pool."""
    for node in graph.nodes:
        border = layer(node.op).border(node)
        if border and border[1] == -math.inf:
            what = (
                "pads with -inf, which only a MaxPool takes: not dilated, its window larger than the padding"
            )
            raise CompileError(node.source, what, "pad with 0, or in mode edge")
