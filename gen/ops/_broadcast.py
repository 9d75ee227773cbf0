"""Two tensors taken together element by element; each stands still along axes where it has one element.

A step of two tensors of one shape has no attributes of this. Else n0, n1, .. are the counts of loops over the
output, the outermost first, left0, .. and right0, .. by how much the place in each moves, 0 where it stands
still; axes that move alike in both are one loop.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from ..ir.graph import Node
from ..ir.program import Value
from ..ir.tape import Tape
from . import Arrays, Attrs, Layer, _requantise
from ._contract import SIZE, Range, Tensors, within

AXES = 4
STEP: Range = (0, SIZE[1])
LEFT, RIGHT = "left", "right"
Shape = tuple[int, ...]
WALK = within(
    {f"n{i}": SIZE for i in range(AXES)}, {f"{side}{i}": STEP for side in (LEFT, RIGHT) for i in range(AXES)}
)
"""Attributes of the loops of a step, which may all be missing."""


def common(node: Node, shapes: Sequence[Shape]) -> Shape:
    """The shape of the output; CompileError where two shapes do not fit."""
    try:
        if len(shapes) == 2:
            return tuple(np.broadcast_shapes(*shapes))
    except ValueError:
        pass
    what = f"inputs of shapes {list(shapes)}"
    raise CompileError(node.name, what, "two tensors are taken together, alike or 1 along each axis")


def fit(shapes: Sequence[Shape]) -> bool:
    """Whether two shapes can be taken together."""
    try:
        return len(shapes) == 2 and len(np.broadcast_shapes(*shapes)) > 0
    except ValueError:
        return False


def loops(left: Shape, right: Shape, where: str) -> dict[str, int]:
    """The attributes of a step; none where both have the output's shape."""
    shape = np.broadcast_shapes(left, right)
    if left == right:
        return {}
    found: list[tuple[int, int, int]] = []
    strides = _strides(left, len(shape)), _strides(right, len(shape))
    for n, a, b in zip(shape, *strides, strict=True):
        if n == 1:
            continue
        if found and found[-1][1] == n * a and found[-1][2] == n * b:
            found[-1] = found[-1][0] * n, a, b
        else:
            found.append((n, a, b))
    if all(len(found) == 1 and step for _, *steps in found for step in steps) or not found:
        return {}
    if len(found) > AXES:
        raise CompileError(where, f"combines shapes {left} and {right}", f"up to {AXES} axes can be walked")
    keys = ("n", LEFT, RIGHT)
    return {f"{k}{i}": v for i, loop in enumerate(found) for k, v in zip(keys, loop, strict=True)}


def _strides(shape: Shape, rank: int) -> list[int]:
    whole = (1,) * (rank - len(shape)) + shape
    return [int(np.prod(whole[i + 1 :])) if n > 1 else 0 for i, n in enumerate(whole)]


@cache
def _places(*steps: tuple[int, int]) -> NDArray[np.intp]:
    """Which element each one of the output takes: (count, stride) of each loop."""
    places = np.zeros(1, np.intp)
    for n, stride in steps:
        places = (places[:, None] + np.arange(n) * stride).ravel()
    return places


def spread(x: NDArray[Any], side: str, a: Attrs) -> NDArray[Any]:
    """Values [D, size] of one side, one for each of the output."""
    depth = sum(f"n{i}" in a for i in range(AXES))
    return x[:, _places(*((a[f"n{i}"], a[f"{side}{i}"]) for i in range(depth)))] if depth else x


def misfit(t: Tensors, a: Attrs, out: str = "y") -> str:
    """Why the loops of a step do not fit its operands; "" if they do. out: the role of what it writes."""
    sizes = {role: t[role].shape[0] for role in (LEFT, RIGHT, out)}
    depth = sum(f"n{i}" in a for i in range(AXES))
    if {f"{k}{i}" for k in ("n", LEFT, RIGHT) for i in range(depth)} != WALK.keys() & a.keys():
        return "its loops are not whole"
    if not depth:
        return "" if len({*sizes.values()}) == 1 else f"its operands have {sizes} values"
    counts = [a[f"n{i}"] for i in range(depth)]
    if math.prod(counts) != sizes[out]:
        return f"its loops give {math.prod(counts)} values, {out} has {sizes[out]}"
    for side in (LEFT, RIGHT):
        last = sum((n - 1) * a[f"{side}{i}"] for i, n in enumerate(counts))
        if last >= sizes[side]:
            return f"its loops read value {last} of {side}, which has {sizes[side]}"
    return ""


def sides(t: Arrays, a: Attrs) -> tuple[NDArray[Any], NDArray[Any]]:
    return spread(t[LEFT], LEFT, a), spread(t[RIGHT], RIGHT, a)


def heard(tape: Tape, node: Node, name: str, signal: str) -> str:
    """What input `name` hears of `signal`, which has the output's shape: one that is stretched hears the sum
    over all places that show one of its values."""
    shape, out = tape.shape(name), tape.shape(node.output)
    if math.prod(shape) == math.prod(out):
        return signal
    walk = loops(shape, out, node.name)
    sizes = [walk[f"n{i}"] for i in range(AXES) if f"n{i}" in walk]
    for i in (i for i in range(len(sizes)) if not walk[f"{LEFT}{i}"]):
        count, sizes[i] = sizes[i], 1
        g = tape.teach(f"{node.name}_sum", tuple(sizes))
        around = {"outer": math.prod(sizes[:i]), "count": count, "block": math.prod(sizes[i + 1 :])}
        tape.step("accumulate.over", node, {"d": signal, "g": g}, **around)
        signal = g
    return signal


def forward(tape: Tape, node: Node, kernel: str, args: dict[str, str], shapes: Sequence[Shape]) -> None:
    """The step of a node; `args` are its left and right values, `shapes` theirs."""
    given = tape.given(node.output)
    ends = _requantise.held_within(given, node) if given else {}
    signs = {"subtract": 1} if node.attrs.get("subtract") else {}
    walk = loops(shapes[0], shapes[1], node.name)
    tape.step(kernel, node, args | {"y": tape.activation(node)}, **walk, **ends, **signs)


class WithConstant(Layer):
    """A layer of one activation and a constant, which is the left one where the attribute `first` is 1."""

    constants = 1
    holds = True
    kernel: ClassVar[str]  # of its step

    def shape(self, node: Node, shapes: Sequence[Shape]) -> Shape:
        return common(node, shapes)

    def forward(self, tape: Tape, node: Node) -> None:
        x, c = node.inputs
        real = tape.constant(c).reshape(-1)
        kept = Value(f"{node.name}_constant", real.shape, "const", "constant", real, format=tape.given(c))
        values, shapes = [tape.value(x), tape.add(kept)], [tape.shape(x), tape.shape(c)]
        if node.attrs.get("first"):
            values, shapes = values[::-1], shapes[::-1]
        forward(tape, node, self.kernel, dict(zip((LEFT, RIGHT), values, strict=True)), shapes)

    def sample(
        self, rng: np.random.Generator, shapes: Sequence[Shape]
    ) -> tuple[Node, dict[str, NDArray[Any]]] | None:
        shape = shapes[0]
        kept = [n if rng.integers(2) else 1 for n in shape[int(rng.integers(len(shape))) :]]
        return Node(self.op, "", ("in0", "c"), "out"), {"c": rng.normal(0, 1, kept)}


def random_shapes(rng: np.random.Generator) -> tuple[Shape, Shape]:
    """For tests: two shapes that fit, often one and the same."""
    shape = tuple(int(n) for n in rng.integers(1, 6, int(rng.integers(1, 5))))
    if rng.integers(2):
        return shape, shape
    ones = [tuple(1 if rng.integers(3) == 0 else n for n in shape) for _ in range(2)]
    return ones[0], ones[1][int(rng.integers(len(shape))) :]
