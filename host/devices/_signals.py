"""Signals while C code runs that calls back into Python."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def held(stop: Callable[[], None]) -> Iterator[None]:
    """Keeps SIGINT and SIGTERM until the block is left, and then sends them again; `stop` ends it soon.

    Python runs handlers between any two of its instructions, also in a callback from C, where the exception
    that was to end the program is printed and lost.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        arrived.append(number)
        stop()

    former = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        for again in arrived:
            signal.raise_signal(again)
