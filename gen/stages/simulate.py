"""Runs the float network with some of its values as what their integers stand for: what rounding costs.

Inputs, outputs of layers, weights and biases are held; sums are exact, as a chip's are, and rounded once.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..ir.program import Abstract, Step, reached
from ..ir.roles import ROLES
from ..ir.walk import Active
from ..ops import Format, changed
from .answers import Answers
from .calibrate import Runs, steps
from .float_run import RealMachine, spread
from .outliers import harmless
from .quantise import Quantised

CLEARLY = 0.995  # of what is lost
KEPT = 1 << 25  # real numbers that stay from one trial for the next: 256 MB

Real = NDArray[np.float64]


class Simulated(RealMachine):
    """A float run in which the values `enter`ed are what their integers stand for."""

    formats: Mapping[str, Format]
    _settled: Container[str] = frozenset()

    def enter(
        self,
        quantised: Quantised,
        names: Collection[str],
        inputs: Collection[str],
        settled: Container[str] = frozenset(),
    ) -> None:
        """Takes the integers of constants and weights among `names`, and formats for what is written from
        now on. inputs: those of the network, which are loaded already. settled: values that stay as they are;
        steps that write nothing else are not run."""
        formats, data = quantised.formats, quantised.data
        self._settled = settled
        real = {n for n in names if (facts := ROLES[self.values[n].role]).scaled and not facts.derived}
        self.formats = {n: formats[n] for n in real if n in self.arena}
        for name in real - self.formats.keys():
            if name not in settled:
                self.array(name)[...] = formats[name].meaning.real(data[name])
        for name in self.formats.keys() & {*inputs}:
            if name not in settled:
                self._hold(name, np.rint)

    def fresh(self, names: Collection[str], inputs: Mapping[str, Real]) -> Simulated:
        """A machine that shares all values with this one but `names`, which are as before any run; inputs:
        those of the network, by name."""
        other = copy.copy(self)
        other.const, other.state, other.arena = ({**space} for space in (self.const, self.state, self.arena))
        for name in names:
            for space in (other.const, other.state, other.arena):
                if name in space:
                    space[name] = self._initial(self.values[name], len(space[name]))
        other.load({n: x for n, x in inputs.items() if n in names})
        return other

    def _step(self, program: str, position: int, step: Step, active: Active) -> None:
        written = changed(step).values()
        if written and all(name in self._settled for name in written):
            return
        super()._step(program, position, step, active)
        for name in written:
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
    forward = reached(abstract.programs, "forward")
    return {n for program, s in abstract.steps() if program in forward for n in s.args.values()}


@dataclass(frozen=True, slots=True)
class Loss:
    """What integers cost. agree: the share of samples that keep their answer; lost: the sum over samples of
    e^2 / (e^2 + s^2), e the largest change of a score, s what would matter."""

    agree: float
    lost: float

    @property
    def rank(self) -> tuple[float, float]:
        """The smaller the better: a difference of some answers is chance."""
        return -round(self.agree * 50) / 50, self.lost

    def clearly(self, other: Loss) -> bool:
        """Whether it is less than another by more than chance."""
        (mine, lost), (theirs, there) = self.rank, other.rank
        return mine < theirs or (mine == theirs and lost < CLEARLY * there)


@dataclass(frozen=True)
class Variant:
    """Integers that are tried: those of the values `names`, all others as real numbers."""

    quantised: Quantised
    names: Collection[str]

    def differs(self, other: Variant) -> set[str]:
        """The values that are not what they are in `other`."""
        mine, theirs = self.quantised, other.quantised
        found = {*self.names} ^ {*other.names}
        for name in {*self.names} & {*other.names} if mine is not theirs else ():
            same = mine.formats[name] == theirs.formats[name]
            if not same or not np.array_equal(mine.data.get(name, 0), theirs.data.get(name, 0)):
                found.add(name)
        return found


class _Part:
    """Some samples. A base is run as a whole, and what is like it for the most part only where it differs."""

    def __init__(self, runs: Runs, rows: NDArray[np.intp], base: Variant) -> None:
        self.abstract, self.base = runs.abstract, base
        machine = runs.machine(rows, Simulated)
        assert isinstance(machine, Simulated)
        self._inputs = {n: machine.real(n).copy() for n in self.abstract.inputs}
        self._machine = machine
        machine.enter(base.quantised, base.names, self.abstract.inputs)
        self.scores = self._run(machine)

    def _run(self, machine: Simulated) -> Real:
        """[samples, C]"""
        with np.errstate(all="ignore"):
            machine.run("infer")
        return machine.real(self.abstract.logits).copy()

    def other(self, variant: Variant) -> Real:
        """The scores of another variant, [samples, C]."""
        anew = behind(self.abstract, variant.differs(self.base))
        machine = self._machine.fresh(anew, self._inputs)
        machine.enter(
            variant.quantised, variant.names, self.abstract.inputs, self.abstract.values.keys() - anew
        )
        return self._run(machine)


def share(abstract: Abstract, names: Collection[str]) -> float:
    """Of all values in the arena those that are in `names`."""
    size = {n: v.size for n, v in abstract.values.items() if v.space == "arena"}
    return sum(size.get(n, 0) for n in names) / sum(size.values())


def behind(abstract: Abstract, names: Collection[str]) -> set[str]:
    """`names`, and what of `infer` is written anew where these change.

    A value that several steps write is written by all of them or by none. What is read before it has all of
    its content is always written.
    """
    found, size = {*names, *_unsettled(abstract)}, -1
    while size != len(found):
        size = len(found)
        for step in steps(abstract.programs, "infer"):
            if not found.isdisjoint(step.args.values()):
                found.update(changed(step).values())
    return found


def _unsettled(abstract: Abstract) -> set[str]:
    read: set[str] = set()
    found: set[str] = set()
    for step in steps(abstract.programs, "infer"):
        writes = {*changed(step).values()}
        found |= writes & read
        read |= {*step.args.values()} - writes
    return found


class Trial:
    """The float network's answers to the calibration data, against which Plans are held.

    most: samples that are run, evenly spread
    """

    def __init__(self, runs: Runs, kind: Answers, most: int | None = None) -> None:
        self.runs, self.kind = runs, kind
        self._chosen = spread(len(runs), most or len(runs))
        self._names = inferred(runs.abstract)
        self._want = np.concatenate([self._float(rows) for rows in runs.parts(self._chosen)])
        self._harmless = harmless(self._want)
        self._kept: tuple[Quantised, list[_Part]] | None = None

    def __len__(self) -> int:
        return len(self._chosen)

    @property
    def work(self) -> int:
        """Of one network."""
        return len(self) * self.runs.work

    def anew(self, names: Iterable[str]) -> int:
        """The work of changing each of these values by itself."""
        return int(self.work * sum(share(self.runs.abstract, behind(self.runs.abstract, {n})) for n in names))

    def forget(self) -> None:
        """Lets go of what stays from one trial for the next."""
        self._kept = None

    def _float(self, rows: NDArray[np.intp]) -> Real:
        machine = self.runs.machine(rows)
        machine.run("infer")
        return machine.real(self.runs.abstract.logits).copy()

    def of(self, quantised: Quantised) -> Loss:
        """What these integers cost."""
        return self._loss(np.concatenate([part.scores for part in self._held(quantised)]))

    def alone(self, quantised: Quantised, sets: Sequence[Collection[str]]) -> list[Loss]:
        """What the integers of each of these sets of values cost by themselves."""
        parts = self._parts(Variant(quantised, ()))
        return self._each(parts, [Variant(quantised, names) for names in sets])

    def beside(self, base: Quantised, others: Sequence[Quantised]) -> list[Loss]:
        """What each of `others` costs, which are like `base` for the most part."""
        return self._each(self._held(base), [Variant(q, self._names) for q in others])

    def _held(self, base: Quantised) -> Iterable[_Part]:
        """All samples behind these integers; kept for the next trial where they are not too many."""
        if self._kept and self._kept[0] is base:
            return self._kept[1]
        self._kept = None
        parts = self._parts(Variant(base, self._names))
        each = sum(v.size for v in self.runs.abstract.values.values() if v.space == "arena")
        if each * len(self) > KEPT:
            return parts
        self._kept = base, list(parts)
        return self._kept[1]

    def _parts(self, base: Variant) -> Iterator[_Part]:
        for rows in self.runs.parts(self._chosen):
            yield _Part(self.runs, rows, base)

    def _each(self, parts: Iterable[_Part], variants: Sequence[Variant]) -> list[Loss]:
        scores: list[list[Real]] = [[] for _ in variants]
        for part in parts:
            for variant, found in zip(variants, scores, strict=True):
                found.append(part.other(variant))
        return [self._loss(np.concatenate(found)) for found in scores]

    def _loss(self, got: Real) -> Loss:
        with np.errstate(all="ignore"):
            same = self.kind.same(self._want, got)
            ratio = self._harmless / np.max(np.abs(got - self._want), axis=1)
            lost = np.nan_to_num(1.0 / (1.0 + ratio * ratio))
        return Loss(float(np.mean(same)), math.fsum(lost))
