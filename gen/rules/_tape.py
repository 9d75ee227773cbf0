"""What rules write on: a Tape, the learned layers in order, the error at the output, and verbs.

`backward` carries signals down through matrices that the rule chooses (_matrices.py makes them), `direct`
injects an error at a layer, `ternary` and `target_error` make other errors. No rule knows an op by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Protocol

import numpy as np

from ..errors import CompileError
from ..ir.format import Format, Meaning
from ..ir.graph import Graph, Node
from ..ir.inputs import TARGET
from ..ir.program import Entry, Value, root
from ..ir.roles import Role
from ..ops import layer
from ..ops._requantise import shares
from ..spec import INFERENCE_ONLY, Freeze, RuleSpec
from ._goodness import GoodnessTape

MatrixOf = Callable[[Node], str | None]


class Means(Protocol):
    """How rows are made of mean features: gain * (mean - centre), and a score of `level` half way to it."""

    @property
    def centre(self) -> np.ndarray: ...
    @property
    def gain(self) -> float: ...
    @property
    def level(self) -> float: ...


class Known(Protocol):
    """What calibration says of prototypes (gen.stages.head)."""

    @property
    def means(self) -> Means: ...
    @property
    def counts(self) -> np.ndarray: ...
    @property
    def reach(self) -> float: ...


_NAME = re.compile(r"[a-z][a-z0-9_]*")


class RuleTape(GoodnessTape):
    """A Tape as rules see it."""

    def __init__(self, graph: Graph, spec: RuleSpec, learned: tuple[str, ...]) -> None:
        super().__init__(graph, spec, learned)
        self._large: Callable[[], float] = lambda: 1.0
        self._scale = self._large
        self._prototypes: Callable[[], Known]
        self._predictors: Callable[[], Mapping[str, tuple[np.ndarray, np.ndarray]]] = dict
        self.entries: list[Entry] = []

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
        """d loss / d scores [C], as it is learned. It is written by `emit_loss`, and by nothing else."""
        raw = self.raw_error
        return raw if self.spec.loss.plain else self._an_error("error", tie=raw)

    @property
    def raw_error(self) -> str:
        """The error before it is weighed, clipped and held against a threshold."""
        return self._an_error("error" if self.spec.loss.plain else "raw_error")

    def _an_error(self, name: str, tie: str = "") -> str:
        role: Role = "teach" if self.spec.numbers else "error"  # numbers have the range that was seen
        return self.b.once(Value(name, (self.scores,), "arena", role, tie=tie))

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
        """The error of the logits under the label, as the rule file's loss has it, weighed, clipped and held
        against a threshold where that asks for it. Returns the flag that is set where there is any."""
        loss, flag = self.spec.loss, self.flag("taught")
        self._emit_error(flag if loss.plain else self.flag("wrong"))
        if not loss.plain:
            args = {"raw": self.raw_error, "e": self.error, "taught": flag}
            if loss.class_weights:
                shifts = np.array(loss.class_weights, np.uint32)
                note = "k of the weight 2^-k of each class"
                down = Value("class_shifts", shifts.shape, "const", "counter", ints=shifts, note=note)
                args |= {"label": self.label, "down": self.b.once(down)}
            self.step("weighed_error.forward", "weighed", args, clip=loss.clip, below=loss.skip_below)
        return flag

    def _emit_error(self, flag: str) -> None:
        loss = self.spec.loss
        args = {"z": self.logits, "e": self.raw_error, "taught": flag}
        if self.spec.itself:
            self.step("mse_error.input", "loss", args | {"x": self.value(self.graph.inputs[0])})
            return
        if self.spec.numbers:
            self.step("mse_error.forward", "loss", args | {"target": self.target})
            return
        args |= {"label": self.label}
        if loss.kind == "hinge":
            numbers = {"margin": loss.margin, "mu": loss.mu, "classes": self.classes}
            self.step("hinge_error.forward", "loss", args, **numbers)
        else:
            kernel = "sigmoid_error.forward" if self.binary else "softmax_error.forward"
            self.step(kernel, "loss", args)

    def emit_watch(self, freeze: Freeze, taught: str) -> str:
        """Counts samples with a small error, and takes the flag `taught` back where learning pauses. Returns
        the flag that is set where it does not."""
        awake = self.flag("awake")
        args = {
            "e": self.raw_error,
            "calm": self.counter("freeze_calm", "right samples, less what wrong ones took back"),
            "frozen": self.counter("frozen", "1 while learning pauses"),
            "taught": taught,
            "awake": awake,
        }
        numbers = {"below": freeze.below, "after": freeze.after, "back": round(1 / freeze.share) - 1}
        self.step("freeze.watch", "freeze", args, **numbers)
        return awake

    def measure(self, name: str) -> str:
        """Emits the loss of the scores in the arena, under the rule file's loss; the value that holds it. Of
        numbers, in units of what targets usually differ by, or of more where losses would not fit; this
        writes their error anew."""
        loss = self.b.once(Value(name, (1,), "arena", "loss"))
        if self.spec.numbers:
            self.emit_loss()
            return self.squares(name, self.error)
        of = {"z": self.logits, "label": self.label, "loss": loss}
        if self.spec.loss.kind == "hinge":
            numbers = {"margin": self.spec.loss.margin, "mu": self.spec.loss.mu, "classes": self.classes}
            self.step("loss.hinge", "loss", of, **numbers)
        else:
            self.step("loss.softmax", "loss", of)
        return loss

    @property
    def unit(self) -> float:
        """The unit of errors of numbers, in which the losses of the calibration data fit."""
        return self._scale()

    def squares(self, name: str, error: str) -> str:
        """Emits half the sum of squares of an error of numbers, in `unit`; the value that holds it."""
        loss = self.b.once(Value(name, (1,), "arena", "loss"))
        self.step("loss.squares", "loss", {"e": error, "loss": loss}, large=self.unit, scores=self.scores)
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
        steps: int = 0,
    ) -> None:
        """Carries the error from the output down to the lowest learned layer; each learned layer changes.

        A layer passes the signal on before it changes. `matrix_of` gives the feedback matrix of a weighted
        layer (None: its own weights), `twin_of` the matrix that is to change as its weights do. `visit` sees
        the signal of each node's output in place of the changes, down to layers that run over time; `error`
        is as in `direct`. Layers that run over time hear it in the last `steps` steps of their window.
        """
        for node in () if visit else self.learned_nodes:
            self.refuse_unheard(node)
            self.refuse_steps(node)
        signals = {self.graph.output: error or self.error}
        for node in reversed(self.graph.nodes):
            teach = signals.pop(node.output, None)
            if teach is None:
                continue
            passed: Mapping[str, str] = {}
            timed = layer(node.op).timed
            if steps and timed:
                passed = layer(node.op).unrolled(self, node, teach, self.rate(node), steps)
            elif not (visit and timed) and any(self._upstream.get(i, False) for i in node.inputs):
                matrix = matrix_of(node) if layer(node.op).weighted else None
                passed = layer(node.op).feedback(self, node, teach, matrix)
            if visit:
                visit(node, teach)
            elif self.is_learned(node) and not (steps and timed):
                self.update(node, teach, twin_of(node))
            # Only now, when nothing needs `teach` any more, may a sum ask for memory.
            for name, signal in passed.items():
                if self._upstream[name]:
                    signals[name] = self.sum(name, signals[name], signal) if name in signals else signal

    def direct(self, node: Node, error: str | None = None, matrix: str | None = None) -> None:
        """Teaches one layer with the error itself, through its own matrix, injected behind its activation.

        `error` takes the place of tape.error: a signal of the same shape that the rule has made of it;
        `matrix` that of a fixed one.
        """
        error = error or self.error
        teach = error if self.scoring(node) else self.injected(node, error, matrix)
        self.inject(node, teach)

    def through_time(self, node: Node) -> None:
        """As `direct`; a layer that runs over time hears the error in every step, through one matrix."""
        if not layer(node.op).timed:
            self.direct(node)
            return
        self.refuse_unheard(node)
        ideal, units = self.ideal(self.injection(node)), self.shape(node.output)[-1]
        ideal = ideal.reshape(len(ideal), -1, units).mean(axis=1)
        matrix = self.fixed(f"{node.name}_direct_feedback", ideal)
        teach = self.teach(f"{node.name}_direct", (units,))
        self.project(node, self.error, matrix, teach)
        layer(node.op).through_time(self, node, teach, self.rate(node))

    def injected(self, node: Node, error: str, matrix: str | None = None) -> str:
        """The error behind a layer's activation, through `matrix`, or the layer's own fixed one."""
        self.refuse_unheard(node)
        at = self.injection(node)
        matrix = matrix or self.fixed_matrix(f"{node.name}_direct", at)
        teach = self.teach(f"{node.name}_direct", self.shape(at))
        self.project(node, error, matrix, teach)
        return teach

    def inject(self, node: Node, teach: str) -> None:
        """Teaches one layer with a signal of what lies behind its activation."""
        self.update(node, self.derived(node, teach))

    def derived(self, node: Node, teach: str) -> str:
        """A signal behind a layer's activation, taken through its derivative."""
        for n in reversed(self.tail(node)):
            teach = layer(n.op).feedback(self, n, teach, None)[n.inputs[0]]
        return teach

    def predict(self, node: Node, target: str) -> str:
        """What the error would be behind a layer's activation h, as frozen matrices predict it from h and the
        target alone: M^T h + T^T target, by least squares over the calibration data."""
        self.refuse_unheard(node)
        at, known = self.injection(node), self._predictors()
        if at not in known:
            what = f"{node.name} learns from signals that are taken back to it, and none is through time"
            raise CompileError("layers", what, "leave it out, or take dfa, sdfa, drtp or dftt")
        parts = []
        for what, source, real in zip(("own", "target"), (self.value(at), target), known[at], strict=True):
            start = real * self.spec.feedback.gain
            matrix = self.b.add(Value(f"{node.name}_{what}_matrix", real.shape, "const", "matrix", start))
            parts.append(self.teach(f"{node.name}_{what}", self.shape(at)))
            self.project(node, source, matrix, parts[-1])
        return self.sum(at, *parts)

    def follow(self, node: Node, matrix: str, error: str | None = None, rate: int | None = None) -> None:
        """matrix -= 2^-rate error h^T, h what lies behind the layer's activation.

        `error` takes the place of tape.error, `rate` that of the layer's.
        """
        at = self.injection(node)
        given, attrs = self.given(at), self.rounding(matrix)
        if given is not None and given.dtype != "int8":
            what = f"has {given.dtype} behind its activation, and a matrix that learns reads int8"
            raise CompileError(node.name, what, "take a rule with fixed matrices, as dfa")
        if given is None and root(self.b.values, self.value(at)) == root(self.b.values, self.logits):
            what = "makes what the scores are moved from, in int16, and a matrix that learns reads int8"
            raise CompileError(node.name, what, "take a rule with fixed matrices, as dfa")
        share = {} if given is None else {"share": shares(given.meaning.step)}
        args = {
            "x": self.value(at),
            "d": error or self.error,
            "step": self.samples_learned,
            "w": matrix,
            "saturated": self.saturations(node),
        }
        self.step(
            "project.learn", node, args, rate=self.rate(node) if rate is None else rate, **attrs, **share
        )

    def move(self, node: Node, most: int) -> None:
        """The row of the label's class, a mean of its features, moves to the sample's by 1 / k, k how many
        samples it has seen, `most` at most. Those of the calibration data count; a class without any has the
        lowest score until its first."""
        known = self._prototypes()
        weight, bias = f"{node.name}_weight", f"{node.name}_bias"
        unseen = tuple(int(c) for c in np.flatnonzero(known.counts == 0))
        self.b.values[weight] = replace(self.b.values[weight], reach=known.reach)
        self.b.values[bias] = replace(self.b.values[bias], lowest=unseen)
        x, centre, note = self.value(node.inputs[0]), known.means.centre, "samples in each mean"
        name, counts = f"{node.name}_centre", np.minimum(known.counts, most)
        args = {
            "x": x,
            "label": self.label,
            "centre": self.b.add(Value(name, centre.shape, "const", "activation", centre, tie=x)),
            "w": weight,
            "b": bias,
            "count": self.b.add(
                Value(f"{node.name}_seen", counts.shape, "state", "counter", ints=counts, note=note)
            ),
        }
        self.step("prototype.move", node, args, most=most, gain=known.means.gain, level=known.means.level)

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

    def wrong_target(self) -> str:
        """As target_error, of another class than the label's, drawn anew for each sample."""
        e = self.b.add(Value("wrong_target", (self.scores,), "arena", "error"))
        args = {"label": self.label, "step": self.samples_learned, "e": e}
        seed, tensor = self.spec.seed, self.tensor_id("wrong_target")
        self.step("target_error.wrong", "loss", args, seed=seed, tensor=tensor)
        return e

    @contextmanager
    def labelled(self, nodes: Sequence[Node], share: float, wrong: bool) -> Iterator[None]:
        """A forward pass of the sample with its label, or a wrong one, up to these layers."""
        target = self.wrong_target() if wrong else self.target_error()
        with self.passed(nodes, target, share):
            yield

    def scoring(self, node: Node) -> bool:
        """Whether a layer makes the scores, so that their error is its own."""
        return self.injection(node) == self.graph.output

    def hidden(self, node: Node) -> bool:
        """Whether another layer with weights lies between a layer and the scores."""
        reached = {node.output}
        for n in self.graph.nodes:
            if not reached.isdisjoint(n.inputs):
                if layer(n.op).weighted or layer(n.op).timed:
                    return True
                reached.add(n.output)
        return False

    def set_predictors(self, predictors: Callable[[], Mapping[str, tuple[np.ndarray, np.ndarray]]]) -> None:
        """Takes what computes how a tensor [n] and the target [C] predict d loss / d tensor, [n, n] and
        [C, n], of tensors that rules inject at; called when a rule asks for one."""
        self._predictors = cache(predictors)

    def set_large(self, large: Callable[[], float], scale: Callable[[], float]) -> None:
        """Takes what says how large an error of numbers is, and in which unit the losses of the calibration
        data fit, called when a rule asks for it."""
        self._large, self._scale = large, scale

    def set_prototypes(self, prototypes: Callable[[], Known]) -> None:
        """Takes what makes the classes' prototypes, called when a rule moves them."""
        self._prototypes = prototypes
