"""The activations of a Graph on their way into an ONNX file, in the order of axes that is asked for."""

from __future__ import annotations

import numpy as np

from ..graph import Graph, Node
from ._writer import Writer


class Tensors(Writer):
    """Knows each tensor by its name in the Graph. `first` means channels first, [batch, C, H, W]."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        self._names = {(i, False): i for i in graph.inputs}

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

    @staticmethod
    def name(tensor: str, first: bool) -> str:
        return f"{tensor}/first" if first else tensor
