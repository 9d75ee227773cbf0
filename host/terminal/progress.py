"""A progress bar on standard error: one line that grows on a terminal, elsewhere a line a quarter."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from .screen import neutral, steer

T = TypeVar("T")

QUIET_SECONDS = 1.0  # what takes less shows no bar
LOG_SECONDS = 5.0  # nor, where nobody sits at a terminal, what takes less than this
WIDTH = 28
COLUMNS = 118


class Progress:
    """`with Progress("learning", 400) as bar: ... bar.step()`."""

    def __init__(self, what: str, total: int) -> None:
        self.what, self.total, self.done = what, max(total, 1), 0
        self.started = self._drawn = time.monotonic()
        self._terminal = sys.stderr.isatty()
        self._shown = -1
        self._note = ""
        self._first: tuple[float, int] | None = None  # which may load or compile what all others run

    def step(self, count: int = 1, note: str = "") -> None:
        """`count` more are done; `note`, if any, stands behind the bar from now on."""
        self.done += count
        self._note = note or self._note
        now = time.monotonic()
        self._first = self._first or (now, self.done)
        if now - self.started < (QUIET_SECONDS if self._terminal else LOG_SECONDS):
            return
        if self._terminal:
            if now - self._drawn >= 0.1 or self.done >= self.total:
                self._drawn = now
                self._draw("\r", "")
        elif (quarter := 4 * self.done // self.total) > self._shown and now - self._drawn >= QUIET_SECONDS:
            self._shown, self._drawn = quarter, now
            self._draw("", "\n")

    def _draw(self, before: str, after: str) -> None:
        share = min(self.done / self.total, 1.0)
        bar = "#" * int(share * WIDTH)
        now, (since, first) = time.monotonic(), self._first or (self.started, self.done)
        rest = (now - since) * max(self.total - self.done, 0) / max(self.done - first, 1)
        left = f", {rest:.0f} s left" if self.done > first else ""
        count = f"{self.done}/{self.total}" + (f"  {self._note}" if self._note else "")
        line = f"{self.what:<34} [{bar:<{WIDTH}}] {count}  {now - self.started:.0f} s{left}"
        line = f"{neutral(line, lines=False):<{COLUMNS}}"
        steer(sys.stderr, before)
        print(line[: _columns()] if self._terminal else line, end=after, file=sys.stderr, flush=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._terminal and time.monotonic() - self.started >= QUIET_SECONDS:
            steer(sys.stderr, "\r" + " " * _columns() + "\r")


def _columns() -> int:
    """What fits on a line: one that wraps could not be drawn over."""
    return min(COLUMNS, shutil.get_terminal_size((COLUMNS + 1, 24)).columns - 1)


def track(items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """Yields `items` behind a bar."""
    count = total if total is not None else len(items) if isinstance(items, Sized) else 1
    with Progress(what, count) as bar:
        for item in items:
            yield item
            bar.step()
