"""The ends of a front end: what fills an input of the network when its moment has come.

A feed keeps what it must while samples come (`keep`, in the program of a push) and makes the input of it
(`fill`, in the program that runs when a window has ended).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from ..errors import CompileError
from ..ir.format import Format
from ..ir.program import Number, Value
from ..ir.roles import STREAM
from ..ops import beat
from ..ops.ring import FRAMES
from ..spec.options import Word
from ._tape import INT16, PREFIX, Event, FrontTape, Signal

UNLESS = Word("unless", "a block that says when samples cannot be trusted: its windows are not asked then")


@dataclass(frozen=True, slots=True)
class Input:
    """An input of the network as a feed sees it.

    value:         the tensor that it fills
    shape:         of it
    offset, scale: what the network itself takes off it, and multiplies that with
    """

    value: str
    shape: tuple[int, ...]
    offset: float = 0.0
    scale: float = 1.0

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))


@dataclass(frozen=True, slots=True)
class Feed(ABC):
    """What fills the input `input`: at events, or every so often where there are none.

    at: the events, None for a clock
    """

    input: str
    at: Event | None

    @abstractmethod
    def keep(self, tape: FrontTape, to: Input, late: int) -> None:
        """The steps of each push. late: how many frames of its own may come behind its end."""

    @abstractmethod
    def fill(self, tape: FrontTape, to: Input, ago: str) -> None:
        """The steps when it has ended; `ago` counts the frames that came since."""

    def step(self, tape: FrontTape, kernel: str, args: dict[str, str], **attrs: Number) -> None:
        tape.b.step(kernel, f"{PREFIX}_{self.input}", args, **attrs)

    def name(self, what: str) -> str:
        return f"{PREFIX}_{self.input}_{what}"

    def error(self, what: str, hint: str) -> CompileError:
        return CompileError("frontend", what, hint)


@dataclass(frozen=True, slots=True)
class Sliding(Feed):
    """A feed with a ring: the last `length` frames of x, or those about an event.

    length, before, settle: in frames: of it, before the event of these, and since the start before it begins
    unless: a signal; where it was not 0 since the window's first frame, nobody asks; None: nothing
    """

    x: Signal
    length: int
    before: int
    settle: int
    unless: Signal | None

    @property
    def after(self) -> int:
        """Frames behind an event until it has ended."""
        return self.length - 1 - self.before

    def rows(self, late: int) -> int:
        """Of the ring."""
        n = self.length + late
        if n > FRAMES[1]:
            what = f"window {self.input} has {self.length} samples"
            raise self.error(what, f"take up to {FRAMES[1] - late}, or decimate before")
        return n


@dataclass(frozen=True, slots=True)
class Window(Sliding):
    """A window of a signal: (v - offset) * scale of each value.

    hop: in frames; without events, the first one ends `settle + length` frames after the start
    """

    hop: int
    offset: float
    scale: float

    def keep(self, tape: FrontTape, to: Input, late: int) -> None:
        offset, scale = self.offset + to.offset / self.scale, self.scale * to.scale
        rows = self.rows(late)
        self.planar(to)
        empty = np.zeros(rows * self.x.channels, np.int8)
        role = tape.b.values[to.value].role
        ring = Value(self.name("ring"), empty.shape, "state", role, ints=empty, tie=to.value, use=STREAM)
        args = {"x": self.x.name, "table": tape.b.add(ring)}
        args["at"] = tape.counter(self.name("at"), "where the next sample of the window lies")
        numbers = {"rows": rows, "channels": self.x.channels}
        self.step(tape, "ring.write", args, offset=offset, scale=scale, **numbers)

    def fill(self, tape: FrontTape, to: Input, ago: str) -> None:
        args = {"table": self.name("ring"), "at": self.name("at"), "ago": ago, "x": to.value}
        self.step(tape, "ring.read", args, channels=self.x.channels, planar=self.planar(to))

    def planar(self, to: Input) -> int:
        """Whether the input has a channel behind another. CompileError where it is no window of this size."""
        shape, channels = to.shape, self.x.channels
        sizes = tuple(n for n in shape if n > 1) or (1,)
        if to.size != self.length * channels:
            told = f"{self.length} samples" + (f" of {channels} channels" if channels > 1 else "")
            told = f"window {self.input} holds {told} at {self.x.rate:g} Hz"
            wanted = to.size / channels / self.x.rate * 1000
            hint = f"give a length of {wanted:g} ms, or another rate"
            raise self.error(f"{told}, and the input has shape {list(shape)}", hint)
        if channels == 1 or len(sizes) == 1:
            return 0
        if channels == self.length:
            what = f"input {self.input} has shape {list(shape)}: either axis may be the channels"
            raise self.error(what, "give the window another length")
        if sizes not in ((channels, self.length), (self.length, channels)):
            what = f"{channels} channels of {self.length} samples"
            hint = "take a network whose input is [channels, samples] or the reverse"
            raise self.error(f"input {self.input} has shape {list(shape)}, not {what}", hint)
        return int(sizes == (channels, self.length))


@dataclass(frozen=True, slots=True)
class Beat(Sliding):
    """A window about a beat, over the mean peak of the beats before (gen/ops/beat.py).

    frac:        bits behind the point of the ring; larger values than it holds are held
    first, last: between which of its values its peak lies
    many:        the mean is that of 2^many beats
    floor:       the least mean that it is divided by, in steps of the converter
    scale, limit: of what it makes: no value is larger
    """

    frac: int
    first: int
    last: int
    many: int
    floor: float
    scale: float
    limit: float

    def keep(self, tape: FrontTape, to: Input, late: int) -> None:
        rows = self.rows(late)
        if to.size != self.length:
            what = f"beat {self.input} holds {self.length} samples at {self.x.rate:g} Hz"
            hint = f"give a length of {to.size / self.x.rate * 1000:g} ms, or another rate"
            raise self.error(f"{what}, and the input has shape {list(to.shape)}", hint)
        _plain(self, to)
        fmt = Format("int16", self.frac, *INT16)
        empty = np.zeros(rows, np.int16)
        ring = Value(self.name("ring"), (rows,), "state", "signal", ints=empty, use=STREAM, format=fmt)
        args = {"x": self.x.name, "table": tape.b.add(ring)}
        args["at"] = tape.counter(self.name("at"), "where the next sample of the window lies")
        self.step(tape, "ring.write", args, offset=0.0, scale=1.0, rows=rows, channels=1)
        fmt = Format("int32", self.frac + beat.FRAC, 0, 2**15 << beat.FRAC)
        none = np.zeros(1, np.int32)
        tape.b.add(Value(self.name("mean"), (1,), "state", "signal", ints=none, use=STREAM, format=fmt))

    def fill(self, tape: FrontTape, to: Input, ago: str) -> None:
        rows = tape.b.values[self.name("ring")].shape[0]
        args = {"table": self.name("ring"), "at": self.name("at"), "ago": ago}
        args |= {"mean": self.name("mean"), "x": to.value}
        numbers = {"rows": rows, "first": self.first, "last": self.last, "many": self.many}
        real = {"floor": self.floor, "scale": self.scale * to.scale, "limit": self.limit * to.scale}
        self.step(tape, "beat.window", args, **numbers, **real)


@dataclass(frozen=True, slots=True)
class Rhythm(Feed):
    """Four features of the intervals between events: gain * log2 of ratios (gen/ops/beat.py).

    usual: frames of an interval, where there was none yet; many: the mean is that of 2^many
    """

    usual: float
    many: int
    gain: float
    limit: float

    def keep(self, tape: FrontTape, to: Input, late: int) -> None:
        if to.size != 4:
            what = f"rhythm {self.input} makes 4 features, and the input has shape {list(to.shape)}"
            raise self.error(what, "give a network with 4 inputs there, or none")
        _plain(self, to)
        fmt = Format("int32", beat.FRAC, 0, beat.TOP << beat.FRAC)
        for what, size, start in ("past", 2, 0), ("mean", 1, round(self.usual * 2**beat.FRAC)):
            ints = np.full(size, start, np.int32)
            tape.b.add(Value(self.name(what), (size,), "state", "signal", ints=ints, use=STREAM, format=fmt))

    def fill(self, tape: FrontTape, to: Input, ago: str) -> None:
        args = {"interval": "push_interval", "past": self.name("past"), "mean": self.name("mean")}
        numbers = {"usual": self.usual, "many": self.many}
        real = {"gain": self.gain * to.scale, "limit": self.limit * to.scale}
        self.step(tape, "beat.rhythm", args | {"x": to.value}, **numbers, **real)


def _plain(feed: Feed, to: Input) -> None:
    """CompileError where the network takes something off an input that is held within a limit about 0."""
    if to.offset:
        what = f"the network takes {to.offset:g} off input {feed.input}, which lies about 0 as it is"
        raise feed.error(what, "normalise before the network, or fill the input by a block of kind window")
