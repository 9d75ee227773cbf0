"""A filter with one pole: the cheapest low pass, and the cheapest way to take a baseline away."""

from __future__ import annotations

from ..spec.frontend import BlockSpec
from ..spec.options import Choice, Quantity
from . import Block
from ._one_pole import one_pole
from ._tape import FrontTape, Signal


class OnePole(Block):
    """low += (1 - exp(-2 pi f / rate)) (x - low); high is what low leaves of x."""

    kind = "one_pole"
    doc = "a filter of first order: low pass or high pass"
    options = (
        Choice("shape", "what passes", ("low", "high")),
        Quantity("frequency", "corner", 0.001, 1e4, None, "Hz"),
    )

    def write(self, tape: FrontTape, own: BlockSpec, x: Signal) -> Signal:
        return one_pole(tape, own, x, tape.hertz(own, "frequency", x), own["shape"] == "high")
