"""The magnitude of each value, or of the vector that a frame's channels are."""

from __future__ import annotations

import math

from ..spec.frontend import BlockSpec
from ..spec.options import Choice
from . import Block
from ._tape import FrontTape, Signal


class Magnitude(Block):
    """|x| of each channel; over a frame, the length of the vector of its channels: one channel is left."""

    kind = "magnitude"
    doc = "the magnitude of each value, or of each frame as a vector"
    options = (Choice("over", "what it is of", ("each", "frame")),)

    def write(self, tape: FrontTape, own: BlockSpec, x: Signal) -> Signal:
        if own["over"] == "each" or x.channels == 1:
            y = tape.signal(own, x, 0, x.top)
            tape.step("signal.absolute", own, {"x": x.name, "y": y.name})
            return y
        y = tape.signal(own, x, 0, math.isqrt(x.channels * x.top**2), channels=1)
        tape.step("signal.norm", own, {"x": x.name, "y": y.name}, channels=x.channels)
        return y
