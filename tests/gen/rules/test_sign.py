"""Sign-symmetry where the weights say nothing yet: signs have the size of weights of that shape."""

from __future__ import annotations

import numpy as np
import pytest
from head_nets import HIDDEN, NEW, Data, perceptron, samples

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.spec import Head, RuleSpec
from synapcc.host.run.emulator import Emulator


def largest_change(rule: str, data: Data) -> float:
    """Of the hidden layer's weights, in real numbers, over one pass."""
    c = compiled(rule, data)
    machine = Emulator(c.plan)
    t = c.plan["fc1_weight"]
    for i in range(len(data["x"])):
        machine.learn({"x": data["x"][i : i + 1]}, data["label"][i : i + 1])
    return float(np.max(np.abs(t.meaning.real(machine["fc1_weight"][0]) - t.meaning.real(t.array()))))


def compiled(rule: str, data: Data, classes: int = NEW) -> Compiled:
    return compile_model(perceptron(), RuleSpec(rule, rate=6, head=Head(classes)), data)


@pytest.mark.parametrize("classes", [2, NEW, 60])
def test_signs_of_a_new_classifier_have_the_size_of_glorots_weights(classes: int) -> None:
    c = compiled("sign", samples(60, 2, 1), classes)
    (frac,) = {s.attrs["frac"] for _, s in c.abstract.steps() if s.kernel == "signs.project"}
    mean = np.mean(np.abs(np.random.default_rng(1).uniform(-1, 1, 10**6))) * np.sqrt(6 / (HIDDEN + classes))
    assert 2**-0.51 < 2.0**-frac / mean < 2**0.51


def test_a_new_classifier_teaches_no_harder_than_backpropagation_does() -> None:
    data = samples(300, NEW, 1)
    assert largest_change("sign", data) < 4 * largest_change("bp", data)
