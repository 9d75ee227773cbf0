"""[loss] weighs errors by class, clips them, and leaves out samples that are right enough."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ctools import UNDEFINED, HostBatch
from head_nets import OLD, perceptron, samples
from play import play

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.spec import EVEN, Loss, RuleSpec
from synapcc.host.run.emulator import Emulator

LOSSES = [
    Loss(class_weights=EVEN),
    Loss(class_weights=(0, 1, 2, 3, 7)),
    Loss(clip=0.25),
    Loss(skip_below=0.125),
    Loss("hinge", class_weights=EVEN, clip=2.0, skip_below=2.0),
    Loss("mse", clip=0.5, skip_below=1.0),
]


def data(loss: Loss, seed: int = 1) -> dict[str, np.ndarray]:
    d = samples(300, OLD, seed)
    keep = (d["label"] > 1) | (np.arange(300) % 4 == 0)  # classes 0 and 1 are rare
    d = {k: v[keep] for k, v in d.items()}
    return {"x": d["x"], "target": np.eye(OLD)[d["label"]]} if loss.kind == "mse" else d


def compiled(loss: Loss, rule: str = "hebbian", name: str = "weighed") -> Compiled:
    graph = replace(perceptron(), name=name)
    return compile_model(graph, RuleSpec(rule, rate=6, loss=loss), data(loss))


def learn(c: Compiled, machine: Emulator, i: int) -> None:
    d = data(c.spec.loss)
    if "target" in d:
        machine.run("learn_target", inputs={"x": d["x"][i : i + 1], "target": d["target"][i : i + 1]})
    else:
        machine.learn({"x": d["x"][i : i + 1]}, d["label"][i : i + 1])


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_the_error_is_what_is_said(loss: Loss) -> None:
    """Beside a network without: what it learns of the same errors, in real numbers, within half a unit."""
    c, plain = compiled(loss), compiled(Loss(loss.kind))
    step = next(s for _, _, s in c.plan.ops() if s.kernel == "weighed_error.forward")
    machine, d, skipped = Emulator(c.plan), data(loss), 0
    unit = c.plan["raw_error"].meaning.step
    k = np.log2(1 / np.array([1.0]))
    if loss.class_weights == EVEN:
        n = np.bincount(d["label"])
        k = np.round(np.log2(n / n.min()))
        assert k.max() > 0
    elif loss.class_weights:
        k = np.array(loss.class_weights)
    for i in range(60):
        other = Emulator(plain.plan)
        for t in plain.plan.space("state"):
            other[t.name][...] = machine[t.name]
        before = machine.state.copy()
        learn(plain, other, i)
        raw = other["error"][0] * plain.plan["error"].meaning.step
        learn(c, machine, i)
        if np.abs(raw).max() < step.attrs["least"] * unit:
            skipped += 1
            changed = before != machine.state
            kept = next(t for t in c.plan.space("state") if t.name == "step")
            assert not changed[0, : kept.offset].any() and not changed[0, kept.offset + kept.nbytes :].any()
            continue
        weight = 2.0 ** -k[d["label"][i] if len(k) > 1 else 0]
        wanted = np.clip(raw * weight, -loss.clip, loss.clip)
        assert np.abs(machine["error"][0] * unit - wanted).max() <= unit / 2
    assert bool(skipped) == bool(loss.skip_below)


def test_chips_learn_alike(tmp_path: Path) -> None:
    models = [
        compiled(loss, rule, f"m{i}{rule}") for i, loss in enumerate(LOSSES[:5]) for rule in ("bp", "ssg")
    ]
    batch = HostBatch([c.plan for c in models], tmp_path / "c", "-O1", *UNDEFINED)
    try:
        assert all(play(batch, i, i) > 5 for i in range(len(models)))
    finally:
        batch.close()


@pytest.mark.parametrize(
    ("rule", "loss", "said"),
    [
        ("hebbian", Loss(class_weights=(0, 1)), "has 2 numbers, and there are 5 classes"),
        ("hebbian", Loss("mse", class_weights=(0, 1)), "belongs to classes"),
        ("hebbian", Loss(skip_below=4.0), "no error reaches 4"),
        ("last", Loss(clip=1e-6), "less than half its unit"),
        ("spsa", Loss(clip=0.5), "does not read the error"),
        ("prototype", Loss(clip=0.5), "decides itself what a learning step does"),
    ],
)
def test_what_could_only_look_as_if_it_did_something_is_refused(rule: str, loss: Loss, said: str) -> None:
    with pytest.raises(CompileError, match=said):
        compiled(loss, rule)


def test_balance_wants_labels() -> None:
    spec = RuleSpec("hebbian", loss=Loss(class_weights=EVEN))
    with pytest.raises(CompileError, match="the calibration data have no labels"):
        compile_model(perceptron(), spec, {"x": data(Loss())["x"]})
