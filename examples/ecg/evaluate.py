"""Protocols A and B: every patient of the test learns five minutes on an emulated device and is tested on the
other 25.

A row is one way of learning: model, rule, weights, passes, replay, seed. `none` is the base model; `float_bp`
is float32 backpropagation through the same layers, in the same order, with the same rate and passes: the
programs of `bp` in float, those of `bptt` where layers run over time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.compile import compile_model
from synapcc.gen.errors import SynapccError
from synapcc.gen.frontends import block_options
from synapcc.gen.rules import options
from synapcc.gen.spec import Replay, RuleSpec, Store, load_spec
from synapcc.host.run.emulator import Emulator
from synapcc.host.run.scores import Row, point
from synapcc.host.run.wearers import (
    FloatTest,
    Mark,
    Wearers,
    learn_float,
    learn_integer,
    predict_integer,
    right_in_float,
    right_in_integers,
)

from . import beats, protocol, streamed
from .beats import Beats
from .choices import DEFAULT_MODEL, FLOAT_BP, MODELS, RECURRENT, RULES, STREAM, STREAM_MODEL, USUAL
from .front import FRONTS, Front
from .protocol import LEARN_SECONDS, PROTOCOLS
from .records import FS

HERE = Path(__file__).resolve().parent
MINUTES = (1, 2, 3, 4)
"""Where a learning curve looks at the first pass; then after every pass."""

Confusions = dict[str, NDArray[np.int64]]
Found = tuple[dict[float, Confusions], dict[float, float]]
"""After each number of passes: the patients' confusion matrices; how often the base's own beats are right."""
OWN = 2_000  # beats of the base's patients, evenly spread, that are asked again


@dataclass(frozen=True)
class Task:
    """One learning run, tested after each number of passes in `passes`; with `curve` on the way there too."""

    protocol: str
    model: str
    rule: str
    weights: str
    passes: tuple[int, ...]
    replay: bool
    seed: int
    curve: bool = False
    front: str = USUAL

    @property
    def float_run(self) -> bool:
        return self.rule == FLOAT_BP

    @property
    def work(self) -> int:
        """Relative length, to start the long ones first."""
        return max(self.passes) * (2 if self.replay else 1)


def base_name(model: str, name: str) -> str:
    """A base model of a protocol, as its file and the folder of its rule files are called."""
    return model if name == "A" else f"{model}_{name.lower()}"


def model_path(model: str, name: str = "A", front: Front = beats.USUAL) -> Path:
    """A protocol's base model of this folder by its short name, or a file; what was trained on what a chip
    finds, where that is the front end."""
    ending = f"_{STREAM}" if front.streamed else ""
    known = HERE / "models" / f"ecg_{base_name(model, name)}{ending}.onnx"
    path = known if known.is_file() else Path(model)
    if front.streamed and not path.is_file() and model in MODELS:
        what = f"has no base for protocol {name} that was trained on what a chip finds"
        raise SynapccError(model, what, f"take {STREAM_MODEL} and protocol A, or give an .onnx file")
    if not path.is_file():
        what = "is neither a base model nor a file"
        names = ", ".join(MODELS if name != "A" else (*MODELS, *RECURRENT))
        raise SynapccError(model, what, f"base models of protocol {name}: {names}; or give an .onnx file")
    return path


def rule_folder(model: str, name: str = "A") -> Path:
    """The rule files that go with a protocol's base model (another model's: those of mlp_rr)."""
    return HERE / "rules" / base_name(model if model in (*MODELS, *RECURRENT) else "mlp_rr", name)


def more_folder() -> Path:
    """The rule files of other rules for DEFAULT_MODEL, protocol A."""
    return rule_folder(DEFAULT_MODEL) / "more"


def rule_names(model: str = DEFAULT_MODEL) -> tuple[str, ...]:
    """What `--rule` knows by name: float_bp, and the rule files that go with a base model of protocol A."""
    return (FLOAT_BP, *sorted(p.stem for p in rule_folder(model).glob("*.toml")))


def rules_of(model: str) -> tuple[str, ...]:
    """The rules of the table of a base model."""
    return (FLOAT_BP, *RECURRENT.get(model, RULES))


def rule_spec(rule: str, model: str, name: str = "A") -> RuleSpec:
    """The rule file that goes with a protocol's base model, or any rule file."""
    known = rule_folder(model, name) / f"{rule}.toml"
    return load_spec(known if known.is_file() else Path(rule), options(), block_options())


def task_spec(task: Task, samples: int) -> RuleSpec:
    """The rule file of a task, with room for `samples` kept beats and with or without replay."""
    oracle = "bptt" if task.model in RECURRENT else "bp"
    spec = rule_spec(oracle if task.float_run else task.rule, task.model, task.protocol)
    base = spec.replay or Replay(PROTOCOLS[task.protocol].replay, 1)
    store = replace(spec.store, samples=samples) if spec.store else Store(samples)
    weights = spec.weights if task.float_run else task.weights
    return replace(spec, weights=weights, seed=task.seed, store=store, replay=base if task.replay else None)


@cache
def wearers(name: str, names: tuple[str, ...] = (), front: Front = beats.USUAL) -> Wearers:
    """A protocol's patients (default: those of its test), their beats split at five minutes; those who learn
    most come first, so that the devices that are still learning always stand side by side in the fleet."""
    chosen = replace(PROTOCOLS[name], front=front)
    parts = {n: protocol.split(b) for n, b in chosen.load(names or chosen.test).items()}
    parts = dict(sorted(parts.items(), key=lambda p: -len(p[1][0])))
    return Wearers({n: p[0] for n, p in parts.items()}, {n: p[1] for n, p in parts.items()})


@cache
def calibration(name: str, front: Front = beats.USUAL) -> dict[str, NDArray[Any]]:
    """The beats of a protocol's base patients that set the number formats and are mixed in."""
    return replace(PROTOCOLS[name], front=front).calibration()


@cache
def own_beats(name: str, front: Front = beats.USUAL, without: tuple[str, ...] = ()) -> Beats:
    """Beats that the base was trained on, evenly spread; `without`: patients that it never saw."""
    pool = replace(PROTOCOLS[name], front=front).pool(without)
    return pool.take(np.linspace(0, len(pool) - 1, min(OWN, len(pool))).round().astype(np.int64))


def confusions(
    name: str, people: Wearers, predicted: Mapping[str, NDArray[np.int64]], front: Front = beats.USUAL
) -> Confusions:
    """Confusion matrix of each patient, by record; with a row and a column more where a chip found the beats
    (streamed.counted)."""
    chosen = PROTOCOLS[name]
    if front.streamed:
        return {
            n: streamed.counted(beats.record(n), b.label, predicted[n], LEARN_SECONDS, len(chosen.labels))
            for n, b in sorted(people.test.items())
        }
    return {n: chosen.confusion(b.label, predicted[n]) for n, b in sorted(people.test.items())}


def minute_marks(people: Wearers, minutes: Sequence[int]) -> list[Mark]:
    """Where each wearer is in the first pass when each of the minutes is over, by the wearer's own clock."""
    times = [b.sample / (60 * FS) for b in cast(Iterable[Beats], people.learn.values())]
    return [(m * 60 / LEARN_SECONDS, np.array([int((at < m).sum()) for at in times])) for m in minutes]


def run_task(
    task: Task, people: Wearers, model: Path, calibration: Mapping[str, NDArray[Any]], own: Beats
) -> Found:
    """Confusion matrices per patient after each number of passes, those of the learning curve among them; of
    those that the task asks for, how often beats of the base's `own` are right."""
    compiled = compile_model(model, task_spec(task, people.steps), calibration)
    front = FRONTS[task.front]
    marks = minute_marks(people, MINUTES) if task.curve else ()
    passes = tuple(range(1, max(task.passes) + 1)) if task.curve else task.passes
    out: dict[float, Confusions] = {}
    kept: dict[float, float] = {}
    if task.float_run:
        test = FloatTest(compiled, people)
        for k, state in learn_float(compiled, people, passes, marks):
            out[k] = confusions(task.protocol, people, test.predict(state), front)
            if k in task.passes:
                kept[k] = right_in_float(compiled, state, people, own)
        return out, kept
    for k, states in learn_integer(compiled.plan, people, passes, marks):
        out[k] = confusions(task.protocol, people, predict_integer(compiled.plan, states, people), front)
        if k in task.passes:
            kept[k] = right_in_integers(compiled.plan, states, own)
    return out, kept


def before(name: str, model: Path, front: Front = beats.USUAL) -> tuple[Confusions, float]:
    """Confusion matrices of the base model in integers, on the patients of the test; how often its own beats
    are right."""
    people = wearers(name, front=front)
    compiled = compile_model(model, RuleSpec(rule="none"), calibration(name, front))
    states = np.repeat(Emulator(compiled.plan).state, len(people.test), axis=0)
    found = confusions(name, people, predict_integer(compiled.plan, states, people), front)
    return found, right_in_integers(compiled.plan, states[:1], own_beats(name, front))


def plan_tasks(
    name: str, names: Mapping[str, Sequence[str]], weights: Sequence[str], passes: Sequence[int],
    replays: Sequence[bool], seeds: int, curve: bool = False, front: str = USUAL,
) -> list[Task]:  # fmt: skip
    """Every combination, the longest first. `float_bp` has no random choice and runs once. names: of rules,
    by model"""
    tasks = [
        Task(name, m, r, "float32" if r == FLOAT_BP else w, tuple(sorted(passes)), rep, s, curve, front)
        for m in names for r in names[m] for w in weights for rep in replays for s in range(1, seeds + 1)
        if r != FLOAT_BP or (w == weights[0] and s == 1)
    ]  # fmt: skip
    return sorted(tasks, key=lambda t: -t.work)


def evaluate(
    name: str, tasks: Sequence[Task], models: Sequence[str], jobs: int, tick: Callable[[int], None]
) -> list[Row]:
    """Runs all tasks of a protocol on `jobs` processes; rows in a fixed order. tick(work) after each task."""
    rows = {m: _none(name, m, FRONTS[tasks[0].front if tasks else USUAL]) for m in models}
    found = list(rows.values())
    for task, result in _results(tasks, jobs):
        found += _rows(task, result, rows[task.model])
        tick(task.work)
    order = ("none", FLOAT_BP, *RULES)
    return sorted(
        found,
        key=lambda r: (
            r.model,
            order.index(r.rule) if r.rule in order else len(order),
            r.rule,
            r.weights,
            r.replay,
            r.passes,
            r.seed,
        ),
    )


def _none(name: str, model: str, front: Front) -> Row:
    """The base model before learning."""
    matrices, own = before(name, model_path(model, name, front), front)
    labels = PROTOCOLS[name].labels
    summary = protocol.summarise(matrices, len(labels))
    accuracy = {n: s.accuracy for n, s in summary.subjects.items()}
    return Row(model, "none", "int8", 0, False, 0, labels, summary, accuracy, (point(0, summary),), own)


def _rows(task: Task, found: Found, none: Row) -> list[Row]:
    """The rows of a task, one for each number of passes it asks for."""
    matrices, own = found
    summaries = {k: protocol.summarise(m, len(none.labels)) for k, m in sorted(matrices.items())}
    points = [*none.curve, *(point(k, s) for k, s in summaries.items())]
    t = task
    return [
        Row(
            t.model, t.rule, t.weights, k, t.replay, t.seed, none.labels, summaries[k], none.before,
            tuple(p for p in points if p[0] <= k), own[k],
        )
        for k in task.passes
    ]  # fmt: skip


def _results(tasks: Sequence[Task], jobs: int) -> Iterator[tuple[Task, Found]]:
    if jobs == 1:
        for task in tasks:
            yield task, _work(task)
        return
    with ProcessPoolExecutor(jobs) as pool:
        waiting = {pool.submit(_work, t): t for t in tasks}
        try:
            for future in as_completed(waiting):
                yield waiting[future], future.result()
        finally:  # a refusal or an interruption waits for what runs, not for hours of what has not begun
            pool.shutdown(cancel_futures=True)


def _work(task: Task) -> Found:
    name = task.protocol
    people, examples = wearers(name, front=FRONTS[task.front]), calibration(name, FRONTS[task.front])
    own = own_beats(name, FRONTS[task.front])
    return run_task(task, people, model_path(task.model, name, FRONTS[task.front]), examples, own)
