"""Random networks, rule files and calibration data, and a random life for a compiled model."""

from __future__ import annotations

import math
import os
import pickle
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
from untouched import touched

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.ir.graph import Graph, Node, Tensor
from synapcc.gen.ir.plan import Plan
from synapcc.gen.ir.rewrite import pruned
from synapcc.gen.ops import kernels, layer, layers
from synapcc.gen.ops.recurrent import EARLY
from synapcc.gen.ops.table import FUNCTIONS, SAMPLED
from synapcc.gen.rules import rules
from synapcc.gen.spec import (
    BALANCED,
    BEST,
    DENSE,
    FAST,
    INFERENCE_ONLY,
    OLDEST,
    STARTS,
    Accumulate,
    Anomaly,
    Arena,
    Decay,
    Feedback,
    Freeze,
    Guard,
    Head,
    Loss,
    Momentum,
    Pseudo,
    Replay,
    RuleSpec,
    Schedule,
    Share,
    State,
    Store,
    select_layers,
)
from synapcc.gen.spec.options import Choice, Integer, PowerOfTwo, Setting, Settings
from synapcc.gen.stages.border import without_head
from synapcc.gen.stages.head import classifier, replaced
from synapcc.gen.stages.sparse import makes_scores
from synapcc.gen.stages.state_check import rings

Rng = np.random.Generator
CONVOLUTIONS, POOLS, PAIRS = ["conv2d", "local2d"], ["maxpool2d", "avgpool2d"], ["add", "mul"]
REFUSED = 0.3  # the largest share of combinations that a compilation may refuse, beside the first few


class _Net:
    """A graph under construction. `open` are tensors that nothing reads yet."""

    def __init__(self, rng: Rng) -> None:
        self.rng = rng
        self.tensors: dict[str, Tensor] = {}
        self.nodes: list[Node] = []
        self.inputs: list[str] = []
        self.open: list[str] = []

    def add_input(self) -> None:
        name = f"in_{len(self.inputs)}"
        rank = int(self.rng.choice([1, 1, 1, 1, 2, 3, 3, 3]))
        highest = {1: (40,), 2: (5, 9), 3: (7, 9, 5)}[rank]
        shape = tuple(int(n) for n in self.rng.integers(1, highest))
        self.tensors[name] = Tensor(name, shape)
        self.inputs.append(name)
        self.open.append(name)

    def add(self, op: str, inputs: list[str], least: int = 0, most: int = 1 << 20) -> str | None:
        """A node from the layer's own sample with `least` to `most` outputs, None where that does not fit."""
        shapes = [self.tensors[i].shape for i in inputs]
        for _ in range(100):
            sample = layer(op).sample(self.rng, shapes)
            if sample is None:
                return None
            node, constants = sample
            name = f"{op}{len(self.nodes)}"
            names = {f"in{i}": tensor for i, tensor in enumerate(inputs)} | {
                c: f"{name}_{c}_const" for c in constants
            }
            tensors = {
                names[c]: Tensor(names[c], v.shape, v.astype(np.float64)) for c, v in constants.items()
            }
            placed = replace(
                node, name=name, inputs=tuple(names[i] for i in node.inputs), output=f"{name}_out"
            )
            known = {**self.tensors, **tensors}
            shape = layer(op).shape(placed, [known[i].shape for i in placed.inputs])
            if least <= np.prod(shape) <= most:
                self.tensors = {**known, placed.output: Tensor(placed.output, shape)}
                self.nodes.append(placed)
                self.open = [o for o in self.open if o not in placed.inputs] + [placed.output]
                return placed.output
        return None

    def flat(self, tensor: str) -> str:
        while len(self.tensors[tensor].shape) != 1:
            made = self.add("reshape", [tensor])
            assert made
            tensor = made
        return tensor

    def any(self) -> str:
        """Mostly what was made last, sometimes a tensor that already has a reader."""
        pool = [t.name for t in self.tensors.values() if t.value is None]
        return self.open[-1] if self.open and self.rng.integers(4) else str(self.rng.choice(pool))

    def any_vector(self) -> str:
        return self.flat(self.any())

    def map(self, tensor: str) -> str:
        """The tensor as [height, width, channels]."""
        while len(self.tensors[tensor].shape) != 3:
            made = self.add("reshape", [tensor])
            assert made
            tensor = made
        return tensor

    def window(self, tensor: str) -> str:
        """The tensor as [steps, inputs]."""
        while len(self.tensors[tensor].shape) != 2:
            made = self.add("reshape", [tensor])
            assert made
            tensor = made
        return tensor

    def rectified(self, tensor: str) -> str:
        """A ReLU of the tensor, or a ReLU6."""
        made = self.add("clip", [tensor])
        assert made
        hi = 6.0 if not self.rng.integers(4) else math.inf
        self.nodes[-1] = replace(self.nodes[-1], attrs={"lo": 0.0, "hi": hi})
        return made

    def alike(self, tensor: str) -> str:
        """Another tensor of this one's shape if there is any, else the same; or of size 1 along an axis."""
        shape = self.tensors[tensor].shape
        if max(shape) > 1 and not self.rng.integers(3):
            return self.narrowed(tensor)
        pool = [t.name for t in self.tensors.values() if t.value is None and t.shape == shape]
        return str(self.rng.choice(pool))

    def narrowed(self, tensor: str) -> str:
        """One place of an axis."""
        shape, name = self.tensors[tensor].shape, f"gather{len(self.nodes)}"
        axis = int(self.rng.choice([i for i, n in enumerate(shape) if n > 1]))
        attrs = {"axis": axis, "indices": (int(self.rng.integers(shape[axis])),)}
        made = f"{name}_out"
        self.nodes.append(Node("gather", name, (tensor,), made, attrs))
        self.tensors[made] = Tensor(made, tuple(1 if i == axis else n for i, n in enumerate(shape)))
        return made


OF_FILES = ("composed", "div", "lookup", "unit_length")
"""Ops of a file's integers alone, which no network of ours can have, and what a stage makes of others."""


def random_graph(rng: Rng, name: str) -> Graph:
    """1 to 4 dense layers and whatever other layers there are around them; 2 outputs or more."""
    net = _Net(rng)
    for _ in range(int(rng.integers(1, 4))):
        net.add_input()
    others = [op for op in layers() if op not in ("dense", *OF_FILES)]
    for _ in range(int(rng.integers(0, 4))):
        made = net.add("dense", [net.any_vector()])
        assert made
        if rng.integers(5):
            net.add("clip", [made])
        for _ in range(int(rng.integers(0, 3))):
            pool = [net.any_vector() for _ in range(int(rng.integers(1, 4)))]
            net.add(str(rng.choice(others)), pool)
        for _ in range(int(rng.integers(0, 4))):
            place = net.map(net.any())
            op = str(rng.choice([others, CONVOLUTIONS, POOLS, PAIRS][int(rng.choice([0, 0, 1, 1, 2, 3]))]))
            if op == "recurrent":
                net.add(op, [net.window(place)])
            else:
                net.add(op, [place, net.alike(place)][: int(rng.integers(1, 3))])
    leaves = [net.flat(t) for t in list(net.open)]
    last = leaves[0] if len(leaves) == 1 else net.add("concat", leaves)
    assert last
    output = net.add("dense", [last], least=2)
    assert output
    if not rng.integers(5):
        output = net.add("clip", [output]) or output
    if not rng.integers(4):
        made = net.add(str(rng.choice(others)), [net.map(output)], least=2, most=256)
        output = net.flat(made or output)
    return pruned(Graph(name, tuple(net.inputs), output, net.tensors, tuple(net.nodes)))


def rectified_graph(rng: Rng, name: str) -> Graph:
    """A map through convolutions and what stands between them, a ReLU behind most; 2 outputs or more."""
    net = _Net(rng)
    shape = tuple(int(n) for n in rng.integers(2, (8, 8, 9)))
    net.tensors["in_0"], net.inputs, net.open = Tensor("in_0", shape), ["in_0"], ["in_0"]
    at = "in_0"
    for _ in range(int(rng.integers(1, 7))):
        op = str(rng.choice(["conv2d", "conv2d", "conv2d", *POOLS, "pad", "concat", "add", "transpose"]))
        at = net.add(op, [at, net.alike(at)][: 2 if op in ("concat", "add") else 1], most=400) or at
        if op in ("conv2d", "add", "maxpool2d") and rng.integers(5):
            at = net.rectified(at)
        at = net.map(at)
    at = net.flat(at)
    for _ in range(int(rng.integers(0, 3))):
        at = net.rectified(net.add("dense", [at]) or at)
    output = net.add("dense", [at], least=2)
    assert output
    return pruned(Graph(name, ("in_0",), output, net.tensors, tuple(net.nodes)))


def recurrent_graph(rng: Rng, name: str) -> Graph:
    """A window through one or two recurrent layers, dense ones behind; 2 outputs or more."""
    net = _Net(rng)
    shape = tuple(int(n) for n in rng.integers(1, (7, 6)))
    net.tensors["in_0"], net.inputs, net.open = Tensor("in_0", shape), ["in_0"], ["in_0"]
    at = "in_0"
    for _ in range(int(rng.integers(1, 3))):
        at = net.add("recurrent", [net.window(at)], most=60) or at
    at = net.flat(at)
    for _ in range(int(rng.integers(0, 3))):
        at = net.rectified(net.add("dense", [at]) or at)
    output = net.add("dense", [at], least=2)
    assert output
    return pruned(Graph(name, ("in_0",), output, net.tensors, tuple(net.nodes)))


def barely_negative(rng: Rng, graph: Graph) -> Graph:
    """The graph with functions that dip below zero, as SiLU does, in the place of some of its ReLUs."""
    names = [f.name for f in FUNCTIONS if f.floor]

    def drawn(node: Node) -> Node:
        if node.op != "clip" or not rng.integers(3):
            return node
        fn = str(rng.choice(names))
        alpha, beta = SAMPLED.get(fn, (0.0, 0.0))
        return replace(node, op="table", attrs={"fn": fn, "alpha": alpha, "beta": beta})

    return replace(graph, nodes=tuple(map(drawn, graph.nodes)))


def random_spec(rng: Rng, graph: Graph) -> RuleSpec:
    """A rule file that a user could have written for this network."""
    plain = [name for name, found in rules().items() if not found.unrolls]  # else as bp, but over time
    rule = rules()[str(rng.choice(sorted(plain)))]
    dense = [n.name for n in graph.nodes if layer(n.op).weighted]
    chosen = tuple(n for n in dense if rng.integers(3)) or tuple(dense[-1:])
    init = str(rng.choice(rule.inits or ("random",)))
    storage = str(rng.choice([s for s in rule.storages or ("",) if (init, s) != ("aligned", "generated")]))
    everywhere = rng.integers(2) == 1 or rule.name in ("hybrid", "ff")  # which need two layers
    learned = tuple(dense) if everywhere else chosen
    hinge = Loss("hinge", float(rng.uniform(0.3, 2.0)), float(2.0 ** rng.integers(-4, 4)))
    return RuleSpec(
        rule=rule.name,
        layers="all" if everywhere else chosen,
        weights="int16" if rule.prototypes else str(rng.choice(["int8", "int16"])),
        rate=int(rng.integers(2, 10)),
        rates=tuple(sorted((n, int(rng.integers(2, 10))) for n in learned if not rng.integers(3))),
        rounding=str(rng.choice(["stochastic", "nearest", "dither"])),
        headroom=float(rng.choice([1.0, 1.5, 2.0, 4.0])),
        seed=int(rng.integers(0, 2**32)),
        loss=hinge if rng.integers(2) else Loss(),
        feedback=Feedback(init, storage, float(2.0 ** rng.integers(-2, 3))),
        decay=Decay(int(rng.integers(1, 12)), 1 << int(rng.integers(0, 3)))
        if rng.integers(2) and not rule.prototypes
        else None,
        replay=Replay(int(rng.integers(1, 9)), int(rng.integers(1, 3))) if rng.integers(2) else None,
        store=Store(int(rng.integers(1, 6)), str(rng.choice(["sequential", "shuffled"])))
        if rng.integers(2)
        else None,
    )


def random_through_time(rng: Rng, graph: Graph, spec: RuleSpec) -> RuleSpec:
    """Dense layers alone, or all under a rule that teaches layers which run over time: by a signal of their
    own, or by what comes down."""
    if rng.integers(2) or any(n.attrs.get("cell") == EARLY for n in graph.nodes):
        return replace(spec, layers=DENSE, rates=())
    direct = [name for name, found in rules().items() if found.direct]
    unrolled = [name for name, found in rules().items() if found.unrolls]
    rule = str(rng.choice(direct if rng.integers(2) else unrolled))
    return replace(spec, rule=rule, layers="all", rates=(), feedback=Feedback())


def random_state(rng: Rng, spec: RuleSpec) -> RuleSpec:
    """Perhaps windows that begin where the one before ended, without what runs others in between."""
    if rng.integers(3):
        return spec
    return replace(spec, state=State(True), store=None, replay=None, guard=None, pseudo=None, arena=Arena())


def random_options(rng: Rng, rule: str) -> Settings:
    """What `[options]` might say of a rule that has any: few trials and layers, all words."""
    out: list[tuple[str, Setting]] = []
    for option in rules()[rule].options if rng.integers(2) else ():
        if isinstance(option, Integer):
            out.append((option.name, option.low + int(rng.choice([0, 0, 1, 2]))))
        elif isinstance(option, PowerOfTwo):
            out.append((option.name, float(2.0 ** rng.integers(option.low, option.high + 1))))
        elif isinstance(option, Choice):
            out.append((option.name, str(rng.choice(option.words))))
    usual = {option.name: option.default for option in rules()[rule].options}
    out = [(name, value) for name, value in out if value != usual[name]]  # as rule files are read
    if rule == "hybrid" and dict(out).get("head") != "sdfa":
        out = [(name, value) for name, value in out if name != "threshold"]  # the head's, which has none
    return tuple(out)


def random_head(rng: Rng, graph: Graph) -> Head:
    """A new classifier in the place of the last layer, or behind one that is none."""
    append = classifier(without_head(graph)) is None or not rng.integers(4)
    new = int(rng.integers(1, 8))
    classes = new if append or rng.integers(2) else str(rng.choice(["", "+1", f"+{new}"]))
    init = str(rng.choice(["zero", "random", "prototypes"]))
    return Head(classes, append, init, 0 if classes == 1 else int(rng.integers(classes == "", 9)))


LABELLED = {"drtp", "ff", "ssg"}
"""Rules that hear a label, and no numbers."""


def tries(spec: RuleSpec) -> bool:
    """Whether changes are tried out: such a rule hears a loss, and its rates do not fall."""
    return any(o.name == "epsilon" for o in rules()[spec.rule].options)


def moves_means(spec: RuleSpec) -> bool:
    """Whether all rows are means of features, so that no start can be asked for."""
    return rules()[spec.rule].prototypes


def with_head(spec: RuleSpec, graph: Graph, head: Head) -> RuleSpec:
    """The rule file with a head, which learns."""
    made = replace(spec, head=head)
    node = classifier(replaced(graph, made))
    assert node
    layers = spec.layers if isinstance(spec.layers, str) else tuple(dict.fromkeys((*spec.layers, node.name)))
    return replace(made, layers=layers)


def random_numbers(
    rng: Rng, graph: Graph, spec: RuleSpec, calibration: dict[str, np.ndarray]
) -> tuple[RuleSpec, dict[str, np.ndarray]]:
    """Perhaps numbers to learn in place of classes: those of targets, or the network's own input."""
    return (spec, calibration) if rng.integers(8) else numbers(rng, graph, spec, calibration)


def random_autoencoder(
    rng: Rng, graph: Graph, spec: RuleSpec, calibration: dict[str, np.ndarray]
) -> tuple[RuleSpec, dict[str, np.ndarray]]:
    """Perhaps the network's own input to learn, where it has one that is small."""
    sizes = [graph.tensors[n].size for n in graph.inputs]
    if rng.integers(4) or spec.numbers or len(sizes) > 1 or sizes[0] > 40:
        return spec, calibration
    return numbers(rng, graph, spec, calibration)


def numbers(
    rng: Rng, graph: Graph, spec: RuleSpec, calibration: dict[str, np.ndarray]
) -> tuple[RuleSpec, dict[str, np.ndarray]]:
    """Numbers to learn, where the rule hears their error."""
    if spec.rule == INFERENCE_ONLY or (spec.head and spec.head.imprint):
        return spec, calibration
    if moves_means(spec) or {spec.rule, dict(spec.options).get("head")} & LABELLED:
        return spec, calibration
    given = {n: x for n, x in calibration.items() if n != "label"}
    spec = replace(spec, store=spec.store and replace(spec.store, drop=OLDEST))
    sizes = [graph.tensors[n].size for n in graph.inputs]
    if len(sizes) == 1 and sizes[0] <= 40:
        head = Head(sizes[0], classifier(without_head(graph)) is None, str(rng.choice(["zero", "random"])))
        return with_head(replace(spec, loss=Loss("mse", target="input")), graph, head), given
    if spec.head and spec.head.init == "prototypes":
        spec = replace(spec, head=replace(spec.head, init="random"))
    whole = replaced(graph, spec) if spec.head else graph
    n, outputs = len(given[graph.inputs[0]]), whole.tensors[whole.output].size
    target = rng.normal(0, 2.0 ** rng.integers(-2, 3), (n, outputs))
    return replace(spec, loss=Loss("mse")), given | {"target": target}


def random_weighing(rng: Rng, spec: RuleSpec, calibration: dict[str, np.ndarray]) -> RuleSpec:
    """Perhaps weights of classes, a clip or a threshold, where a rule takes them."""
    if rng.integers(4) or spec.rule == INFERENCE_ONLY or moves_means(spec) or tries(spec):
        return spec
    loss = replace(spec.loss, clip=float(rng.choice([math.inf, 0.25, 1.0, 3.0])))
    if rng.integers(2):
        loss = replace(loss, skip_below=float(2.0 ** -rng.integers(3, 10)))
    if rng.integers(2) and not spec.numbers and "label" in calibration:
        loss = replace(loss, class_weights="balanced")
    return replace(spec, loss=loss)


def gathers(spec: RuleSpec) -> bool:
    """Whether changes of this rule add up: not trials, nor means, nor two changes of a layer at a step."""
    if spec.rule == INFERENCE_ONLY or moves_means(spec):
        return False
    rule = rules()[spec.rule]
    return rule.waits and not any(o.name == "epsilon" for o in rule.options)


def random_gathering(rng: Rng, spec: RuleSpec) -> RuleSpec:
    """Perhaps changes that add up over samples, a momentum, or both."""
    if rng.integers(5) or not gathers(spec):
        return spec
    samples = Accumulate(int(rng.integers(2, 5))) if rng.integers(3) else None
    momentum = Momentum(int(rng.integers(1, 9))) if samples is None or rng.integers(2) else None
    return replace(spec, accumulate=samples, momentum=momentum)


def random_freeze(rng: Rng, spec: RuleSpec) -> RuleSpec:
    """Perhaps learning that pauses, where a rule waits for errors."""
    if rng.integers(5) or spec.rule == INFERENCE_ONLY or moves_means(spec) or not rules()[spec.rule].waits:
        return spec
    below, share = float(2.0 ** -rng.integers(1, 10)), float(2.0 ** -rng.integers(1, 4))
    return replace(spec, freeze=Freeze(below, int(rng.integers(1, 6)), share))


def random_sparse(rng: Rng, graph: Graph, spec: RuleSpec) -> RuleSpec:
    """Perhaps hidden layers of which some rows learn: a share, or rows by number."""
    if rng.integers(4) or spec.rule == INFERENCE_ONLY or spec.init:
        return spec
    graph = replaced(graph, spec) if spec.head else graph
    weighted = [n for n in graph.nodes if layer(n.op).weighted]
    dense = [n.name for n in weighted if layer(n.op).fully]
    if not (dense if spec.layers == DENSE else weighted):
        return spec
    learned = rules()[spec.rule].narrow(select_layers(spec, [n.name for n in weighted], dense), spec)
    tries = any(o.name == "epsilon" for o in rules()[spec.rule].options) or moves_means(spec)
    sparse: list[tuple[str, Share]] = []
    for node in weighted:
        rows = graph.tensors[node.inputs[2]].size
        hidden = node.name in learned and not makes_scores(graph, node)
        tied = rows == graph.tensors[node.output].shape[-1]
        if not hidden or not tied or rows < 2 or node.attrs.get("groups", 1) != 1 or not rng.integers(4):
            continue
        some = tuple(sorted(rng.choice(rows, int(rng.integers(1, rows)), replace=False).tolist()))
        alone = not tries and rng.integers(2)
        sparse.append((node.name, float(rng.uniform(0.01, 0.99)) if alone else some))
    return replace(spec, sparse=tuple(sorted(sparse)))


def random_pseudo(rng: Rng, spec: RuleSpec) -> RuleSpec:
    """Perhaps samples without a label that are learned under the verdict on them."""
    if rng.integers(5) or spec.rule == INFERENCE_ONLY or spec.numbers:
        return spec
    return replace(spec, pseudo=Pseudo(float(rng.choice([0, 2.0 ** -rng.integers(1, 9)]))))


def random_guard(rng: Rng, spec: RuleSpec, calibration: dict[str, np.ndarray]) -> RuleSpec:
    """Perhaps a guard, a small one that judges often."""
    if rng.integers(5) or spec.rule == INFERENCE_ONLY or spec.numbers:
        return spec
    guard = Guard(
        every=int(rng.integers(2, 5)),
        samples=int(rng.integers(2, 6)),
        drop=str(rng.choice([BALANCED, OLDEST])),
        margin=float(rng.choice([0, rng.uniform(0, 0.5), 1])),
        gain=float(rng.choice([0, rng.uniform(0, 0.3)])),
        base=int(rng.integers(5)) if "label" in calibration else 0,
        base_margin=float(rng.choice([0, rng.uniform(0, 0.5), 1])),
        period=int(rng.integers(1, 4)),
    )
    return replace(spec, guard=guard)


def random_anomaly(rng: Rng, spec: RuleSpec) -> RuleSpec:
    """Perhaps a network that gives its input again watches for anomalies."""
    if not spec.itself or not rng.integers(3) or moves_means(spec) or not rules()[spec.rule].waits:
        return spec
    of = int(rng.integers(1, 6))
    anomaly = Anomaly(
        quantile=float(rng.uniform(0.5, 0.99)),
        step=float(2.0 ** -rng.integers(1, 13)),
        votes=int(rng.integers(1, of + 1)),
        of=of,
        least=int(rng.integers(4)),
        most=int(rng.choice([0, 4, 20])),
        block=int(rng.choice([0, 16])),
        patience=int(rng.integers(1, 3)),
    )
    return replace(spec, anomaly=anomaly, freeze=None, store=None, replay=None)


def random_calibration(rng: Rng, graph: Graph) -> dict[str, np.ndarray]:
    n = int(rng.integers(1, 60))
    out = {
        i: (rng.normal(0, 2.0 ** rng.integers(-3, 4), (n, *graph.tensors[i].shape))).astype(np.float32)
        for i in graph.inputs
    }
    return out | {"label": rng.integers(0, graph.tensors[graph.output].size, n)}


def random_model(seed: int) -> Compiled:
    """The compilation that belongs to a seed; CompileError where its parts do not fit each other."""
    graph, spec, calibration, mode = random_parts(seed)
    return compile_model(graph, spec, calibration, quantise=mode)


def random_parts(seed: int) -> tuple[Graph, RuleSpec, dict[str, np.ndarray], str]:
    """What `random_model` compiles, and how it chooses integers."""
    rng = np.random.default_rng([20240611, seed])
    timed = np.random.default_rng([19, seed])
    graph = random_graph(rng, f"m{seed}") if timed.integers(12) else recurrent_graph(timed, f"m{seed}")
    spec, calibration = random_spec(rng, graph), random_calibration(rng, graph)
    over_time = any(layer(n.op).timed for n in graph.nodes)
    spec = random_through_time(timed, graph, spec) if over_time else spec
    options = random_options(np.random.default_rng([11, seed]), spec.rule)
    layers = sum(layer(n.op).weighted for n in graph.nodes)
    kept = (o for o in options if o[0] != "depth" or int(o[1]) < layers)  # else nothing is left to be moved
    spec = replace(spec, options=tuple(kept))
    if not rng.integers(12):
        spec = RuleSpec(INFERENCE_ONLY)
    if not spec.replay and not rng.integers(6):
        del calibration["label"]
    if not np.random.default_rng([5, seed]).integers(3):
        spec = replace(spec, arena=Arena(shared=False))
    drawn = np.random.default_rng([6, seed])
    best = not drawn.integers(4)
    if best and drawn.integers(2):  # most of its zero points are where nothing learns
        graph, spec = rectified_graph(drawn, f"m{seed}"), RuleSpec(INFERENCE_ONLY)
        calibration = random_calibration(drawn, graph)
        if (own := np.random.default_rng([10, seed])).integers(2):
            graph = barely_negative(own, graph)
    more = np.random.default_rng([9, seed])
    if not more.integers(4) and spec.rule != INFERENCE_ONLY:
        head = random_head(more, graph)
        spec = with_head(spec, graph, replace(head, init=Head().init) if moves_means(spec) else head)
        assert spec.head
        new = replaced(graph, spec)
        classes, n = max(2, new.tensors[new.output].size), len(next(iter(calibration.values())))
        if classes > n or "label" not in calibration:
            spec = replace(spec, head=replace(spec.head, init="zero"))
        if "label" in calibration:
            calibration["label"] = more.permutation(np.arange(n) % classes)
        if new.tensors[new.output].size == 1 and spec.loss.kind == "hinge":  # of two classes
            spec = replace(spec, loss=Loss())
    dense = spec.head is not None or classifier(graph) is not None
    if spec.rule != INFERENCE_ONLY and moves_means(spec) and not dense:
        spec = RuleSpec(INFERENCE_ONLY)
    late = np.random.default_rng([12, seed])
    if spec.rule != INFERENCE_ONLY and not late.integers(5):
        falls = sorted({int(n) for n in late.integers(1, 6, int(late.integers(1, 4)))})
        schedule = Schedule(tuple(falls), int(late.integers(1, 3)))
        spec = replace(spec, schedule=None if tries(spec) or moves_means(spec) else schedule)
    if spec.rule != INFERENCE_ONLY and not late.integers(8):
        spec = replace(spec, init=str(late.choice(STARTS)))
    spec, calibration = random_numbers(np.random.default_rng([8, seed]), graph, spec, calibration)
    spec, calibration = random_autoencoder(np.random.default_rng([21, seed]), graph, spec, calibration)
    spec = random_weighing(np.random.default_rng([13, seed]), spec, calibration)
    spec = random_gathering(np.random.default_rng([14, seed]), spec)
    spec = random_freeze(np.random.default_rng([15, seed]), spec)
    spec = random_guard(np.random.default_rng([16, seed]), spec, calibration)
    spec = random_sparse(np.random.default_rng([17, seed]), graph, spec)
    spec = random_pseudo(np.random.default_rng([18, seed]), spec)
    spec = random_anomaly(np.random.default_rng([20, seed]), spec)
    if over_time:
        spec = random_state(np.random.default_rng([21, seed]), spec)
    if over_time and spec.layers != DENSE:
        spec = replace(spec, init="", schedule=None, accumulate=None, momentum=None)
    return graph, spec, calibration, BEST if best else FAST


KEPT = "SYNAPCC_TEST_NETWORKS"
"""Names a folder of this run of the tests, in which networks lie that one of them compiled."""


def _fresh(seed: int) -> Compiled | None:
    try:
        return random_model(seed)
    except CompileError:
        return None


def _kept(seed: int) -> Compiled | None:
    """`random_model`, compiled once in a run of the tests; None where that is refused. Tests bring layers,
    kernels and rules of their own, which it draws from: they are part of the name."""
    if touched():
        return _fresh(seed)
    known = sha256(repr([sorted(found) for found in (layers(), kernels(), rules())]).encode()).hexdigest()
    path = Path(os.environ[KEPT], f"{seed}-{known[:16]}")
    if not path.exists():
        part = path.with_suffix(f".{os.getpid()}")
        part.write_bytes(pickle.dumps(_fresh(seed)))
        part.replace(path)
    found: Compiled | None = pickle.loads(path.read_bytes())
    return found


ANY = 500
"""Where tests begin to draw for which any networks will do: they share them. Others have seeds of their own,
so that a run of the tests sees more of them."""


def accepted(first: int, count: int) -> Iterator[tuple[Compiled, int]]:
    """`count` compilations and their seeds, from `first` on, without the refused ones: few, at most. Tests
    that draw from one place share what they compile."""
    made = tried = 0
    while made < count:
        seed = first + tried
        tried += 1
        compiled = _kept(seed)
        if compiled is None:
            assert tried - made < 10 + REFUSED * tried, f"{tried - made} of {tried} combinations were refused"
            continue
        made += 1
        yield compiled, seed


@dataclass(frozen=True, slots=True)
class Deed:
    """One thing that happens to a model. `what`: infer, an entry program that learns, or state (its bytes are
    written)."""

    what: str
    inputs: dict[str, np.ndarray]
    label: int = 0
    state: bytes = b""


def extreme_state(plan: Plan, rng: Rng) -> bytes:
    """A state that a host could write: every tensor at or between its limits, rings that hold together."""
    block = np.zeros(plan.state_bytes, np.uint8)
    for t in plan.space("state"):
        dtype = np.dtype(t.dtype)
        if t.role in ("label", "counter"):
            values = rng.integers(t.lo, min(t.hi, rng.choice([4, 2**16, 2**32])) + 1, t.stored)
        else:
            inner = rng.integers(t.lo, t.hi + 1, t.stored)
            values = np.choose(
                rng.integers(0, 3, t.stored) if rng.integers(2) else np.full(t.stored, rng.integers(3)),
                [np.full(t.stored, t.lo), np.full(t.stored, t.hi), inner],
            )
            values[..., t.shape[-1] :] = 0  # padding
        raw = values.astype(dtype).tobytes()
        block[t.offset : t.offset + len(raw)] = np.frombuffer(raw, np.uint8)
    for cursor, count, rows in rings(plan):
        at, kept = (block[plan[n].offset :][:4].view(np.uint32) for n in (cursor, count))
        at[0] = kept[0] if kept[0] < rows else at[0]
    return block.tobytes()


def life(plan: Plan, seed: int) -> Iterator[Deed]:
    """Inference, learning, extreme inputs and an extreme state, rehearsal."""
    rng = np.random.default_rng([7, seed])

    def sample() -> dict[str, np.ndarray]:
        kind = rng.integers(3)
        out = {}
        for name in plan.inputs:
            n, top = plan[name].shape[0], np.iinfo(plan[name].dtype)
            out[name] = (
                rng.choice([top.min, top.max], n)
                if kind == 0
                else rng.integers(top.min, top.max + 1, n)
                if kind == 1
                else rng.integers(-20, 21, n)
            ).astype(top.dtype)[None]
        return out

    for round_ in range(2):
        yield Deed("infer", sample())
        for _ in range(3 if "learn" in plan.entries else 0):
            yield Deed("learn", sample(), int(rng.integers(plan.classes)))
        for name in ("learn_input", "learn_target"):  # a target: whatever lies there
            for _ in range((9 if plan.watches else 3) if name in plan.entries else 0):  # a block of 16 ends
                yield Deed(name, sample())
        for name in ("score", "reset", "relearn") if plan.watches else ():
            yield Deed(name, sample() if name == "score" else {})
        for _ in range(3 if "imprint" in plan.entries else 0):
            yield Deed("imprint", sample(), int(rng.integers(plan.classes)))
        if "rehearse" in plan.entries:
            yield Deed("rehearse", {})
        yield Deed("infer", sample())
        if round_ == 0:
            yield Deed("state", {}, state=extreme_state(plan, rng))
