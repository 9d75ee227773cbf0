"""What a rule is. Every other file of this folder is one rule: found by looking, registered nowhere.

A rule transforms a forward program into the program `correct`, which runs when a sample was not yet right. It
brings no arithmetic and no C: it chooses matrices, signals and their order on a RuleTape. Rules from outside
this repository are found as gen.discovery says.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from .. import discovery
from ..errors import CompileError
from ..spec import RuleSpec
from ..spec.options import Option, Setting
from ._tape import RuleTape

__all__ = ["Rule", "RuleTape", "options", "rules"]


class Rule(ABC):
    """One learning rule. `name` is what a rule file writes as `rule`; here, it is the file's stem.

    storages, inits: what `[feedback]` may ask of this rule, the default first; empty if it has no feedback
    matrices.
    options: what `[options]` of a rule file may set; `option` gives the value.
    prototypes: whether the classifier's rows are means of the classes' features, and start as these.
    direct: whether each layer hears a signal of its own output alone, which layers that run over time take.
    passes: whether teaching signals come down from layer to layer.
    unrolls: whether they come down through time, too, in layers that run over it.
    """

    name: ClassVar[str]
    doc: ClassVar[str]
    source: ClassVar[str]
    storages: ClassVar[tuple[str, ...]] = ()
    inits: ClassVar[tuple[str, ...]] = ()
    options: ClassVar[tuple[Option, ...]] = ()
    prototypes: ClassVar[bool] = False
    direct: ClassVar[bool] = False
    passes: bool = False
    unrolls: ClassVar[bool] = False

    def option(self, spec: RuleSpec, name: str) -> Setting:
        """The value of one of this rule's options: the rule file's, else its default."""
        return dict(spec.options).get(name, {o.name: o.default for o in self.options}[name])

    def narrow(self, learned: tuple[str, ...], spec: RuleSpec) -> tuple[str, ...]:
        """The layers that this rule changes, of those that the rule file chose."""
        return learned

    def levels(self, spec: RuleSpec) -> bool:
        """Whether layers that start anew are to read inputs of one length (gen.stages.level)."""
        return False

    def watched(self, tape: RuleTape) -> frozenset[str]:
        """Tensors of the graph that the rule reads beside the forward program, as they are before what holds
        them within limits: their number formats hold all that calibration sees of them."""
        return frozenset()

    def programs(self, tape: RuleTape) -> None:
        """Emits programs of the rule's own, once `forward` is written.

        One called `infer` or `adapt` takes the place of the usual one: `infer` leaves scores in the logits
        and a verdict (tape.verdict), `adapt` learns from the inputs and tape.label in the arena.
        """
        return

    @property
    def waits(self) -> bool:
        """Whether a sample without any error changes nothing."""
        return True

    @abstractmethod
    def correct(self, tape: RuleTape) -> None:
        """Emits the steps that lead from tape.error to the updates of tape.learned_nodes."""

    def check(self, tape: RuleTape) -> None:
        """Refuses feedback options that this rule cannot honour."""
        self.refuse_feedback(tape, self.storages, self.inits)

    def refuse_feedback(self, tape: RuleTape, storages: tuple[str, ...], inits: tuple[str, ...]) -> None:
        """Refuses what `[feedback]` asks for and is not among these, if there are any."""
        fb = tape.spec.feedback
        for key, allowed in (("storage", storages), ("init", inits)):
            asked = getattr(fb, key)
            if asked and allowed and asked not in allowed:
                raise CompileError(
                    f"feedback.{key}",
                    f'rule {self.name} cannot use "{asked}"',
                    f"possible: {', '.join(allowed)}",
                )


def rules() -> dict[str, Rule]:
    """Every rule by name."""
    found: dict[str, Rule] = discovery.instances(Rule, "name", __name__, __path__, "synapcc.rules")
    return found


def options() -> dict[str, tuple[Option, ...]]:
    """What a rule file may say: every rule's options by its name."""
    return {name: rule.options for name, rule in rules().items()}
