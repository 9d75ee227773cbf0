"""The forward program, and what rules ask of it over the calibration data before anything is quantised.

Jacobians where errors are injected, matrices that predict signals, means of classes: float runs of the
forward program and of backpropagation through it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..errors import CompileError
from ..ir.graph import Graph, Node
from ..ir.program import Value, ties
from ..ir.tape import Tape
from ..ops import kernel, layer
from ..rules import RuleTape
from ..spec import RuleSpec
from .float_run import SAMPLES, RealMachine, chunks, spread
from .head import Prototypes, classifier, prototypes

PROBED = (
    2**28
)  # classes squared times samples, beyond which Jacobians are those of fewer samples: from 513 classes
LEAST = 16  # samples of them
LABELS = 8  # that a sample is tried under where signals are predicted
RIDGE = 1e-3  # of the mean square of what predicts


def forward(tape: Tape, watched: frozenset[str] = frozenset()) -> None:
    """Writes the forward program. watched: tensors that more reads than this, and in formats of their own"""
    graph = tape.graph
    for name in graph.inputs:
        size = int(np.prod(graph.tensors[name].shape))
        given = tape.given(name)
        tape.bind(name, tape.add(Value(name, (size,), "arena", "activation", use="input", format=given)))
    with tape.b.program("forward", "activations and logits of the inputs in the arena"):
        for node in graph.nodes:
            layer(node.op).forward(tape, node)
    own = frozenset(tape.value(tensor) for tensor in watched)
    _settle_formats(tape, own)
    _mark_logits(tape, own)


def _settle_formats(tape: Tape, own: frozenset[str]) -> None:
    """Whose range decides where y is x held within limits: y's, because what it cuts off need not fit x; but
    x's where that has other readers, `own` among them, or shares its format already."""
    steps = tape.b.written()
    reads = [s.args[role] for s in steps for role in kernel(s.kernel).reads if role in s.args]
    for x, y in tape.shared:
        if reads.count(x) == 1 and not tape.b.values[x].tie and x not in own:
            tape.b.retie(x, y)
        else:
            tape.b.retie(y, x)


def _mark_logits(tape: Tape, own: frozenset[str]) -> None:
    """The output, and what shares its format with it, carries 16 bits; of what decides on it, `own` alone."""
    values = tape.b.values
    out = tape.value(tape.graph.output)
    if values[out].use == "input":
        raise CompileError(tape.graph.output, "the network computes nothing", "it needs at least one layer")
    for name in [n for n in values if out in ties(values, n) or n in own.intersection(ties(values, out))]:
        if values[name].use == "input":
            what = "the network only moves its input, or holds it within limits"
            raise CompileError(tape.graph.output, what, "it needs at least one layer with weights")
        values[name] = replace(values[name], role="logits")


def balanced(labels: np.ndarray, n: int) -> np.ndarray:
    """Indices of up to n examples, the classes in turn, each class's examples spread evenly over the data.

    Where a class has too few, the others take its turns.
    """
    classes = [np.flatnonzero(labels == c) for c in np.unique(labels)]
    share = next(s for s in range(1, n + 1) if sum(min(s, len(c)) for c in classes) >= min(n, len(labels)))
    places = [np.linspace(0, len(c) - 1, min(share, len(c))).round().astype(int) for c in classes]
    spread = [c[np.unique(p)] for c, p in zip(classes, places, strict=True)]
    turns = [c[i] for i in range(share) for c in spread if i < len(c)]
    return np.array(turns[:n], dtype=int)


def known_means(tape: RuleTape, calibration: Mapping[str, np.ndarray]) -> Prototypes:
    node = classifier(tape.graph)
    assert node is not None
    chosen, features = seen(tape.graph, tape.spec, calibration, node.inputs[0])
    labels = calibration["label"][chosen].astype(np.intp)
    return prototypes(features, labels, len(tape.constant(node.inputs[1])))


def input_sizes(graph: Graph, calibration: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The root mean square of each input over the calibration data; 1 of one that is zero throughout."""
    return {n: float(np.sqrt(np.mean(np.square(calibration[n])))) or 1.0 for n in graph.inputs}


class _Probe(RuleTape):
    """A RuleTape on which steps pass a signal: of zeros, so that each layer's Jacobian is told."""

    def is_step(self, node: Node) -> bool:
        return False


def jacobians(tape: RuleTape, calibration: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Mean d logits / d tensor over the calibration data, [C, n], wherever a rule may inject the error."""
    probe = _Probe(tape.graph, tape.spec, tape.learned)
    forward(probe)
    classes = tape.scores
    signals: dict[str, str] = {}
    with probe.b.program("probe", "carries a unit error down"):
        probe.backward(lambda node: None, visit=lambda node, teach: signals.update({node.output: teach}))
    flat = {n: calibration[n].reshape(len(calibration[n]), -1) for n in tape.graph.inputs}
    most = min(SAMPLES, max(LEAST, PROBED // classes**2))
    chosen = spread(len(next(iter(flat.values()))), most)
    inputs = {probe.value(name): x[chosen] for name, x in flat.items()}
    told = [n for n in tape.graph.nodes if probe.is_learned(n) or layer(n.op).timed]
    targets = dict.fromkeys(t for node in told if (t := probe.injection(node)) in signals)
    sums = {t: np.zeros((classes, probe.b.values[signals[t]].size)) for t in targets}
    for part in chunks(probe.b.values, len(chosen)):
        machine = RealMachine(probe.b.values, probe.b.programs, part.stop - part.start, shared=True)
        machine.load({name: x[part] for name, x in inputs.items()})
        machine.run("forward")
        for c in range(classes):
            unit = np.zeros((machine.devices, classes))
            unit[:, c] = 1.0
            machine.load({probe.error: unit})
            machine.run("probe")
            for t in targets:
                sums[t][c] = _added(sums[t][c], machine.arena[signals[t]])
    return {t: total / len(chosen) for t, total in sums.items()}


def predictors(
    tape: RuleTape, calibration: Mapping[str, np.ndarray]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """How a tensor and the target predict d loss / d tensor, [n, n] and [C, n], wherever a rule may inject:
    ridge regression over samples under their own label, or verdict, and under others, both counting alike."""
    probe = _Probe(tape.graph, tape.spec, tape.learned)
    forward(probe)
    signals: dict[str, str] = {}
    with probe.b.program("probe", "the error and its signals"):
        probe.emit_loss()
        probe.backward(lambda node: None, visit=lambda node, teach: signals.update({node.output: teach}))
        target = probe.target_error()
    hidden = [probe.injection(n) for n in probe.learned_nodes if not probe.scoring(n)]
    at = {t: probe.value(t) for t in hidden if t in signals}
    sums = {t: Products.of(probe.b.values[name].size, tape.scores) for t, name in at.items()}
    turns = min(LABELS, tape.classes)
    for machine, label in _labelled(probe, calibration):
        for turn in range(turns):
            machine.load({probe.label: ((label + turn) % tape.classes)[:, None]})
            machine.run("probe")
            weight = 1.0 if turn else turns - 1.0
            for t, name in at.items():
                sums[t].add(weight, machine.real(name), machine.real(target), machine.real(signals[t]))
    return {t: products.solved() for t, products in sums.items()}


@dataclass(frozen=True, slots=True)
class Products:
    """Sums of products of what a tensor holds, h [n], of targets t [C], of which no two classes ever stand
    together, and of signals d [n].

    own: h h^T; mixed: h t^T; each: the squares of t; own_signal: h d^T; target_signal: t d^T
    """

    own: np.ndarray
    mixed: np.ndarray
    each: np.ndarray
    own_signal: np.ndarray
    target_signal: np.ndarray

    @staticmethod
    def of(n: int, classes: int) -> Products:
        shapes = (n, n), (n, classes), (classes,), (n, n), (classes, n)
        return Products(*(np.zeros(shape) for shape in shapes))

    def add(self, weight: float, h: np.ndarray, t: np.ndarray, d: np.ndarray) -> None:
        """Of samples [samples, ...], which count `weight` times."""
        self.own[...] += weight * (h.T @ h)
        self.mixed[...] += weight * (h.T @ t)
        self.each[...] += weight * np.square(t).sum(axis=0)
        self.own_signal[...] += weight * (h.T @ d)
        self.target_signal[...] += weight * (t.T @ d)

    def solved(self) -> tuple[np.ndarray, np.ndarray]:
        """M [n, n] and T [C, n] with which M^T h + T^T t predicts d best: by ridge regression, the diagonal
        block of the targets eliminated first, so that work and memory grow with C as the matrices do."""
        little = RIDGE * float(np.trace(self.own) + self.each.sum()) / (len(self.own) + len(self.each))
        if not little > 0 or not (np.any(self.own_signal) or np.any(self.target_signal)):
            what = "no error reaches the layers below the scores, so that none could be predicted there"
            raise CompileError("rule", what, 'start from a trained network, or head.init = "prototypes"')
        share = self.mixed / (self.each + little)
        left = self.own + little * np.eye(len(self.own)) - share @ self.mixed.T
        own = np.linalg.solve(left, self.own_signal - share @ self.target_signal)
        return own, (self.target_signal - self.mixed.T @ own) / (self.each + little)[:, None]


def _labelled(
    probe: RuleTape, calibration: Mapping[str, np.ndarray]
) -> Iterator[tuple[RealMachine, np.ndarray]]:
    """Machines behind `forward` with some samples each, and their labels, verdicts where there are none."""
    chosen = spread(len(calibration[probe.graph.inputs[0]]), SAMPLES)
    labels = calibration.get("label")
    for part in chunks(probe.b.values, len(chosen)):
        rows = chosen[part]
        machine = RealMachine(probe.b.values, probe.b.programs, len(rows), shared=True)
        machine.load(
            {probe.value(n): calibration[n][rows].reshape(len(rows), -1) for n in probe.graph.inputs}
        )
        machine.run("forward")
        scores = machine.real(probe.logits)
        said = scores.argmax(axis=1) if scores.shape[1] > 1 else (scores[:, 0] > 0).astype(int)
        yield machine, (said if labels is None else labels[rows].astype(np.intp))


def seen(
    graph: Graph, spec: RuleSpec, calibration: Mapping[str, np.ndarray], tensor: str
) -> tuple[np.ndarray, np.ndarray]:
    """Which samples are looked at, the classes alike where there are labels, and what `tensor` holds in them,
    [n, size]."""
    probe = RuleTape(graph, spec, ())
    forward(probe)
    n = len(calibration[graph.inputs[0]])
    labels = calibration.get("label")
    chosen = spread(n) if labels is None else np.sort(balanced(labels, min(n, SAMPLES)))
    parts = []
    for part in chunks(probe.b.values, len(chosen)):
        machine = RealMachine(probe.b.values, probe.b.programs, part.stop - part.start, shared=True)
        rows = chosen[part]
        machine.load({probe.value(i): calibration[i][rows].reshape(len(rows), -1) for i in graph.inputs})
        machine.run("forward")
        parts.append(machine.real(probe.value(tensor)).copy())
    return chosen, np.concatenate(parts)


def _added(total: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """total [n] and rows [k, n], one after the other: the same bits however the rows are cut into chunks."""
    every: np.ndarray = np.add.accumulate(np.concatenate([total[None], rows]), axis=0)[-1]
    return every
