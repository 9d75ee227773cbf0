"""Fewer samples a second."""

from __future__ import annotations

from ..spec.frontend import BlockSpec
from ..spec.options import Integer
from . import Block
from ._tape import FrontTape, Signal


class Decimate(Block):
    """The last one of each `by` samples. A low pass belongs before it: it does not filter itself."""

    kind = "decimate"
    doc = "one sample in so many; put a low pass before it"
    options = (Integer("by", "of how many one stays", 2, 2**12, 2),)

    def write(self, tape: FrontTape, own: BlockSpec, x: Signal) -> Signal:
        by = int(own["by"])
        if x.frames % by:
            what = f"takes one in {by} samples, and {x.frames} come with a push"
            raise tape.error(own, what, f"give a push that {by} divides")
        y = tape.signal(own, x, x.lo, x.hi, frames=x.frames // by)
        tape.step("signal.decimate", own, {"x": x.name, "y": y.name}, by=by, channels=x.channels)
        return y
