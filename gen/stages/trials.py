"""How far a trial leads: what one sample makes of a random direction is no word about all others.

A step of a rule that tries out changes moves all weights at once along a direction that is random for all
but one number, so over many samples what it adds is a walk. Here that is run, on a few samples of the
calibration data in real numbers: each has weights of its own, learns once, and its layers' outputs are held
against what they were. Trials of one sample are independent: n of them lead sqrt(n) times as far as one.

From which change on that is told was chosen by what trained perceptrons keep of other training images.
Changes that stay count twice: no error makes them small.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..ir.inputs import TARGET
from ..ir.program import Abstract, Item, Program, Repeat, Step
from ..ops import changed
from .calibrate import Reals, Runs, tries
from .float_run import RealMachine, spread

SAMPLES = 16  # of the calibration data, as far as memory allows
STATE = 1 << 23  # learned values that their machines hold, 64 MB; one sample is always run
TURNS = 2  # labels that each is taught with: the right one, and a wrong one
SLOPES, STEADY = 1 / 32, 1 / 64  # the relative change from which on a layer is told
UNTRAINED = 1.0  # the same where the network knows nothing yet that might be lost
LEAST_SCORE = 1.0  # scores of classes below this say nothing yet, and may change as much

Real = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Walk:
    """What one learning step's trials do to the layer whose outputs they change most.

    change: root mean square of what they add to them, by that of the outputs
    most:   the largest that does no harm
    rated:  whether the rate says how far a step goes; else epsilon does
    """

    layer: str
    change: float
    most: float
    rated: bool

    def warning(self) -> str:
        """One line, with how many times smaller the step should be."""
        times = 2 ** int(np.floor(np.log2(self.change / self.most)) + 1)
        what = "a rate" if self.rated else "an epsilon"
        return (
            f"{self.layer}: the trials of one learning step change its outputs at random by "
            f"{self.change:.2g} times what they are, and over many samples what the network "
            f"knows may be lost; take {what} that is {times} times smaller"
        )


def farthest(abstract: Abstract, calibration: Reals, usual: NDArray[np.intp], untrained: bool) -> Walk | None:
    """The layer that trials move most; None where that does no harm, or nothing is tried.

    usual:     the calibration samples that are run and no outliers
    untrained: whether the network does not fit its calibration data yet
    """
    moves = dict(_moves(abstract))
    if not moves:
        return None
    runs = Runs(abstract, calibration)
    taught = runs.taught[np.isin(runs.chosen[runs.taught], usual)]
    if not len(taught):
        return None
    sizes = sum(v.size for v in abstract.values.values() if v.space == "state")
    rows = taught[spread(len(taught), max(1, min(SAMPLES, STATE // max(1, sizes))))]
    with np.errstate(over="ignore"):
        turns = [_changes(runs, rows, moves, turn) for turn in range(min(TURNS, runs.turns))]
    changes = {name: float(np.sqrt(np.mean([turn[name] for turn in turns]))) for name in moves}
    worst = max(changes, key=lambda name: changes[name])
    rated = moves[worst].attrs.get("power", 0) <= 0
    most = UNTRAINED if untrained else SLOPES if rated else STEADY
    if not changes[worst] > most:
        return None
    return Walk(worst, changes[worst], most, rated)


def _moves(abstract: Abstract) -> Iterator[tuple[str, Step]]:
    """(layer, the last step that changes it) of every layer that is moved in a trial."""
    for program in abstract.programs.values():
        for item in program.items if tries(abstract, program) else ():
            if isinstance(item, Step) and any(abstract.values[n].learned for n in changed(item).values()):
                yield item.node, item


def _changes(runs: Runs, rows: NDArray[np.intp], moves: Mapping[str, Step], turn: int) -> dict[str, float]:
    """By layer, the square of the relative change of its outputs in one learning step."""
    abstract = runs.abstract
    programs, times = _once(abstract)
    machine = RealMachine(abstract.values, programs, len(rows))
    machine.load({n: x[rows] for n, x in runs.inputs.items()})
    machine.run("infer")
    wanted = runs.wanted(rows, machine, turn)
    machine.load(wanted)
    layers = _outputs(abstract, moves)
    before = {name: machine.real(y).copy() for name, y in layers.items()}
    machine.run("adapt")
    machine.run("forward")
    out = {}
    for name, y in layers.items():
        there = np.sum(np.square(before[name]))
        if y == abstract.logits:  # what they are meant to be counts as much as what they are
            meant = wanted.get(TARGET, np.full(1, LEAST_SCORE)).astype(np.float64)
            there = max(there, before[name].size * np.mean(np.square(meant)))
        apart = np.sum(np.square(machine.real(y) - before[name]))
        out[name] = float(times * apart / there) if there > 0 else 0.0
    return out


def _outputs(abstract: Abstract, moves: Mapping[str, Step]) -> dict[str, str]:
    """The outputs of each layer that is moved."""
    weights = {step.args["w"]: name for name, step in moves.items()}
    runs = (s for _, s in abstract.steps() if {"w", "y"} <= {*s.args})
    return {weights[s.args["w"]]: s.args["y"] for s in runs if s.args["w"] in weights}


def _once(abstract: Abstract) -> tuple[dict[str, Program], int]:
    """The programs with one trial each, and how many there are."""
    times = 1

    def once(item: Item) -> Item:
        nonlocal times
        if isinstance(item, Repeat) and tries(abstract, abstract.programs[item.program]):
            times = max(times, item.times)
            return replace(item, times=1)
        return item

    programs = {
        n: replace(p, items=tuple(once(item) for item in p.items)) for n, p in abstract.programs.items()
    }
    return programs, times
