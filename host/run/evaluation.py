"""How well a network does: the confusion of its classes, or the error of its numbers, and what follows."""

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

Real = NDArray[np.float64]

SHOWN = 16  # classes or outputs in a table; of more, those that do worst
CALLED = 3  # classes that a sample of one of many is called, in a table
WIDE = 256  # classes, beyond which a confusion is left out of JSON


def squared_error(plan: Plan, samples: Samples, scores: NDArray[Any]) -> float | None:
    """The mean squared error of scores [n, scores], in real numbers, under the targets of the samples, or as
    copies of them; None where no numbers are learned, or the samples have no targets."""
    errors = _errors(plan, samples, scores)
    return None if errors is None else float(np.mean(np.square(errors[0])))


def _errors(plan: Plan, samples: Samples, scores: NDArray[Any]) -> tuple[Real, Real] | None:
    """(scores less what is wanted, what is wanted), [n, scores] each, in real numbers."""
    meaning = plan[plan.logits].meaning
    if plan.learning == "learn_input":
        name = plan.inputs[0]
        wanted = plan[name].meaning.real(samples.inputs[name])
    elif samples.targets is not None:
        wanted = meaning.real(samples.targets)
    else:
        return None
    return meaning.real(scores) - wanted, wanted


def regression(plan: Plan, samples: Samples, scores: NDArray[Any]) -> Regression:
    """How far scores [n, scores] are from the targets of the samples, or from copies of them."""
    errors = _errors(plan, samples, scores)
    assert errors is not None
    off, wanted = errors
    return Regression(
        len(samples),
        np.mean(np.square(off), axis=0),
        np.mean(np.abs(off), axis=0),
        np.var(wanted, axis=0),
        samples.clipped,
    )


@dataclass(frozen=True, eq=False, repr=False)
class Regression:
    """A test set's outcome where numbers are learned. Printed, it is a table.

    squared:  [scores] float64, the mean squared error of each output, in real numbers
    absolute: [scores] float64, its mean absolute error
    variance: [scores] float64, of what it should have said: the squared error of saying its mean
    clipped:  the share of input values that quantisation clipped, by input
    """

    samples: int
    squared: Real
    absolute: Real
    variance: Real
    clipped: Mapping[str, float] = field(default_factory=dict)

    @property
    def mse(self) -> float:
        """The mean squared error over all outputs."""
        return float(np.mean(self.squared))

    @property
    def mae(self) -> float:
        """The mean absolute error over all outputs."""
        return float(np.mean(self.absolute))

    @property
    def r2(self) -> float:
        """The share of the variance, over all outputs, that is explained; NaN where there is none."""
        return float(_explained(np.mean(self.squared), np.mean(self.variance)))

    @property
    def r2_by_output(self) -> Real:
        """The share of each output's variance that is explained; NaN where it has none."""
        return _explained(self.squared, self.variance)

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON; null where there is no variance."""
        return {
            "samples": self.samples,
            "mse": self.mse,
            "mae": self.mae,
            "r2": _told(np.array([self.r2]))[0],
            "squared": self.squared.tolist(),
            "absolute": self.absolute.tolist(),
            "r2_by_output": _told(self.r2_by_output),
            "clipped": dict(self.clipped),
        }

    def __repr__(self) -> str:
        head = f"{self.samples} samples, mean squared error {self.mse:.4g}, R2 {self.r2:.4f}"
        shown = _worst(-self.squared)
        rows = [
            [str(i), f"{self.squared[i]:.4g}", f"{self.absolute[i]:.4g}", f"{self.r2_by_output[i]:.4f}"]
            for i in shown
        ]
        names = ["output", "squared error", "absolute error", "R2"]
        lines = [f"{head}, clipped {clipped_text(self.clipped)}", *table(names, rows)]
        return "\n".join(lines + _left_out(len(self.squared), "outputs"))


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """A test set's outcome. Printed, it is a table.

    labels, winners: [n], what the samples are and what they were called
    classes:         how many there are
    clipped:         the share of input values that quantisation clipped, by input
    Figures by class are [classes] float64, NaN where nothing is counted.
    """

    labels: NDArray[Any]
    winners: NDArray[Any]
    classes: int
    clipped: Mapping[str, float] = field(default_factory=dict)

    @property
    def samples(self) -> int:
        return len(self.labels)

    @property
    def confusion(self) -> NDArray[np.int64]:
        """[classes, classes], rows are labels and columns winners; of many classes much memory."""
        pairs = self.labels.astype(np.int64) * self.classes + self.winners
        counts = np.bincount(pairs, minlength=self.classes**2).astype(np.int64)
        return counts.reshape(self.classes, self.classes)

    @property
    def accuracy(self) -> float:
        """The share of samples that got their class."""
        return float(self._right.sum() / self.samples)

    @property
    def recall(self) -> NDArray[np.float64]:
        """Of the samples of each class, the share that was called so (sensitivity)."""
        return _shares(self._right, self._count(self.labels))

    @property
    def precision(self) -> NDArray[np.float64]:
        """Of the samples called each class, the share that was (positive predictivity)."""
        return _shares(self._right, self._count(self.winners))

    @property
    def f1(self) -> NDArray[np.float64]:
        """The harmonic mean of recall and precision of each class."""
        return _shares(2 * self._right, self._count(self.labels) + self._count(self.winners))

    @property
    def macro_f1(self) -> float:
        """The mean F1 of the classes that occur, in labels or winners."""
        return float(np.nanmean(self.f1))

    @property
    def _right(self) -> NDArray[np.int64]:
        return self._count(self.labels[self.labels == self.winners])

    def _count(self, classes: NDArray[Any]) -> NDArray[np.int64]:
        """How often each class comes, [classes]: nothing here has a place for each pair of them."""
        return np.bincount(classes.astype(np.int64), minlength=self.classes).astype(np.int64)

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON; null where nothing is counted, and for the confusion of more than WIDE
        classes."""
        return {
            "samples": self.samples,
            "accuracy": self.accuracy,
            "macro_f1": self.macro_f1,
            "recall": _told(self.recall),
            "precision": _told(self.precision),
            "f1": _told(self.f1),
            "confusion": self.confusion.tolist() if self.classes <= WIDE else None,
            "clipped": dict(self.clipped),
        }

    def __repr__(self) -> str:
        head = f"{self.samples} samples, accuracy {self.accuracy:.4f}, macro-F1 {self.macro_f1:.4f}"
        figures = np.stack([self.recall, self.precision, self.f1], axis=1)
        given = self._count(self.labels)
        rows = [
            [str(c), str(given[c]), *(f"{x:.4f}" for x in figures[c]), self._called(c)]
            for c in _worst(figures[:, 2])
        ]
        many = self.classes > SHOWN
        names = ["class", "samples", "recall", "precision", "F1"]
        names += ["called most" if many else "called 0, 1, ..."]
        lines = [f"{head}, clipped {clipped_text(self.clipped)}", *table(names, rows)]
        return "\n".join(lines + _left_out(self.classes, "classes"))

    def _called(self, c: int) -> str:
        """What the samples of class c are called: how often each class, or of many classes the usual ones."""
        row = self._count(self.winners[self.labels == c])
        if len(row) <= SHOWN:
            return " ".join(map(str, row))
        usual = np.argsort(-row, kind="stable")[:CALLED]
        return ", ".join(f"{i}: {row[i]}" for i in usual if row[i])


def _worst(figures: Real) -> list[int]:
    """The SHOWN places with the least figures, in their order; where nothing is counted comes last."""
    order = np.argsort(figures, kind="stable")[:SHOWN]
    return sorted(int(i) for i in order)


def _left_out(count: int, what: str) -> list[str]:
    return [f"the {SHOWN} {what} of {count} that do worst"] if count > SHOWN else []


def _explained(error: Any, variance: Any) -> Real:
    lost = np.full(np.shape(variance), np.nan)
    np.divide(error, variance, out=lost, where=np.asarray(variance) > 0)
    return 1.0 - lost


def _shares(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    out = np.full(len(part), np.nan)
    np.divide(part, whole, out=out, where=whole > 0)
    return out


def _told(figures: NDArray[np.float64]) -> list[float | None]:
    return [None if np.isnan(x) else float(x) for x in figures]
