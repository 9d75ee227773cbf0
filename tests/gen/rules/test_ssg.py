"""Static synthetic gradients: frozen matrices predict what backpropagation would say."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from head_nets import OLD, Data, perceptron, samples

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.ir.graph import Graph, Node, Tensor
from synapcc.gen.rules import ssg
from synapcc.gen.spec import Head, RuleSpec
from synapcc.gen.stages.float_run import RealMachine
from synapcc.gen.stages.probe import RIDGE, Products
from synapcc.host.run.emulator import Emulator


def compiled(rule: str, data: Data, layers: int = 3, **more: object) -> Compiled:
    return compile_model(perceptron(OLD, layers), RuleSpec(rule, **{"rate": 6, **more}), data)  # type: ignore[arg-type]


def signals(c: Compiled, data: Data, name: str) -> np.ndarray:
    """What a hidden layer hears in real numbers, of each sample under each label, [n * OLD, units]."""
    n, out = len(data["x"]), []
    for turn in range(OLD):
        machine = RealMachine(c.abstract.values, c.abstract.programs, n, shared=True)
        label = (data["label"] + turn) % OLD
        machine.load({"x": data["x"].astype(np.float64), "label": label[:, None]})
        machine.run("adapt")
        step = next(s for _, s in c.abstract.steps() if s.kernel == "dense.update" and s.node == name)
        out.append(machine.real(step.args["d"]).copy())
    return np.concatenate(out)


@pytest.mark.parametrize("layer", ["fc1", "fc2"])
def test_what_is_predicted_points_where_backpropagation_does(layer: str) -> None:
    data, unseen = samples(400, OLD, 1), samples(200, OLD, 2)
    want, got = (signals(compiled(rule, data), unseen, layer) for rule in ("bp", "ssg"))
    cosine = np.sum(want * got) / np.sqrt(np.sum(want**2) * np.sum(got**2))
    assert cosine > 0.8
    assert 0.5 < np.sqrt(np.mean(got**2) / np.mean(want**2)) < 1.2


def test_it_learns_all_layers() -> None:
    data, unseen = samples(400, OLD, 1), samples(300, OLD, 2)
    c = compiled("ssg", data)
    machine = Emulator(c.plan)
    before = machine.evaluate(unseen).accuracy
    for i in range(len(data["x"])):
        machine.learn({"x": data["x"][i : i + 1]}, data["label"][i : i + 1])
    assert machine.evaluate(unseen).accuracy > 0.93 > 2 / OLD > before
    for name in ("fc1", "fc2", "fc3"):
        t = c.plan[f"{name}_weight"]
        assert np.mean(machine[t.name][0] != t.array()) > 0.5


def test_nothing_is_stored_in_ram_and_no_signal_passes_a_layer() -> None:
    c, base = compiled("ssg", samples(60, OLD, 1)), compiled("bp", samples(60, OLD, 1))
    assert c.plan.state_bytes == base.plan.state_bytes
    read = {n for _, _, s in c.plan.ops() if s.kernel == "project.matrix" for n in s.args.values()}
    assert not any(c.plan[n].space == "state" for n in read)


def test_a_new_classifier_of_zeros_has_nothing_to_predict() -> None:
    data = samples(60, OLD, 1)
    with pytest.raises(CompileError, match="no error reaches the layers below the scores"):
        compiled("ssg", data, head=Head(OLD))
    compiled("ssg", data, head=Head(OLD, init="prototypes"))


def test_a_layer_whose_matrix_would_be_too_large_is_refused() -> None:
    n = ssg.MOST + 1
    rng = np.random.default_rng(1)
    constants = {
        "w1": rng.normal(0, 1, (n, 2)),
        "b1": np.zeros(n),
        "w2": rng.normal(0, 1e-2, (3, n)),
        "b2": np.zeros(3),
    }
    tensors = {name: Tensor(name, v.shape, v) for name, v in constants.items()}
    tensors |= {"x": Tensor("x", (2,)), "h": Tensor("h", (n,)), "z": Tensor("z", (3,))}
    nodes = (Node("dense", "wide", ("x", "w1", "b1"), "h"), Node("dense", "last", ("h", "w2", "b2"), "z"))
    data = {"x": rng.normal(0, 1, (20, 2)), "label": np.arange(20) % 3}
    with pytest.raises(
        CompileError, match=r"wide: has 2,049 values behind its activation, and ssg takes up to 2,048"
    ):
        compile_model(Graph("net", ("x",), "z", tensors, nodes), RuleSpec("ssg"), data)


@pytest.mark.parametrize("seed", range(12))
def test_the_targets_block_may_be_eliminated_first(seed: int) -> None:
    """What predicts best is that of the whole system, which has the square of units and classes."""
    rng = np.random.default_rng(seed)
    n, classes, count = (int(k) for k in rng.integers((1, 1, 8), (24, 40, 200)))
    h, d = np.maximum(rng.normal(0, 1, (count, n)), 0), rng.normal(0, 1, (count, n))
    label = rng.integers(0, max(2, classes), count)
    t = -np.eye(classes)[label] if classes > 1 else 1.0 - 2.0 * label[:, None]
    products, cut = Products.of(n, classes), count // 2
    for weight, rows in ((1.0, slice(cut)), (7.0, slice(cut, None))):
        products.add(weight, h[rows], t[rows], d[rows])
    counts = np.where(np.arange(count) < cut, 1.0, 7.0)[:, None]
    x = np.concatenate([h, t], axis=1)
    gram, moments = x.T @ (counts * x), x.T @ (counts * d)
    little = RIDGE * np.trace(gram) / len(gram)
    want = np.linalg.solve(gram + little * np.eye(len(gram)), moments)
    assert np.max(np.abs(np.concatenate(products.solved()) - want)) < 1e-9 * np.max(np.abs(want))


def test_memory_does_not_grow_with_the_square_of_the_classes() -> None:
    data, classes = samples(30, OLD, 1), 1500
    tracemalloc.start()
    try:
        compile_model(perceptron(classes, 3), RuleSpec("ssg", rate=10), data)
        assert tracemalloc.get_traced_memory()[1] < 8 * classes**2
    finally:
        tracemalloc.stop()
