"""How far a signal goes up and down."""

from __future__ import annotations

import math

from ..spec.frontend import BlockSpec
from ..spec.options import Quantity
from . import Block
from ._tape import FrontTape, Signal


class Amplitude(Block):
    """The highest value of late less the lowest: each follows the signal at once, and comes back slowly."""

    kind = "amplitude"
    doc = "the highest value of late less the lowest"
    options = (Quantity("release", "time constant by which both come back", 1.0, 1e6, None, "ms"),)

    def write(self, tape: FrontTape, own: BlockSpec, x: Signal) -> Signal:
        lo, hi = min(x.lo, 0), max(x.hi, 0)
        y = tape.signal(own, x, 0, hi - lo)
        kept = {what: tape.kept(own, what, x.channels, lo, hi) for what in ("top", "bottom")}
        factor = -math.expm1(-1000 / (float(own["release"]) * x.rate))
        args = {"x": x.name, **kept, "y": y.name}
        tape.step("filter.amplitude", own, args, factor=factor, channels=x.channels)
        return y
