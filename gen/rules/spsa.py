from __future__ import annotations

from ..spec.options import Choice, Integer
from . import Rule, RuleTape
from ._trial import EPSILON, probe


class SimultaneousPerturbation(Rule):
    """All weights at once along a random direction, forwards and backwards; a step down what was measured.

    No signal travels, and nothing of a forward pass is kept: memory is that of inference.
    """

    name = "spsa"
    doc = "simultaneous perturbation: the loss on both sides of a random direction, and a step down"
    source = "Spall 1992; in integers after ElasticZO, arXiv 2501.04287"
    options = (
        EPSILON,
        Choice("step", "a step by the slope that was measured, or by its sign", ("slope", "sign")),
        Integer("trials", "directions that are tried on each sample", 1, 64, 1),
    )

    def correct(self, tape: RuleTape) -> None:
        epsilon, trials = float(self.option(tape.spec, "epsilon")), int(self.option(tape.spec, "trials"))
        sign = self.option(tape.spec, "step") == "sign"
        probe(tape, tape.learned_nodes, epsilon, sign, trials)
