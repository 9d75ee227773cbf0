"""What a page is shown, whole in every picture: so one that is left out leaves no gap."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from .judge import Event

Pair = tuple[float, float]
Curves = tuple[Sequence[tuple[float, ...]], Sequence[tuple[float, ...]]]


@dataclass(frozen=True)
class Facts:
    """Numbers of a stream.

    seconds:  of the stream so far; pushes, marks, compared: calls and persistent bytes that were compared
    learned:  what the chip says that it has learned; recent, f1: by the chip, and by what it was at first
    resident: bytes of this process; chip: RAM of the model, in bytes
    speed:    times real time that is asked for, 0 for as fast as it goes; reached: that it runs at
    fault:    why it ended, "" where nothing is wrong
    """

    seconds: float
    pushes: int
    marks: int
    compared: int
    differing: int
    learned: int
    recent: Pair
    f1: tuple[Sequence[float | None], Sequence[float | None]]
    judged: int
    missed: int
    extra: int
    resident: int | None
    chip: int
    speed: float
    reached: float
    paused: bool
    learning: bool
    ended: bool
    fault: str


@dataclass(frozen=True)
class Picture:
    """newest: the number of the last sample of `trace`; events: those in it, and whether a label would find
    them; curves: of accuracy, and of memory."""

    newest: int
    trace: NDArray[np.int16]
    events: Sequence[tuple[Event, bool]]
    facts: Facts
    curves: Curves

    def message(self, curves: bool) -> bytes:
        """As a page is sent it: the length of a JSON text, uint32, the text, and int16 samples; all of them
        the least significant byte first. curves: whether it has the curves, too."""
        said = {
            "newest": self.newest,
            "events": [
                [
                    e.number,
                    e.answer.at,
                    e.answer.said,
                    round(e.answer.margin, 3),
                    e.truth,
                    e.given,
                    e.how,
                    open,
                ]
                for e, open in self.events
            ],
            "facts": asdict(self.facts),
        }
        if curves:
            said["curves"] = [[[round(v, 4) for v in p] for p in c] for c in self.curves]
        text = json.dumps(said, allow_nan=False, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        return struct.pack("<I", len(text)) + text + self.trace.astype("<i2").tobytes()
