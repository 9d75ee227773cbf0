"""Concat of ONNX files: activations side by side, constants among them: the class token of a transformer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .._layout import arrange, axes_by_stride, is_natural, natural
from .._names import from_node
from .batch import mixed
from .file import AGAIN, OnnxNode
from .fold import axis
from .layers import Act, Const, Operand, Scope, activation, affine, disordered, weights
from .pad import Margins, padded


def concat(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """Activations and constants side by side, along one axis."""
    if any(isinstance(a, Const) for a in args):
        return _among_constants(scope, node, args)
    parts = [activation(node, args, i) for i in range(len(args))]
    if not parts:
        raise node.error("joins nothing", AGAIN)
    shapes = [p.shape for p in parts]
    rank, along = len(shapes[0]), _axis(node, len(shapes[0]))
    rests = {s[:along] + s[along + 1 :] for s in shapes if len(s) == rank}
    if len(rests) != 1 or any(len(s) != rank for s in shapes):
        raise node.error(f"shapes {', '.join(map(str, shapes))} do not fit along axis {along}", AGAIN)
    if len(parts) == 1:
        return parts[0]
    order = _map_order(parts, along)
    rows = [p.places.transpose(order).reshape(-1, p.shape[along]) for p in parts]
    if len(rows[0]) == 1 or (_outermost(rows) and not all(is_natural(r) for r in rows)):
        return _joined_flat(scope, node, parts, along)
    tensors = []
    for part in parts:
        wanted = part.places.transpose(order).reshape(-1, shapes[0][order[-2]], part.shape[along])
        tensor = arrange(scope.builder, part.tensor, wanted, node.source)
        if tensor is None:
            raise disordered(node)
        tensors.append(tensor)
    joined = scope.builder.concat(tensors, [from_node(node.name)], node.source)
    stored = natural(scope.builder.shape(joined)).reshape([*(shapes[0][i] for i in order[:-1]), -1])
    return Act(joined, stored.transpose(np.argsort(order)))


def _map_order(parts: Sequence[Act], along: int) -> tuple[int, ...]:
    """The axes, the joined one last, as the first part has them that does not lie as in the file."""
    model = next((p for p in parts if not is_natural(p.places)), parts[0]).places
    return (*(i for i in axes_by_stride(model) if i != along), along)


def _outermost(rows: Sequence[np.ndarray]) -> bool:
    """Whether the joined axis is the slowest in memory: then the parts can stand one behind the other."""
    width = len(rows[0])
    return all(np.array_equal(r.T, np.arange(r.shape[1])[:, None] * width + rows[0][:, 0]) for r in rows)


def _joined_flat(scope: Scope, node: OnnxNode, parts: Sequence[Act], along: int) -> Act:
    builder = scope.builder
    ends = np.cumsum([p.size for p in parts])
    tensor = builder.concat([builder.flat(p.tensor) for p in parts], [from_node(node.name)], node.source)
    places = [p.places + np.int32(end - p.size) for p, end in zip(parts, ends, strict=True)]
    return Act(tensor, np.concatenate(places, along))


def _axis(node: OnnxNode, rank: int) -> int:
    try:
        return axis(node.integer("axis", 1), rank)
    except ValueError as error:
        raise node.error(str(error), AGAIN) from None


def _among_constants(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """Zeros in the places of constants, margins of the activations beside them; then the constants added."""
    first = next(a for a in args if isinstance(a, Act))
    along, rank = _axis(node, len(first.shape)), len(first.shape)
    acts: list[Act] = []
    before, after, rows = [0], [0], []
    for i, arg in enumerate(args):
        if isinstance(arg, Const):
            rows.append(_of_one(scope, node, weights(scope, node, args, i, "operand"), first.shape, along))
            (after if acts else before)[-1] += rows[-1].shape[along]
        else:
            acts.append(activation(node, args, i))
            rows.append(np.zeros(acts[-1].shape))
            before, after = ([*before, 0], [*after, 0]) if len(acts) > 1 else (before, after)
    ends = [[[n if i == along else 0 for i in range(rank)] for n in end] for end in (before, after)]
    parts = [padded(scope, node, x, Margins(b, a)) for x, b, a in zip(acts, *ends, strict=True)]
    y = concat(scope, node, parts)
    shift = np.concatenate(rows, along)
    return affine(scope, node, y, np.ones(()), shift) if shift.any() else y


def _of_one(
    scope: Scope, node: OnnxNode, value: np.ndarray, shape: tuple[int, ...], along: int
) -> np.ndarray:
    """A constant as one sample has it: of a file's batch, all of whose rows are alike, the first."""
    one = value
    if scope.batch > 1:
        if value.ndim != len(shape) or len(value) != scope.batch or np.any(value != value[:1]):
            raise mixed(scope, node)
        one = value[:1]
    wanted = tuple(one.shape[i] if i == along and one.ndim == len(shape) else n for i, n in enumerate(shape))
    if one.shape != wanted:
        raise node.error(f"shapes {shape}, {value.shape} do not fit along axis {along}", AGAIN)
    return one
