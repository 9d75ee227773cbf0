"""Prototypes: a classifier's row is the running mean of its class, one that forgets, with no gradient.

p_c += (h - p_c) / k for the label's class, k counting its samples up to `most` and staying there: the mean of
the first ones, then learning vector quantisation's attraction alone (Kohonen 1986, without repulsion). Rows
say it as `imprint` makes them, so that the largest score is the nearest prototype.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from . import imprint
from ._contract import takes, within
from ._loops import Cells, Loop, Number


def _move(
    x: Cells, label: Cells, centre: Cells, w: Cells, b: Cells, count: Cells, most: int, multiplier: Number,
    shift: Number, half_multiplier: Number, half_shift: Number, level: int, x_zero: Number, limits: Number,
) -> None:  # fmt: skip
    row = np.int64(label[0])
    k = min(np.int64(count[row]) + 1, np.int64(most))
    none = w[:0]
    imprint.draw_in(
        row, k, x, centre, w, b, none, multiplier, shift, half_multiplier, half_shift, level, x_zero, limits
    )
    count[row] = k


class Move(imprint.Row):
    """As `imprint.row`, of every sample: count_c = min(count_c + 1, most). int16 rows, no twin."""

    name = "prototype.move"
    loop = Loop(_move, imprint.LIMITS)
    updates = ("w", "b", "count")
    optional: ClassVar[tuple[str, ...]] = ()
    operands = takes({role: o for role, o in imprint.Row.operands.items() if role != "twin"})
    attributes = within(imprint.Row.attributes, most=(1, imprint.LONGEST))

    def numbered(self, count: NDArray[Any], most: int) -> NDArray[Any]:
        following: NDArray[Any] = np.minimum(count, count.dtype.type(most - 1)) + count.dtype.type(1)
        return following
