from __future__ import annotations

from ..stages.tape import Tape
from . import Rule


class LastLayer(Rule):
    """Only the last of the chosen layers learns; the mandatory baseline, and a strong one."""

    name = "last"
    doc = "only the last of the chosen layers learns"
    source = "the delta rule; Widrow and Hoff 1960"

    def narrow(self, learned: tuple[str, ...]) -> tuple[str, ...]:
        return learned[-1:]

    def correct(self, tape: Tape) -> None:
        tape.backward(lambda node: None)
