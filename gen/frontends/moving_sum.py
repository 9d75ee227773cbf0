"""A mean without a product: the sum over some time, over a power of two."""

from __future__ import annotations

from ..ops.signal import LIMIT
from ..ops.sums import SIZES
from ..spec.frontend import BlockSpec
from ..spec.options import Quantity
from . import Block
from ._tape import FrontTape, Signal


class MovingSum(Block):
    """The sum of the last samples over the next power of two: their mean times 1/2 to 1, of one channel."""

    kind = "moving_sum"
    doc = "the sum over some time, over the next power of two: a mean times 1/2 to 1, without a product"
    options = (Quantity("length", "of the sum", 0.1, 1e6, None, "ms"),)

    def write(self, tape: FrontTape, own: BlockSpec, x: Signal) -> Signal:
        if x.channels != 1:
            raise tape.error(
                own, f"its signal has {x.channels} channels", "take moving_average, or a lead of them"
            )
        most = min(SIZES[1], LIMIT // max(x.top, 1))
        if most < SIZES[0]:
            what = f"its signal may reach {x.top >> 8}, and a sum of it does not fit 32 bits"
            raise tape.error(own, what, "put it before what makes the signal so large")
        size = tape.frames(own, "length", x, SIZES[0], most)
        shift = (size - 1).bit_length()
        lo, hi = min(x.lo, 0) * size, max(x.hi, 0) * size
        y = tape.signal(own, x, lo >> shift, hi >> shift)
        args = {
            "x": x.name,
            "ring": tape.kept(own, "ring", size, min(x.lo, 0), max(x.hi, 0)),
            "sum": tape.kept(own, "sum", 1, lo, hi),
            "at": tape.counter("at", "where the oldest value lies", own=own),
            "y": y.name,
        }
        tape.step("sums.moving", own, args, size=size, shift=shift)
        return y
