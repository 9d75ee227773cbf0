"""Where the sums of a convolution start whose input has a zero point and whose windows reach beyond the map.

The zero point goes into the bias for the taps that lie inside of the map: they are the same for all windows
that lie inside, and others for each row and column of windows at a border. So there is a bias for each of
these places, and the sums are those of an input without a zero point.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..ir.plan import PlanTensor
from . import Attrs
from ._requantise import scaled, started
from ._window import Window, taps

SHARE = 2  # a table of starts takes at most one part in so many of what the weights take
NOTE = "by the place of a window: bias with the zero points of the taps inside of the map"


@dataclass(frozen=True)
class Places:
    """starts:  where the sums of constant rows start, [places, rows]
    numbers: what the macro `place_start` needs to find the place of a window
    """

    starts: NDArray[np.int32]
    numbers: dict[str, int]


def places(g: Window, t: Mapping[str, PlanTensor], a: Attrs) -> Places | None:
    """None where all windows start alike, and where a table would be too large: then the zero points beyond
    the map are to be summed, or those inside taken off tap by tap."""
    if scaled(a) or not a.get("x_zero") or not g.beyond or t["w"].shape[0] != a["filters"]:
        return None
    windows = _windows(g)
    if SHARE * 4 * len(windows) * t["w"].shape[0] > t["w"].nbytes:
        return None
    w = t["w"].array().astype(np.int64)
    inside = taps(g)[:, windows] < g.input_size  # [groups, places, taps]
    rows = w.reshape(g.groups, -1, g.taps)
    seen = np.einsum("gpk,gfk->pgf", inside, rows).reshape(len(windows), len(w))
    starts = (started(t, a, border=True) - a["x_zero"] * seen).astype(np.int32)
    (y0, y1), (x0, x1) = g.inside
    across = len(_kinds(g.out_width, x0, x1))
    return Places(starts, {"places": len(windows), "y0": y0, "y1": y1, "x0": x0, "x1": x1, "across": across})


def _windows(g: Window) -> list[int]:
    """A window of each place, row by row."""
    rows, columns = _kinds(g.out_height, *g.inside[0]), _kinds(g.out_width, *g.inside[1])
    return [y * g.out_width + x for y in rows for x in columns]


def _kinds(out: int, first: int, end: int) -> list[int]:
    """Of the windows along an axis, of which first to end - 1 lie inside, those that are not alike."""
    return [i for i in range(out) if not first < i < end]
