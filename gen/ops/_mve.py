"""What the kernels of the set `mve` choose alike: sums of four rows at a time, rows as the Plan has them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..ir.plan import PlanTensor
from ..sets import MVE
from ..sets.layouts import rounded_bias
from . import Attrs, Relaid, Variant
from ._dsp import ROUNDED
from ._places import places
from ._requantise import scaled, started
from ._window import Window

Operands = Mapping[str, "PlanTensor"]
SHORTEST = 4  # values in a run of a window's taps, from which on a run is worth an instruction for each row


def weighted_sums(t: Operands, a: Attrs, starts: NDArray[np.int32] | None = None) -> Variant | None:
    """How y = req(W x + b) is computed by vectors, None if it is not.

    starts: [places, rows], where they are not the bias and its zero points
    The variant's numbers: rows, wide (weights of 16 bits), full (whether limits are those of y's type), half
    (what rounds, where it is not in the bias).
    """
    if t["x"].dtype != "int8" or scaled(a):
        return None
    w, y = t["w"], t["y"]
    top = 2 ** (8 * y.itemsize - 1) - 1
    numbers = {
        "rows": w.shape[0],
        "wide": int(w.dtype == "int16"),
        "full": int((a["lo"], a["hi"]) == (-top - 1, top)),
    }
    if "s" not in t:
        return Variant("forward", MVE, {}, numbers | {"half": (1 << a["shift"]) >> 1})
    if {w.space, t["b"].space, t["s"].space} != {"const"}:
        return None
    start = rounded_bias(started(t, a)[None] if starts is None else starts, t["s"].array())
    return Variant("forward", MVE, {"b": Relaid("rounded", start, ROUNDED)}, numbers | {"half": 0})


def windows(g: Window, t: Operands, a: Attrs) -> Variant | None:
    """Sums over what lies side by side in the map, a row of taps or a tap; None where that is too short."""
    beside = g.dilation_w == 1 or g.kernel_w == 1
    run = g.kernel_w * g.channels if beside and g.groups == 1 else g.channels // g.groups
    if run < min(SHORTEST, g.taps):
        return None
    found = places(g, t, a)
    if (a.get("x_zero") and g.beyond and not found) or g.counts().min() == 0:
        return None
    sums = weighted_sums(t, a, found.starts if found else None)
    if sums is None:
        return None
    numbers = {**sums.numbers, **(found.numbers if found else {}), "across": int(not beside or g.groups > 1)}
    return Variant(sums.macro, MVE, sums.relaid, numbers)
