"""Windows over a map [height, width, channels] as index tables: what Gather takes to make a sum a product."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pair = tuple[int, int]
Index = NDArray[np.int64]


def places(size: Pair, kernel: Pair, stride: Pair, dilation: Pair, before: Pair, out: Pair) -> Index:
    """[positions, places of a window]: which place of the flat map it is, height * width where it is padding.

    Each pair is along height and width; `before` is the padding above and to the left, `out` the size of the
    output.
    """
    along = [
        np.arange(out[i])[:, None] * stride[i] - before[i] + np.arange(kernel[i]) * dilation[i]
        for i in (0, 1)
    ]
    y, x = along[0][:, None, :, None], along[1][None, :, None, :]
    inside = (y >= 0) & (y < size[0]) & (x >= 0) & (x < size[1])
    flat = np.where(inside, y * size[1] + x, size[0] * size[1])
    return flat.reshape(out[0] * out[1], kernel[0] * kernel[1]).astype(np.int64)


def taps(where: Index, channels: int, groups: int) -> Index:
    """[positions, groups, taps]: elements of the flat map, taps in the order (ky, kx, channel of the group).

    Padding is any element from the map's size on.
    """
    channel = np.arange(channels).reshape(groups, -1)
    every = where[:, None, :, None] * channels + channel[None, :, None, :]
    return every.reshape(len(where), groups, -1)
