"""The classifier that a rule file's [head] puts in the place of the network's, or behind it.

A row of a classifier from a class's mean feature mu: with m the mean over all classes and one gain for all
rows, score(x) = gain * ((x - m) . (mu - m) - |mu - m|^2 / 2) + level. That is nearest mean, the discriminant
of classes that are equally wide in every direction; what all scores share is left out. Beside rows that are
kept, gain and level are chosen so that a class of these, made anew like this, is told from the others best
(after Qi, Brown, Lowe, Low-shot learning with imprinted weights, 2018, who give new rows the norm of old
ones).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..errors import CompileError
from ..ir.graph import Graph, Node, Tensor
from ..ir.inputs import listed
from ..ir.rewrite import fresh, pruned
from ..ops import layer, layers
from ..spec import Head, RuleSpec
from .border import given_integers, without_head

BEHIND = "head"  # the name of a classifier that is put behind an output
SPAN = 16.0  # the largest score of rows from means alone, as of a network that has learned
SPREADS = 2.0 ** np.arange(-6, 0.25, 0.25)  # that are tried of it
GAINS = 2.0 ** np.arange(-4, 2.5, 0.5)  # that are tried, by that with which new rows are as long as old ones
LEVELS = np.linspace(-2.0, 2.0, 17)  # that are tried, by the spread of the scores
ALIKE = 1e-9  # of the largest feature: what differs by less is rounding of float sums
MOST = 32  # classes that are made anew to choose from these

Real = NDArray[np.float64]
Seen = Callable[[Graph, str], tuple[NDArray[np.intp], Real]]
"""Of a graph and one of its tensors: which calibration samples, and what it holds there, [n, size]."""


@dataclass(frozen=True, slots=True)
class Means:
    """How a row is made from a mean feature. centre: m, [columns]."""

    centre: Real
    gain: float
    level: float

    def rows(self, mu: Real) -> tuple[Real, Real]:
        """Weights and biases of mean features [rows, columns]."""
        weight = self.gain * (mu - self.centre)
        return weight, self.level - (weight * (mu + self.centre)).sum(axis=1) / 2


def classifier(graph: Graph) -> Node | None:
    """The layer whose outputs are the scores, if it has a weight of its own from every input to each."""
    at = graph.output
    while (node := graph.producer(at)) is not None and layer(node.op).rearranges:
        at = node.inputs[0]
    alone = node is not None and len(graph.consumers(at)) == (at != graph.output)
    return node if node is not None and alone and layer(node.op).fully else None


def replaced(graph: Graph, spec: RuleSpec) -> Graph:
    """`graph` with the classifier that the rule file asks for; rows that samples will make are zero."""
    head = spec.head
    assert head is not None
    graph = without_head(graph, learns=True)
    graph, node = _behind(graph) if head.append else (graph, classifier(graph))
    if node is None:
        last = graph.producer(graph.output)
        what = f"the network ends with {last.name}, which is no dense layer" if last else "it has no layer"
        raise CompileError("head", what, "append = true puts a dense layer behind its output")
    weight, bias = _constants(graph, node)
    if head.keeps and head.new and len(weight) == 1:  # one output for two classes: a score for each
        weight, bias = (np.concatenate([np.zeros_like(v), v]) for v in (weight, bias))
    if not head.keeps:
        weight, bias = weight[:0], bias[:0]
    elif spec.loss.kind == "softmax":  # what all scores share changes neither class nor margin nor error
        weight, bias = weight - weight.mean(axis=0), bias - bias.mean()
    columns = weight.shape[1]
    new: Real = np.zeros((head.new, columns))
    if head.init == "random":
        limit = math.sqrt(6.0 / (columns + len(weight) + head.new))
        new = numeric.feedback_matrix(spec.seed, 0, head.new, columns, False).astype(np.float64) * limit / 127
    graph = _with_rows(graph, node, np.concatenate([weight, new]), np.concatenate([bias, np.zeros(len(new))]))
    rows = len(weight) + len(new)
    return replace(
        graph,
        head=graph.head if head.keeps and graph.head == "softmax" else "none",
        notes=(*graph.notes, _noted(node, rows, spec)) if head.new else graph.notes,
    )


def _noted(node: Node, rows: int, spec: RuleSpec) -> str:
    """The note of rows that [head] made."""
    assert spec.head
    what = "outputs" if spec.numbers else "classes"
    return f"{node.source or node.name}: {spec.head.new} of its {rows} {what} are new, from {spec.head.init}"


def from_samples(graph: Graph, spec: RuleSpec, labels: Real | None, seen: Seen) -> Graph:
    """`graph` with its new rows from the mean features of their classes, where the rule file says so."""
    head, node = spec.head, classifier(graph)
    if head is None or head.init != "prototypes" or not head.new:
        return graph
    assert node is not None
    if spec.numbers:
        what = 'is "prototypes", means of classes, and what is learned are numbers'
        raise CompileError("head.init", what, 'take "zero" or "random"')
    if labels is None:
        hint = "add an array `label`"
        raise CompileError("head.init", 'is "prototypes", and the calibration data have no labels', hint)
    weight, bias = _constants(graph, node)
    first = len(weight) - head.new
    chosen, features = seen(graph, node.inputs[0])
    y = labels[chosen].astype(np.intp)
    classes = range(first, max(2, len(weight)))  # one output for two classes
    for c in classes:
        if not np.any(y == c):
            what = f"class {c} has no sample in the calibration data, and its row is to be their mean"
            raise CompileError("head.init", what, 'add some, or take init = "zero"')
    means = fitted(features, y, weight, bias)
    rows = means.rows(np.array([features[y == c].mean(axis=0) for c in classes]))
    if len(weight) == 1:
        rows = rows[0][1:] - rows[0][:1], rows[1][1:] - rows[1][:1]
    return _with_rows(
        graph, node, *(np.concatenate([v[:first], r]) for v, r in zip((weight, bias), rows, strict=True))
    )


def prototyped(graph: Graph, spec: RuleSpec, labels: Real | None, seen: Seen) -> Graph:
    """`graph` with the mean features of its classes as the rows of its classifier, for a rule that moves
    these. A class without a sample has a row of zeros, and less than the lowest score."""
    graph = without_head(graph, learns=True)
    node, head = classifier(graph), spec.head
    where, hint = f"rule {spec.rule}", ""
    if node is None:
        what, hint = "the network does not end with a dense layer", "head.append = true puts one behind it"
    elif spec.numbers:
        what, hint = 'keeps means of classes, and loss.kind is "mse"', "take dfa or hebbian"
    elif graph.tensors[graph.output].size < 2:
        what, hint = "the classifier has one output", "[head] classes = 2 gives each class its own"
    elif spec.weights != "int16":
        what, hint = f"a mean moves by less than {spec.weights} holds", 'take weights = "int16"'
    elif spec.decay:
        what, hint = "means forget by their share, and decay would move them", "leave [decay] out"
    elif spec.init:
        what, hint = "its rows are means of features, and nothing of it starts anew", "leave init out"
    elif head and head.imprint:
        what, hint = "a class appears by its first sample anyway", "leave head.imprint out"
    elif head and head.init != Head().init:
        what = f'all rows are means of features, and head.init is "{head.init}"'
        hint = "leave head.init out"
    elif labels is None:
        what, hint = "the calibration data have no labels, of which it takes means", "add an array `label`"
    if hint:
        raise CompileError(where, what, hint)
    assert node is not None and labels is not None
    rows = len(_constants(graph, node)[0])
    chosen, features = seen(graph, node.inputs[0])
    known = prototypes(features, labels[chosen].astype(np.intp), rows)
    note = f"{node.source or node.name}: its {rows} rows are means of features, and nothing of the file's"
    if unseen := [str(c) for c in np.flatnonzero(known.counts == 0)]:
        note += f"; no sample yet: class {listed(unseen)}"
    notes = [n for n in graph.notes if not head or n != _noted(node, rows, spec)]  # these say it all
    return replace(_with_rows(graph, node, *known.start), notes=(*notes, note))


@dataclass(frozen=True, slots=True)
class Prototypes:
    """means: how a row is made; start: weights [rows, columns] and biases; counts: samples of each class;
    reach: the largest weight that features up to the largest here make."""

    means: Means
    start: tuple[Real, Real]
    counts: NDArray[np.intp]
    reach: float


def prototypes(features: Real, labels: NDArray[np.intp], rows: int) -> Prototypes:
    """The prototypes of `rows` classes from these features [n, columns]; at least one has samples."""
    columns = features.shape[1]
    counts = np.bincount(labels, minlength=rows)
    known = np.flatnonzero(counts)
    some = labels if len(known) > 1 else None
    means = fitted(features, some, np.zeros((rows, columns)), np.zeros(rows))
    weight, bias = np.zeros((rows, columns)), np.zeros(rows)
    weight[known], bias[known] = means.rows(np.array([features[labels == c].mean(axis=0) for c in known]))
    scores = features @ weight[known].T + bias[known]
    bias[counts == 0] = scores.min() - np.ptp(scores) / 8
    reach = means.gain * (np.max(np.abs(features)) + np.max(np.abs(means.centre)))
    return Prototypes(means, (weight, bias), counts, float(reach))


def refuse_frozen(graph: Graph, spec: RuleSpec, learned: Collection[str]) -> None:
    """CompileError for a new classifier that does not learn and would never know anything."""
    head, node = spec.head, classifier(graph)
    if head is None or (node is not None and node.name in learned):
        return
    name = node.name if node else graph.output
    hint = f"add {name} to `layers`" if learned else "choose a rule"
    if head.imprint:
        raise CompileError("head.imprint", f"{name} does not learn", hint)
    if head.init != "prototypes" or given_integers(graph):
        why = "and its integers would be none of the file's" if given_integers(graph) else "and knows nothing"
        raise CompileError("head", f"{name} is new, does not learn, {why}", hint)


def fitted(features: Real, labels: NDArray[np.intp] | None, weight: Real, bias: Real, most: int = 0) -> Means:
    """How rows are made from means of these features [n, columns], beside the rows that are not all zero.

    labels: None: the verdicts of those rows stand for them; most: from how many samples a mean is, 0: all
    """
    if np.max(np.ptp(features, axis=0)) <= ALIKE * np.max(np.abs(features)):
        raise _alike()
    trained = np.flatnonzero(np.any(weight != 0, axis=1))
    if labels is None and len(trained) > 1:
        labels = trained[np.argmax(features @ weight[trained].T + bias[trained], axis=1)]
    if labels is None:
        centre = features.mean(axis=0)
        return Means(centre, _gain(SPAN, np.square(features - centre).sum(axis=1).max() / 2), 0.0)
    mu = {int(c): features[labels == c].mean(axis=0) for c in np.unique(labels)}
    centre = np.mean(list(mu.values()), axis=0)
    known = [c for c in mu if c in trained]
    if len(known) < 2:
        return _calibrated(features, labels, centre, mu)
    few = {c: _first(features[labels == c], most) for c in known[:MOST]}
    return _beside(features, labels, centre, few, weight, bias, trained)


def _first(x: Real, most: int) -> Real:
    """The mean of `most` of the samples, evenly spread, or of all."""
    some = np.linspace(0, len(x) - 1, min(most or len(x), len(x))).round().astype(np.intp)
    mean: Real = x[some].mean(axis=0)
    return mean


def _gain(span: float, top: float) -> float:
    """The gain at which a score of `top` becomes `span`."""
    if not top > 0.0:
        raise _alike()
    return span / float(top)


def _alike() -> CompileError:
    what = "the inputs of the classifier are alike in all calibration samples"
    return CompileError("head", what, "give samples of several classes")


def _calibrated(features: Real, labels: NDArray[np.intp], centre: Real, mu: Mapping[int, Real]) -> Means:
    """Rows from means alone: the gain with the least cross-entropy."""
    weight, bias = Means(centre, 1.0, 0.0).rows(np.array([*mu.values()]))
    scores = features @ weight.T + bias
    place = np.searchsorted([*mu], labels)
    largest = _gain(SPAN, np.max(np.abs(scores)))

    def cost(gain: float) -> float:
        z = scores * gain
        top = z.max(axis=1)
        each = np.log(np.exp(z - top[:, None]).sum(axis=1)) + top - z[np.arange(len(z)), place]
        return float(sum(each[place == c].mean() for c in range(len(mu))))

    return Means(centre, min(largest * SPREADS, key=cost), 0.0)


def _beside(
    features: Real,
    labels: NDArray[np.intp],
    centre: Real,
    few: Mapping[int, Real],
    weight: Real,
    bias: Real,
    trained: NDArray[np.intp],
) -> Means:
    """Rows beside trained ones: gain and level at which each class of these, made anew from its mean in
    `few`, is told best from the others, its own samples and all others counting alike."""
    z = features @ weight[trained].T + bias[trained]
    made, rest, mine = [], [], []
    for c, mean in few.items():
        w, b = Means(centre, 1.0, 0.0).rows(mean[None])
        made.append(features @ w[0] + b[0])
        others = z[:, trained != c]
        top = others.max(axis=1)
        rest.append(top + np.log(np.exp(others - top[:, None]).sum(axis=1)))
        mine.append(labels == c)
    score, other = np.array(made), np.array(rest)
    lengths = np.mean([np.linalg.norm(mean - centre) for mean in few.values()])
    usual = _gain(float(np.mean(np.linalg.norm(weight[trained], axis=1))), lengths)
    spread = float(np.mean(np.max(z, axis=1) - z.mean(axis=1)))

    def cost(choice: tuple[float, float]) -> float:
        lead = choice[0] * score + choice[1] - other
        each = np.logaddexp(0.0, np.where(mine, -lead, lead))
        return float(sum(e[m].mean() + e[~m].mean() for e, m in zip(each, mine, strict=True)))

    tried = [(g, level) for g in usual * GAINS for level in spread * LEVELS]
    gain, level = min(tried, key=cost)
    return Means(centre, float(gain), float(level))


def _behind(graph: Graph) -> tuple[Graph, Node]:
    """`graph` with a dense layer of no rows behind its output, which it reads as one vector."""
    x = graph.tensors[graph.output]
    if len(x.shape) != 1:
        what = f"the output {x.name} has shape {list(x.shape)}, and a dense layer takes one vector"
        raise CompileError("head.append", what, "end the network with a flatten layer")
    op = next(op for op, found in layers().items() if found.fully)
    name = fresh(graph, BEHIND)
    pair = [fresh(graph, f"{name}_{what}") for what in ("weight", "bias")]
    values = np.zeros((0, x.size)), np.zeros(0)
    rounds = {k: v for n in graph.nodes for k, v in n.attrs.items() if k == "rounds"} if x.format else {}
    node = Node(op, name, (x.name, *pair), name, rounds, "[head]")
    tensors = {n: Tensor(n, v.shape, v) for n, v in zip(pair, values, strict=True)}
    new = {**graph.tensors, **tensors, name: Tensor(name, (0,))}
    return replace(graph, nodes=(*graph.nodes, node), tensors=new, output=name), node


def _constants(graph: Graph, node: Node) -> tuple[Real, Real]:
    weight, bias = (graph.tensors[name].value for name in node.inputs[1:])
    assert weight is not None and bias is not None
    return weight, bias


def _with_rows(graph: Graph, node: Node, weight: Real, bias: Real) -> Graph:
    """`graph` that ends with `node`, of these rows, in numbers of ours."""
    constants = {n: Tensor(n, v.shape, v) for n, v in zip(node.inputs[1:], (weight, bias), strict=True)}
    tensors = {**graph.tensors, **constants, node.output: Tensor(node.output, (len(weight),))}
    return pruned(replace(graph, tensors=tensors, output=node.output))
