from __future__ import annotations

from ..errors import CompileError
from . import Rule, RuleTape

MOST = 2**11  # values behind an activation: their matrix has the square of it in bytes


class StaticSyntheticGradients(Rule):
    """Each layer predicts its own teaching signal, from what it says and from the label, by frozen matrices.

    They are fitted to backpropagation's signals in the trained network. No error travels: a layer could learn
    as soon as its activation is there. The layer that makes the scores hears the error itself.
    """

    name = "ssg"
    doc = (
        "static synthetic gradients: frozen matrices predict a layer's signal from its outputs and the label"
    )
    source = "Neven, Verhelst, Tuytelaars, Goedemé 2020, ECCV workshops, arXiv:2009.09675"

    def check(self, tape: RuleTape) -> None:
        super().check(tape)
        if tape.spec.numbers:
            what = 'predicts signals from the label of a class, and loss.kind is "mse"'
            raise CompileError("rule", f"ssg {what}", "take dfa or hebbian")
        for node in tape.learned_nodes:
            at = tape.injection(node)
            n = tape.b.values[tape.value(at)].size
            if tape.scoring(node):
                continue
            if tape.given(at) is not None:
                what = "has a file's own integers behind its activation, and ssg predicts from powers of two"
                raise CompileError(node.name, what, "take dfa or hebbian")
            if n > MOST:
                what = f"has {n:,} values behind its activation, and ssg takes up to {MOST:,}"
                raise CompileError(node.name, what, "leave it out of `layers`, or take dfa")

    def correct(self, tape: RuleTape) -> None:
        target = tape.target_error()
        for node in tape.learned_nodes:
            if tape.scoring(node):
                tape.direct(node)
            else:
                tape.inject(node, tape.predict(node, target))
