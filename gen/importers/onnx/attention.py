"""Attention of ONNX files, and sums over named axes (Einsum): products, a softmax and views, put together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .._layout import natural
from .._masks import masked
from .file import AGAIN, OnnxNode
from .layers import (
    Act,
    Const,
    Operand,
    Scope,
    activation,
    affine,
    at_each,
    constant,
    scaled,
    taken,
    weights,
)
from .matmul import product


def attention(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """softmax(scale q k' + mask) v, of heads that lie apart, or side by side in the last axis."""
    q, k, v = (activation(node, args, i) for i in range(3))
    flat = len(q.shape) == 3
    if len({len(a.shape) for a in (q, k, v)}) > 1 or len(q.shape) not in (3, 4):
        raise node.error(f"takes shapes {q.shape}, {k.shape} and {v.shape}", AGAIN)
    _refuse(node, args)
    if flat:
        counts = (node.integer("q_num_heads", 0), *(node.integer("kv_num_heads", 0),) * 2)
        q, k, v = (_apart(node, a, n) for a, n in zip((q, k, v), counts, strict=True))
    heads, shared = q.shape[1], k.shape[1]
    if heads % shared or v.shape[1] != shared:
        raise node.error(f"has {heads} heads of queries, {shared} of keys, {v.shape[1]} of values", AGAIN)
    chosen = [i * shared // heads for i in range(heads)]
    k, v = (taken(scope, node, a, 1, chosen) for a in (k, v))
    inner = replace(node, name="")
    scores = product(scope, inner, (q, replace(k, places=k.places.swapaxes(-1, -2))))
    scores = scaled(scope, node, scores, node.real("scale", 1 / math.sqrt(q.shape[-1])))
    if len(args) > 3 and args[3] is not None:
        scores = affine(scope, inner, scores, np.ones(()), _mask(scope, node, args, scores.shape[-1]))
    shares = scope.builder.softmax(scores.tensor, scores.shape[-1], False, 1.0, [], node.source)
    y = product(scope, node, (Act(shares, natural(scores.shape)), v))
    return (
        replace(y, places=y.places.transpose(0, 2, 1, 3).reshape(y.shape[0], q.shape[2], -1)) if flat else y
    )


def _refuse(node: OnnxNode, args: Sequence[Operand]) -> None:
    """CompileError for what the handler has no layers for."""
    if any(a is not None for a in args[4:]):
        raise node.error("keeps keys and values between calls", "export it without a cache")
    if node.integer("is_causal", 0):
        raise node.error("masks what comes later", "let every step see all of them")
    if node.real("softcap", 0.0):
        raise node.error("limits its scores by softcap", "export it with softcap = 0")


def _mask(scope: Scope, node: OnnxNode, args: Sequence[Operand], keys: int) -> np.ndarray:
    mask = constant(node, args, 3, "mask")
    assert mask is not None
    if mask.shape[-1:] != (keys,):
        raise node.error(f"its mask has shape {mask.shape}, where there are {keys} keys", AGAIN)
    if mask.dtype.kind == "b":
        mask = np.where(mask, np.float32(0), np.float32(-np.inf))
    return weights(scope, node, (Const(masked(scope.builder, node.source, mask), "mask"),), 0, "mask")


def _apart(node: OnnxNode, x: Act, heads: int) -> Act:
    """[1, steps, heads * size] as [1, heads, steps, size]."""
    if heads < 1 or x.shape[-1] % heads:
        raise node.error(f"has {heads} heads in an activation of shape {x.shape}", AGAIN)
    return replace(x, places=x.places.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3))


def einsum(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """Einsum of two operands: a product of matrices, whatever the order of their axes."""
    terms, result = equation(node, args)
    sides = [
        a if isinstance(a, Act) else Const(weights(scope, node, args, i, "operand"), "")
        for i, a in enumerate(args)
    ]
    shapes = [s.shape if isinstance(s, Act) else s.value.shape for s in sides]
    size: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        if len(term) != len(shape) or any(
            size.setdefault(c, n) != n for c, n in zip(term, shape, strict=True)
        ):
            raise node.error(f"operands of shape {shapes[0]} and {shapes[1]} do not fit", AGAIN)
    left, right = terms
    both = [c for c in left if c in right and (c in result)]
    summed = [c for c in left if c in right and c not in result]
    own = [[c for c in left if c not in right], [c for c in right if c not in left]]
    if isinstance(sides[0], Const):
        sides, terms, own = sides[::-1], terms[::-1], own[::-1]
    x, other = sides
    assert isinstance(x, Act)

    def seen(term: str, wanted: Sequence[Sequence[str]]) -> tuple[list[int], list[int]]:
        order = [term.index(c) for group in wanted for c in group]
        return order, [math.prod(size[c] for c in group) for group in wanted]

    if isinstance(other, Const):
        if any(size[c] > 1 for c in both):
            raise node.error("multiplies by a matrix of its own for each index", "use Mul, or one matrix")
        order, made = seen(terms[0], (both, own[0], summed))
        rows = replace(x, places=x.places.transpose(order).reshape(made[0] * made[1], made[2]))
        order, made = seen(terms[1], (both, own[1], summed))
        weight = other.value.transpose(order).reshape(made[0] * made[1], made[2])
        y = at_each(scope, node, rows, weight, np.zeros(len(weight)), [])
    else:
        parts = []
        for term, act, groups in zip(terms, (x, other), ((own[0], summed), (summed, own[1])), strict=True):
            order, made = seen(term, (both, *groups))
            parts.append(replace(act, places=act.places.transpose(order).reshape(made)))
        y = product(scope, node, parts)
    axes = [*both, *own[0], *own[1]]
    places = y.places.reshape([size[c] for c in axes])
    return replace(y, places=places.transpose([axes.index(c) for c in result]))


def equation(node: OnnxNode, args: Sequence[Operand]) -> tuple[list[str], str]:
    """The axes of both operands and of the result, a letter each."""
    text = node.string("equation", "").replace(" ", "")
    left, arrow, result = text.partition("->")
    terms = left.split(",")
    if not arrow:
        result = "".join(sorted(c for c in left if c.isalpha() and left.count(c) == 1))
    letters = all(t.isalpha() and len(set(t)) == len(t) for t in (*terms, result) if t)
    alone = {c for t in terms for c in t if sum(c in o for o in terms) == 1} - set(result)
    if len(terms) != 2 or len(args) != 2 or not letters or alone or set(result) - set(left):
        hint = "two operands, each axis in the result or in both"
        raise node.error(f"computes {text[:60]!r}", hint)
    return terms, result
