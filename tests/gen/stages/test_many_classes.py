"""More classes than a byte numbers: labels of 16 bits in C, stores, replay, data and over the link."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ctools import LEARN, LOAD, RUN, UNDEFINED, HostBatch
from head_nets import SIZE, Data, perceptron
from play import play
from projects import save, write_rule

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.emit import render_library
from synapcc.gen.errors import CompileError, SynapccError
from synapcc.gen.exporters.onnx import export
from synapcc.gen.ir.roles import MAX_CLASSES
from synapcc.gen.ops import hinge_error, kernel
from synapcc.gen.rules import rules
from synapcc.gen.spec import Head, Loss, Replay, RuleSpec, Store
from synapcc.gen.stages import probe
from synapcc.host.cli import main
from synapcc.host.run.emulator import Emulator

BAD_LABEL = 2


def samples(n: int, classes: int, seed: int) -> Data:
    pattern = np.random.default_rng(5).normal(0, 1, (classes, SIZE))
    rng = np.random.default_rng(seed)
    label = np.concatenate([[classes - 1], rng.integers(0, classes, n - 1)])
    return {"x": (pattern[label] + rng.normal(0, 0.2, (n, SIZE))).astype(np.float32), "label": label}


def drawn(seed: int) -> Compiled:
    """A perceptron of any number of classes around what a byte numbers, and a rule file with all that keeps
    labels."""
    rng = np.random.default_rng([3, seed])
    classes = int(rng.choice([255, 256, 257, 300, 600]))
    spec = RuleSpec(
        str(rng.choice(sorted(set(rules()) - {"prototype"}))),
        weights=str(rng.choice(["int8", "int16"])),
        rate=int(rng.integers(4, 9)),
        loss=Loss(str(rng.choice(["softmax", "hinge"]))),
        store=Store(int(rng.integers(1, 5)), str(rng.choice(["sequential", "shuffled"]))),
        replay=Replay(int(rng.integers(1, 40)), 2) if rng.integers(2) else None,
        head=Head("+1", imprint=3) if rng.integers(2) else Head(imprint=2),
    )
    data = samples(80, classes, seed)
    graph = perceptron(classes - (spec.head is not None and spec.head.new), seed=seed)
    named = replace(graph, name=f"m{seed}")
    try:
        return compile_model(named, spec, data)
    except CompileError as error:  # an error of the hinge loss is as large as there are classes
        assert spec.loss.kind == "hinge" and "is too large for its number formats" in error.line, error.line
    return compile_model(named, replace(spec, rate=12), data)


@pytest.mark.parametrize("seeds", [3, pytest.param(40, marks=pytest.mark.long)])
def test_chips_learn_alike(seeds: int, tmp_path: Path) -> None:
    """Whole lives, byte for byte; a label is refused from the first that is no class."""
    plans = [drawn(seed).plan for seed in range(2 * seeds)]
    assert {p["label"].dtype for p in plans} == {"uint8", "uint16"}
    batch = HostBatch(plans, tmp_path, *UNDEFINED)
    for i, plan in enumerate(plans):
        assert play(batch, i, i) > 10
        top = np.iinfo(plan["label"].dtype).max
        assert plan["label"].dtype == ("uint8" if plan.classes <= 256 else "uint16")
        x = bytes(SIZE)
        for label in {plan.classes, top} if plan.classes <= top else ():
            assert batch.ask(i, LEARN, label, x)[0] == BAD_LABEL
            assert batch.ask(i, LOAD, label, x)[0] == 0
            assert batch.ask(i, RUN, plan.entries.index("learn"))[0] == BAD_LABEL


def test_many_classes_are_learned() -> None:
    data, unseen = samples(1500, 300, 1), samples(300, 300, 2)
    spec = RuleSpec("bp", rate=4, store=Store(4, drop="oldest"), replay=Replay(600), head=Head(imprint=2))
    c = compile_model(perceptron(300), spec, data)
    assert c.plan["replay_label"].array().max() == 299  # no byte
    machine = Emulator(c.plan)
    assert machine.evaluate(unseen).accuracy < 0.05
    for i in range(1500):
        machine.learn({"x": data["x"][i : i + 1]}, data["label"][i : i + 1])
    assert np.array_equal(machine["store_label"][0, :, 0], data["label"][-4:])
    after = machine.evaluate(unseen)
    assert after.accuracy > 0.6
    assert len(repr(after).splitlines()) < 22 and "16 classes of 300 that do worst" in repr(after)
    assert after.to_dict()["confusion"] is None and after.confusion.shape == (300, 300)
    with pytest.raises(SynapccError, match=r"label\[0\] is 300; the network has classes 0 to 299"):
        machine.evaluate({"x": data["x"], "label": data["label"] + 1})


@pytest.mark.parametrize(("classes", "label"), [(256, "uint8_t"), (257, "uint16_t")])
def test_labels_are_as_wide_as_they_must_be(classes: int, label: str) -> None:
    plan = compile_model(perceptron(classes), RuleSpec("last"), samples(60, classes, 1)).plan
    files = render_library(plan, "a test", "a test", {})
    assert f"const perceptron_inputs_t *x, {label} label)" in files["perceptron.h"]
    assert ("uint16_t u16[" in files["perceptron.h"]) == (classes > 256)


def test_how_many_are_possible() -> None:
    data, hinge, most = samples(60, 5, 1), Loss("hinge"), hinge_error.MOST
    c = compile_model(perceptron(5), RuleSpec("last", rate=12, loss=hinge, head=Head(f"+{most - 4}")), data)
    assert c.plan.classes == most + 1
    beyond = "loss: the error reaches {}, .* 32767; at most 32,768 classes"
    rng = np.random.default_rng(6)
    new, mu = int(rng.integers(most - 3, MAX_CLASSES - 4)), int(rng.integers(most + 1, 2**20))
    for spec, what in (
        (RuleSpec("last", loss=hinge, head=Head(f"+{most - 3}")), beyond.format(most + 1)),
        (RuleSpec("last", loss=hinge, head=Head(f"+{new}")), beyond.format(new + 4)),
        (RuleSpec("bp", loss=Loss("hinge", mu=mu), head=Head("+295")), beyond.format(mu)),
        (
            RuleSpec("bp", rate=14, loss=Loss("hinge", mu=0.04), head=Head("+2995")),
            "loss.mu: is 0.04, and .* of 3000 classes",
        ),
        (RuleSpec("last", head=Head("+20000")), 'is "softmax", and .* 20005 classes; up to 16384'),
        (RuleSpec("last", head=Head(f"+{MAX_CLASSES - 1}")), "has 65540 classes; labels have 16 bits"),
    ):
        with pytest.raises(CompileError, match=what):
            compile_model(perceptron(5), spec, data)


def test_jacobians_of_many_classes_are_those_of_fewer_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many unit errors as classes go through each sample: that work has a bound."""
    asked: list[int] = []

    def spread(given: int, most: int) -> np.ndarray:
        asked.append(most)
        return np.arange(min(given, most, 20))

    monkeypatch.setattr(probe, "spread", spread)
    for classes in (5, 512, 513, 1100):
        compile_model(perceptron(5), RuleSpec("dfa", rate=9, head=Head(f"+{classes - 5}")), samples(60, 5, 1))
        assert asked[-1] == probe.SAMPLES or classes > 512
        assert asked[-1] >= probe.LEAST and asked[-1] * classes**2 <= probe.PROBED
    assert len(asked) == 4 and asked[2] < probe.SAMPLES


def test_a_unit_error_is_projected_like_any_other() -> None:
    rng, k = np.random.default_rng(2), kernel("project.matrix")
    for _ in range(50):
        devices, rows, cols = (int(n) for n in rng.integers(1, 9, 3))
        m, d, g = rng.normal(size=(1, rows, cols)), np.zeros((devices, rows)), np.zeros((devices, cols))
        some = rng.choice(rows, int(rng.integers(0, min(rows, 2) + 1)), replace=False)
        d[:, some] = rng.normal(size=(devices, len(some)))
        k.real({"d": d, "m": m, "g": g}, {})
        np.testing.assert_allclose(g, np.einsum("di,ij->dj", d, m[0]), rtol=1e-12)


@pytest.mark.parametrize("rule", ["bp", "none"])
def test_a_network_of_many_classes_is_verified(
    rule: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """1,000 classes where nothing learns, and 300 that learn, over the link."""
    classes = 1000 if rule == "none" else 300
    data, out, cal = samples(60, classes, 1), tmp_path / "out", tmp_path / "d.npz"
    model = tmp_path / "net.onnx"
    model.write_bytes(export(compile_model(perceptron(classes), RuleSpec("none"), data).graph))
    more = "" if rule == "none" else "[store]\nsamples = 3\n[head]\nimprint = 2\n"
    toml = write_rule(tmp_path / "rule.toml", rule, more=more)
    save(cal, data)
    assert main(["compile", str(model), "--rule", str(toml), "--calibrate", str(cal), "-o", str(out)]) == 0
    words = ["verify", str(out), "--data", str(cal), "--steps", "12", "--device", "process:undefined"]
    assert main(words) == 0
    assert ", 0 differing bytes" in capsys.readouterr().out
