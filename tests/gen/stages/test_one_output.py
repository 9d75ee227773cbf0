"""A network with one output learns as two classes do: sigmoid cross-entropy, 1 where z is positive."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_models as om
import pytest
from head_nets import Data, perceptron, samples
from lite import Author
from numpy.typing import NDArray
from projects import Case, write_rule

from synapcc.gen.compile import compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.importers import load_model
from synapcc.gen.ops import kernel
from synapcc.gen.ops.softmax_error import error_bound
from synapcc.gen.rules import rules
from synapcc.gen.spec import INFERENCE_ONLY, Head, Loss, RuleSpec
from synapcc.host.cli import main
from synapcc.host.run.agreement import as_the_file
from synapcc.host.run.emulator import Emulator
from synapcc.host.run.plans import read_plan


def two(n: int, seed: int) -> Data:
    """Of two classes: the first two patterns against the others."""
    data = samples(n, 5, seed)
    return {"x": data["x"], "label": (data["label"] < 2).astype(np.int64)}


@pytest.mark.parametrize("frac", [-4, -1, 3, 8, 12, 15])
def test_the_error_is_that_of_the_sigmoid(frac: int) -> None:
    """For every score, under both labels, within what the softmax of two is held to."""
    z = np.arange(-(2**15), 2**15).astype(np.int16)[:, None]
    for label in (0, 1):
        t = {
            "z": z,
            "label": np.full_like(z, label, np.uint8),
            "e": np.zeros_like(z),
            "taught": np.zeros_like(z, np.uint8),
        }
        kernel("sigmoid_error.forward").integer(t, {"frac": frac})
        with np.errstate(over="ignore"):
            exact = 1 / (1 + np.exp(-z.astype(float) * 2.0**-frac)) - label
        assert np.max(np.abs(t["e"] / 2**14 - exact)) <= error_bound(2)
        assert np.array_equal(t["taught"], t["e"] != 0)


@pytest.mark.parametrize("rule", sorted(set(rules()) - {"prototype"}))
def test_every_rule_teaches_it(rule: str) -> None:
    data, unseen = two(800, 2), two(500, 5)
    rate = {"last": 5, "spsa": 4}.get(rule, 6)
    options = (("epsilon", 2.0**-3),) if rule == "es" else ()
    c = compile_model(perceptron(1), RuleSpec(rule, rate=rate, options=options), data)
    plan, machine = c.plan, Emulator(c.plan)
    assert (plan.classes, plan.scores, plan["label"].hi) == (2, 1, 1)
    for _ in range(2):
        for i in range(800):
            machine.learn({"x": data["x"][i : i + 1]}, data["label"][i : i + 1])
    assert machine.evaluate(unseen).accuracy > 0.85
    said = machine.infer_many({"x": unseen["x"]})
    assert np.array_equal(said.winner, said.scores[:, 0] > 0)
    assert np.array_equal(said.margin, np.abs(said.scores[:, 0].astype(np.int32)))


@pytest.mark.parametrize("classes", [1, "+1", "+2"])
def test_new_heads(classes: int | str) -> None:
    """One output made from prototypes; and one output that becomes three classes, or four."""
    data = two(400, 2)
    spec = RuleSpec("last", rate=5, head=Head(1, init="prototypes"))
    base = compile_model(perceptron(1), spec, data)
    machine = Emulator(base.plan)
    assert machine.evaluate(two(500, 5)).accuracy > 0.85
    if classes != 1:
        c = compile_model(base.graph, RuleSpec("last", rate=5, head=Head(classes)), data)
        assert c.plan.classes == 2 + int(classes)
        want, got = (m.infer_many({"x": data["x"]}).winner for m in (machine, Emulator(c.plan)))
        assert np.mean(want == got) > 0.98 and got.max() == 1


def test_without_learning_it_stays_as_it_was() -> None:
    data = {"x": two(100, 2)["x"]}
    plan = compile_model(perceptron(1), RuleSpec(INFERENCE_ONLY), data).plan
    assert (plan.classes, plan.scores) == (1, 1) and "classify.argmax" in {s.kernel for _, _, s in plan.ops()}


def test_the_hinge_loss_is_refused() -> None:
    with pytest.raises(CompileError, match=r'loss\.kind: is "hinge", and the network has one output'):
        compile_model(perceptron(1), RuleSpec("last", loss=Loss("hinge")), two(100, 2))
    with pytest.raises(CompileError, match=r"head\.imprint: the classifier has one output"):
        compile_model(perceptron(1), RuleSpec("last", rate=5, head=Head(imprint=3)), two(100, 2))
    with pytest.raises(CompileError, match="the network has classes 0 to 1"):
        compile_model(perceptron(1), RuleSpec("last"), samples(100, 5, 2))


def onnx_case(folder: Path, sigmoid: bool) -> Case:
    """A network as torch would export it, with its sigmoid or without."""
    proto = om.mlp((16, 8, 1))
    if sigmoid:
        last = proto.graph.output[0].name
        proto.graph.node.append(om.node("Sigmoid", last, "probability", "sigmoid"))
        proto.graph.output[0].name = "probability"
    data = two(60, 2)
    np.savez(folder / "data.npz", input=data["x"], label=data["label"])
    rule = write_rule(folder / "rule.toml", more="[store]\nsamples = 5\n[replay]\nsamples = 6\n")
    return Case(om.save(proto, folder), rule, folder / "data.npz")


@pytest.mark.parametrize("sigmoid", [pytest.param(False, marks=pytest.mark.long), True])
def test_chips_learn_alike(sigmoid: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    c, out = onnx_case(tmp_path, sigmoid), tmp_path / "out"
    assert main(c.words(out)) == 0
    for device, steps in (("process:undefined", 60), ("unicorn", 10)):
        capsys.readouterr()
        words = ["verify", str(out), "--data", str(c.data), "--steps", str(steps), "--device", device]
        assert main(words) == 0
        assert capsys.readouterr().out.splitlines()[-1] == f"verify: {steps} steps, 0 differing bytes"
    assert read_plan(out).classes == 2
    assert "_CLASSES 2\n" in next(out.glob("lib/*/src/*.h")).read_text()
    for words in (
        ["emulate", str(out), "--data", str(c.data), "--learn", "-o", str(tmp_path / "r.npz")],
        ["inspect", str(out), "--learn", str(c.data)],
    ):
        assert main(words) == 0


def lite_file(logistic: bool) -> bytes:
    """x -> dense -> dense of one, and LOGISTIC."""
    a, rng = Author(), np.random.default_rng(6)
    x = a.tensor("x", (1, 16), scale=0.05, zero=3)
    h = a.tensor("h", (1, 8), scale=0.1, zero=-128)
    z = a.tensor("z", (1, 1), scale=0.1, zero=7)
    for name, (of, n), (to, m), scale in (("first", (x, 16), (h, 8), 0.05), ("second", (h, 8), (z, 1), 0.1)):
        w = a.tensor(f"{name}_w", (m, n), scale=0.02, data=rng.integers(-60, 61, (m, n)))
        b = a.tensor(f"{name}_b", (m,), "INT32", scale=scale * 0.02, data=rng.integers(-300, 300, m))
        a.op(
            "FULLY_CONNECTED",
            [of, w, b],
            [to],
            "FullyConnectedOptions",
            4,
            fusedActivationFunction=int(m > 1),
        )
    if logistic:
        y = a.tensor("y", (1, 1), scale=1 / 256, zero=-128)
        a.op("LOGISTIC", [z], [y])
        z = y
    return a.bytes([x], [z])


def test_a_logistic_at_the_end_of_an_int8_file(tmp_path: Path) -> None:
    """It is part of the loss where something learns: as of a file that ends in front of it."""
    data, answers = two(200, 2), list[NDArray[np.int16]]()
    for logistic in (False, True):
        path = tmp_path / f"net{logistic}.tflite"
        path.write_bytes(lite_file(logistic))
        graph = load_model(path)
        c = compile_model(graph, RuleSpec("last", rate=6), data)
        assert c.graph.head == ("sigmoid" if logistic else "none") and c.plan.classes == 2
        machine = Emulator(c.plan)
        file = as_the_file(c)
        assert file is not None and file["same_class"] > 0.95
        for i in range(200):
            machine.learn({"x": data["x"][i : i + 1]}, data["label"][i : i + 1])
        answers.append(machine.infer_many({"x": data["x"]}).scores)
        assert machine.evaluate(data).accuracy > 0.8
        still = compile_model(graph, RuleSpec(INFERENCE_ONLY), {"x": data["x"]})
        assert still.graph.head == "none" and still.plan.classes == 1
    assert np.array_equal(*answers)
