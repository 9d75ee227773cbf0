"""How far one learning step goes: a rate that is too large for a network is told before it learns nothing.

The step of a layer on one sample changes its outputs for this very sample by the rate times the energy of
its inputs times the teaching signal. Beside what they are that is a relative change, and descent is only sure
where it is well below 1 in every layer (Bernstein, Vahdat, Yue, Liu, On the distance between two neural
networks and the stability of learning, 2020). Float runs of rectified perceptrons under `bp`, of either
loss, with inputs from a tenth to sixteen times of unit size, lose a part of their accuracy or all of it
between 1 and 4, and learn hardly anything beyond. Under fixed feedback, where the signal does not grow with
the weights, real numbers go on learning behind outputs that grow without end; integers, whose formats end, do
not. The layer that gives the logits does not count: above what stays as it is it is a perceptron, which
settles at any rate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir.program import Abstract, Step, reached
from ..ops import changed, kernel
from ..spec import MAX_RATE_SHIFT
from .calibrate import Runs
from .float_run import RealMachine, spread
from .gather import at_once

SAMPLES = 32  # of the calibration data: a mean of squares needs no more
TURNS = 2  # labels that each is taught with: the right one, and a wrong one
MOST = 1.0  # the relative change from which on a layer is told
LOUD = 4.0  # the root mean square of an input beyond which it is large

Real = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Stride:
    """What one learning step does to a hidden layer.

    change: root mean square of what it adds to the layer's outputs for its own sample, by that of the outputs
    rate:   k of its rate 2^-k; None where an equation says what it changes by
    loud:   (input, its root mean square) of the network's largest input
    """

    layer: str
    change: float
    rate: int | None
    loud: tuple[str, float]

    def warning(self) -> str:
        """One line, with the largest rate that does not change so much, where a rule file may say it."""
        by = int(np.floor(np.log2(self.change / MOST))) + 1
        name, rms = self.loud
        advice = [f"scale input {name} down, its root mean square is {rms:.3g}"]
        at, less = "", f"make what its equation changes 2^{by} times smaller"
        if self.rate is not None:
            at, less = f"at a rate of 2^-{self.rate} ", f"take 2^-{self.rate + by} or smaller"
        if self.rate is None or self.rate + by <= MAX_RATE_SHIFT:
            advice = [*(advice if rms > LOUD else []), less]
        return (
            f"{self.layer}: {at}one learning step changes its outputs by "
            f"{self.change:.2g} times what they are, and learning may not settle; {', or '.join(advice)}"
        )


def largest(runs: Runs, aside: NDArray[np.bool_]) -> Stride | None:
    """The hidden layer whose outputs one step changes most; None where that is at most MOST, or none learns.

    aside: which of the samples in `runs` are outliers, and not looked at here
    """
    pairs = list(learning_layers(runs.abstract))
    taught = runs.taught[~aside[runs.taught]]
    if not pairs or not len(taught):
        return None
    sums = np.zeros((len(pairs), 2))
    with np.errstate(over="ignore"):
        for _, machine in runs.teaching(taught[spread(len(taught), SAMPLES)], TURNS):
            sums += [squares(machine, forward, update) for forward, update in pairs]
    changed, there = sums.T
    changes = np.sqrt(np.divide(changed, there, out=np.zeros(len(pairs)), where=there > 0))
    worst = int(np.argmax(changes))
    if not changes[worst] > MOST:
        return None
    sizes = {n: float(np.sqrt(np.mean(np.square(x)))) for n, x in runs.inputs.items()}
    update = pairs[worst][1]
    loud = max(sizes.items(), key=lambda size: size[1])
    kept = int(update.attrs.get("forget", 0))  # what momentum makes of the rate that the file says
    rate = int(update.attrs["rate"]) + kept if "rate" in update.attrs and not update.said else None
    return Stride(update.node, float(changes[worst]), rate, loud)


def learning_layers(abstract: Abstract) -> Iterator[tuple[Step, Step]]:
    """(the step that runs a hidden layer, the step that changes its weights) of every one that learns, at a
    rate or by an equation; but of layers that run over time, whose inputs a step of time forgets."""
    inside = {*reached(abstract.programs, "forward")} - {"forward"}
    timed = {s.args["w"] for program, s in abstract.steps() if program in inside and "w" in s.args}
    sums = {s.args["w"]: s for _, s in abstract.steps() if "samples" in s.attrs and "w" in s.args}
    runs = {s.args["w"]: s for _, s in abstract.steps() if {"x", "w", "b"} <= {*s.args} and "y" in s.args}
    runs = {w: s for w, s in runs.items() if w not in timed}
    for _, step in abstract.steps():
        found = [runs[n] for n in changed(step).values() if n in runs]
        if found and ("rate" in step.attrs or step.said) and found[0].args["y"] != abstract.logits:
            yield found[0], at_once(step, sums)


def squares(machine: RealMachine, forward: Step, update: Step) -> tuple[float, float]:
    """Sums over the machine's samples of |change of the layer's outputs|^2 and |outputs|^2."""
    y = machine.real(forward.args["y"])
    total = 0.0
    for i, delta in enumerate(motions(machine, forward, update)):
        t = {**delta, "x": machine.arena[forward.args["x"]][i : i + 1], "y": np.zeros_like(y[i : i + 1])}
        kernel(forward.kernel).real(t, forward.attrs)
        total += float(np.sum(np.square(t["y"])))
    return total, float(np.sum(np.square(y)))


def motions(machine: RealMachine, forward: Step, update: Step) -> Iterator[dict[str, Real]]:
    """What a learning step adds to a layer's weights `w` and biases `b`, for each sample of the machine."""
    held: dict[str, NDArray[Any]] = {**machine.const, **machine.state}
    for i in range(machine.devices):
        arena = {n: x[i : i + 1] for n, x in machine.arena.items() if n in update.args.values()}
        t = {r: arena[n] if n in arena else held[n].copy() for r, n in update.args.items()}
        kernel(update.kernel).real(t, update.attrs)
        moved = {n: t[r] - held[n] for r, n in changed(update).items() if n in machine.state}
        yield {r: moved.get(n, np.zeros_like(held[n])) for r in ("w", "b") for n in [forward.args[r]]}
