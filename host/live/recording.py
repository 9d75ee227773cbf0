"""What is streamed: samples with what is known of them, from the beginning again where they end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

UNKNOWN = -1
"""What an event is of which nothing is known."""


@dataclass(frozen=True)
class Recording:
    """Samples of one channel, and what somebody has annotated.

    samples: int16[n], steps of the converter
    rate:    samples a second
    steps:   of the converter to a `unit`
    at:      int64[k], ascending, samples of annotated events
    label:   int64[k], the class of each; what is none of the network's counts as UNKNOWN
    names:   of the network's classes, as they are shown
    """

    samples: NDArray[np.int16]
    rate: float
    steps: float
    unit: str
    at: NDArray[np.int64]
    label: NDArray[np.int64]
    names: tuple[str, ...]

    def piece(self, first: int, count: int) -> NDArray[np.int16]:
        """`count` samples from number `first` of the stream on."""
        return self.samples.take(np.arange(first, first + count), mode="wrap")

    def annotated(self) -> Iterator[tuple[int, int]]:
        """(sample of the stream, class) of all events, without an end, round after round; none where there
        are none."""
        lap = 0
        while len(self.at):
            for at, label in zip(self.at.tolist(), self.label.tolist(), strict=True):
                known = 0 <= label < len(self.names)
                yield lap * len(self.samples) + at, label if known else UNKNOWN
            lap += 1
