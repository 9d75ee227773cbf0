"""Where the integers say too often what the float network does not: which layer loses most.

The float network runs with one layer in its integer meaning and all others as they are: that layer's weights,
biases and outputs are what their integers stand for. So what is lost is that layer's own, and no layer is
blamed for what came before it. Layers that share one number format count as one, and the inputs as one each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.compile import Compiled
from synapcc.gen.ir.program import Step, root
from synapcc.gen.ops import changed
from synapcc.gen.stages.answers import Answers, answers
from synapcc.gen.stages.border import given_integers
from synapcc.gen.stages.calibrate import Runs
from synapcc.gen.stages.float_run import spread
from synapcc.gen.stages.simulate import Simulated

LEAST = 0.97  # the share of answers in which integers and float agree at least
SAMPLES = 256  # of the calibration data that are run for each layer

Real = NDArray[np.float64]


@dataclass
class Part:
    """What one number format decides: outputs, and the weights and biases of the layers that write them.

    label: as a person calls it
    """

    label: str
    values: set[str] = field(default_factory=set)


def warning(compiled: Compiled, agree: float) -> str:
    """One line that names what loses most, where integers and float agree on less than LEAST of the samples;
    else empty. agree: on which share they do."""
    if agree >= LEAST:
        return ""
    part, alone = culprit(compiled)
    return (
        f"{part.label}: {100 * agree:.1f} % of the calibration samples {kind(compiled).kept}, "
        f"{100 * LEAST:.0f} % is the least that is usual; this loses most, {100 * alone:.1f} % with it alone "
        f"in integers; {_hint(compiled, part)}"
    )


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
    runs = Runs(compiled.abstract, compiled.real(compiled.calibration))
    usual = np.flatnonzero(~compiled.quantised.sampled.aside)
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
    """Every part of the forward program, and the inputs."""
    values = compiled.abstract.values
    nodes: dict[str, list[str]] = {}
    found = {name: Part(f"input {name}", {name}) for name in compiled.abstract.inputs}
    for step in _forward(compiled):
        writes = set(changed(step).values())
        for of in {root(values, name) for name in writes}:
            part = found.setdefault(of, Part(""))
            part.values |= writes | {n for n in step.args.values() if values[n].space != "arena"}
            nodes[of] = list(dict.fromkeys([*nodes.get(of, ()), step.node]))
            if of not in compiled.abstract.inputs:
                part.label = " + ".join(nodes[of])
    return list(found.values())


def _forward(compiled: Compiled) -> Iterator[Step]:
    return (s for program, s in compiled.abstract.steps() if program == "forward")


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
