"""Every rule on ECG, protocol A, one seed: what patients gain, what the base forgets, and what it costs."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synapcc.examples.ecg import evaluate, protocol
from synapcc.gen import emit
from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.ir.plan import Plan
from synapcc.gen.rules import options, rules
from synapcc.gen.spec import INFERENCE_ONLY, RuleSpec, load_spec
from synapcc.host.bench.report import bench_project
from synapcc.host.run.emulator import Emulator, classify
from synapcc.host.run.inputs import quantise_inputs
from synapcc.host.run.kept import Result, Results, key
from synapcc.host.run.wearers import Wearers, fixed_part, learn_integer, predict_integer

from .train import BOARD, HERE, Say, confirm

MODEL, PASSES, SEED = "mlp", 10, 1
BASE = 5_000  # beats of the base's patients, evenly spread, that are asked again
COUNTED = 4  # beats whose learning steps are counted, under each label that the base does not give
LEARNED, COST = {"accuracy", "macro_f1", "base"}, {"instructions", "confirmed"}


@dataclass(frozen=True)
class Learned:
    """A rule, and what is found of it; `none` is the base before it learns."""

    rule: str
    result: Result


def names() -> tuple[str, ...]:
    """The base as it is, the two that all others are held against, and the others that have a rule file."""
    first = (INFERENCE_ONLY, "last", "bp")
    return (*first, *(name for name in sorted(rules()) if name not in first and _file(name).is_file()))


def is_result(found: Any) -> bool:
    """Whether it is what is kept of a rule: what it learned, or what that costs."""
    return isinstance(found, dict) and found.keys() in (LEARNED, COST)


def spec_of(rule: str) -> RuleSpec:
    """The rule file of the ECG example, or the one here for rules that it has none for."""
    if rule == INFERENCE_ONLY:
        return RuleSpec(rule)
    return replace(load_spec(_file(rule), options()), seed=SEED)


def _file(rule: str) -> Path:
    own = HERE / "rules" / f"ecg_{rule}.toml"
    return own if own.is_file() else evaluate.rule_folder(MODEL) / f"{rule}.toml"


def measured(results: Results, say: Say, only_known: bool = False) -> Iterator[Learned]:
    """Each rule in turn. only_known: those that are kept

    accuracy, macro_f1: of all patients' test beats, as `synapcc eval ecg` has them; base: the mean over the
    patients of how often the base's own beats are right then; ram: bytes beyond those of inference, no beat
    kept; instructions: of a learning step, the longest (`_cost`); confirmed: its steps in emitted C.
    Kept are the first three under the Plans' digests, which say all bits, and the last two under the text
    that is emitted; `ram` is counted anew.
    """
    data = protocol.A.calibration()
    people, inference = evaluate.wearers("A"), _compiled(INFERENCE_ONLY, data, 0).plan
    for rule in names():
        learns = rule != INFERENCE_ONLY
        alone = _compiled(rule, data, 0)
        plan = _compiled(rule, data, people.steps).plan if learns else inference
        files, first = _files(alone), [MODEL, PASSES, BASE, plan.digest.hex(), inference.digest.hex()]
        asked = {key("ecg", *first): partial(_learn, plan, people)}
        if learns:
            asked[key("ecg cost", COUNTED, files_digest(files))] = partial(_cost, alone, files, people)
        if only_known and not asked.keys() <= results.found.keys():
            continue
        say(f"ECG {rule}")
        found = {"ram": alone.plan.ram_bytes - inference.ram_bytes}
        for name, measure in asked.items():
            found |= results.get(name, measure)
        yield Learned(rule, found)


def _compiled(rule: str, data: Mapping[str, NDArray[Any]], samples: int) -> Compiled:
    """With room for so many kept beats; 0: none are kept, and each is learned once."""
    spec = spec_of(rule)
    store = replace(spec.store, samples=samples) if spec.store and samples else None
    path = evaluate.model_path(MODEL)
    return compile_model(path, replace(spec, store=store), data, None if samples else BOARD, "ecg")


def _learn(plan: Plan, people: Wearers) -> Result:
    """What all patients' devices know when they have learned, where they learn."""
    states = np.repeat(Emulator(plan).state, len(people.test), axis=0)
    if plan.learning:
        *_, (_, states) = learn_integer(plan, people, (PASSES,))
    found = protocol.summarise(evaluate.confusions("A", people, predict_integer(plan, states, people))).gross
    x, y = _base(plan.inputs)
    right = [np.mean(classify(plan, state, x, fixed=fixed_part(plan)) == y) for state in states]
    return {"accuracy": found.accuracy, "macro_f1": found.macro_f1, "base": float(np.mean(right))}


@cache
def _base(names: tuple[str, ...]) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.uint8]]:
    """Beats of the base's patients, as they follow each other in frequency, and their classes."""
    pool = protocol.A.pool()
    some = pool.take(np.linspace(0, len(pool) - 1, min(BASE, len(pool))).round().astype(np.int64))
    return {name: x for name, x in some.inputs().items() if name in names}, some.label


def _files(made: Compiled) -> Mapping[str, bytes]:
    """The project of a rule's Plan: what is counted and confirmed is this text."""
    assert made.board
    return emit.render(made.plan, made.board, "results", kernel_set=made.kernel_set)


def files_digest(files: Mapping[str, bytes]) -> str:
    """The digest of a project."""
    each = {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}
    return key("files", each)


def _cost(made: Compiled, files: Mapping[str, bytes], people: Wearers) -> Result:
    """instructions: of the longest learning step of COUNTED beats on the virtual Cortex-M4, each beat under
    every label that the base does not give, since a step that is right already may do next to nothing.
    confirmed: learning steps of the first patient that the emitted C repeats, compared after each."""
    beats = next(iter(people.learn.values()))
    plan, x = made.plan, {name: v for name, v in beats.inputs().items() if name in made.plan.inputs}
    machine, q = Emulator(plan), quantise_inputs(plan, x)
    machine.learn_many({name: v[:, None] for name, v in q.items()}, beats.label)
    confirm(made, q | {"label": beats.label}, machine.state[0])
    few = {name: v[:COUNTED] for name, v in x.items()}
    beat, label = wrong(plan, few)
    with tempfile.TemporaryDirectory() as folder:
        out, samples = Path(folder) / "project", Path(folder) / "beats.npz"
        emit.write(files, out)
        np.savez(samples, label=label, **{name: v[beat] for name, v in few.items()})  # type: ignore[arg-type]
        found = bench_project(out, "unicorn", samples, len(label))
    return {"instructions": int(found["total"]["learn"]["instructions"]), "confirmed": len(beats.label)}


def wrong(plan: Plan, x: Mapping[str, NDArray[Any]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(sample, label) of each sample under every label that the network does not answer."""
    answers = classify(plan, Emulator(plan).state[0], x)
    sample, label = np.nonzero(np.arange(plan.classes) != answers[:, None])
    return sample, label
