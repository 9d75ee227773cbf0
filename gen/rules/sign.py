from __future__ import annotations

from . import Rule, RuleTape


class SignSymmetry(Rule):
    """Signals pass down through the signs of the weights: each connection knows only whether it excites.

    Signs follow the weights as these learn, and have one magnitude, the mean one of the weights at the
    start, to a power of two, times feedback.gain.
    """

    name = "sign"
    doc = "sign-symmetry: signals pass down through the signs of the weights"
    source = "Liao, Leibo, Poggio 2016 (AAAI), uSF"
    passes = True

    def correct(self, tape: RuleTape) -> None:
        tape.backward(lambda node: tape.signs(node) if tape.is_learned(node) else None)
