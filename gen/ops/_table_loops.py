"""The loop forms of functions by table."""

from __future__ import annotations

import numpy as np

from .. import numeric
from ._loops import Cells

FIRST = -128  # the input of entry 0


def forward(x: Cells, table: Cells, y: Cells) -> None:
    for i in range(len(y)):
        y[i] = table[np.int64(x[i]) - FIRST]


def feedback(x: Cells, d: Cells, table: Cells, g: Cells, shift: int, lo: int, hi: int) -> None:
    for i in range(len(g)):
        product = numeric.int32(np.int32(d[i]) * np.int32(table[np.int64(x[i]) - FIRST]))
        g[i] = numeric.saturate(numeric.shift_round(product, shift), lo, hi)
