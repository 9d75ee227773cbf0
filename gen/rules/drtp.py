from __future__ import annotations

from ..errors import CompileError
from . import Rule, RuleTape


class DirectRandomTargetProjection(Rule):
    """As `dfa`, with the target in the error's place: hidden layers need no more than label and activations.

    The layer that makes the scores hears the error itself. Hidden layers never hear that a sample is right.
    """

    name = "drtp"
    doc = "direct random target projection: the label, not the error, projected to each layer"
    source = "Frenkel, Lefebvre, Bol 2021, Frontiers in Neuroscience 15:629892"
    storages = ("flash", "generated")
    inits = ("random", "ternary", "aligned")
    direct = True

    def check(self, tape: RuleTape) -> None:
        super().check(tape)
        if tape.spec.numbers:
            what = 'projects the label of a class, and loss.kind is "mse"'
            raise CompileError("rule", f"drtp {what}", "take dfa or hebbian")

    def correct(self, tape: RuleTape) -> None:
        target = tape.target_error()
        for node in reversed(tape.learned_nodes):
            tape.direct(node, tape.error if tape.scoring(node) else target)
