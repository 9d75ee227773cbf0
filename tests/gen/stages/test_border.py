"""What of an int8 file becomes ours where some of its layers learn, and what `compile` says of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lite import Author
from lite_nets import REFUSE_FILES, accepted_lite
from onnx.reference import ReferenceEvaluator

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.exporters.onnx import export
from synapcc.gen.importers import load_model
from synapcc.gen.ir.format import PowerOfTwo, Scaled
from synapcc.gen.rules import rules
from synapcc.gen.spec import Feedback, Head, RuleSpec
from synapcc.host.cli import main
from synapcc.host.pages.compile import compile_html
from synapcc.host.pages.facts import measure, summary
from synapcc.host.run.agreement import as_the_file
from synapcc.host.run.diagnose import Diagnosis
from synapcc.host.run.emulator import Emulator
from synapcc.host.run.samples import read_samples

N = 200


def file() -> bytes:
    """x [4, 4, 2] -> convolution with padding, ReLU -> dense, ReLU -> dense, 5 scores."""
    rng, a = np.random.default_rng(7), Author()
    x = a.tensor("x", (1, 4, 4, 2), scale=0.05, zero=-20)
    kernel = a.tensor(
        "k", (3, 3, 3, 2), scale=[0.011, 0.02, 0.007], data=rng.integers(-127, 128, (3, 3, 3, 2))
    )
    start = a.tensor(
        "s", (3,), "INT32", scale=np.float32([0.011, 0.02, 0.007]) * np.float32(0.05), data=[9, -50, 300]
    )
    c = a.tensor("filters", (1, 4, 4, 3), scale=0.15, zero=-128)
    a.op(
        "CONV_2D",
        [x, kernel, start],
        [c],
        "Conv2DOptions",
        3,
        padding=0,
        strideH=1,
        strideW=1,
        fusedActivationFunction=1,
    )
    flat = a.tensor("flat", (1, 48), scale=0.15, zero=-128)
    a.op("RESHAPE", [c], [flat], "ReshapeOptions", 1, newShape=[1, 48])
    at, scale = flat, 0.15
    for name, n, m, out, function in (("hidden", 48, 8, 0.6, 1), ("last", 8, 5, 1.0, 0)):
        w = a.tensor(f"w_{name}", (m, n), scale=0.013, data=rng.integers(-127, 128, (m, n)))
        b = a.tensor(f"b_{name}", (m,), "INT32", scale=0.013 * scale, data=rng.integers(-900, 900, m))
        y = a.tensor(name, (1, m), scale=out, zero=-128 if function else 11)
        a.op("FULLY_CONNECTED", [at, w, b], [y], "FullyConnectedOptions", 4, fusedActivationFunction=function)
        at, scale = y, out
    return a.bytes([x], [at])


def compiled(folder: Path, spec: RuleSpec) -> Compiled:
    path = folder / "net.tflite"
    path.write_bytes(file())
    rng = np.random.default_rng(1)
    x = rng.uniform(-5.4, 7.3, (N, 4, 4, 2)).astype(np.float32)
    return compile_model(path, spec, {"x": x, "label": rng.integers(0, 5, N)})


LAYERS = ("filters", "hidden", "last")


def test_the_layers_are_called_so(tmp_path: Path) -> None:
    (tmp_path / "net.tflite").write_bytes(file())
    graph = load_model(tmp_path / "net.tflite")
    assert tuple(n.name for n in graph.nodes if n.op in ("conv2d", "dense")) == LAYERS


@pytest.mark.parametrize("learned", [("last",), ("hidden",), ("filters",), ("filters", "last"), LAYERS])
def test_weights_of_layers_that_learn_become_ours_and_nothing_else(
    learned: tuple[str, ...], tmp_path: Path
) -> None:
    c = compiled(tmp_path, RuleSpec("bp", layers=learned, rate=12))
    for name in LAYERS:
        weight, out = c.plan[f"{name}_weight"], c.plan[name]
        assert isinstance(weight.meaning, PowerOfTwo if name in learned else Scaled), name
        assert isinstance(out.meaning, PowerOfTwo if name == "last" and "last" in learned else Scaled), name
        assert weight.space == ("state" if name in learned else "const")
    assert c.plan[c.plan.logits].dtype == "int16" and isinstance(c.plan[c.plan.logits].meaning, PowerOfTwo)
    tables = [s.node for program, _, s in c.plan.ops() if s.kernel == "table.forward"]
    assert len(tables) == (0 if "last" in learned else 1)
    passed = LAYERS[LAYERS.index(learned[0]) + 1 :]
    copies = [f"{n}_matrix" for n in passed if n not in learned]
    assert [t.name for t in c.plan.tensors if t.role == "matrix"] == copies[::-1]
    for name in copies:
        t, real = c.plan[name], c.abstract.values[f"{name.removesuffix('_matrix')}_weight"].real
        assert real is not None and np.abs(t.meaning.real(t.array()) - real).max() <= t.meaning.step / 2


def test_masks_stand_where_signals_pass_and_only_there(tmp_path: Path) -> None:
    for learned, kept in ((("last",), 0), (("hidden",), 1), (("filters",), 2)):
        c = compiled(tmp_path, RuleSpec("bp", layers=learned, rate=12))
        assert [s.kernel for _, _, s in c.plan.ops()].count("clip.feedback") == kept
        assert sum(n.op == "clip" for n in c.graph.nodes) == kept


@pytest.mark.parametrize("rule", sorted(set(rules()) - {"prototype", "ssg", *REFUSE_FILES}))
def test_every_rule_teaches_every_choice_of_layers(rule: str, tmp_path: Path) -> None:
    """Each layer that a rule changes has changed, within its limits; others are constants."""
    alone = () if rule == "hybrid" else (("last",), ("hidden",), ("filters",))  # which needs a layer below
    for learned in (*alone, ("filters", "hidden"), LAYERS):
        for untied in ((), ("filters",)):
            spec = RuleSpec(rule, layers=learned, rate=9, untied=untied, feedback=Feedback("aligned"))
            c = compiled(tmp_path, spec)
            machine = Emulator(c.plan)
            for x, label in zip(c.calibration["x"][:20], c.calibration["label"][:20], strict=True):
                machine.learn({"x": x[None].astype(np.float32)}, [int(label)])
            for name in c.learned:
                t = c.plan[f"{name}_weight"]
                assert not np.array_equal(machine[t.name][0], t.array()), (learned, untied, name)
            assert c.plan["filters_weight"].shape[0] == (48 if untied else 3)


def test_signals_are_not_predicted_from_a_files_integers(tmp_path: Path) -> None:
    compiled(tmp_path, RuleSpec("ssg", layers=("last",)))
    with pytest.raises(CompileError, match="hidden: has a file's own integers behind its activation"):
        compiled(tmp_path, RuleSpec("ssg", layers=("hidden", "last")))


@pytest.mark.parametrize("rule", REFUSE_FILES)
def test_inputs_in_a_files_integers_are_not_moved(rule: str, tmp_path: Path) -> None:
    says = f"{rule} moves the inputs, and the model file brings the number"
    with pytest.raises(CompileError, match=says):
        compiled(tmp_path, RuleSpec(rule, layers=("hidden", "last")))


def test_prototypes_of_a_files_features(tmp_path: Path) -> None:
    """A class without a sample has the lowest score, whatever comes; its first sample makes it."""
    c = compiled(tmp_path, RuleSpec("prototype", layers="all", head=Head("+1")))
    assert c.learned == ("last",) and c.untouched is None
    machine, rng = Emulator(c.plan), np.random.default_rng(4)
    x = rng.choice([-128, 0, 127], (100, 4, 4, 2)).astype(np.int8)
    said = machine.infer_many({"x": x})
    assert np.all(said.scores[:, 5] == -(2**15)) and said.winner.max() < 5
    machine.learn({"x": x[:1]}, [5])
    assert machine.infer({"x": x[:1]}).winner[0] == 5


def test_untied_and_frozen_it_says_what_the_tied_one_says(tmp_path: Path) -> None:
    plans = [
        compiled(tmp_path, RuleSpec("last", layers="all", untied=u, rate=12)).plan for u in ((), ("filters",))
    ]
    x = np.random.default_rng(2).integers(-128, 128, (50, 4, 4, 2)).astype(np.int8)
    tied, untied = (Emulator(p).infer_many({"x": x}).scores for p in plans)
    assert np.array_equal(tied, untied) and len(np.unique(tied)) > 50


def test_learning_lowers_the_loss(tmp_path: Path) -> None:
    """Labels that follow from inputs: the convolution alone learns them through two layers of the file."""
    c = compiled(tmp_path, RuleSpec("bp", layers=("filters",), rate=10))
    x = c.calibration["x"].astype(np.float32)
    label = (x[:, :, :2].mean(axis=(1, 2, 3)) > x[:, :, 2:].mean(axis=(1, 2, 3))).astype(int)
    machine = Emulator(c.plan)
    before = np.mean(machine.infer_many({"x": x}).winner == label)
    for _ in range(8):
        for one, y in zip(x, label, strict=True):
            machine.learn({"x": one[None]}, [int(y)])
    after = np.mean(machine.infer_many({"x": x}).winner == label)
    assert after > before + 0.3 and after > 0.65, (before, after)


@pytest.mark.parametrize("learned", [("last",), ("filters",), LAYERS])
def test_the_float_network_keeps_the_activations_that_the_file_fused(
    learned: tuple[str, ...], tmp_path: Path
) -> None:
    """As ONNX, whose other readers know no limits of integers; and what is diagnosed from it."""
    c = compiled(tmp_path, RuleSpec("bp", layers=learned, rate=9))
    path = tmp_path / "float.onnx"
    path.write_bytes(export(c.graph))
    x = c.calibration["x"].astype(np.float32)
    scores = ReferenceEvaluator(str(path)).run(None, {"x": x})[0]
    assert np.mean(scores.argmax(axis=1) == Emulator(c.plan).infer_many({"x": x}).winner) >= 0.97
    diagnosis = Diagnosis(c.plan, load_model(path), {"rule": c.spec.to_dict()})
    taught = {"x": x[:40], "label": c.calibration["label"][:40].astype(np.uint8)}
    diagnosis.learn(read_samples(c.plan, taught, labels=True))
    angles = {x["layer"]: x["angle"]["mean"] for x in diagnosis.to_dict()["layers"]}
    assert {*angles} == {*learned} and max(angles.values()) < 30, angles  # masks differ where int8 is full
    assert angles.get("last", 0.0) < 1, angles


def test_the_report_says_how_faithful_it_is(tmp_path: Path) -> None:
    c = compiled(tmp_path, RuleSpec("bp", layers="all", rate=12))
    report = measure(c)
    assert report["file"] == as_the_file(c) and report["file"]["same_class"] >= 0.99
    assert [x["layer"] for x in report["file"]["layers"]] == [*LAYERS]
    assert "% of the answers are the model file's" in summary(report)
    assert "Network = file" in compile_html(report)
    assert not [w for w in report["warnings"] if "model file" in w]


def test_it_warns_of_a_network_that_strays_and_names_the_layer(tmp_path: Path) -> None:
    coarse = RuleSpec("bp", layers="all", rate=6, weights="int8", headroom=16.0)
    report = measure(compiled(tmp_path, coarse))
    assert report["file"]["same_class"] < 0.99
    worst = max(report["file"]["layers"], key=lambda x: float(x["rounding"]))["layer"]
    (told,) = [w for w in report["warnings"] if "model file" in w]
    assert f"{worst} loses most" in told and 'weights = "int16"' in told
    assert told in summary(report)


def test_where_nothing_of_a_file_learns_nothing_is_said(tmp_path: Path) -> None:
    c = compiled(tmp_path, RuleSpec("none"))
    assert c.untouched is None and measure(c)["file"] is None


def test_the_random_files_reach_every_update(tmp_path: Path) -> None:
    """Otherwise a green run of tests/gen/test_lite_learning.py would say nothing about what was left out."""
    models = [c for c, _ in accepted_lite(0, 90, tmp_path)]
    steps = [s for c in models for _, _, s in c.plan.ops()]
    kernels = {s.kernel for s in steps if s.attrs.get("x_zero")}
    layers = ("dense", "conv2d", "local2d")
    assert kernels >= {f"{op}.{what}" for op in layers for what in ("forward", "update")}
    assert {c.spec.rule for c in models} == {*rules()} - {*REFUSE_FILES} - {
        n for n, r in rules().items() if r.unrolls
    }
    assert any(t.name.endswith("_matrix") for c in models for t in c.plan.tensors)
    assert any("twin" in s.args for s in steps)


@pytest.mark.parametrize("rule", ["none", "last", "bp"])
@pytest.mark.parametrize("share", [0.0, 0.005, 0.02, 0.6])
def test_much_that_the_file_clips_is_told_once(
    rule: str, share: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "net.tflite").write_bytes(file())
    rng = np.random.default_rng(1)
    x = rng.uniform(-5, 6, (N, 4, 4, 2)).astype(np.float32)
    x[rng.random(x.shape) < share] = 100.0
    np.savez(tmp_path / "cal.npz", x=x, label=rng.integers(0, 5, N))
    (tmp_path / "rule.toml").write_text(f'rule = "{rule}"\n' + 'rate = "2^-12"\n' * (rule != "none"))
    words = ["--rule", str(tmp_path / "rule.toml"), "--calibrate", str(tmp_path / "cal.npz")]
    board = ["--board", "mps2_an386", "-o", str(tmp_path / "out")]
    assert main(["compile", str(tmp_path / "net.tflite"), *words, *board]) == 0
    told = capsys.readouterr()
    assert (told.out + told.err).count("were clipped") == (share > 0.01)
