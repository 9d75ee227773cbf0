"""The logarithm of a signal: octaves, whatever its size."""

from __future__ import annotations

import numpy as np

from ..ops import logarithm
from ..spec.frontend import BlockSpec
from ..spec.options import Quantity
from . import Block
from ._tape import FRAC, FrontTape, Signal


class Log2(Block):
    """log2 of each value, those below `floor` taken for it: right to .54 / 256, and never falling where the
    signal rises."""

    kind = "log2"
    doc = "the logarithm to base 2, in octaves"
    options = (
        Quantity("floor", "what smaller values are taken for, in steps", 2.0**-FRAC, 2.0**20, 1.0, ""),
    )

    def write(self, tape: FrontTape, own: BlockSpec, x: Signal) -> Signal:
        floor = float(own["floor"])
        least = round(floor * 2**FRAC)
        if least >= x.hi:
            what = f"floor = {floor:g}, and its signal never exceeds {x.hi / 2**FRAC:g}"
            raise tape.error(own, what, "give a lower floor")
        lo, hi = logarithm.log2(np.array([least, x.hi], np.int32), FRAC)
        y = tape.signal(own, x, min(int(lo), 0), max(int(hi), 0))  # what blocks keep of it begins as 0
        tape.step("logarithm.log2", own, {"x": x.name, "y": y.name}, least=floor)
        return y
