"""A new shape for the same bytes: no kernel, no cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from ..ir.graph import Attr, Node
from ..ir.tape import Tape
from . import Layer
from ._folding import Shape
from ._parts import Applied


class Reshape(Layer):
    op = "reshape"
    pointwise = True
    rearranges = True
    follows = True

    def shape(self, node: Node, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
        shape = node.wholes("shape")
        if np.prod(shape, dtype=np.int64) != np.prod(shapes[0], dtype=np.int64):
            raise CompileError(
                node.name, f"cannot reshape {shapes[0]} to {shape}", "the number of values must stay the same"
            )
        return shape

    def applied(self, node: Node, constants: Sequence[np.ndarray]) -> Applied:
        return Applied("view")

    def reshaping(self, to: tuple[int, ...]) -> Mapping[str, Attr]:
        return {"shape": to}

    def idle(self, node: Node, shape: Shape, to: Shape, constants: Sequence[np.ndarray]) -> bool:
        return shape == to

    def merged(self, node: Node, before: Node) -> Mapping[str, Attr] | None:
        return node.attrs

    def moved(self, node: Node, parts: Sequence[NDArray[Any]], to: Shape, border: int) -> NDArray[Any] | None:
        return parts[0].reshape(to)

    def forward(self, tape: Tape, node: Node) -> None:
        tape.bind(node.output, tape.value(node.inputs[0]))

    def feedback(self, tape: Tape, node: Node, teach: str, matrix: str | None) -> dict[str, str]:
        return {node.inputs[0]: teach}

    def sample(
        self, rng: np.random.Generator, shapes: Sequence[tuple[int, ...]]
    ) -> tuple[Node, dict[str, np.ndarray]] | None:
        n = int(np.prod(shapes[0]))
        if len(shapes[0]) > 1:
            return Node("reshape", "", ("in0",), "out", {"shape": (n,)}), {}
        rows = _divisor(rng, n)
        if rng.integers(2):
            return Node("reshape", "", ("in0",), "out", {"shape": (rows, n // rows)}), {}
        columns = _divisor(rng, n // rows)
        shape = (rows, columns, n // rows // columns)
        return Node("reshape", "", ("in0",), "out", {"shape": shape}), {}


def _divisor(rng: np.random.Generator, n: int) -> int:
    return int(rng.choice([k for k in range(1, min(n, 8) + 1) if n % k == 0]))
