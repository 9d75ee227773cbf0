"""Calibration samples through the integer and the float network: where they agree, what rounding costs; and
through the integers of a model file, of which some layers learn now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.ir.plan import Plan
from synapcc.gen.ir.program import Step, reached, root
from synapcc.gen.spec import INFERENCE_ONLY, RuleSpec
from synapcc.gen.stages.answers import answers
from synapcc.gen.stages.calibrate import Runs
from synapcc.gen.stages.float_run import spread

from .emulator import Emulator
from .inputs import quantise_inputs
from .machine import changes

Real = NDArray[np.float64]


@dataclass
class _Output:
    """What became of one output, summed up by sample: squared errors and squares, how many values lie at a
    limit, and the largest magnitude."""

    errors: Real
    squares: Real
    at_limits: Real
    tops: Real


def agreement(compiled: Compiled) -> tuple[float, list[dict[str, Any]]]:
    """(share of the samples that get the answer of the float network, what is told of each layer's output).

    Every sample counts that the number formats were chosen from, a chunk at a time; for the layers without
    those that were set aside as outliers.
    """
    runs = Runs(compiled.abstract, compiled.real(compiled.calibration))
    groups = _groups(compiled)
    found = {s.args["y"]: _Output(*(np.zeros(len(runs)) for _ in range(4))) for _, s in groups}
    want, got = list[Real](), list[Real]()
    for rows, real in runs.forward():
        machine = _alone(compiled.plan, len(rows))
        inputs = {n: compiled.calibration[n][runs.chosen[rows]] for n in compiled.plan.inputs}
        machine.load(quantise_inputs(compiled.plan, {n: x.astype(np.float32) for n, x in inputs.items()}))
        machine.run("infer", after=partial(_after, compiled, found, rows, machine, real.arena))
        want.append(real.real(compiled.abstract.logits).copy())
        got.append(compiled.plan[compiled.plan.logits].meaning.real(machine[compiled.plan.logits]))
    usual = ~compiled.quantised.sampled.aside
    same = answers(compiled.graph, compiled.abstract, compiled.spec).same(
        np.concatenate(want), np.concatenate(got)
    )
    return float(np.mean(same)), [_told(compiled, label, s, found[s.args["y"]], usual) for label, s in groups]


def _alone(plan: Plan, n: int) -> Emulator:
    """So many samples, each the first one that a chip is given."""
    return Emulator(plan, n, read_only=not changes(plan, "infer"))


def same_answers(compiled: Compiled, inputs: Mapping[str, NDArray[np.float32]], most: int) -> float:
    """The share of samples [n, *shape], at most so many of them, that get the answer of the float network."""
    runs = Runs(compiled.abstract, compiled.real({n: x.astype(np.float64) for n, x in inputs.items()}))
    want, got = list[Real](), list[Real]()
    logits = compiled.abstract.logits
    for rows in runs.parts(spread(len(runs), most)):
        real, machine = runs.machine(rows), _alone(compiled.plan, len(rows))
        chosen = {n: x[runs.chosen[rows]] for n, x in inputs.items()}
        machine.load(quantise_inputs(compiled.plan, chosen))
        with np.errstate(all="ignore"):
            real.run("infer")
        machine.run("infer")
        want.append(real.real(logits).copy())
        got.append(compiled.plan[logits].meaning.real(machine[logits]))
    kind = answers(compiled.graph, compiled.abstract, compiled.spec)
    return float(np.mean(kind.same(np.concatenate(want), np.concatenate(got))))


FAITHFUL = 0.99  # the least share of samples that should get the file's answer before anything is learned


def as_the_file(compiled: Compiled) -> dict[str, Any] | None:
    """How often the network answers as its model file does before it learns; None without such a file.

    same_class: the share of the samples that formats were chosen from whose class the file scores highest
    tied:       the share of those for which the file scores others as high, and puts one of them first
    layers:     of each layer that learns, what rounding costs its weights: rms of the error / of the weights
    """
    if compiled.untouched is None:
        return None
    chosen = compiled.quantised.sampled.chosen
    inputs = {n: compiled.calibration[n][chosen].astype(np.float32) for n in compiled.plan.inputs}
    file = compile_model(compiled.untouched, RuleSpec(INFERENCE_ONLY), inputs).plan
    # as integers: what they clipped of the calibration data the report says
    plans = (file, compiled.plan)
    want, got = (Emulator(plan).infer_many(quantise_inputs(plan, inputs)) for plan in plans)
    scores = file[file.logits].meaning.real(want.scores)
    if scores.shape[1] == 1:  # of two classes: the other one's is zero
        scores = np.concatenate([np.zeros_like(scores), scores], axis=1)
    same = scores[np.arange(len(chosen)), got.winner] == np.max(scores, axis=1)
    return {
        "same_class": float(np.mean(same)),
        "tied": float(np.mean(same & (got.winner != np.argmax(scores, axis=1)))),
        "layers": [{"layer": n, "rounding": _rounding(compiled, n)} for n in compiled.learned],
    }


def _rounding(compiled: Compiled, node: str) -> float:
    """What the number format of a layer's weights costs, relative to them."""
    name = f"{node}_weight"
    real = compiled.abstract.values[name].real
    assert real is not None
    error = compiled.plan[name].meaning.real(compiled.plan[name].array()) - real
    return float(np.sqrt(np.mean(np.square(error)) / (np.mean(np.square(real)) or 1.0)))


def strays(file: Mapping[str, Any], weights: str) -> str:
    """One line where the network strays from its file before it learns; "" where it does not."""
    if file["same_class"] >= FAITHFUL:
        return ""
    worst = max(file["layers"], key=lambda x: float(x["rounding"]))
    hint = 'take weights = "int16"' if weights == "int8" else "take less headroom"
    share, lost = f"{100 * file['same_class']:.1f} %", f"{100 * worst['rounding']:.2g} %"
    return (
        f"before it learns, {share} of the calibration samples get an answer of the model file: "
        f"{worst['layer']} loses most, {lost} of its weights by rounding; {hint}, or leave it out of `layers`"
    )


def _groups(compiled: Compiled) -> list[tuple[str, Step]]:
    """The outputs that have a format of their own, as (layers that share it, step that writes it last)."""
    groups: dict[str, tuple[list[str], Step]] = {}
    forward = reached(compiled.plan.programs, "forward")
    for program, _, step in compiled.plan.ops():
        if program in forward and "y" in step.args and compiled.plan[step.args["y"]].space == "arena":
            of = root(compiled.abstract.values, step.args["y"])
            nodes = groups[of][0] if of in groups else []
            groups[of] = (nodes if step.node in nodes else [*nodes, step.node], step)
    return [(" + ".join(nodes), step) for nodes, step in groups.values()]


def _after(
    compiled: Compiled,
    found: Mapping[str, _Output],
    rows: NDArray[np.intp],
    machine: Emulator,
    real: Mapping[str, NDArray[np.generic]],
    program: str,
    position: int,
) -> None:
    """Compares the output of a step as soon as it is written: later its bytes serve other tensors."""
    step = compiled.plan.programs[program].items[position]
    forward = reached(compiled.plan.programs, "forward")
    name = step.args.get("y", "") if isinstance(step, Step) and program in forward else ""
    if name not in found:
        return
    t, seen = compiled.plan[name], found[name]
    got, want = machine[name].astype(np.float64), real[name].astype(np.float64)
    seen.errors[rows] = np.sum((t.meaning.real(got) - want) ** 2, axis=1)
    seen.squares[rows] = np.sum(want**2, axis=1)
    seen.at_limits[rows] = np.sum((got <= t.lo) | (got >= t.hi), axis=1)
    seen.tops[rows] = np.max(np.abs(want), axis=1, initial=0.0)


def _told(
    compiled: Compiled, label: str, step: Step, seen: _Output, usual: NDArray[np.bool_]
) -> dict[str, Any]:
    y = compiled.plan[step.args["y"]]
    scale, top = y.meaning.step, float(np.max(seen.tops[usual], initial=0.0))
    values = int(usual.sum()) * int(np.prod(y.shape))
    return {
        "layer": label,
        "output": y.name,
        "q": str(y.meaning),
        "scale": scale,
        "headroom": (y.hi * scale / top) if top else None,
        "range": [y.lo, y.hi],
        "saturated": float(np.sum(seen.at_limits[usual]) / values),
        "rms_error": float(np.sqrt(np.sum(seen.errors[usual]) / values)),
        "rms": float(np.sqrt(np.sum(seen.squares[usual]) / values)),
    }
