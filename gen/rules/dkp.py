from __future__ import annotations

from . import Rule, RuleTape


class DirectKolenPollack(Rule):
    """As `dfa`, with matrices that learn: B changes by error and activation, as weights from the layer's
    outputs to the scores would, dB = -rate e h^T.

    With decay on weights and B alike B forgets where it started and comes to estimate the way forward.
    """

    name = "dkp"
    doc = "direct Kolen-Pollack: direct feedback whose matrices learn from error and activation"
    source = "Webster, Choi, Ahn 2021, Learning the connections in direct feedback alignment"
    storages = ("ram",)
    inits = ("random", "ternary", "aligned")

    def correct(self, tape: RuleTape) -> None:
        for node in reversed(tape.learned_nodes):
            if tape.scoring(node):
                tape.direct(node)
                continue
            matrix = tape.learned_matrix(node)
            tape.direct(node, matrix=matrix)
            tape.follow(node, matrix)
