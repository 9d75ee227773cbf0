"""[guard]: which labelled samples are held back from learning, and what learning must be worth on them."""

from __future__ import annotations

from dataclasses import dataclass

from .store import BALANCED, OLDEST
from .table import Table


@dataclass(frozen=True, slots=True)
class Guard:
    """Learning is undone where what it did is worse on samples that it has not seen.

    every:   of each class, one of so many labelled samples is held back, the second one first
    samples: of these are kept, in a ring
    drop:    which one makes room when it is full, as in [store]
    gain:    by more than which share of them, and by two at least, a state must be better than the first one
             before learning is trusted at all; from then on one with as many right becomes the good one
    margin:  the share of them by which the network may fall below the last good state before it goes back
             to that
    base:    examples of the calibration data, in flash, against forgetting; 0: none
    base_margin: the share of those that may be wrong beyond those of the best good state
    period:  learned samples from one judgement to the next
    """

    every: int = 3
    samples: int = 64
    drop: str = OLDEST
    gain: float = 0.03
    margin: float = 0.0625
    base: int = 32
    base_margin: float = 0.5
    period: int = 1024


def read_guard(table: Table) -> Guard:
    """The table [guard] of a rule file; what it does not say has its default."""
    own, usual = table.table("guard", Guard), Guard()
    return Guard(
        every=own.integer("every", 2, 2**16 - 1, usual.every),
        samples=own.integer("samples", 2, 2**16 - 1, usual.samples),
        drop=own.choice("drop", (BALANCED, OLDEST), usual.drop),
        gain=own.number("gain", 0.0, 1.0, usual.gain),
        margin=own.number("margin", 0.0, 1.0, usual.margin),
        base=own.integer("base", 0, 4096, usual.base),
        base_margin=own.number("base_margin", 0.0, 1.0, usual.base_margin),
        period=own.integer("period", 1, 2**20, usual.period),
    )
