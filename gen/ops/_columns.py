"""How the set `dsp` sums what a convolution learns: four taps of many positions, once for all filters."""

from __future__ import annotations

from collections.abc import Mapping

from ..ir.plan import PlanTensor
from ..numeric import Rounding, lcg_coefficients
from ..sets import DSP
from ..sets.dsp import power_of_two
from . import Attrs, Variant
from ._window import Window

WAYS = ((64, 0), (48, 4), (32, 8))
"""Positions whose taps are kept at once, in eight bytes of stack each, and pairs of filters whose sums wait
there for the next ones; 0: in `acc`, as many as it has room for."""
SUMS = 8  # of a pair of filters
COPY, START = 14, 45  # instructions for the four taps of a position, and for those of a pair of filters


def columns(g: Window, t: Mapping[str, PlanTensor], a: Attrs) -> Variant | None:
    """Sums of two products by SMLAD: lanes are two positions, words four taps, of two filters at a time.

    None for groups, for one filter, and where signals are those of pooled windows, which are few. Numbers:
    places, positions whose taps are kept at once; pairs, of filters whose sums wait for the next places, 0
    where one round has all; local, whether they do on the stack, else in `acc`; whole, whether four taps are
    a word of the map; even, whether the signals of two filters are a word; bits of the weights, 0 where their
    limits are none that SSAT knows; fill, what the map's border holds, four bytes; skip_mul, skip_add, two
    words of the generator at once; bias_mul, bias_add, as many as the words of a row; paired, whether weights
    change two at a time, as `dense.update` has it, wide, whether they are int16.
    """
    filters = int(a["filters"])
    if g.groups != 1 or filters == 1 or "at" in t:
        return None
    places, pairs, local = _blocks(g, -(-filters // 2))
    numbers = {
        "places": places,
        "pairs": pairs,
        "local": local,
        "whole": int(g.channels % 4 == 0 and t["x"].aligned),
        "even": int(filters % 2 == 0 and t["d"].aligned),
        "bits": power_of_two(a["lo"], a["hi"]),
        "paired": int(_paired(g, t, a)),
        "wide": int(t["w"].dtype == "int16"),
        "fill": (a.get("x_zero", 0) & 255) * 0x01010101,
        "zero": (a.get("x_zero", 0) & 0xFFFF) * 0x00010001,
    }
    if a["rounding"] == Rounding.STOCHASTIC:
        words = -(-g.taps // 2)
        mul, add = lcg_coefficients(max(words, 2) + 1)
        numbers |= {"skip_mul": int(mul[2]), "skip_add": int(add[2])}
        numbers |= {"bias_mul": int(mul[words]), "bias_add": int(add[words])}
    return Variant("update_columns", DSP, {}, numbers)


def _blocks(g: Window, pairs: int) -> tuple[int, int, int]:
    """(places, pairs, local) of the fewest instructions beside those of the products."""
    if g.positions <= WAYS[0][0]:
        return g.positions + g.positions % 2, 0, 0
    found = []
    for places, waiting in WAYS:
        most = waiting or g.taps // SUMS
        if most:
            cost = COPY * g.positions * -(-pairs // most) + START * -(-g.positions // places) * pairs
            found.append((cost, places, most, int(waiting > 0)))
    return min(found)[1:]


def _paired(g: Window, t: Mapping[str, PlanTensor], a: Attrs) -> bool:
    """Whether changes, and weights less these, fit lanes of 16 bits; QSUB16 holds int16 weights."""
    w, d, bits = t["w"], t["d"], power_of_two(a["lo"], a["hi"])
    if w.dtype == "int32" or not bits or not all(t[role].aligned for role in ("w", "twin") if role in t):
        return False
    change: int = (g.positions * max(-d.lo, d.hi) * (128 + abs(a.get("x_zero", 0))) >> a["shift"]) + 1
    return change + (0 if bits == 16 else 1 << (bits - 1)) < 2**15
