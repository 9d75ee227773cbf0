"""The end of a front end: the rhythm of events, which becomes the network's input."""

from __future__ import annotations

import math

from ..spec.frontend import BlockSpec
from ..spec.options import PowerOfTwo, Quantity, Word
from . import Block
from ._feeds import Rhythm
from ._tape import FrontTape, Signal


class RhythmBlock(Block):
    """Four features of the intervals between events, none of them after the event. Its name is that of an
    input."""

    kind = "rhythm"
    doc = "the last three intervals over their running mean, and the last over a usual one, as logarithms"
    options = (
        Word("at", "the block whose events they lie between"),
        Quantity("usual", "interval, for as long as there is none", 1.0, 1e5, 800.0, "ms"),
        PowerOfTwo("beats", "that the mean is of", 0, 10, 64.0),
        Quantity("gain", "what an interval of twice the mean becomes", 1e-6, 1e6, 4.0, ""),
        Quantity("limit", "that what it becomes is held within", 1e-6, 1e6, 127 / 64, ""),
    )

    def write(self, tape: FrontTape, own: BlockSpec, x: Signal) -> None:
        at = tape.event_of(own)
        if at is None:
            raise tape.error(own, "stands between no events", 'name the block of events: at = "NAME"')
        usual = float(own["usual"]) * at.rate / 1000
        many = int(math.log2(float(own["beats"])))
        feed = Rhythm(own.name, at, usual, many, float(own["gain"]), float(own["limit"]))
        tape.feeds.append(feed)
