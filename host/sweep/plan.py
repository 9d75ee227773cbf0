"""SWEEP.toml: settings, wearers in folds, who is tested at last, and where models and data lie."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from synapcc.gen.errors import CompileError, SynapccError, shown
from synapcc.gen.files.userfile import read_text
from synapcc.gen.ir.inputs import listed
from synapcc.gen.rules import options
from synapcc.gen.spec import INFERENCE_ONLY, RuleSpec, parse_spec
from synapcc.gen.spec.table import Table
from synapcc.gen.words import what_is

MAX_FILE = 1 << 20
KEYS = (
    "model",
    "calibrate",
    "learn",
    "test",
    "wearer_key",
    "passes",
    "seeds",
    "score",
    "folds",
    "final",
    "rule",
    "grid",
    "search",
)
SCORES = ("accuracy", "macro_f1", "mean")
FINAL = "final"
FLOAT = "float_bp"  # as a rule: the programs of bp in float32, to hold integers against
FOLD = "{fold}"  # in the name of a model or of calibration data: those of a fold's own
MOST = 10_000  # settings of a grid


@dataclass(frozen=True)
class Setting:
    """One combination of the grid. label: what differs, as `rate=2^-7`; text: the rule file without seed;
    floats: whether it runs in float32, as FLOAT does."""

    label: str
    rule: str
    text: str
    floats: bool = False

    def spec(self, where: str, seed: int) -> RuleSpec:
        """The rule file with a seed; CompileError: none, or it has one already."""
        return parse_spec(f"seed = {seed}\n{self.text}", where, options())


@dataclass(frozen=True)
class Search:
    """Settings drawn by Optuna in place of the whole grid."""

    trials: int
    seed: int


@dataclass(frozen=True)
class Sweep:
    """What is run.

    folds:   wearers by whom settings are chosen, by fold
    final:   wearers who are tested under the chosen settings; none: those of each fold, under what the others
             choose
    passes:  after which wearers are asked, ascending; the last one is what settings are chosen by
    score:   accuracy, macro_f1, or the mean of both, over all samples of the folds
    """

    file: Path
    model: str
    calibrate: str
    learn: Path
    test: Path
    wearer_key: str
    passes: tuple[int, ...]
    seeds: tuple[int, ...]
    score: str
    folds: Mapping[str, tuple[str, ...]]
    final: tuple[str, ...]
    final_model: str
    final_calibrate: str
    settings: tuple[Setting, ...]
    grid: Mapping[str, Sequence[Any]]
    search: Search | None

    def paths(self, fold: str) -> tuple[Path, Path]:
        """Model and calibration data of a fold, or of FINAL."""
        model, data = self.model, self.calibrate
        if fold == FINAL:
            model, data = self.final_model, self.final_calibrate
        folder = self.file.parent
        return folder / model.replace(FOLD, fold), folder / data.replace(FOLD, fold)

    @property
    def files(self) -> list[Path]:
        """All that a sweep reads."""
        folds = (*self.folds, *((FINAL,) if self.final else ()))
        return [self.file, self.learn, self.test, *(path for fold in folds for path in self.paths(fold))]

    def wearers(self, fold: str) -> tuple[str, ...]:
        return self.final if fold == FINAL else self.folds[fold]


def read_sweep(file: Path) -> Sweep:
    """The sweep of a file. SynapccError for whatever is wrong with it, with a rule file of its grid too."""
    where = str(file)
    try:
        raw = tomllib.loads(read_text(file, MAX_FILE, CompileError, "give a SWEEP.toml: synapcc docs HOWTO"))
    except ValueError as error:
        raise SynapccError(where, f"is no TOML: {error}", "synapcc docs HOWTO has one") from None
    table = Table(where, "", raw, KEYS)
    last = table.subtable("final", ("wearers", "model", "calibrate")) if "final" in raw else None
    folds, final = _folds(table), _names(last, "wearers") if last else ()
    mine = [name for names in folds.values() for name in names]
    for name in dict.fromkeys([*mine, *final]):
        if [*mine, *final].count(name) > 1:
            hint = "a wearer belongs to one fold, or to those who are tested"
            raise SynapccError(where, f"{shown(name)} is named twice", hint)
    if not final and len(folds) < 2:
        hint = "give [final] wearers, or two folds or more, of which each is tested under what others choose"
        raise SynapccError(where, "nobody is tested", hint)
    model, calibrate = _text(table, "model"), _text(table, "calibrate")
    grid = _grid(table)
    return Sweep(
        file=file,
        model=model,
        calibrate=calibrate,
        learn=file.parent / _text(table, "learn"),
        test=file.parent / _text(table, "test"),
        wearer_key=_text(table, "wearer_key"),
        passes=tuple(sorted(set(_numbers(table, "passes", 1, 10_000, (1,))))),
        seeds=tuple(dict.fromkeys(_numbers(table, "seeds", 0, 2**32 - 1, (1,)))),
        score=table.choice("score", SCORES, SCORES[0]),
        folds=folds,
        final=final,
        final_model=_of_the_tested(table, last, "model", model),
        final_calibrate=_of_the_tested(table, last, "calibrate", calibrate),
        settings=tuple(_settings(where, table, grid)),
        grid=grid,
        search=_search(table) if "search" in raw else None,
    )


def _of_the_tested(table: Table, last: Table | None, key: str, usual: str) -> str:
    """The name of the model, or of the calibration data, of those who are tested."""
    if last is None:
        return usual
    if FOLD in usual and key not in last.raw:
        raise table.error(key, f"has a {FOLD}, and [final] is none", f"give {key} in [final] too")
    return _text(last, key, usual)


def _folds(table: Table) -> dict[str, tuple[str, ...]]:
    raw = table.get("folds")
    if not isinstance(raw, dict) or not raw:
        what = "is missing" if raw is None else f"is {what_is(raw)}"
        raise table.error("folds", what, 'write [folds] with a line a fold, such as a = ["101", "106"]')
    folds = Table(table.where, "folds", raw, [*raw])
    if FINAL in raw:
        raise folds.error(FINAL, "is no name of a fold", "[final] has those who are tested")
    return {name: _names(folds, name) for name in raw}


def _names(table: Table, key: str) -> tuple[str, ...]:
    value = table.get(key)
    if not isinstance(value, list) or not value or not all(isinstance(v, str | int) for v in value):
        what = "is missing" if value is None else f"is {what_is(value)}"
        raise table.error(key, what, f'give a list, such as {key} = ["101", "106"]')
    names = tuple(shown(str(v)) for v in value)
    if len(set(names)) < len(names):
        raise table.error(key, "names one twice", "leave one of them out")
    return names


def _text(table: Table, key: str, default: str | None = None) -> str:
    value = table.get(key)
    if value is None and default is not None:
        return default
    if not isinstance(value, str) or not value:
        what = "is missing" if value is None else f"is {what_is(value)}"
        raise table.error(key, what, "give a text; files lie beside this one")
    return value


def _numbers(table: Table, key: str, low: int, high: int, default: tuple[int, ...]) -> tuple[int, ...]:
    value = table.get(key)
    if value is None:
        return default
    whole = isinstance(value, list) and value and all(type(v) is int and low <= v <= high for v in value)
    if not isinstance(value, list) or not whole:
        hint = f"give a list of whole numbers from {low} to {high}"
        raise table.error(key, f"is {what_is(value)}", hint)
    return tuple(value)


def _search(table: Table) -> Search:
    own = table.subtable("search", ("trials", "seed"))
    return Search(own.integer("trials", 1, MOST, None), own.integer("seed", 0, 2**32 - 1, 1))


def _grid(table: Table) -> dict[str, list[Any]]:
    raw = table.get("grid")
    if not isinstance(raw, dict) or not raw:
        what = "is missing" if raw is None else f"is {what_is(raw)}"
        raise table.error(
            "grid", what, 'write [grid] with a list a key of the rule file: rate = ["2^-5", "2^-7"]'
        )
    grid = Table(table.where, "grid", raw, [*raw])
    for key, values in raw.items():
        if key == "seed" or key.startswith("seed."):
            raise grid.error(key, "is no setting", "seeds = [1, 2, 3] at the top: their mean is what counts")
        if not isinstance(values, list) or not values:
            raise grid.error(key, f"is {what_is(values)}", "give a list of values")
    return raw


def _settings(where: str, table: Table, grid: Mapping[str, Sequence[Any]]) -> Iterator[Setting]:
    """Every combination, each read as a rule file once: what is wrong is told before the first run."""
    shared = table.get("rule") or {}
    if not isinstance(shared, dict):
        raise table.error(
            "rule", f"is {what_is(shared)}", "write [rule], a rule file that all settings share"
        )
    if "seed" in shared:
        raise SynapccError(where, "rule.seed is no setting", "write seeds = [1, 2, 3] at the top")
    count = 1
    for values in grid.values():
        count *= len(values)
    if count > MOST:
        raise table.error("grid", f"has {count} combinations", f"give at most {MOST}")
    for values in itertools.product(*grid.values()):
        yield setting(where, shared, dict(zip(grid, values, strict=True)))


def setting(where: str, shared: Mapping[str, Any], values: Mapping[str, Any]) -> Setting:
    """The rule file with these values in it; its label has those of keys that differ."""
    raw: dict[str, Any] = tomllib.loads(tomli_w.dumps(shared))  # a copy
    for key, value in values.items():
        *path, last = key.split(".")
        inner = raw
        for name in path:
            inner = inner.setdefault(name, {})
            if not isinstance(inner, dict):
                raise SynapccError(
                    where, f'grid."{shown(key)}" goes into {name}, no table', "name another key"
                )
        inner[last] = value
    label = " ".join(f"{key}={value}" for key, value in values.items())
    rule = str(raw.get("rule", "own"))
    if floats := rule == FLOAT:
        raw["rule"] = "bp"
    if rule == INFERENCE_ONLY:
        hint = 'leave it out: the table has "before learning"'
        raise SynapccError(where, f'rule "{rule}" learns nothing', hint)
    found = Setting(label, rule, tomli_w.dumps(raw), floats)
    found.spec(f"{where}, {shown(label)}", 1)
    return found


def unknown(sweep: Sweep, wearers: Sequence[str]) -> str:
    """Who is named and has no samples; "" where all have."""
    named = [name for names in (*sweep.folds.values(), sweep.final) for name in names]
    lacks = [name for name in named if name not in wearers]
    return listed(lacks) if lacks else ""
