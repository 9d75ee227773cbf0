"""y = mask ? yes : no, element by element, of a .tflite file's integers: SELECT by truth values that the file
holds. It is the step of a choice (gen/ops/choice.py) that compares the mask with 0."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from ..ir.format import Format, Scaled
from ..ir.graph import Node
from ..ir.program import Value
from ..ir.tape import Tape
from . import Layer
from .choice import FREE, TESTS

TRUTH = Format("int8", Scaled((1.0,)), 0, 1)
"""How a mask is held."""
CHOSEN = FREE[1:]


class Masked(Layer):
    """A node of those of yes, no that are no numbers, and of the mask, which has the output's shape;
    attributes of a number as a choice has them: its unit (`yes_is`, ..), what that stands for (`yes_real`,
    ..)."""

    op = "masked"
    constants = 1

    def shape(self, node: Node, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
        *given, shape = shapes
        if any(math.prod(s) != 1 and s != shape for s in given):
            what = f"inputs of shapes {given}, a mask of {shape}"
            raise CompileError(node.name, what, "report this model: an importer is wrong")
        return shape

    def forward(self, tape: Tape, node: Node) -> None:
        *given, mask = node.inputs
        roles = (role for role in CHOSEN if f"{role}_is" not in node.attrs)
        args = dict(zip(roles, map(tape.value, given), strict=True))
        real = tape.constant(mask).reshape(-1)
        args["left"] = tape.add(
            Value(f"{node.name}_mask", real.shape, "const", "constant", real, format=TRUTH)
        )
        own = {k: node.number(k) for k in node.attrs}
        zero = {"raw": 1, "right_is": 0, "right_real": 0.0}
        test = TESTS.index("not_equal")
        tape.step("choice.forward", node, args | {"y": tape.activation(node)}, test=test, **zero, **own)

    def feedback(self, tape: Tape, node: Node, teach: str, matrix: str | None) -> dict[str, str]:
        what = "no teaching signal passes a choice between two tensors in a file's integers"
        raise CompileError(node.source or node.name, what, "let only layers behind it learn")

    def sample(
        self, rng: np.random.Generator, shapes: Sequence[tuple[int, ...]]
    ) -> tuple[Node, dict[str, NDArray[Any]]] | None:
        return None  # it has numbers of a file alone
