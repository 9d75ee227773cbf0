"""Which calibration samples are outliers: a number format that reaches for them costs all others their bits.

A sample is suspected where some value of it is FAR times larger than in all but SHARE of the samples. A
range alone cannot tell a broken electrode from a rare event that is what the network is for. So both are
tried: the float network with its activations held in int8, once in ranges that reach for the suspects and
once in ranges that do not, against the float network itself. What is lost is counted by sample, and a sample
can only be lost once: one weighs as much as any other, however large it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..ir.program import Step, root
from ..ir.walk import Active
from ..ops import kernel
from .calibrate import FORWARD, Range, Runs, widest
from .float_run import RealMachine

SHARE = 20  # one sample in so many may be an outlier, or one if there are fewer
LEAST = 8  # samples that are needed to say what is usual
FAR = 4.0  # two bits
APART = 8.0  # between thresholds that are tried: three bits
GAIN = 0.9  # what is lost without the suspects, as a share of what is lost with them
LARGEST_FRAC = 24  # of an activation

Mask = NDArray[np.bool_]
Real = NDArray[np.float64]


def outliers(runs: Runs, ranges: Mapping[str, Range]) -> Mask:
    """The samples of `runs` that no format is to reach for, [samples]."""
    roots = {n: root(runs.abstract.values, n) for n in runs.names(FORWARD)}
    far = severity({n: ranges[n].tops for n in set(roots.values())})
    none = np.zeros(len(runs), bool)
    sets = _suspects(far)
    if not sets:
        return none
    trial = _Trial(runs, ranges, roots)
    best, least = none, trial.lost(none)
    for suspects in sets:  # the smallest first: a larger one must be worth more
        lost = trial.lost(suspects)
        if lost < GAIN * least:
            best, least = suspects, lost
    return best


def severity(tops: Mapping[str, Real]) -> Real:
    """By sample, how many times larger it is than all but SHARE of the samples, where this is most.

    Samples at which a value is zero throughout do not count: a feature that is rare is no outlier.
    """
    worst = np.zeros(len(next(iter(tops.values()))))
    for each in tops.values():
        there = np.sort(each[each > 0])[::-1]
        if len(there) >= LEAST:
            worst = np.maximum(worst, each / there[_allowed(len(there))])
    return worst


def _allowed(samples: int) -> int:
    return max(1, samples // SHARE)


def _suspects(far: Real) -> list[Mask]:
    """Nested sets of samples, the farthest first; none larger than allowed."""
    order = np.argsort(-far, kind="stable")[: _allowed(len(far))] if len(far) >= LEAST else np.arange(0)
    sets: list[Mask] = []
    threshold = FAR
    while np.any(far[order] >= threshold):
        chosen = np.zeros(len(far), bool)
        chosen[order[far[order] >= threshold]] = True
        if not sets or chosen.sum() < sets[0].sum():
            sets.insert(0, chosen)
        threshold *= APART
    return sets


class Held(RealMachine):
    """Holds every activation in int8 at its frac, as soon as it is written."""

    fracs: Mapping[str, int]

    def _step(self, program: str, position: int, step: Step, active: Active) -> None:
        super()._step(program, position, step, active)
        for role in kernel(step.kernel).writes:
            if step.args.get(role) in self.fracs:
                self.hold(step.args[role])

    def hold(self, name: str) -> None:
        scale = 2.0 ** self.fracs[name]
        x = self.real(name)
        with np.errstate(over="ignore"):
            x[...] = np.clip(np.rint(x * scale), -128, 127) / scale


@dataclass
class _Trial:
    """What is lost of a network whose activations are int8. roots: by value, whose range decides."""

    runs: Runs
    ranges: Mapping[str, Range]
    roots: Mapping[str, str]

    def __post_init__(self) -> None:
        abstract = self.runs.abstract
        self._want = np.zeros((len(self.runs), abstract.values[abstract.logits].size))
        for rows, machine in self.runs.forward():
            self._want[rows] = machine.real(self.runs.abstract.logits)
        self._usual = harmless(self._want)

    def lost(self, aside: Mask) -> float:
        """Sum over the samples of e^2 / (e^2 + s^2): e the largest change of a logit, s what would matter."""
        values = self.runs.abstract.values
        fracs = {
            n: min(widest(127, self.ranges[r].top(aside)), LARGEST_FRAC)
            for n, r in self.roots.items()
            if values[n].role == "activation"
        }
        each = np.zeros(len(self.runs))
        for rows in self.runs.parts():
            machine = self.runs.machine(rows, Held)
            assert isinstance(machine, Held)
            machine.fracs = fracs
            for name in self.runs.abstract.inputs:
                machine.hold(name)
            machine.run("infer")
            got = machine.real(self.runs.abstract.logits)
            with np.errstate(all="ignore"):
                ratio = self._usual[rows] / np.max(np.abs(got - self._want[rows]), axis=1)
                each[rows] = np.nan_to_num(1.0 / (1.0 + ratio * ratio))
        return math.fsum(each)


def harmless(z: Real) -> Real:
    """Of logits [n, classes], by sample, a change of one that would begin to matter.

    Half of the margin by which its class wins; where that is little, or there is one output, a quarter of
    what samples usually differ by.
    """
    least = usual(z) / 4
    scale = np.full(len(z), least)
    if z.shape[1] > 1:
        second, first = np.partition(z, -2, axis=1)[:, -2:].T
        scale[...] = np.maximum((first - second) / 2, least)
    return scale


def usual(z: Real) -> float:
    """What samples of scores [n, C] usually differ by from their middle, in the score where it is most."""
    return float(np.median(np.max(np.abs(z - np.median(z, axis=0)), axis=1)))
