from __future__ import annotations

from ..spec.options import Integer
from . import Rule, RuleTape


class BackpropagationThroughTime(Rule):
    """The oracle of layers that run over time: as `bp`, and these hear in each of the last `steps` steps of
    their window what later steps make of its state. For that they keep as many states."""

    name = "bptt"
    doc = "backpropagation through the last steps of time (the oracle of recurrent layers)"
    source = "Werbos 1990; truncated after Williams and Peng 1990"
    passes = True
    unrolls = True
    options = (Integer("steps", "how many of a window's last steps are heard, and kept", 1, 2**15, 16),)

    def correct(self, tape: RuleTape) -> None:
        tape.backward(lambda node: None, steps=int(self.option(tape.spec, "steps")))
