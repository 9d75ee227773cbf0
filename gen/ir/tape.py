"""What layers write on: the forward program of a network, and the learning programs that follow it.

A layer sees a Tape as the place where its steps go, and learns from it where a tensor of the graph is held.
What a rule may say beside that is gen.rules.RuleTape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from .. import numeric
from ..spec import RuleSpec
from .format import Format
from .graph import Graph, Node
from .program import Builder, Number, Space, Value


@dataclass(frozen=True, slots=True)
class Signs:
    """The signs of a layer's weights as a feedback matrix: +-2^-frac."""

    weight: str
    shape: tuple[int, ...]
    frac: int


class Tape:
    """The steps of one compilation, by program, and the values they name."""

    def __init__(self, graph: Graph, spec: RuleSpec, learned: tuple[str, ...]) -> None:
        self.graph, self.spec, self.learned = graph, spec, learned
        self.b = Builder()
        self._bound: dict[str, str] = {}
        self._ids: dict[str, int] = {}
        self._generated: dict[str, dict[str, int]] = {}
        self._signs: dict[str, Signs] = {}
        self.shared: list[tuple[str, str]] = []
        self._upstream = self._learned_upstream()

    def shape(self, tensor: str) -> tuple[int, ...]:
        return self.graph.tensors[tensor].shape

    def constant(self, tensor: str) -> np.ndarray:
        value = self.graph.tensors[tensor].value
        assert value is not None, tensor
        return value

    def given(self, tensor: str) -> Format | None:
        """How the model file holds a tensor in integers; None where that is ours to choose."""
        return self.graph.tensors[tensor].format

    def value(self, tensor: str) -> str:
        """The value that holds a tensor of the graph."""
        return self._bound[tensor]

    def bind(self, tensor: str, value: str) -> None:
        self._bound[tensor] = value

    def add(self, value: Value) -> str:
        return self.b.add(value)

    def activation(self, node: Node) -> str:
        """A new value for node's output. Arena values are flat: an op knows its own geometry."""
        size = int(np.prod(self.shape(node.output)))
        name = self.b.add(Value(node.name, (size,), "arena", "activation", format=self.given(node.output)))
        self.bind(node.output, name)
        return name

    def share_format(self, x: str, y: str) -> None:
        """y is x held within limits and has x's number format; whose range decides is settled afterwards.

        Not where a model file brought the format.
        """
        if self.b.values[y].format is None:
            self.shared.append((x, y))

    def teach(self, name: str, shape: tuple[int, ...], tie: str = "") -> str:
        full = f"{name}_teach"
        i = 1
        while full in self.b.values:
            i += 1
            full = f"{name}_teach{i}"
        return self.b.add(Value(full, (int(np.prod(shape)),), "arena", "teach", tie=tie))

    def counter(self, name: str, note: str, start: int = 0, space: Space = "state") -> str:
        return self.b.once(Value(name, (1,), space, "counter", ints=np.array([start], np.uint32), note=note))

    def saturations(self, node: Node) -> str:
        """The counter of what was held at a limit while a layer learned."""
        return self.counter(
            f"{node.name}_saturated", f"how often a learned value of {node.name} met its limit"
        )

    def flag(self, name: str) -> str:
        return self.b.once(Value(name, (1,), "arena", "flag"))

    def is_learned(self, node: Node) -> bool:
        return node.name in self.learned

    def alike(self, weight: str) -> None:
        """Signals pass through this weight: its rows need one frac (learned weights have one anyway)."""
        self.b.values[weight] = replace(self.b.values[weight], rows_alike=True)

    def tensor_id(self, name: str) -> int:
        """The number under which the generator knows a tensor: in order of first use."""
        return self._ids.setdefault(name, len(self._ids))

    def rounding(self, tensor: str) -> dict[str, int]:
        return {
            "rounding": numeric.Rounding.NAMES[self.spec.rounding],
            "seed": self.spec.seed,
            "tensor": self.tensor_id(tensor),
        }

    def step(self, kernel: str, node: Node | str, args: Mapping[str, str], **attrs: Number) -> None:
        self.b.step(kernel, node if isinstance(node, str) else node.name, args, **attrs)

    def project(self, node: Node | str, teach: str, matrix: str, out: str) -> None:
        """out = matrix^T teach, whatever the matrix is stored as."""
        value = self.b.values.get(matrix)
        if value is not None:
            self.step("project.matrix", node, {"d": teach, "m": matrix, "g": out})
            return
        if matrix in self._signs:
            signs = self._signs[matrix]
            self.step("signs.project", node, {"d": teach, "w": signs.weight, "g": out}, frac=signs.frac)
            return
        generated = self._generated[matrix]
        acc = self.b.add(Value(f"{out}_sum", (generated["cols"],), "arena", "scratch"))
        self.step("project.generated", node, {"d": teach, "acc": acc, "g": out}, **generated)

    def stored(self, node: Node, matrix: str) -> str:
        """The value that holds a matrix: one that is regenerated, or follows from weights, is written into
        the arena first."""
        if matrix in self.b.values:
            return matrix
        if matrix in self._signs:
            signs = self._signs[matrix]
            held = Format("int8", signs.frac, -1, 1)
            out = self.b.add(Value(matrix, signs.shape, "arena", "matrix", format=held))
            self.step("signs.expand", node, {"w": signs.weight, "m": out}, frac=signs.frac)
            return out
        made = self._generated[matrix]
        ints = numeric.feedback_matrix(
            made["seed"], made["tensor"], made["rows"], made["cols"], bool(made["ternary"])
        )
        real = ints * 2.0 ** -made["frac"]
        out = self.b.add(Value(matrix, ints.shape, "arena", "matrix", real, ints=ints))
        self.step("project.expand", node, {"m": out}, **made)
        return out

    def sum(self, tensor: str, a: str, b: str) -> str:
        """The teaching signal of a tensor that hears from two places."""
        g = self.teach(f"{tensor}_sum", self.shape(tensor))
        self.step("accumulate.add", tensor, {"left": a, "right": b, "g": g})
        return g

    def wants_teach(self, tensor: str) -> bool:
        """Whether a learned layer lies behind this tensor, and hears of it."""
        return self._upstream[tensor]

    def _learned_upstream(self) -> dict[str, bool]:
        constants = [t.name for t in self.graph.tensors.values() if t.value is not None]
        up = dict.fromkeys((*self.graph.inputs, *constants), False)
        for node in self.graph.nodes:
            heard = any(up[i] for i in node.inputs) and not self.is_deaf(node) and not self.is_step(node)
            up[node.output] = node.name in self.learned or heard
        return up

    def is_deaf(self, node: Node) -> bool:
        """Whether its output never changes, so that no teaching signal passes it."""
        return False

    def is_step(self, node: Node) -> bool:
        """Whether its output only jumps, so that no teaching signal passes it."""
        return False
