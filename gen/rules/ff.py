from __future__ import annotations

from ..errors import CompileError
from ..spec import RuleSpec
from ..spec.options import Choice, PowerOfTwo
from . import Rule, RuleTape


class ForwardForward(Rule):
    """Each hidden layer learns by its own goodness G, the mean of its squared activities h: more than
    a threshold of it for a sample that carries its right label, less for one that carries a wrong one.

    p = sigmoid(G / threshold - 1); W += rate (1 - p) h x^T of the right label, W -= rate p h x^T of the
    wrong. A label is carried as x + F onehot, F a fixed matrix. The layer that makes the scores learns by the
    error of the sample without a label, so that inference is one pass.
    """

    name = "ff"
    doc = "forward-forward: each hidden layer by its own goodness, the last one by the error"
    source = "Hinton 2022, arXiv 2212.13345"
    storages = ("flash", "generated")
    inits = ("random", "ternary")
    options = (
        PowerOfTwo("threshold", "the mean square of a layer's activities that counts as good", -12, 8, 0.25),
        PowerOfTwo(
            "label", "the size of what carries a label, in root mean squares of the input", -6, 2, 2.0
        ),
        Choice(
            "normalise",
            "whether a length is taken off between layers: where `init` starts them anew, or never",
            ("init", "never"),
        ),
    )

    def levels(self, spec: RuleSpec) -> bool:
        return self.option(spec, "normalise") == "init"

    @property
    def waits(self) -> bool:
        return False

    def check(self, tape: RuleTape) -> None:
        super().check(tape)
        tape.refuse_modulation()
        if tape.spec.numbers:
            what = 'carries the label of a class, and loss.kind is "mse"'
            raise CompileError("rule", f"ff {what}", "take dfa or hebbian")
        if not any(tape.hidden(node) for node in tape.learned_nodes):
            what = "teaches hidden layers, and none of them learns"
            raise CompileError("rule", f"ff {what}", "let more layers learn, or take rule = last")

    def correct(self, tape: RuleTape) -> None:
        hidden = [node for node in tape.learned_nodes if tape.hidden(node)]
        with tape.only([node for node in tape.learned_nodes if not tape.hidden(node)]):
            tape.backward(lambda node: None)
        threshold, share = (float(self.option(tape.spec, name)) for name in ("threshold", "label"))
        for wrong in (False, True):
            with tape.labelled(hidden, share, wrong):
                for node in hidden:
                    tape.inject(node, tape.goodness(node, threshold, wrong))
