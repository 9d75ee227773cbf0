"""What kernels share that look up an entry for each int8."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from . import Accumulator, Arrays, Attrs, Bounds, Case, Format, Kernel, Known
from ._contract import REQUANTISED, takes
from ._shifts import requantising
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


class Slopes(Kernel):
    """g = d * table[x + 128] / 2^shift, the table one of slopes: a signal in front of a function by table.

    What the slopes are, and what they mean in real numbers, is the function's.
    """

    reads = ("x", "d", "table")
    writes = ("g",)
    inplace = ("d", "g")
    operands = takes(x="int8 [n]", d="int16 [n]", table=f"int16 [{ENTRIES}]", g="int16 [n]")
    attributes = REQUANTISED

    def integer(self, t: Arrays, a: Attrs) -> None:
        product = t["d"].astype(np.int32) * taken(t).astype(np.int32)
        t["g"][...] = numeric.saturate(numeric.shift_round(product, a["shift"]), a["lo"], a["hi"])

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        shift = f["d"].frac + f["table"].frac - f["g"].frac
        requantising(shift, where, "calibrate with data at which the function is not flat")
        return {"shift": shift, "lo": f["g"].lo, "hi": f["g"].hi}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        top = k["d"].mag * k["table"].mag
        sums = [Accumulator("product", -top, top + ((1 << a["shift"]) >> 1))]
        return sums, {"g": (a["lo"], a["hi"], k["g"].shape[0] * max(-a["lo"], a["hi"]))}

    def case(self, rng: np.random.Generator) -> Case:
        n = int(rng.integers(1, 50))
        d = rng.integers(-(2**15), 2**15, n).astype(np.int16)
        arrays: dict[str, NDArray[Any]] = {
            "x": rng.integers(-128, 128, n).astype(np.int8),
            "d": d,
            "table": rng.integers(-MAX_SLOPE, MAX_SLOPE + 1, ENTRIES).astype(np.int16),
            "g": np.zeros_like(d),
        }
        return Case(arrays, {"shift": int(rng.integers(0, 20)), "lo": -(2**12), "hi": 2**12 - 1}, {})
