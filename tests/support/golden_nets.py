"""The networks whose emitted C is kept as golden files."""

from __future__ import annotations

import numpy as np

from synapcc.gen.compile import compile_model
from synapcc.gen.ir.graph import Graph, Node, Tensor
from synapcc.gen.ir.plan import Plan
from synapcc.gen.spec import Arena, Decay, Feedback, Loss, Replay, RuleSpec, Store

SPECS = {
    "ring": RuleSpec(
        "hebbian",
        rate=6,
        feedback=Feedback("random", "ram"),
        decay=Decay(8, 4),
        replay=Replay(2),
        store=Store(3, "shuffled"),
    ),
    "byte": RuleSpec(
        "dfa",
        weights="int8",
        rate=4,
        rounding="dither",
        loss=Loss("hinge"),
        feedback=Feedback("ternary", "generated"),
        arena=Arena(shared=False),
    ),
    "pair": RuleSpec("bp", layers=("fc2",), rate=6, rounding="nearest"),
}

KERNELS = {"ring": "ref", "byte": "ref", "pair": "dsp"}


def spread(n: int, step: int) -> np.ndarray:
    """Numbers between -0.5 and 0.5 that no library's random generator decides."""
    return ((np.arange(n) * step) % 101 - 50) / 100


def golden_plan(name: str) -> Plan:
    shapes = {"h": (5,), "r": (5,), "z": (3,)}
    constants = {
        "w1": spread(35, 37).reshape(5, 7),
        "b1": spread(5, 11),
        "w2": spread(15, 29).reshape(3, 5),
        "b2": spread(3, 7),
    }
    tensors = (
        {"x": Tensor("x", (7,))}
        | {n: Tensor(n, s) for n, s in shapes.items()}
        | {n: Tensor(n, v.shape, v) for n, v in constants.items()}
    )
    nodes = (
        Node("dense", "fc1", ("x", "w1", "b1"), "h", source="/net/fc1"),
        Node("clip", "relu", ("h",), "r", {"lo": 0.0, "hi": float("inf")}),
        Node("dense", "fc2", ("r", "w2", "b2"), "z"),
    )
    calibration = {"x": 4 * spread(20 * 7, 43).reshape(20, 7), "label": np.arange(20) % 3}
    return compile_model(Graph(name, ("x",), "z", tensors, nodes), SPECS[name], calibration).plan
