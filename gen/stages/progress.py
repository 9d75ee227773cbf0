"""How far a compilation is, for who waits for it."""

from __future__ import annotations

from collections.abc import Callable

from ..spec import BEST, FAST

Say = Callable[[float, str], None]
FIRST = {FAST: 0.5, BEST: 0.1}
"""The share of all work, about, that calibration is, by mode."""


class Progress:
    """What `say` is told of a compilation: calibration is the `first` share of it. The share never falls:
    candidates are calibrated as well, and remedies of `fast` may follow what `best` tries."""

    def __init__(self, say: Say, mode: str) -> None:
        self.say, self.first, self.done = say, FIRST[mode], 0.0

    def calibrated(self, share: float) -> None:
        if self.done < self.first:
            self._tell(share * self.first, "calibrating")

    def chosen(self, share: float, what: str) -> None:
        self._tell(self.first + share * (1.0 - self.first), what)

    def _tell(self, share: float, what: str) -> None:
        self.done = max(self.done, share)
        self.say(self.done, what)
