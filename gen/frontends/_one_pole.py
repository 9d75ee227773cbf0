"""What is made of a filter with one pole."""

from __future__ import annotations

import math

from ..spec.frontend import BlockSpec
from ._tape import FRAC, FrontTape, Signal

REST = 2**30 - 1


def one_pole(
    tape: FrontTape, own: BlockSpec, x: Signal, frequency: float, high: bool, part: str = ""
) -> Signal:
    """The step of a low pass or a high pass with a corner at `frequency`, in Hz."""
    lo, hi = (x.lo - x.hi, x.hi - x.lo) if high else (min(x.lo, 0), max(x.hi, 0))
    y = tape.signal(own, x, lo, hi, part=part)
    args = {
        "x": x.name,
        "low": tape.kept(own, "low", x.channels, min(x.lo, 0), max(x.hi, 0)),
        "rest": tape.kept(own, "rest", x.channels, 0, REST, FRAC + 30),
        "y": y.name,
    }
    factor = -math.expm1(-2 * math.pi * frequency / x.rate)
    tape.step("filter.one_pole", own, args, factor=factor, high=int(high), channels=x.channels)
    return y
