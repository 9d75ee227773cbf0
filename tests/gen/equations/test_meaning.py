"""What random equations say in real numbers, against Python's own reading of the text."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from equations import change, drawn, value
from head_nets import perceptron, samples

from synapcc.gen.equations import rule_of
from synapcc.gen.errors import CompileError
from synapcc.gen.ir.graph import Graph
from synapcc.gen.ir.program import Abstract
from synapcc.gen.ops._terms import code
from synapcc.gen.spec import RuleSpec
from synapcc.gen.spec.own import Update
from synapcc.gen.stages.float_run import RealMachine
from synapcc.gen.stages.schedule import build

RULES, LONG = 60, 2000
RATE, LAYERS, CLASSES, STEPS = 4, 3, 5, 2
Reals = dict[str, np.ndarray]


class Reader:
    """Learns as the texts of a rule file say, one layer and one equation after the other."""

    def __init__(self, spec: RuleSpec, abstract: Abstract, graph: Graph, learned: tuple[str, ...]) -> None:
        assert spec.update
        self.spec, self.update, self.learned = spec, spec.update, learned
        values = abstract.values
        real = {n: np.array(v.real, float) for n, v in values.items() if v.real is not None and v.size}
        self.w: Reals = {n: real[f"fc{n}_weight"] for n in map(str, range(1, LAYERS + 1))}
        self.b: Reals = {n: real[f"fc{n}_bias"] for n in self.w}
        self.r = {n: real[f"fc{n}_feedback"] for n in self.w if f"fc{n}_feedback" in real}
        self.direct = {n: real[f"fc{n}_direct_feedback"] for n in self.w if f"fc{n}_direct_feedback" in real}
        self.mean = {n: 2.0 ** -np.round(-np.log2(np.mean(np.abs(w)))) for n, w in self.w.items()}
        sizes = {n: {"seen": w.shape[1], "told": w.shape[0]} for n, w in self.w.items()}
        self.traces = {n: {t: np.zeros(sizes[n][t]) for t, _ in spec.trace} for n in self.w}

    def learn(self, x: np.ndarray, label: int) -> None:
        h, z, post = {"1": x}, {}, {}
        for n in self.w:
            z[n] = self.w[n] @ h[n] + self.b[n]
            post[n] = z[n] if n == str(LAYERS) else np.maximum(z[n], 0)
            h[str(int(n) + 1)] = post[n]
        error = np.exp(z[n] - z[n].max())
        error = error / error.sum() - np.eye(CLASSES)[label]
        near = {"error": error, "target": np.eye(CLASSES)[label], "z": z[n], "post": post[n]}
        teach = {n: value(self.spec.teach.output or "error", near)}
        for n in reversed([*self.w][:-1]):
            teach[n] = self._hidden(n, near, teach, z, post)
        for n in self.w:
            if f"fc{n}" in self.learned:
                near = {"teach": teach[n], "z": z[n], "post": post[n]}
                if n in self.direct and self.update.feedback:
                    self._direct(n, near, {"error": error, "target": np.eye(CLASSES)[label]})
                self._change(n, near, h[n])

    def _hidden(self, n: str, near: Reals, teach: Reals, z: Reals, post: Reals) -> np.ndarray:
        if not self.spec.teach.hidden:
            return np.zeros(len(z[n]))
        up = str(int(n) + 1)
        named: dict[str, Any] = near | {"next": teach[up], "z": z[n], "post": post[n], "W": self.w[up]}
        text = self.spec.teach.hidden
        if "sign(W).T" in text:
            text, named["S"] = text.replace("sign(W)", "S"), np.sign(self.w[up]) * self.mean[up]
        named |= {"R": self.r[up]} if up in self.r else {}
        named |= {"B": self.direct[n]} if n in self.direct else {}
        return np.asarray(value(text, named | {"df": lambda v: (v > 0).astype(float)}))

    def _direct(self, n: str, across: Reals, scores: Reals) -> None:
        """B[c,o]: signals of the scores beside those of the layer's outputs."""
        named = {"rate": 2.0**-RATE, "B": self.direct[n]}
        self.direct[n] = self.direct[n] + change(self.update.feedback, scores, across, named)

    def _change(self, n: str, down: Reals, pre: np.ndarray) -> None:
        up, rate = self.update, {"rate": 2.0**-RATE}
        for name, text in self.spec.trace:
            self.traces[n][name] = value(text, {**rate, **down, "pre": pre, **self.traces[n]})
        told = {t: v for t, v in self.traces[n].items() if t == "told"}
        seen = {t: v for t, v in self.traces[n].items() if t == "seen"}
        down, across = {**down, **told}, {"pre": pre, **seen}
        weight = change(up.weight, down, across, {**rate, "W": self.w[n]})
        bias: Any = 0.0
        if up.bias:
            bias = value(up.bias, {**rate, **down, "b": self.b[n]})
        elif not {"pre", "seen"} & set(
            up.weight.replace("* pre[i]", "").replace("(", " ").replace("[", " ").split()
        ):
            bias = value(up.weight, {**rate, **down, "pre": 1.0, "W": 0.0})
        if up.feedback and n in self.r:
            self.r[n] = self.r[n] + change(up.feedback, down, across, {**rate, "R": self.r[n]})
        self.w[n], self.b[n] = self.w[n] + weight, self.b[n] + bias


@pytest.mark.parametrize("count", [RULES, pytest.param(LONG, marks=pytest.mark.long)])
def test_a_learning_step_is_what_the_text_says(count: int) -> None:
    data = samples(40, CLASSES, 1)
    calibration = {"x": data["x"].astype(float), "label": data["label"]}
    changed = refused = 0
    for seed in range(count):
        rng = np.random.default_rng([3, seed])
        update, teach, trace = drawn(rng)
        spec = RuleSpec("own", rate=RATE, seed=seed, update=update, teach=teach, trace=trace)
        try:
            rule = rule_of(spec)
        except CompileError:  # products that cancel
            refused += 1
            continue
        graph = perceptron(CLASSES, LAYERS, seed)
        learned = rule.narrow(tuple(f"fc{n + 1}" for n in range(LAYERS)), spec)
        abstract = build(graph, spec, rule, learned, calibration)
        machine, reader = (
            RealMachine(abstract.values, abstract.programs, 1),
            Reader(spec, abstract, graph, learned),
        )
        for step in range(STEPS):
            x, label = calibration["x"][step], int(data["label"][step])
            machine.load({"x": x[None], "label": np.array([[label]], np.uint16)})
            machine.run("adapt")
            reader.learn(x, label)
        for n in reader.w:
            held = {
                f"fc{n}_weight": reader.w[n],
                f"fc{n}_bias": reader.b[n],
                f"fc{n}_feedback": reader.r.get(n),
                f"fc{n}_direct_feedback": reader.direct.get(n),
            }
            held |= {f"fc{n}_{name}": v for name, v in reader.traces[n].items()}
            for name, want in held.items():
                if want is not None and name in machine.state:
                    got = machine.state[name][0]
                    assert np.allclose(got, want, rtol=1e-9, atol=1e-12), (
                        f"seed {seed}: {name} of {spec.equations}"
                    )
                    changed += not np.array_equal(got, abstract.values[name].real)
    assert changed > 3 * count and refused <= max(1, count // 50)


@pytest.mark.parametrize("count", [12, pytest.param(200, marks=pytest.mark.long)])
def test_powers_of_what_is_one_value_add_up(count: int) -> None:
    """z is post where no activation follows: up to 3 of both, or a caret under the product."""
    data = samples(40, CLASSES, 1)
    calibration = {"x": data["x"].astype(float), "label": data["label"]}
    verdicts = set()
    for seed in range(count):
        rng = np.random.default_rng([9, seed])
        powers = int(rng.integers(1, 4)), int(rng.integers(1, 4))
        product = f"-rate * teach[o] * z[o]^{powers[0]} * post[o]^{powers[1]} * pre[i]"
        update = Update(product + ("", " - rate * z * teach * pre")[int(rng.integers(2))], bias="0")
        spec, graph = RuleSpec("own", rate=RATE, update=update), perceptron(CLASSES, LAYERS, seed)
        taught = rule_of(spec)
        learned = taught.narrow(("fc3",), spec)
        verdicts.add(sum(powers) > 3)
        if sum(powers) > 3:
            with pytest.raises(CompileError, match=f"one signal {sum(powers)} times in a product") as refused:
                build(graph, spec, taught, learned, calibration)
            assert refused.value.excerpt.split("\n")[1].index("^") - 2 == product.index("teach")
            continue
        abstract = build(graph, spec, taught, learned, calibration)
        machine, reader = (
            RealMachine(abstract.values, abstract.programs, 1),
            Reader(spec, abstract, graph, learned),
        )
        machine.load({"x": calibration["x"][:1], "label": np.array([[int(data["label"][0])]], np.uint16)})
        machine.run("adapt")
        reader.learn(calibration["x"][0], int(data["label"][0]))
        assert np.allclose(machine.state["fc3_weight"][0], reader.w["3"], rtol=1e-9, atol=1e-12), product
        assert np.any(machine.state["fc3_weight"][0] != abstract.values["fc3_weight"].real)
    assert verdicts == {True, False}


def test_powers_have_digits_of_their_own() -> None:
    assert code({"a": 3, "b": 1}, ("a", "b")) == 7
    for powers in ({"a": 4}, {"c": 1}):
        with pytest.raises(ValueError, match="powers are 0 to 3"):
            code(powers, ("a", "b"))
