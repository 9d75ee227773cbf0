from __future__ import annotations

from . import Rule, RuleTape


class Backpropagation(Rule):
    """The oracle: every signal passes through the layer's own weights, transposed."""

    name = "bp"
    doc = "backpropagation through the layers' own weights (the oracle and baseline)"
    source = "Rumelhart, Hinton, Williams 1986"
    passes = True

    def correct(self, tape: RuleTape) -> None:
        tape.backward(lambda node: None)
