"""What calibration saw, and which frac it asks for: the least squared error over what is no outlier.

Activations and logits are looked at before formats are chosen, teaching signals once their limits are known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..ir.program import Abstract, root
from ..ops import Format
from .calibrate import FORWARD, TEACHING, Reals, Runs, Tally, Target, Tick, widest
from .outliers import FAR, outliers

INT8, UINT8, INT16 = 127, 255, 32767
BELOW = 1 << 62  # units: what is held as 0 is not clipped
LOGIT_ROOM = 4  # learning moves logits
LEAST_LOGIT = 2.0**-10
SILENT_FRAC = 8  # of a teaching signal that is zero throughout


@dataclass(frozen=True, slots=True)
class Seen:
    """What calibration saw of a value.

    lo, hi:  its extremes
    clipped: the share of values that its format clips
    aside:   in how many samples that were set aside it is FAR times larger than in all others
    factor:  how many times larger it is there at most
    """

    lo: float
    hi: float
    clipped: float
    aside: int = 0
    factor: float = 1.0

    def warning(self, name: str, samples: int) -> str:
        """One line on what the format of value `name` ignores."""
        holds = "holds" if self.aside == 1 else "hold"
        return (
            f"{name}: {self.aside} of {samples} calibration samples {holds} values up to {self.factor:.3g} "
            "times larger than the rest; its format ignores them"
        )


@dataclass(frozen=True, slots=True)
class Sampled:
    """Which calibration samples formats were chosen from.

    given:  how many there are
    chosen: those that were run, as indices
    taught: how many of them gave teaching signals, each under `labels` labels; 0 if nothing learns
    aside:  which of `chosen` are outliers
    """

    given: int
    chosen: NDArray[np.intp]
    taught: int
    labels: int
    aside: NDArray[np.bool_]

    @property
    def usual(self) -> NDArray[np.intp]:
        """Those of `chosen` that are no outliers: what formats reach for."""
        return self.chosen[~self.aside]


class Observed:
    """Chooses fracs from calibration. aside: which of the samples in `runs` are outliers.

    floors: activations that are held in UINT8 integers from a floor on, whatever of them is below it
    """

    def __init__(
        self,
        abstract: Abstract,
        calibration: Reals,
        floors: Mapping[str, float] | None = None,
        tick: Tick = lambda share: None,
    ) -> None:
        self.abstract, self.floors = abstract, floors or {}
        self.runs = Runs(abstract, calibration, tick)
        self.ranges = self.runs.ranges()
        self.aside = outliers(self.runs, self.ranges)
        self.taught = False
        targets = {n: self._target(n) for n in self.runs.names(FORWARD)}
        self._tallies: dict[str, Tally] = self.runs.tallies(targets, taught=False)

    @property
    def sampled(self) -> Sampled:
        return Sampled(self.runs.given, self.runs.chosen, len(self.runs.taught), self.runs.turns, self.aside)

    def _target(self, name: str) -> Target:
        of = root(self.abstract.values, name)
        top = self.top(of)
        if self.abstract.values[of].role in ("logits", "gate"):
            wanted = 0.0 if self.runs.target is None else float(np.max(np.abs(self.runs.target)))
            frac = widest(INT16, LOGIT_ROOM * max(top, LEAST_LOGIT, wanted))
            return Target(-INT16 - 1, INT16, frac, compared=False)
        if name in self.floors:
            floor = max(self.floors[of], -top)
            return Target(-BELOW, UINT8, widest(UINT8, top - floor), name == of, floor)
        return Target(-INT8 - 1, INT8, widest(INT8, top), name == of)

    def top(self, name: str) -> float:
        """The largest magnitude of a value, outliers left out."""
        return self.ranges[name].top(self.aside)

    def teach(self, limits: Mapping[str, int], fixed: Mapping[str, Format]) -> None:
        """Looks at the teaching signals.

        limits: the largest integer of each that has a format of its own
        fixed:  the formats that are known
        """
        targets = {}
        for name in self.runs.names(TEACHING):
            of = root(self.abstract.values, name)
            if of in limits:
                hi, top = limits[of], self.top(of)
                targets[name] = Target(-hi - 1, hi, widest(hi, top) if top else SILENT_FRAC, name == of)
            elif not self._fits(name, fixed[of]):
                targets[name] = Target(fixed[of].lo, fixed[of].hi, fixed[of].frac, compared=False)
        if targets:
            self._tallies |= self.runs.tallies(targets, taught=True)
        self.taught = True

    def _fits(self, name: str, fmt: Format) -> bool:
        """Whether the format holds all that was seen."""
        span = self.ranges[name]
        lo, hi = fmt.meaning.units([max(span.lo, self.floors.get(name, span.lo)), span.hi])
        return bool(fmt.lo <= lo and hi <= fmt.hi)

    def activation(self, name: str) -> int:
        """The frac of an activation that has a format of its own."""
        return self._tallies[name].best(self.aside)

    def logits(self, name: str) -> int:
        return self._tallies[name].target.widest

    def signal(self, name: str) -> int:
        """The frac of a teaching signal that has a format of its own."""
        return self._tallies[name].best(self.aside)

    def seen(self, formats: Mapping[str, Format]) -> dict[str, Seen]:
        """Of every activation, logit and teaching signal, given the formats that were chosen."""
        return {n: self._seen(n, formats[n]) for n in self.ranges}

    def _seen(self, name: str, fmt: Format) -> Seen:
        span, rest = self.ranges[name], self.top(name)
        if self.abstract.values[root(self.abstract.values, name)].format:  # no choice of ours
            return Seen(span.lo, span.hi, 0.0)
        clipped = 0.0 if self._fits(name, fmt) else self._tallies[name].clipped(fmt.power)
        far = span.tops[self.aside & (span.tops > FAR * rest)]
        if not rest or not len(far) or clipped == 0.0:
            return Seen(span.lo, span.hi, clipped)
        return Seen(span.lo, span.hi, clipped, len(far), float(far.max() / rest))
