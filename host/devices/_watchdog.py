"""Stops what runs too long, from a thread that looks now and then.

unicorn has a timer of its own: a thread that wakes every few microseconds, which is a third of a run.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOOK_SECONDS = 0.02
IDLE_SECONDS = 2.0
"""Without a run the thread ends after so long; the next run starts another one."""


class Watchdog:
    """Calls `stop` again and again once a run has had its time, until it has ended."""

    def __init__(self, stop: Callable[[], object]) -> None:
        self._stop = stop
        self._lock = threading.Lock()
        self._deadline: float | None = None
        self._thread: threading.Thread | None = None

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """What runs in this block has `seconds`. Behind it nothing is stopped any more."""
        with self._lock:
            self._deadline = time.monotonic() + seconds
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._deadline = None

    def _watch(self) -> None:
        busy = time.monotonic()
        while True:
            time.sleep(LOOK_SECONDS)
            with self._lock:
                now = time.monotonic()
                if self._deadline is not None:
                    busy = now
                    if now >= self._deadline:
                        self._stop()
                elif now - busy > IDLE_SECONDS:
                    self._thread = None
                    return
