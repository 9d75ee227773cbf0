"""What a confusion matrix says, of one subject and of many: every sample counts alike, or every subject does.

Gross and average statistics: ANSI/AAMI EC57:2012.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.int64]
"""A confusion matrix, [classes, classes]: rows what samples are, columns what they are called."""


@dataclass(frozen=True)
class Scores:
    """What a confusion matrix says. A ratio without a case (0/0) is NaN; F1 of a class that is neither
    annotated nor predicted too.

    accuracy   share of samples that are right
    macro_f1   mean F1 over the classes that have one
    sen, ppr, f1   float64[classes], sensitivity, positive predictivity, 2 TP / (2 TP + FP + FN)
    """

    accuracy: float
    macro_f1: float
    sen: NDArray[np.float64]
    ppr: NDArray[np.float64]
    f1: NDArray[np.float64]


def confusion(truth: NDArray[np.integer], said: NDArray[np.integer], classes: int) -> Matrix:
    """The confusion matrix of samples: what each is, and what it is called, both of 0 .. classes - 1."""
    flat = truth.astype(np.int64) * classes + said.astype(np.int64)
    return np.bincount(flat, minlength=classes * classes).reshape(classes, classes)


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def scores(matrix: NDArray[np.int64], classes: int | None = None) -> Scores:
    """Scores of one confusion matrix int64[classes, classes] (of a subject, or a sum over subjects).

    classes: where a row stands behind them, of what is no sample but was called one, and a column, of samples
             that were missed: both tell on the ratios, and missed ones on the accuracy
    """
    n = len(matrix) if classes is None else classes
    hit, truth, said = np.diag(matrix)[:n], matrix.sum(axis=1)[:n], matrix.sum(axis=0)[:n]
    f1 = _ratio(2 * hit, truth + said)
    total = int(truth.sum())
    return Scores(
        accuracy=float(hit.sum() / total) if total else float("nan"),
        macro_f1=_mean(f1),
        sen=_ratio(hit, truth),
        ppr=_ratio(hit, said),
        f1=f1,
    )


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


@dataclass(frozen=True)
class Summary:
    """By subject, gross and average, as EC57 reports them.

    subjects   scores by subject
    matrix     int64[classes, classes], all subjects' samples in one confusion matrix
    gross      scores of `matrix`: every sample counts the same
    average    mean over the subjects that have the ratio: every subject counts the same
    """

    subjects: Mapping[str, Scores]
    matrix: NDArray[np.int64]
    gross: Scores
    average: Scores


def summarise(
    matrices: Mapping[str, Matrix] | Iterable[tuple[str, Matrix]], classes: int | None = None
) -> Summary:
    """Confusion matrix by subject -> `Summary`, `classes` as in `scores`. ValueError if there is no subject.

    Of an iterator one matrix is held at a time: of a thousand classes each has 8 MB.
    """
    rows: dict[str, Scores] = {}
    total = None
    for name, matrix in matrices.items() if isinstance(matrices, Mapping) else matrices:
        rows[name] = scores(matrix, classes)
        total = matrix.copy() if total is None else np.add(total, matrix, out=total)
    if total is None:
        raise ValueError("no subjects to summarise")

    def over_subjects(ratio: str) -> NDArray[np.float64]:
        columns = np.stack([getattr(row, ratio) for row in rows.values()]).T
        return np.array([_mean(column) for column in columns])

    average = Scores(
        accuracy=_mean(np.array([row.accuracy for row in rows.values()])),
        macro_f1=_mean(np.array([row.macro_f1 for row in rows.values()])),
        sen=over_subjects("sen"),
        ppr=over_subjects("ppr"),
        f1=over_subjects("f1"),
    )
    return Summary(rows, total, scores(total, classes), average)


@dataclass(frozen=True)
class Row:
    """What one way of learning came to, on the test samples of all subjects: a row of an eval document.

    rule:    "none" is the network before learning
    labels:  the classes' names, in the order of the matrices
    before:  accuracy of each subject before learning
    curve:   (passes, gross accuracy, macro-F1) from before learning to the end
    base:    the mean over the subjects of how often samples of the base's own data are right then; None: not
             asked
    """

    model: str
    rule: str
    weights: str
    passes: int
    replay: bool
    seed: int
    labels: Sequence[str]
    summary: Summary
    before: Mapping[str, float]
    curve: tuple[tuple[float, float, float], ...]
    base: float | None = None

    @property
    def way(self) -> tuple[str, str, str, int, bool]:
        """What rows of several seeds have in common."""
        return self.model, self.rule, self.weights, self.passes, self.replay

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON: gross figures, the average over subjects, and each subject before and after."""
        gross = self._told(self.summary.gross)
        subjects = {
            n: {"before": self.before[n], "after": s.accuracy, "f1": self._by_class(s.f1)}
            for n, s in self.summary.subjects.items()
        }
        n = len(self.labels)
        beside = {
            "missed": self.summary.matrix[:n, n:].sum(axis=1).tolist(),
            "spurious": self.summary.matrix[n:, :n].sum(axis=0).tolist(),
        }
        return {
            "model": self.model, "rule": self.rule, "weights": self.weights, "passes": self.passes,
            "replay": self.replay, "seed": self.seed, **gross, "average": self._told(self.summary.average),
            "confusion": self.summary.matrix[:n, :n].tolist(), "subjects": subjects, "base": self.base,
            "curve": [{"passes": k, "accuracy": a, "macro_f1": f} for k, a, f in self.curve],
            **(beside if len(self.summary.matrix) > n else {}),
        }  # fmt: skip

    def _told(self, of: Scores) -> dict[str, Any]:
        ratios = {name: self._by_class(getattr(of, name)) for name in ("f1", "sen", "ppr")}
        return {"accuracy": of.accuracy, "macro_f1": of.macro_f1, **ratios}

    def _by_class(self, values: NDArray[np.float64]) -> dict[str, float | None]:
        named = zip(self.labels, values, strict=True)
        return {label: None if np.isnan(v) else float(v) for label, v in named}


def point(passes: float, summary: Summary) -> tuple[float, float, float]:
    """A point of a row's curve."""
    return passes, summary.gross.accuracy, summary.gross.macro_f1
