"""The magnitude of each value."""

from __future__ import annotations

from ..spec.frontend import BlockSpec
from . import Block
from ._tape import FrontTape, Signal


class Magnitude(Block):
    """|x|, of each channel."""

    kind = "magnitude"
    doc = "the magnitude of each value"

    def write(self, tape: FrontTape, own: BlockSpec, x: Signal) -> Signal:
        y = tape.signal(own, x, 0, x.top)
        tape.step("signal.absolute", own, {"x": x.name, "y": y.name})
        return y
