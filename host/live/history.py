"""What is kept of a stream: the last seconds of its trace, and curves that grow coarser, not longer."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

POINTS = 240
"""That a curve keeps at most."""
_PAGE = 4096


class Trace:
    """The last samples of a stream, int16, in a ring of `room`."""

    def __init__(self, room: int) -> None:
        self._ring = np.zeros(room, np.int16)
        self.room, self.count = room, 0

    def add(self, samples: NDArray[np.int16]) -> None:
        """The next samples, no more than there is room for."""
        at = (self.count + np.arange(len(samples))) % len(self._ring)
        self._ring[at] = samples
        self.count += len(samples)

    def last(self) -> NDArray[np.int16]:
        """What is kept, the oldest first."""
        kept = min(self.count, len(self._ring))
        return self._ring.take(np.arange(self.count - kept, self.count), mode="wrap")


class Curve:
    """Points (x, values) at most POINTS of them: where one more has no room, every other one goes, and from
    then on every other one that comes."""

    def __init__(self) -> None:
        self.points: list[tuple[float, ...]] = []
        self._stride, self._came = 1, 0

    def add(self, x: float, values: Sequence[float]) -> None:
        """The next point."""
        if self._came % self._stride == 0:
            if len(self.points) == POINTS:
                self.points = self.points[::2]
                self._stride *= 2
            self.points.append((x, *values))
        self._came += 1


def resident() -> int | None:
    """Bytes of memory that this process holds; None where the system does not say it."""
    if not sys.platform.startswith("linux"):
        return None
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE
