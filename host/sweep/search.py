"""All settings of a grid, or those that a search draws; then the tests of what was chosen."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from synapcc.gen.errors import SynapccError

from .outcome import NEVER, Outcome, scored, tested, tests, untested
from .plan import Setting, Sweep
from .run import Runner, Unit

AT_ONCE = 4  # settings that a search draws before it looks at what they score


def run_all(sweep: Sweep, runner: Runner, tick: Callable[[], Any]) -> Outcome:
    """Runs the settings on the folds, and the chosen ones on those who are tested."""
    settings = _searched(sweep, runner, tick) if sweep.search else sweep.settings
    found = runner.run(_units(sweep, settings), tick)
    pairs = tests(sweep, settings, found)
    last = [Unit(s, seed, fold) for of in pairs.values() for s, fold in of for seed in sweep.seeds]
    found |= runner.run(last, lambda: None)
    if all("refused" in r for r in found.values()):
        why = next(iter(found.values()))["refused"]
        raise SynapccError(str(sweep.file), f"every setting was refused: {why}", "mend that first")
    refused = {rule: why for rule, of in pairs.items() if (why := untested(sweep, of, found))}
    done = [tested(sweep, rule, of, found) for rule, of in pairs.items() if rule not in refused]
    return Outcome(tuple(settings), found, done, refused)


def _units(sweep: Sweep, settings: Sequence[Setting]) -> list[Unit]:
    return [Unit(s, seed, fold) for s in settings for seed in sweep.seeds for fold in sweep.folds]


def _searched(sweep: Sweep, runner: Runner, tick: Callable[[], Any]) -> tuple[Setting, ...]:
    """The settings that Optuna's sampler draws from the grid, a few at a time: the same ones for the same
    seed, whatever ran before and wherever. One that was drawn before costs nothing."""
    try:
        import optuna
    except ImportError:
        raise SynapccError("optuna", "is not installed", "pip install 'synapcc[search]'") from None
    assert sweep.search
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=sweep.search.seed)
    )
    by_label = {s.label: s for s in sweep.settings}
    drawn: dict[str, Setting] = {}
    left = sweep.search.trials
    while left:
        trials = [study.ask() for _ in range(min(AT_ONCE, left))]
        left -= len(trials)
        batch = [by_label[_label(sweep, trial)] for trial in trials]
        new = [s for s in dict.fromkeys(batch) if s.label not in drawn]
        found = runner.run(_units(sweep, list(dict.fromkeys(batch))), tick if new else lambda: None)
        drawn |= {s.label: s for s in new}
        for trial, setting in zip(trials, batch, strict=True):
            mean = scored(sweep, setting, found, tuple(sweep.folds)).mean
            if mean == NEVER:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
            else:
                study.tell(trial, mean)
    return tuple(drawn.values())


def _label(sweep: Sweep, trial: Any) -> str:
    """The setting of a trial: of each key one of its values, by their texts, since a value may be a table."""
    words = []
    for name, values in sweep.grid.items():
        texts = {json.dumps(v, default=str): v for v in values}
        words.append(f"{name}={texts[trial.suggest_categorical(name, list(texts))]}")
    return " ".join(words)
