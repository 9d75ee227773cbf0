"""What rules write on: a Tape, the learned layers in order, the error at the output, and verbs.

`backward` carries signals down through matrices that the rule chooses, `direct` injects an error at a layer,
`fixed_matrix`, `twin` and `signs` make feedback matrices, `ternary` and `target_error` other errors. No rule
knows an op by name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache

import numpy as np

from .. import numeric
from ..errors import CompileError
from ..ir.format import Format, Meaning
from ..ir.graph import Graph, Node
from ..ir.inputs import TARGET
from ..ir.program import Entry, Value
from ..ir.roles import Role
from ..ir.tape import Signs, Tape
from ..ops import layer
from ..spec import INFERENCE_ONLY, RuleSpec

MatrixOf = Callable[[Node], str | None]

_NAME = re.compile(r"[a-z][a-z0-9_]*")


class RuleTape(Tape):
    """A Tape as rules see it."""

    def __init__(self, graph: Graph, spec: RuleSpec, learned: tuple[str, ...]) -> None:
        super().__init__(graph, spec, learned)
        self._jacobians: Callable[[], Mapping[str, np.ndarray]] = dict
        self._large: Callable[[], float] = lambda: 1.0
        self.entries: list[Entry] = []

    def is_deaf(self, node: Node) -> bool:
        values = (self.graph.tensors[i].value for i in node.inputs)
        return layer(node.op).deaf([v for v in values if v is not None])

    @property
    def logits(self) -> str:
        """The scores, int16 [C]."""
        return self.value(self.graph.output)

    @property
    def scores(self) -> int:
        """How many scores there are."""
        return self.b.values[self.logits].size

    @property
    def binary(self) -> bool:
        """Whether one output tells two classes apart, as where something learns."""
        return self.scores == 1 and self.spec.rule != INFERENCE_ONLY and not self.spec.numbers

    @property
    def classes(self) -> int:
        return 2 if self.binary else self.scores

    @property
    def verdict(self) -> str:
        """Winner and margin, which `infer` leaves behind."""
        return self.b.once(Value("verdict", (2,), "arena", "verdict"))

    @property
    def label(self) -> str:
        """The label of the sample in the arena."""
        return self.b.once(Value("label", (1,), "arena", "label"))

    @property
    def target(self) -> str:
        """What the scores of the sample in the arena should be, in their format."""
        return self.b.once(Value(TARGET, (self.scores,), "arena", "sample", tie=self.logits, use="input"))

    @property
    def wanted(self) -> str:
        """What a learning step is told of the sample in the arena: its label, or its target; "" where that
        is the sample itself."""
        return "" if self.spec.itself else self.target if self.spec.numbers else self.label

    @property
    def samples_learned(self) -> str:
        """The counter of learning steps; randomness of a step is keyed by it."""
        return self.counter("step", "samples learned from")

    @property
    def error(self) -> str:
        """d loss / d scores [C]. It is written by `emit_loss`, and by nothing else."""
        role: Role = "teach" if self.spec.numbers else "error"  # numbers have the range that was seen
        return self.b.once(Value("error", (self.scores,), "arena", role))

    def emit_forward(self) -> None:
        """Activations and logits of the inputs in the arena."""
        self.b.call("forward")

    def emit_verdict(self) -> None:
        """The class with the largest score, and its margin; of one score, whether it is above zero."""
        self.step(
            "classify.sign" if self.binary else "classify.argmax",
            "verdict",
            {"z": self.logits, "verdict": self.verdict},
        )

    def emit_loss(self) -> str:
        """The error of the logits under the label, as the rule file's loss has it. Returns the flag that is
        set where there is any."""
        loss, flag = self.spec.loss, self.flag("taught")
        args = {"z": self.logits, "e": self.error, "taught": flag}
        if self.spec.itself:
            self.step("mse_error.input", "loss", args | {"x": self.value(self.graph.inputs[0])})
            return flag
        if self.spec.numbers:
            self.step("mse_error.forward", "loss", args | {"target": self.target})
            return flag
        args |= {"label": self.label}
        if loss.kind == "hinge":
            numbers = {"margin": loss.margin, "mu": loss.mu, "classes": self.classes}
            self.step("hinge_error.forward", "loss", args, **numbers)
        else:
            kernel = "sigmoid_error.forward" if self.binary else "softmax_error.forward"
            self.step(kernel, "loss", args)
        return flag

    def measure(self, name: str) -> str:
        """Emits the loss of the scores in the arena, under the rule file's loss; the value that holds it. Of
        numbers, in units of what targets usually differ by; this writes their error anew."""
        loss = self.b.once(Value(name, (1,), "arena", "loss"))
        if self.spec.numbers:
            self.emit_loss()
            of = {"e": self.error, "loss": loss}
            self.step("loss.squares", "loss", of, large=self._large(), scores=self.scores)
            return loss
        of = {"z": self.logits, "label": self.label, "loss": loss}
        if self.spec.loss.kind == "hinge":
            numbers = {"margin": self.spec.loss.margin, "mu": self.spec.loss.mu, "classes": self.classes}
            self.step("loss.hinge", "loss", of, **numbers)
        else:
            self.step("loss.softmax", "loss", of)
        return loss

    def emit_tick(self) -> None:
        """Counts a learning step; `adapt` does so once for each sample."""
        self.step("counter.tick", "step", {"count": self.samples_learned})

    @contextmanager
    def entry(self, name: str, doc: str, inputs: Sequence[str] = (), label: bool = False) -> Iterator[None]:
        """An entry program of the rule's own: a caller fills `inputs` (names that `sample` gave, or those of
        the network's inputs) and the label if it takes one, and starts it. Steps emitted inside belong to it.

        In C it is `<model>_<name>` where it takes anything; by number, `<model>_run` starts any. One that
        puts back what is kept between calls and is no learned weight is called `reset`.
        """
        if not _NAME.fullmatch(name) or name in ("infer", "learn"):
            what = f"{name!r} is no name for an entry program of a rule"
            raise CompileError("entry", what, "take lower-case letters, digits and _, not infer or learn")
        self.entries.append(Entry(name, tuple(inputs), label))
        if label:
            _ = self.label
        with self.b.program(name, doc):
            yield

    def sample(
        self, name: str, size: int, dtype: str = "int16", meaning: Meaning | int = 0, like: str = ""
    ) -> str:
        """An input of an entry program, [size]: integers of `dtype`, all of whose values may come, with their
        meaning (n: v stands for v / 2^n); or, if `like` names an input of the network, numbers as that one
        has them."""
        if like:
            return self.b.add(Value(name, (size,), "arena", "sample", tie=self.value(like), use="input"))
        info = np.iinfo(dtype)
        fmt = Format(dtype, meaning, int(info.min), int(info.max))
        return self.b.add(Value(name, (size,), "arena", "sample", use="input", format=fmt))

    def memory(self, name: str, of: str, rows: int) -> str:
        """A table in the state, [rows, n], that holds as many of the value `of`, [n], in its format."""
        value = self.b.values[of]
        empty = np.zeros((rows, value.size), np.int8)
        return self.b.add(Value(name, empty.shape, "state", value.role, ints=empty, tie=of, use="stored"))

    @property
    def learned_nodes(self) -> tuple[Node, ...]:
        """The layers that learn, from the input to the output."""
        return tuple(n for n in self.graph.nodes if n.name in self.learned)

    @contextmanager
    def only(self, nodes: Sequence[Node]) -> Iterator[None]:
        """Verbs inside teach these layers, as if no other one learned."""
        learned, upstream = self.learned, self._upstream
        self.learned = tuple(n.name for n in nodes)
        self._upstream = self._learned_upstream()
        yield
        self.learned, self._upstream = learned, upstream

    def rate(self, node: Node) -> int:
        return self.spec.rate_of(node.name)

    def update(self, node: Node, teach: str, twin: str | None = None) -> None:
        layer(node.op).update(self, node, teach, self.rate(node), twin)

    def backward(
        self,
        matrix_of: MatrixOf,
        twin_of: MatrixOf = lambda node: None,
        visit: Callable[[Node, str], None] | None = None,
        error: str | None = None,
    ) -> None:
        """Carries the error from the output down to the lowest learned layer; each learned layer changes.

        A layer passes the signal on before it changes. `matrix_of` gives the feedback matrix of a weighted
        layer (None: its own weights), `twin_of` the matrix that is to change as its weights do. `visit` sees
        the signal of each node's output in place of the changes; `error` is as in `direct`.
        """
        signals = {self.graph.output: error or self.error}
        for node in reversed(self.graph.nodes):
            teach = signals.pop(node.output, None)
            if teach is None:
                continue
            passed: Mapping[str, str] = {}
            if any(self._upstream.get(i, False) for i in node.inputs):
                matrix = matrix_of(node) if layer(node.op).weighted else None
                passed = layer(node.op).feedback(self, node, teach, matrix)
            if visit:
                visit(node, teach)
            elif self.is_learned(node):
                self.update(node, teach, twin_of(node))
            # Only now, when nothing needs `teach` any more, may a sum ask for memory.
            for name, signal in passed.items():
                if self._upstream[name]:
                    signals[name] = self.sum(name, signals[name], signal) if name in signals else signal

    def direct(self, node: Node, error: str | None = None) -> None:
        """Teaches one layer with the error itself, through its own matrix, injected behind its activation.

        `error` takes the place of tape.error: a signal of the same shape that the rule has made of it.
        """
        error = error or self.error
        teach = error if self.scoring(node) else self.injected(node, error)
        self.update(node, self.derived(node, teach))

    def injected(self, node: Node, error: str) -> str:
        """The error behind a layer's activation, through the layer's own fixed matrix."""
        at = self.injection(node)
        matrix = self.fixed_matrix(f"{node.name}_direct", at)
        teach = self.teach(f"{node.name}_direct", self.shape(at))
        self.project(node, error, matrix, teach)
        return teach

    def derived(self, node: Node, teach: str) -> str:
        """A signal behind a layer's activation, taken through its derivative."""
        for n in reversed(self.tail(node)):
            teach = layer(n.op).feedback(self, n, teach, None)[n.inputs[0]]
        return teach

    def injection(self, node: Node) -> str:
        """The tensor behind a layer's activation, where a direct signal enters."""
        tail = self.tail(node)
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
        ideal = self.constant(like.inputs[1]) if like else self._jacobians()[target]
        fb = self.spec.feedback
        if fb.init == "aligned":
            if (self.spec.head or self.spec.init) and not np.any(ideal):
                which = "the new classifier, which" if self.spec.head else "what"
                other = 'head.init = "prototypes"' if self.spec.head else "another start"
                what = f'is "aligned", and {which} it would follow, starts at zero'
                raise CompileError("feedback.init", what, f'take "random", or {other}')
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

    def signs(self, node: Node) -> str:
        """The signs that a layer's weights have when a signal passes, as a matrix: +-2^-n, of the mean
        magnitude of the weights at the start, times feedback.gain. Where these are all zero, as of a new
        classifier, of the mean magnitude of Glorot's uniform weights of that shape."""
        name, weight = f"{node.name}_signs", self.constant(node.inputs[1])
        mean = float(np.mean(np.abs(weight))) or math.sqrt(6 / sum(weight.shape)) / 2
        frac = int(np.round(-np.log2(mean * self.spec.feedback.gain)))
        self._signs[name] = Signs(f"{node.name}_weight", weight.shape, frac)
        return name

    def ternary(self, signal: str, threshold: float, node: Node | str = "loss") -> str:
        """-1, 0 or 1: the signs of a signal where its magnitude reaches `threshold`; of the error, times what
        a large one has: 1 of classes, of numbers what targets usually differ by, to a power of two."""
        name, number = f"{signal}_sign", 1
        while name in self.b.values:
            name, number = f"{signal}_sign{number + 1}", number + 1
        s = self.b.add(Value(name, (self.b.values[signal].size,), "arena", "error"))
        large = self._large() if signal == self.error else 1.0
        self.step("ternary.forward", node, {"e": signal, "s": s}, threshold=threshold * large)
        return s

    def target_error(self) -> str:
        """-1 for the class of the label, else 0, [C]; of one output, -1 for label 1 and 1 for label 0."""
        e = self.b.add(Value("target_error", (self.scores,), "arena", "error"))
        self.step("target_error.forward", "loss", {"label": self.label, "e": e})
        return e

    def scoring(self, node: Node) -> bool:
        """Whether a layer makes the scores, so that their error is its own."""
        return self.injection(node) == self.graph.output

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
                start = m / rms * self._size(ideal) * fb.gain
            self.b.add(Value(name, ideal.shape, "state", "weight", start, tie=weight, learned=True))
        return name

    def _random(self, name: str, ideal: np.ndarray, ternary: bool, gain: float) -> tuple[int, np.ndarray]:
        """(frac, int8 matrix) whose mean square is, to a power of two, that of `ideal`."""
        rows, cols = ideal.shape
        m = numeric.feedback_matrix(self.spec.seed, self.tensor_id(name), rows, cols, ternary)
        unit = np.sqrt(0.5) if ternary else 127 / np.sqrt(3)
        return int(np.round(np.log2(unit / (self._size(ideal) * gain)))), m

    def _size(self, ideal: np.ndarray) -> float:
        """The root mean square of `ideal`; where `init` made it zero, of Glorot's weights of its shape."""
        if self.spec.init and not np.any(ideal):
            return math.sqrt(2 / sum(ideal.shape))
        return _rms(ideal)

    def tail(self, node: Node) -> list[Node]:
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

    def set_large(self, large: Callable[[], float]) -> None:
        """Takes what says how large an error of numbers is, called when a rule asks for it."""
        self._large = large

    def set_jacobians(self, jacobians: Callable[[], Mapping[str, np.ndarray]]) -> None:
        """Takes what computes mean d logits / d tensor over the calibration data, [C, n], of tensors that
        rules inject at; called when a rule asks for one."""
        self._jacobians = cache(jacobians)


def _rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x)))) or 1.0
