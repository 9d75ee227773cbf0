"""What is measured of the block `r_peak`: counts, latency, noise, other rates, bad input, memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.stages.front_alone import front_alone
from synapcc.host.run.kept import Result

from ..protocol import DS1, DS2
from ..records import FS, PACED
from . import hard, trust
from .choose import DECIBELS, Each
from .data import START, Recording, at_rate, recording
from .detect import NAME, Found, detect, front_end
from .match import WINDOW, Count, Places, Span, counted, matched, within
from .noise import KINDS, height, noisy, spells
from .quality import SECONDS, Windows, auc, joined, told_apart, windows

SETS = {"DS1": DS1, "DS2": DS2, "paced": PACED}
RATES = (100, 128, 250, 500, 1000)
SEED = 11
"""Of the noise; settings were chosen with another one."""
PATIENTS = 12
"""Synthetic ones that meet bad input."""
HARD_RATES = (100, 250, 1000)
REACH, FAINT = 0.05, 0.2
"""Seconds about an annotated R peak, and the share of the record's median QRS height: a beat that is lower
within them is hardly there in this lead."""


@dataclass(frozen=True)
class Case:
    """What is measured of one set of records, or of synthetic patients."""

    what: str
    of: str

    @property
    def name(self) -> str:
        """What the file of results calls it."""
        return f"{self.of} | {self.what}"


def cases() -> Iterator[Case]:
    """All, the cheap ones first."""
    yield Case("memory", "synthetic")
    yield Case("bad input", "synthetic")
    for what in ("plain", "inverted", *(f"{rate} Hz" for rate in RATES), "noise"):
        for of in SETS:
            yield Case(what, of)
    for of in SETS:
        yield Case("lead off", of)
    yield Case("doubt", "DS1")


def result(case: Case, each: Each = map) -> Result:
    """A case, measured; `each` may be that of several processes."""
    if case.of == "synthetic":
        return {"of": case.name, "found": _memory() if case.what == "memory" else _hard(each)}
    if case.what == "noise":
        return {"of": case.name, "found": _noise(case.of, each)}
    own = {"plain": _plain, "doubt": _doubt, "lead off": _lead_off}
    one = own.get(case.what) or partial(_changed, case.what)
    names = SETS[case.of]
    return {"of": case.name, "found": dict(zip(names, each(one, names), strict=True))}


def is_result(found: object) -> bool:
    """Whether it is what is kept of a case."""
    return isinstance(found, dict) and found.keys() == {"of", "found"}


def _usual(of: Recording) -> Found:
    return detect(of.x, front_end(of.rate, of.gain))


def _changed(what: str, name: str) -> Result:
    of = recording(name)
    of = of.inverted if what == "inverted" else at_rate(of, int(what.split()[0]))
    return asdict(counted(of.rpeak, _usual(of).at, of.rate, START, of.flutter))


def _plain(name: str) -> Result:
    """Also how many of the missed beats are faint, how often each age in samples occurs, and each distance of
    R peaks that match."""
    of = recording(name)
    found = _usual(of)
    late = found.at >= START * of.rate
    places = np.sort(found.at)
    of_truth, _ = matched(of.rpeak, places, round(WINDOW * of.rate))
    inside = (of.rpeak >= START * of.rate) & ~within(of.rpeak, of.flutter)
    both, missed = inside & (of_truth >= 0), of.rpeak[inside & (of_truth < 0)]
    apart = places[of_truth[both]] - of.rpeak[both]
    return asdict(counted(of.rpeak, found.at, of.rate, START, of.flutter)) | {
        "faint": int(faint(of, missed).sum()),
        "ages": sorted(Counter(found.age[late].tolist()).items()),
        "apart": sorted(Counter(apart.tolist()).items()),
    }


def _doubt(name: str) -> Result:
    return trust.withheld(recording(name))


def _lead_off(name: str) -> Result:
    return trust.off(recording(name))


def faint(of: Recording, places: Places) -> NDArray[np.bool_]:
    """Which of the beats the lead hardly shows."""
    reach = round(REACH * of.rate)
    heights = [int(np.ptp(of.x[max(0, p - reach) : p + reach + 1].astype(np.int32))) for p in places]
    return np.array(heights) < FAINT * height(of.x, of.rpeak, of.rate)


def _noisy(kind: str, decibel: int, name: str) -> tuple[Count, Windows]:
    of = recording(name)
    x = noisy(of.x, of.rpeak, of.rate, (kind,), decibel, SEED, START)
    front = front_end(of.rate, of.gain)
    left_out = [*of.flutter, *_spans(~spells(len(x), of.rate, START))]
    return counted(of.rpeak, detect(x, front).at, of.rate, START, left_out), windows(of, x, front)


def _noise(of: str, each: Each) -> Result:
    """Of each kind and ratio what counts within the spells of noise; and the flag over all windows."""
    every: list[Windows] = []
    found: Result = {}
    for kind in KINDS:
        for decibel in DECIBELS:
            counts, parts = zip(*each(partial(_noisy, kind, decibel), SETS[of]), strict=True)
            found[f"{kind} {decibel}"] = asdict(sum(counts, Count()))
            every += parts
    all_of = joined(every)
    flagged, passed = told_apart(all_of.doubtful > 0.5, all_of.bad)
    sizes = {"windows": len(all_of.bad), "bad_windows": int(all_of.bad.sum()), "seconds": SECONDS}
    return found | {"flag": {"auc": auc(all_of.loudness, all_of.bad), "bad": flagged, "good": passed} | sizes}


def _spans(inside: Iterable[bool]) -> list[Span]:
    """First and last index of each run of true values."""
    edges = np.diff(np.concatenate([[0], np.asarray(inside, np.int8), [0]]))
    starts, stops = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return list(zip(starts.tolist(), (stops - 1).tolist(), strict=True))


def _recovery(name: str, rate: int, seed: str) -> float:
    return hard.recovery(hard.patient(int(seed), rate), hard.EVENTS[name])


def _hard(each: Each) -> Result:
    ways = [(name, rate) for name in hard.EVENTS for rate in HARD_RATES]
    return {f"{n} {r}": [*each(partial(_recovery, n, r), map(str, range(PATIENTS)))] for n, r in ways}


def _memory() -> Result:
    """Of each rate: bytes that the block keeps, and the largest limit of its signals and sums over 2^31."""
    found: Result = {}
    for rate in sorted((*RATES, FS)):
        plan = front_alone(front_end(rate, hard.GAIN), 10).plan
        own = [t for t in plan.tensors if t.name.startswith(f"front_{NAME}")]
        kept = sum(t.nbytes for t in own if t.space == "state")
        top = max(max(-t.lo, t.hi) for t in own if t.dtype == "int32")
        found[str(rate)] = {"bytes": kept, "top": top}
    return found
