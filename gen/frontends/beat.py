"""The end of a front end: beats in units of the wearer's own, which become the network's input."""

from __future__ import annotations

import math

from ..ops.ring import FRAMES
from ..spec.frontend import BlockSpec
from ..spec.options import PowerOfTwo, Quantity, Word
from . import Block
from ._feeds import UNLESS, Beat
from ._tape import FrontTape, Signal


class BeatBlock(Block):
    """A window about each event over the running mean of the beats' peaks. Its name is that of an input."""

    kind = "beat"
    doc = "a window about each event, in units of the mean peak of those before, for the input of its name"
    options = (
        Word("at", "the block whose events it stands about"),
        Quantity("length", "of a window", 0.1, 1e6, None, "ms"),
        Quantity("before", "how much of it lies before its event", 0.0, 1e6, 0.0, "ms"),
        Quantity("settle", "how long filters have before the first one begins", 0.0, 1e6, 0.0, "ms"),
        UNLESS,
        Quantity("peak_before", "from where, before the event, its peak is looked for", 0.0, 1e6, 56.0, "ms"),
        Quantity("peak_after", "until where, after it", 0.0, 1e6, 83.0, "ms"),
        PowerOfTwo("beats", "that the mean is of", 0, 10, 16.0),
        Quantity("top", "that values are held within, in steps of the converter", 1.0, 2.0**15, 2.0**15, ""),
        Quantity("least", "mean that it is divided by, in steps of the converter", 0.01, 2.0**15, 1.0, ""),
        Quantity("scale", "what a value of the mean's size becomes", 1e-6, 1e6, 1.0, ""),
        Quantity("limit", "that what it becomes is held within", 1e-6, 1e6, 127 / 64, ""),
    )

    def write(self, tape: FrontTape, own: BlockSpec, x: Signal) -> None:
        at = tape.event_of(own)
        if at is None:
            raise tape.error(own, "stands about no event", 'name the block of events: at = "NAME"')
        if x.channels != 1:
            raise tape.error(
                own, f"its signal has {x.channels} channels", "take one of them: magnitude, or a lead"
            )
        length = tape.frames(own, "length", x, 1, FRAMES[1] - x.frames)
        before = tape.frames(own, "before", x, 0, length - 1)
        settle = tape.frames(own, "settle", x, 0, 2**24)
        first = tape.frames(own, "peak_before", x, 0, before)
        last = tape.frames(own, "peak_after", x, 0, length - 1 - before)
        if float(own["least"]) >= float(own["top"]):
            what = f"least = {float(own['least']):g} is not below top = {float(own['top']):g}"
            raise tape.error(own, what, "give a smaller least: a mean that is no signal any more")
        frac = min(15 - math.ceil(math.log2(float(own["top"]))), 14)
        numbers = frac, before - first, before + last, int(math.log2(float(own["beats"])))
        real = float(own["least"]), float(own["scale"]), float(own["limit"])
        tape.feeds.append(Beat(own.name, at, x, length, before, settle, tape.doubt(own), *numbers, *real))
