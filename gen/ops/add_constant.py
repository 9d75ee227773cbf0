"""y = x + c; with the attribute `subtract` x - c, and with `first` too c - x. c may be stretched.

In a network of our own numbers an affine layer does this; here c has a number format of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir.graph import Attr, Node
from ..ir.tape import Tape
from ._broadcast import WithConstant, heard
from .add import opposite


class AddConstant(WithConstant):
    op = "add_constant"
    kernel = "add.forward"

    def feedback(self, tape: Tape, node: Node, teach: str, matrix: str | None) -> dict[str, str]:
        turned = node.attrs.get("subtract") and node.attrs.get("first")
        signal = opposite(tape, node, teach) if turned else teach
        return {node.inputs[0]: heard(tape, node, node.inputs[0], signal)}

    def sample(
        self, rng: np.random.Generator, shapes: Sequence[tuple[int, ...]]
    ) -> tuple[Node, dict[str, NDArray[Any]]] | None:
        found = super().sample(rng, shapes)
        assert found
        signs: list[dict[str, Attr]] = [{}, {"subtract": 1}, {"subtract": 1, "first": 1}]
        return replace(found[0], attrs=signs[int(rng.integers(3))]), found[1]
