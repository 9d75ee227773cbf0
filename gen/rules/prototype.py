from __future__ import annotations

from ..errors import CompileError
from ..spec import RuleSpec
from ..spec.options import PowerOfTwo
from . import Rule, RuleTape


class Prototype(Rule):
    """Each class is the running mean of its samples' features, and the nearest mean wins: no gradient.

    The classifier's rows say it: score = gain * ((x - m) . (p - m) - |p - m|^2 / 2), one gain for all.
    """

    name = "prototype"
    doc = "nearest class mean: the mean of the label's class moves to each sample's features"
    source = "nearest class mean, Mensink et al. 2013; its attraction from LVQ, Kohonen 1986"
    options = (PowerOfTwo("share", "what a new sample counts in the mean of its class", -8, -1, 2.0**-4),)
    prototypes = True

    def narrow(self, learned: tuple[str, ...], spec: RuleSpec) -> tuple[str, ...]:
        return learned[-1:]

    def check(self, tape: RuleTape) -> None:
        super().check(tape)
        if not all(tape.scoring(node) for node in tape.learned_nodes):
            what = "moves the rows of the layer that makes the scores, which is not among `layers`"
            raise CompileError("rule", f"prototype {what}", "add it")

    def programs(self, tape: RuleTape) -> None:
        """Every sample moves a mean, one that is right already as well: no loss is asked."""
        with tape.b.program("adapt", f"{self.name}: {self.doc}"):
            tape.emit_forward()
            self.correct(tape)
            tape.emit_tick()

    def correct(self, tape: RuleTape) -> None:
        (node,) = tape.learned_nodes
        tape.move(node, round(1 / float(self.option(tape.spec, "share"))))
