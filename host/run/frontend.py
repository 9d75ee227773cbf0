"""Raw samples through the integer front end, on the host: the windows that a chip would show its network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.errors import SynapccError
from synapcc.gen.frontends import Signal, Window
from synapcc.gen.ir.plan import PUSH
from synapcc.gen.spec import FrontEnd
from synapcc.gen.stages.front_alone import WAIT, front_alone

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
    """

    windows: dict[str, NDArray[np.float32]]
    end: NDArray[np.int64]


def signals(
    front: FrontEnd, samples: NDArray[np.int16], engine: str = AUTO
) -> tuple[tuple[Window, ...], dict[str, NDArray[np.int32]]]:
    """The windows of a front end, and by their inputs the signals of these: int32 [frames, channels], Q8.

    samples: int16, [n] or [n, channels]; SynapccError for other channels, or none
    """
    x = samples.reshape(len(samples), -1)
    if x.shape[1] != front.channels or not len(x):
        what = f"the samples have shape {list(samples.shape)}"
        raise SynapccError("frontend", what, f"give [n, {front.channels}], a column for each channel")
    front_alone(front, front.push)  # refuses pushes of which a block does not make whole frames
    frames = front.push * max(1, min(AT_A_TIME, len(x)) // front.push)
    alone = front_alone(front, frames)
    pushes = -(-len(x) // frames)
    padded = np.concatenate([x, np.zeros((pushes * frames - len(x), front.channels), np.int16)])
    rows = padded.reshape(pushes, 1, -1)
    machine = Machine(alone.plan, 1, False, None, engine)
    machine.expects(2 * AT_A_TIME if pushes > 1 else 0)
    said = {w.x.name: np.zeros((pushes, 1, w.x.size), np.int32) for w in alone.windows}
    (raw,) = alone.plan.entry(PUSH).inputs
    for at in range(0, pushes, AT_ONCE):
        part = slice(at, at + AT_ONCE)
        active = np.ones((len(rows[part]), 1), bool)
        given = {raw: np.ascontiguousarray(rows[part])}
        machine._execute_many(WAIT, given, active, None, PUSH, {n: s[part] for n, s in said.items()})
    out = {}
    for w in alone.windows:
        whole = said[w.x.name].reshape(-1, w.x.channels)
        out[w.input] = whole[: int(len(x) * w.x.frames // frames)]
    return alone.windows, out


def cut(front: FrontEnd, samples: NDArray[np.int16], planar: bool = False, engine: str = AUTO) -> Windows:
    """Every window that ends within the samples, in the network's real units.

    planar: a channel behind another, [k, channels, length]
    """
    windows, found = signals(front, samples, engine)
    start = max(w.settle + w.length for w in windows)
    first = windows[0]
    ends = np.arange(start - 1, min(len(s) for s in found.values()), first.hop)
    out = {}
    for w in windows:
        real = ((found[w.input] * 2.0**-8 - w.offset) * w.scale).astype(np.float32)
        taken = real[(ends[:, None] - w.length + 1) + np.arange(w.length)]
        taken = taken.transpose(0, 2, 1) if planar else taken
        out[w.input] = taken.reshape(len(ends), -1) if w.x.channels == 1 else taken
    return Windows(out, raw_end(front, first.x, ends + 1))


def raw_end(front: FrontEnd, x: Signal, counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The number of the raw frame that was the last one to come before so many frames of x were made: the
    rates' ratio need not be whole."""
    raw = round(x.frames * front.rate / x.rate)  # frames of samples in which x.frames are made
    return (counts * raw - 1) // x.frames
