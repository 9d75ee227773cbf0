from __future__ import annotations

from ..errors import CompileError
from ..spec import RuleSpec
from ..spec.options import Choice, Integer
from . import Rule, RuleTape, rules
from ._trial import EPSILON, probe
from .sdfa import SignDirectFeedbackAlignment

THRESHOLDS = [option.name for option in SignDirectFeedbackAlignment.options]
HEADS = ("last", "hebbian", "bp", "fa", "sign", "dfa", "sdfa", "drtp")


class Hybrid(Rule):
    """The last layers by another rule, all layers below by simultaneous perturbation.

    The head learns first, from the pass that found the error; then losses are measured with what it has
    become.
    """

    name = "hybrid"
    doc = "another rule for the last layers, simultaneous perturbation below them"
    source = "ElasticZO, arXiv 2501.04287"
    storages = ("flash", "generated", "ram")  # those of its heads: each says which it can use
    inits = ("random", "ternary", "aligned")
    options = (
        Choice("head", "the rule of the last layers", HEADS),
        Integer("depth", "how many of the last layers that is", 1, 64, 1),
        EPSILON,
        Choice("step", "a step by the slope that was measured, or by its sign", ("slope", "sign")),
        Integer("trials", "directions that are tried on each sample", 1, 64, 1),
        *SignDirectFeedbackAlignment.options,
    )

    def _head(self, spec: RuleSpec) -> Rule:
        return rules()[str(self.option(spec, "head"))]

    def check(self, tape: RuleTape) -> None:
        self._head(tape.spec).check(tape)
        for name, _ in tape.spec.options:
            if name in THRESHOLDS and self.option(tape.spec, "head") != "sdfa":
                what = f'belongs to the head "sdfa", and the head is "{self.option(tape.spec, "head")}"'
                raise CompileError(f"options.{name}", what, 'drop it, or take head = "sdfa"')
        depth = int(self.option(tape.spec, "depth"))
        if len(tape.learned) <= depth:
            what = f"is {depth}, and {len(tape.learned)} layers learn: none is left to be perturbed"
            raise CompileError("options.depth", what, "let more layers learn, or take rule = the head's")

    def correct(self, tape: RuleTape) -> None:
        spec, depth = tape.spec, int(self.option(tape.spec, "depth"))
        front, last = tape.learned_nodes[:-depth], tape.learned_nodes[-depth:]
        with tape.only(last):
            self._head(spec).correct(tape)
        sign = self.option(spec, "step") == "sign"
        probe(tape, front, float(self.option(spec, "epsilon")), sign, int(self.option(spec, "trials")))
