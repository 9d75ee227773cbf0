"""Events that the chip told, and what is known of them: matched one to one, judged before any is learned."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from ..run.scores import scores
from .beside import Answer
from .recording import UNKNOWN, Recording

LAST = 100
"""Judged events that the running accuracy is of."""
KEPT = 64
"""Events that are remembered: more than a page shows."""
NONE, LEARNED, LATE = "", "learned", "late"


@dataclass
class Event:
    """One event.

    truth: its annotated class, or UNKNOWN; given: the label that somebody gave it, UNKNOWN without one
    how:   what became of that label: LEARNED, or LATE, where its window had gone
    """

    number: int
    answer: Answer
    truth: int
    given: int = UNKNOWN
    how: str = NONE


class Judge:
    """The last events of a stream, and how well the chip does.

    within:   samples that an event may lie from its annotation
    patience: samples behind an annotation in which events are told that lie there
    missed, extra: annotated events that were not told, told ones that are none
    """

    def __init__(self, recording: Recording, within: int, patience: int) -> None:
        self.events: deque[Event] = deque(maxlen=KEPT)
        self.within, self.patience = within, patience
        self.missed = self.extra = self.judged = 0
        self._coming = recording.annotated()
        self._known: deque[tuple[int, int]] = deque()
        self._next = next(self._coming, None)
        self._told = 0
        n = len(recording.names)
        self.learned, self.unlearned = np.zeros((n, n), np.int64), np.zeros((n, n), np.int64)
        self._last: deque[tuple[bool, bool]] = deque(maxlen=LAST)

    def add(self, answer: Answer) -> Event:
        """The next event, which is judged where its class is known."""
        while self._next and self._next[0] <= answer.at + self.within:
            self._known.append(self._next)
            self._next = next(self._coming, None)
        event = Event(self._told, answer, self._match(answer.at))
        self._told += 1
        self.events.append(event)
        if event.truth != UNKNOWN:
            self.learned[event.truth, answer.said] += 1
            self.unlearned[event.truth, answer.before] += 1
            self._last.append((answer.said == event.truth, answer.before == event.truth))
            self.judged += 1
        return event

    def _match(self, at: int) -> int:
        """The class of the annotation nearest to a told event, which nothing else is matched to then. One
        that nothing came for in `patience` was missed, but for those before the first told event."""
        while self._known and self._known[0][0] < at - self.patience:
            self._known.popleft()
            self.missed += self._told > 0
        apart = [(abs(place - at), k) for k, (place, _) in enumerate(self._known)]
        nearest, k = min(apart, default=(self.within + 1, 0))
        if nearest > self.within:
            self.extra += self._next is not None
            return UNKNOWN
        found = self._known[k][1]
        del self._known[k]
        return found

    def find(self, number: int) -> Event | None:
        """An event by its number, while it is remembered."""
        return next((e for e in self.events if e.number == number), None)

    def recent(self) -> tuple[float, float]:
        """Shares of the last judged events that were right: by the chip, by what it was at first."""
        right = np.array(self._last, bool).reshape(-1, 2)
        return (float(right[:, 0].mean()), float(right[:, 1].mean())) if len(right) else (0.0, 0.0)

    def f1(self) -> tuple[list[float | None], list[float | None]]:
        """F1 of each class since the beginning: by the chip, by what it was at first; None where there is
        no case."""
        both = (scores(m).f1 for m in (self.learned, self.unlearned))
        by_chip, at_first = ([None if np.isnan(v) else float(v) for v in f1] for f1 in both)
        return by_chip, at_first
