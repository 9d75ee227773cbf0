"""Protocol A: base model from DS1, each DS2 patient's first five minutes learned, minutes 5 to 30 tested.

DS1 and DS2: de Chazal P, O'Dwyer M, Reilly RB, IEEE Trans Biomed Eng 51(7):1196-1206, 2004.
Sensitivity, positive predictivity, gross and average statistics: ANSI/AAMI EC57:2012.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import beats
from .beats import Beats
from .records import FS

DS1 = tuple(
    # One string: the formatter would give every name a line.
    "101 106 108 109 112 114 115 116 118 119 122 124 201 203 205 207 208 209 215 220 223 230".split()  # noqa: SIM905
)
"""Patients of the base model and of every choice of settings."""

DS2 = tuple(
    "100 103 105 111 113 117 121 123 200 202 210 212 213 214 219 221 222 228 231 232 233 234".split()  # noqa: SIM905
)
"""Patients of the test, used for nothing else. 202 is the subject of DS1's 201."""

LEARN_SECONDS = 5 * 60
"""What the device is told the labels of."""

LABELS = ("N", "S", "V", "F")
"""Outputs of the network, in this order."""

FOLDS = 5


def split(patient: Beats) -> tuple[Beats, Beats]:
    """(learn, test): beats with an R peak in the first five minutes, and the rest."""
    early = patient.sample < LEARN_SECONDS * FS
    return patient.take(early), patient.take(~early)


# S and V beats of DS1's 22 patients lie in few of them, so that patients are dealt by these counts.
def deal(counts: Mapping[str, NDArray[np.int64]], k: int = FOLDS) -> tuple[tuple[str, ...], ...]:
    """Deal patients into `k` folds of nearly equal size so that the rare classes are spread evenly.

    `counts` holds int64[4], beats of each class, per patient. Greedy and deterministic: patients with the
    largest share of all S and V beats come first, each goes to the fold that then has the least of them.
    """
    total = np.maximum(np.sum(list(counts.values()), axis=0), 1)
    share = {name: count / total for name, count in counts.items()}
    order = sorted(counts, key=lambda name: (-share[name][1] - share[name][2], name))
    least, larger = divmod(len(counts), k)
    fold: list[list[str]] = [[] for _ in range(k)]
    load = np.zeros((k, len(LABELS)))

    def burden(i: int, name: str) -> tuple[float, float]:
        after = load[i] + share[name]
        return float(max(after[1], after[2])), float(after.sum())

    for name in order:
        room = least + (sum(len(names) > least for names in fold) < larger)
        best = min((i for i in range(k) if len(fold[i]) < room), key=lambda i: burden(i, name))
        fold[best].append(name)
        load[best] += share[name]
    return tuple(tuple(sorted(names)) for names in fold)


DS1_FOLDS = (
    ("115", "122", "209", "230"),
    ("101", "108", "112", "208"),
    ("109", "119", "205", "223"),
    ("106", "114", "116", "201", "220"),
    ("118", "124", "203", "207", "215"),
)
"""Patients of DS1 in five folds, as `deal` deals them; written down, so that they are known without data."""


def confusion(
    truth: NDArray[np.uint8], predicted: NDArray[np.integer], classes: int = len(LABELS)
) -> NDArray[np.int64]:
    """Confusion matrix int64[classes, classes]: row = annotated class, column = predicted class."""
    flat = truth.astype(np.int64) * classes + predicted.astype(np.int64)
    return np.bincount(flat, minlength=classes * classes).reshape(classes, classes)


@dataclass(frozen=True)
class Scores:
    """What a confusion matrix says. A ratio without a case (0/0) is NaN; F1 of a class that is neither
    annotated nor predicted too.

    accuracy   share of beats that are right
    macro_f1   mean F1 over the classes that have one
    sen, ppr, f1   float64[classes], sensitivity, positive predictivity, 2 TP / (2 TP + FP + FN)
    """

    accuracy: float
    macro_f1: float
    sen: NDArray[np.float64]
    ppr: NDArray[np.float64]
    f1: NDArray[np.float64]


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def scores(matrix: NDArray[np.int64]) -> Scores:
    """Scores of one confusion matrix int64[classes, classes] (of a patient, or a sum over patients)."""
    hit, truth, said = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    f1 = _ratio(2 * hit, truth + said)
    total = int(matrix.sum())
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
    """Per patient, gross and average, as EC57 reports them.

    patients   scores per patient
    matrix     int64[4, 4], all patients' beats in one confusion matrix
    gross      scores of `matrix`: every beat counts the same
    average    mean over the patients that have the ratio: every patient counts the same
    """

    patients: Mapping[str, Scores]
    matrix: NDArray[np.int64]
    gross: Scores
    average: Scores


def summarise(matrices: Mapping[str, NDArray[np.int64]]) -> Summary:
    """Confusion matrix per patient -> `Summary`. Raises ValueError if there is no patient."""
    if not matrices:
        raise ValueError("no patients to summarise")
    rows = {name: scores(matrix) for name, matrix in matrices.items()}
    total: NDArray[np.int64] = np.sum(list(matrices.values()), axis=0)

    def over_patients(ratio: str) -> NDArray[np.float64]:
        columns = np.stack([getattr(row, ratio) for row in rows.values()]).T
        return np.array([_mean(column) for column in columns])

    average = Scores(
        accuracy=_mean(np.array([row.accuracy for row in rows.values()])),
        macro_f1=_mean(np.array([row.macro_f1 for row in rows.values()])),
        sen=over_patients("sen"),
        ppr=over_patients("ppr"),
        f1=over_patients("f1"),
    )
    return Summary(rows, total, scores(total), average)


def balanced(pool: Beats, n: int, seed: int, classes: Sequence[str] = LABELS) -> NDArray[np.int64]:
    """Indices int64[n] into `pool`: `classes` in equal numbers, within a class patient by patient.

    Patients take turns, so that one with a thousand V beats does not crowd out the others. A class with too
    few beats repeats them. The order is shuffled. Raises ValueError if a class is absent or n is too small.
    """
    wanted = [LABELS.index(name) for name in classes]
    members = [np.flatnonzero(pool.label == c) for c in wanted]
    if n < len(wanted) or not wanted or min(map(len, members)) == 0:
        names = ", ".join(classes)
        raise ValueError(
            f"a balanced choice of {n} beats needs beats of all of {names} and n >= {len(wanted)}"
        )
    rng = np.random.default_rng(seed)
    share, rest = divmod(n, len(wanted))
    picked = [
        np.resize(_in_turns(mine, pool.record, rng), share + (i < rest)) for i, mine in enumerate(members)
    ]
    return rng.permutation(np.concatenate(picked))


def _in_turns(
    members: NDArray[np.int64], record: NDArray[np.str_], rng: np.random.Generator
) -> NDArray[np.int64]:
    shuffled = rng.permutation(members)
    names = record[shuffled]
    turn = np.empty(len(shuffled), dtype=np.int64)
    for name in np.unique(names):
        mine = names == name
        turn[mine] = np.arange(mine.sum())
    return shuffled[np.argsort(turn, kind="stable")]


def calibration(
    n: int, seed: int, without: Sequence[str] = (), classes: Sequence[str] = LABELS
) -> dict[str, NDArray[np.generic]]:
    """Class-balanced DS1 beats for calibration or replay.

    Returns beat float32[n, 151], rr float32[n, 4], label uint8[n].

    `without` names patients to leave out, so that a fold's base model meets none of the fold's beats. For
    replay `classes` = "NSV" does better on the DS1 folds: nine in ten F beats of DS1 are one patient's (208).
    Raises DataError if there are no data.
    """
    loaded = beats.load([name for name in DS1 if name not in without])
    pool = beats.join(loaded.values())
    chosen = pool.take(balanced(pool, n, seed, classes))
    return {"beat": chosen.beat, "rr": chosen.rr, "label": chosen.label}
