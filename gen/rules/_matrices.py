"""Feedback matrices that rules ask for: `fixed_matrix`, `learned_matrix`, `twin`, `signs`.

They have the size of what they stand for: the weights of a layer, or the mean Jacobian of the logits over the
calibration data where an error is injected.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache

import numpy as np

from .. import numeric
from ..errors import CompileError
from ..ir.graph import Graph, Node
from ..ir.inputs import listed
from ..ir.program import Value
from ..ir.tape import Signs, Tape
from ..ops import layer
from ..spec import RuleSpec


class FeedbackTape(Tape):
    """A Tape that makes feedback matrices, each once."""

    def __init__(self, graph: Graph, spec: RuleSpec, learned: tuple[str, ...]) -> None:
        super().__init__(graph, spec, learned)
        self._jacobians: Callable[[], Mapping[str, np.ndarray]] = dict
        self._input_sizes: Callable[[], Mapping[str, float]] = dict

    def is_deaf(self, node: Node) -> bool:
        values = (self.graph.tensors[i].value for i in node.inputs)
        return layer(node.op).deaf([v for v in values if v is not None])

    def is_step(self, node: Node) -> bool:
        return layer(node.op).steps(node)

    def refuse_steps(self, node: Node) -> None:
        """Raises CompileError for a layer that no teaching signal reaches, for the steps behind it."""
        heard, walls = {node.output}, list[str]()
        for n in self.graph.nodes:
            if heard.isdisjoint(n.inputs):
                continue
            if self.is_step(n):
                walls.append(n.name)
            elif not self.is_deaf(n):
                heard.add(n.output)
        if self.graph.output not in heard and walls:
            what = f"is flat wherever it does not jump: nothing below it can learn, and {node.name} is to"
            hint = "comparisons and steps pass no teaching signal: freeze the layers below it"
            raise CompileError(walls[0], what, hint)

    def refuse_unheard(self, node: Node) -> None:
        """Raises CompileError for a layer whose outputs move no score, so that no error could teach it."""
        reached, walls = {node.output}, []
        for n in self.graph.nodes:
            if reached.isdisjoint(n.inputs):
                continue
            if self.is_deaf(n):
                walls.append(n.name)
            else:
                reached.add(n.output)
        if self.graph.output not in reached:
            what = f"moves no score: what {listed(walls)} behind it gives is the same whatever comes in"
            raise CompileError(node.name, what, "leave it out of `layers`, or mend the network")

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
        return self.fixed(name, self.constant(like.inputs[1]) if like else self.ideal(target))

    def ideal(self, target: str) -> np.ndarray:
        """The mean of d scores / d `target` over the calibration data, [C, n]. Below a layer that runs over
        time, which no signal passes, as large as that of what this layer gives."""
        known = self._jacobians()
        if target in known:
            return known[target]
        wall, size = next((n, known[t]) for n in self._behind(target) if (t := self.injection(n)) in known)
        if self.spec.feedback.init == "aligned":
            what = f'is "aligned", and {wall.name}, which runs over time, passes no signal to what lies below'
            raise CompileError("feedback.init", what, 'take "random"')
        return np.full((len(size), self.graph.tensors[target].size), _rms(size))

    def _behind(self, target: str) -> list[Node]:
        """The layers that run over time behind a tensor, in order."""
        reached, found = {target}, []
        for node in self.graph.nodes:
            if not reached.isdisjoint(node.inputs):
                reached.add(node.output)
                if layer(node.op).timed:
                    found.append(node)
        return found

    def fixed(self, name: str, ideal: np.ndarray) -> str:
        """A matrix that never changes: as the rule file asks `ideal`, or random of its mean square."""
        fb = self.spec.feedback
        if (start := self._aligned(ideal)) is not None:
            return self.b.add(Value(name, ideal.shape, "const", "matrix", start))
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

    def learned_matrix(self, node: Node) -> str:
        """A matrix in RAM from the error to what lies behind a layer's activation, [C, n], which `follow`
        changes. It starts as a fixed one would."""
        self.refuse_unheard(node)
        name, ideal = f"{node.name}_direct_feedback", self._jacobians()[self.injection(node)]
        if self.b.has(name, "matrix"):
            return name
        start = self._aligned(ideal)
        if start is None:
            frac, m = self._random(name, ideal, self.spec.feedback.init == "ternary", self.spec.feedback.gain)
            start = m * 2.0**-frac
        return self.b.add(Value(name, ideal.shape, "state", "matrix", start, learned=True))

    def _aligned(self, ideal: np.ndarray) -> np.ndarray | None:
        """What feedback that is to be aligned starts as, to be `ideal`; None where it is not to be."""
        fb = self.spec.feedback
        if fb.init != "aligned":
            return None
        if (self.spec.head or self.spec.init) and not np.any(ideal):
            which = "the new classifier, which" if self.spec.head else "what"
            other = 'head.init = "prototypes"' if self.spec.head else "another start"
            what = f'is "aligned", and {which} it would follow, starts at zero'
            raise CompileError("feedback.init", what, f'take "random", or {other}')
        aligned: np.ndarray = ideal * fb.gain
        return aligned

    def signs(self, node: Node) -> str:
        """The signs that a layer's weights have when a signal passes, as a matrix: +-2^-n, of the mean
        magnitude of the weights at the start, times feedback.gain. Where these are all zero, as of a new
        classifier, of the mean magnitude of Glorot's uniform weights of that shape."""
        name, weight = f"{node.name}_signs", self.constant(node.inputs[1])
        mean = float(np.mean(np.abs(weight))) or math.sqrt(6 / sum(weight.shape)) / 2
        frac = int(np.round(-np.log2(mean * self.spec.feedback.gain)))
        self._signs[name] = Signs(f"{node.name}_weight", weight.shape, frac)
        return name

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

    def set_input_sizes(self, sizes: Callable[[], Mapping[str, float]]) -> None:
        """Takes what computes the root mean square of each input over the calibration data; called when a
        rule asks for it."""
        self._input_sizes = cache(sizes)

    def set_jacobians(self, jacobians: Callable[[], Mapping[str, np.ndarray]]) -> None:
        """Takes what computes mean d logits / d tensor over the calibration data, [C, n], of tensors that
        rules inject at; called when a rule asks for one."""
        self._jacobians = cache(jacobians)


def _rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x)))) or 1.0
