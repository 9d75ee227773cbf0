from __future__ import annotations

from . import Rule, RuleTape


class FeedbackAlignment(Rule):
    """Signals pass through fixed random matrices where learned layers would use their own weights.

    A frozen layer passes signals through its own weights: they are in flash anyway and cannot drift.
    """

    name = "fa"
    doc = "feedback alignment: fixed random matrices in place of the transposed weights"
    source = "Lillicrap, Cownden, Tweed, Akerman 2016; FRFB of Amit 2019"
    passes = True
    storages = ("flash", "generated")
    inits = ("random", "ternary", "aligned")

    def correct(self, tape: RuleTape) -> None:
        tape.backward(
            lambda node: (
                tape.fixed_matrix(node.name, node.inputs[0], like=node) if tape.is_learned(node) else None
            )
        )
