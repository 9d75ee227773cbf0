from __future__ import annotations

from ..spec import RuleSpec
from ..spec.options import Integer
from . import Rule, RuleTape


class LastLayer(Rule):
    """Only the last of the chosen layers learns; the mandatory baseline, and a strong one.

    With `depth` above 1, that many learn, each taught through the weights of the one behind it.
    """

    name = "last"
    doc = "only the last of the chosen layers learns"
    source = "the delta rule; Widrow and Hoff 1960"
    passes = True
    options = (Integer("depth", "how many of the last layers learn", 1, 64, 1),)

    def narrow(self, learned: tuple[str, ...], spec: RuleSpec) -> tuple[str, ...]:
        return learned[-int(self.option(spec, "depth")) :]

    def correct(self, tape: RuleTape) -> None:
        tape.backward(lambda node: None)
