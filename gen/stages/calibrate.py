"""Runs the abstract programs over the calibration data, and keeps what number formats are chosen from.

However many samples there are, and however large a network, as much memory is taken as realrun.ROOM allows:
values are looked at, a chunk of samples at a time, and let go. What is kept are numbers of each sample,
summed up exactly in the end (math.fsum), so that the size of the chunks decides nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from ..ir.inputs import TARGET
from ..ir.program import Abstract, Call, Item, Program, Repeat, Step
from ..ir.roles import AGAIN
from ..ops import changed, kernel
from .float_run import SAMPLES, RealMachine, chunks, spread

LABELS = 8  # wrong labels tried on each sample, for the range of the teaching signals
LEAST_LABELS = 2
WORK = 3 << 34  # multiply-accumulates of one pass over the teaching signals: some ten seconds
FINER = 3  # fracs that are compared: the one that clips nothing, and the two above it
CLEARLY = 1.0 - 1e-9  # a finer frac errs less by more than rounding of the sums
LEAST, RUN = 256, 1 << 33  # samples of a large network that are run, and the work that allows more
WRITTEN = 10  # multiply-accumulates that a value written takes as long as
BLOCK = 1 << 15  # values that are looked at in one go
EXTREME = 1020  # fracs beyond this, either way, are held here: 2^1020 is still a number
FAR = 2.0**8  # targets so much larger than the scores leave these 7 of 15 bits
LARGEST = float(np.finfo(np.float32).max)  # the program around a model hands it no more

Reals = Mapping[str, NDArray[np.float64]]
Real = NDArray[np.float64]
Index = NDArray[np.intp]
Tick = Callable[[float], None]
ITSELF = "mse_error.input"  # the step that teaches a network its own input
FORWARD, TEACHING = ("activation", "logits", "gate"), ("teach", "error")


@dataclass(frozen=True, slots=True)
class Range:
    """What a value held: extremes over everything, and the largest magnitude of each sample, [samples]."""

    lo: float
    hi: float
    tops: Real

    def top(self, aside: NDArray[np.bool_]) -> float:
        """The largest magnitude among the samples that are not set aside."""
        return float(np.max(self.tops[~aside], initial=0.0))


@dataclass(frozen=True, slots=True)
class Target:
    """An integer range lo .. hi, and the largest frac at which what was not set aside stays within.

    compared: whether the fracs above it are of interest
    floor:    a real number below 0 that takes as many of the hi + 1 integers as it needs; 0 if it is none
    """

    lo: int
    hi: int
    widest: int
    compared: bool = True
    floor: float = 0.0

    def ends(self, frac: int) -> tuple[int, int]:
        """The first and the last integer at this frac."""
        if not self.floor:
            return self.lo, self.hi
        first = min(below(self.floor, frac), (self.hi + 1) // 2)
        return -first, self.hi - first


def below(floor: float, frac: int) -> int:
    """How many integers of 2^-frac `floor` needs below zero."""
    return math.ceil(-floor * 2.0**frac)


def widest(hi: int, top: float) -> int:
    """The largest frac at which magnitudes up to `top` fit integers up to hi; 0 if there are none."""
    if top == 0.0:
        return 0
    ratio = hi / top
    return EXTREME if math.isinf(ratio) else max(-EXTREME, min(EXTREME, math.frexp(ratio)[1] - 1))


@dataclass
class Tally:
    """How well a value is held by the FINER fracs from target.widest on.

    errors: squared error by sample, [samples, FINER], in real units
    beyond: by frac, how many values lie beyond the target's integers; what is not listed clips none
    """

    target: Target
    errors: Real
    values: int = 0
    beyond: dict[int, int] = field(default_factory=dict)

    def see(self, rows: Index, x: Real) -> None:
        """Takes note of the values [rows, size] of the samples `rows`."""
        self.values += x.size
        step = max(1, BLOCK // x.shape[1])
        for at in range(0, len(x), step):
            part = x[at : at + step]
            for i in range(FINER if self.target.compared else 0):
                error = self._error(part, self.target.widest + i)
                self.errors[rows[at : at + step], i] += np.sum(np.multiply(error, error, out=error), axis=1)
            self._count(part)

    def _error(self, x: Real, frac: int) -> Real:
        """What `frac` makes of values less these."""
        held = x * 2.0**frac  # and in place from here on: values and errors stay in the cache
        np.rint(held, out=held)
        lo, hi = self.target.ends(frac)
        np.clip(held, max(lo, -hi), hi, out=held)
        held *= 2.0**-frac
        held -= x
        return held

    def _count(self, x: Real) -> None:
        """From the finest frac on to coarser ones, until nothing is clipped."""
        frac = self.target.widest + FINER - 1  # another value of the group may have asked for the finest
        x = x[np.abs(x) > min(*map(abs, self.target.ends(frac))) * 2.0**-frac]
        while len(x):
            scaled, (lo, hi) = np.rint(x * 2.0**frac), self.target.ends(frac)
            x = x[(scaled < lo) | (scaled > hi)]
            if len(x):
                self.beyond[frac] = self.beyond.get(frac, 0) + len(x)
            frac -= 1

    def best(self, aside: NDArray[np.bool_]) -> int:
        """The frac with the least squared error over the samples that are not set aside."""
        rest = self.errors[~aside]
        sums = [math.fsum(rest[:, i]) for i in range(FINER)]
        best = 0
        for i in range(1, FINER):
            if sums[i] < sums[best] * CLEARLY:
                best = i
        return self.target.widest + best

    def clipped(self, frac: int) -> float:
        """The share of all values seen that `frac` clips."""
        return self.beyond.get(frac, 0) / self.values if self.values else 0.0


class Runs:
    """The float network over the calibration data, as often as asked.

    given:   how many samples there are
    chosen:  the samples that are run, as indices of those given
    taught:  those of them that are also taught from, as indices of `chosen`
    programs: those of `abstract`, and `teach`: what is run of `adapt`, behind its forward program
    turns:   the labels that each of these is taught with
    tick:    is told, a chunk of samples at a time, which share of the passes is done that formats need
    """

    def __init__(self, abstract: Abstract, calibration: Reals, tick: Tick = lambda share: None) -> None:
        self.abstract, self.tick, self._ran = abstract, tick, 0
        self.given = len(calibration[abstract.inputs[0]])
        self.programs = dict(abstract.programs)
        self.chosen = spread(self.given, min(SAMPLES, max(LEAST, RUN // self.work)))
        sizes = {n: abstract.values[n].size for n in abstract.inputs}
        given = {n: calibration[n].reshape(self.given, size) for n, size in sizes.items()}
        every = len(self.chosen) == self.given  # then these are no copies, of which each candidate has one
        self.inputs = given if every else {n: _held(x[self.chosen]) for n, x in given.items()}
        label = calibration.get("label")
        self.label = None if label is None else label[self.chosen].astype(np.int64)
        target = calibration.get(TARGET)
        self.target = None if target is None else target[self.chosen]
        if any(step.kernel == ITSELF for _, step in abstract.steps()):
            self.target = self.inputs[abstract.inputs[0]].astype(np.float64, copy=False)
        self.taught, self.turns = np.arange(0), 0
        if "adapt" in abstract.programs:
            self._plan_teaching()
        self._whole: RealMachine | None = None

    def __len__(self) -> int:
        return len(self.chosen)

    def _told(self, rows: Index) -> None:
        """A program ran on these samples. Ranges and tallies need them all once forward, and once taught."""
        self._ran += len(rows)
        passes = 2 * (len(self) + (1 + self.turns) * len(self.taught))
        self.tick(min(1.0, self._ran / passes))

    def _plan_teaching(self) -> None:
        """As many labels and then samples as WORK allows; the forward program runs once for all labels."""
        adapt = self.abstract.programs["adapt"]
        items = tuple(i for i in adapt.items if i != Call("forward"))
        self.programs["teach"] = Program("teach", "adapt, behind its forward program", items)
        self.programs = without_trials(self.abstract, self.programs, "teach")
        once, label = (_macs(self.abstract, self.programs, p) for p in ("infer", "teach"))
        self.turns = LABELS if TARGET in self.abstract.values else min(LABELS, self.abstract.classes)
        self.turns = self.turns if {TARGET, "label"} & self.abstract.values.keys() else 1
        least = min(LEAST_LABELS, self.turns)
        while self.turns > least and len(self) * (once + self.turns * label) > WORK:
            self.turns -= 1
        self.taught = spread(len(self), max(1, WORK // max(1, once + self.turns * label)))

    @property
    def work(self) -> int:
        """What one sample costs, in multiply-accumulates: a value that is written takes as long as some."""
        each = sum(v.size for v in self.abstract.values.values() if v.space == "arena")
        return _macs(self.abstract, self.programs, "infer") + WRITTEN * each

    @property
    def left(self) -> list[str]:
        """A note where fewer samples are run than of a small network."""
        if len(self) == min(SAMPLES, self.given):
            return []
        of = f"{len(self)} of {self.given} calibration samples are run"
        return [f"{of}: more would take more than 2^{RUN.bit_length() - 1} multiply-accumulates a pass"]

    def names(self, roles: tuple[str, ...]) -> list[str]:
        """Values of the arena that have these roles; those of a second forward pass have the formats of the
        first, which alone says what they must hold."""
        arena = [v for v in self.abstract.values.values() if v.space == "arena" and v.use != AGAIN]
        return [v.name for v in arena if v.role in roles]

    def forward(self) -> Iterator[tuple[Index, RealMachine]]:
        """(samples, machine behind `infer`) chunk by chunk."""
        yield from self._forward(np.arange(len(self)))

    def _forward(self, samples: Index) -> Iterator[tuple[Index, RealMachine]]:
        for rows in self.parts(samples):
            whole = self._whole is not None and len(rows) == len(self)
            machine = self._whole if whole else self.machine(rows)
            assert machine is not None
            if not whole:
                machine.run("infer")
            if len(rows) == len(self):
                self._whole = machine
            yield rows, machine
            self._told(rows)

    def parts(self, samples: Index | None = None) -> Iterator[Index]:
        """The samples (all if None), as many at a time as memory is meant to hold."""
        of = np.arange(len(self)) if samples is None else samples
        return (of[part] for part in chunks(self.abstract.values, len(of)))

    def machine(self, rows: Index, kind: type[RealMachine] = RealMachine) -> RealMachine:
        """A machine that holds these samples' inputs."""
        machine = kind(self.abstract.values, self.programs, len(rows), shared=True)
        machine.load({n: x[rows] for n, x in self.inputs.items()})
        return machine

    def teaching(
        self, samples: Index | None = None, turns: int | None = None
    ) -> Iterator[tuple[Index, RealMachine]]:
        """(samples, machine behind `adapt`) chunk by chunk, once for each label; those `taught` and all
        labels if not told otherwise.

        Right and wrong labels: a wearer's samples will be wrong more often than the calibration data.
        """
        names = self.names(TEACHING)
        of = self.taught if samples is None else samples
        turns = self.turns if turns is None else min(turns, self.turns)
        for rows, machine in self._forward(of) if turns else ():
            for turn in range(turns):
                for name in names:  # a sample without error leaves its signals as they are
                    machine.arena[name][...] = 0
                machine.load(self.wanted(rows, machine, turn))
                machine.run("teach")
                yield rows, machine
                self._told(rows)

    def wanted(self, rows: Index, machine: RealMachine, turn: int) -> dict[str, NDArray[np.generic]]:
        """What the samples are taught: their labels, or targets, in turn 0, later those of others."""
        if "label" in self.abstract.values:
            base = machine.arena["verdict"][:, 0].astype(np.int64)
            base = base if self.label is None else self.label[rows]
            return {"label": ((base + turn) % self.abstract.classes)[:, None]}
        if TARGET not in self.abstract.values:
            return {}
        if self.target is None:
            return {TARGET: np.roll(machine.real(self.abstract.logits), turn + 1, axis=0)}
        return {TARGET: self.target[(rows + turn) % len(self)]}

    def ranges(self) -> dict[str, Range]:
        """Of every activation, logit and teaching signal. Raises CompileError where floats overflow."""
        found: dict[str, Range] = {}
        if not self.given:  # a file brings all formats, and nothing is to be seen
            return {n: Range(0.0, 0.0, np.zeros(0)) for n in self.names((*FORWARD, *TEACHING))}
        with np.errstate(all="ignore"):
            self._widen(found, self.forward(), self.names(FORWARD))
            self._widen(found, self.teaching(), self.names(TEACHING))
        for name, seen in found.items():
            wrong = np.flatnonzero(~(seen.tops <= LARGEST))
            if len(wrong):
                top = float(seen.tops[wrong[0]])
                reached = f"{top:.3g}" if np.isfinite(top) else "infinity"
                what = f"calibration sample {self.chosen[wrong[0]]} drives this value to {reached}"
                hint = "remove the samples that hold such values, or scale the inputs or the weights down"
                raise CompileError(name, f"{what}, beyond what a float32 holds", hint)
        return found

    def _widen(
        self, found: dict[str, Range], run: Iterator[tuple[Index, RealMachine]], names: list[str]
    ) -> None:
        for rows, machine in run:
            for name in names:
                x = machine.peaks.get(name, machine.real(name))
                before = found.get(name, Range(np.inf, -np.inf, np.zeros(len(self))))
                least, most = np.min(x, axis=1), np.max(x, axis=1)
                before.tops[rows] = np.maximum(before.tops[rows], np.maximum(most, -least))
                lo, hi = min(before.lo, float(np.min(least))), max(before.hi, float(np.max(most)))
                found[name] = replace(before, lo=lo, hi=hi)

    def tallies(self, targets: Mapping[str, Target], taught: bool) -> dict[str, Tally]:
        """How well each value in `targets` fits its integers; if taught, values of `adapt`."""
        found = {n: Tally(t, np.zeros((len(self), FINER))) for n, t in targets.items()}
        with np.errstate(over="ignore"):  # what overflows is an outlier, and its errors are not added up
            for rows, machine in self.teaching() if taught else self.forward():
                for name, tally in found.items():
                    tally.see(rows, machine.real(name))
        return found


def _held(x: NDArray[Any]) -> NDArray[Any]:
    """The same numbers in half the memory where float32 holds all of them, as it does what a
    caller hands over: each candidate has its own."""
    with np.errstate(over="ignore", invalid="ignore"):
        narrow = x.astype(np.float32)
    return narrow if np.array_equal(narrow, x) else x


def _macs(abstract: Abstract, programs: Mapping[str, Program], name: str) -> int:
    """Multiply-accumulates of a program on one sample, when every condition holds."""

    def work(item: Item) -> int:
        if isinstance(item, Step):
            if any(abstract.values[n].space == "state" for n in changed(item).values()):
                return 0  # a shared machine leaves it out
            shapes = {r: abstract.values[n].shape for r, n in item.args.items()}
            return kernel(item.kernel).cost(shapes, item.attrs).macs
        return (item.times if isinstance(item, Repeat) else 1) * _macs(abstract, programs, item.program)

    return sum(work(item) for item in programs[name].items)


def without_trials(abstract: Abstract, programs: Mapping[str, Program], name: str) -> dict[str, Program]:
    """The programs without calls of those that run forward again to see what moved weights do.

    On a shared machine no weight moves, so all that these find there is what was known before. Where a
    signal of the program `name` is made in none but these, all stay.
    """

    def stays(item: Item) -> bool:
        return isinstance(item, Step) or not tries(abstract, programs[item.program])

    kept = {n: replace(p, items=tuple(filter(stays, p.items))) for n, p in programs.items()}
    whole, left = (_signals(abstract, p, name) for p in (programs, kept))
    return kept if whole == left else dict(programs)


def tries(abstract: Abstract, program: Program) -> bool:
    """Whether the program moves learned weights and runs forward with them."""
    moved = False
    for item in program.items:
        if isinstance(item, Step):
            moved |= any(abstract.values[n].learned for n in changed(item).values())
        elif moved and item == Call("forward"):
            return True
    return False


def _signals(abstract: Abstract, programs: Mapping[str, Program], name: str) -> set[str]:
    """The teaching signals of a program whose formats calibration chooses."""
    found = set()
    for step in steps(programs, name):
        ranged = {role: n for role, n in changed(step).items() if abstract.values[n].role in TEACHING}
        found |= {n for role, n in ranged.items() if role not in kernel(step.kernel).fixed(step.attrs)}
    return found


def steps(programs: Mapping[str, Program], name: str) -> Iterator[Step]:
    """The steps of a program and of what it calls, once each and whatever conditions say."""
    for item in programs[name].items:
        if isinstance(item, Step):
            yield item
        else:
            yield from steps(programs, item.program)


def far_targets(runs: Runs) -> list[str]:
    """Why formats may be refused: targets far larger than what the network gives before it learns."""
    if runs.target is None:
        return []
    logits = runs.abstract.logits
    top = max((float(np.max(np.abs(m.real(logits)))) for _, m in runs.forward()), default=0.0)
    most = float(np.max(np.abs(runs.target), initial=0.0))
    if not most > FAR * top:
        return []
    what = f"the targets reach {most:.3g}, the scores before learning {top:.3g}"
    return [f"{what}: scale the targets to the size of the scores"]
