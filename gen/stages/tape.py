"""What layers and rules write on: the forward program of a network, and its learning programs.

Layers see a Tape as the place where their steps go. Rules see the learned layers in order, the error at the
output, and four verbs: `backward` (carry signals down through matrices the rule chooses), `direct` (inject
the error at a layer), `fixed_matrix` and `twin` (make feedback matrices). No rule knows an op by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from .. import numeric
from ..ir.graph import Graph, Node
from ..ir.program import Builder, Number, Space, Value
from ..ops import kernel, layer
from ..spec import RuleSpec

MatrixOf = Callable[[Node], str | None]


class Tape:
    """The steps of one compilation, by program, and the values they name. `error` is set before rules run."""

    def __init__(self, graph: Graph, spec: RuleSpec, learned: tuple[str, ...]) -> None:
        self.graph, self.spec, self.learned = graph, spec, learned
        self.b = Builder()
        self.error = ""
        self._bound: dict[str, str] = {}
        self._ids: dict[str, int] = {}
        self._jacobians: Mapping[str, np.ndarray] = {}
        self._generated: dict[str, dict[str, int]] = {}
        self._shared: list[tuple[str, str]] = []
        self._upstream = self._learned_upstream()

    # -- what layers use ------------------------------------------------------------------------------------

    def shape(self, tensor: str) -> tuple[int, ...]:
        return self.graph.tensors[tensor].shape

    def constant(self, tensor: str) -> np.ndarray:
        value = self.graph.tensors[tensor].value
        assert value is not None, tensor
        return value

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
        name = self.b.add(Value(node.name, (size,), "arena", "activation"))
        self.bind(node.output, name)
        return name

    def share_format(self, x: str, y: str) -> None:
        """y is x held within limits and has x's number format; `settle_formats` says whose range decides."""
        self._shared.append((x, y))

    def settle_formats(self) -> None:
        """Once the forward program is written. x takes y's format, because what y cuts off need not fit x;
        where x has other readers, or shares its format already, y takes that of x."""
        steps = self.b.written()
        reads = [s.args[role] for s in steps for role in kernel(s.kernel).reads if role in s.args]
        for x, y in self._shared:
            if reads.count(x) == 1 and not self.b.values[x].tie:
                self.b.retie(x, y)
            else:
                self.b.retie(y, x)

    def teach(self, name: str, shape: tuple[int, ...], tie: str = "") -> str:
        full = f"{name}_teach"
        i = 1
        while full in self.b.values:
            i += 1
            full = f"{name}_teach{i}"
        return self.b.add(Value(full, (int(np.prod(shape)),), "arena", "teach", tie=tie))

    def counter(self, name: str, note: str, start: int = 0, space: Space = "state") -> str:
        return self.b.once(Value(name, (1,), space, "counter", ints=np.array([start], np.uint32), note=note))

    def flag(self, name: str) -> str:
        return self.b.once(Value(name, (1,), "arena", "flag"))

    def is_learned(self, node: Node) -> bool:
        return node.name in self.learned

    def alike(self, weight: str) -> None:
        """Signals pass through this weight: its rows need one frac (learned weights have one anyway)."""
        self.b.values[weight] = replace(self.b.values[weight], note="rows alike")

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
        generated = self._generated[matrix]
        acc = self.b.add(Value(f"{out}_sum", (generated["cols"],), "arena", "scratch"))
        self.step("project.generated", node, {"d": teach, "acc": acc, "g": out}, **generated)

    def stored(self, node: Node, matrix: str) -> str:
        """The value that holds a matrix: a regenerated one is written into the arena first."""
        if matrix in self.b.values:
            return matrix
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
        """Whether a learned layer lies behind this tensor."""
        return self._upstream[tensor]

    # -- what rules use -------------------------------------------------------------------------------------

    @property
    def learned_nodes(self) -> tuple[Node, ...]:
        """The layers that learn, from the input to the output."""
        return tuple(n for n in self.graph.nodes if n.name in self.learned)

    def rate(self, node: Node) -> int:
        return self.spec.rate_of(node.name)

    def update(self, node: Node, teach: str, twin: str | None = None) -> None:
        layer(node.op).update(self, node, teach, self.rate(node), twin)

    def backward(
        self,
        matrix_of: MatrixOf,
        twin_of: MatrixOf = lambda node: None,
        visit: Callable[[Node, str], None] | None = None,
    ) -> None:
        """Carries the error from the output down to the lowest learned layer; each learned layer changes.

        A layer passes the signal on before it changes. `matrix_of` gives the feedback matrix of a weighted
        layer (None: its own weights), `twin_of` the matrix that is to change as its weights do. `visit` sees
        the signal of each node's output in place of the changes.
        """
        signals = {self.graph.output: self.error}
        for node in reversed(self.graph.nodes):
            teach = signals.pop(node.output, None)
            if teach is None:
                continue
            if any(self._upstream.get(i, False) for i in node.inputs):
                matrix = matrix_of(node) if layer(node.op).weighted else None
                for name, signal in layer(node.op).feedback(self, node, teach, matrix).items():
                    if self._upstream[name]:
                        signals[name] = self.sum(name, signals[name], signal) if name in signals else signal
            if visit:
                visit(node, teach)
            elif self.is_learned(node):
                self.update(node, teach, twin_of(node))

    def direct(self, node: Node) -> None:
        """Teaches one layer with the error itself, through its own matrix, injected behind its activation."""
        tail, at = self._tail(node), self.injection(node)
        if at == self.graph.output:
            teach = self.error
        else:
            matrix = self.fixed_matrix(f"{node.name}_direct", at)
            teach = self.teach(f"{node.name}_direct", self.shape(at))
            self.project(node, self.error, matrix, teach)
        for n in reversed(tail):
            teach = layer(n.op).feedback(self, n, teach, None)[n.inputs[0]]
        self.update(node, teach)

    def injection(self, node: Node) -> str:
        """The tensor behind a layer's activation, where a direct signal enters."""
        tail = self._tail(node)
        return tail[-1].output if tail else node.output

    def fixed_matrix(self, name: str, target: str, like: Node | None = None) -> str:
        """A feedback matrix that never changes, as the rule file asks, times feedback.gain.

        [C, n] from the error to tensor `target`, or in the shape of the weights of `like`. Aligned: the
        weights, or the mean of d logits / d target over the calibration data; random: of the same mean
        square.
        """
        name = f"{name}_feedback"
        if self.b.has(name, "matrix") or name in self._generated:
            return name
        ideal = self.constant(like.inputs[1]) if like else self._jacobians[target]
        fb = self.spec.feedback
        if fb.init == "aligned":
            return self.b.add(Value(name, ideal.shape, "const", "matrix", ideal * fb.gain))
        frac, m = self._random(name, ideal, fb.init == "ternary", fb.gain)
        if fb.storage == "generated":
            self._generated[name] = {
                "rows": ideal.shape[0],
                "cols": ideal.shape[1],
                "seed": self.spec.seed,
                "tensor": self.tensor_id(name),
                "ternary": int(fb.init == "ternary"),
                "frac": frac,
            }
            return name
        return self.b.add(Value(name, ideal.shape, "const", "matrix", m * 2.0**-frac, ints=m))

    def twin(self, node: Node) -> str:
        """A learned feedback matrix in RAM for a weighted layer, with the number format of its weights."""
        name, weight = f"{node.name}_feedback", f"{node.name}_weight"
        if not self.b.has(name, "weight"):
            ideal, fb = self.constant(node.inputs[1]), self.spec.feedback
            if fb.init == "aligned":
                start = ideal * fb.gain
            else:
                _, m = self._random(name, ideal, fb.init == "ternary", fb.gain)
                rms = float(np.sqrt(np.mean(m.astype(float) ** 2))) or 1.0
                start = m / rms * _rms(ideal) * fb.gain
            self.b.add(Value(name, ideal.shape, "state", "weight", start, tie=weight, learned=True))
        return name

    # -- inside ---------------------------------------------------------------------------------------------

    def _random(self, name: str, ideal: np.ndarray, ternary: bool, gain: float) -> tuple[int, np.ndarray]:
        """(frac, int8 matrix) whose mean square is, to a power of two, that of `ideal`."""
        rows, cols = ideal.shape
        m = numeric.feedback_matrix(self.spec.seed, self.tensor_id(name), rows, cols, ternary)
        unit = np.sqrt(0.5) if ternary else 127 / np.sqrt(3)
        return int(np.round(np.log2(unit / (_rms(ideal) * gain)))), m

    def _tail(self, node: Node) -> list[Node]:
        """The pointwise layers behind a node that only it feeds, in order."""
        tail: list[Node] = []
        at = node.output
        while at != self.graph.output:
            after = self.graph.consumers(at)
            if len(after) != 1 or not layer(after[0].op).pointwise:
                break
            tail.append(after[0])
            at = after[0].output
        return tail

    def _learned_upstream(self) -> dict[str, bool]:
        constants = [t.name for t in self.graph.tensors.values() if t.value is not None]
        up = dict.fromkeys((*self.graph.inputs, *constants), False)
        for node in self.graph.nodes:
            up[node.output] = node.name in self.learned or any(up[i] for i in node.inputs)
        return up

    def set_jacobians(self, jacobians: Mapping[str, np.ndarray]) -> None:
        """Takes mean d logits / d tensor over the calibration data, [C, n], of tensors rules inject at."""
        self._jacobians = jacobians


def _rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x)))) or 1.0
