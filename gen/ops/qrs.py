"""R peaks of an electrocardiogram: which activity of the heart is a beat, and where its peak lies.

What is compared here is made by blocks of a front end (gen/frontends/r_peak.py): `band`, a signal without
baseline and noise, and `active`, how much that changes about a place. Whoever looks for the peak of a beat
finds that of |band|: no sign matters anywhere, an inverted lead is the same one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir.plan import PlanTensor
from . import Accumulator, Arrays, Attrs, Bounds, Case, Cost, Kernel, Known, Variant
from ._contract import Range, Tensors, beyond, takes, within
from ._loops import Cells, Loop, helper
from .signal import random_signal

CAP = 2**24
"""No peak counts for more, so that 64 of it fit."""
LONG = 2**20
"""No age counts further, in frames."""
WHOLE = 2**16
"""All of the time."""
MOST: Range = (1, 2**14)
"""Of a time, in frames."""
SHARE: Range = (0, 127)
TOPS = {"cap": CAP, "long": LONG, "whole": WHOLE}
"""What the C is told of these."""
TURN = 2**32 - 1
"""Clocks run round."""

LIST = 8  # values that a median is of
BEAT, OTHER, STEEP, INTERVAL = range(4)  # lists
LISTS = 4
PEAK, LOUDEST, BACK, BACK_STEEP, LATE, LATE_STEEP, LEARNED, BEATEN = range(8)  # levels
LEVELS = 8
NOW, PEAK_AT, BEAT_AT, BACK_AT, LATE_AT, CALM_AT = range(6)  # clocks
CLOCKS = 6
NUMBERS = (
    "apart", "around", "diff", "half", "delay", "floor", "share", "noise", "soon", "soon_share", "steep",
    "due", "back_share", "back_noise", "clip", "refractory", "learn", "lost", "longest", "loud",
    "loud_shift", "bad",
)  # fmt: skip
(
    APART, AROUND, DIFF, HALF, DELAY, FLOOR, SHARE_OF, NOISE, SOON, SOON_SHARE, STEEP_SHARE,
    DUE, BACK_SHARE, BACK_NOISE, CLIP, REFRACTORY, LEARN, LOST, LONGEST, LOUD,
    LOUD_SHIFT, BAD,
) = range(len(NUMBERS))  # fmt: skip


@helper
def age(clock: Cells, at: Any) -> Any:
    """Frames since a clock, LONG at most."""
    return min((np.int64(clock[NOW]) - np.int64(clock[at])) & np.int64(TURN), np.int64(LONG))


@helper
def put(lists: Cells, which: Any, value: Any) -> None:
    """The value takes the place of the oldest one of a list."""
    at = which * LIST
    for i in range(LIST - 1):
        lists[at + i] = lists[at + i + 1]
    lists[at + LIST - 1] = value


@helper
def middle(lists: Cells, which: Any) -> Any:
    """The median of a list: of the middle two the mean, rounded down."""
    at, below, above = which * LIST, np.int64(0), np.int64(0)
    for i in range(LIST):
        rank = 0
        for k in range(LIST):
            if lists[at + k] < lists[at + i] or (lists[at + k] == lists[at + i] and k < i):
                rank += 1
        if rank == LIST // 2 - 1:
            below = np.int64(lists[at + i])
        if rank == LIST // 2:
            above = np.int64(lists[at + i])
    return (below + above) >> np.int64(1)


@helper
def found(ring: Cells, at: Any, p: Any) -> Any:
    """(age of the R peak in frames, steepest slope) about a peak of `active` that is `apart` frames old."""
    n = len(ring)
    oldest = p[APART] + p[HALF] + p[AROUND]
    now = at - 1 - oldest
    now = now + n if now < 0 else now
    before = now - p[DIFF]
    before = before + n if before < 0 else before
    top, steep, when = np.int64(-1), np.int64(0), oldest
    for i in range(2 * p[AROUND] + 1):
        height = abs(np.int64(ring[now]))
        slope = abs(np.int64(ring[now]) - np.int64(ring[before]))
        if height > top:
            top = height
            when = oldest - i
        steep = max(steep, slope)
        now = now + 1 if now + 1 < n else 0
        before = before + 1 if before + 1 < n else 0
    return when + p[DELAY], min(steep, np.int64(CAP))


@helper
def learn(lists: Cells, medians: Cells, levels: Cells, peak: Any, steep: Any, p: Any) -> None:
    """All lists begin with what there was most of."""
    medians[BEAT] = peak
    medians[OTHER] = 0
    medians[STEEP] = steep
    medians[INTERVAL] = p[LEARN] >> 1
    for which in range(LISTS):
        for i in range(LIST):
            lists[which * LIST + i] = medians[which]
    levels[LEARNED] = 1


@helper
def least(medians: Cells, share: Any, noise: Any, p: Any) -> Any:
    """What a peak must exceed: shares of the medians; of the others' no more than half a beat."""
    beat = np.int64(medians[BEAT])
    other = min((np.int64(medians[OTHER]) * np.int64(noise)) >> np.int64(4), beat >> np.int64(1))
    return max(np.int64(p[FLOOR]), max(other, (beat * np.int64(share)) >> np.int64(6)))


@helper
def accept(
    lists: Cells, medians: Cells, levels: Cells, clock: Cells, peak: Any, steep: Any, ago: Any, p: Any
) -> Any:
    """A beat whose R peak was `ago` frames before; that number."""
    interval = age(clock, BEAT_AT) - ago
    if levels[BEATEN] != 0 and 0 <= interval < p[LONGEST]:
        put(lists, INTERVAL, interval)
    put(lists, BEAT, min(peak, (np.int64(medians[BEAT]) * np.int64(p[CLIP])) >> np.int64(4)))
    put(lists, STEEP, steep)
    if levels[BACK] == 0:  # nothing else was there
        put(lists, OTHER, 0)
    for which in range(LISTS):
        medians[which] = middle(lists, which)
    clock[BEAT_AT] = (np.int64(clock[NOW]) - ago) & np.int64(TURN)
    levels[BACK] = 0
    levels[LATE] = 0
    levels[BEATEN] = 1
    return ago


@helper
def candidate(ring: Cells, at: Any, lists: Cells, medians: Cells, levels: Cells, clock: Cells, p: Any) -> Any:
    """What becomes of a peak of `active`: how long ago the R peak was if it is a beat, else 0."""
    peak = np.int64(levels[PEAK])
    ago, steep = found(ring, at, p)
    since = age(clock, BEAT_AT)
    if levels[LEARNED] == 0:
        levels[LOUDEST] = max(np.int64(levels[LOUDEST]), peak)
        if since < p[LEARN]:
            return np.int64(0)
        learn(lists, medians, levels, levels[LOUDEST], steep, p)
    interval = since - ago
    if interval < p[REFRACTORY]:
        return np.int64(0)
    wanted = least(medians, p[SHARE_OF], p[NOISE], p)
    if interval < p[SOON] and steep < (np.int64(medians[STEEP]) * np.int64(p[STEEP_SHARE])) >> np.int64(6):
        wanted = max(wanted, (np.int64(medians[BEAT]) * np.int64(p[SOON_SHARE])) >> np.int64(6))
    if peak >= wanted:
        return accept(lists, medians, levels, clock, peak, steep, ago, p)
    put(lists, OTHER, peak)
    medians[OTHER] = middle(lists, OTHER)
    when = (np.int64(clock[NOW]) - ago) & np.int64(TURN)
    if peak > levels[BACK]:
        levels[BACK] = peak
        levels[BACK_STEEP] = steep
        clock[BACK_AT] = when
    if age(clock, CALM_AT) < p[LOST] >> 1:  # what is large here may be the end of a noise
        levels[LATE] = 0
    elif peak > levels[LATE]:
        levels[LATE] = peak
        levels[LATE_STEEP] = steep
        clock[LATE_AT] = when
    return np.int64(0)


@helper
def missed(lists: Cells, medians: Cells, levels: Cells, clock: Cells, p: Any) -> Any:
    """How long ago the R peak was of a beat that was refused, where one is long due; else 0."""
    if levels[BACK] == 0 or levels[LEARNED] == 0:
        clock[CALM_AT] = clock[NOW]
        return np.int64(0)
    if age(clock, CALM_AT) > p[LOST]:  # beats may have become smaller for good
        clock[CALM_AT] = clock[NOW]
        if levels[LATE] != 0:
            peak, steep = np.int64(levels[LATE]), np.int64(levels[LATE_STEEP])
            learn(lists, medians, levels, peak, steep, p)
            return accept(lists, medians, levels, clock, peak, steep, age(clock, LATE_AT), p)
    due = age(clock, BEAT_AT) > (np.int64(medians[INTERVAL]) * np.int64(p[DUE])) >> np.int64(6)
    if not due or levels[BACK] < least(medians, p[BACK_SHARE], p[BACK_NOISE], p):
        return np.int64(0)
    peak, steep = np.int64(levels[BACK]), np.int64(levels[BACK_STEEP])
    put(lists, BEAT, peak)  # counts twice: the others may all be of louder times
    return accept(lists, medians, levels, clock, peak, steep, age(clock, BACK_AT), p)


def _detect(
    band: Cells, active: Cells, ring: Cells, at: Cells, lists: Cells, medians: Cells, levels: Cells,
    clock: Cells, loud: Cells, y: Cells, doubtful: Cells, p: Any,
) -> None:  # fmt: skip
    place: Any = np.int64(at[0])
    for i in range(len(band)):
        ring[place] = band[i]
        place = place + 1 if place + 1 < len(ring) else np.int64(0)
        a = min(np.int64(active[i]), np.int64(CAP))
        clock[NOW] = (np.int64(clock[NOW]) + np.int64(1)) & np.int64(TURN)
        noise = np.int64(WHOLE) if a * np.int64(p[LOUD]) > np.int64(medians[BEAT]) else np.int64(0)
        share = np.int64(loud[0]) >> np.int64(p[LOUD_SHIFT])
        loud[0] = np.int64(loud[0]) + noise - share
        told, peaked = np.int64(0), False
        if a > np.int64(levels[PEAK]):
            levels[PEAK] = a
            clock[PEAK_AT] = clock[NOW]
        elif age(clock, PEAK_AT) >= p[APART]:
            if levels[PEAK] > p[FLOOR]:
                told = candidate(ring, place, lists, medians, levels, clock, p)
                peaked = True
            levels[PEAK] = a
            clock[PEAK_AT] = clock[NOW]
        if not peaked:
            told = missed(lists, medians, levels, clock, p)
        y[i] = told
        calm = levels[LEARNED] != 0 and age(clock, BEAT_AT) <= p[LOST] and share <= p[BAD] << 10
        doubtful[i] = np.int64(0) if calm else np.int64(1)
    at[0] = place


class Detect(Kernel):
    """y = how many frames before it the R peak was that is certain now, 0 where none is; doubtful = 1 where
    the signal is too loud for too much of the time, or no beat was found for long.

    A peak of `active` that nothing exceeds for `apart` frames is a candidate. Its R peak is where |band| is
    greatest about it. It is a beat where it has a share of the median of the last eight beats, and of that of
    the last eight others; soon after a beat it must have more, unless it is steep, as T waves are not. Where
    a beat is long due, the largest of what was refused since the last one is taken if it has enough of both.

    ring, at:        the last frames of band, and where the next one comes
    lists, medians:  of beats, others, slopes and intervals the last eight, and their medians
    levels, clock:   what was seen last and when (module's names); clocks count frames, round at 2^32
    loud:            a running sum of the time in which `active` exceeds a part of a beat
    Shares stand in 64ths, `noise`, `back_noise` and `clip` in 16ths, times in frames. Nothing leaves 32 bits:
    peaks and slopes count for 2^24 at most, ages for 2^20.
    """

    name = "qrs.detect"
    loop = Loop(_detect, groups={"p": NUMBERS})
    reads = ("band", "active")
    updates = ("ring", "at", "lists", "medians", "levels", "clock", "loud")
    writes = ("y", "doubtful")
    operands = takes(
        band="int32 [n]",
        active="int32 [n]",
        ring="int32 [rows]",
        at="uint32 [1]",
        lists=f"int32 [{LISTS * LIST}]",
        medians=f"int32 [{LISTS}]",
        levels=f"int32 [{LEVELS}]",
        clock=f"uint32 [{CLOCKS}]",
        loud="int32 [1]",
        y="int32 [n]",
        doubtful="int32 [n]",
    )
    attributes = within(
        rows=(1, 2**16), apart=MOST, around=MOST, diff=MOST, half=MOST, delay=(0, 2**14), floor=(1, CAP),
        share=SHARE, noise=SHARE, soon=MOST, soon_share=SHARE, steep=SHARE, due=(0, 255), back_share=SHARE,
        back_noise=SHARE, clip=SHARE, refractory=MOST, learn=MOST, lost=(2, 2**14), longest=MOST, loud=SHARE,
        loud_shift=(0, 13), bad=(0, 64),
    )  # fmt: skip

    def variant(self, kernel_set: str, t: Mapping[str, PlanTensor], a: Attrs) -> Variant:
        return Variant("detect", numbers=TOPS)

    def misfit(self, t: Tensors, a: Attrs) -> str:
        near, rows = a["apart"] + a["half"], a["apart"] + a["half"] + a["around"] + a["diff"] + 1
        if t["ring"].shape[0] < rows or a["around"] >= near:
            held = t["ring"].shape[0]
            return f"it looks about {near} frames back, {rows} at most, and {t['ring'].name} holds {held}"
        if t["at"].hi >= t["ring"].shape[0]:
            return f"{t['at'].name} may be {t['at'].hi}"
        wanted = dict.fromkeys(("lists", "medians", "levels"), CAP) | {"loud": WHOLE << a["loud_shift"]}
        for role, top in wanted.items():
            if (t[role].lo, t[role].hi) != (0, top):
                return f"{t[role].name} may be {t[role].lo} to {t[role].hi}, not 0 to {top}"
        return beyond(t["ring"], t["band"].lo, t["band"].hi)

    def integer(self, t: Arrays, a: Attrs) -> None:
        p = tuple(int(a[name]) for name in NUMBERS)
        roles = ("band", "active", "ring", "at", "lists", "medians", "levels", "clock", "loud")
        for d in range(len(t["y"])):
            given = [t[role][d if len(t[role]) > 1 else 0].tolist() for role in roles]
            y, doubtful = [0] * t["y"].shape[1], [0] * t["y"].shape[1]
            _detect(*[*given, y, doubtful, p])
            for role, values in zip((*roles, "y", "doubtful"), (*given, y, doubtful), strict=True):
                if role in self.changing:
                    t[role][d] = values

    def real(self, t: Arrays, a: Attrs) -> None:
        whole = {role: np.asarray(np.floor(v), np.int64) for role, v in t.items()}
        self.integer(whole, a)
        for role in self.changing:
            t[role][...] = whole[role]

    def ranges(self, a: Attrs) -> dict[str, tuple[int, int]]:
        return {"at": (0, a["rows"] - 1)}

    def sizes(self, a: Attrs) -> dict[str, int]:
        return {"rows": a["rows"]}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        n, rows = k["y"].shape[0], k["ring"].shape[0]
        lo, hi = min(k["ring"].lo, k["band"].lo), max(k["ring"].hi, k["band"].hi)
        full = WHOLE << a["loud_shift"]
        return [
            Accumulator("slope", lo - hi, hi - lo),
            Accumulator("share", 0, CAP * SHARE[1]),
            Accumulator("loudness", -WHOLE, full + WHOLE),
        ], {
            "y": (0, LONG, n * LONG),
            "doubtful": (0, 1, n),
            "ring": (lo, hi, rows * max(-lo, hi)),
            "lists": (0, CAP, LISTS * LIST * CAP),
            "medians": (0, CAP, LISTS * CAP),
            "levels": (0, CAP, LEVELS * CAP),
            "loud": (0, full, full),
        }

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        return Cost(reads=8 * shapes["y"][0], writes=8 * shapes["y"][0])

    def case(self, rng: np.random.Generator) -> Case:
        n, top = int(rng.integers(1, 30)), int(2 ** rng.uniform(4, 29))
        near = int(rng.integers(2, 6)), int(rng.integers(1, 6))
        a = {"apart": near[0], "half": near[1], "around": int(rng.integers(1, sum(near)))}
        a |= {
            "diff": int(rng.integers(1, 4)),
            "delay": int(rng.integers(0, 9)),
            "floor": int(2 ** rng.uniform(0, 20)),
        }
        shares = ("share", "noise", "soon_share", "steep", "back_share", "back_noise", "clip", "loud")
        a |= {name: int(rng.integers(0, SHARE[1] + 1)) for name in shares}
        a |= {name: int(rng.integers(1, 40)) for name in ("soon", "refractory", "learn", "longest")} | {
            "lost": int(rng.integers(2, 40))
        }
        a |= {"due": int(rng.integers(0, 256)), "loud_shift": int(rng.integers(0, 14))}
        a |= {"bad": int(rng.integers(0, 65))}
        rows = sum(near) + a["around"] + a["diff"] + 1 + int(rng.integers(0, 4))
        full = WHOLE << a["loud_shift"]
        clock = rng.integers(0, 60, CLOCKS)
        clock = (
            clock[NOW] + (TURN - 30 if rng.integers(2) else 0) - np.where(np.arange(CLOCKS) == NOW, 0, clock)
        )
        arrays: dict[str, NDArray[Any]] = {
            "band": random_signal(rng, n, top),
            "active": np.abs(random_signal(rng, n, top)),
            "ring": random_signal(rng, rows, top),
            "at": rng.integers(0, rows, 1).astype(np.uint32),
            "lists": _levels(rng, LISTS * LIST, top),
            "medians": _levels(rng, LISTS, top),
            "levels": _levels(rng, LEVELS, top),
            "clock": (clock & TURN).astype(np.uint32),
            "loud": rng.integers(0, full + 1, 1).astype(np.int32),
            "y": np.zeros(n, np.int32),
            "doubtful": np.zeros(n, np.int32),
        }
        limits = {"band": (-top, top), "active": (0, top), "ring": (-top, top), "at": (0, rows - 1)}
        limits |= dict.fromkeys(("lists", "medians", "levels"), (0, CAP))
        return Case(arrays, a | {"rows": rows}, limits | {"loud": (0, full)})


def _levels(rng: np.random.Generator, n: int, top: int) -> NDArray[np.int32]:
    """Levels of all sizes about `top`; none, often."""
    v = np.minimum((top * 2.0 ** -rng.uniform(-2, 8, n)).astype(np.int64), CAP)
    return np.where(rng.integers(0, 3, n) == 0, 0, v).astype(np.int32)
