"""The network of this example that `synapcc bench --emulator` measures: a perceptron learned from scratch."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from synapcc.gen.compile import compile_model
from synapcc.gen.ir.graph import Graph, Node, Tensor
from synapcc.gen.ir.plan import Plan
from synapcc.gen.spec import ALL, RuleSpec

SIZES = (784, 100, 50, 10)


def networks() -> Iterator[tuple[str, Plan, Sequence[int]]]:
    """(title, Plan, numbers of devices)."""
    rng = np.random.default_rng(0)
    tensors, nodes, last = {"x": Tensor("x", SIZES[:1])}, [], "x"
    for i, (n, m) in enumerate(itertools.pairwise(SIZES), 1):
        names = f"w{i}", f"b{i}", f"z{i}", f"r{i}"
        tensors |= {names[0]: Tensor(names[0], (m, n), rng.normal(0.0, 1 / math.sqrt(n), (m, n)))}
        tensors |= {names[1]: Tensor(names[1], (m,), np.zeros(m)), names[2]: Tensor(names[2], (m,))}
        nodes.append(Node("dense", f"fc{i}", (last, names[0], names[1]), names[2]))
        last = names[2]
        if m != SIZES[-1]:
            tensors |= {names[3]: Tensor(names[3], (m,))}
            nodes.append(Node("clip", f"relu{i}", (last,), names[3], {"lo": 0.0, "hi": math.inf}))
            last = names[3]
    graph = Graph("digits", ("x",), last, tensors, tuple(nodes))
    calibration = {"x": rng.uniform(0.0, 1.0, (64, SIZES[0])), "label": rng.integers(0, SIZES[-1], 64)}
    spec = RuleSpec("bp", layers=ALL, rate=7)
    yield f"{'-'.join(map(str, SIZES))} from scratch, bp", compile_model(graph, spec, calibration).plan, (1,)
