"""One signal over another."""

from __future__ import annotations

import numpy as np

from ..ops.ratio import WHOLE, over
from ..spec.frontend import BlockSpec
from ..spec.options import Quantity, Word
from . import Block
from ._named import named
from ._tape import FRAC, FrontTape, Signal


class Ratio(Block):
    """Each value over the one beside it of signal `by`, of which values below `floor` are taken for it."""

    kind = "ratio"
    doc = "the signal over another one"
    options = (
        Word("by", "the block whose signal it is divided by"),
        Quantity(
            "floor", "what smaller values of that are taken for, in steps", 2.0**-FRAC, 2.0**20, 1.0, ""
        ),
        Quantity("limit", "the largest magnitude of the ratio", 2.0**-FRAC, 2.0**20, 256.0, ""),
    )

    def write(self, tape: FrontTape, own: BlockSpec, x: Signal) -> Signal:
        by = named(tape, own, "by", x)
        floor, limit = float(own["floor"]), float(own["limit"])
        if by.hi <= 0:
            raise tape.error(own, f"{own['by']} is never above 0", "divide by a magnitude or an envelope")
        least = np.full(2, max(round(floor * 2**FRAC), by.lo), np.int32)
        most = round(limit * 2**FRAC)
        ends = over(np.array([min(x.lo, 0), max(x.hi, 0)]), least, WHOLE - FRAC, -most, most)
        if not ends.any():
            what = f"its signal never exceeds {x.top / 2**FRAC:g}, and a ratio to {floor:g} or more is 0"
            raise tape.error(own, what, "give a lower floor")
        y = tape.signal(own, x, int(ends[0]), int(ends[1]))
        args = {"x": x.name, "by": by.name, "y": y.name}
        tape.step("ratio.over", own, args, least=floor, most=limit)
        return y
