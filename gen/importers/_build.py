"""How importers write nodes and tensors down as a Graph, and what bounds the size of one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import CompileError
from ..ir.format import Format
from ..ir.graph import Attr, Node, Tensor
from ..ops._window import MAX_WINDOWS
from ._names import Names

# Larger than any network for a chip; they bound what a lying file makes us allocate and compute.
MAX_ELEMENTS = 1 << 22  # of one constant
MAX_ACTIVATION = 1 << 19  # of one activation: half a megabyte even as int8
MAX_TOTAL = (
    1 << 23
)  # of all constants and activations together: a file of 8 MB takes 5 s and 250 MB to compile
MAX_LAYERS = 1000
MAX_MACS = 1 << 27  # of one inference: seconds on a chip
SMALLER = "use a smaller network: fewer channels, as alpha makes them, or a smaller input"

Pair = tuple[int, int]
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sliding:
    """How a kernel moves over a map: (height, width) pairs, and padding (top, left, bottom, right)."""

    kernel: Pair
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)

    def output(self, size: Pair) -> Pair:
        """Height and width of what a map of `size` becomes; below 1 where the kernel does not fit."""
        top, left, bottom, right = self.padding
        padded = (size[0] + top + bottom, size[1] + left + right)
        reach = [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True)]
        h, w = ((n - r) // s + 1 for n, r, s in zip(padded, reach, self.stride, strict=True))
        return h, w


class GraphBuilder:
    """Collects nodes in topological order. Knows no op."""

    def __init__(self) -> None:
        self.names = Names()
        self.notes: list[str] = []
        self._inputs: list[str] = []
        self._tensors: dict[str, Tensor] = {}
        self._nodes: dict[str, Node] = {}
        self._viewed: dict[str, str] = {}  # a view, and the tensor whose values it shows
        self._elements = self._macs = self._seen = 0

    def shape(self, tensor: str) -> Shape:
        return self._tensors[tensor].shape

    def producer(self, tensor: str) -> Node | None:
        """The node that computes the values of `tensor`, in whatever shape; None for an input."""
        return self._nodes.get(self._viewed.get(tensor, tensor))

    def constants(self, node: Node) -> list[np.ndarray]:
        """The constant operands of `node`."""
        values = (self._tensors[i].value for i in node.inputs)
        return [v for v in values if v is not None]

    def input(self, name: str, shape: Shape, source: str) -> str:
        """A new input; returns the name that it got. source: what the model file calls it."""
        name = self.names.take([name], "input")
        self._tensor(name, shape, None, source)
        self._tensors[name] = Tensor(name, shape, source=source)
        self._inputs.append(name)
        return name

    def add(
        self,
        op: str,
        inputs: Sequence[str],
        shape: Shape,
        hints: Sequence[str],
        source: str,
        attrs: Mapping[str, Attr] | None = None,
        constants: Mapping[str, np.ndarray] | None = None,
        called: str = "",
    ) -> str:
        """A node of `op` that gives a tensor of `shape`, whose name is returned.

        hints:     names that it may have, the best first; `called`, or the op's, where none is free
        source:    what the model file calls it
        constants: its last operands, by the ending of their names
        """
        name = self.names.take(hints, called or op)
        rest = tuple(self._constant(f"{name}_{what}", v, source) for what, v in (constants or {}).items())
        self._tensor(name, shape, None, source)
        if len(self._nodes) == MAX_LAYERS:
            raise CompileError(source, f"is layer {MAX_LAYERS + 1}, the most is {MAX_LAYERS}", SMALLER)
        self._nodes[name] = Node(op, name, (*inputs, *rest), name, attrs or {}, source)
        return name

    def hold(
        self, tensor: str, held: Format | None, constants: Sequence[Format | None] = (), rounds: int = 0
    ) -> None:
        """The file holds `tensor`, its views, and the last operands of the node that gives it, in these
        integers; `tensor` itself in none where held is None.

        rounds: how often the node rounds a sum to them (gen/ops/_requantise.py), 0 where it does not
        """
        for name in (tensor, *(view for view, shown in self._viewed.items() if shown == tensor)):
            self._tensors[name] = replace(self._tensors[name], format=held)
        node = self._nodes.get(tensor)
        if node is None:
            return
        if rounds:
            self._nodes[tensor] = replace(node, attrs={**node.attrs, "rounds": rounds})
        for name, fmt in zip(node.inputs[len(node.inputs) - len(constants) :], constants, strict=True):
            self._tensors[name] = replace(self._tensors[name], format=fmt)

    def held(self, tensor: str) -> Format | None:
        """How the file holds a tensor."""
        return self._tensors[tensor].format

    def root(self, tensor: str) -> str:
        """The tensor whose values `tensor` shows."""
        return self._viewed.get(tensor, tensor)

    def value(self, tensor: str) -> np.ndarray:
        """The numbers of a constant."""
        found = self._tensors[tensor].value
        assert found is not None
        return found

    def data(self, node: Node) -> list[str]:
        """The operands of `node` that are computed."""
        return [i for i in node.inputs if self._tensors[i].value is None]

    @property
    def holds_any(self) -> bool:
        """Whether the file holds any tensor in integers."""
        return any(t.format for t in self._tensors.values())

    @property
    def nodes(self) -> tuple[Node, ...]:
        """What is written so far."""
        return tuple(self._nodes.values())

    def readers(self, tensor: str) -> list[Node]:
        """The nodes that read `tensor` or a view of it, views left out."""
        root = self.root(tensor)
        return [
            n
            for n in self._nodes.values()
            if n.output not in self._viewed and any(self.root(i) == root for i in n.inputs)
        ]

    def rewired(self, node: Node, inputs: Sequence[str], attrs: Mapping[str, Attr] | None = None) -> None:
        """`node` computes from other data of the same shapes; `in_order` brings it behind them."""
        constants = node.inputs[len(self.data(node)) :]
        attrs = node.attrs if attrs is None else attrs
        self._nodes[node.name] = replace(node, inputs=(*inputs, *constants), attrs=attrs)

    def revalued(self, constant: str, value: np.ndarray) -> None:
        """Other numbers for a constant."""
        held = np.array(value, dtype=np.float64, order="C")
        held.setflags(write=False)
        self._tensors[constant] = replace(self._tensors[constant], value=held)

    def in_order(self, output: str) -> None:
        """Only what `output` needs, each node behind what it reads."""
        ordered: dict[str, Node] = {}
        todo = [output]
        while todo:
            node = self._nodes.get(todo[-1])
            waits = [] if node is None else [i for i in node.inputs if i in self._nodes and i not in ordered]
            if waits:
                todo += waits
                continue
            todo.pop()
            if node is not None:
                ordered[node.name] = node
        self._nodes = ordered

    def work(self, seen: int, macs: int, source: str) -> None:
        """Counts the values of all windows and the multiplications; CompileError where they are too many."""
        self._macs, self._seen = self._macs + macs, self._seen + seen
        if self._seen > MAX_WINDOWS:
            what = f"with it all windows of the network hold {self._seen} values, the most is {MAX_WINDOWS}"
            raise CompileError(source, what, SMALLER)
        if self._macs > MAX_MACS:
            what = f"with it one inference takes {self._macs} multiplications, the most is {MAX_MACS}"
            raise CompileError(source, what, SMALLER)

    def _constant(self, name: str, value: np.ndarray, source: str) -> str:
        name = self.names.take([name], "constant")
        value = np.array(value, dtype=np.float64, order="C")
        value.setflags(write=False)
        self._tensor(name, value.shape, value, source)
        return name

    def _tensor(self, name: str, shape: Shape, value: np.ndarray | None, source: str) -> None:
        size, most = math.prod(shape), MAX_ACTIVATION if value is None else MAX_ELEMENTS
        self._elements += size
        if size > most or self._elements > MAX_TOTAL:
            what = f"makes {size} values ({self._elements} in all), the most is {most} ({MAX_TOTAL})"
            raise CompileError(source, what, SMALLER)
        self._tensors[name] = Tensor(name, shape, value)
