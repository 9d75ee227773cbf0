"""The thread that gives both sides their samples in time, and does what pages ask for in between."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from ..devices import DeviceError
from .beside import Beside, Differs
from .history import Curve, Trace, resident
from .judge import LATE, LEARNED, NONE, Event, Judge
from .orders import Order
from .picture import Facts, Picture
from .recording import UNKNOWN, Recording

SHOWN = 10.0
"""Seconds of the trace that a page shows. They are filled as fast as it goes, so that it begins with them."""
WITHIN, PATIENCE = 0.15, 4.0
"""Seconds that an event may lie from its annotation, as ANSI/AAMI EC57 has it; and that it may be late."""
ANNOTATOR = 3.0
"""Seconds behind an event after which who annotates says what it was."""
ORDERS = 32
"""That may wait."""
PICTURES = 30
"""A second, at most."""
_BEHIND = 0.25  # seconds that a stream may catch up at once
_LOOK = 1.0  # seconds between two looks at memory and the chip's counts
_CURVE = 5.0  # seconds of the stream between two points of the curves
_IDLE = 0.05
_LEAVES = 0.2  # seconds in which the main thread has seen Ctrl-C


@dataclass
class Settings:
    """speed: times real time, 0 for as fast as it goes; learning: annotations are given to the chip;
    minutes: of the stream, 0 for no end."""

    speed: float = 1.0
    learning: bool = False
    minutes: float = 0.0


class Stream(threading.Thread):
    """Runs until `stop`, its minutes are over, or something fails: `failed` then says what.

    measured: (share of the minutes, resident bytes) of tenths of them, where they end
    took:     seconds since it began
    picture:  what there is to see, made anew PICTURES times a second
    """

    def __init__(self, beside: Beside, recording: Recording, settings: Settings) -> None:
        super().__init__(name="stream", daemon=True)
        self.beside, self.recording, self.settings = beside, recording, settings
        self.failed: Exception | None = None
        self.paused, self.took = False, 0.0
        self.measured: list[tuple[float, int | None]] = []
        self.judge = Judge(recording, self._samples(WITHIN), self._samples(PATIENCE))
        self._trace = Trace(self._samples(SHOWN))
        self._accuracy, self._memory = Curve(), Curve()
        self._orders: queue.Queue[Order] = queue.Queue(ORDERS)
        self._taught: list[Event] = []
        self._ending, self._wake = threading.Event(), threading.Event()
        self._learned = 0
        self._resident: int | None = None
        self._looked = self._curved = float("-inf")
        self._pace, self._paced_at = 0.0, 0
        self._rate = (time.monotonic(), 0, 0.0)  # when it was looked at, pushes then, times real time since
        self.ended: Callable[[], object] = lambda: None
        self.leaving: Callable[[], bool] = lambda: False
        self._published = float("-inf")
        self.picture = self._picture()

    def _samples(self, seconds: float) -> int:
        return round(seconds * self.recording.rate)

    # -- what others call -----------------------------------------------------------------------------------

    def ask(self, order: Order) -> bool:
        """Whether an order was taken: not where ORDERS wait already."""
        try:
            self._orders.put_nowait(order)
        except queue.Full:
            return False
        self._wake.set()
        return True

    def stop(self) -> None:
        """Ends the thread behind what it is at."""
        self._ending.set()
        self._wake.set()

    def _facts(self) -> Facts:
        b, j = self.beside, self.judge
        wrong = self.failed.difference.bytes if isinstance(self.failed, Differs) else 0
        return Facts(
            seconds=(b.newest + 1) / self.recording.rate, pushes=b.pushes, marks=b.marks, differing=wrong,
            compared=(b.pushes + b.marks) * b.plan.state_bytes, learned=self._learned, recent=j.recent(),
            f1=j.f1(), judged=j.judged, missed=j.missed, extra=j.extra, resident=self._resident,
            chip=b.plan.state_bytes + b.plan.arena_bytes, speed=self.settings.speed, reached=self._rate[2],
            paused=self.paused, learning=self.settings.learning, ended=self._ending.is_set(),
            fault=str(self.failed or ""),
        )  # fmt: skip

    # -- the thread -----------------------------------------------------------------------------------------

    def run(self) -> None:
        """Until it ends; `ended` is then called. Where `leaving` says that all is to end, a device that is
        gone is no fault."""
        began = time.monotonic()
        try:
            while not self._ending.is_set() and not self._over():
                self._obey()
                if self._due():
                    self._step()
                self._look()
                self._publish()
        except DeviceError as error:  # Ctrl-C reaches a firmware, too, that is a process of this terminal
            time.sleep(_LEAVES)
            self.failed = None if self.leaving() else error
        except Exception as error:  # whoever waits for the thread raises it
            self.failed = error
        finally:
            self._ending.set()
            self.took = time.monotonic() - began
            self.picture = self._picture()
            self.ended()

    def _over(self) -> bool:
        """Whether the minutes are; looks at memory at each tenth of them."""
        if not self.settings.minutes:
            return False
        share = (self.beside.newest + 1) / self.recording.rate / 60 / self.settings.minutes
        if share >= (len(self.measured) + 1) / 10:
            self.measured.append((share, resident()))
        return share >= 1

    def _due(self) -> bool:
        """Waits until the next push is, or an order comes; whether it is due."""
        if self.paused:
            self._wait(_IDLE)
            return False
        filling = self.beside.newest + 1 < self._trace.room
        if filling or not self.settings.speed:
            self._pace = 0.0
            return True
        now = time.monotonic()
        if not self._pace:
            self._pace, self._paced_at = now, self.beside.pushes
        one = self.beside.size / self.recording.rate / self.settings.speed
        due = self._pace + (self.beside.pushes - self._paced_at) * one
        if due < now - _BEHIND:  # what cannot keep pace does not catch up
            self._pace = 0.0
        return due <= now or (not self._wait(min(due - now, _IDLE)) and due <= time.monotonic())

    def _wait(self, seconds: float) -> bool:
        """Whether somebody woke it within so many seconds."""
        woken = self._wake.wait(seconds)
        self._wake.clear()
        return woken

    def _step(self) -> None:
        b = self.beside
        row = self.recording.piece(b.newest + 1, b.size)
        answer = b.push(row)
        self._trace.add(row)
        if answer:
            event = self.judge.add(answer)
            if self.settings.learning and event.truth != UNKNOWN:
                self._taught.append(event)
        while self._taught and self._taught[0].answer.at + self._samples(ANNOTATOR) <= b.newest:
            event = self._taught.pop(0)
            if event.given == UNKNOWN:
                self._teach(event, event.truth)

    def _teach(self, event: Event, label: int) -> None:
        """A label for an event: learned, or too late."""
        found = self.beside.mark(label, self.beside.newest - event.answer.at)
        event.given, event.how = label, LEARNED if found else LATE
        self._looked = self._published = float("-inf")

    def _deny(self, event: Event, label: int) -> None:
        """A class that an event was not: learned as the likeliest other one, or too late."""
        found = self.beside.deny(label, self.beside.newest - event.answer.at)
        event.given, event.how = (label, LATE) if found is None else (found, LEARNED)
        self._looked = self._published = float("-inf")

    def _obey(self) -> None:
        """Does what pages have asked for."""
        while True:
            try:
                order = self._orders.get_nowait()
            except queue.Empty:
                return
            if order.do in ("label", "deny"):
                event = self.judge.find(order.event)
                if event and event.how in (NONE, LATE):
                    (self._teach if order.do == "label" else self._deny)(event, order.label)
            elif order.do == "learn":
                self.settings.learning = order.on
                self._taught = self._taught if order.on else []
            elif order.do == "pause":
                self.paused, self._pace = order.on, 0.0
            elif order.do == "speed":
                self.settings.speed, self._pace = order.times, 0.0
            elif order.do == "stop":
                self._ending.set()
            self._published = float("-inf")

    def _look(self) -> None:
        """Now and then: memory, what the chip counts, how fast it goes; a point of the curves."""
        now, seconds = time.monotonic(), (self.beside.newest + 1) / self.recording.rate
        if now >= self._looked + _LOOK:
            learned = self.beside.stats().learned
            then, pushes, _ = self._rate
            lasted = max(now - then, 1e-9)
            self._looked, self._learned, self._resident = now, learned, resident()
            if lasted >= _LOOK:
                done = (self.beside.pushes - pushes) * self.beside.size / self.recording.rate
                self._rate = (now, self.beside.pushes, done / lasted)
        if seconds >= self._curved + _CURVE:
            self._curved = seconds
            if self.judge.judged:
                self._accuracy.add(seconds, self.judge.recent())
            self._memory.add(seconds, [self._resident or 0])

    def _publish(self) -> None:
        """A new picture, if it is time for one."""
        if time.monotonic() >= self._published + 1 / PICTURES:
            self._published = time.monotonic()
            self.picture = self._picture()

    def _picture(self) -> Picture:
        b, events = self.beside, self.judge.events
        trace = self._trace.last()
        rows = {e.answer.row: e for e in events}  # of each row the last one
        shown = [e for e in events if e.answer.at > b.newest - len(trace)]
        told = [(replace(e), rows[e.answer.row] is e and b.waits(e.answer.row)) for e in shown]
        curves = (tuple(self._accuracy.points), tuple(self._memory.points))
        return Picture(b.newest, trace, told, self._facts(), curves)
