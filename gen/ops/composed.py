"""y = f(x) for a function that several layers make of each value: one table, and one of its derivative.

A signal passes by the derivative of the whole. Through the layers one by one it would be rounded in front of
each, and each would need memory of its own while learning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..errors import CompileError
from ..ir.graph import Attr, Node
from ..ir.tape import Tape
from . import Layer
from ._parts import Part, coded, decoded
from .table import NAMES, slope_step, value_step

AGAIN = "report this model: a stage is wrong"


class Composed(Layer):
    """A node of x with the attribute `parts`: of each part its name's place, what it reads, alpha, beta."""

    op = "composed"
    pointwise = True
    holds = True

    def shape(self, node: Node, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
        for i, part in enumerate(parts_of(node)):
            if not (0 <= part.left <= i and 0 <= part.right <= i):
                raise CompileError(node.name, f"its part {i} reads one that comes later", AGAIN)
        return shapes[0]

    def doing(self, parts: Sequence[Part]) -> Mapping[str, Attr] | None:
        return {"parts": flat(parts)} if len(parts) > 1 else None

    def forward(self, tape: Tape, node: Node) -> None:
        value_step(tape, node, "what several layers make", coded(parts_of(node), NAMES))

    def feedback(self, tape: Tape, node: Node, teach: str, matrix: str | None) -> dict[str, str]:
        return slope_step(tape, node, teach, "what several layers make", coded(parts_of(node), NAMES))

    def sample(
        self, rng: np.random.Generator, shapes: Sequence[tuple[int, ...]]
    ) -> tuple[Node, dict[str, np.ndarray]] | None:
        return None  # gen.stages.compose makes it, of other layers


def flat(parts: Sequence[Part]) -> tuple[float, ...]:
    """Parts as the attribute of a node."""
    given = coded(parts, NAMES)
    return tuple(float(given[f"{key}{i}"]) for i in range(len(parts)) for key in "fxyab")


def parts_of(node: Node) -> list[Part]:
    """The parts of a node."""
    given = node.attrs.get("parts")
    if not isinstance(given, tuple) or not given or len(given) % 5:
        raise CompileError(node.name, "its attribute parts is not five numbers a part", AGAIN)
    rows = np.reshape(given, (-1, 5)).tolist()
    a = {f"{key}{i}": v for i, row in enumerate(rows) for key, v in zip("fxyab", row, strict=True)}
    return decoded(a | {"parts": len(rows)}, NAMES)
