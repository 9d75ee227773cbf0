"""A rule from outside with programs of its own: every sample is learned several times in a row."""

from synapcc.gen.rules import Rule, RuleTape
from synapcc.gen.spec.options import Integer


class Passes(Rule):
    """Backpropagation, `passes` times a sample, with a verdict that is given twice."""

    name = "passes"
    doc = "every sample several times in a row"
    source = "none: it shows how a rule replaces programs"
    options = (Integer("passes", "how often each sample is learned", 1, 8, 3),)

    def programs(self, tape: RuleTape) -> None:
        with tape.b.program("infer", "class, margin and scores of the inputs"):
            tape.emit_forward()
            tape.emit_verdict()
            tape.emit_verdict()
        with tape.b.program("correct", "one change of every layer"):
            self.correct(tape)
        with tape.b.program("once", "learns once from the sample in the arena"):
            tape.emit_forward()
            tape.b.when(tape.emit_loss(), "correct")
        with tape.b.program("adapt", "learns several times from the sample in the arena"):
            tape.b.repeat(int(self.option(tape.spec, "passes")), "once")
            tape.emit_tick()

    def correct(self, tape: RuleTape) -> None:
        tape.backward(lambda node: None)
