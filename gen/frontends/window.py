"""The end of a front end: windows of a signal, which become the network's input."""

from __future__ import annotations

from ..ops.ring import FRAMES
from ..spec.frontend import BlockSpec
from ..spec.options import Quantity
from . import Block
from ._tape import FrontTape, Signal, Window


class WindowBlock(Block):
    """The last `length` of a signal, every `hop`, as (v - offset) * scale. Its name is that of an input."""

    kind = "window"
    doc = "a window of the signal, every so often, for the network's input of its name"
    options = (
        Quantity("length", "of a window", 0.1, 1e6, None, "ms"),
        Quantity("hop", "from the end of one to the end of the next; 0: its length", 0.0, 1e6, 0.0, "ms"),
        Quantity("settle", "how long filters have before the first one begins", 0.0, 1e6, 0.0, "ms"),
        Quantity("offset", "what is taken from each value, in steps of the converter", -1e6, 1e6, 0.0, ""),
        Quantity("scale", "what that is multiplied with", 1e-9, 1e6, 1.0, ""),
    )

    def write(self, tape: FrontTape, own: BlockSpec, x: Signal) -> None:
        length = tape.frames(own, "length", x, 1, FRAMES[1] - x.frames)
        hop = tape.frames(own, "hop", x, 1, FRAMES[1]) if own["hop"] else length
        settle = tape.frames(own, "settle", x, 0, 2**24)
        tape.windows.append(
            Window(own.name, x, length, hop, settle, float(own["offset"]), float(own["scale"]))
        )
