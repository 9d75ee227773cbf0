"""Every rule on ECG, protocol A, one seed: what patients gain, what the base forgets, and what it costs."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synapcc.examples.ecg import evaluate, protocol
from synapcc.examples.ecg.personalise import fixed_part, learn_integer, predict_integer
from synapcc.gen import emit
from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.rules import options, rules
from synapcc.gen.spec import INFERENCE_ONLY, RuleSpec, load_spec
from synapcc.host.bench.report import bench_project
from synapcc.host.run.emulator import Emulator, classify

from ..results import Result, Results
from .train import BOARD, HERE, Say

MODEL, PASSES, SEED = "mlp", 10, 1
BASE = 5_000  # beats of the base's patients, evenly spread, that are asked again
COUNTED = 4  # beats whose learning steps are counted
KEYS = {"accuracy", "macro_f1", "base", "ram", "instructions"}


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
    """Whether it is what `measured` gives."""
    return isinstance(found, dict) and found.keys() == KEYS


def spec_of(rule: str) -> RuleSpec:
    """The rule file of the ECG example, or the one here for rules that it has none for."""
    if rule == INFERENCE_ONLY:
        return RuleSpec(rule)
    return replace(load_spec(_file(rule), options()), seed=SEED)


def _file(rule: str) -> Path:
    own = HERE / "rules" / f"ecg_{rule}.toml"
    return own if own.is_file() else evaluate.rule_folder(MODEL) / f"{rule}.toml"


def measured(results: Results, say: Say, only_known: bool = False) -> Iterator[Learned]:
    """Each rule in turn. only_known: those that are kept"""
    data = protocol.A.calibration()
    for rule in names():
        kept = _compiled(rule, data, 0)
        given = [kept.plan.digest.hex(), MODEL, PASSES, BASE, COUNTED]
        key = "ecg" + hashlib.sha256(json.dumps(given).encode()).hexdigest()[:16]
        if only_known and key not in results.found:
            continue
        say(f"ECG {rule}")
        yield Learned(rule, results.get(key, lambda rule=rule, kept=kept: _measure(rule, kept, data)))  # type: ignore[misc]


def _compiled(rule: str, data: Mapping[str, NDArray[Any]], samples: int) -> Compiled:
    """With room for so many kept beats; 0: none are kept, and each is learned once."""
    spec = spec_of(rule)
    store = replace(spec.store, samples=samples) if spec.store and samples else None
    path = evaluate.model_path(MODEL)
    return compile_model(path, replace(spec, store=store), data, None if samples else BOARD, "ecg")


def _measure(rule: str, alone: Compiled, data: Mapping[str, NDArray[Any]]) -> Result:
    """accuracy, macro-F1: of all patients' test beats, as `synapcc eval ecg` has them; base: the mean over
    the patients of how often the base's own beats are right then; ram: bytes beyond those of inference, no
    beat kept; instructions: of a learning step, the longest of COUNTED."""
    people, inference = evaluate.wearers("A"), _compiled(INFERENCE_ONLY, data, 0).plan
    if rule == INFERENCE_ONLY:
        plan, count = inference, None
        states = np.repeat(Emulator(plan).state, len(people.test), axis=0)
    else:
        plan, count = _compiled(rule, data, people.steps).plan, _instructions(alone)
        *_, (_, states) = learn_integer(plan, people, (PASSES,))
    found = protocol.summarise(evaluate.confusions("A", people, predict_integer(plan, states, people))).gross
    x, y = _base(plan.inputs)
    right = [np.mean(classify(plan, state, x, fixed=fixed_part(plan)) == y) for state in states]
    return {
        "accuracy": found.accuracy,
        "macro_f1": found.macro_f1,
        "base": float(np.mean(right)),
        "ram": alone.plan.ram_bytes - inference.ram_bytes,
        "instructions": count,
    }


@cache
def _base(names: tuple[str, ...]) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.uint8]]:
    """Beats of the base's patients, as they follow each other in frequency, and their classes."""
    pool = protocol.A.pool()
    some = pool.take(np.linspace(0, len(pool) - 1, min(BASE, len(pool))).round().astype(np.int64))
    return {name: x for name, x in some.inputs().items() if name in names}, some.label


def _instructions(made: Compiled) -> int:
    """What a learning step takes on the virtual Cortex-M4."""
    assert made.board
    with tempfile.TemporaryDirectory() as folder:
        out, samples = Path(folder) / "project", Path(folder) / "beats.npz"
        emit.write(emit.render(made.plan, made.board, "results", kernel_set=made.kernel_set), out)
        np.savez(samples, **{n: x[:COUNTED] for n, x in made.calibration.items()})  # type: ignore[arg-type]
        return int(bench_project(out, "unicorn", samples, COUNTED)["total"]["learn"]["instructions"])
