"""The end of a front end: windows of a signal, which become the network's input."""

from __future__ import annotations

from ..ops.ring import CHANNELS, FRAMES
from ..spec.frontend import BlockSpec
from ..spec.options import Quantity, Word
from . import Block
from ._feeds import UNLESS, Window
from ._tape import FrontTape, Signal


class WindowBlock(Block):
    """The last `length` of a signal, every `hop` or about each event, as (v - offset) * scale. Its name is
    that of an input."""

    kind = "window"
    most = CHANNELS[1]
    doc = "a window of the signal, every so often or at an event, for the network's input of its name"
    options = (
        Quantity("length", "of a window", 0.1, 1e6, None, "ms"),
        Quantity("hop", "from the end of one to the end of the next; 0: its length", 0.0, 1e6, 0.0, "ms"),
        Quantity("settle", "how long filters have before the first one begins", 0.0, 1e6, 0.0, "ms"),
        Word("at", "the block whose events it stands about; none: every `hop`"),
        Quantity("before", "how much of it lies before its event", 0.0, 1e6, 0.0, "ms"),
        UNLESS,
        Quantity("offset", "what is taken from each value, in steps of the converter", -1e6, 1e6, 0.0, ""),
        Quantity("scale", "what that is multiplied with", 1e-9, 1e6, 1.0, ""),
    )

    def write(self, tape: FrontTape, own: BlockSpec, x: Signal) -> None:
        at = tape.event_of(own)
        length = tape.frames(own, "length", x, 1, FRAMES[1] - x.frames)
        hop = tape.frames(own, "hop", x, 1, FRAMES[1]) if own["hop"] else length
        settle = tape.frames(own, "settle", x, 0, 2**24)
        before = tape.frames(own, "before", x, 0, length - 1)
        if at is not None and own["hop"]:
            raise tape.error(own, f"hop = {own['hop']:g} ms, and it stands about events", "leave hop out")
        if at is None and before:
            what = f"before = {own['before']:g} ms, and it stands about no event"
            raise tape.error(own, what, 'name the block of events: at = "NAME"')
        numbers = float(own["offset"]), float(own["scale"])
        tape.feeds.append(Window(own.name, at, x, length, before, settle, tape.doubt(own), hop, *numbers))
