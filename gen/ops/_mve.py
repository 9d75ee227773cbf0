"""What the kernels of the set `mve` choose alike: sums of four rows at a time, rows as the Plan has them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..ir.plan import PlanTensor
from ..sets import MVE
from ..sets.layouts import rounded_bias
from ..sets.mve import MOST_TAPS
from ..sets.mve_block import LANES
from ..sets.mve_deep import CHANNELS, WIDEST, in_lanes
from . import Attrs, Relaid, Variant
from ._dsp import PATCH, ROUNDED, ZEROED
from ._places import places
from ._requantise import ONCE, TWICE, folded, printed, scaled, started
from ._window import Window

Operands = Mapping[str, "PlanTensor"]
SHORTEST = 4  # values in a run of a window's taps, from which on a run is worth an instruction for each row


DEEP_PATCH = 1024  # bytes of stack that a copy of a depthwise window may take
NEVER, BORDER, ALWAYS = range(3)
"""In which windows a zero point is taken off the weights' sums: it stands in no bias there."""
IN_LANES = "eight channels at a time, the even ones first"
TWO_STARTS = (
    "bias with the zero points for windows inside of the map; then the bias for those that reach beyond"
)


def weighted_sums(t: Operands, a: Attrs) -> Variant | None:
    """How y = req(W x + b) is computed by vectors, None if it is not.

    The variant's numbers: rows, wide (weights of 16 bits), full (whether limits are those of y's type), half
    (what rounds, where it is not in the bias), less (NEVER or ALWAYS), and those of templates/requantise.j2.
    """
    fixed = {t[role].space for role in ("w", "b", "s", "m") if role in t} == {"const"}
    numbers = _numbers(t, a)
    if numbers is None or ("s" in t and not (fixed or scaled(a))):
        return None
    if not scaled(a):
        relaid = {"b": _start(t, a, started(t, a))} if "s" in t else {}
        return Variant("forward", MVE, relaid, numbers | {"less": NEVER})
    relaid, more = printed(t, a)
    if not more["right"]:
        return None
    less = ALWAYS if a["x_zero"] and not fixed else NEVER
    return Variant("forward", MVE, relaid | (folded(t, a) if fixed else {}), numbers | more | {"less": less})


def _numbers(t: Operands, a: Attrs) -> dict[str, int] | None:
    w, y = t["w"], t["y"]
    if t["x"].dtype != "int8" or a.get("rounds", ONCE) not in (ONCE, TWICE):
        return None
    top = 2 ** (8 * y.itemsize - 1) - 1
    half = (1 << a["shift"]) >> 1 if "s" not in t and not scaled(a) else 0
    full = (a["lo"], a["hi"]) == (-top - 1, top)
    return {"rows": w.shape[0], "wide": int(w.dtype == "int16"), "full": int(full), "half": half}


def _start(t: Operands, a: Attrs, start: NDArray[np.int32], layout: str = "", note: str = ROUNDED) -> Relaid:
    """Starts [..., rows] of sums, and what rounds where each row has a shift of its own."""
    rounds = "s" in t and not scaled(a)
    made = rounded_bias(start, t["s"].array()) if rounds else start
    return Relaid(layout or "rounded", made, note)


def windows(g: Window, t: Operands, a: Attrs) -> Variant | None:
    """Sums over what lies side by side in the map, a row of taps or a tap, or over a copy of the window where
    that is shorter work; None where neither is worth it."""
    beside = g.dilation_w == 1 or g.kernel_w == 1
    runs, run = (g.kernel_h, g.kernel_w) if beside and g.groups == 1 else (g.kernel_h * g.kernel_w, 1)
    run *= g.channels // g.groups
    sums = weighted_sums(t, a)
    if sums is None or g.counts().min() == 0:
        return None
    numbers, relaid = {**sums.numbers, "across": int(not beside or g.groups > 1)}, dict(sums.relaid)
    if (
        g.groups == 1
        and g.taps <= PATCH
        and _copied(g, runs, run, int(a["filters"] // LANES + a["filters"] % LANES))
    ):
        return Variant("forward", MVE, relaid, numbers | {"patch": 1})
    if run < min(SHORTEST, g.taps):
        return None
    if g.beyond and a.get("x_zero") and not numbers["less"]:
        if found := places(g, t, a):
            relaid["b"] = _start(t, a, found.starts, "placed")
            numbers |= found.numbers
        else:
            both = np.stack([started(t, a), started(t, a, border=True)])
            relaid["b"] = _start(t, a, both, "twofold", TWO_STARTS)
            numbers["less"] = BORDER
    return Variant(sums.macro, MVE, relaid, numbers)


def depthwise(g: Window, t: Operands, a: Attrs) -> Variant | None:
    """Eight channels at a time, the taps of a row one after another; windows that reach beyond the map, or
    whose last channels are read beyond its end, from a copy."""
    w, fixed = t["w"], {t[role].space for role in ("w", "b", "s", "m") if role in t} == {"const"}
    each = (
        1 < g.groups == g.channels == a["filters"]
        and g.kernel_w <= WIDEST
        and g.taps <= DEEP_PATCH // CHANNELS
    )
    sums = weighted_sums(t, a)
    if sums is None or not (each and fixed and "s" in t and w.dtype == t["y"].dtype == "int8"):
        return None
    if int(w.array().min(initial=0)) < -127 or g.counts().min() == 0:
        return None
    start = started(t, a)
    if not scaled(a):
        start = rounded_bias(start, t["s"].array())
    shifts = sums.relaid["s"].array if "s" in sums.relaid else t["s"].array()
    taps = in_lanes(w.array(), range(CHANNELS)).swapaxes(1, 2)
    relaid = {
        "w": Relaid("lanes", taps, "tap by tap, eight channels side by side"),
        "b": Relaid("lanes", in_lanes(start), f"{ROUNDED if not scaled(a) else ZEROED}; {IN_LANES}"),
        "s": Relaid("lanes", in_lanes(shifts), f"shifts; {IN_LANES}"),
    }
    if "m" in t:
        relaid["m"] = Relaid("lanes", in_lanes(t["m"].array()), f"multipliers; {IN_LANES}")
    part = min(g.channels, DEEP_PATCH // g.taps // CHANNELS * CHANNELS)
    beside = part == g.channels and (g.dilation_w == 1 or g.kernel_w == 1)
    numbers = {**sums.numbers, "part": part, "across": int(not beside), "last": _last(g)}
    copied = int(g.beyond or g.channels % CHANNELS != 0)
    return Variant("forward_deep", MVE, relaid, numbers | {"copied": copied})


def _last(g: Window) -> int:
    """The last place of the map at which a window may begin, so that eight channels from its last few on are
    all in the map; below 0 where there is none."""
    reach = (g.kernel_h - 1) * g.dilation_h * g.width + (g.kernel_w - 1) * g.dilation_w
    read = g.channels // CHANNELS * CHANNELS + CHANNELS  # from a place on
    return g.height * g.width - -(-read // g.channels) - reach


def _copied(g: Window, runs: int, run: int, blocks: int) -> bool:
    """Whether a copy of each window saves more than it takes, counted in instructions: ten for 16 bytes of
    four rows, and about as many for what begins a run."""
    read = blocks * runs * (10 * -(-run // 16) + 7)
    return runs > 1 and blocks * 10 * -(-g.taps // 16) + 14 * runs + 10 < read


def means(g: Window, t: Operands, a: Attrs) -> Variant | None:
    """The mean of each window, eight channels at a time; None where windows have factors of their own, or
    what is added behind a shift may not be added in front of it."""
    y, counts = t["y"], g.counts()
    fits = g.channels >= CHANNELS and g.kernel_h * g.kernel_w <= MOST_TAPS and counts.min() > 0
    alike = bool(np.all(counts == counts.flat[0]))
    if "m" in t or not fits or t["x"].dtype != "int8" or (a.get("x_zero") and not alike):
        return None
    top = 2 ** (8 * y.itemsize - 1) - 1
    numbers = {"full": int((a["lo"], a["hi"]) == (-top - 1, top)), "factor": 1, "add": 0}
    if scaled(a):
        more = printed(t, a)[1]
        whole = a["rounds"] in (ONCE, TWICE) and more["right"]
        return Variant("forward", MVE, {}, numbers | more | {"start": -a["offset"]}) if whole else None
    offset = a.get("x_zero", 0) * int(counts.flat[0])
    added = ((1 << a["shift"]) >> 1) + (a.get("y_zero", 0) << a["shift"])
    if abs(added) + a["factor"] * (int(counts.max()) * 128 + abs(offset)) >= 2**31:
        return None
    return Variant("forward", MVE, {}, numbers | {"start": -offset, "factor": a["factor"], "add": added})
