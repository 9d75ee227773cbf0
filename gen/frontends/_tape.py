"""What blocks write on: signals of one push, what the state keeps, events, and what ends in the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..errors import CompileError
from ..ir.format import Format
from ..ir.program import Builder, Number, Value
from ..ir.roles import STREAM
from ..ops.signal import LIMIT
from ..spec.frontend import SAMPLES, BlockSpec, FrontEnd
from ..words import nearest, short

if TYPE_CHECKING:
    from ._feeds import Feed

FRAC = 8
"""Bits behind the point of a signal: what filters round off is far below a step of the converter."""
INT16 = (-(2**15), 2**15 - 1)
PREFIX = "front"


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal of one push: the value that holds it, int32 [frames * channels], Q8.

    rate:   frames a second, in Hz
    lo, hi: every value lies between them, whatever samples come
    """

    name: str
    frames: int
    channels: int
    rate: float
    lo: int
    hi: int

    @property
    def size(self) -> int:
        return self.frames * self.channels

    @property
    def top(self) -> int:
        """Its largest magnitude."""
        return max(-self.lo, self.hi)


@dataclass(frozen=True, slots=True)
class Event(Signal):
    """A signal of events, Q0: of each frame 0, or how many frames before it one was that is certain now.

    latest:  frames behind an event in which it is told yet
    spacing: frames from one to the next, at least
    """

    latest: int = 0
    spacing: int = 1


@dataclass
class FrontTape:
    """The steps of one front end, in the program that is open in `b`.

    feeds:  what fills the network's inputs, in the order of their blocks
    events: what blocks found, by their names; doubts: signals that are not 0 where these cannot be trusted
    """

    b: Builder
    front: FrontEnd
    feeds: list[Feed] = field(default_factory=list)
    events: dict[str, Event] = field(default_factory=dict)
    doubts: dict[str, Signal] = field(default_factory=dict)
    SAMPLES: ClassVar[str] = SAMPLES
    made: Mapping[str, Signal] = field(
        default_factory=dict
    )  # the signals that there are, by their blocks' names

    @property
    def raw(self) -> str:
        """The value that a caller fills: int16 [push * channels], the channels of a frame side by side."""
        name = f"{PREFIX}_{SAMPLES}"
        if name not in self.b.values:
            size = self.front.push * self.front.channels
            self.b.add(
                Value(name, (size,), "arena", "sample", use="input", format=Format("int16", 0, *INT16))
            )
        return name

    def samples(self) -> Signal:
        """The raw samples as a signal."""
        front, lo, hi = self.front, *(v << FRAC for v in INT16)
        x = Signal("push_raw", front.push, front.channels, front.rate, lo, hi)
        self._add(x)
        self.b.step("signal.take", PREFIX, {"x": self.raw, "y": x.name}, channels=front.channels)
        return x

    def signal(
        self,
        own: BlockSpec,
        like: Signal,
        lo: int,
        hi: int,
        frames: int = 0,
        channels: int = 0,
        part: str = "",
        frac: int = FRAC,
    ) -> Signal:
        """A new signal within limits, like another one where nothing else is said; `part` names one within a
        block, `frac` its bits behind the point. CompileError where it could leave what 32 bits hold."""
        frames = frames or like.frames
        name = "_".join(filter(None, (PREFIX, own.name, part)))
        rate = like.rate * frames / like.frames
        made = Signal(name, frames, channels or like.channels, rate, lo, hi)
        if made.top > LIMIT:
            what = f"may reach {made.top / 2.0**FRAC:.3g}, {LIMIT >> FRAC} is the most"
            raise self.error(own, what, "damp the signal before: a lower gain or Q, a shorter window")
        self.free(own, name)
        self._add(made, frac)
        return made

    def event(self, own: BlockSpec, like: Signal, most: int, latest: int, spacing: int) -> Event:
        """A new signal of events of a block, up to `most` frames old, for those who ask for its name."""
        name = f"{PREFIX}_{own.name}"
        self.free(own, name)
        made = Event(name, like.frames, 1, like.rate, 0, most, latest, spacing)
        self._add(made, 0)
        self.events[own.name] = made
        return made

    def event_of(self, own: BlockSpec, key: str = "at") -> Event | None:
        """The events whose block the option names; None where it is empty."""
        name = str(own[key])
        if name and name not in self.events:
            known = ", ".join(self.events) or "none"
            what = f'{key} = "{short(name)}" is no block before it that finds events'
            raise self.error(own, what, f"{nearest(name, tuple(self.events))}those are {known}")
        return self.events[name] if name else None

    def doubt(self, own: BlockSpec) -> Signal | None:
        """The signal that option `unless` names: that of a block, or the doubt of one that finds events."""
        name = str(own["unless"])
        known = {**self.made, **self.doubts}
        if name and name not in known:
            what = f'unless = "{short(name)}" is no block before it that has a signal'
            raise self.error(own, what, f"{nearest(name, tuple(known))}those are {', '.join(known)}")
        return known[name] if name else None

    def free(self, own: BlockSpec, name: str) -> None:
        """CompileError where another block has made this name of its own."""
        if name in self.b.values:
            what = f"would make a second tensor {name}"
            raise self.error(own, what, "give one of the blocks another name")

    def _add(self, x: Signal, frac: int = FRAC) -> None:
        fmt = Format("int32", frac, x.lo, x.hi)
        self.b.add(Value(x.name, (x.size,), "arena", "signal", format=fmt))

    def kept(self, own: BlockSpec, what: str, size: int, lo: int, hi: int, frac: int = FRAC) -> str:
        """A vector of the state that begins as zeros, within limits that hold 0."""
        start = np.zeros(size, np.int32)
        fmt = Format("int32", frac, lo, hi)
        name = f"{PREFIX}_{own.name}_{what}"
        self.free(own, name)
        return self.b.add(Value(name, (size,), "state", "signal", ints=start, use=STREAM, format=fmt))

    def counter(
        self, name: str, note: str, start: int = 0, own: BlockSpec | None = None, size: int = 1
    ) -> str:
        """A counter of the state, or several, of a block where `own` is given."""
        if own is not None:
            self.free(own, name := f"{PREFIX}_{own.name}_{name}")
        ints = np.full(size, start, np.uint32)
        return self.b.add(Value(name, (size,), "state", "counter", ints=ints, use=STREAM, note=note))

    def step(self, kernel: str, own: BlockSpec, args: Mapping[str, str], **attrs: Number) -> None:
        self.b.step(kernel, f"{PREFIX}_{own.name}", args, **attrs)

    def error(self, own: BlockSpec, what: str, hint: str) -> CompileError:
        """What is wrong with a block."""
        return CompileError(f"frontend block {own.name}", what, hint)

    def frames(self, own: BlockSpec, key: str, x: Signal, least: int, most: int) -> int:
        """The option `key`, in ms, as frames of x, the nearest number; CompileError beyond least .. most."""
        ms = float(own[key])
        n = round(ms * x.rate / 1000)
        if not least <= n <= most:
            what = f"{key} = {ms:g} ms is {n} {'sample' if n == 1 else 'samples'} at {x.rate:g} Hz"
            hint = f"give {least / x.rate * 1000:.4g} to {most / x.rate * 1000:.4g} ms"
            raise self.error(own, what, hint)
        return n

    def hertz(self, own: BlockSpec, key: str, x: Signal, share: float = 0.5) -> float:
        """The option `key`, in Hz, which must lie below this share of the rate of x."""
        f = float(own[key])
        if not 0 < f < share * x.rate:
            what = f"{key} = {f:g} Hz, and its signal has {x.rate:g} samples a second"
            raise self.error(own, what, f"give a frequency below {share * x.rate:g} Hz")
        return f
