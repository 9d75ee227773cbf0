"""Backpropagation, the oracle of all rules, against numeric derivatives, on random networks."""

from __future__ import annotations

import numpy as np
import pytest
from derivatives import check
from random_nets import random_graph

from synapcc.gen.errors import CompileError
from synapcc.gen.ir.graph import Graph, Node, Tensor

GRAPHS = 60


def test_backpropagation_is_the_derivative() -> None:
    moved = refused = 0
    for seed in range(GRAPHS):
        rng = np.random.default_rng([20240611, seed])
        try:
            moved += check(random_graph(rng, f"m{seed}"), rng, 2)
        except CompileError as error:  # no signal passes a log-softmax, or steps alone
            assert "softmax" in str(error).lower() or "steps pass no" in str(error), error
            refused += 1
    assert moved > 2 * GRAPHS and refused < GRAPHS // 10


@pytest.mark.parametrize("op, size", [("concat", 8), ("add", 4)])
def test_a_tensor_that_meets_itself_hears_from_both_places(op: str, size: int) -> None:
    rng = np.random.default_rng(3)
    constants = {"w1": (4, 6), "b1": (4,), "w2": (3, size), "b2": (3,)}
    tensors = {n: Tensor(n, s, rng.normal(size=s)) for n, s in constants.items()}
    tensors |= {n: Tensor(n, s) for n, s in {"x": (6,), "h": (4,), "hh": (size,), "z": (3,)}.items()}
    nodes = (
        Node("dense", "fc1", ("x", "w1", "b1"), "h"),
        Node(op, "twice", ("h", "h"), "hh"),
        Node("dense", "fc2", ("hh", "w2", "b2"), "z"),
    )
    assert check(Graph("twice", ("x",), "z", tensors, nodes), rng, 6) >= 20
