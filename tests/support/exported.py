"""What an exported file must compute: the layers' own real meaning."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from synapcc.gen.ir.graph import Graph
from synapcc.gen.ir.quantiser import normalised
from synapcc.gen.spec import RuleSpec
from synapcc.gen.stages.float_run import RealMachine
from synapcc.gen.stages.schedule import build

SAMPLES = 4

Arrays = Mapping[str, np.ndarray]


def random_feeds(rng: np.random.Generator, graph: Graph) -> dict[str, np.ndarray]:
    shapes = {i: graph.tensors[i].shape for i in graph.inputs}
    return {i: rng.normal(0, 1, (SAMPLES, *s)).astype(np.float32) for i, s in shapes.items()}


def computed(graph: Graph, feeds: Arrays) -> np.ndarray:
    """What a file with this network gives, [n, classes], by the layers' own real meaning."""
    abstract = build(graph, RuleSpec("none"), None, (), {})
    machine = RealMachine(abstract.values, abstract.programs, SAMPLES, shared=True)
    taken = normalised(graph.quantisers, feeds)
    machine.load({i: taken[i].reshape(SAMPLES, -1) for i in graph.inputs})
    machine.run("forward")
    scores = machine.arena[abstract.logits].astype(np.float64)
    if graph.head == "softmax":
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(scores / scores.sum(axis=1, keepdims=True))
    return 1 / (1 + np.exp(-scores)) if graph.head == "sigmoid" else scores


def assert_close(got: np.ndarray, want: np.ndarray) -> None:
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5 * max(1.0, float(np.abs(want).max())))
