"""[guard]: which labelled samples are held back from learning, and how much worse on them it may become."""

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
    margin:  the share of them by which the network may fall below the last good state before it goes back
             to that
    gain:    how many more of them a state must have right to become the good one; 0: not fewer
    base:    examples of the calibration data, in flash, against forgetting; 0: none
    base_margin: the share of those that may be wrong beyond those of the best good state
    period:  learned samples from one judgement to the next
    """

    every: int = 4
    samples: int = 32
    drop: str = BALANCED
    gain: float = 0.05
    margin: float = 0.0625
    base: int = 32
    base_margin: float = 0.125
    period: int = 16


def read_guard(table: Table) -> Guard:
    """The table [guard] of a rule file; what it does not say has its default."""
    own, usual = table.table("guard", Guard), Guard()
    return Guard(
        every=own.integer("every", 2, 2**16 - 1, usual.every),
        samples=own.integer("samples", 1, 2**16 - 1, usual.samples),
        drop=own.choice("drop", (BALANCED, OLDEST), usual.drop),
        gain=own.number("gain", 0.0, 1.0, usual.gain),
        margin=own.number("margin", 0.0, 1.0, usual.margin),
        base=own.integer("base", 0, 4096, usual.base),
        base_margin=own.number("base_margin", 0.0, 1.0, usual.base_margin),
        period=own.integer("period", 1, 2**20, usual.period),
    )
