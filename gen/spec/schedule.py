"""[schedule]: at which learning steps all rates fall, by which power of two."""

from __future__ import annotations

from dataclasses import dataclass

from ..words import what_is
from .table import Table

MAX_RATE_SHIFT = 20
MOST_FALLS = 8  # of the rates: each brings its own copy of the code that learns
LAST_STEP = 2**32 - 1  # that the counter of learning steps tells apart


@dataclass(frozen=True, slots=True)
class Schedule:
    """All rates fall by 2^-shift at each of these learning steps, which rise."""

    at: tuple[int, ...]
    shift: int = 1


def read_schedule(table: Table, rate: int) -> Schedule:
    """`at`, or `every` and `times`, which say the same. rate: k of the smallest rate 2^-k."""
    own = table.subtable("schedule", ("at", "every", "times", "shift"))
    shift, listed = own.integer("shift", 1, 8, 1), own.get("at")
    if (listed is None) == (own.get("every") is None):
        raise own.error("at", "and every: one of them must be there", "write every = 60000 or at = [60000]")
    if listed is None:
        every, times = own.integer("every", 1, LAST_STEP, None), own.integer("times", 1, MOST_FALLS, None)
        listed = [every * (i + 1) for i in range(times)]
    elif own.get("times") is not None:
        raise own.error("times", "belongs to every", "drop it: at lists each step")
    at = [v for v in listed if type(v) is int] if isinstance(listed, list) else []
    if at != listed or not 1 <= len(at) <= MOST_FALLS or sorted({0, *at}) != [0, *at] or at[-1] > LAST_STEP:
        hint = f"give 1 to {MOST_FALLS} whole numbers that rise, from 1 to {LAST_STEP}"
        raise own.error("at", f"is {what_is(listed)}", hint)
    if (least := rate + shift * len(at)) > MAX_RATE_SHIFT:
        what = f"lets a rate of 2^-{rate} fall to 2^-{least}"
        raise own.error("shift", what, f"2^-{MAX_RATE_SHIFT} is the smallest rate")
    return Schedule(tuple(at), shift)
