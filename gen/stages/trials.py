"""How far a trial leads: what one sample makes of a random direction is no word about all others.

A step of a rule that tries out changes moves all weights at once along a direction that is random for all
but one number, so over many samples what it adds is a walk. Here that is run, on a few samples of the
calibration data in real numbers: each has weights of its own, learns once, and its layers' outputs are held
against what they were. Trials of one sample are independent: n of them lead sqrt(n) times as far as one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..ir.program import Abstract, Item, Program, Repeat, Step
from ..ops import changed
from .calibrate import Runs, tries
from .float_run import RealMachine, spread

SAMPLES = 16  # of the calibration data, as far as memory allows
STATE = 1 << 23  # learned values that their machines hold, 64 MB; one sample is always run
MOST = 1 / 32  # the relative change from which on a layer is told
LEAST_SCORE = 1.0  # scores of classes below this say nothing yet, and may change as much

Real = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Walk:
    """What one learning step's trials do to the layer whose outputs they change most.

    change: root mean square of what they add to them, by that of the outputs
    rated:  whether the rate says how far a step goes; else epsilon does
    """

    layer: str
    change: float
    rated: bool

    def warning(self) -> str:
        """One line, with how many times smaller the step should be."""
        times = 2 ** int(np.floor(np.log2(self.change / MOST)) + 1)
        what = "a rate" if self.rated else "an epsilon"
        return (
            f"{self.layer}: the trials of one learning step change its outputs at random by "
            f"{self.change:.2g} times what they are, and over many samples what the network knows may be lost; "
            f"take {what} that is {times} times smaller"
        )


def farthest(runs: Runs, aside: NDArray[np.bool_]) -> Walk | None:
    """The layer that trials move most; None where that is at most MOST, or nothing is tried.

    aside: which of the samples in `runs` are outliers, and not looked at here
    """
    moves = dict(_moves(runs.abstract))
    taught = runs.taught[~aside[runs.taught]]
    if not moves or not len(taught):
        return None
    sizes = sum(v.size for v in runs.abstract.values.values() if v.space == "state")
    rows = taught[spread(len(taught), max(1, min(SAMPLES, STATE // max(1, sizes))))]
    changes = _changes(runs, rows, moves)
    worst = max(changes, key=lambda name: changes[name])
    if not changes[worst] > MOST:
        return None
    return Walk(worst, changes[worst], moves[worst].attrs.get("power", 0) <= 0)


def _moves(abstract: Abstract) -> Iterator[tuple[str, Step]]:
    """(layer, the last step that changes it) of every layer that is moved in a trial."""
    for program in abstract.programs.values():
        for item in program.items if tries(abstract, program) else ():
            if isinstance(item, Step) and any(abstract.values[n].learned for n in changed(item).values()):
                yield item.node, item


def _changes(runs: Runs, rows: NDArray[np.intp], moves: Mapping[str, Step]) -> dict[str, float]:
    """By layer, the relative change of its outputs in one learning step."""
    abstract = runs.abstract
    programs, times = _once(abstract)
    machine = RealMachine(abstract.values, programs, len(rows))
    machine.load({n: x[rows] for n, x in runs.inputs.items()})
    machine.run("infer")
    wanted = runs.wanted(rows, machine, 0)
    machine.load(wanted)
    layers = _outputs(abstract, moves)
    before = {name: machine.real(y).copy() for name, y in layers.items()}
    machine.run("adapt")
    machine.run("forward")
    out = {}
    for name, y in layers.items():
        there = np.sum(np.square(before[name]))
        if y == abstract.logits:  # what they are meant to be counts as much as what they are
            meant = wanted.get("target", np.full(1, LEAST_SCORE)).astype(np.float64)
            there = max(there, before[name].size * np.mean(np.square(meant)))
        apart = np.sum(np.square(machine.real(y) - before[name]))
        out[name] = float(np.sqrt(times * apart / there)) if there > 0 else 0.0
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
