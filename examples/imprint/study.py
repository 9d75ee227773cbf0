"""One class is left out of the base, imprinted from its first samples, and learned: how often it is right."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.compile import compile_model
from synapcc.gen.spec import Head, RuleSpec
from synapcc.host.run.emulator import Emulator
from synapcc.host.run.evaluation import Evaluation
from synapcc.host.run.front_cache import FixedPart
from synapcc.host.run.kept import Results, sources

from . import tasks
from .tasks import Data, Task, trained

COUNTS = (1, 2, 5)  # first samples that the row is imprinted from
DRAWS = 4  # of these samples
LEARNED = 100  # samples that are learned then, every class as often
CALIBRATED = 500
RULE = RuleSpec("last", rate=6, head=Head("+1", imprint=max(COUNTS)))

Shares = dict[str, float]
"""Of one class and one base: `before`, `imprinted_K` and `learned_K`, K of COUNTS, each `new` or `old`."""


class Kept:
    """What was found, in a JSON file, under all that it follows from, compiler and emulator too."""

    def __init__(self, path: Path) -> None:
        self.results = Results(path, _is_shares)

    def get(self, task: Task, left: str, measure: Callable[[], Shares]) -> Shares:
        """The shares of a task's class: those kept, or `measure()`, kept from now on."""
        given = [task.name, left, RULE.canonical(), COUNTS, DRAWS, LEARNED, CALIBRATED]
        given += [
            tasks.HIDDEN,
            tasks.TRAINED,
            tasks.PASSES,
            tasks.BATCH,
            tasks.RATE,
            tasks.TESTED,
            tasks.KEPT,
        ]
        key = hashlib.sha256(json.dumps([*given, sources()]).encode()).hexdigest()[:16]
        return self.results.get(key, measure)


def _is_shares(found: Any) -> bool:
    when = ["before", *(f"{what}_{k}" for k in COUNTS for what in ("imprinted", "learned"))]
    names = {f"{w}_{of}" for w in when for of in ("new", "old")}
    return isinstance(found, dict) and found.keys() == names and all(type(v) is float for v in found.values())


def measure(data: Data, left: int) -> Shares:
    """The class `left`, which becomes the last one, of which the base has seen nothing."""
    classes = int(data.train_y.max()) + 1
    order = np.array([*(c for c in range(classes) if c != left), left])
    place = np.argsort(order)
    rng = np.random.default_rng(left)
    base = np.flatnonzero(data.train_y != left)
    x, y = data.train_x[base], place[data.train_y[base]]
    graph = trained(x, y, classes - 1, rng)
    chosen = _evenly(y, classes - 1, CALIBRATED, rng)
    plan = compile_model(graph, RULE, {"x": x[chosen], "label": y[chosen]}).plan
    fixed = FixedPart(plan)
    test: dict[str, NDArray[Any]] = {"x": data.test_x, "label": place[data.test_y]}
    own = place[data.own_y]
    found = _shares("before", [Emulator(plan, fixed=fixed).evaluate(test)])
    for count in COUNTS:
        fleet = Emulator(plan, DRAWS, fixed=fixed)
        first = np.array([rng.permutation(np.flatnonzero(own == classes - 1))[:count] for _ in range(DRAWS)])
        for rows in first.T:
            fleet.run("imprint", inputs={"x": data.own_x[rows]}, labels=own[rows])
        found |= _shares(f"imprinted_{count}", [fleet.evaluate(test, d) for d in range(DRAWS)])
        stream = np.array([_evenly(own, classes, LEARNED, rng) for _ in range(DRAWS)])
        fleet.learn_many({"x": data.own_x[stream.T]}, own[stream.T])
        found |= _shares(f"learned_{count}", [fleet.evaluate(test, d) for d in range(DRAWS)])
    return found


def _evenly(y: NDArray[np.intp], classes: int, count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """`count` samples, every class as often, in any order."""
    turns = rng.permutation(np.arange(count) % classes)
    return np.array([rng.choice(np.flatnonzero(y == c)) for c in turns])


def _shares(what: str, found: list[Evaluation]) -> Shares:
    """How often the new class is right, and the mean over the others."""
    recall = np.mean([e.recall for e in found], axis=0)
    return {f"{what}_new": float(recall[-1]), f"{what}_old": float(np.mean(recall[:-1]))}


def text(found: Mapping[str, Mapping[str, Shares]]) -> str:
    """The page: `found` by task and class."""
    out = [HEAD]
    for name, rows in found.items():
        out.append(f"## {name}\n")
        head = ["left out", "before", *(f"{w} {k}" for k in COUNTS for w in ("imprinted", "learned"))]
        out += [_line(head), _line(["---", *["---:"] * (len(head) - 1)])]
        keys = ["before", *(f"{w}_{k}" for k in COUNTS for w in ("imprinted", "learned"))]
        for left, shares in rows.items():
            out.append(_line([left, *(_cell(shares, key) for key in keys)]))
        mean = {key: float(np.mean([r[key] for r in rows.values()])) for key in next(iter(rows.values()))}
        out += [_line(["**mean**", *(_cell(mean, key) for key in keys)]), ""]
    return "\n".join(out)


def _cell(shares: Mapping[str, float], key: str) -> str:
    return f"{100 * shares[f'{key}_new']:.1f} / {100 * shares[f'{key}_old']:.1f}"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


HEAD = f"""# New classes from their first samples

A network that never saw a class gets a row for it (`[head] classes = "+1"`), which the program `imprint`
makes from the first 1, 2 or 5 samples of that class; then {LEARNED} samples are learned, every class as
often, rule `{RULE.rule}` at 2^-{RULE.rate}. Each cell: samples of the new class that are right / of the
others, the mean over classes, in percent; means of {DRAWS} draws of the samples. Integers throughout, as a
chip has them.

    python -m synapcc.examples.imprint FILE.md

prints this page; it keeps what it has found, and goes on from there. The base is a perceptron
inputs-{tasks.HIDDEN}-classes, trained in float on the other classes. Up to {tasks.TESTED} samples of each
class of the test set are asked; for ECG these are beats of other patients (protocol A, DS2) than the base
and the new class are from (DS1). Nothing was chosen by these figures.
"""
