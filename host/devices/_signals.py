"""Signals that wait until a C library returns."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_ENDING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def held_back(stop: Callable[[], object]) -> Iterator[None]:
    """Ctrl-C and SIGTERM call `stop` at once, and do what they do behind this block.

    Python handles a signal at the first line of Python that runs. While a C library does the work, this is
    one of its callbacks, and what a callback raises goes no further: the signal would be lost.
    """
    caught: list[int] = []

    def note(number: int, _frame: object) -> None:
        caught.append(number)
        stop()

    former = {}
    if threading.current_thread() is threading.main_thread():
        # What is ignored, or is no handler of Python's, stays as it is.
        former = {n: h for n in _ENDING if (h := signal.getsignal(n)) not in (signal.SIG_IGN, None)}
    for number in former:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        for late in caught:
            signal.raise_signal(late)
