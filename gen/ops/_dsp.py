"""What the kernels of the set `dsp` choose alike: how rows of weights are laid out and summed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..ir.plan import PlanTensor
from ..sets import DSP
from ..sets.dsp import power_of_two
from ..sets.layouts import channel_lanes, dual_bias, dual_fits, dual_rows, rounded_bias
from . import Attrs, Relaid, Variant
from ._ending import ending
from ._places import places
from ._requantise import ZEROS, scaled, started
from ._window import Window

Operands = Mapping[str, "PlanTensor"]
DUAL_PAIRS = 4  # pairs of dual rows that sum at once: as many as a Cortex-M4 has registers for
PATCH = 256  # bytes of stack that a copy of one window may take
TAPS = 64  # of a window whose addresses are kept where it reaches beyond the map
STRAIGHT = 12  # taps of a depthwise window that are written out one after another
ROWS = 4  # and rows that are read as the Plan has them
DUAL_BIAS = "for each two rows: 256 * (odd bias) + (even bias), then the even bias"
ZEROED = "bias, the zero point of the input taken in"
ROUNDED = "bias plus half of what the shift drops, so that the shift rounds"


def weighted_sums(t: Operands, a: Attrs, starts: NDArray[np.int32] | None = None) -> Variant | None:
    """How y = req(W x + b) is computed by words, None if it cannot be: rows in dual pairs, or as they lie.

    starts: [places, rows], where they are not the bias and its zero points
    The variant's numbers: bits (of y), rows, groups (of four columns), and pairs, or wide (int16) and half.
    """
    if scaled(a):
        return _scaled_sums(t, a)
    w, bits = t["w"], power_of_two(a["lo"], a["hi"])
    if not (bits and t["x"].aligned and w.aligned):
        return None
    numbers = {"bits": bits, "rows": w.shape[0], "groups": w.row // 4, "wide": int(w.dtype == "int16")}
    if "s" not in t:
        half = (1 << a["shift"]) >> 1
        return Variant("forward_rows", DSP, {}, numbers | {"half": half})
    if {w.space, t["b"].space, t["s"].space} != {"const"}:
        return None
    start = rounded_bias(started(t, a)[None] if starts is None else starts, t["s"].array())
    zeroed = any(name in a for name in ZEROS)
    if not all(dual_fits(w.array(), each, zeroed) for each in start):
        relaid = {"b": Relaid("rounded", start, ROUNDED)}
        return Variant("forward_rows", DSP, relaid, numbers | {"half": 0})
    pairs = pairs_at_once(w)
    words = np.stack([dual_bias(each) for each in start])
    relaid = {"w": dual(w, pairs), "b": Relaid("dual", words, DUAL_BIAS)}
    return Variant("forward_dual", DSP, relaid, numbers | {"pairs": pairs})


def _scaled_sums(t: Operands, a: Attrs) -> Variant | None:
    """The same where a multiplier makes the output. Where each row has its own it stands behind its start;
    `single`, whether one block of rows is all, and so a compiler knows the values; else numbers of Ending."""
    w, end = t["w"], ending(t, a)
    if end is None or not (t["x"].aligned and w.aligned and w.dtype == "int8"):
        return None
    numbers = {"rows": w.shape[0], "groups": w.row // 4, "wide": 0, "half": 0} | end.numbers
    if not dual_fits(w.array(), end.start):
        relaid = {"b": end.starts("zeroed", ZEROED, end.start, w.shape[0])}
        return Variant("forward_rows", DSP, relaid, numbers, unread=("m", "s"))
    pairs = pairs_at_once(w)
    starts = end.starts("dual", DUAL_BIAS, dual_bias(end.start), -(-w.shape[0] // 2))
    relaid = {"w": dual(w, pairs), "b": starts}
    numbers |= {"pairs": pairs, "single": int(w.shape[0] <= 2 * pairs)}
    return Variant("forward_dual", DSP, relaid, numbers, unread=("m", "s"))


def pairs_at_once(w: PlanTensor) -> int:
    """Pairs of rows that sum at once."""
    return max(min(DUAL_PAIRS, w.shape[0] // 2), 1)


def dual(w: PlanTensor, pairs: int) -> Relaid:
    """Weights in dual pairs (gen/sets/layouts.py)."""
    note = "two rows in a word: a lane holds 256 * (odd row) + (even row)"
    return Relaid("dual", dual_rows(w.array(), pairs), note)


def windows(g: Window, t: Mapping[str, PlanTensor], a: Attrs) -> Variant | None:
    """Sums over runs of the map's words, or over a copy of the window where its taps begin anywhere."""
    found = places(g, t, a)
    sums = weighted_sums(t, a, found.starts if found else None)
    runs = g.channels % 4 == 0 and (g.dilation_w == 1 or g.kernel_w == 1)
    if sums is None or not (runs or g.taps <= PATCH):
        return None
    seen = {"runs": int(runs)} | (found.numbers if found else {})
    if scaled(a) or (a.get("x_zero") and g.beyond and not found):
        seen |= _around(g, runs, a)
        if seen["edge"] and (g.channels > PATCH or g.kernel_h * g.kernel_w > TAPS):
            return None
    row = g.kernel_w * g.channels // 4
    words = g.channels // 4 if runs else row if seen.get("direct") else t["w"].row // 4
    steps = (2, 1) if sums.macro == "forward_dual" else (4, 2, 1)
    unroll = next(n for n in steps if words % n == 0)
    return replace(sums, numbers={**sums.numbers, **seen, "unroll": unroll})


def _around(g: Window, runs: bool, a: Attrs) -> dict[str, int]:
    """Numbers of windows over numbers that have a zero point, which is what lies around the map.

    beyond: whether a window reaches beyond the map; edge: whether it then takes its taps by their addresses,
    those outside from a border; direct: whether rows of a window that lies inside are read where they lie, by
    words from any address; fill: four zero points
    """
    return {
        "beyond": int(g.beyond),
        "edge": int(runs and g.beyond and a["x_zero"] != 0),
        "direct": int(not runs and g.kernel_w * g.channels % 4 == 0 and 1 in (g.dilation_w, g.kernel_w)),
        "fill": (a["x_zero"] & 255) * 0x01010101,
    }


def depthwise(g: Window, t: Mapping[str, PlanTensor], a: Attrs) -> Variant | None:
    """Four channels at a time, tap by tap; the weights of four channels side by side."""
    w, filters = t["w"], int(a["filters"])
    each = g.groups == g.channels == filters and g.channels % 4 == 0
    if not (each and g.dilation_h == g.dilation_w == 1 and t["x"].aligned and w.dtype == "int8"):
        return None
    lanes = Relaid("lanes", channel_lanes(w.array()), "tap by tap, four channels in two words")
    own = {"straight": int(g.taps <= STRAIGHT)}
    if scaled(a):
        end, seen = ending(t, a), _around(g, True, a)
        if end is None or (seen["edge"] and g.kernel_h * g.kernel_w > TAPS):
            return None
        relaid = {"w": lanes, "b": end.starts("lanes", ZEROED, end.start, filters // 4)}
        own |= seen | end.numbers
        return Variant("forward_depthwise", DSP, relaid, own, unread=("m", "s"))
    bits = power_of_two(a["lo"], a["hi"])
    if not bits or "s" not in t or {w.space, t["b"].space, t["s"].space} != {"const"}:
        return None
    found = places(g, t, a)
    start = rounded_bias(found.starts if found else started(t, a), t["s"].array())
    relaid = {"w": lanes, "b": Relaid("rounded", start, ROUNDED)}
    own |= found.numbers if found else {}
    if a.get("x_zero") and not found:
        seen = _around(g, True, a)
        if seen["edge"] and g.kernel_h * g.kernel_w > TAPS:
            return None
        own |= seen
    return Variant("forward_depthwise", DSP, relaid, {"bits": bits} | own)
