"""Where the integers say too often what the float network does not: which layer loses most.

The float network runs with one layer in its integer meaning and all others as they are: that layer's weights,
biases and outputs are what their integers stand for. So what is lost is that layer's own, and no layer is
blamed for what came before it. Layers that share one number format count as one, and the inputs as one each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.compile import Compiled
from synapcc.gen.ir.program import Step, reached, root
from synapcc.gen.ops import changed
from synapcc.gen.stages.answers import Answers, answers
from synapcc.gen.stages.border import given_integers
from synapcc.gen.stages.calibrate import Runs
from synapcc.gen.stages.float_run import spread
from synapcc.gen.stages.near import denser, few, nearby
from synapcc.gen.stages.simulate import Simulated

from .agreement import same_answers

LEAST = 0.97  # the share of answers in which integers and float agree at least
USUAL = f"{100 * LEAST:.0f} % is the least that is usual"
SAMPLES = 256  # of the calibration data that are run for each layer

WANTED = 1024  # samples that say what is lost of new ones
HELD_BACK = 1  # turn of those near them by which nothing was chosen
LEAST_ASKED, ASKED = 256, 1 << 31  # samples that are asked of a large network, and the work that allows more

Real = NDArray[np.float64]


@dataclass
class Part:
    """What one number format decides: outputs, and the weights and biases of the layers that write them.

    label: as a person calls it
    """

    label: str
    values: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Kept:
    """How many of the samples that were asked keep their answer.

    share:  of them
    near:   whether others near those of calibration are among them
    """

    share: float
    samples: int
    near: bool = False

    @property
    def few(self) -> bool:
        """Whether they are fewer than LEAST, by more than one standard deviation of so many samples'
        answers where LEAST of them are kept: of 64 two are lost by chance.

        Samples near one another answer alike, so that of 32 and those near them the share varies more than
        that. It is not allowed for: a line too many is better than none where a tenth of the answers is lost
        (both were seen among 140 small networks)."""
        return self.share < LEAST - math.sqrt(LEAST * (1 - LEAST) / self.samples)

    def __str__(self) -> str:
        return f"{100 * self.share:.1f} % of the calibration samples{' and others near them' * self.near}"


def expected(compiled: Compiled, agree: float) -> Kept:
    """How many new samples will get the answer of the float network, as calibration tells it.

    Few samples are those that everything was chosen by: others near them, by which nothing was, are asked
    as well.
    agree: the share of the calibration samples
    """
    runs, usual = Runs(compiled.abstract, compiled.real(compiled.calibration)), _usual(compiled)
    if given_integers(compiled.graph) or not few(runs, usual, WANTED):
        return Kept(agree, len(runs))
    arrays = {n: compiled.calibration[n] for n in compiled.plan.inputs}
    inputs = {n: x.astype(np.float32) for n, x in nearby(arrays, usual, WANTED, HELD_BACK).items()}
    most = max(LEAST_ASKED, ASKED // runs.work)
    return Kept(same_answers(compiled, inputs, most), min(WANTED, most), near=True)


def warning(compiled: Compiled, kept: Kept) -> str:
    """One line where integers and float agree on clearly less than LEAST of the samples, which names what
    loses most if anything does by itself; else empty. kept: on how many they will, see `expected`."""
    if not kept.few:
        return ""
    part, alone = culprit(compiled)
    said = f"{kept} {kind(compiled).kept}, {USUAL}"
    if alone == 1.0:
        return f"{compiled.plan.model}: {said}; no layer loses any by itself, all together do"
    lost = f"this loses most, {100 * alone:.1f} % with it alone in integers"
    return f"{part.label}: {said}; {lost}; {_hint(compiled, part)}"


def kind(compiled: Compiled) -> Answers:
    """What its answers are."""
    return answers(compiled.graph, compiled.abstract, compiled.spec)


def _hint(compiled: Compiled, part: Part) -> str:
    if given_integers(compiled.graph):
        return "these integers are the file's own, and kept: quantise it again, with samples that are typical"
    if part.values & {*compiled.abstract.inputs}:
        return "normalise its features, so that they are of one size"
    if not compiled.quantised.untrained:
        return "its weights, biases or outputs differ too much in size for their number format: rescale it"
    if "label" in compiled.calibration:
        return "the network does not fit the labels yet, or by small scores; formats leave room for learning"
    return "formats leave room for learning, as scores are small: if it has learned, scale its last layer up"


def culprit(compiled: Compiled) -> tuple[Part, float]:
    """(the part that loses most by itself, the share of samples that keep their answer with it alone).

    Of parts that lose equally many, that one which changes the scores more.
    """
    data, usual = compiled.real(compiled.calibration), _usual(compiled)
    runs = Runs(compiled.abstract, data)
    if len(runs) < SAMPLES and not given_integers(compiled.graph):
        runs = denser(runs, data, usual)
        usual = np.concatenate([usual, np.arange(runs.given)[len(compiled.quantised.sampled.aside) :]])
    chosen = usual[spread(len(usual), SAMPLES)]
    want = _scores(compiled, runs, chosen, Part(""))
    losses = []
    for part in parts(compiled):
        got = _scores(compiled, runs, chosen, part)
        kept = float(np.mean(kind(compiled).same(want, got)))
        losses.append((kept, -float(np.mean(np.square(got - want))), part))
    kept, _, worst = min(losses, key=lambda loss: loss[:2])
    return worst, kept


def parts(compiled: Compiled) -> list[Part]:
    """Every part of the forward program, and the inputs; a layer that runs over time is one."""
    values, over_time = compiled.abstract.values, _over_time(compiled)
    nodes: dict[str, list[str]] = {}
    found = {name: Part(f"input {name}", {name}) for name in compiled.abstract.inputs}
    for step in _forward(compiled):
        writes = set(changed(step).values())
        if step.node in over_time:
            name = f"{step.node} over time"
            own = writes | {n for n in step.args.values() if values[n].space != "arena"}
            part = found.setdefault(name, Part(name))
            part.values |= {n for n in own if root(values, n) not in compiled.abstract.inputs}
            continue
        for of in {root(values, name) for name in writes}:
            part = found.setdefault(of, Part(""))
            part.values |= writes | {n for n in step.args.values() if values[n].space != "arena"}
            nodes[of] = list(dict.fromkeys([*nodes.get(of, ()), step.node]))
            if of not in compiled.abstract.inputs:
                part.label = " + ".join(nodes[of])
    return list(found.values())


def _usual(compiled: Compiled) -> NDArray[np.intp]:
    return np.flatnonzero(~compiled.quantised.sampled.aside)


def _forward(compiled: Compiled) -> Iterator[Step]:
    forward = reached(compiled.abstract.programs, "forward")
    return (s for program, s in compiled.abstract.steps() if program in forward)


def _over_time(compiled: Compiled) -> set[str]:
    """The layers that forward runs in a loop."""
    inside = {*reached(compiled.abstract.programs, "forward")} - {"forward"}
    return {step.node for program, step in compiled.abstract.steps() if program in inside}


def _scores(compiled: Compiled, runs: Runs, chosen: NDArray[np.intp], part: Part) -> Real:
    """The scores [samples, C] with `part` in its integer meaning."""
    found = []
    with np.errstate(over="ignore"):
        for rows in runs.parts(chosen):
            machine = runs.machine(rows, Simulated)
            assert isinstance(machine, Simulated)
            machine.enter(compiled.quantised, part.values, compiled.abstract.inputs)
            machine.run("infer")
            found.append(machine.real(compiled.abstract.logits).copy())
    return np.concatenate(found)
