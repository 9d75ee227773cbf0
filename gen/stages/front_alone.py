"""A front end without a network: what training and calibration see is what the chip makes of its samples.

The Plan has one entry program, `push`, of the same steps as before a network, for as many frames at a time as
is wanted; it leaves the windows' signals in the arena. Whoever runs it cuts the windows out of these.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..frontends import INT16, Beat, Event, Feed, FrontTape, Input, Rhythm, Sliding, write
from ..ir.plan import PUSH, Plan, PlanTensor, padded
from ..ir.program import Builder, Entry, Item, Program, Step, Value
from ..ops import Format, kernel
from ..spec import FrontEnd
from .stream import AGO, MADE, flag, lateness, together

WAIT = "wait"
"""A program that does nothing: an engine runs it behind each push, whose signals it keeps."""
FILL = "fill"
COUNTER, FLAG = Format("uint32", 0, 0, 2**32 - 1), Format("uint8", 0, 0, 1)


@dataclass(frozen=True, slots=True)
class FrontAlone:
    """A front end on its own: its Plan, and what ends in a network, whose signals are tensors of it.

    made: by input the tensor with what its feed makes of an event, much finer than a network's input; none of
          windows, which are cut out of their signals
    events: by the names of the blocks that find them
    """

    plan: Plan
    feeds: tuple[Feed, ...]
    made: Mapping[str, str]
    events: Mapping[str, Event]


def front_alone(front: FrontEnd, frames: int) -> FrontAlone:
    """The front end, given `frames` at a time, a multiple of its push. CompileError where it cannot be."""
    b, made = Builder(), {}
    with b.program(PUSH, "samples through the front end"):
        tape = FrontTape(b, replace(front, push=frames))
        write(tape)
        together(tape.feeds)
        if frames == front.push and any(eventful(f) for f in tape.feeds):
            made = _at_events(tape)
    formats = {n: v.format or (FLAG if v.role == "flag" else COUNTER) for n, v in b.values.items()}
    programs = {
        name: Program(name, p.doc, tuple(_lowered(i, formats) for i in p.items))
        for name, p in b.programs.items()
    }
    programs[WAIT] = Program(WAIT, "nothing", ())
    tensors, sizes = [], {"const": 0, "state": 0, "arena": 0}
    for v in b.values.values():
        t = _tensor(v, formats[v.name], sizes[v.space])
        tensors.append(t)
        sizes[v.space] += -(-t.nbytes // 4) * 4
    entries = tuple(Entry(name, (tape.raw,)) for name in (PUSH, WAIT))
    size = (b.values[tape.raw].size,)
    plan = Plan(
        "frontend", tuple(tensors), programs, entries, (tape.raw,), (size,), ("samples",), tape.raw, 1,
        sizes["state"], sizes["arena"],
    )  # fmt: skip
    return FrontAlone(plan, tuple(tape.feeds), made, tape.events)


def eventful(feed: Feed) -> bool:
    """Whether it is not by a clock alone when its windows are asked."""
    return feed.at is not None or (isinstance(feed, Sliding) and feed.unless is not None)


def _at_events(tape: FrontTape) -> dict[str, str]:
    """The clock of events, and what feeds other than windows make of one, by their inputs."""
    made, late = {}, lateness(tape.feeds)
    for f in tape.feeds:
        if isinstance(f, Beat | Rhythm):
            shape = (f.length,) if isinstance(f, Beat) else (4,)
            fmt = Format("int16", 14 - max(0, math.frexp(f.limit)[1] - 1), *INT16)
            value = Value(f.name("made"), shape, "arena", "sample", format=fmt)
            made[f.input] = Input(tape.b.add(value), shape)
            f.keep(tape, made[f.input], late)
    tape.b.when(flag(tape, tape.feeds), FILL)
    for name in (MADE, AGO):  # of one push, each written by it
        tape.b.values[name] = replace(tape.b.values[name], space="arena", ints=None)
    with tape.b.program(FILL, "what the feeds make of an event"):
        for f in tape.feeds:
            if f.input in made:
                f.fill(tape, made[f.input], AGO)
    return {name: to.value for name, to in made.items()}


def _lowered(item: Item, formats: Mapping[str, Format]) -> Item:
    if not isinstance(item, Step):
        return item
    fmt = {role: formats[name] for role, name in item.args.items()}
    attrs = kernel(item.kernel).lower(fmt, item.attrs, item.node)
    return replace(item, attrs=dict(sorted(attrs.items())))


def _tensor(v: Value, fmt: Format, offset: int) -> PlanTensor:
    start = np.zeros(v.shape, fmt.dtype) if v.ints is None else np.asarray(v.ints, fmt.dtype)
    data = None if v.space == "arena" else padded(start, v.size)
    return PlanTensor(
        v.name, fmt.dtype, v.shape, v.size, v.space, offset, fmt.meaning, fmt.lo, fmt.hi, v.role, v.use,
        v.note, data,
    )  # fmt: skip
