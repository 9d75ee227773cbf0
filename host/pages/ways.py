"""The document of an evaluation as its page sees it: what things are called, the rows by way of learning."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

NONE, FLOAT = "none", "float_bp"
"""The rows of the base model before learning, and of the float baseline."""

WHOLE = ("accuracy", "macro_f1")
"""Scores that are no class's F1."""

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Words:
    """What the page calls things: `words` of the document.

    command: what made the document
    sample, samples, subject, subjects: what is classified, and whose samples are learned
    taught, tested: after what, and on what, the figures are ("five labelled minutes of each patient")
    lesson: what one pass goes over once
    ratios: figures of a class that rows have under `key`: {key, short, name} each
    caveats, warning: what a reader must know of the data, a sentence each; the warning is printed bold
    """

    command: str
    sample: str
    samples: str
    subject: str
    subjects: str
    taught: str
    tested: str
    lesson: str
    ratios: Sequence[Mapping[str, str]]
    caveats: Sequence[str]
    warning: str

    def title(self, score: str) -> str:
        return {"accuracy": f"Accuracy, all {self.samples}", "macro_f1": "Macro-F1"}.get(
            score, f"F1 of class {score}"
        )

    def ratio_names(self) -> str:
        """As a sentence begins with them."""
        *most, last = [r["name"] for r in self.ratios]
        text = f"{', '.join(most)} and {last}" if most else last
        return text[:1].upper() + text[1:]


@dataclass(frozen=True)
class PublishedScores:
    """A published result: `scores` by "accuracy", "macro_f1" or the class whose F1 it is, each 0 to 1."""

    label: str
    scores: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Way:
    """One way of learning and its rows, a row a seed."""

    model: str
    rule: str
    weights: str
    passes: int
    replay: bool
    rows: tuple[Json, ...]

    @property
    def learns(self) -> bool:
        return self.rule != NONE

    def values(self, score: str) -> list[float]:
        """A score of each seed that has it: "accuracy", "macro_f1", or the F1 of a class."""
        found = [r[score] if score in WHOLE else r["f1"].get(score) for r in self.rows]
        return [v for v in found if v is not None]

    def mean(self, score: str) -> float | None:
        values = self.values(score)
        return statistics.fmean(values) if values else None


def ways(rows: Iterable[Json]) -> list[Way]:
    """The rows by way of learning, in their order."""
    groups: dict[tuple[str, str, str, int, bool], list[Json]] = {}
    for r in rows:
        key = (_stem(r["model"]), _stem(r["rule"]), r["weights"], r["passes"], r["replay"])
        groups.setdefault(key, []).append(r)
    return [Way(*key, tuple(group)) for key, group in groups.items()]


def labels(found: Sequence[Way], brief: bool = False) -> dict[Way, str]:
    """What to call the ways of `found`; brief: no more than tells one from the other."""
    own = [w for w in found if w.learns and w.rule != FLOAT]
    out = {}
    for w in found:
        passes = f"{w.passes} pass{'' if w.passes == 1 else 'es'}"
        words = [w.model] if len({x.model for x in found}) > 1 else []
        words.append(w.rule if w.learns else "before learning")
        words += [w.weights] if w.learns and (not brief or len({x.weights for x in own}) > 1) else []
        words += [passes] if w.learns and (not brief or len({x.passes for x in own}) > 1) else []
        out[w] = ", ".join([*words, "replay"] if w.replay else words)
    return out


def _stem(name: str) -> str:
    return PurePath(name).stem


def shown(found: Sequence[Way]) -> list[Way]:
    """Of each model, rule, weights and replay the way with the most passes, whatever its scores."""
    most: dict[tuple[str, str, str, bool], Way] = {}
    for w in found:
        key = (w.model, w.rule, w.weights, w.replay)
        if key not in most or w.passes > most[key].passes:
            most[key] = w
    return list(most.values())


def base_of(found: Sequence[Way], way: Way) -> Way | None:
    """The base model that a way starts from."""
    return next((w for w in found if not w.learns and w.model == way.model), None)


def subjects(way: Way) -> dict[str, tuple[float, float]]:
    """(before, after) accuracy of each subject, means over the seeds."""
    return {
        name: (
            statistics.fmean(r["subjects"][name]["before"] for r in way.rows),
            statistics.fmean(r["subjects"][name]["after"] for r in way.rows),
        )
        for name in sorted(way.rows[0]["subjects"])
    }


def curve(found: Sequence[Way], way: Way, score: str) -> list[tuple[float, float]]:
    """(passes, score), means over the seeds: from the rows' own `curve` where they have one, else from the
    rows of the same way with fewer passes."""
    if all("curve" in r for r in way.rows):
        points: dict[float, list[float]] = {}
        for r in way.rows:
            for p in r["curve"]:
                points.setdefault(p["passes"], []).append(p[score])
        return [(k, statistics.fmean(v)) for k, v in sorted(points.items())]
    same = [
        w for w in found if (w.model, w.rule, w.weights, w.replay) == _kind(way) and w.passes <= way.passes
    ]
    start = base_of(found, way)
    means = [(w.passes, w.mean(score)) for w in ([start] if start else []) + same]
    return sorted((k, v) for k, v in means if v is not None)


def _kind(way: Way) -> tuple[str, str, str, bool]:
    return way.model, way.rule, way.weights, way.replay
