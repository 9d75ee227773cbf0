"""The median of a few samples: it takes single wrong ones out and leaves edges where they are."""

from __future__ import annotations

from ..ops.signal import SIZES
from ..spec.frontend import BlockSpec
from ..spec.options import Integer
from . import Block
from ._tape import FrontTape, Signal


class Median(Block):
    """The middle one of the last few values of each channel."""

    kind = "median"
    doc = f"the middle one of the last {', '.join(map(str, SIZES))} samples"
    options = (Integer("size", "of how many samples, an odd number", SIZES[0], SIZES[-1], SIZES[0]),)

    def write(self, tape: FrontTape, own: BlockSpec, x: Signal) -> Signal:
        size = int(own["size"])
        if size not in SIZES:
            hint = f"give one of {', '.join(map(str, SIZES))}"
            raise tape.error(own, f"size = {size}, which has no middle", hint)
        lo, hi = min(x.lo, 0), max(x.hi, 0)
        y = tape.signal(own, x, lo, hi)
        past = tape.kept(own, "past", (size - 1) * x.channels, lo, hi)
        args = {"x": x.name, "past": past, "y": y.name}
        tape.step("signal.median", own, args, size=size, channels=x.channels)
        return y
