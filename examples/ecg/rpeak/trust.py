"""What it would take to ask only where samples can be trusted: beats that `unless` withholds, and the time
that `lead_off` takes away."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from synapcc.gen.frontends import FRAC, block_options
from synapcc.gen.spec.frontend import BlockSpec, FrontEnd, read_frontend
from synapcc.gen.spec.table import Table
from synapcc.host.run.frontend import cut, signals
from synapcc.host.run.kept import Result

from ..streamed import front
from .data import START, Recording
from .detect import HOLD, NAME
from .match import WINDOW, Places, matched, within

RAILS = (0, 2047)
"""Of the converter of MIT-BIH."""


def _withholding() -> FrontEnd:
    """fronts/stream.toml, of which no beat is asked that the detector doubts."""
    usual = front()

    def doubting(block: BlockSpec) -> BlockSpec:
        if block.kind != "beat":
            return block
        return replace(block, options=tuple((k, NAME if k == "unless" else v) for k, v in block.options))

    return replace(usual, blocks=tuple(map(doubting, usual.blocks)))


def withheld(of: Recording) -> Result:
    """From `START` on, without flutter: right and false beats of the whole front end, and with `unless`."""
    found: Result = {}
    for kind, made in ("asked", front()), ("trusted", _withholding()):
        events = cut(made, np.concatenate([of.x, np.full(round(HOLD * of.rate), of.x[-1], np.int16)])).event
        assert events is not None
        found[kind] = _counts(of, np.sort(events[events < len(of.x)]))
    return found


def _counts(of: Recording, places: Places) -> Result:
    _, of_found = matched(of.rpeak, places, round(WINDOW * of.rate))
    counts = (places >= START * of.rate) & ~within(places, of.flutter)
    return {"right": int((counts & (of_found >= 0)).sum()), "false": int((counts & (of_found < 0)).sum())}


def off(of: Recording) -> Result:
    """Seconds of a whole recording in which `lead_off` is 1, and how often it begins to be."""
    low, high = RAILS
    own = {"name": "off", "kind": "lead_off", "from": "samples", "low": low, "high": high}
    window = {"name": "window", "kind": "window", "from": "off", "length": 1000 / of.rate}
    table = {"rate": of.rate, "push": 18, "block": [own, window]}
    made = read_frontend(Table("lead_off", "", {"frontend": table}, ("frontend",)), block_options())
    assert made is not None
    told = signals(made, of.x)[1]["window"][:, 0] >= 1 << FRAC
    begins = int(np.count_nonzero(told[1:] & ~told[:-1])) + int(told[0])
    return {"seconds": float(told.sum() / of.rate), "begins": begins, "of": len(of.x) / of.rate}
