"""The block `r_peak` over whole recordings: where R peaks are, when they were told, and the quality flag."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.frontends import block_options
from synapcc.gen.ops import qrs
from synapcc.gen.spec.frontend import FrontEnd, read_frontend
from synapcc.gen.spec.options import Setting
from synapcc.gen.spec.table import Table
from synapcc.gen.stages.front_alone import front_alone
from synapcc.host.run.frontend import behind_each_push, events

Samples = NDArray[np.int16]
Places = NDArray[np.int64]
Settings = Mapping[str, Setting]
"""Options of the block; what is not there has its default."""
NAME = "r"
PUSHES = 10.0
"""Of them a second, about: behind each of them the loudness is read."""
WHOLE = qrs.WHOLE
HOLD = 2.0
"""Seconds that a record's last sample is held for, so that its last beats are told."""


@dataclass(frozen=True)
class Found:
    """at: int64 [k], samples at which R peaks lie, in the order in which they were told;
    age: int64 [k], samples from each to the one with which it was certain."""

    at: Places
    age: Places


def front_end(rate: float, gain: float, settings: Settings | None = None) -> FrontEnd:
    """The block with these options behind samples of `rate` Hz and `gain` units a mV. CompileError as of a
    file; the window that a front end must have takes one sample."""
    own = {"name": NAME, "kind": "r_peak", "from": "samples", "gain": gain, **(settings or {})}
    window = {"name": "window", "kind": "window", "from": "samples", "length": 1000 / rate}
    table = {"rate": rate, "push": max(1, round(rate / PUSHES)), "block": [own, window]}
    front = read_frontend(Table("r_peak", "", {"frontend": table}, ("frontend",)), block_options())
    assert front is not None
    return front


def detect(x: Samples, front: FrontEnd, engine: str = "auto") -> Found:
    """A whole recording, int16 [n]; beats behind its end are none."""
    held = np.concatenate([x, np.full(round(HOLD * front.rate), x[-1], np.int16)])
    found = events(front, held, engine)[NAME]
    there = found.at < len(x)
    return Found(found.at[there], (found.said - found.at)[there])


def quality(
    x: Samples, front: FrontEnd, engine: str = "auto"
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(share of loud time, 0 to 1, float64 [n]; the flag, bool [n]) at each sample of int16 [n].

    The share is what the state holds behind the push that the sample came with.
    """
    loud, doubtful = f"front_{NAME}_loud", f"front_{NAME}_doubtful"
    held = behind_each_push(front, x, (loud, doubtful), engine)
    whole = front_alone(front, front.push).plan[loud].hi
    share = np.repeat(held[loud].reshape(-1) / whole, front.push)
    return share[: len(x)], held[doubtful].reshape(-1)[: len(x)] != 0
