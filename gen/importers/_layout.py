"""Where the values of an activation lie.

A model file sees an activation in one order of axes (ONNX: batch, channels, height, width), the Graph's
tensors hold it in another (channels last). `places`, an int32 array of the shape that the file sees, tells
for each value its position in the flat tensor. So a Reshape or Transpose in the file only views `places`
differently and costs nothing; a dense layer takes its columns in the order of the tensor; and a `transpose`
node is written only where an op needs an order that the tensor does not have.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ._layers import LayerBuilder

Places = NDArray[np.int32]
MAX_AXES = 4  # of what a transpose moves
MOST_AXES = 6  # of what several do


def natural(shape: Sequence[int]) -> Places:
    """The places of a tensor that lies as the file sees it."""
    return np.arange(math.prod(shape), dtype=np.int32).reshape(tuple(shape))


def is_natural(places: Places) -> bool:
    return bool(np.array_equal(places.reshape(-1), natural((places.size,))))


def arrange(builder: LayerBuilder, tensor: str, places: Places, source: str) -> str | None:
    """A tensor of the shape of `places` whose value i is the value at places[i] of `tensor`.

    Written with one transpose where that is enough, else with as few as are; None where none make it.
    """
    if is_natural(places):
        return builder.view(tensor, places.shape)
    stored = builder.shape(tensor)
    for order in itertools.permutations(range(len(stored))) if len(stored) <= MAX_AXES else ():
        if tuple(stored[i] for i in order) == places.shape and np.array_equal(
            natural(stored).transpose(order), places
        ):
            return builder.transpose(tensor, order, source)
    axes = _axes(places.reshape(-1), MOST_AXES)
    if axes is None:
        return None
    ranked = sorted(range(len(axes)), key=lambda i: -axes[i][1])
    if len(axes) > MAX_AXES:
        return builder.view(_turned(builder, tensor, [n for n, _ in axes], ranked, source), places.shape)
    view = builder.view(tensor, tuple(axes[i][0] for i in ranked))
    moved = builder.transpose(view, tuple(ranked.index(i) for i in reversed(range(len(axes)))), source)
    return builder.view(moved, places.shape)


def _turned(
    builder: LayerBuilder, tensor: str, sizes: Sequence[int], order: Sequence[int], source: str
) -> str:
    """A tensor whose axes lie in this order, with axis 0 innermost: step by step two blocks change places."""
    now, wanted = tuple(order), tuple(reversed(range(len(sizes))))
    came: dict[tuple[int, ...], tuple[tuple[int, ...], tuple[int, ...]]] = {}
    todo = deque([wanted])  # from the end, as each step can be undone
    while now not in came and now != wanted:
        at = todo.popleft()
        for a, b, c in itertools.combinations(range(len(at) + 1), 3):
            before = at[:a] + at[b:c] + at[a:b] + at[c:]
            if before not in came and before != wanted:
                came[before] = (at, (a, a + c - b, c))
                todo.append(before)
    while now != wanted:
        now, (a, b, c), was = *came[now], now
        blocks = [math.prod(sizes[i] for i in was[m:n]) for m, n in ((0, a), (a, b), (b, c), (c, len(was)))]
        tensor = builder.transpose(builder.view(tensor, tuple(blocks)), (0, 2, 1, 3), source)
    return tensor


def axes_by_stride(places: Places) -> tuple[int, ...]:
    """The axes as they lie in the tensor, the outermost first; behind those that have one element."""
    first = int(places.reshape(-1)[0])

    def step(i: int) -> int:
        end = int(np.moveaxis(places, i, 0).reshape(places.shape[i], -1)[-1, 0])
        return abs(end - first) // max(int(places.shape[i]) - 1, 1)

    return tuple(sorted(range(places.ndim), key=lambda i: (places.shape[i] != 1, -step(i))))


def arrangeable(places: Places, most: int = MAX_AXES) -> bool:
    """Whether `arrange` succeeds, with as many axes: with one transpose, or with several."""
    return _axes(places.reshape(-1), most) is not None


def _axes(flat: Places, most: int) -> list[tuple[int, int]] | None:
    """(size, stride) of the fewest axes that walk through `flat`, innermost first; None if none do."""
    axes: list[tuple[int, int]] = []
    block = 1
    while block < flat.size:
        heads = flat[::block].astype(np.int64)
        stride = int(heads[1])
        regular = heads == np.arange(heads.size) * stride
        size = heads.size if regular.all() else int(np.argmin(regular))
        if size < 2 or heads.size % size:
            return None
        axes.append((size, stride))
        block *= size
    walked = np.zeros(1, np.int64)
    for size, stride in axes:
        walked = (np.arange(size)[:, None] * stride + walked).reshape(-1)
    return axes if len(axes) <= most and np.array_equal(walked, flat) else None
