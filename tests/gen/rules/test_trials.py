"""Rules that try out changes: moves are undone to the last bit, losses are exact, and networks learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from head_nets import Data, perceptron, samples

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.ir.graph import Graph
from synapcc.gen.ops import kernel
from synapcc.gen.ops.loss import LOSS_FRAC, TOP
from synapcc.gen.spec import Arena, Feedback, Loss, Replay, RuleSpec, Store
from synapcc.gen.spec.options import Settings
from synapcc.gen.stages.calibrate import Runs, steps
from synapcc.host.run.emulator import Emulator
from synapcc.host.run.front_cache import FixedPart

APPLY, SETTLE = kernel("perturb.apply"), kernel("perturb.settle")
Operands = dict[str, np.ndarray]


def settled(seed: int, slope: int, turn: int) -> tuple[Operands, Operands, dict[str, int]]:
    """A case before it is moved `by` (and if turn is 1, to the other side), and after it is settled there."""
    rng = np.random.default_rng(seed)
    case = SETTLE.case(rng)
    a = {**case.attrs, "by": abs(case.attrs["by"]), "bias_by": abs(case.attrs["bias_by"])}
    t = {role: v[None].copy() for role, v in case.arrays.items()}
    before = {role: v.copy() for role, v in t.items()}
    t["d"][...] = slope
    moves = {name: v for name, v in a.items() if name in APPLY.attributes}
    APPLY.integer(t, moves)
    if turn > 0:
        APPLY.integer(t, {**moves, "by": -2 * a["by"], "bias_by": -2 * a["bias_by"]})
    SETTLE.integer(t, {**a, "by": turn * a["by"], "bias_by": turn * a["bias_by"]})
    return before, t, a


def held(v: np.ndarray, a: dict[str, int], bias: str) -> np.ndarray:
    by = a[f"{bias}by"]
    return np.clip(v.astype(np.int64), a[f"{bias}lo"] + by, a[f"{bias}hi"] - by)


@pytest.mark.parametrize("turn", [-1, 1])
def test_a_move_without_a_slope_is_undone_to_the_last_bit(turn: int) -> None:
    """Also at the limits: there values are brought within them first, and nothing is counted."""
    inside = 0
    for seed in range(150):
        before, after, a = settled(seed, 0, turn)
        for role, bias in (("w", ""), ("b", "bias_")):
            want = held(before[role], a, bias)
            assert np.array_equal(after[role], want), f"seed {seed}: {role}"
            inside += np.array_equal(want, before[role])
        assert not after["saturated"].any()
    assert inside > 5


def test_a_direction_has_as_many_ones_as_minus_ones_and_no_row_repeats() -> None:
    t = {"w": np.zeros((1, 64, 63), np.int16), "b": np.zeros((1, 64), np.int32)}
    t["step"] = np.full((1, 1), 9, np.uint32)
    limits = {"lo": -99, "hi": 99, "bias_lo": -99, "bias_hi": 99}
    APPLY.integer(t, {"by": 5, "bias_by": 5, "seed": 3, "tensor": 4, **limits})
    u = np.concatenate([t["w"][0], t["b"][0][:, None]], axis=1)
    assert {*np.unique(u)} == {-5, 5} and abs(u.mean()) < 5 * 4 / 64
    close = np.abs(u @ u.T) / 25 - 64 * np.eye(64)
    assert close.max() < 40


@pytest.mark.parametrize("n", [1, 2, 10, 300])
@pytest.mark.parametrize("frac", [-4, 3, 9, 15])
def test_the_loss_is_cross_entropy(n: int, frac: int) -> None:
    rng = np.random.default_rng([n, frac + 4])
    z = (rng.integers(-(2**15), 2**15, (300, n)) >> rng.integers(0, 12, (300, 1))).astype(np.int16)
    label = rng.integers(0, max(n, 2), (300, 1)).astype(np.uint16)
    t = {"z": z, "label": label, "loss": np.zeros((300, 1), np.int32)}
    kernel("loss.softmax").integer(t, {"frac": frac})
    real = {"z": z * 2.0**-frac, "label": label, "loss": np.zeros((300, 1))}
    kernel("loss.softmax").real(real, {})
    exact = np.minimum(real["loss"], TOP * 2.0**-LOSS_FRAC)
    cut, tables = np.log(2.0) * 2.0**-10, 3.5 * max(n, 2) * 2.0**-15  # of exponents; of each exponential
    assert np.max(np.abs(t["loss"] * 2.0**-LOSS_FRAC - exact)) < cut + tables + 6 * 2.0**-LOSS_FRAC


def test_losses_of_margins_and_of_numbers_are_exact() -> None:
    """Where no bit is dropped: of few classes, small errors, powers of two."""
    rng = np.random.default_rng(4)
    z, label = (
        rng.integers(-500, 500, (200, 5)).astype(np.int16),
        rng.integers(0, 5, (200, 1)).astype(np.uint8),
    )
    t = {"z": z, "label": label, "loss": np.zeros((200, 1), np.int32)}
    kernel("loss.hinge").integer(t, {"margin": 256, "target": 1024, "others": 128, "drop": 0, "shift": 0})
    real = {"z": z / 256, "label": label, "loss": np.zeros((200, 1))}
    kernel("loss.hinge").real(real, {"margin": 1.0, "mu": 0.5})
    assert np.array_equal(t["loss"], real["loss"] * 2.0**LOSS_FRAC)
    e = rng.integers(-500, 500, (200, 5)).astype(np.int16)
    t = {"e": e, "loss": np.zeros((200, 1), np.int32)}
    kernel("loss.squares").integer(t, {"drop": 0, "shift": 1})
    real = {"e": e / 256, "loss": np.zeros((200, 1))}
    kernel("loss.squares").real(real, {"large": 1.0})
    assert np.array_equal(t["loss"], np.floor(real["loss"] * 2.0**LOSS_FRAC + 0.5))


def passes(c: Compiled, train: Data, count: int) -> Emulator:
    machine = Emulator(c.plan, engine="compiled")
    x = c.plan["x"].meaning.units(train["x"]).clip(-128, 127).astype(np.int8)[:, None]
    for _ in range(count):
        machine.learn_many({"x": x}, train["label"][:, None])
    return machine


LEARNS: list[tuple[str, int, Settings, Loss]] = [
    ("spsa", 5, (("trials", 4),), Loss()),
    ("spsa", 7, (("trials", 4),), Loss("hinge")),
    ("spsa", 4, (("step", "sign"), ("trials", 4)), Loss()),
    ("es", 6, (("epsilon", 2.0**-5), ("trials", 4)), Loss()),
    ("hybrid", 8, (), Loss()),
    ("hybrid", 8, (("head", "hebbian"), ("depth", 2)), Loss()),
]


@pytest.mark.parametrize("rule, rate, options, loss", LEARNS)
def test_a_network_learns_from_nothing(rule: str, rate: int, options: Settings, loss: Loss) -> None:
    train, unseen = samples(400, 5, 1), samples(300, 5, 2)
    feedback = Feedback("random", "ram") if "hebbian" in dict(options).values() else Feedback()
    spec = RuleSpec(rule, layers="all", rate=rate, options=options, loss=loss, feedback=feedback)
    c = compile_model(perceptron(5, layers=3), spec, train)
    before = Emulator(c.plan).evaluate(unseen).accuracy
    machine = passes(c, train, 8)
    after = machine.evaluate(unseen).accuracy
    assert before < 0.5 and after > 0.9, f"{before} to {after}"
    assert not np.array_equal(machine["fc1_weight"][0], c.plan["fc1_weight"].array())


def test_numbers_are_learned() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(0, 1, (600, 16))
    train = {"x": x.astype(np.float32), "target": (x @ rng.normal(0, 0.25, (16, 1))).astype(np.float32)}
    spec = RuleSpec("spsa", rate=8, options=(("trials", 8),), loss=Loss("mse"))
    c = compile_model(perceptron(1), spec, train)
    machine = Emulator(c.plan, engine="compiled")

    def error() -> float:
        z = c.plan[c.plan.logits].meaning.real(machine.infer_many({"x": train["x"]}).scores)
        return float(np.mean((z - train["target"]) ** 2) / np.var(train["target"]))

    before = error()
    for i in range(600):
        machine.run("learn_target", inputs={n: v[i : i + 1] for n, v in train.items()})
    assert error() < 0.5 < before


@pytest.mark.parametrize("rule", ["spsa", "es"])
@pytest.mark.parametrize("middle, spread", [(10.0, 0.01), (100.0, 1.0), (-30.0, 0.5), (0.0, 2.0)])
def test_losses_of_numbers_are_never_all_alike(rule: str, middle: float, spread: float) -> None:
    """However far the scores are from targets that hardly differ, a change makes a difference."""
    x = np.random.default_rng(2).normal(0, 1, (100, 16))
    target = (middle + spread * x[:, :1]).astype(np.float32)
    train = {"x": x.astype(np.float32), "target": target}
    c = compile_model(perceptron(1), RuleSpec(rule, loss=Loss("mse")), train)
    machine = Emulator(c.plan)
    for i in range(20):
        machine.run("learn_target", inputs={n: v[i : i + 1] for n, v in train.items()})
        for name in ("loss_plus", "loss_minus") if rule == "spsa" else ("loss_tried",):
            assert machine[name][0, 0] < TOP
    assert not np.array_equal(machine["fc2_bias"][0], c.plan["fc2_bias"].array())


def trained(layers: int, seed: int) -> tuple[Graph, Data]:
    """A network that knows its data, behind `last`'s formats no more, and these."""
    train = samples(400, 5, seed)
    c = compile_model(perceptron(5, layers=layers), RuleSpec("bp", layers="all", rate=5), train)
    machine = passes(c, train, 6)
    tensors = dict(c.graph.tensors)
    for node in c.graph.nodes:
        for tensor, name in zip(node.inputs[1:], ("weight", "bias"), strict=False):
            plan = c.plan[f"{node.name}_{name}"]
            tensors[tensor] = replace(tensors[tensor], value=plan.meaning.real(machine[plan.name][0]))
    return replace(c.graph, tensors=tensors), train


@pytest.mark.parametrize("rule", ["spsa", "es", "hybrid"])
@pytest.mark.parametrize("layers", [pytest.param(2, marks=pytest.mark.long), 3])
def test_a_rule_file_of_one_line_keeps_what_a_network_knows(rule: str, layers: int) -> None:
    graph, train = trained(layers, 1)
    c = compile_model(graph, RuleSpec(rule, layers="all"), train)
    unseen = samples(300, 5, 2)
    before = Emulator(c.plan).evaluate(unseen).accuracy
    after = passes(c, train, 3).evaluate(unseen).accuracy
    assert before > 0.9 and after > before - 0.03, f"{before} to {after}"
    assert not c.warnings


@pytest.mark.parametrize(
    "rule, rate, epsilon", [("spsa", 1, 2.0**-3), ("hybrid", 5, 2.0**-3), ("es", 6, 2.0**-3)]
)
def test_trials_that_lead_too_far_are_told(rule: str, rate: int, epsilon: float) -> None:
    graph, train = trained(3, 1)
    c = compile_model(graph, RuleSpec(rule, "all", rate=rate, options=(("epsilon", epsilon),)), train)
    told = [w for w in c.warnings if "trials of one learning step" in w]
    assert len(told) == 1 and ("an epsilon" if rule == "es" else "a rate") in told[0]


@pytest.mark.parametrize("loss", [Loss(), Loss("hinge"), Loss("mse")])
@pytest.mark.parametrize("rule", ["spsa", "es", "hybrid"])
def test_calibration_runs_no_trials(rule: str, loss: Loss, monkeypatch: pytest.MonkeyPatch) -> None:
    """They would see the same weights. What is learned with is the same, however many trials there are."""
    train = samples(60, 5, 1)
    if loss.kind == "mse":
        train = {"x": train["x"], "target": np.eye(5, dtype=np.float32)[train["label"]]}
    moved: list[int] = []
    monkeypatch.setattr(type(APPLY), "real", lambda self, t, a: moved.append(len(t["w"])))
    formats = []
    for trials in (1, 64):
        spec = RuleSpec(rule, "all", options=(("trials", trials),), loss=loss)
        c = compile_model(perceptron(5), spec, train)
        runs = Runs(c.abstract, c.calibration)
        taught = {step.kernel for step in steps(runs.programs, "teach")}
        assert not any(name.startswith(("perturb", "compare")) for name in taught)
        formats.append(c.quantised.formats)
    assert formats[0] == formats[1] and len(moved) <= 16


def test_it_needs_the_memory_of_inference() -> None:
    train = samples(60, 5, 1)
    infers = compile_model(perceptron(5), RuleSpec("none"), train).plan
    for rule in ("spsa", "es"):
        plan = compile_model(perceptron(5), RuleSpec(rule, layers="all"), train).plan
        learned = sum(t.nbytes for t in plan.space("state") if t.role in ("weight", "bias"))
        assert plan.arena_bytes <= infers.arena_bytes + 32 and plan.state_bytes <= learned + 24


@pytest.mark.parametrize("rule", ["spsa", "es", "hybrid"])
def test_what_a_frozen_front_said_is_kept_between_passes(rule: str) -> None:
    """The front runs once for each sample, however often a trial asks, beside a store and replay."""
    train = samples(40, 5, 1)
    spec = RuleSpec(rule, ("fc2", "fc3"), store=Store(3), replay=Replay(8), arena=Arena(shared=False))
    plan = compile_model(perceptron(5, layers=3), spec, train).plan
    machines = [Emulator(plan), Emulator(plan, fixed=FixedPart(plan))]
    for machine in machines:
        for i in range(12):
            machine.learn({"x": train["x"][i : i + 1]}, train["label"][i : i + 1])
        machine.run("rehearse")
    assert np.array_equal(machines[0].state, machines[1].state)
    assert not np.array_equal(machines[0]["fc2_weight"][0], plan["fc2_weight"].array())


def test_the_threshold_of_the_head_is_heard() -> None:
    def signs(threshold: float) -> float:
        options: Settings = (("head", "sdfa"), ("depth", 2), ("threshold", threshold))
        spec = RuleSpec("hybrid", "all", options=options)
        c = compile_model(perceptron(5, layers=3), spec, samples(60, 5, 1))
        found = [s.attrs["threshold"] for _, s in c.abstract.steps() if s.kernel == "ternary.forward"]
        return float(found[0])

    assert [signs(t) for t in (2.0**-5, 2.0**-3)] == [2.0**-5, 2.0**-3]


@pytest.mark.parametrize(
    "spec, match",
    [
        (RuleSpec("hybrid", ("fc2",)), "depth.*is 1, and 1 layers learn: none is left"),
        (RuleSpec("spsa", rate=20, rounding="nearest", options=(("step", "sign"),)), "can change nothing"),
        (RuleSpec("hybrid", layers="all", options=(("head", "drtp"),), loss=Loss("mse")), "drtp projects"),
        (RuleSpec("hybrid", "all", options=(("threshold", 2.0**-5),)), 'head "sdfa".* the head is "last"'),
    ],
)
def test_what_cannot_learn_is_refused(spec: RuleSpec, match: str) -> None:
    with pytest.raises(CompileError, match=match):
        compile_model(
            perceptron(5),
            spec,
            samples(40, 5, 1) if spec.loss.kind != "mse" else {"x": samples(40, 5, 1)["x"]},
        )
