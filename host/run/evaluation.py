"""How well a network classifies: the confusion of its classes, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.ir.plan import Plan

from ..terminal.text import table
from .inputs import clipped_text
from .samples import Samples


def confusion(labels: NDArray[Any], winners: NDArray[Any], classes: int) -> NDArray[np.int64]:
    """Counts [classes, classes]: how many samples of class i (row) were called class j."""
    pairs = labels.astype(np.int64) * classes + winners.astype(np.int64)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes).astype(np.int64)


def squared_error(plan: Plan, samples: Samples, scores: NDArray[Any]) -> float | None:
    """The mean squared error of scores [n, scores], in real numbers, under the targets of the samples, or as
    copies of them; None where no numbers are learned, or the samples have no targets."""
    meaning = plan[plan.logits].meaning
    if plan.learning == "learn_input":
        name = plan.inputs[0]
        wanted = plan[name].meaning.real(samples.inputs[name])
    elif samples.targets is not None:
        wanted = meaning.real(samples.targets)
    else:
        return None
    return float(np.mean(np.square(meaning.real(scores) - wanted)))


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """A test set's outcome. Printed, it is a table.

    confusion: [classes, classes] int64, rows are labels and columns winners
    clipped:   the share of input values that quantisation clipped, by input
    Figures by class are [classes] float64, NaN where nothing is counted.
    """

    confusion: NDArray[np.int64]
    clipped: Mapping[str, float] = field(default_factory=dict)

    @property
    def samples(self) -> int:
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        """The share of samples that got their class."""
        return float(np.trace(self.confusion) / self.samples)

    @property
    def recall(self) -> NDArray[np.float64]:
        """Of the samples of each class, the share that was called so (sensitivity)."""
        return _shares(np.diag(self.confusion), self.confusion.sum(axis=1))

    @property
    def precision(self) -> NDArray[np.float64]:
        """Of the samples called each class, the share that was (positive predictivity)."""
        return _shares(np.diag(self.confusion), self.confusion.sum(axis=0))

    @property
    def f1(self) -> NDArray[np.float64]:
        """The harmonic mean of recall and precision of each class."""
        right = np.diag(self.confusion)
        return _shares(2 * right, self.confusion.sum(axis=0) + self.confusion.sum(axis=1))

    @property
    def macro_f1(self) -> float:
        """The mean F1 of the classes that occur, in labels or winners."""
        return float(np.nanmean(self.f1))

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON; null where nothing is counted."""
        return {
            "samples": self.samples,
            "accuracy": self.accuracy,
            "macro_f1": self.macro_f1,
            "recall": _told(self.recall),
            "precision": _told(self.precision),
            "f1": _told(self.f1),
            "confusion": self.confusion.tolist(),
            "clipped": dict(self.clipped),
        }

    def __repr__(self) -> str:
        head = f"{self.samples} samples, accuracy {self.accuracy:.4f}, macro-F1 {self.macro_f1:.4f}"
        figures = zip(self.recall, self.precision, self.f1, strict=True)
        rows = [
            [str(c), str(row.sum()), *(f"{x:.4f}" for x in of), " ".join(map(str, row))]
            for c, (row, of) in enumerate(zip(self.confusion, figures, strict=True))
        ]
        names = ["class", "samples", "recall", "precision", "F1", "called 0, 1, ..."]
        return "\n".join([f"{head}, clipped {clipped_text(self.clipped)}", *table(names, rows)])


def _shares(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    out = np.full(len(part), np.nan)
    np.divide(part, whole, out=out, where=whole > 0)
    return out


def _told(figures: NDArray[np.float64]) -> list[float | None]:
    return [None if np.isnan(x) else float(x) for x in figures]
