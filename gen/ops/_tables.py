"""What kernels share that look up an entry for each int8."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import Accumulator, Arrays, Attrs, Bounds, Known
from ._table_loops import FIRST

ENTRIES = 256
MAX_SLOPE = 2**15 - 1


def taken(t: Arrays) -> NDArray[Any]:
    """The entries of a table that inputs take."""
    table = np.broadcast_to(t["table"], (len(t["x"]), ENTRIES))
    found: NDArray[Any] = np.take_along_axis(table, t["x"].astype(np.intp) - FIRST, axis=1)
    return found


def table_bounds(k: Mapping[str, Known]) -> Bounds:
    """Of y = table[x + 128]."""
    table = k["table"]
    lo, hi = table.lo, table.hi
    if table.data is not None:  # zero need not be among the entries
        lo, hi = int(table.data.min()), int(table.data.max())
    return [], {"y": (lo, hi, k["y"].shape[0] * table.mag)}


def slope_bounds(k: Mapping[str, Known], a: Attrs) -> Bounds:
    """Of g = d * table[x + 128] / 2^shift."""
    top = k["d"].mag * k["table"].mag
    sums = [Accumulator("product", -top, top + ((1 << a["shift"]) >> 1))]
    return sums, {"g": (a["lo"], a["hi"], k["g"].shape[0] * max(-a["lo"], a["hi"]))}
