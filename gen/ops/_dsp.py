"""What the kernels of the set `dsp` choose alike: how rows of weights are laid out and summed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..ir.plan import PlanTensor
from ..sets import DSP
from ..sets.layouts import channel_lanes, dual_bias, dual_fits, dual_rows, rounded_bias
from . import Attrs, Relaid, Variant
from ._window import Window

Operands = Mapping[str, "PlanTensor"]
DUAL_PAIRS = 4  # pairs of dual rows that sum at once: as many as a Cortex-M4 has registers for
PATCH = 256  # bytes of stack that a copy of one window may take
STRAIGHT = 12  # taps of a depthwise window that are written out one after another
ROWS = 4  # and rows that are read as the Plan has them


def power_of_two(lo: int, hi: int) -> int:
    """The number of bits whose limits are lo .. hi, 0 if there is none: what SSAT can hold a value within."""
    bits = hi.bit_length() + 1
    return bits if hi + 1 == -lo == 1 << (bits - 1) else 0


def weighted_sums(t: Operands, a: Attrs) -> Variant | None:
    """How y = req(W x + b) is computed by words, None if it cannot be: rows in dual pairs, or as they lie.

    The variant's numbers: bits (of y), rows, groups (of four columns), and pairs, or wide (int16) and half.
    """
    w, bits = t["w"], power_of_two(a["lo"], a["hi"])
    if not (bits and t["x"].aligned and w.aligned):
        return None
    numbers = {"bits": bits, "rows": w.shape[0], "groups": w.row // 4, "wide": int(w.dtype == "int16")}
    if "s" not in t:
        half = (1 << a["shift"]) >> 1
        return Variant("forward_rows", DSP, {}, numbers | {"half": half})
    if {w.space, t["b"].space, t["s"].space} != {"const"}:
        return None
    start = rounded_bias(t["b"].array(), t["s"].array())
    if not dual_fits(w.array(), start):
        relaid = {
            "b": Relaid("rounded", start, "bias plus half of what the shift drops, so that the shift rounds")
        }
        return Variant("forward_rows", DSP, relaid, numbers | {"half": 0})
    pairs = max(min(DUAL_PAIRS, w.shape[0] // 2), 1)
    return Variant("forward_dual", DSP, dual(w.array(), start, pairs), numbers | {"pairs": pairs})


def dual(w: NDArray[np.int8], start: NDArray[np.int32], pairs: int) -> dict[str, Relaid]:
    """Weights and starts in dual pairs (gen/sets/layouts.py)."""
    return {
        "w": Relaid(
            "dual", dual_rows(w, pairs), "two rows in a word: a lane holds 256 * (odd row) + (even row)"
        ),
        "b": Relaid(
            "dual", dual_bias(start), "for each two rows: 256 * (odd bias) + (even bias), then the even bias"
        ),
    }


def windows(g: Window, t: Mapping[str, PlanTensor], a: Attrs) -> Variant | None:
    """Sums over runs of the map's words, or over a copy of the window where its taps begin anywhere."""
    sums = weighted_sums(t, a)
    runs = g.channels % 4 == 0 and (g.dilation_w == 1 or g.kernel_w == 1)
    if sums is None or not (runs or g.taps <= PATCH):
        return None
    macro = "forward_dual" if sums.macro == "forward_dual" else "forward_rows"
    words = g.channels // 4 if runs else t["w"].row // 4
    unroll = next(n for n in ((2, 1) if macro == "forward_dual" else (4, 2, 1)) if words % n == 0)
    return replace(sums, numbers={**sums.numbers, "runs": int(runs), "unroll": unroll})


def depthwise(g: Window, t: Mapping[str, PlanTensor], a: Attrs) -> Variant | None:
    """Four channels at a time, tap by tap; the weights of four channels side by side."""
    w, bits, filters = t["w"], power_of_two(a["lo"], a["hi"]), int(a["filters"])
    each = g.groups == g.channels == filters and g.channels % 4 == 0
    if not (each and g.dilation_h == g.dilation_w == 1 and bits and t["x"].aligned):
        return None
    if "s" not in t or {w.space, t["b"].space, t["s"].space} != {"const"}:
        return None
    relaid = {
        "w": Relaid("lanes", channel_lanes(w.array()), "tap by tap, four channels in two words"),
        "b": Relaid(
            "rounded",
            rounded_bias(t["b"].array(), t["s"].array()),
            "bias plus half of what the shift drops, so that the shift rounds",
        ),
    }
    return Variant("forward_depthwise", DSP, relaid, {"bits": bits, "straight": int(g.taps <= STRAIGHT)})
