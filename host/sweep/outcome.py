"""What settings score on the folds, which is chosen, and what those who are tested get under it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.version import VERSION

from ..run.kept import Result
from ..run.scores import Summary, summarise
from ..terminal.text import table
from .plan import FINAL, Setting, Sweep
from .run import Unit

Found = Mapping[Unit, Result]
SHOWN = 30  # settings in a table
NEVER = float("-inf")
BEST = "best of all rules"  # but those in float


def matrices(results: Iterable[Result], passes: int) -> dict[str, NDArray[np.int64]]:
    """The wearers' confusion matrices after so many passes; 0: before learning."""
    out: dict[str, NDArray[np.int64]] = {}
    for r in results:
        for name, matrix in (r["after"][str(passes)] if passes else r["before"]).items():
            out[name] = np.array(matrix, np.int64)
    return out


def score(kind: str, of: Summary) -> float:
    """What settings are chosen by, of all samples in one confusion matrix."""
    both = of.gross.accuracy, of.gross.macro_f1
    return {"accuracy": both[0], "macro_f1": both[1], "mean": statistics.fmean(both)}[kind]


@dataclass(frozen=True)
class Scored:
    """A setting on some folds: the mean over the seeds, and each seed's; -inf where it was refused."""

    setting: Setting
    mean: float
    each: tuple[float, ...]
    refused: str = ""


def scored(sweep: Sweep, setting: Setting, found: Found, folds: Sequence[str]) -> Scored:
    """A setting by the wearers of `folds`, after the most passes."""
    each = []
    for seed in sweep.seeds:
        results = [found[Unit(setting, seed, fold)] for fold in folds]
        if refused := next((r["refused"] for r in results if "refused" in r), ""):
            return Scored(setting, NEVER, (), refused)
        each.append(score(sweep.score, summarise(matrices(results, sweep.passes[-1]))))
    return Scored(setting, statistics.fmean(each), tuple(each))


def chosen(
    sweep: Sweep, settings: Sequence[Setting], found: Found, folds: Sequence[str]
) -> dict[str, Setting]:
    """By rule, the setting with the best score on `folds`, the first one of several; no rule whose settings
    were all refused."""
    best: dict[str, Scored] = {}
    for setting in settings:
        s = scored(sweep, setting, found, folds)
        if s.mean > (best[setting.rule].mean if setting.rule in best else NEVER):
            best[setting.rule] = s
    return {rule: s.setting for rule, s in best.items()}


def tests(sweep: Sweep, settings: Sequence[Setting], found: Found) -> dict[str, list[tuple[Setting, str]]]:
    """By rule, and BEST of them, the setting under which the wearers of each fold, or of FINAL, are tested.
    Of no test anything is chosen: those of a fold are tested under what the other folds choose."""
    folds = tuple(sweep.folds)
    out: dict[str, list[tuple[Setting, str]]] = {}
    for fold in (FINAL,) if sweep.final else folds:
        others = [f for f in folds if f != fold]
        by_rule = chosen(sweep, settings, found, others)
        integers = [s for s in by_rule.values() if not s.floats]
        for rule, setting in by_rule.items():
            out.setdefault(rule, []).append((setting, fold))
        if len(integers) > 1:
            best = max(integers, key=lambda s: scored(sweep, s, found, others).mean)
            out.setdefault(BEST, []).append((best, fold))
    return {rule: pairs for rule, pairs in out.items() if sweep.final or len(pairs) == len(folds)}


@dataclass(frozen=True)
class Tested:
    """A rule on those who are tested: summaries by number of passes (0: before learning), a seed each.

    base: how often the base's own data are right then, the mean over the wearers; none where calibration data
          have no labels
    """

    rule: str
    settings: tuple[Setting, ...]
    summaries: Mapping[int, tuple[Summary, ...]]
    base: Mapping[int, tuple[float, ...]]

    @property
    def title(self) -> str:
        """The rule and its setting, or how many settings the folds chose."""
        what = self.settings[0].label if len(self.settings) == 1 else f"{len(self.settings)} settings"
        return what if what.startswith(f"rule={self.rule} ") else f"{self.rule}: {what}"

    def worst(self, passes: int) -> float:
        """The least change of a wearer's accuracy, of all seeds."""
        pairs = zip(self.summaries[0], self.summaries[passes], strict=True)
        return min(s.accuracy - b.subjects[n].accuracy for b, a in pairs for n, s in a.subjects.items())


def untested(sweep: Sweep, pairs: Sequence[tuple[Setting, str]], found: Found) -> str:
    """Why a rule cannot be tested under what was chosen: refused there; "" where it can. Nobody who is tested
    chooses another setting in its place."""
    all_of = (found[Unit(setting, seed, fold)] for setting, fold in pairs for seed in sweep.seeds)
    return next((r["refused"] for r in all_of if "refused" in r), "")


def tested(sweep: Sweep, rule: str, pairs: Sequence[tuple[Setting, str]], found: Found) -> Tested:
    """What the wearers get under the settings that were chosen for them."""
    summaries: dict[int, tuple[Summary, ...]] = {}
    base: dict[int, tuple[float, ...]] = {}
    for k in (0, *sweep.passes):
        runs = [[found[Unit(setting, seed, fold)] for setting, fold in pairs] for seed in sweep.seeds]
        summaries[k] = tuple(summarise(matrices(results, k)) for results in runs)
        base[k] = tuple(own for results in runs if (own := _own(results, k)) is not None)
    return Tested(rule, tuple(dict.fromkeys(setting for setting, _ in pairs)), summaries, base)


def _own(results: Sequence[Result], passes: int) -> float | None:
    """How often the base's own data are right, the mean over the wearers; None where it was not asked."""
    known: list[tuple[float, int]] = [
        (r["base"][str(passes)], len(r["before"])) for r in results if r.get("base")
    ]
    if len(known) < len(results):
        return None
    return sum(own * n for own, n in known) / sum(n for _, n in known)


@dataclass(frozen=True)
class Outcome:
    """What came of a sweep: the settings, what each unit gave, the rules on those who are tested, and those
    that could not be tested, by why."""

    settings: tuple[Setting, ...]
    found: Found
    tests: Sequence[Tested]
    untested: Mapping[str, str]


def document(sweep: Sweep, of: Outcome) -> dict[str, Any]:
    """For JSON: `runs`, each with its version, Plan digest and rule text; `settings` by score; `tests`."""
    return {
        "name": sweep.file.stem, "score": sweep.score, "passes": sweep.passes, "seeds": sweep.seeds,
        "folds": {fold: list(names) for fold, names in sweep.folds.items()}, "final": sweep.final,
        "version": VERSION, "runs": list(_runs(sweep, of.found)), "settings": list(_settings(sweep, of)),
        "tests": [_test(sweep, t) for t in of.tests], "untested": dict(of.untested),
        "warnings": _warnings(of),
    }  # fmt: skip


def _warnings(of: Outcome) -> list[str]:
    """What units said of their data, each once."""
    return sorted({line for r in of.found.values() for line in r.get("warnings", ())})


def _runs(sweep: Sweep, found: Found) -> Iterator[dict[str, Any]]:
    for unit, r in found.items():
        row: dict[str, Any] = {
            "setting": unit.setting.label, "rule": unit.setting.rule, "seed": unit.seed, "fold": unit.fold,
            "version": VERSION, "text": f"seed = {unit.seed}\n{unit.setting.text}",
        }  # fmt: skip
        if "refused" in r:
            yield row | {"refused": r["refused"]}
            continue
        for k in (0, *sweep.passes):
            s = summarise(matrices([r], k))
            told = {"accuracy": s.gross.accuracy, "macro_f1": s.gross.macro_f1}
            wearers = {name: one.accuracy for name, one in s.subjects.items()}
            yield row | {"digest": r["digest"], "passes": k, **told, "wearers": wearers}


def _settings(sweep: Sweep, of: Outcome) -> Iterator[dict[str, Any]]:
    folds = tuple(sweep.folds)
    best = {s.label for s in chosen(sweep, of.settings, of.found, folds).values()}
    for s in ranked(sweep, of):
        told = {"refused": s.refused} if s.refused else {"score": s.mean, "seeds": s.each}
        yield {"setting": s.setting.label, "rule": s.setting.rule, "chosen": s.setting.label in best, **told}


def ranked(sweep: Sweep, of: Outcome) -> list[Scored]:
    """The settings on all folds, the best first, those that were refused last."""
    folds = tuple(sweep.folds)
    return sorted((scored(sweep, s, of.found, folds) for s in of.settings), key=lambda s: -s.mean)


def _test(sweep: Sweep, t: Tested) -> dict[str, Any]:
    after: dict[str, Any] = {}
    for k, summaries in t.summaries.items():
        figures = {name: [read(s) for s in summaries] for name, read in FIGURES.items()}
        figures |= {"base": list(t.base[k])} if t.base[k] else {}
        after[str(k)] = figures | ({"worst": t.worst(k)} if k else {})
    wearers = {}
    for name in t.summaries[0][0].subjects:
        ends = (t.summaries[k] for k in (0, sweep.passes[-1]))
        wearers[name] = [statistics.fmean(s.subjects[name].accuracy for s in end) for end in ends]
    return {
        "rule": t.rule,
        "title": t.title,
        "settings": [s.label for s in t.settings],
        "after": after,
        "wearers": wearers,
    }


FIGURES: Mapping[str, Callable[[Summary], float]] = {
    "accuracy": lambda s: s.gross.accuracy,
    "by_wearer": lambda s: s.average.accuracy,
    "macro_f1": lambda s: s.gross.macro_f1,
}


def text(sweep: Sweep, of: Outcome) -> str:
    """The settings by score, and the tests, as tables."""
    order, folds = ranked(sweep, of), _counted(len(sweep.folds), "fold")
    lines = [
        f"{_counted(len(order), 'setting')} by {sweep.score}, {folds}, {_counted(len(sweep.seeds), 'seed')}"
    ]
    scores = [[s.setting.label, spread(s.each)] for s in order[:SHOWN] if s.each]
    lines += ["", *(table(["setting", sweep.score], scores) if scores else [])]
    lines += [f"the {SHOWN} of {len(order)} that score best"] if len(order) > SHOWN else []
    lines += [f"refused: {s.setting.label}: {s.refused}" for s in order if s.refused]
    lines += [f"not tested: {rule}: {why}" for rule, why in of.untested.items()]
    lines += [f"warning: {line}" for line in _warnings(of)[:SHOWN]]
    if not of.tests:
        return "\n".join([*lines, "", "nothing could be chosen, so nobody was tested"])
    whom = "those who are tested" if sweep.final else "each fold under what the others choose"
    first = of.tests[0]
    body = [["before learning", "0", *_figures(first.summaries[0]), "", _spread_or_none(first.base[0])]]
    for t in of.tests:
        for k in sweep.passes:
            worst = f"{100 * t.worst(k):.2f}"
            body.append([t.title, str(k), *_figures(t.summaries[k]), worst, _spread_or_none(t.base[k])])
    head = ["setting", "passes", "accuracy", "by wearer", "macro F1", "worst wearer", "base's own"]
    people = _counted(len(first.summaries[0][0].subjects), "wearer")
    return "\n".join([*lines, "", f"{people}, {whom}", "", *table(head, body)])


def _spread_or_none(values: Sequence[float]) -> str:
    return spread(values) if values else ""


def _figures(of: Sequence[Summary]) -> list[str]:
    return [spread([read(s) for s in of]) for read in FIGURES.values()]


def spread(values: Sequence[float]) -> str:
    """The mean, and the standard deviation over the seeds where there are several."""
    deviation = f" ±{statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.4f}{deviation}"


def _counted(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"
