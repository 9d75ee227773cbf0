"""Detected beats against annotated ones, one to one, as ANSI/AAMI EC57:2012 and WFDB's bxb count them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]
WINDOW = 0.15
"""Seconds that a detected beat may lie from the annotated one."""
Span = tuple[int, int]
"""First and last sample of a passage."""
FAR = np.iinfo(np.int64).max // 2


@dataclass(frozen=True)
class Count:
    """Annotated beats that were found and missed, and detected ones that are none."""

    found: int = 0
    missed: int = 0
    false: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(self.found + other.found, self.missed + other.missed, self.false + other.false)

    @property
    def sensitivity(self) -> float:
        """Share of the annotated beats that were found; nan where there is none."""
        return _share(self.found, self.found + self.missed)

    @property
    def predictivity(self) -> float:
        """Share of the detected beats that are annotated; nan where there is none."""
        return _share(self.found, self.found + self.false)

    @property
    def f1(self) -> float:
        """Harmonic mean of both."""
        return _share(2 * self.found, 2 * self.found + self.missed + self.false)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def matched(truth: Places, found: Places, window: int) -> tuple[Places, Places]:
    """(of each of `truth` its index in `found`, of each of `found` its index in `truth`), -1 where none is.

    Both ascend. The earlier of two unmatched beats takes the next one of the other list if that is at most
    `window` samples away and the next but one is not nearer.
    """
    of_truth, of_found = np.full(len(truth), -1), np.full(len(found), -1)
    a, b = [*map(int, truth), FAR], [*map(int, found), FAR]
    i = k = 0
    while i < len(truth) and k < len(found):
        apart = abs(a[i] - b[k])
        other = abs(a[i] - b[k + 1]) if b[k] < a[i] else abs(a[i + 1] - b[k])
        if apart <= window and apart <= other:
            of_truth[i], of_found[k] = k, i
            i, k = i + 1, k + 1
        elif b[k] < a[i]:
            k += 1
        else:
            i += 1
    return of_truth, of_found


def within(places: Places, spans: Iterable[Span]) -> NDArray[np.bool_]:
    """Which places lie within one of `spans`, ends included."""
    inside = np.zeros(len(places), np.bool_)
    for first, last in spans:
        inside |= (places >= first) & (places <= last)
    return inside


def counted(
    truth: Places, found: Places, rate: float, start: float = 0.0, left_out: Sequence[Span] = ()
) -> Count:
    """Beats from `start` seconds on, outside of the spans that are left out; `found` may be unsorted."""
    found = np.sort(found)
    of_truth, of_found = matched(truth, found, round(WINDOW * rate))
    a = (truth >= start * rate) & ~within(truth, left_out)
    b = (found >= start * rate) & ~within(found, left_out)
    return Count(
        int((a & (of_truth >= 0)).sum()), int((a & (of_truth < 0)).sum()), int((b & (of_found < 0)).sum())
    )


def matched_apart(truth: Places, found: Places, rate: float) -> Places:
    """Samples from each annotated beat to the detected one that it matches; those of the matches alone."""
    of_truth, _ = matched(truth, found, round(WINDOW * rate))
    both = of_truth >= 0
    return np.asarray(found[of_truth[both]] - truth[both])
