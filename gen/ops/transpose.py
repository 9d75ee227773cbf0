"""Axes in another order. The teaching signal goes back in the inverse order, through the same kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from ..ir.graph import Node
from ..ir.plan import PlanTensor
from ..ir.tape import Tape
from . import Arrays, Attrs, Bounds, Case, Format, Kernel, Known, Layer
from ._contract import SIZE, Tensors, takes, within
from ._element_loops import runs
from ._folding import Shape
from ._loops import Cells, Loop

AXES = 4


class Transpose(Layer):
    op = "transpose"
    follows = True
    rearranges = True

    def shape(self, node: Node, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
        (shape,) = shapes
        axes = order(node)
        if len(shape) > AXES or sorted(axes) != list(range(len(shape))):
            raise CompileError(
                node.name,
                f"cannot bring the axes of {shape} into the order {axes}",
                f"give each axis once; up to {AXES} axes can be moved",
            )
        return tuple(shape[axis] for axis in axes)

    def moved(self, node: Node, parts: Sequence[NDArray[Any]], to: Shape, border: int) -> NDArray[Any] | None:
        return parts[0].transpose(order(node))

    def forward(self, tape: Tape, node: Node) -> None:
        loops = _loops(tape.shape(node.inputs[0]), order(node))
        if not loops:
            tape.bind(node.output, tape.value(node.inputs[0]))
            return
        x, y = tape.value(node.inputs[0]), tape.activation(node)
        tape.share_format(x, y)
        tape.step("transpose.permute", node, {"x": x, "y": y}, **loops)

    def feedback(self, tape: Tape, node: Node, teach: str, matrix: str | None) -> dict[str, str]:
        loops = _loops(tape.shape(node.output), tuple(int(i) for i in np.argsort(order(node))))
        if not loops:
            return {node.inputs[0]: teach}
        g = tape.teach(f"{node.name}_input", tape.shape(node.inputs[0]), tie=teach)
        tape.step("transpose.permute", node, {"x": teach, "y": g}, **loops)
        return {node.inputs[0]: g}

    def sample(
        self, rng: np.random.Generator, shapes: Sequence[tuple[int, ...]]
    ) -> tuple[Node, dict[str, np.ndarray]] | None:
        if len(shapes[0]) not in range(2, AXES + 1):
            return None
        axes = tuple(int(axis) for axis in rng.permutation(len(shapes[0])))
        return Node("transpose", "", ("in0",), "out", {"order": axes}), {}


def order(node: Node) -> tuple[int, ...]:
    return node.wholes("order")


def _loops(shape: tuple[int, ...], axes: tuple[int, ...]) -> dict[str, int]:
    """Counts n0 .. and strides s0 .. in the input of the loops over the output, the outermost first.

    Axes of one element and axes that stay side by side need no loop of their own; empty if nothing moves.
    """
    strides = [int(np.prod(shape[axis + 1 :])) for axis in range(len(shape))]
    loops: list[tuple[int, int]] = []
    for axis in (a for a in axes if shape[a] > 1):
        n, stride = shape[axis], strides[axis]
        if loops and loops[-1][1] == n * stride:
            loops[-1] = loops[-1][0] * n, stride
        else:
            loops.append((n, stride))
    if len(loops) < 2:
        return {}
    named = enumerate(loops)
    return {key: value for i, loop in named for key, value in zip((f"n{i}", f"s{i}"), loop, strict=True)}


@cache
def _places(*loops: int) -> NDArray[np.intp]:
    """Which element of the input each one of the output is."""
    places = np.zeros(1, np.intp)
    for n, stride in zip(loops[::2], loops[1::2], strict=True):
        places = (places[:, None] + np.arange(n) * stride).ravel()
    return places


def _tables(t: Mapping[str, PlanTensor], a: Attrs) -> dict[str, NDArray[Any]]:
    starts, inner = runs([(a[f"n{i}"], a[f"s{i}"]) for i in range(len(a) // 2)])
    return {"starts": starts, "inner": inner}


def _permute(x: Cells, y: Cells, starts: Cells, inner: Cells) -> None:
    count, stride = inner[0], inner[1]
    for k in range(len(starts)):
        for i in range(count):
            y[k * count + i] = x[starts[k] + i * stride]


class Permute(Kernel):
    """y[i0, i1, ...] = x[i0 s0 + i1 s1 + ...], i0 < n0, i1 < n1, ..."""

    name = "transpose.permute"
    loop = Loop(_permute, tables=_tables)
    reads = ("x",)
    writes = ("y",)
    moves = True
    operands = takes(x="int8|int16 [n]", y="=x [n]")
    attributes = within({f"{key}{i}": SIZE for key in "ns" for i in range(AXES)})
    spare = tuple(f"{key}{i}" for key in "ns" for i in range(2, AXES))

    def misfit(self, t: Tensors, a: Attrs) -> str:
        """Whether the loops do not reach every element once: what to say of it."""
        number = len(a) // 2
        if {*a} != {f"{key}{i}" for key in "ns" for i in range(number)}:
            return f"attributes {', '.join(sorted(a))} are no loops"
        reached = 1
        for stride, n in sorted((a[f"s{i}"], a[f"n{i}"]) for i in range(number)):
            if stride != reached:
                break
            reached *= n
        else:
            return "" if reached == t["x"].shape[0] else f"the loops reach {reached} of {t['x'].shape[0]}"
        return f"a stride of {stride} is none of its loops"

    def integer(self, t: Arrays, a: Attrs) -> None:
        loops = (int(a[f"{key}{i}"]) for i in range(len(a) // 2) for key in "ns")
        t["y"][...] = t["x"][:, _places(*loops)]

    real = integer

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        if f["x"].meaning != f["y"].meaning:
            what = f"its input has {f['x'].meaning}, its output {f['y'].meaning}: moving does not rescale"
            raise CompileError(where, what, "report this model")
        return super().lower(f, a, where)

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return [], {"y": (k["x"].lo, k["x"].hi, k["x"].l1)}

    def case(self, rng: np.random.Generator) -> Case:
        loops: dict[str, int] = {}
        while not loops:
            rank = int(rng.integers(2, AXES + 1))
            shape = tuple(int(n) for n in rng.integers(1, 7, rank))
            loops = _loops(shape, tuple(int(axis) for axis in rng.permutation(rank)))
        dtype = np.int16 if rng.integers(2) else np.int8
        info = np.iinfo(dtype)
        x = rng.integers(info.min, info.max + 1, np.prod(shape)).astype(dtype)
        return Case({"x": x, "y": np.zeros_like(x)}, loops, {})
