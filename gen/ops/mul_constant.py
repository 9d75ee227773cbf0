"""y = x * c: c is a constant that may be stretched, and has a number format of its own."""

from __future__ import annotations

from ..ir.graph import Node
from ..ir.tape import Tape
from ._broadcast import WithConstant
from .mul import heard


class MulConstant(WithConstant):
    op = "mul_constant"
    kernel = "mul.forward"

    def feedback(self, tape: Tape, node: Node, teach: str, matrix: str | None) -> dict[str, str]:
        x, c = node.inputs
        return {x: heard(tape, node, teach, x, f"{node.name}_constant", tape.shape(c))}
