"""What a rule is. Every other file of this folder is one rule: found by looking, registered nowhere.

A rule transforms a forward program into the program `correct`, which runs when a sample was not yet right. It
brings no arithmetic and no C: it chooses matrices, signals and their order on a Tape.
"""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from functools import cache
from typing import Any, ClassVar

from ..errors import CompileError
from ..stages.tape import Tape


class Rule(ABC):
    """One learning rule. `name` is the file's stem and what a rule file writes as `rule`.

    storages, inits: what `[feedback]` may ask of this rule, the default first; empty if it has no feedback
    matrices.
    """

    name: ClassVar[str]
    doc: ClassVar[str]
    source: ClassVar[str]
    storages: ClassVar[tuple[str, ...]] = ()
    inits: ClassVar[tuple[str, ...]] = ()
    direct: ClassVar[bool] = False  # needs d logits / d layer for its matrices

    def narrow(self, learned: tuple[str, ...]) -> tuple[str, ...]:
        """The layers that this rule changes, of those that the rule file chose."""
        return learned

    @abstractmethod
    def correct(self, tape: Tape) -> None:
        """Emits the steps that lead from tape.error to the updates of tape.learned_nodes."""

    def check(self, tape: Tape) -> None:
        """Refuses feedback options that this rule cannot honour."""
        fb = tape.spec.feedback
        for key, allowed in (("storage", self.storages), ("init", self.inits)):
            asked = getattr(fb, key)
            if asked and allowed and asked not in allowed:
                raise CompileError(
                    f"feedback.{key}",
                    f'rule {self.name} cannot use "{asked}"',
                    f"possible: {', '.join(allowed)}",
                )


@cache
def rules() -> dict[str, Rule]:
    """Every rule by name."""
    found: dict[str, Rule] = {}
    for m in sorted(pkgutil.iter_modules(__path__), key=lambda m: m.name):
        module: Any = importlib.import_module(f"{__name__}.{m.name}")
        for c in vars(module).values():
            if isinstance(c, type) and issubclass(c, Rule) and c.__module__ == module.__name__:
                found[c.name] = c()
    return found
