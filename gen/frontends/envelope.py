"""The envelope of a signal: its magnitude through a low pass."""

from __future__ import annotations

from ..spec.frontend import BlockSpec
from ..spec.options import Quantity
from . import Block
from ._one_pole import one_pole
from ._tape import FrontTape, Signal


class Envelope(Block):
    """How large a signal is, on the mean over some time: |x| through a filter of first order."""

    kind = "envelope"
    doc = "the magnitude through a low pass: how large the signal is on the mean"
    options = (Quantity("frequency", "corner of the low pass", 0.001, 1e4, None, "Hz"),)

    def write(self, tape: FrontTape, own: BlockSpec, x: Signal) -> Signal:
        size = tape.signal(own, x, 0, x.top, part="size")
        tape.step("signal.absolute", own, {"x": x.name, "y": size.name})
        return one_pole(tape, own, size, tape.hertz(own, "frequency", x), False)
