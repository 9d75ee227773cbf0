"""The mean of the last samples."""

from __future__ import annotations

from ..ops.filter import MOST_SIZE
from ..spec.frontend import BlockSpec
from ..spec.options import Quantity
from . import Block
from ._tape import FrontTape, Signal

SUM = 2**31 - 1


class MovingAverage(Block):
    """The mean of the last `length` of each channel. It stands still before it: zeros count as samples."""

    kind = "moving_average"
    doc = "the mean over some time"
    options = (Quantity("length", "over how long", 0.1, 1e5, None, "ms"),)

    def write(self, tape: FrontTape, own: BlockSpec, x: Signal) -> Signal:
        lo, hi = min(x.lo, 0), max(x.hi, 0)
        most = min(MOST_SIZE, SUM // max(-lo, hi) - 2)
        if most < 2:
            what = f"its signal may reach {x.top >> 8}, and a sum of it does not fit 32 bits"
            raise tape.error(own, what, "put it before what makes the signal so large")
        size = tape.frames(own, "length", x, 2, most)
        y = tape.signal(own, x, lo, hi)
        args = {
            "x": x.name,
            "ring": tape.kept(own, "ring", size * x.channels, lo, hi),
            "sum": tape.kept(own, "sum", x.channels, size * lo, size * hi),
            "at": tape.counter("at", "where the oldest sample of the mean lies", own=own),
            "y": y.name,
        }
        tape.step("filter.average", own, args, size=size, channels=x.channels)
        return y
