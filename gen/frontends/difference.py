"""How much a signal changed over some time."""

from __future__ import annotations

from ..ops.signal import MOST_LAG
from ..spec.frontend import BlockSpec
from ..spec.options import Quantity
from . import Block
from ._tape import FrontTape, Signal


class Difference(Block):
    """x now less x `lag` before; one sample where nothing is said."""

    kind = "difference"
    doc = "what the signal is now less what it was before"
    options = (Quantity("lag", "how long before; 0: one sample", 0.0, 1e4, 0.0, "ms"),)

    def write(self, tape: FrontTape, own: BlockSpec, x: Signal) -> Signal:
        lag = tape.frames(own, "lag", x, 1, MOST_LAG) if own["lag"] else 1
        y = tape.signal(own, x, x.lo - max(x.hi, 0), x.hi - min(x.lo, 0))
        past = tape.kept(own, "past", lag * x.channels, min(x.lo, 0), max(x.hi, 0))
        tape.step("signal.difference", own, {"x": x.name, "past": past, "y": y.name})
        return y
