"""A front end in front of a network: the entry program `push`, which takes raw samples.

push      (entry)  the blocks of the front end; each window's signal into its ring, in the integers of the
                   network's input; and `window_infer` where a window has ended
window_infer       the network's inputs out of the rings, and infer
reset     (entry)  all of that as compiled: a stream that was cut begins anew

What a push says of itself lies in the state: `push_made`, 1 where it ended in a verdict, and `push_ago`, how
many frames came after the end of that verdict's window. The verdict lies where that of `infer` does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..errors import CompileError
from ..frontends import FrontTape, Window, write
from ..ir.inputs import listed
from ..ir.plan import PUSH, Plan
from ..ir.program import Call, Entry, Value
from ..ir.roles import STREAM
from ..ops.ring import FRAMES
from ..rules import RuleTape
from ..spec import FrontEnd
from ..words import nearest

ANSWER, BEGIN_AGAIN, RESET = "window_infer", "begin_again", "reset"
DUE, TAKE = "ring.due", "signal.take"


def streamed(tape: RuleTape, front: FrontEnd) -> list[Entry]:
    """Emits `push` and what it calls, and what `reset` does to it; the entry programs that are new.

    Raises CompileError where windows and the network's inputs do not fit.
    """
    b = tape.b
    with b.program(PUSH, f"{front.push} samples of each channel; a verdict where a window has ended"):
        made = FrontTape(b, front)
        write(made)
        windows = _matched(tape, made)
        rings = [_ring(tape, made, w) for w in windows]
        due = _due(tape, made, windows)
        b.when(due, ANSWER)
    with b.program(ANSWER, "class, margin and scores of the window that has ended"):
        for w, (table, at) in zip(windows, rings, strict=True):
            args = {"table": table, "at": at, "ago": "push_ago", "x": tape.value(w.input)}
            planar = _planar(tape, w)
            b.step("ring.read", f"front_{w.input}", args, channels=w.x.channels, planar=planar)
        b.call("infer")
    return [Entry(PUSH, (made.raw,)), *_reset(tape)]


def _reset(tape: RuleTape) -> list[Entry]:
    """Program `reset`: what is kept of the stream begins again. A rule's own does its own part before."""
    b = tape.b
    with b.program(BEGIN_AGAIN, "filters, windows and clocks of the front end as compiled"):
        for v in [v for v in b.values.values() if v.use == STREAM]:
            assert v.ints is not None, v.name
            b.step("signal.fill", "front", {"x": v.name}, value=int(v.ints.flat[0]))
    if own := b.programs.get(RESET):
        b.programs[RESET] = replace(own, items=(*own.items, Call(BEGIN_AGAIN)))
        return []
    with b.program(RESET, "forgets the stream of samples; what was learned stays"):
        b.call(BEGIN_AGAIN)
    return [Entry(RESET)]


@dataclass(frozen=True, slots=True)
class Clock:
    """When windows of a Plan end, in frames as the network has them: `frames` come with a push, a window ends
    every `hop`, the first one after `most` at the latest. channels: of raw samples"""

    frames: int
    hop: int
    most: int
    channels: int


def clock_of(plan: Plan) -> Clock:
    """The clock of a Plan that has a front end."""
    attrs = {step.kernel: step.attrs for _, _, step in plan.ops() if step.kernel in (DUE, TAKE)}
    frames, hop, most = (int(attrs[DUE][key]) for key in ("frames", "hop", "most"))
    return Clock(frames, hop, most, int(attrs[TAKE]["channels"]))


def _matched(tape: RuleTape, made: FrontTape) -> list[Window]:
    """The windows in the order of the network's inputs; one for each."""
    inputs, found = tape.graph.inputs, {w.input: w for w in made.windows}
    for name in found:
        if name not in inputs:
            hint = f"{nearest(name, inputs)}the network's inputs are {listed(inputs)}"
            raise CompileError("frontend", f'window "{name}" fills no input', hint)
    for name in inputs:
        if name not in found:
            hint = f'add a block of kind = "window" with name = "{name}"'
            raise CompileError("frontend", f"nothing fills input {name}", hint)
    first = found[inputs[0]]
    for w in found.values():
        if (w.x.rate, w.hop) != (first.x.rate, first.hop):
            what = f"windows {first.input} and {w.input} do not end together"
            raise CompileError("frontend", what, "give their signals one rate, and both one hop")
    return [found[name] for name in inputs]


def _ring(tape: RuleTape, made: FrontTape, w: Window) -> tuple[str, str]:
    """The ring of a window and the place of its next frame: the step that fills it."""
    offset, scale = _standardised(tape, w)
    rows = w.length + w.x.frames - 1  # a window may have ended some frames before the last
    if rows > FRAMES[1]:
        what = f"window {w.input} has {w.length} samples"
        raise CompileError("frontend", what, f"take up to {FRAMES[1] - w.x.frames + 1}, or decimate before")
    _planar(tape, w)
    x = tape.value(w.input)
    empty = np.zeros(rows * w.x.channels, np.int8)
    role = tape.b.values[x].role
    name = f"front_{w.input}_ring"
    table = tape.add(Value(name, empty.shape, "state", role, ints=empty, tie=x, use=STREAM))
    at = made.counter(f"front_{w.input}_at", "where the next sample of the window lies")
    args = {"x": w.x.name, "table": table, "at": at}
    numbers = {"rows": rows, "channels": w.x.channels}
    tape.b.step("ring.write", f"front_{w.input}", args, offset=offset, scale=scale, **numbers)
    return table, at


def _due(tape: RuleTape, made: FrontTape, windows: list[Window]) -> str:
    """The step that says whether a window has ended; the flag that it writes."""
    first = windows[0]
    if first.hop < first.x.frames:
        what = f"window {first.input} ends every {first.hop} samples, and {first.x.frames} come with a push"
        raise CompileError(
            "frontend", f"{what}: two could end in one", "give a longer hop, or a smaller push"
        )
    start = max(w.settle + w.length for w in windows)
    args = {
        "left": made.counter("push_left", "samples before the last one of a window", start - 1),
        "made": made.counter("push_made", "1 where the last push ended in a verdict"),
        "ago": made.counter("push_ago", "samples of the last push behind the end of its window"),
        "flag": tape.flag("push_ended"),
    }
    most = max(start, first.hop)
    tape.b.step(DUE, "front", args, frames=first.x.frames, hop=first.hop, most=most)
    return args["flag"]


def _standardised(tape: RuleTape, w: Window) -> tuple[float, float]:
    """Offset and scale that lead from the signal to what the first layer takes: the window's own, and behind
    them those that the network brings."""
    q = tape.graph.quantisers.get(w.input)
    if q is None:
        return w.offset, w.scale
    if len(q.scale) > 1:
        what = f"the network normalises each feature of input {w.input} by itself"
        hint = "a window has one offset and one scale: normalise before the network, or with one pair"
        raise CompileError("frontend", what, hint)
    if q.scale[0] <= 0:
        what = f"the network multiplies input {w.input} with {q.scale[0]:g}"
        raise CompileError("frontend", what, "take a network with a scale above 0")
    return w.offset + q.offset[0] / w.scale, w.scale * q.scale[0]


def _planar(tape: RuleTape, w: Window) -> int:
    """Whether the input has a channel behind another. CompileError where it is no window of this size."""
    shape, channels = tape.shape(w.input), w.x.channels
    sizes = tuple(n for n in shape if n > 1) or (1,)
    if int(np.prod(shape)) != w.length * channels:
        told = f"{w.length} samples" + (f" of {channels} channels" if channels > 1 else "")
        what = f"window {w.input} holds {told} at {w.x.rate:g} Hz, and the input has shape {list(shape)}"
        raise CompileError("frontend", what, f"give a length of {_wanted(shape, w):g} ms, or another rate")
    if channels == 1 or len(sizes) == 1:
        return 0
    if channels == w.length:
        what = f"input {w.input} has shape {list(shape)}: either axis may be the channels"
        raise CompileError("frontend", what, "give the window another length")
    if sizes not in ((channels, w.length), (w.length, channels)):
        what = f"input {w.input} has shape {list(shape)}, not {channels} channels of {w.length} samples"
        raise CompileError(
            "frontend", what, "take a network whose input is [channels, samples] or the reverse"
        )
    return int(sizes == (channels, w.length))


def _wanted(shape: tuple[int, ...], w: Window) -> float:
    """The length in ms that an input of this shape asks for."""
    return int(np.prod(shape)) / w.x.channels / w.x.rate * 1000
