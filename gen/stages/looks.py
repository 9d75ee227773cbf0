"""What number formats are chosen from, and what of them somebody has chosen already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..ir.graph import Graph
from ..ir.program import Abstract
from ..spec import RuleSpec
from .answers import Answers, answers
from .calibrate import Tick
from .halves import floors
from .observe import Observed
from .room import grown
from .stride import Stride, largest

Reals = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Choice:
    """What formats are that each tensor by itself would not ask for.

    fracs: of activations and scores that have a format of their own
    wide:  frozen weights that are held in int16
    fine:  whether scores have all 16 bits where nothing learns
    """

    fracs: Mapping[str, int] = field(default_factory=dict)
    wide: frozenset[str] = frozenset()
    fine: bool = False


@dataclass(frozen=True)
class Looks:
    """What formats are chosen from. later, expected: the network as learning will make it, and what is seen
    of that; None where it has learned. stride: the layer that one learning step changes too much. kind: what
    its answers are."""

    observed: Observed
    later: Abstract | None
    expected: Observed | None
    stride: Stride | None
    kind: Answers

    @classmethod
    def of(
        cls,
        graph: Graph,
        abstract: Abstract,
        spec: RuleSpec,
        calibration: Reals,
        best: bool,
        tick: Tick = lambda share: None,
    ) -> Looks:
        """abstract: the programs of `graph`

        calibration: the inputs by name, float64 [n, *shape], and `label` [n] if there are labels.

        best: whether activations that are never, or barely, negative get all integers of int8
        tick: is told which share of the calibration is done
        """
        found = floors(abstract) if best else {}
        observed = Observed(abstract, calibration, found, tick)
        later = grown(abstract, spec, observed.runs, observed.aside)
        expected = Observed(later, calibration, found) if later else None
        stride = largest(observed.runs, observed.aside)
        return cls(observed, later, expected, stride, answers(graph, abstract, spec))

    @property
    def usual(self) -> NDArray[np.intp]:
        """The samples that formats are chosen from, of those that are run."""
        return np.flatnonzero(~self.observed.aside)
