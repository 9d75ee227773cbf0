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
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ._layers import LayerBuilder

Places = NDArray[np.int32]
MAX_AXES = 4  # of what a transpose moves


def natural(shape: Sequence[int]) -> Places:
    """The places of a tensor that lies as the file sees it."""
    return np.arange(math.prod(shape), dtype=np.int32).reshape(tuple(shape))


def is_natural(places: Places) -> bool:
    return bool(np.array_equal(places.reshape(-1), natural((places.size,))))


def arrange(builder: LayerBuilder, tensor: str, places: Places, source: str) -> str | None:
    """A tensor of the shape of `places` whose value i is the value at places[i] of `tensor`.

    Written with at most one transpose; None where one is not enough.
    """
    if is_natural(places):
        return builder.view(tensor, places.shape)
    stored = builder.shape(tensor)
    for order in itertools.permutations(range(len(stored))) if len(stored) <= MAX_AXES else ():
        if tuple(stored[i] for i in order) == places.shape and np.array_equal(
            natural(stored).transpose(order), places
        ):
            return builder.transpose(tensor, order, source)
    axes = _axes(places.reshape(-1))
    if axes is None:
        return None
    ranked = sorted(range(len(axes)), key=lambda i: -axes[i][1])
    view = builder.view(tensor, tuple(axes[i][0] for i in ranked))
    moved = builder.transpose(view, tuple(ranked.index(i) for i in reversed(range(len(axes)))), source)
    return builder.view(moved, places.shape)


def axes_by_stride(places: Places) -> tuple[int, ...]:
    """The axes as they lie in the tensor, the outermost first; behind those that have one element."""
    first = int(places.reshape(-1)[0])

    def step(i: int) -> int:
        end = int(np.moveaxis(places, i, 0).reshape(places.shape[i], -1)[-1, 0])
        return abs(end - first) // max(int(places.shape[i]) - 1, 1)

    return tuple(sorted(range(places.ndim), key=lambda i: (places.shape[i] != 1, -step(i))))


def arrangeable(places: Places) -> bool:
    """Whether `arrange` succeeds."""
    return _axes(places.reshape(-1)) is not None


def _axes(flat: Places) -> list[tuple[int, int]] | None:
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
    return axes if len(axes) <= MAX_AXES and np.array_equal(walked, flat) else None
