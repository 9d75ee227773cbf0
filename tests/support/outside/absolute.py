"""An op from outside that model files hold: y = |x|. Also read from ONNX, written there, counted alone."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from synapcc.gen import numeric
from synapcc.gen.ir.graph import Node
from synapcc.gen.ir.tape import Tape
from synapcc.gen.ops import Arrays, Attrs, Bounds, Case, Format, Kernel, Known, Layer, takes, within
from synapcc.gen.ops._bench import Alone, Line


class Absolute(Layer):
    op = "absolute"
    pointwise = True

    def shape(self, node: Node, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
        return shapes[0]

    def least(self, node: Node) -> float:
        return 0.0

    def forward(self, tape: Tape, node: Node) -> None:
        x, y = tape.value(node.inputs[0]), tape.activation(node)
        tape.share_format(x, y)
        tape.step("absolute.forward", node, {"x": x, "y": y})

    def feedback(self, tape: Tape, node: Node, teach: str, matrix: str | None) -> dict[str, str]:
        x = node.inputs[0]
        g = tape.teach(f"{node.name}_input", tape.shape(x), tie=teach)
        tape.step("absolute.feedback", node, {"x": tape.value(x), "d": teach, "g": g})
        return {x: g}

    def sample(
        self, rng: np.random.Generator, shapes: Sequence[tuple[int, ...]]
    ) -> tuple[Node, dict[str, np.ndarray]] | None:
        return Node("absolute", "", ("in0",), "out"), {}


class Forward(Kernel):
    name = "absolute.forward"
    reads = ("x",)
    writes = ("y",)
    operands = takes(x="int8 [n]", y="int8 [n]")
    attributes = within(hi=(0, 127))

    def integer(self, t: Arrays, a: Attrs) -> None:
        t["y"][...] = numeric.saturate(np.abs(t["x"].astype(np.int32)), 0, a["hi"])

    def real(self, t: Arrays, a: Attrs) -> None:
        t["y"][...] = np.abs(t["x"])

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        return {"hi": f["y"].hi}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        hi = min(k["x"].mag, a["hi"])
        return [], {"y": (0, hi, k["y"].shape[0] * hi)}

    def case(self, rng: np.random.Generator) -> Case:
        x = rng.integers(-128, 128, int(rng.integers(1, 40))).astype(np.int8)
        return Case({"x": x, "y": np.zeros_like(x)}, {"hi": 127}, {})


class Feedback(Kernel):
    """g = d where x > 0, -d where x < 0, else 0; d lies within 15 bits and its sign."""

    name = "absolute.feedback"
    reads = ("x", "d")
    writes = ("g",)
    operands = takes(x="int8 [n]", d="int16 [n]", g="int16 [n]")
    attributes = within(hi=(0, 2**15 - 1))

    def integer(self, t: Arrays, a: Attrs) -> None:
        g = np.sign(t["x"].astype(np.int32)) * t["d"].astype(np.int32)
        t["g"][...] = numeric.saturate(g, -a["hi"], a["hi"])

    def real(self, t: Arrays, a: Attrs) -> None:
        t["g"][...] = np.sign(t["x"]) * t["d"]

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        return {"hi": f["g"].hi}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        top = min(k["d"].mag, a["hi"])
        return [], {"g": (-top, top, k["d"].l1)}

    def case(self, rng: np.random.Generator) -> Case:
        x = rng.integers(-2, 3, int(rng.integers(1, 40))).astype(np.int8)
        d = rng.integers(-(2**15), 2**15, x.size).astype(np.int16)
        return Case({"x": x, "d": d, "g": np.zeros_like(d)}, {"hi": 2**15 - 1}, {})


class AbsoluteAlone(Alone):
    name = "absolute"
    grammar = r"(?P<n>\d+)"
    example = "absolute 64"
    phases = ("infer",)
    kernels = "absolute."

    def write(self, line: Line, words: Mapping[str, str]) -> None:
        line.input(int(words["n"]))
        line.add("absolute")
        line.classes()


def _read(scope: Any, node: Any, args: Any) -> Any:
    """The row of the operator GlobalLpPool with p = 1, over a map of one value: its magnitude."""
    x = args[0]
    y = scope.builder.add("absolute", [x.tensor], scope.builder.shape(x.tensor), [node.name], node.source)
    return replace(x, tensor=y)


def _layer(t: Any, node: Node) -> None:
    first = t.is_first(node.inputs[0])
    t.put("Abs", [t.get(node.inputs[0], first)], node, first)


def _kernel(q: Any, step: Any) -> None:
    top = q.constant(f"int/{q.attr(step, 'hi')}", np.array(q.attr(step, "hi"), np.int32))
    q.put(step.args["y"], q.then(step, "Min", [q.then(step, "Abs", [q.known(step, "x")]), top]))


ONNX_OPERATORS = {"GlobalLpPool": _read}
ONNX_LAYERS = {"absolute": _layer}
ONNX_KERNELS = {"absolute.forward": _kernel}
