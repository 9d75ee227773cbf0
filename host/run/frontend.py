"""Raw samples through the integer front end, on the host: the windows that a chip would show its network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.errors import SynapccError
from synapcc.gen.frontends import FRAC, Signal, Sliding, Window
from synapcc.gen.ir.plan import PUSH
from synapcc.gen.spec import FrontEnd
from synapcc.gen.stages.front_alone import WAIT, FrontAlone, eventful, front_alone
from synapcc.gen.stages.stream import AGO, MADE

from .engines import AUTO
from .machine import Machine

AT_A_TIME = 4096
"""Frames of a push, about: bits do not depend on it."""
AT_ONCE = 64
"""Pushes between two looks at what came out."""


@dataclass(frozen=True)
class Windows:
    """What came out of a front end.

    windows: by input, float32 [k, length], or [k, length, channels]: what the network takes, before its
             quantiser
    end:     [k], the number of the raw frame that was the last one of each window; of a signal at another
             rate, the last one that had come by then
    event:   [k], that of the event that it stands about; None without events
    said:    [k], that of the last frame of the push in which it was told
    """

    windows: dict[str, NDArray[np.float32]]
    end: NDArray[np.int64]
    event: NDArray[np.int64] | None
    said: NDArray[np.int64]


@dataclass(frozen=True)
class _Ran:
    """A front end on its own, given `frames` at a time, and what tensors of it held behind each push,
    [pushes, size]."""

    frames: int
    alone: FrontAlone
    kept: dict[str, NDArray[Any]]

    def raw(self, x: Signal, number: NDArray[np.int64]) -> NDArray[np.int64]:
        """Numbers of frames of a signal as those of raw frames: the last that had come by then."""
        found: NDArray[np.int64] = ((number + 1) * self.frames - 1) // x.frames
        return found


def signals(
    front: FrontEnd, samples: NDArray[np.int16], engine: str = AUTO
) -> tuple[tuple[Window, ...], dict[str, NDArray[np.int32]]]:
    """The windows of a front end, and by their inputs the signals of these: int32 [frames, channels], Q8.

    samples: as in `cut`
    """
    x = _columns(front, samples)
    ran = _run(front, x, 0, engine)
    windows = tuple(f for f in ran.alone.feeds if isinstance(f, Window))
    found = {f.input: ran.kept[f.x.name].reshape(-1, f.x.channels) for f in windows}
    return windows, {f.input: found[f.input][: len(x) * f.x.frames // ran.frames] for f in windows}


def cut(front: FrontEnd, samples: NDArray[np.int16], planar: bool = False, engine: str = AUTO) -> Windows:
    """Every window that ends within the samples, in the network's real units.

    samples: int16, [n] or [n, channels]; SynapccError for other channels, or none
    planar: a channel behind another, [k, channels, length]
    """
    x = _columns(front, samples)
    asked = any(map(eventful, front_alone(front, front.push).feeds))
    ran = _run(front, x, front.push if asked else 0, engine)
    feeds = ran.alone.feeds
    first = next(f for f in feeds if isinstance(f, Sliding))
    if not asked:
        start = max(f.settle + f.length for f in feeds if isinstance(f, Window))
        assert isinstance(first, Window)
        ends = np.arange(start - 1, len(x) * first.x.frames // ran.frames, first.hop)
        out = {f.input: _sliced(f, ran, ends, planar) for f in feeds if isinstance(f, Window)}
        raw = ran.raw(first.x, ends)
        return Windows(out, raw, None, raw)
    made = np.flatnonzero(ran.kept[MADE][:, 0])
    told = (made + 1) * first.x.frames
    ends = told - ran.kept[AGO][made, 0].astype(np.int64) - 1
    out = {}
    for f in feeds:
        if isinstance(f, Window):
            out[f.input] = _sliced(f, ran, ends, planar)
        else:
            name = ran.alone.made[f.input]
            out[f.input] = ran.alone.plan[name].meaning.real(ran.kept[name][made]).astype(np.float32)
    raw = ran.raw(first.x, ends)
    at = ran.raw(first.x, ends - first.after) if first.at else None
    return Windows(out, raw, at, (made + 1) * ran.frames - 1)


@dataclass(frozen=True)
class Events:
    """What a block found.

    at:   [k], the number of the raw frame that each event lies at, in the order in which they were found
    said: [k], of the frame behind which it was certain
    """

    at: NDArray[np.int64]
    said: NDArray[np.int64]


def events(front: FrontEnd, samples: NDArray[np.int16], engine: str = AUTO) -> dict[str, Events]:
    """The events of every block that finds some, by its name. samples: as in `cut`."""
    x = _columns(front, samples)
    ran = _run(front, x, 0, engine)
    found = {}
    for name, e in ran.alone.events.items():
        ages = ran.kept[e.name].reshape(-1)
        said = np.flatnonzero(ages[: len(x) * e.frames // ran.frames])
        found[name] = Events(ran.raw(e, said - ages[said]), ran.raw(e, said))
    return found


def behind_each_push(
    front: FrontEnd, samples: NDArray[np.int16], names: Sequence[str], engine: str = AUTO
) -> dict[str, NDArray[np.integer]]:
    """What tensors of the front end alone hold behind each push, [pushes, size], by their names.

    samples: as in `cut`; the last push is filled with zeros
    """
    return _run(front, _columns(front, samples), front.push, engine, names).kept


def _columns(front: FrontEnd, samples: NDArray[np.int16]) -> NDArray[np.int16]:
    """Samples as [n, channels]; SynapccError for other channels, or none."""
    x = samples.reshape(len(samples), -1)
    if x.shape[1] != front.channels or not len(x):
        what = f"the samples have shape {list(samples.shape)}"
        raise SynapccError("frontend", what, f"give [n, {front.channels}], a column for each channel")
    return x


def _sliced(f: Window, ran: _Ran, ends: NDArray[np.int64], planar: bool) -> NDArray[np.float32]:
    """The windows of a signal that end there; zeros lie before its beginning."""
    whole = ran.kept[f.x.name].reshape(-1, f.x.channels)
    real = ((whole * 2.0**-FRAC - f.offset) * f.scale).astype(np.float32)
    at = (ends[:, None] - f.length + 1) + np.arange(f.length)
    taken = np.where((at >= 0)[:, :, None], real[at], np.float32(0))
    taken = taken.transpose(0, 2, 1) if planar else taken
    return taken.reshape(len(ends), f.length) if f.x.channels == 1 else taken


def _run(front: FrontEnd, x: NDArray[np.int16], frames: int, engine: str, kept: Sequence[str] = ()) -> _Ran:
    """The front end over samples [n, channels]; `frames` at a time, 0 for many. The last push is filled with
    zeros. kept: tensors beside those of windows and events."""
    front_alone(front, front.push)  # refuses pushes of which a block does not make whole frames
    frames = frames or front.push * max(1, min(AT_A_TIME, len(x)) // front.push)
    alone = front_alone(front, frames)
    pushes = -(-len(x) // frames)
    padded = np.concatenate([x, np.zeros((pushes * frames - len(x), front.channels), np.int16)])
    rows = padded.reshape(pushes, 1, -1)
    machine = Machine(alone.plan, 1, False, None, engine)
    machine.expects(2 * AT_A_TIME if pushes > 1 else 0)
    names = {f.x.name for f in alone.feeds if isinstance(f, Window)} | {*alone.made.values()}
    names |= {e.name for e in alone.events.values()}
    names |= {*kept} | ({MADE, AGO} & {t.name for t in alone.plan.tensors})
    types = {n: np.dtype(alone.plan[n].dtype) for n in sorted(names)}
    said = {n: np.zeros((pushes, 1, alone.plan[n].count), t) for n, t in types.items()}
    at_once = max(1, AT_ONCE * AT_A_TIME // frames)
    (raw,) = alone.plan.entry(PUSH).inputs
    for at in range(0, pushes, at_once):
        part = slice(at, at + at_once)
        active = np.ones((len(rows[part]), 1), bool)
        given = {raw: np.ascontiguousarray(rows[part])}
        machine._execute_many(WAIT, given, active, None, PUSH, {n: s[part] for n, s in said.items()})
    return _Ran(frames, alone, {n: s[:, 0] for n, s in said.items()})
