"""The loop form of depthwise convolutions: all channels of a place together, one tap after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir.plan import PlanTensor
from ._conv_loops import padded_map, run_offsets, runs_of
from ._loops import Cells, Number, end_row, narrow, tiled


def takes(t: Mapping[str, PlanTensor], a: Mapping[str, Any]) -> bool:
    """Whether each channel has a filter of its own, its weights are constants and its sums have 32 bits."""
    own = 1 < a["groups"] == a["channels"] == a["filters"]
    return own and t["w"].space == "const" and narrow(t, a)


def by_tap(t: Mapping[str, PlanTensor], a: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """`taps`: the weights, [taps, channels]."""
    return {"taps": t["w"].array().T.astype(np.int16)}


def forward(
    x: Cells, b: Cells, m: Cells, s: Cells, y: Cells, window: Number, shift: Number, multiplier: Number,
    x_zero: Number, y_zero: Number, rounds: Number, lo: int, hi: int, taps: Cells,
) -> None:  # fmt: skip
    _, _, channels, out_h, out_w, _, _, step_h, step_w, _, _, _, _, _ = window
    _, _, _, across = runs_of(window)
    seen, offsets = padded_map(x, window, np.int32(x_zero)), run_offsets(window)
    acc = np.empty(out_h * out_w * channels, np.int32)
    for place in range(out_h * out_w):
        at = place // out_w * step_h * across + place % out_w * step_w * channels
        there = acc[place * channels : (place + 1) * channels]
        for c in range(channels):
            there[c] = b[c]
        for k in range(len(offsets)):
            given, w = seen[at + offsets[k] :], taps[k]
            for c in range(channels):
                there[c] = np.int32(there[c] + np.int32(given[c]) * np.int32(w[c]))
    every = out_h * out_w
    end_row(y, acc, tiled(s, every), tiled(m, every), shift, multiplier, lo, hi, rounds, y_zero)
