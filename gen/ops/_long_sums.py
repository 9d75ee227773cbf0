"""Sums of more than 32 bits: layers with weights of a model file that holds its activations in 16 bits.

As LiteRT 2.3.0's reference kernels have it, by the number `rounds` of a step:

NARROW      CONV_2D, DEPTHWISE_CONV_2D, TRANSPOSE_CONV with a bias of 64 bits: numeric.scale_half_up, 15 bits
FINE        FULLY_CONNECTED: numeric.scale_fine, all 53 bits of a float64; the lower 32 are an operand `r`

Weights and bias are constants there, and no side has a zero point. The C of a step sums up in 32 bits where
these are proven to be enough.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from . import Arrays, Attrs, Case
from ._contract import Tensors

NARROW, FINE = 3, 4
LONG = {NARROW: 48, FINE: 42}
"""By rounding: bits of the sums that it takes."""
TOPS = {NARROW: (2**15 - 1, 46), FINE: (2**21 - 1, 96)}
"""The largest multiplier, of FINE its upper word, and shift."""
NARROWED = {NARROW: 2, FINE: 1}
"""By rounding: how a step rounds whose sums have 32 bits after all."""
FINE_LEAST = 49  # the least shift of FINE: a factor below 16


def long_misfit(t: Tensors, a: Attrs) -> str:
    """What is wrong with a step whose sums may have more than 32 bits."""
    fine = a["rounds"] == FINE
    if any(a[name] for name in ("x_zero", "y_zero")) or {t[r].space for r in ("w", "b", "r") if r in t} != {
        "const"
    }:
        return "sums of more than 32 bits have constant weights and no zero points"
    if fine != ("r" in t) or (fine and "m" not in t):
        return "it takes operand r beside m where it rounds as float64 does"
    m, most = t["m"].hi if "m" in t else a["multiplier"], TOPS[FINE if fine else NARROW][0]
    if m > most:
        return f"its multiplier may be {m}, beyond {most}"
    if fine and int(t["s"].array().min()) < FINE_LEAST:
        return f"its shift is below {FINE_LEAST}"
    shift, far = t["s"].hi if "s" in t else a["shift"], TOPS[a["rounds"]][1] if a["rounds"] in TOPS else 62
    return f"its shift may be {shift}, beyond {far}" if shift > far else ""


def _first_and_last(factor: float) -> tuple[int, int, int]:
    """numeric.fine_multiplier, and for a factor that gives nothing a shift as others have it."""
    top, bottom, n = numeric.fine_multiplier(factor)
    return top, bottom, max(n, FINE_LEAST) if top == 0 else n


MULTIPLIERS: Mapping[int, tuple[Callable[[float], tuple[int, ...]], int, int]] = {
    NARROW: (numeric.narrow_multiplier, 1, TOPS[NARROW][1]),
    FINE: (_first_and_last, FINE_LEAST, TOPS[FINE][1]),
}
"""What makes multiplier and shift of a factor, and the least and largest shift."""


def finish_fine(
    acc: NDArray[Any], top: NDArray[Any], bottom: NDArray[Any], shift: Any, a: Attrs
) -> numeric.Int:
    """As `finish`, of sums up to 42 bits, the multiplier in two words."""
    high, low = (acc >> np.int64(32)).astype(np.int32), (acc & (2**32 - 1)).astype(np.uint32)
    return numeric.saturate(numeric.scale_fine(high, low, top, bottom, shift), a["lo"], a["hi"])


def long_case(rng: np.random.Generator, arrays: Arrays, attrs: Attrs) -> Case:
    """A case with frozen weights as one of int16 inputs, whose sums may need more than 32 bits."""
    w = arrays["w"].astype(np.int64)
    x = rng.integers(-(2**15), 2**15, arrays["x"].shape).astype(np.int16)
    bias = rng.integers(-(2**31), 2**31, len(w)) if rng.integers(2) else arrays["b"]
    tops = np.abs(w).sum(axis=1) * 2.0**15 + np.abs(bias)
    factors = 2.0**15 / np.maximum(tops, 1) * 2.0 ** rng.uniform(-1, 5, len(w))
    if not rng.integers(3):
        factors = np.exp2(np.rint(np.log2(factors)))
    ends = {"x_zero": 0, "y_zero": 0, "lo": int(rng.choice([-(2**15), 0])), "hi": 2**15 - 1}
    made: dict[str, NDArray[Any]] = {"x": x, "w": arrays["w"], "b": bias.astype(np.int32)}
    made["y"] = arrays["y"].astype(np.int16)
    if rng.integers(2):
        top, bottom, n = np.array([_first_and_last(float(v)) for v in factors]).T
        made |= {"m": top.astype(np.int32), "r": bottom.astype(np.uint32), "s": n.astype(np.uint8)}
        ends |= {"rounds": FINE}
    else:
        m, n = np.array([numeric.narrow_multiplier(float(v)) for v in factors]).T
        ends |= {"rounds": NARROW}
        if rng.integers(2):
            ends |= {"multiplier": int(m[0]), "shift": int(n.max())}
        else:
            made |= {"m": m.astype(np.int32), "s": n.astype(np.uint8)}
    return Case(made, {**attrs, **ends}, {"w": (-128, 127)}, flash=("w", "b", "m", "s", "r"))
