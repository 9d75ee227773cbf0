"""Chooses the settings of the rule files by patient folds over DS1; study.json keeps what it found.

Each fold has its own base model that never saw the fold's patients (train.py --fold K); these patients play
the wearers. DS2 is not touched. Results are kept as they come: an interrupted study goes on where it stopped.

    python -m synapcc.examples.ecg.study --folds FOLDER [--model mlp_rr] [--jobs 2]
    python -m synapcc.examples.ecg.study --show

FOLDER holds <model>_fold<K>.onnx.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any

from synapcc.gen.compile import compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.spec import Feedback, Replay, RuleSpec, Store
from synapcc.host.progress import Progress
from synapcc.host.text import table

from . import protocol
from .evaluate import BASE_EXAMPLES, CALIBRATION, HERE, Confusions, confusions, wearers
from .personalise import learn_integer, predict_integer

RESULTS = HERE / "study.json"
PASSES = (1, 10)
RULES = ("last", "dfa", "fa", "bp", "hebbian")
RATES = (3, 5, 7, 9, 11, 13)


def settings() -> Iterator[tuple[str, RuleSpec]]:
    """The grid: every rule by rate, then the same with replay, then aligned and smaller feedback."""
    for rule in RULES:
        for k in RATES:
            yield f"{rule} 2^-{k}", RuleSpec(rule, rate=k)
    for rule in RULES:
        for k in (7, 9):
            yield f"{rule} 2^-{k} replay", RuleSpec(rule, rate=k, replay=Replay(BASE_EXAMPLES, 1))
    for rule in ("dfa", "fa"):
        yield f"{rule} 2^-7 aligned", RuleSpec(rule, rate=7, feedback=Feedback(init="aligned"))
    for rule in ("hebbian", "dfa", "fa"):
        yield f"{rule} 2^-7 gain 1/4", RuleSpec(rule, rate=7, feedback=Feedback(gain=0.25))


def run(model: Path, fold: int, spec: RuleSpec) -> dict[int, Confusions]:
    """Confusion matrices of a fold's patients after each number of passes."""
    names = protocol.DS1_FOLDS[fold]
    people = wearers(names)
    calibration = protocol.calibration(CALIBRATION, 0, names)
    compiled = compile_model(model, replace(spec, store=Store(people.steps)), calibration)
    learned = learn_integer(compiled.plan, people, PASSES)
    return {k: confusions(people, predict_integer(compiled.plan, states, people)) for k, states in learned}


def _key(model: str, label: str, weights: str, passes: int) -> str:
    return f"{model} | {label} | {weights} | {passes}"


def _one(folder: Path, model: str, label: str, spec: RuleSpec) -> dict[str, Any]:
    merged: dict[int, Confusions] = {k: {} for k in PASSES}
    for fold in range(len(protocol.DS1_FOLDS)):
        for k, found in run(folder / f"{model}_fold{fold}.onnx", fold, spec).items():
            merged[k] |= found
    out = {}
    for k, matrices in merged.items():
        gross = protocol.summarise(matrices).gross
        f1 = dict(zip(protocol.LABELS, map(float, gross.f1), strict=True))
        out[_key(model, label, spec.weights, k)] = {
            "accuracy": gross.accuracy, "macro_f1": gross.macro_f1, "f1": f1,
        }  # fmt: skip
    return out


def _load() -> dict[str, Any]:
    if not RESULTS.is_file():
        return {}
    loaded: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
    return loaded


def _save(results: dict[str, Any]) -> None:
    temporary = RESULTS.with_suffix(".tmp")
    temporary.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    temporary.replace(RESULTS)


def best_rate(results: dict[str, Any], model: str, rule: str) -> int:
    """k of the rule files' rate 2^-k: best mean of accuracy and macro-F1 after all passes, no replay."""

    def score(k: int) -> float:
        r = results.get(_key(model, f"{rule} 2^-{k}", "int16", PASSES[-1]))
        return float(r["accuracy"] + r["macro_f1"]) / 2 if r else 0.0  # a rate that compile refuses has none

    return max(RATES, key=score)


def show(results: dict[str, Any]) -> str:
    """The study as a table, the best macro-F1 first."""
    rows = []
    for key, r in sorted(results.items(), key=lambda item: -item[1]["macro_f1"]):
        model, label, weights, passes = key.split(" | ")
        scores = [f"{r['f1'][c]:.3f}" for c in protocol.LABELS]
        rows.append([model, label, weights, passes, f"{r['accuracy']:.4f}", f"{r['macro_f1']:.4f}", *scores])
    head = ["model", "setting", "weights", "passes", "accuracy", "macro F1"]
    return "\n".join(table([*head, *(f"F1({c})" for c in protocol.LABELS)], rows))


def main(words: list[str] | None = None) -> int:
    p = argparse.ArgumentParser(
        prog="python -m synapcc.examples.ecg.study", description=__doc__.split("\n")[0]
    )
    p.add_argument("--folds", type=Path, help="folder with <model>_fold<K>.onnx")
    p.add_argument("--model", action="append", help="mlp, mlp_rr (default: both)")
    p.add_argument("--jobs", type=int, default=2)
    p.add_argument("--show", action="store_true", help="print what is known and run nothing")
    args = p.parse_args(words)
    results = _load()
    if args.show or args.folds is None:
        print(show(results))
        return 0
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    models = args.model or ["mlp_rr", "mlp"]
    todo = [
        (m, n, s) for m in models for n, s in settings() if _key(m, n, s.weights, PASSES[-1]) not in results
    ]
    with ProcessPoolExecutor(args.jobs) as pool, Progress("settings", len(todo)) as bar:
        for future in as_completed([pool.submit(_one, args.folds, *t) for t in todo]):
            try:
                results |= future.result()
            except CompileError as error:
                print(f"left out: {error}", file=sys.stderr)
            _save(results)
            bar.step()
    print(show(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
