"""Protocols A and B: a base model from some patients; of each other one five minutes learned, 25 tested.

A  base from DS1, tested on DS2; four outputs N S V F. De Chazal P, O'Dwyer M, Reilly RB, IEEE Trans Biomed
   Eng 51(7):1196-1206, 2004.
B  base from the 100-series, tested on the 200-series; five outputs N S V F Q, 245 common beats of the base's
   patients may be mixed in. Hu YH, Palreddy S, Tompkins WJ, IEEE Trans Biomed Eng 44(9):891-900, 1997; Jiang
   W, Kong SG, IEEE Trans Neural Netw 18(6):1750-1761, 2007; Kiranyaz S, Ince T, Gabbouj M, IEEE Trans Biomed
   Eng 63(3):664-675, 2016; Zhai X, Tin C, IEEE Access 6:27465-27472, 2018.

Both leave out the four paced records, as EC57 does: of 100-124 and 200-234 there remain 20 and 24.
Sensitivity, positive predictivity, gross and average statistics: ANSI/AAMI EC57:2012.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synapcc.host.run.scores import Scores as Scores
from synapcc.host.run.scores import Summary as Summary
from synapcc.host.run.scores import confusion as matrix_of
from synapcc.host.run.scores import scores as scores
from synapcc.host.run.scores import summarise as summarise

from . import beats
from .beats import USUAL, Beats
from .choices import PROTOCOLS as DOCS
from .front import Front
from .records import CLASSES, FS, RECORDS

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
"""Outputs of the network of protocol A, in this order."""

FOLDS = 5


def split(patient: Beats) -> tuple[Beats, Beats]:
    """(learn, test): beats with an R peak in the first five minutes, and the rest. Where a chip found them,
    what is no beat is in the test alone: nobody labels it."""
    early = patient.sample < LEARN_SECONDS * FS
    return beats.true_beats(patient.take(early)), patient.take(~early)


# S and V beats of DS1's 22 patients lie in few of them, so that patients are dealt by these counts.
def deal(counts: Mapping[str, NDArray[np.int64]], k: int = FOLDS) -> tuple[tuple[str, ...], ...]:
    """Deal patients into `k` folds of nearly equal size so that the rare classes are spread evenly.

    `counts` holds int64[classes], beats of each class, per patient. Greedy and deterministic: patients with
    the largest share of all S and V beats come first, each goes to the fold that then has the least of them.
    """
    total = np.maximum(np.sum(list(counts.values()), axis=0), 1)
    share = {name: count / total for name, count in counts.items()}
    order = sorted(counts, key=lambda name: (-share[name][1] - share[name][2], name))
    least, larger = divmod(len(counts), k)
    fold: list[list[str]] = [[] for _ in range(k)]
    load = np.zeros((k, len(total)))

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
    return matrix_of(truth, predicted, classes)


def balanced(pool: Beats, n: int, seed: int, classes: Sequence[str] = LABELS) -> NDArray[np.int64]:
    """Indices int64[n] into `pool`: `classes` in equal numbers, within a class patient by patient.

    Patients take turns, so that one with a thousand V beats does not crowd out the others. A class with too
    few beats repeats them. The order is shuffled. Raises ValueError if a class is absent or n is too small.
    """
    wanted = [CLASSES.index(name) for name in classes]
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


COMMON = {"N": 75, "S": 75, "V": 75, "F": 13, "Q": 7}
"""The common beats of protocol B; 13 F and 7 Q are all that the 100-series has."""


def common(pool: Beats, seed: int) -> NDArray[np.int64]:
    """Indices into `pool` of the common beats: `COMMON` of each class, or all where there are fewer.

    Within a class patients take turns. The order is that of the classes.
    """
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(pool.label == CLASSES.index(name)) for name in COMMON]
    picked = [_in_turns(mine, pool.record, rng)[:n] for mine, n in zip(members, COMMON.values(), strict=True)]
    return np.concatenate(picked)


CALIBRATION = 1024
"""Class-balanced beats that set the number formats in protocol A."""


@dataclass(frozen=True)
class Published:
    """A published result of the protocol, in float, gross and in per cent; None is not stated.

    accuracy, macro_f1
    sen, ppr   by class
    """

    what: str
    sen: Mapping[str, float]
    ppr: Mapping[str, float]
    accuracy: float | None = None
    macro_f1: float | None = None

    def f1(self, label: str) -> float:
        """Harmonic mean of sensitivity and positive predictivity, in per cent."""
        return 2 * self.sen[label] * self.ppr[label] / (self.sen[label] + self.ppr[label])


@dataclass(frozen=True)
class Protocol:
    """Who the base model is from, who is tested, and what the network says.

    base, test   patients; those of `base` also choose every setting, those of `test` none
    labels       outputs of the network, in this order
    folds        the patients of `base` in folds
    replay       base examples that may be mixed in, kept in flash
    doc          one line for the user
    published    results to hold ours against
    front        what the network sees of a beat
    """

    name: str
    base: tuple[str, ...]
    test: tuple[str, ...]
    labels: tuple[str, ...]
    folds: tuple[tuple[str, ...], ...]
    replay: int
    doc: str
    published: tuple[Published, ...]
    front: Front = USUAL

    def load(self, names: Sequence[str]) -> dict[str, Beats]:
        """The beats of `names` that belong to a class of the protocol."""
        return beats.load(names, classes=self.labels, front=self.front)

    def pool(self, without: Sequence[str] = ()) -> Beats:
        """All beats of the patients of the base, but for those named."""
        every = beats.join(self.load([name for name in self.base if name not in without]).values())
        return beats.true_beats(every)

    def confusion(self, truth: NDArray[np.uint8], predicted: NDArray[np.integer]) -> NDArray[np.int64]:
        """Confusion matrix int64[classes, classes] over the protocol's classes."""
        return confusion(truth, predicted, len(self.labels))

    def score(self, accuracy: float, macro_f1: float, f1: Mapping[str, float]) -> float:
        """What settings are chosen by on the folds.

        A: mean of accuracy and macro-F1. B: mean of accuracy, F1(S) and F1(V), for its 13 F and 7 Q beats in
        half an hour of 20 patients measure nothing.
        """
        if self.name == "A":
            return (accuracy + macro_f1) / 2
        return (accuracy + f1["S"] + f1["V"]) / 3

    def calibration(self, without: Sequence[str] = ()) -> dict[str, NDArray[np.generic]]:
        """The beats that set the number formats and are mixed in, without those of some patients.

        A: `CALIBRATION` class-balanced ones; B: the common beats. Returns beat float32[n, 151], rr
        float32[n, 4], label uint8[n]. Raises DataError if there are no data.
        """
        pool = self.pool(without)
        return _examples(pool, balanced(pool, CALIBRATION, 0) if self.name == "A" else common(pool, 0))


A = Protocol(
    "A",
    DS1,
    DS2,
    LABELS,
    DS1_FOLDS,
    256,
    DOCS["A"],
    (
        Published(
            "published, float, 151-128-64-4",
            {"S": 74.7, "V": 96.6},
            {"S": 89.5, "V": 94.2},
            accuracy=97.8,
            macro_f1=85.7,
        ),
    ),
)

SERIES_100 = tuple(name for name in RECORDS if name < "200")
"""Patients of protocol B's base: 100 to 124 without 102, 104, 107."""

SERIES_200 = tuple(name for name in RECORDS if name >= "200")
"""Patients of protocol B's test: 200 to 234 without 217. 201 and 202 are one subject."""

SERIES_100_FOLDS = (
    ("111", "115", "118", "122"),
    ("106", "117", "121", "123"),
    ("101", "103", "112", "119"),
    ("109", "113", "114", "124"),
    ("100", "105", "108", "116"),
)
"""Patients of the 100-series in five folds, as `deal` deals them."""

B = Protocol(
    "B",
    SERIES_100,
    SERIES_200,
    CLASSES,
    SERIES_100_FOLDS,
    sum(COMMON.values()),
    DOCS["B"],
    (
        Published("Kiranyaz 2016, float 1-D CNN", {"S": 64.6, "V": 95.0}, {"S": 62.1, "V": 89.5}),
        Published("Zhai 2018, float CNN", {"S": 76.8, "V": 93.8}, {"S": 74.0, "V": 92.4}),
    ),
)

PROTOCOLS = {p.name: p for p in (A, B)}


def _examples(pool: Beats, chosen: NDArray[np.int64]) -> dict[str, NDArray[np.generic]]:
    some = pool.take(chosen)
    return {"beat": some.beat, "rr": some.rr, "label": some.label}
