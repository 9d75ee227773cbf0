from __future__ import annotations

from . import Rule, RuleTape


class DirectFeedbackAlignment(Rule):
    """The error reaches every learned layer directly, through one fixed matrix [classes, units] a layer."""

    name = "dfa"
    doc = "direct feedback alignment: the output error projected to each layer by a fixed matrix"
    source = "Nøkland 2016; scaling after Launay et al. 2020"
    storages = ("flash", "generated")
    inits = ("random", "ternary", "aligned")
    direct = True

    def correct(self, tape: RuleTape) -> None:
        for node in reversed(tape.learned_nodes):
            tape.direct(node)
