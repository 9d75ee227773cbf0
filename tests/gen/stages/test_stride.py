"""A rate that is too large for a network is told, and float runs of the same Plan show that it is."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from random_nets import ANY, accepted

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.ir.graph import Graph, Node, Tensor
from synapcc.gen.ir.program import Program
from synapcc.gen.rules import options
from synapcc.gen.spec import Loss, RuleSpec, parse_spec
from synapcc.gen.stages.calibrate import Runs
from synapcc.gen.stages.float_run import RealMachine
from synapcc.gen.stages.stride import MOST, Stride, largest, learning_layers, squares

Data = dict[str, np.ndarray]
CLASSES = 4


def perceptron(rng: np.random.Generator, sizes: tuple[int, ...]) -> Graph:
    """He's uniform start."""
    tensors, nodes, at = {"x": Tensor("x", (sizes[0],))}, [], "x"
    for i, (n, m) in enumerate(pairwise(sizes)):
        w = rng.uniform(-1, 1, (m, n)) * np.sqrt(6 / n)
        tensors |= {f"w{i}": Tensor(f"w{i}", w.shape, w), f"b{i}": Tensor(f"b{i}", (m,), np.zeros(m))}
        tensors[f"fc{i}"] = Tensor(f"fc{i}", (m,))
        nodes.append(Node("dense", f"fc{i}", (at, f"w{i}", f"b{i}"), f"fc{i}"))
        at = f"fc{i}"
        if i < len(sizes) - 2:
            tensors[f"relu{i}"] = Tensor(f"relu{i}", (m,))
            nodes.append(Node("clip", f"relu{i}", (at,), f"relu{i}", {"lo": 0.0, "hi": np.inf}))
            at = f"relu{i}"
    return Graph("net", ("x",), at, tensors, tuple(nodes))


def patterns(rng: np.random.Generator, n: int, size: int, times: float) -> Data:
    """Each class is two opposite patterns: no linear layer tells them apart."""
    pattern, label = rng.normal(0, 1, (CLASSES, size)), rng.integers(0, CLASSES, n)
    x = pattern[label] * rng.choice([-1.0, 1.0], (n, 1)) + rng.normal(0, 0.4, (n, size))
    return {"x": times * x, "label": label}


def learns(compiled: Compiled, data: Data, steps: int) -> float:
    """The accuracy of a float run on the last quarter of the samples, after `steps` of the others."""
    machine = RealMachine(compiled.abstract.values, compiled.abstract.programs, 1)
    rest = len(data["x"]) * 3 // 4
    with np.errstate(all="ignore"):
        for i in range(steps):
            one = slice(i % rest, i % rest + 1)
            machine.load({"x": data["x"][one], "label": data["label"][one][:, None]})
            machine.run("learn")
        right = 0
        for x, label in zip(data["x"][rest:, None], data["label"][rest:], strict=True):
            machine.load({"x": x})
            machine.run("infer")
            right += int(machine.arena["verdict"][0, 0] == label)
    return right / (len(data["x"]) - rest)


@pytest.mark.parametrize("kind", ["softmax", "hinge"])
@pytest.mark.parametrize("times", [0.25, 1.0, 8.0])
def test_what_is_told_does_not_learn_in_float_and_the_rate_that_is_named_does(
    kind: str, times: float
) -> None:
    for seed in range(2):
        rng = np.random.default_rng([31, seed, int(times * 8)])
        size, hidden = int(rng.integers(12, 30)), int(rng.integers(16, 40))
        graph = perceptron(rng, (size, hidden, 16, CLASSES))
        data = patterns(rng, 800, size, times)
        told: Stride | None = None
        for rate in range(20):  # from the largest rate down to the first that is not told
            compiled = _with_rate(graph, data, rate, kind)
            stride = largest(_runs(compiled), np.zeros(512, bool))
            assert (stride is None) == (told is not None and rate >= _named(told)), (rate, stride)
            if stride is None:
                break
            told = told or stride
            assert stride.rate == rate and stride.change > MOST and stride.layer in ("fc0", "fc1")
        assert told is not None
        least = _named(told)
        chance = 1 / CLASSES + 0.15
        assert learns(_with_rate(graph, data, least - 3, kind), data, 1500) < chance
        assert learns(_with_rate(graph, data, least + 2, kind), data, 1500) > 0.9


def _with_rate(graph: Graph, data: Data, rate: int, kind: str) -> Compiled:
    """Compiled at a rate that every format takes, then given this one: the float run does not care."""
    calibration = {k: v[:512] for k, v in data.items()}
    compiled = compile_model(graph, RuleSpec("bp", rate=12, loss=Loss(kind)), calibration)
    programs = {
        name: replace(p, items=tuple(_rated(item, rate) for item in p.items))
        for name, p in compiled.abstract.programs.items()
    }
    return replace(compiled, abstract=replace(compiled.abstract, programs=programs))


def _rated(item: object, rate: int) -> object:
    attrs = getattr(item, "attrs", {})
    return replace(item, attrs={**attrs, "rate": rate}) if "rate" in attrs else item  # type: ignore[type-var]


def _runs(compiled: Compiled) -> Runs:
    return Runs(compiled.abstract, compiled.calibration)


def _named(stride: Stride) -> int:
    return int(stride.warning().rsplit("2^-", 1)[1].split()[0])


def test_raw_pixels_are_told_and_scaled_ones_are_not() -> None:
    """Inputs of 0 .. 255 at the rate that suits those of 0 .. 1."""
    rng = np.random.default_rng(3)
    graph = perceptron(rng, (196, 50, 30, 10))
    label = rng.integers(0, 10, 300)
    pixels = np.clip(rng.uniform(-255, 255, (10, 196))[label] + rng.normal(0, 60, (300, 196)), 0, 255).round()
    raw = compile_model(graph, RuleSpec("bp", rate=7), {"x": pixels, "label": label}).warnings
    assert len(raw) == 1 and raw[0].startswith(
        "fc0: at a rate of 2^-7 one learning step changes its outputs by"
    )
    assert "scale input x down, its root mean square is 1" in raw[0] and raw[0].endswith("or smaller")
    assert compile_model(graph, RuleSpec("bp", rate=7), {"x": pixels / 255, "label": label}).warnings == ()
    beyond = Stride("fc0", 4e6, 9, ("x", 2.0)).warning()
    assert beyond.endswith("scale input x down, its root mean square is 2"), "no rule file may say 2^-31"


def test_a_last_layer_alone_is_never_told() -> None:
    rng = np.random.default_rng(4)
    data = patterns(rng, 100, 12, 1.0)
    for rule, told in (("last", False), ("bp", True)):
        compiled = compile_model(perceptron(rng, (12, 20, CLASSES)), RuleSpec(rule, rate=0), data)
        assert (compiled.quantised.stride is not None) == told


def test_the_change_is_that_of_a_step_taken() -> None:
    """Of every layer of the generator's networks and rules: the step is taken, and the layer run again."""
    seen: set[str] = set()
    for compiled, _ in accepted(ANY, 30):
        runs = Runs(compiled.abstract, compiled.real(compiled.calibration))
        for _, machine in runs.teaching(runs.taught[:5], 1):
            for forward, update in learning_layers(compiled.abstract):
                programs = {"again": Program("again", "", (update, forward))}
                taken = RealMachine(compiled.abstract.values, programs, machine.devices)
                for name, array in machine.arena.items():
                    taken.arena[name][...] = array
                before = taken.real(forward.args["y"]).copy()
                taken.run("again")
                want = np.sum((taken.real(forward.args["y"]) - before) ** 2), np.sum(before**2)
                np.testing.assert_allclose(squares(machine, forward, update), want, rtol=1e-6, atol=1e-12)
                seen.add(forward.kernel if want[0] else "")
    assert {"dense.forward", "conv2d.forward", "local2d.forward"} <= seen


def test_equations_are_told_as_the_rule_that_they_say() -> None:
    """A statement that forgets a little as well goes as far as the layer's own update does."""
    rng = np.random.default_rng(3)
    graph, data = perceptron(rng, (12, 20, 16, CLASSES)), patterns(rng, 200, 12, 2.0)
    said = 'rate = "2^-2"\nupdate.weight = "-rate*teach*pre - 2^-14*W"\nteach.hidden = "(W.T@next)*df(z)"\n'
    found = []
    plain = said.replace("2^-2", "2^-3").replace(" - 2^-14*W", "").replace("-rate", "-2*rate")
    for spec in (RuleSpec("bp", rate=2), *(parse_spec(t, "own.toml", options()) for t in (said, plain))):
        told = [w for w in compile_model(graph, spec, data).warnings if "learning may not settle" in w]
        assert len(told) == 1
        found.append(told[0])
    change = [float(w.split("changes its outputs by ")[1].split()[0]) for w in found]
    assert change[0] > MOST and abs(change[0] - change[1]) < 0.05 * change[0] and change[2] == change[0]
    assert len({told.split(":")[0] for told in found}) == 1 and "at a rate of 2^-2" in found[0]
    assert all("times smaller" in told and " rate " not in told for told in found[1:])
