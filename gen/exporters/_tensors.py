"""The activations of a Graph on their way into an ONNX file, in the order of axes that is asked for."""

from __future__ import annotations

import math

import numpy as np

from ..ir.format import Format
from ..ir.graph import Graph, Node
from ._writer import Writer


class Tensors(Writer):
    """Knows each tensor by its name in the Graph. `first` means channels first, [batch, C, H, W]."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        self._names = {(i, False): self._normalised(i) for i in graph.inputs}

    def _normalised(self, tensor: str) -> str:
        """An input as the layers take it: behind the offset and scale that its quantiser has."""
        name = tensor
        if tensor in self.graph.quantisers:
            shape = self.shape(tensor)
            pair = self.graph.quantisers[tensor].each(math.prod(shape))
            for op, what, value, idle in zip(("Sub", "Mul"), ("offset", "scale"), pair, (0, 1), strict=True):
                if np.any(value != idle):
                    operand = self.constant(f"{tensor}.{what}", _short(value.reshape(shape)))
                    name = self.node(op, [name, operand], f"{tensor}/{what}", f"{tensor}_{what}")
        return name

    def shape(self, tensor: str) -> tuple[int, ...]:
        return self.graph.tensors[tensor].shape

    def value(self, tensor: str) -> np.ndarray:
        """The content of a constant, as files hold it."""
        content = self.graph.tensors[tensor].value
        assert content is not None, tensor
        return content.astype(np.float32)

    def is_first(self, tensor: str) -> bool:
        """Whether the tensor has so far been written channels first alone."""
        return (tensor, False) not in self._names

    def get(self, tensor: str, first: bool = False) -> str:
        """The tensor's name in the file, transposed where it was written in the other order."""
        if (tensor, first) not in self._names:
            rank = len(self.shape(tensor))
            order = [0, rank, *range(1, rank)] if first else [0, *range(2, rank + 1), 1]
            source, target = self._names[tensor, not first], self.name(tensor, first)
            self._names[tensor, first] = self.node("Transpose", [source], target, "", perm=order)
        return self._names[tensor, first]

    def put(self, op: str, inputs: list[str], node: Node, first: bool = False, **attrs: object) -> None:
        """The last operator of a layer: its result is the layer's output, in this order of axes."""
        target = self.name(node.output, first)
        self._names[node.output, first] = self.node(op, inputs, target, node.name, **attrs)

    def hold(self, node: Node, held: Format) -> None:
        """The layer's output within what the integers of a model file hold: its fused activation is there."""
        first = self.is_first(node.output)
        limits = zip(("min", "max"), held.meaning.real([held.lo, held.hi]), strict=True)
        ends = [self.constant(f"{node.name}.{what}", np.array(v, np.float32)) for what, v in limits]
        target = f"{self.name(node.output, first)}/within"
        name = self.node("Clip", [self._names[node.output, first], *ends], target, f"{node.name}_held")
        self._names[node.output, first] = name

    @staticmethod
    def name(tensor: str, first: bool) -> str:
        return f"{tensor}/first" if first else tensor


def _short(value: np.ndarray) -> np.ndarray:
    """One in place of many along each axis along which all are alike: runtimes broadcast."""
    for axis in range(value.ndim):
        first = value.take([0], axis)
        if np.all(value == first):
            value = first
    return value
