from __future__ import annotations

from . import Rule, RuleTape


class ErrorDrivenInputModulation(Rule):
    """A second forward pass, of inputs that the error has moved, says what each layer hears: h - h'.

    x' = x + F e, F a fixed matrix from the error to the inputs. No signal passes a layer backwards, and no
    derivative is taken: W -= rate (h - h') h'^T of the layer below, of the scores' layer e h'^T.
    """

    name = "pepita"
    doc = "error-driven input modulation: the difference that inputs moved by the error make"
    source = "Dellaferrera, Kreiman 2022, Error-driven input modulation, ICML (PMLR 162)"
    storages = ("flash", "generated")
    inits = ("random", "ternary")

    def check(self, tape: RuleTape) -> None:
        super().check(tape)
        tape.refuse_modulation()

    def correct(self, tape: RuleTape) -> None:
        with tape.modulated(tape.error, tape.learned_nodes):
            for node in reversed(tape.learned_nodes):
                tape.update(node, tape.error if tape.scoring(node) else tape.difference(node))
