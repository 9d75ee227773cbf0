"""The work that remedies may be: each asks before it is done, and what was left out is told."""

from __future__ import annotations


class Budget:
    """most: multiply-accumulates in all. spent: those so far. Work is charged beforehand: what would go
    beyond is not begun."""

    def __init__(self, most: int) -> None:
        self.most, self.spent = most, 0
        self._done: set[str] = set()
        self._left: dict[str, None] = {}

    def may(self, share: float, what: str, work: int) -> bool:
        """Whether `work` more may be done for `what`, which begins before this share of all is spent."""
        if self.spent < share * self.most and self.spent + work <= self.most:
            self._done.add(what)
            self.spent += work
            return True
        self._left[what] = None
        return False

    @property
    def left(self) -> list[str]:
        """What was not tried, or not all of it, a line each."""
        end = f"were not tried: remedies end after {told(self.most)}"
        return [f"{'some ' if what in self._done else ''}{what} {end}" for what in self._left]


def told(work: int) -> str:
    return f"2^{max(1, work).bit_length() - 1} multiply-accumulates"
