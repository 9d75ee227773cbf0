"""What a network's answers are, and which of them stay the same in integers."""

from __future__ import annotations

from enum import Enum

import numpy as np
from numpy.typing import NDArray

from ..ir.graph import Graph
from ..ir.program import Abstract
from ..ops.loss import LOSS_FRAC, TOP
from ..spec import RuleSpec
from .outliers import usual

SHARE, LOSS_ROOM = 0.9, 4  # of samples whose losses fit, and how many times over
LARGEST_LOSS = TOP * 2.0**-LOSS_FRAC
NEAR = 1 / 8  # of what samples usually differ by: numbers that are off by less are the same

Real = NDArray[np.float64]


class Answers(Enum):
    """CLASS: the largest score's. SIGN: one of two classes, by the sign of the one score. NUMBERS: the scores
    themselves."""

    CLASS = 1
    SIGN = 2
    NUMBERS = 3

    def same(self, want: Real, got: Real) -> NDArray[np.bool_]:
        """Which samples of scores [samples, C] keep their answer."""
        if self is Answers.CLASS:
            return np.asarray(want.argmax(axis=1) == got.argmax(axis=1))
        if self is Answers.SIGN:
            return np.asarray((want > 0)[:, 0] == (got > 0)[:, 0])
        return np.asarray(np.max(np.abs(got - want), axis=1) <= NEAR * usual(want))

    @property
    def kept(self) -> str:
        """What a sample gets that keeps its answer, as a report says it."""
        if self is Answers.NUMBERS:
            return f"get the numbers of the float network, within 1/{1 / NEAR:.0f} of what samples differ by"
        return "get the class of the float network"


def large(targets: Real) -> float:
    """What targets [n, ...] usually differ by, to a power of two; 1 where they are all alike."""
    apart = usual(targets.reshape(len(targets), -1))
    return float(2.0 ** np.rint(np.log2(apart))) if apart > 0 else 1.0


def scale(targets: Real, scores: Real) -> float:
    """The unit of errors in which nine of ten samples' squared losses lie well within what integers hold.

    At least what `targets` [n, ...] usually differ by. Where scores [m, C] are far from all targets, as
    before learning, losses in this would all be the largest one, and no change would make a difference.
    """
    wanted = targets.reshape(len(targets), -1)
    far = np.maximum(np.abs(scores - wanted.min(axis=0)), np.abs(scores - wanted.max(axis=0)))
    loss = float(np.quantile(np.sum(np.square(far), axis=1) / 2, SHARE))
    least = np.ceil(np.log2(loss / (LARGEST_LOSS / LOSS_ROOM)) / 2) if loss > 0 else -np.inf
    return max(large(targets), float(2.0**least))


def answers(graph: Graph, abstract: Abstract, spec: RuleSpec) -> Answers:
    """Of a network under a rule.

    A network that learns says it by its loss. One that does not gives numbers if it has one output without a
    sigmoid, or as many as its one input has and no softmax: it gives its input again.
    """
    scores = abstract.values[abstract.logits].size
    if spec.numbers:
        return Answers.NUMBERS
    learns = any(v.learned for v in abstract.values.values())
    if scores == 1:
        return Answers.SIGN if learns or graph.head != "none" else Answers.NUMBERS
    inputs = [abstract.values[name].size for name in abstract.inputs]
    again = not learns and graph.head == "none" and inputs == [scores]
    return Answers.NUMBERS if again else Answers.CLASS
