from __future__ import annotations

from ..spec.options import PowerOfTwo
from . import Rule, RuleTape


class SignDirectFeedbackAlignment(Rule):
    """As `dfa`, with the sign of the error: what goes through a matrix is -1, 0 or 1.

    The layer that makes the scores hears the error itself. Under the squared error the threshold counts in
    what targets usually differ by.
    """

    name = "sdfa"
    doc = "direct feedback alignment of the error's sign: products of the feedback are additions"
    source = "Frenkel, Lefebvre, Bol 2021 (sDFA)"
    storages = ("flash", "generated")
    inits = ("random", "ternary", "aligned")
    options = (PowerOfTwo("threshold", "the least error whose sign is passed on", -14, 0, 0.125),)
    direct = True

    def correct(self, tape: RuleTape) -> None:
        signs = tape.ternary(tape.error, float(self.option(tape.spec, "threshold")))
        for node in reversed(tape.learned_nodes):
            tape.direct(node, tape.error if tape.scoring(node) else signs)
