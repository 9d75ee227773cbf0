"""Runs the float network with some of its values as what their integers stand for: what rounding costs.

Inputs, outputs of layers, weights and biases are held; sums are exact, as a chip's are, and rounded once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..ir.program import Abstract, Step
from ..ir.roles import ROLES
from ..ir.walk import Active
from ..ops import Format, changed
from .calibrate import Runs
from .float_run import RealMachine, spread
from .outliers import harmless
from .quantise import Quantised

CLEARLY = 0.995  # of what is lost

Real = NDArray[np.float64]


class Simulated(RealMachine):
    """A float run in which the values `enter`ed are what their integers stand for."""

    formats: Mapping[str, Format]

    def enter(self, quantised: Quantised, names: Collection[str], inputs: Collection[str]) -> None:
        """Takes the integers of constants and weights among `names`, and formats for what is written from
        now on. inputs: those of the network, which are loaded already."""
        formats, data = quantised.formats, quantised.data
        real = {n for n in names if (facts := ROLES[self.values[n].role]).scaled and not facts.derived}
        self.formats = {n: formats[n] for n in real if n in self.arena}
        for name in real - self.formats.keys():
            self._arrays[name][...] = formats[name].meaning.real(data[name])
        for name in self.formats.keys() & {*inputs}:
            self._hold(name, np.rint)

    def _step(self, program: str, position: int, step: Step, active: Active) -> None:
        super()._step(program, position, step, active)
        for name in changed(step).values():
            if name in self.formats:
                self._hold(name, _half_up)

    def _hold(self, name: str, nearest: Callable[[Real], Real]) -> None:
        """nearest: ties to even where a caller quantises, halves up where a step does."""
        x, fmt = self.real(name), self.formats[name]
        zero, one = fmt.meaning.real([0.0, 1.0])
        units = nearest((x - zero) / (one - zero))
        x[...] = fmt.meaning.real(np.clip(units, fmt.lo, fmt.hi))


def _half_up(units: Real) -> Real:
    return np.asarray(np.floor(units + 0.5), np.float64)


def inferred(abstract: Abstract) -> set[str]:
    """The values that `forward` names."""
    return {n for program, s in abstract.steps() if program == "forward" for n in s.args.values()}


@dataclass(frozen=True, slots=True)
class Loss:
    """What integers cost. agree: the share of samples that keep their class; lost: the sum over samples of
    e^2 / (e^2 + s^2), e the largest change of a score, s what would matter."""

    agree: float
    lost: float

    @property
    def rank(self) -> tuple[float, float]:
        """The smaller the better: a difference of some classes is chance."""
        return -round(self.agree * 50) / 50, self.lost

    def clearly(self, other: Loss) -> bool:
        """Whether it is less than another by more than chance."""
        (mine, lost), (theirs, there) = self.rank, other.rank
        return mine < theirs or (mine == theirs and lost < CLEARLY * there)


class Trial:
    """The float network's answers to the calibration data, against which Plans are held.

    classes: whether an answer is a class, which may change; else only how far it is off counts
    most:    samples that are run, evenly spread
    """

    def __init__(self, runs: Runs, classes: bool = True, most: int | None = None) -> None:
        self.runs, self.classes = runs, classes
        self._chosen = spread(len(runs), most or len(runs))
        self._names = inferred(runs.abstract)
        parts = [self._answers(runs.machine(rows)) for rows in runs.parts(self._chosen)]
        self._want, self._winner = (np.concatenate(part) for part in zip(*parts, strict=True))
        self._harmless = harmless(self._want)

    def _answers(self, machine: RealMachine) -> tuple[Real, NDArray[np.generic]]:
        """(scores [samples, C], classes [samples])."""
        machine.run("infer")
        return machine.real(self.runs.abstract.logits).copy(), machine.arena["verdict"][:, 0].copy()

    def of(self, quantised: Quantised, names: Collection[str] = ()) -> Loss:
        """What these integers cost; of the values `names` alone where they are given."""
        same, lost, at = 0, [], 0
        with np.errstate(all="ignore"):
            for rows in self.runs.parts(self._chosen):
                machine = self.runs.machine(rows, Simulated)
                assert isinstance(machine, Simulated)
                machine.enter(quantised, names or self._names, self.runs.abstract.inputs)
                got, winner = self._answers(machine)
                part = slice(at, at + len(rows))
                at += len(rows)
                same += int(np.sum(winner == self._winner[part]))
                ratio = self._harmless[part] / np.max(np.abs(got - self._want[part]), axis=1)
                lost += np.nan_to_num(1.0 / (1.0 + ratio * ratio)).tolist()
        return Loss(same / len(self._chosen) if self.classes else 1.0, math.fsum(lost))
