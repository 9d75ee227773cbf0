"""The ONNX operators that take values by constant places: slices, parts, repeats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from .._layout import Places, natural
from .._names import from_node
from .batch import mixed
from .file import AGAIN, MAX_RANK, OnnxNode, checked_size
from .fold import axis, cuts_of
from .layers import Act, Operand, Scope, activation, constant, taken


def _picked(scope: Scope, node: OnnxNode, x: Act, wanted: Places) -> Act:
    """The values of x at any places `wanted` of its tensor."""
    if not wanted.size or wanted.ndim > MAX_RANK:
        raise node.error(f"makes shape {wanted.shape} of {x.shape}", AGAIN)
    checked_size(wanted.shape, node.source)
    if np.array_equal(wanted.reshape(-1), x.places.reshape(-1)):
        return replace(x, places=x.places.reshape(wanted.shape))
    flat, places = scope.builder.flat(x.tensor), wanted.reshape(-1).tolist()
    y = scope.builder.gather(flat, 0, places, [from_node(node.name)], node.source)
    return Act(y, natural(wanted.shape))


def _wholes(node: OnnxNode, args: Sequence[Operand], i: int, role: str) -> np.ndarray:
    """Operand i, constant whole numbers."""
    found = constant(node, args, i, role)
    if found is None or found.dtype.kind not in "iu":
        what = "is missing" if found is None else f"is {found.dtype.name}"
        raise node.error(f"its {role} {what}", AGAIN)
    return found.astype(np.int64)


def _along(node: OnnxNode, x: Act, default: int) -> int:
    try:
        return axis(node.integer("axis", default), len(x.shape))
    except ValueError as error:
        raise node.error(str(error), AGAIN) from None


def _from_front(node: OnnxNode, places: np.ndarray, size: int) -> np.ndarray:
    """Places of an axis, those that count from its end counted from the front."""
    if places.size and not (-size <= int(places.min()) and int(places.max()) < size):
        raise node.error(f"takes place {int(np.abs(places).max())} of {size}", AGAIN)
    return np.where(places < 0, places + size, places)


def slices(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """Slice along any axes, with any steps."""
    x = activation(node, args)
    given = [constant(node, args, i, "limits") if i else None for i in range(len(args))]
    try:
        cuts = cuts_of(node, given, scope.whole(x.shape))
        places = [range(n)[cut] for n, cut in zip(scope.whole(x.shape), cuts, strict=True)]
    except (ValueError, TypeError, OverflowError) as error:
        raise node.error(f"its limits do not fit: {error}", AGAIN) from None
    if scope.batch > 1 and places:
        if places[0] != range(scope.whole(x.shape)[0]):
            raise mixed(scope, node)
        places[0] = range(x.shape[0])
    whole, name = node.integer("whole", 0), from_node(node.name)  # the former of a SplitToSequence alone
    if whole and whole not in {scope.whole(x.shape)[i] for i in range(len(places)) if cuts[i] != slice(None)}:
        raise node.error(f"splits shape {x.shape} into parts of {whole} values together", AGAIN)
    for along, chosen in enumerate(places):
        x = taken(scope, node, x, along, chosen, name)
    return x


def split(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> tuple[Act, ...]:
    """Split into parts of given sizes, or equal ones."""
    x = activation(node, args)
    along, count = _along(node, x, 0), len(node.outputs)
    size = x.shape[along]
    if len(args) > 1 and args[1] is not None:
        sizes = [int(n) for n in _wholes(node, args, 1, "split").reshape(-1)]
    else:
        each = -(-size // max(count, 1))
        sizes = list(node.integers("split") or [min(each, size - i * each) for i in range(count)])
    if len(sizes) != count or sum(sizes) != size or any(n < 1 for n in sizes):
        raise node.error(f"splits axis {along} of shape {x.shape} into {count} parts {sizes}", AGAIN)
    ends, name = np.cumsum([0, *sizes]).tolist(), from_node(node.name)
    return tuple(taken(scope, node, x, along, range(a, b), name) for a, b in pairwise(ends))


def gather(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """Gather: at constant places of one axis."""
    x, along = activation(node, args), _along(node, activation(node, args), 0)
    places = _from_front(node, _wholes(node, args, 1, "indices"), x.shape[along])
    y = taken(scope, node, x, along, places.reshape(-1).tolist(), from_node(node.name))
    shape = x.shape[:along] + places.shape + x.shape[along + 1 :]
    if len(shape) > MAX_RANK:
        raise node.error(f"makes {len(shape)} dimensions", f"the most is {MAX_RANK}")
    return replace(y, places=y.places.reshape(shape))


def gather_each(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """GatherElements, GatherND: at constant places."""
    x, places = activation(node, args), _wholes(node, args, 1, "indices")
    if node.op == "GatherElements":
        along = _along(node, x, 0)
        fits = places.ndim == x.places.ndim and all(
            n <= m for i, (n, m) in enumerate(zip(places.shape, x.shape, strict=True)) if i != along
        )
        if not fits:
            raise node.error(f"its indices have shape {places.shape}, its input {x.shape}", AGAIN)
        inside = x.places[tuple(slice(n if i != along else None) for i, n in enumerate(places.shape))]
        at = _from_front(node, places, x.shape[along])
        return _picked(scope, node, x, np.take_along_axis(inside, at, along))
    depth = places.shape[-1] if places.ndim else 0
    if node.integer("batch_dims", 0) or not 1 <= depth <= len(x.shape):
        what = f"takes indices of shape {places.shape}, with batch_dims {node.integer('batch_dims', 0)}"
        raise node.error(what, "one table of places for all samples can be compiled, batch_dims 0")
    index = tuple(_from_front(node, places[..., i], x.shape[i]) for i in range(depth))
    return _picked(scope, node, x, x.places[index])


def repeated(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """Expand, Tile."""
    x, target = activation(node, args), [int(n) for n in _wholes(node, args, 1, "shape").reshape(-1)]
    if any(n < 1 for n in target) or len(target) > MAX_RANK:
        raise node.error(f"repeats to {target[:MAX_RANK]}", "repeat each axis at least once")
    if node.op == "Tile":
        if len(target) != len(x.shape):
            raise node.error(f"has {len(target)} repeats, its input shape {x.shape}", AGAIN)
        times = target
    else:
        try:
            shape = scope.one(np.broadcast_shapes(scope.whole(x.shape), tuple(target)))
        except ValueError as error:
            raise node.error(f"cannot make {target} of shape {x.shape}: {error}", AGAIN) from None
        x = replace(x, places=x.places.reshape((1,) * (len(shape) - len(x.shape)) + x.shape))
        times = [n // m for n, m in zip(shape, x.shape, strict=True)]
    name = from_node(node.name)
    for along, n in enumerate(times):
        checked_size((x.size, n), node.source)
        x = taken(scope, node, x, along, list(range(x.shape[along])) * n, name)
    return x


def blocks(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """DepthToSpace, SpaceToDepth of [1, C, H, W]: another view of the numbers."""
    x, size = activation(node, args), node.integer("blocksize", 0)
    if len(x.shape) != 4 or not 1 <= size <= max(x.shape):
        raise node.error(f"works on shape {x.shape} by blocks of {size}", "maps [1, C, H, W] can be compiled")
    n, c, h, w = x.shape
    try:
        if node.op == "SpaceToDepth":
            seen = x.places.reshape(n, c, h // size, size, w // size, size).transpose(0, 3, 5, 1, 2, 4)
            return replace(x, places=seen.reshape(n, c * size * size, h // size, w // size))
        if node.string("mode", "DCR") == "DCR":
            seen = x.places.reshape(n, size, size, -1, h, w).transpose(0, 3, 4, 1, 5, 2)
        else:
            seen = x.places.reshape(n, -1, size, size, h, w).transpose(0, 1, 4, 2, 5, 3)
    except ValueError:
        raise node.error(f"shape {x.shape} has no blocks of {size}", AGAIN) from None
    return replace(x, places=seen.reshape(n, c // size**2, h * size, w * size))
