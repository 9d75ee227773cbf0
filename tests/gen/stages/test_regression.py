"""Numbers are learned from targets: the squared error, an entry program that takes a target, and no label."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from head_nets import SIZE, Data, perceptron
from projects import save, write_rule

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.errors import CompileError, SynapccError
from synapcc.gen.exporters.onnx import export
from synapcc.gen.rules import rules
from synapcc.gen.spec import Head, Loss, Replay, RuleSpec, Store
from synapcc.host.cli import main
from synapcc.host.run.emulator import Emulator

MSE = Loss("mse")
MIX = np.random.default_rng(8).normal(0, 1 / np.sqrt(SIZE), (3, SIZE))


def numbers(n: int, seed: int, outputs: int = 3, scale: float = 1.0) -> Data:
    """Targets that are bent sums of the inputs."""
    x = np.random.default_rng(seed).normal(0, 1, (n, SIZE))
    y = x @ MIX[:outputs].T
    return {"x": x.astype(np.float32), "target": (scale * (y + 0.5 * np.abs(y))).astype(np.float32)}


def learned(c: Compiled, data: Data, passes: int = 2) -> Emulator:
    machine = Emulator(c.plan)
    for _ in range(passes):
        for i in range(len(data["x"])):
            one = {n: data[n][i : i + 1] for n in ("x", "target")}
            machine.run("learn_target", inputs=one)
    return machine


def error(machine: Emulator, data: Data) -> float:
    """The mean squared error, by that of the mean."""
    z = machine.plan[machine.plan.logits].meaning.real(machine.infer_many({"x": data["x"]}).scores)
    t = data["target"]
    return float(np.mean((z - t) ** 2) / np.mean((t - t.mean(axis=0)) ** 2))


@pytest.mark.parametrize(
    ("rule", "what"),
    [("drtp", "projects the label"), ("ssg", "predicts signals from the label"), ("ff", "carries the label")],
)
def test_a_rule_that_needs_labels_refuses_numbers(rule: str, what: str) -> None:
    with pytest.raises(CompileError, match=f"{rule} {what} of a class"):
        compile_model(perceptron(3), RuleSpec(rule, loss=MSE), numbers(40, 1))


OTHERWISE = {"drtp", "ff", "prototype", "ssg", "spsa", "es", "hybrid", "pepita"}


@pytest.mark.parametrize("rule", sorted({*rules()} - OTHERWISE))
@pytest.mark.parametrize("outputs", [1, 3])
def test_every_rule_teaches_numbers(rule: str, outputs: int) -> None:
    data, unseen = numbers(1500, 1, outputs), numbers(300, 2, outputs)
    c = compile_model(perceptron(outputs), RuleSpec(rule, rate=6, loss=MSE), data)
    plan = c.plan
    assert plan.entries == ("infer", "learn_target") and "label" not in plan and plan.classes == outputs
    assert plan["target"].meaning == plan[plan.logits].meaning
    before, after = error(Emulator(plan), unseen), error(learned(c, data), unseen)
    print(f"{rule}: {before:.3f} -> {after:.3f}")
    assert after < (0.5 if rule == "last" else 0.35) and after < before / 2


@pytest.mark.parametrize("outputs", [1, 3])
def test_inputs_moved_by_an_error_without_bounds_want_a_smaller_rate(outputs: int) -> None:
    """At 2^-6 three outputs diverge: what pepita adds to itself grows with the square of the error."""
    data, unseen = numbers(1500, 1, outputs), numbers(300, 2, outputs)
    c = compile_model(perceptron(outputs), RuleSpec("pepita", rate=8, loss=MSE), data)
    before, after = error(Emulator(c.plan), unseen), error(learned(c, data), unseen)
    assert after < 0.5 and after < before / 4


@pytest.mark.parametrize("scale", [2.0**-6, 100.0])
def test_formats_hold_the_targets(scale: float) -> None:
    data = numbers(600, 1, scale=scale)
    c = compile_model(perceptron(3), RuleSpec("last", rate=6, loss=MSE, head=Head(3)), data)
    t = c.plan["target"]
    assert np.max(np.abs(data["target"])) < t.hi * t.meaning.step


def test_stores_and_replay_keep_targets() -> None:
    data = numbers(400, 1)
    spec = RuleSpec("bp", rate=7, loss=MSE, store=Store(16, "shuffled", "oldest"), replay=Replay(20, 2))
    c = compile_model(perceptron(3), spec, data)
    assert "replay_target" in c.plan and c.plan.entries == ("infer", "learn_target", "rehearse")
    machine = learned(c, {n: v[:40] for n, v in data.items()}, 1)
    kept = c.plan["target"].meaning.units(data["target"][32:40]).astype(int)
    assert np.array_equal(machine["store_target"][0, :8], kept)
    before = error(machine, data)
    for _ in range(20):
        machine.run("rehearse")
    assert error(machine, data) < before


# ---- the network's own input --------------------------------------------------------------------------

ITSELF = Loss("mse", target="input")


def patterns(n: int, seed: int) -> Data:
    """Inputs that lie near a plane of three dimensions."""
    rng = np.random.default_rng(seed)
    return {"x": (2 * rng.normal(0, 1, (n, 3)) @ MIX + rng.normal(0, 0.05, (n, SIZE))).astype(np.float32)}


@pytest.mark.parametrize("rule", ["bp", "hebbian", "dfa"])
def test_an_autoencoder_learns(rule: str) -> None:
    data, unseen = patterns(1500, 1), patterns(300, 2)
    rate = 8 if rule == "dfa" else 6  # an error without bounds, of 16 outputs, through a random matrix
    c = compile_model(
        perceptron(SIZE), RuleSpec(rule, rate=rate, loss=ITSELF, store=Store(8, drop="oldest")), data
    )
    assert c.plan.entries == ("infer", "learn_input", "rehearse")
    assert "label" not in c.plan and "target" not in c.plan
    machine = Emulator(c.plan)
    before = error(machine, unseen | {"target": unseen["x"]})
    for _ in range(2):
        for i in range(1500):
            machine.run("learn_input", inputs={"x": data["x"][i : i + 1]})
    after = error(machine, unseen | {"target": unseen["x"]})
    print(f"{rule}: {before:.3f} -> {after:.3f}")
    assert after < 0.1 and after < before / 4


def test_what_no_autoencoder_is() -> None:
    with pytest.raises(
        CompileError, match=r"loss.target: is .input., and .* 16 values, the output 3; the one"
    ):
        compile_model(perceptron(3), RuleSpec("last", loss=ITSELF), patterns(50, 1))


@pytest.mark.parametrize("target", ["given", pytest.param("input", marks=pytest.mark.long)])
def test_chips_learn_alike(target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = numbers(60, 1) if target == "given" else patterns(60, 1)
    outputs = 3 if target == "given" else SIZE
    model = tmp_path / "net.onnx"
    model.write_bytes(export(compile_model(perceptron(outputs), RuleSpec("none"), {"x": data["x"]}).graph))
    name = {"given": "learn_target", "input": "learn_input"}[target]
    more = f'[loss]\nkind = "mse"\ntarget = "{target}"\n[store]\nsamples = 5\n[replay]\nsamples = 6\n'
    rule, cal, out = write_rule(tmp_path / "rule.toml", more=more), tmp_path / "d.npz", tmp_path / "out"
    save(cal, data)
    words = ["compile", str(model), "--rule", str(rule), "--calibrate", str(cal), "-o", str(out)]
    assert main(words) == 0
    for device in ("process:undefined", "unicorn"):
        capsys.readouterr()
        for more in ([], ["--slices"]):
            words = ["verify", str(out), "--data", str(cal), "--steps", "20", "--device", device, *more]
            assert main(words) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[-1] == "verify: 20 steps, 0 differing bytes"
        assert f"programs {name}, rehearse" in lines[-2]
    errors = []
    for learn in (
        [],
        ["--learn", "--passes", "3", "--state-out", str(tmp_path / "s.npz")],
        ["--state", str(tmp_path / "s.npz")],
    ):
        words = [
            "emulate",
            str(out),
            "--data",
            str(cal),
            *learn,
            "-o",
            str(tmp_path / "r.npz"),
            "--json",
            "-",
        ]
        capsys.readouterr()
        assert main(words) == 0
        errors.append(json.loads(capsys.readouterr().out)["mse"])
    assert errors[2] < errors[0] / 2
    assert Emulator(out).regression(str(cal)).mse == errors[0]
    for words, told in (
        (["inspect", str(out), "--learn", str(cal)], "60 samples, "),
        (["pull", str(out), "--device", "process", "--learn", str(cal)], "learned 60 samples"),
        *([(["bench", str(out), "--samples", "2"], "learn  loss")] if target == "given" else []),
    ):
        capsys.readouterr()
        more = ["--npz", str(tmp_path / "chip.npz")] if words[0] == "pull" else []
        assert main([*words, *more]) == 0
        assert told in capsys.readouterr().out
    pulled, there = np.load(tmp_path / "chip.npz"), Emulator(out)
    for i in range(60):
        given = {n: x[i : i + 1] for n, x in data.items()}
        there.run(name, inputs=given)
    assert np.array_equal(pulled["fc2_weight"], there["fc2_weight"][0])
    assert f"_{name}(" in next(out.glob("lib/*/src/*.h")).read_text()


def test_figures_of_numbers() -> None:
    """Against counting by hand; an output that never changes has no share that is explained."""
    data = numbers(50, 3)
    data["target"][:, 2] = 1.0
    machine = Emulator(compile_model(perceptron(3), RuleSpec("last", loss=MSE), data).plan)
    meaning = machine.plan[machine.plan.logits].meaning
    off = meaning.real(machine.infer_many({"x": data["x"]}).scores) - meaning.real(
        meaning.units(data["target"])
    )
    found = machine.regression(data)
    assert found.samples == 50 and found.mse == pytest.approx(np.mean(np.square(off)))
    assert found.mae == pytest.approx(np.mean(np.abs(off)))
    want = 1 - np.mean(np.square(off[:, 0])) / np.var(meaning.real(meaning.units(data["target"][:, 0])))
    assert found.r2_by_output[0] == pytest.approx(want) and np.isnan(found.r2_by_output[2])
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert told["r2_by_output"][2] is None and len(repr(found).splitlines()) == 6
    with pytest.raises(SynapccError, match="learns numbers, not classes; regression"):
        machine.evaluate(data)
    with pytest.raises(SynapccError, match="target is missing"):
        machine.regression({"x": data["x"]})
    frozen = Emulator(compile_model(perceptron(3), RuleSpec("none"), {"x": data["x"]}).plan)
    assert frozen.regression(data).samples == 50
    labelled = compile_model(perceptron(3), RuleSpec("last"), {"x": data["x"]})
    with pytest.raises(SynapccError, match="learns classes, not numbers; evaluate"):
        Emulator(labelled.plan).regression(data)


def test_what_is_refused() -> None:
    data = numbers(40, 1)
    for spec, what in (
        (RuleSpec("last", loss=MSE, head=Head(3, imprint=2)), "head.imprint: makes a row of a class"),
        (RuleSpec("last", loss=MSE, head=Head(3, init="prototypes")), "means of classes"),
    ):
        with pytest.raises(CompileError) as caught:
            compile_model(perceptron(3), spec, data)
        assert what in str(caught.value)
    with pytest.raises(CompileError, match=r"target is float32 of shape \[40, 2\]; give finite"):
        compile_model(perceptron(3), RuleSpec("last", loss=MSE), data | {"target": data["target"][:, :2]})
    broken = data["target"].copy()
    broken[5, 2] = np.nan
    with pytest.raises(CompileError, match=r"target\[5\]\[2\] is nan; give finite numbers"):
        compile_model(perceptron(3), RuleSpec("last", loss=MSE), data | {"target": broken})
    for much in (1e12, 1e30, 1e36):
        with pytest.raises(CompileError, match=r"; the targets reach .*: scale the targets to the size of"):
            compile_model(perceptron(3), RuleSpec("last", loss=MSE), data | {"target": data["target"] * much})
    with pytest.raises(CompileError, match="the calibration data have no targets"):
        compile_model(perceptron(3), RuleSpec("last", loss=MSE, replay=Replay(3)), {"x": data["x"]})
    machine = Emulator(compile_model(perceptron(3), RuleSpec("last", loss=MSE), {"x": data["x"]}).plan)
    with pytest.raises(SynapccError, match="takes no label; run"):
        machine.learn({"x": data["x"][:1]}, [0])
