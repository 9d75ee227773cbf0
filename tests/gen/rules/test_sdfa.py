"""Direct feedback of the error's sign: hidden layers learn numbers of any size, or it is said."""

from __future__ import annotations

import numpy as np
import pytest
from head_nets import NEW, SIZE, Data, perceptron, samples

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.spec import Loss, RuleSpec
from synapcc.host.run.emulator import Emulator

MIX = np.random.default_rng(8).normal(0, 1 / np.sqrt(SIZE), (3, SIZE))


def numbers(scale: float, n: int = 200) -> Data:
    x = np.random.default_rng(1).normal(0, 1, (n, SIZE))
    return {"x": x.astype(np.float32), "target": (scale * (5.0 + x @ MIX.T)).astype(np.float32)}


def changed(c: Compiled, data: Data, entry: str) -> float:
    """The share of a hidden layer's weights that one pass changes."""
    machine = Emulator(c.plan)
    for i in range(len(data["x"])):
        machine.run(entry, inputs={n: data[n][i : i + 1] for n in (*c.plan.inputs, "target") if n in data})
    return float(np.mean(machine["fc1_weight"][0] != c.plan["fc1_weight"].array()))


@pytest.mark.parametrize("k", range(-8, 9, 4))
def test_hidden_layers_learn_numbers_of_any_size(k: int) -> None:
    """The threshold is an eighth of what targets differ by, and the network's scores are as large as they."""
    data, graph = numbers(2.0**k), perceptron(3)
    for name in ("fc2_w", "fc2_b"):
        value = graph.tensors[name].value
        assert value is not None
        value *= 2.0**k
    c = compile_model(graph, RuleSpec("sdfa", rate=8 + k, loss=Loss("mse")), data)
    (step,) = [s for _, s in c.abstract.steps() if s.kernel == "ternary.forward"]
    far = np.median(np.max(np.abs(data["target"] - np.median(data["target"], axis=0)), axis=1))
    assert 2**-0.51 < step.attrs["threshold"] / (far / 8) < 2**0.51
    assert changed(c, data, "learn_target") > 0.5


def test_an_autoencoder_counts_its_threshold_in_its_inputs() -> None:
    data = {"x": 0.01 * numbers(1.0)["x"]}
    c = compile_model(perceptron(SIZE), RuleSpec("sdfa", rate=8, loss=Loss("mse", target="input")), data)
    assert changed(c, data, "learn_input") > 0.5


@pytest.mark.parametrize("classes", [1, NEW])
def test_a_threshold_that_no_error_reaches_is_refused(classes: int) -> None:
    data = samples(60, max(classes, 2), 1)
    compile_model(perceptron(classes), RuleSpec("sdfa", options=(("threshold", 0.5),)), data)
    with pytest.raises(
        CompileError, match=r"nothing reaches the threshold of 1: the largest is .*; take a smaller"
    ):
        compile_model(perceptron(classes), RuleSpec("sdfa", options=(("threshold", 1.0),)), data)


def test_a_network_whose_numbers_are_right_already_goes_on_learning() -> None:
    """Errors are those of other samples' targets, too, so the threshold is met."""
    graph, x = perceptron(3), numbers(1.0)["x"]
    w = [graph.tensors[n].value for n in ("fc1_w", "fc1_b", "fc2_w", "fc2_b")]
    assert all(v is not None for v in w)
    y = np.maximum(x @ w[0].T + w[1], 0) @ w[2].T + w[3]  # type: ignore[union-attr, operator]
    right = {"x": x, "target": y.astype(np.float32)}
    c = compile_model(graph, RuleSpec("sdfa", loss=Loss("mse")), right)
    assert changed(c, right, "learn_target") < 0.05
    assert changed(c, right | {"target": right["target"][::-1]}, "learn_target") > 0.5


def test_without_targets_the_threshold_follows_the_scores() -> None:
    data = numbers(1.0)
    c = compile_model(perceptron(3), RuleSpec("sdfa", loss=Loss("mse")), {"x": data["x"]})
    assert changed(c, data, "learn_target") > 0.5
