"""A map [height, width, channels] with rows and columns of zero between its own: a transposed convolution is
a convolution of that. The signal of what was put in between is dropped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from ..ir.graph import Node
from ..ir.tape import Tape
from . import Arrays, Attrs, Bounds, Case, Format, Kernel, Known, Layer
from ._contract import SIZE, Tensors, beyond, takes, within
from ._element_loops import copied
from ._folding import Shape
from ._loops import Cells, Loop, Number

GEOMETRY = within(height=SIZE, width=SIZE, channels=SIZE, stride_h=SIZE, stride_w=SIZE)


class Dilate(Layer):
    op = "dilate"
    follows = True

    def shape(self, node: Node, shapes: Sequence[Shape]) -> Shape:
        (shape,) = shapes
        steps = _strides(node)
        if len(shape) != 3 or min(steps) < 1:
            what = f"puts zeros into {shape}, a value every {steps}"
            raise CompileError(node.name, what, "it takes a map [height, width, channels]")
        return (shape[0] - 1) * steps[0] + 1, (shape[1] - 1) * steps[1] + 1, shape[2]

    def moved(self, node: Node, parts: Sequence[NDArray[Any]], to: Shape, border: int) -> NDArray[Any] | None:
        out = np.full(to, border, parts[0].dtype)
        out[:: _strides(node)[0], :: _strides(node)[1]] = parts[0]
        return out

    def forward(self, tape: Tape, node: Node) -> None:
        x, y = tape.value(node.inputs[0]), tape.activation(node)
        tape.share_format(x, y)
        tape.step("dilate.forward", node, {"x": x, "y": y}, value=0, **_geometry(tape, node))

    def feedback(self, tape: Tape, node: Node, teach: str, matrix: str | None) -> dict[str, str]:
        g = tape.teach(f"{node.name}_input", tape.shape(node.inputs[0]), tie=teach)
        tape.step("dilate.feedback", node, {"d": teach, "g": g}, **_geometry(tape, node))
        return {node.inputs[0]: g}

    def sample(
        self, rng: np.random.Generator, shapes: Sequence[Shape]
    ) -> tuple[Node, dict[str, np.ndarray]] | None:
        if len(shapes) != 1 or len(shapes[0]) != 3:
            return None
        stride = int(rng.integers(1, 4)), int(rng.integers(2, 4))
        return Node("dilate", "", ("in0",), "out", {"stride": stride}), {}


def _strides(node: Node) -> tuple[int, int]:
    down, across = node.wholes("stride")
    return down, across


def _geometry(tape: Tape, node: Node) -> dict[str, int]:
    sizes = (*tape.shape(node.inputs[0]), *_strides(node))
    return dict(zip(GEOMETRY, sizes, strict=True))


def _outer(a: Attrs) -> tuple[int, int, int]:
    """Height, width and channels of the larger map."""
    down, across = (a["height"] - 1) * a["stride_h"] + 1, (a["width"] - 1) * a["stride_w"] + 1
    return down, across, a["channels"]


def _places(whole: NDArray[Any], a: Attrs) -> NDArray[Any]:
    """A view of the map's own values in the larger map [D, n], [D, height, width, channels]."""
    return whole.reshape(len(whole), *_outer(a))[:, :: a["stride_h"], :: a["stride_w"]]


def _sizes(a: Attrs) -> dict[str, int]:
    return {"inner": a["height"] * a["width"] * a["channels"], "outer": int(np.prod(_outer(a), dtype=object))}


SIZES = {"sizes": tuple(GEOMETRY)}


def _forward(x: Cells, y: Cells, sizes: Number, value: int) -> None:
    height, width, channels, down, across = sizes
    line = (width - 1) * across + 1
    y[:] = value
    for r in range(height):
        for c in range(width):
            place = r * down * line + c * across
            copied(y, place * channels, x, (r * width + c) * channels, channels)


def _feedback(d: Cells, g: Cells, sizes: Number) -> None:
    height, width, channels, down, across = sizes
    line = (width - 1) * across + 1
    for r in range(height):
        for c in range(width):
            place = r * down * line + c * across
            copied(g, (r * width + c) * channels, d, place * channels, channels)


class Forward(Kernel):
    """y[y stride_h, x stride_w] = x[y, x]; value, which stands for 0, everywhere else."""

    name = "dilate.forward"
    loop = Loop(_forward, SIZES)
    reads = ("x",)
    writes = ("y",)
    operands = takes(x="int8|int16 [inner]", y="=x [outer]")
    attributes = within(GEOMETRY, value=(-(2**15), 2**15 - 1))

    def sizes(self, a: Attrs) -> dict[str, int]:
        return _sizes(a)

    def misfit(self, t: Tensors, a: Attrs) -> str:
        return beyond(t["y"], a["value"], a["value"])

    def integer(self, t: Arrays, a: Attrs) -> None:
        t["y"][...] = a["value"]
        inside = _places(t["y"], a)
        inside[...] = t["x"].reshape(inside.shape)

    real = integer

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        if f["x"].meaning != f["y"].meaning:
            what = f"its input has {f['x'].meaning}, its output {f['y'].meaning}: moving does not rescale"
            raise CompileError(where, what, "report this model")
        held = min(max(f["y"].meaning.unit(0.0), f["y"].lo), f["y"].hi)
        return super().lower(f, a, where) | {"value": held}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        x, between = k["x"], k["y"].shape[0] - k["x"].shape[0]
        lo, hi = (min(x.lo, a["value"]), max(x.hi, a["value"])) if between else (x.lo, x.hi)
        return [], {"y": (lo, hi, x.l1 + between * abs(a["value"]))}

    def case(self, rng: np.random.Generator) -> Case:
        a = _random(rng)
        dtype = np.int16 if rng.integers(2) else np.int8
        x = rng.integers(-128, 128, _sizes(a)["inner"]).astype(dtype)
        value = int(rng.choice([0, int(rng.integers(-128, 128))]))
        return Case({"x": x, "y": np.zeros(_sizes(a)["outer"], dtype)}, a | {"value": value}, {})


class Feedback(Kernel):
    """g is d where the map's own values stand."""

    name = "dilate.feedback"
    loop = Loop(_feedback, SIZES)
    reads = ("d",)
    writes = ("g",)
    operands = takes(d="int16 [outer]", g="=d [inner]")
    attributes = GEOMETRY

    def sizes(self, a: Attrs) -> dict[str, int]:
        return _sizes(a)

    def integer(self, t: Arrays, a: Attrs) -> None:
        t["g"][...] = _places(t["d"], a).reshape(t["g"].shape)

    real = integer

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return [], {"g": (k["d"].lo, k["d"].hi, min(k["d"].l1, k["g"].shape[0] * k["d"].mag))}

    def case(self, rng: np.random.Generator) -> Case:
        a = _random(rng)
        d = rng.integers(-(2**15), 2**15, _sizes(a)["outer"]).astype(np.int16)
        return Case({"d": d, "g": np.zeros(_sizes(a)["inner"], np.int16)}, a, {})


def _random(rng: np.random.Generator) -> dict[str, int]:
    tops = {"height": 5, "width": 6, "channels": 5, "stride_h": 4, "stride_w": 4}
    return {key: int(rng.integers(1, top)) for key, top in tops.items()}
