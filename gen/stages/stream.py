"""A front end in front of a network: the entry program `push`, which takes raw samples.

push      (entry)  the blocks of the front end; each window's signal into its ring, in the integers of the
                   network's input; and `window_infer` where a window has ended: by a clock, or about an event
window_infer       the network's inputs out of the rings, and infer; they are kept for `mark` (pending.py)
mark      (entry)  a label for the window that stands where it says, and learn, if there is one; deny (entry)
                   says what that window was not
reset     (entry)  all of that as compiled: a stream that was cut begins anew; what recurrent layers remember
                   from window to window, too ([state], timed.py)

What a push says of itself lies in the state: `push_made`, 1 where it ended in a verdict, and `push_ago`, how
many frames came after the end of that verdict's window. The verdict lies where that of `infer` does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from ..errors import CompileError
from ..frontends import Feed, FrontTape, Input, Sliding, Window, write
from ..ir.inputs import listed
from ..ir.plan import PUSH, UNLABELLED, Plan
from ..ir.program import Call, Entry, Value
from ..ir.roles import STREAM
from ..ops.event import TOP as LONG_AGO
from ..rules import RuleTape
from ..spec import FrontEnd
from ..words import nearest
from .pending import Pending

ANSWER, BEGIN_AGAIN, RESET = "window_infer", "begin_again", "reset"
DUE, NEXT, TAKE, FINDS = "ring.due", "event.next", "signal.take", "qrs.detect"
MADE, AGO = "push_made", "push_ago"
PENDING = 64
"""Events that may wait until what is behind them has come, at most."""
SPARE = 2
"""Places for events that are found late, beside those that come in between."""


def streamed(tape: RuleTape, front: FrontEnd) -> list[Entry]:
    """Emits `push` and what it calls, `mark` where labels may come late, and what `reset` does to it; the
    entry programs that are new.

    Raises CompileError where what ends in the network and its inputs do not fit.
    """
    b = tape.b
    with b.program(PUSH, f"{front.push} samples of each channel; a verdict where a window has ended"):
        made = FrontTape(b, front)
        write(made)
        feeds = _matched(tape, made)
        inputs = {f.input: _input(tape, f.input) for f in feeds}
        late = lateness(feeds)
        for f in feeds:
            f.keep(made, inputs[f.input], late)
        pending = Pending(tape, made, feeds) if tape.spec.mark else None
        if pending:
            pending.tick()
        b.when(flag(made, feeds), ANSWER)
    with b.program(ANSWER, "class, margin and scores of the window that has ended"):
        if pending and UNLABELLED in b.programs:
            pending.forget(UNLABELLED)
        for f in feeds:
            f.fill(made, inputs[f.input], AGO)
        if pending:
            pending.enter()
        b.call("infer")
    own = pending.entries() if pending else []
    return [Entry(PUSH, (made.raw,)), *own]


def forgets(tape: RuleTape) -> list[Entry]:
    """Program `reset`: what is kept of the stream begins again. A rule's own does its own part before."""
    b, front = tape.b, tape.spec.frontend
    what = "filters, windows and clocks of the front end" if front else "what recurrent layers remember"
    with b.program(BEGIN_AGAIN, f"{what} as compiled"):
        for v in [
            v for v in b.values.values() if v.use == STREAM and len(v.shape) == 1
        ]:  # not rows that are closed
            assert v.ints is not None, v.name
            b.step("signal.fill", "front" if front else "state", {"x": v.name}, value=int(v.ints.flat[0]))
    if own := b.programs.get(RESET):
        b.programs[RESET] = replace(own, items=(*own.items, Call(BEGIN_AGAIN)))
        return []
    with b.program(RESET, "forgets the stream of samples; what was learned stays"):
        b.call(BEGIN_AGAIN)
    return [Entry(RESET)]


@dataclass(frozen=True, slots=True)
class Clock:
    """What a Plan's front end is given, and when its windows end.

    frames:   that come with a push, as its clock or its events have them
    channels: of raw samples
    hop:      frames from the end of one to the next; 0 where they stand about events
    most:     frames after which the first one ends at the latest, or before which none does
    pace:     frames from one event to the next that who finds them may take for usual; 0 without events
    """

    frames: int
    channels: int
    hop: int
    most: int
    pace: int


def clock_of(plan: Plan) -> Clock:
    """The clock of a Plan that has a front end."""
    steps = {step.kernel: step for _, _, step in plan.ops() if step.kernel in (DUE, NEXT, TAKE, FINDS)}
    channels = int(steps[TAKE].attrs["channels"])
    if NEXT in steps:
        step = steps[NEXT]
        frames = plan[step.args["y"]].count
        pace = int(steps[FINDS].attrs["longest"]) // 3 if FINDS in steps else frames
        return Clock(frames, channels, 0, int(step.attrs["settle"]), pace)
    frames, hop, most = (int(steps[DUE].attrs[key]) for key in ("frames", "hop", "most"))
    return Clock(frames, channels, hop, most, 0)


def _matched(tape: RuleTape, made: FrontTape) -> list[Feed]:
    """What ends in the network, in the order of its inputs; one for each."""
    inputs, found = tape.graph.inputs, {f.input: f for f in made.feeds}
    for name in found:
        if name not in inputs:
            hint = f"{nearest(name, inputs)}the network's inputs are {listed(inputs)}"
            raise CompileError("frontend", f'window "{name}" fills no input', hint)
    for name in inputs:
        if name not in found:
            hint = f'add a block of kind = "window" with name = "{name}"'
            raise CompileError("frontend", f"nothing fills input {name}", hint)
    feeds = [found[name] for name in inputs]
    together(feeds)
    return feeds


def together(feeds: Sequence[Feed]) -> None:
    """CompileError where feeds do not end at one moment."""
    sliding = [f for f in feeds if isinstance(f, Sliding)]
    if not sliding:
        raise CompileError(
            "frontend", "has no window, so that nothing ever ends", 'add a block of kind = "window"'
        )
    first = sliding[0]
    for f in feeds:
        if f.at is not first.at:
            what = f"{first.input} and {f.input} do not stand about the same events"
            raise CompileError("frontend", what, "give both the same at, or none")
    for w in sliding:
        ends = (w.x.frames, w.after if w.at else 0, w.hop if isinstance(w, Window) and not w.at else 0)
        ours = (first.x.frames, first.after if first.at else 0)
        if ends != (*ours, first.hop if isinstance(first, Window) and not first.at else 0):
            what = f"windows {first.input} and {w.input} do not end together"
            hint = "give their signals one rate, and both as much behind the event"
            raise CompileError(
                "frontend", what, hint if first.at else "give their signals one rate, and both one hop"
            )


def every(first: Sliding) -> int:
    """Frames of the events' signal to one of the window's."""
    assert first.at is not None
    by = first.at.frames // first.x.frames
    if by * first.x.frames != first.at.frames:
        what = f"window {first.input} has {first.x.rate:g} samples a second, its events {first.at.rate:g}"
        raise CompileError(
            "frontend", what, "let the one be a whole multiple of the other: decimate behind both"
        )
    return by


def lateness(feeds: Sequence[Feed]) -> int:
    """How many frames of the windows may lie behind their end when they are read."""
    first = next(f for f in feeds if isinstance(f, Sliding))
    if first.at is None:
        return first.x.frames - 1
    by = every(first)
    return max(first.at.latest - first.after * by + by // 2, 0) // by


def flag(made: FrontTape, feeds: Sequence[Feed]) -> str:
    """The step that says whether a window has ended; the flag that it writes."""
    first = next(f for f in feeds if isinstance(f, Sliding))
    settle = max(f.settle + f.length for f in feeds if isinstance(f, Sliding))
    if first.at is None:
        assert isinstance(first, Window)
        return _unless(made, feeds, _due(made, first, settle))
    by, after = every(first), first.after * every(first)
    args = {
        "y": first.at.name,
        "pending": made.counter("push_pending", "ages of events not told yet", size=_waiting(first, after)),
        "last": made.counter("push_last", "the age of the last one that was"),
        "wait": made.counter("push_wait", "samples until the first one may be", settle * by),
        "interval": made.counter("push_interval", "samples from the event before to this one"),
        **_told(made),
    }
    numbers = {"after": after, "most": first.at.latest - after, "by": by, "settle": settle * by}
    made.b.step(NEXT, "front", args, **numbers)
    return _unless(made, feeds, args["flag"])


def _waiting(first: Sliding, after: int) -> int:
    """Events that may wait; CompileError where more could come in a push than are told, or wait too long."""
    at = first.at
    assert at is not None
    ms = 1000 / at.rate
    if at.frames > at.spacing:
        what = f"a push is {at.frames * ms:.4g} ms, and events may come every {at.spacing * ms:.4g} ms"
        raise CompileError("frontend", f"{what}: one is told a push", "give a smaller push")
    if after + at.frames > at.latest:
        what = f"window {first.input} ends {after * ms:.4g} ms behind its event, which is told up to"
        hint = "give a larger latest, or a window that ends sooner"
        raise CompileError("frontend", f"{what} {at.latest * ms:.4g} ms behind it", hint)
    most = -(-after // at.spacing) + SPARE
    if most > PENDING:
        what = f"{most} events may come before window {first.input} of the first one has ended"
        raise CompileError("frontend", f"{what}, {PENDING} may wait", "give a window that ends sooner")
    return max(most, 2 * SPARE)


def _unless(made: FrontTape, feeds: Sequence[Feed], told: str) -> str:
    """Nothing has ended where a window's samples cannot be trusted; the flag."""
    for f in feeds:
        if isinstance(f, Sliding) and f.unless:
            ratio = Fraction(f.unless.frames, f.x.frames)
            name, note = f.name("calm"), "samples since it could not be trusted"
            args = {"x": f.unless.name, "ago": AGO, "since": made.counter(name, note, LONG_AGO)}
            numbers = {
                "length": math.ceil(f.length * ratio),
                "every": ratio.numerator,
                "part": ratio.denominator,
            }
            made.b.step("event.unless", "front", args | {"made": MADE, "flag": told}, **numbers)
    return told


def _told(made: FrontTape) -> dict[str, str]:
    """What is said of each push."""
    return {
        "made": made.counter(MADE, "1 where the last push ended in a verdict"),
        "ago": made.counter(AGO, "samples of the last push behind the end of its window"),
        "flag": made.b.add(Value("push_ended", (1,), "arena", "flag")),
    }


def _due(made: FrontTape, first: Window, start: int) -> str:
    if first.hop < first.x.frames:
        what = f"window {first.input} ends every {first.hop} samples, and {first.x.frames} come with a push"
        raise CompileError(
            "frontend", f"{what}: two could end in one", "give a longer hop, or a smaller push"
        )
    args = {"left": made.counter("push_left", "samples before the last one of a window", start - 1)}
    args |= _told(made)
    numbers = {"frames": first.x.frames, "hop": first.hop, "most": max(start, first.hop)}
    made.b.step(DUE, "front", args, **numbers)
    return args["flag"]


def _input(tape: RuleTape, name: str) -> Input:
    """An input of the network; CompileError where it normalises each feature by itself."""
    value, shape, q = tape.value(name), tape.shape(name), tape.graph.quantisers.get(name)
    if q is None:
        return Input(value, shape)
    if len(q.scale) > 1:
        what = f"the network normalises each feature of input {name} by itself"
        hint = "a window has one offset and one scale: normalise before the network, or with one pair"
        raise CompileError("frontend", what, hint)
    if q.scale[0] <= 0:
        what = f"the network multiplies input {name} with {q.scale[0]:g}"
        raise CompileError("frontend", what, "take a network with a scale above 0")
    return Input(value, shape, q.offset[0], q.scale[0])
