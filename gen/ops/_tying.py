"""How the weights of a convolution meet the windows of its map; devices in parts whose windows fit memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._window import Window, spread

Matmul = Callable[[Any, Any], NDArray[Any]]
SUMMED = 1 << 23  # window values whose squares are summed up in one go: an order of summation is a result
AT_ONCE = 1 << 18  # window values that are looked at in one go: they stay in the cache


class Tied:
    """How weights [copies, rows, taps] meet the windows of a map: one row a filter, at every position."""

    @staticmethod
    def each(g: Window) -> int:
        """Rows of a weight for each filter."""
        return 1

    @staticmethod
    def forward(g: Window, w: NDArray[Any], seen: NDArray[Any], matmul: Matmul) -> NDArray[Any]:
        """Sums [D, positions * filters] over windows [D, groups, positions, taps]."""
        blocks = w.reshape(len(w), g.groups, -1, g.taps).swapaxes(-1, -2)
        return matmul(seen, blocks).swapaxes(1, 2).reshape(len(seen), -1)

    @staticmethod
    def transposed(g: Window, m: NDArray[Any], d: NDArray[Any], matmul: Matmul) -> NDArray[Any]:
        """What each tap hears, [D, groups, positions, taps], of signals [D, positions * filters]."""
        return matmul(grouped(g, d), m.reshape(len(m), g.groups, -1, g.taps))

    @classmethod
    def felt(cls, g: Window, m: NDArray[Any], d: NDArray[Any]) -> NDArray[Any]:
        """What each input hears in real numbers, [D, size], of signals [D, positions * filters]."""
        if m.shape[1] != g.groups or g.groups != g.channels:
            return spread(g, cls.transposed(g, m, d, np.matmul))
        total, signals = np.zeros((len(d), g.input_size), d.dtype), g.outputs(d)
        heard = g.inputs(total)
        for (ky, kx), outputs, inputs in reversed(list(g.places())):  # depthwise: no product is summed up
            heard[inputs] += signals[outputs] * m[:, None, None, :, ky * g.kernel_w + kx]
        return total


def grouped(g: Window, d: NDArray[Any]) -> NDArray[Any]:
    """[D, positions * filters] as [D, groups, positions, filters of a group]."""
    return d.reshape(len(d), g.positions, g.groups, -1).swapaxes(1, 2)


def parts(devices: int, g: Window, most: int = AT_ONCE) -> Iterator[slice]:
    """The devices in parts with at most so many window values, one device if it has more."""
    n = max(1, most // (g.groups * g.positions * g.taps))
    return (slice(at, at + n) for at in range(0, devices, n))


def copies(w: NDArray[Any], part: slice) -> NDArray[Any]:
    """What of [D or 1, ...] belongs to a part of the devices."""
    return w if len(w) == 1 else w[part]
