"""Protocol A: every DS2 patient learns five minutes on an emulated device and is tested on the other 25.

A row is one way of learning: model, rule, weights, passes, replay, seed. `none` is the base model; `float_bp`
is float32 backpropagation through the same layers, in the same order, with the same rate and passes: the
programs of `bp` in float.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.compile import compile_model
from synapcc.gen.errors import SynapccError
from synapcc.gen.rules import rules
from synapcc.gen.spec import Replay, RuleSpec, Store, load_spec
from synapcc.host.emulator import Emulator

from . import beats, protocol
from .personalise import Wearers, learn_float, learn_integer, predict_float, predict_integer

HERE = Path(__file__).resolve().parent
MODELS = ("mlp", "mlp_rr")
DEFAULT_MODEL = "mlp"
"""The network that the published figures are for; not the one that some figure is best with."""
FLOAT_BP = "float_bp"
RULES = ("last", "dfa", "fa", "bp", "hebbian")
"""The rule files of the table. There are also dfa_aligned and hebbian_aligned (bp until it saturates)."""
CALIBRATION = 1024  # class-balanced DS1 beats that set the number formats
BASE_EXAMPLES = 256  # class-balanced DS1 beats in flash, where replay is on

Confusions = dict[str, NDArray[np.int64]]


@dataclass(frozen=True)
class Task:
    """One learning run, tested after each number of passes in `passes`."""

    model: str
    rule: str
    weights: str
    passes: tuple[int, ...]
    replay: bool
    seed: int

    @property
    def float_run(self) -> bool:
        return self.rule == FLOAT_BP

    @property
    def work(self) -> int:
        """Relative length, to start the long ones first."""
        return max(self.passes) * (2 if self.replay else 1)


@dataclass(frozen=True)
class Row:
    """What one way of learning came to, on all patients' test beats."""

    model: str
    rule: str
    weights: str
    passes: int
    replay: bool
    seed: int
    summary: protocol.Summary
    before: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON: gross figures, the average over patients, and each patient before and after."""
        gross = _scores(self.summary.gross)
        patients = {
            n: {"before": self.before[n], "after": s.accuracy, "f1": _by_class(s.f1)}
            for n, s in self.summary.patients.items()
        }
        return {
            "model": self.model, "rule": self.rule, "weights": self.weights, "passes": self.passes,
            "replay": self.replay, "seed": self.seed, **gross, "average": _scores(self.summary.average),
            "confusion": self.summary.matrix.tolist(), "patients": patients,
        }  # fmt: skip


def _scores(scores: protocol.Scores) -> dict[str, Any]:
    ratios = {name: _by_class(getattr(scores, name)) for name in ("f1", "sen", "ppr")}
    return {"accuracy": scores.accuracy, "macro_f1": scores.macro_f1, **ratios}


def _by_class(values: NDArray[np.float64]) -> dict[str, float | None]:
    return {label: _number(v) for label, v in zip(protocol.LABELS, values, strict=True)}


def _number(v: float) -> float | None:
    return None if np.isnan(v) else float(v)


def model_path(name: str) -> Path:
    """A base model of this folder by its short name, or a file."""
    known = HERE / "models" / f"ecg_{name}.onnx"
    path = known if known.is_file() else Path(name)
    if not path.is_file():
        what = "is neither a base model nor a file"
        raise SynapccError(name, what, f"base models: {', '.join(MODELS)}; or give an .onnx file")
    return path


def rule_names() -> tuple[str, ...]:
    """What `--rule` knows by name: float_bp, and the rule files of this folder."""
    return (FLOAT_BP, *sorted(p.stem for p in (HERE / "rules" / MODELS[-1]).glob("*.toml")))


def rule_spec(name: str, model: str) -> RuleSpec:
    """The rule file that goes with a base model (another model's: that of the last), or any rule file."""
    known = HERE / "rules" / (model if model in MODELS else MODELS[-1]) / f"{name}.toml"
    path = known if known.is_file() else Path(name)
    return load_spec(path, sorted(rules()))


def task_spec(task: Task, samples: int) -> RuleSpec:
    """The rule file of a task, with room for `samples` kept beats and with or without replay."""
    spec = rule_spec("bp" if task.float_run else task.rule, task.model)
    base = spec.replay or Replay(BASE_EXAMPLES, 1)
    store = replace(spec.store, samples=samples) if spec.store else Store(samples)
    weights = spec.weights if task.float_run else task.weights
    return replace(spec, weights=weights, seed=task.seed, store=store, replay=base if task.replay else None)


@cache
def wearers(names: tuple[str, ...] = protocol.DS2) -> Wearers:
    """The patients' beats, split at five minutes; those who learn most come first, so that the devices that
    are still learning always stand side by side in the fleet."""
    parts = {n: protocol.split(b) for n, b in beats.load(names).items()}
    parts = dict(sorted(parts.items(), key=lambda p: -len(p[1][0])))
    return Wearers({n: p[0] for n, p in parts.items()}, {n: p[1] for n, p in parts.items()})


@cache
def calibration() -> dict[str, NDArray[Any]]:
    """The class-balanced DS1 beats that set the number formats and are replayed."""
    return protocol.calibration(CALIBRATION, 0)


def confusions(people: Wearers, predicted: Mapping[str, NDArray[np.int64]]) -> Confusions:
    """Confusion matrix of each patient, by record."""
    return {n: protocol.confusion(b.label, predicted[n]) for n, b in sorted(people.test.items())}


def run_task(
    task: Task, people: Wearers, model: Path, calibration: Mapping[str, NDArray[Any]]
) -> dict[int, Confusions]:
    """Confusion matrices per patient, for each number of passes (0: before learning)."""
    compiled = compile_model(model, task_spec(task, people.steps), calibration)
    if task.float_run:
        learned = learn_float(compiled, people, task.passes)
        return {k: confusions(people, predict_float(compiled, m, people)) for k, m in learned}
    out = {}
    for k, states in learn_integer(compiled.plan, people, task.passes):
        out[k] = confusions(people, predict_integer(compiled.plan, states, people))
    return out


def before(model: Path, people: Wearers, calibration: Mapping[str, NDArray[Any]]) -> Confusions:
    """Confusion matrices of the base model in integers."""
    compiled = compile_model(model, RuleSpec(rule="none"), calibration)
    states = np.repeat(Emulator(compiled.plan).state, len(people.test), axis=0)
    return confusions(people, predict_integer(compiled.plan, states, people))


def plan_tasks(
    models: Sequence[str], names: Sequence[str], weights: Sequence[str], passes: Sequence[int],
    replays: Sequence[bool], seeds: int,
) -> list[Task]:  # fmt: skip
    """Every combination, the longest first. `float_bp` has no random choice and runs once."""
    tasks = [
        Task(m, r, "float32" if r == FLOAT_BP else w, tuple(sorted(passes)), rep, s)
        for m in models for r in names for w in weights for rep in replays for s in range(1, seeds + 1)
        if r != FLOAT_BP or (w == weights[0] and s == 1)
    ]  # fmt: skip
    return sorted(tasks, key=lambda t: -t.work)


def evaluate(
    tasks: Sequence[Task], models: Sequence[str], jobs: int, tick: Callable[[int], None]
) -> list[Row]:
    """Runs all tasks on `jobs` processes; rows in a fixed order. tick(work) after each task."""
    people = wearers()
    rows: list[Row] = []
    bases = {m: before(model_path(m), people, calibration()) for m in models}
    accuracy = {m: {n: protocol.scores(c).accuracy for n, c in bases[m].items()} for m in models}
    for m in models:
        rows.append(Row(m, "none", "int8", 0, False, 0, protocol.summarise(bases[m]), accuracy[m]))
    for task, found in _results(tasks, jobs):
        for k, matrices in found.items():
            rows.append(
                Row(
                    task.model,
                    task.rule,
                    task.weights,
                    k,
                    task.replay,
                    task.seed,
                    protocol.summarise(matrices),
                    accuracy[task.model],
                )
            )
        tick(task.work)
    order = ("none", FLOAT_BP, *RULES)
    return sorted(
        rows,
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


def _results(tasks: Sequence[Task], jobs: int) -> Iterator[tuple[Task, dict[int, Confusions]]]:
    # One BLAS thread a process: the matrices are small, and two pools of threads would fight over the cores.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    if jobs == 1:
        for task in tasks:
            yield task, _work(task)
        return
    with ProcessPoolExecutor(jobs) as pool:
        waiting = {pool.submit(_work, t): t for t in tasks}
        for future in as_completed(waiting):
            yield waiting[future], future.result()


def _work(task: Task) -> dict[int, Confusions]:
    return run_task(task, wearers(), model_path(task.model), calibration())
