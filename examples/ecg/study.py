"""Chooses the settings of the rule files by folds of a protocol's base patients; study.json keeps them.

Each fold has its own base model that never saw the fold's patients (train.py --fold K); these patients play
the wearers. No patient of the test takes part. Results are kept as they come: an interrupted study goes on
where it stopped.

    python -m synapcc.examples.ecg.study --folds FOLDER [--protocol B] [--model mlp_rr] [--jobs 2]
    python -m synapcc.examples.ecg.study --folds FOLDER --more
    python -m synapcc.examples.ecg.study --show
    python -m synapcc.examples.ecg.study --write

--more: the rules of docs/RESULTS.md that `eval ecg` does not show, one network, protocol A. --write puts the
best settings into the rule files, of these other rules where all were tried. FOLDER holds
<model>_fold<K>.onnx, for protocol B <model>_b_fold<K>.onnx.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from synapcc.gen.compile import compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.spec import Feedback, Replay, RuleSpec, Store
from synapcc.host.run.wearers import learn_integer, predict_integer
from synapcc.host.terminal.arguments import Parser
from synapcc.host.terminal.progress import Progress
from synapcc.host.terminal.screen import guarded
from synapcc.host.terminal.text import table

from ..processes import one_blas_thread
from . import protocol
from .choices import DEFAULT_MODEL, MODELS, RECURRENT, STEPS
from .evaluate import HERE, Confusions, base_name, confusions, more_folder, rule_folder, wearers
from .protocol import PROTOCOLS, Protocol
from .records import CLASSES

RESULTS = HERE / "study.json"
PASSES = (1, 10)
REFUSED = "refused"
"""Of a setting that compile refuses, in place of its scores: why."""
RULES = ("last", "dfa", "fa", "bp", "hebbian")
RATES = (9, 7, 11, 5, 13, 3)
RECURRENT_RATES = (9, 11, 7)
MORE = ("sign", "sdfa", "drtp", "dkp", "hybrid", "ssg", "spsa", "pepita")
"""Rules of `DEFAULT_MODEL` alone, by rate; and others, by the option in its place, and its exponents."""
OPTIONS = {"prototype": ("share", (4, 3, 5, 2, 6, 1, 7, 8)), "es": ("epsilon", (8, 6, 10, 7, 9, 5))}


def rates(model: str = DEFAULT_MODEL) -> Iterator[tuple[str, RuleSpec]]:
    """Every rule of a base model by rate: what the rule files are chosen from."""
    if model in RECURRENT:
        for k in RECURRENT_RATES:
            for rule in RECURRENT[model]:
                options = (("steps", STEPS),) if rule == "bptt" else ()
                yield f"{rule} 2^-{k}", RuleSpec(rule, layers="all", rate=k, options=options)
        return
    for k in RATES:
        for rule in RULES:
            yield f"{rule} 2^-{k}", RuleSpec(rule, rate=k)


def more() -> Iterator[tuple[str, RuleSpec]]:
    """The same of the other rules."""
    for rule in MORE:
        for k in RATES:
            yield f"{rule} 2^-{k}", RuleSpec(rule, rate=k)
    for rule, (option, exponents) in OPTIONS.items():
        for k in exponents:
            yield f"{rule} 2^-{k}", RuleSpec(rule, options=((option, 2.0**-k),))


def variants(chosen: Protocol) -> Iterator[tuple[str, RuleSpec]]:
    """Some of the rates with replay, with aligned and with smaller feedback."""
    for rule in RULES:
        for k in (7, 9):
            yield f"{rule} 2^-{k} replay", RuleSpec(rule, rate=k, replay=Replay(chosen.replay, 1))
    for rule in ("dfa", "fa"):
        yield f"{rule} 2^-7 aligned", RuleSpec(rule, rate=7, feedback=Feedback(init="aligned"))
    for rule in ("hebbian", "dfa", "fa"):
        yield f"{rule} 2^-7 gain 1/4", RuleSpec(rule, rate=7, feedback=Feedback(gain=0.25))


def run(chosen: Protocol, model: Path, fold: int, spec: RuleSpec) -> dict[float, Confusions]:
    """Confusion matrices of a fold's patients after each number of passes."""
    names = chosen.folds[fold]
    people = wearers(chosen.name, names)
    compiled = compile_model(model, replace(spec, store=Store(people.steps)), _calibration(chosen.name, fold))
    return {
        k: confusions(chosen.name, people, predict_integer(compiled.plan, states, people))
        for k, states in learn_integer(compiled.plan, people, PASSES)
    }


@cache
def _calibration(name: str, fold: int) -> dict[str, NDArray[Any]]:
    chosen = PROTOCOLS[name]
    return chosen.calibration(chosen.folds[fold])


def _key(base: str, label: str, weights: str, passes: int) -> str:
    return f"{base} | {label} | {weights} | {passes}"


def _one(folder: Path, name: str, model: str, label: str, spec: RuleSpec) -> dict[str, Any]:
    chosen, base = PROTOCOLS[name], base_name(model, name)
    merged: dict[float, Confusions] = {k: {} for k in PASSES}
    for fold in range(len(chosen.folds)):
        try:
            for k, found in run(chosen, folder / f"{base}_fold{fold}.onnx", fold, spec).items():
                merged[k] |= found
        except CompileError as error:
            return {_key(base, label, spec.weights, k): {REFUSED: error.line} for k in PASSES}
    out = {}
    for k in PASSES:
        gross = protocol.summarise(merged[k]).gross
        f1 = {c: float(v) for c, v in zip(chosen.labels, gross.f1, strict=True) if v == v}
        out[_key(base, label, spec.weights, k)] = {
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
    temporary.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n", encoding="utf-8", newline="\n")
    temporary.replace(RESULTS)


def known_score(results: dict[str, Any], model: str, label: str, name: str) -> float | None:
    """The protocol's score of a setting after all passes; None where compile refuses it, or nobody tried."""
    r = results.get(_key(base_name(model, name), label, "int16", PASSES[-1]))
    return PROTOCOLS[name].score(**r) if r and REFUSED not in r else None


def tried(rule: str) -> tuple[int, ...]:
    """Each k of 2^-k that a rule was tried with, as a rate or as the option in its place."""
    return OPTIONS[rule][1] if rule in OPTIONS else RATES


def best_rate(results: dict[str, Any], model: str, rule: str, name: str = "A") -> int:
    """k of the rule files' 2^-k: the best score after all passes, without replay."""
    return max(tried(rule), key=lambda k: known_score(results, model, f"{rule} 2^-{k}", name) or 0.0)


WHY = {
    "A": "The rate with the best accuracy and macro-F1 after 10 passes without replay, on the folds of DS1",
    "B": "The rate with the best accuracy, F1(S), F1(V) after 10 passes without replay, on folds of 100-124",
}


STORED = "[store]\nsamples = 512\n"


def rule_files(results: dict[str, Any], model: str, name: str) -> Iterator[tuple[str, str]]:
    """(file name, content) of the rule files of a protocol's base model."""
    if model in RECURRENT:
        yield from _through_time(results, model, name)
        return
    for rule in RULES:
        k = best_rate(results, model, rule, name)
        yield f"{rule}.toml", f'# {WHY[name]} (study.json).\nrule = "{rule}"\nrate = "2^-{k}"\n\n{STORED}'
    k = best_rate(results, model, "bp", name)
    why = "# As bp, whose rate it takes: with aligned feedback both walk the same way.\n"
    feedback = '[feedback]\ninit = "aligned"\n'
    for rule in ("dfa", "hebbian"):
        yield f"{rule}_aligned.toml", f'{why}rule = "{rule}"\nrate = "2^-{k}"\n\n{feedback}\n{STORED}'


def _through_time(results: dict[str, Any], model: str, name: str) -> Iterator[tuple[str, str]]:
    for rule in RECURRENT[model]:
        k = best_rate(results, model, rule, name)
        said = f'rule = "{rule}"\nlayers = "all"\nrate = "2^-{k}"\n\n'
        own = f"[options]\nsteps = {STEPS}\n\n" if rule == "bptt" else ""
        yield f"{rule}.toml", f"# {WHY[name]} (study.json).\n{said}{own}{STORED}"


def more_files(results: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(file name, content) of those of the other rules of which all settings were tried."""
    for rule in (*MORE, *OPTIONS):
        base = base_name(DEFAULT_MODEL, "A")
        scores = [known_score(results, DEFAULT_MODEL, f"{rule} 2^-{k}", "A") for k in tried(rule)]
        if not any(scores) or not all(
            _key(base, f"{rule} 2^-{k}", "int16", PASSES[-1]) in results for k in tried(rule)
        ):
            continue
        k = best_rate(results, DEFAULT_MODEL, rule)
        said = f'[options]\n{OPTIONS[rule][0]} = "2^-{k}"\n' if rule in OPTIONS else f'rate = "2^-{k}"\n'
        why = WHY["A"].replace("The rate", "The number") if rule in OPTIONS else WHY["A"]
        yield f"{rule}.toml", f'# {why} (study.json).\nrule = "{rule}"\n{said}\n[store]\nsamples = 512\n'


def write(results: dict[str, Any]) -> None:
    """Rewrites the rule files of every base model, and those of the other rules."""
    of = [*((name, model) for name in PROTOCOLS for model in MODELS), *(("A", model) for model in RECURRENT)]
    folders = {rule_folder(model, name): rule_files(results, model, name) for name, model in of}
    for folder, files in (folders | {more_folder(): more_files(results)}).items():
        folder.mkdir(parents=True, exist_ok=True)
        for file, content in files:
            (folder / file).write_text(content, encoding="utf-8", newline="\n")


def show(results: dict[str, Any]) -> str:
    """The study as a table, the best macro-F1 first."""
    rows = []
    tried = {key: r for key, r in results.items() if REFUSED not in r}
    for key, r in sorted(tried.items(), key=lambda item: -item[1]["macro_f1"]):
        base, label, weights, passes = key.split(" | ")
        scores = [f"{r['f1'][c]:.3f}" if c in r["f1"] else "" for c in CLASSES]
        rows.append([base, label, weights, passes, f"{r['accuracy']:.4f}", f"{r['macro_f1']:.4f}", *scores])
    head = ["base", "setting", "weights", "passes", "accuracy", "macro F1"]
    lines = table([*head, *(f"F1({c})" for c in CLASSES)], rows)
    refused = [f"{key}: refused: {r[REFUSED]}" for key, r in sorted(results.items()) if REFUSED in r]
    return "\n".join([*lines, *refused])


@guarded()
def main(words: list[str] | None = None) -> int:
    p = Parser(prog="python -m synapcc.examples.ecg.study", description=__doc__.split("\n")[0])
    p.add_argument("--folds", type=Path, help="folder with the folds' base models")
    p.add_argument("--protocol", choices=sorted(PROTOCOLS), default="A")
    p.add_argument(
        "--model",
        action="append",
        choices=(*MODELS, *RECURRENT),
        help=f"may be repeated (default: {', '.join(MODELS)})",
    )
    p.add_argument("--rates", action="store_true", help="the rates alone, without the variants")
    p.add_argument("--more", action="store_true", help=f"the rules {', '.join((*MORE, *OPTIONS))} alone")
    p.add_argument("--jobs", type=int, default=2)
    p.add_argument("--show", action="store_true", help="print what is known and run nothing")
    p.add_argument("--write", action="store_true", help="rewrite the rule files and run nothing")
    args = p.parse_args(words)
    results = _load()
    if args.write:
        write(results)
        return 0
    if args.show or args.folds is None:
        print(show(results))
        return 0
    one_blas_thread()
    fresh = multiprocessing.get_context("spawn")
    name = "A" if args.more else args.protocol
    models = [DEFAULT_MODEL] if args.more else args.model or MODELS

    def settings(model: str) -> Iterator[tuple[str, RuleSpec]]:
        yield from more() if args.more else rates(model)
        if not (args.more or args.rates or model in RECURRENT):
            yield from variants(PROTOCOLS[name])

    todo = [
        (name, m, label, spec)
        for m in models
        for label, spec in settings(m)
        if REFUSED in results.get(_key(base_name(m, name), label, spec.weights, PASSES[-1]), {REFUSED: ""})
    ]
    with ProcessPoolExecutor(args.jobs, mp_context=fresh) as pool, Progress("settings", len(todo)) as bar:
        for future in as_completed([pool.submit(_one, args.folds, *t) for t in todo]):
            results |= future.result()
            _save(results)
            bar.step()
    print(show(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
