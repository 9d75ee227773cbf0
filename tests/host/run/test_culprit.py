"""Where integers and float disagree the report says so in one line, and names the layer that does it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_models as om
import pytest
from lite import Author
from onnx_nets import Net
from random_nets import ANY, accepted

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.ir.graph import Graph, Node, Tensor
from synapcc.gen.ir.program import root
from synapcc.gen.spec import RuleSpec
from synapcc.host.cli import main
from synapcc.host.pages.facts import measure
from synapcc.host.run.agreement import agreement
from synapcc.host.run.culprit import LEAST, Kept, culprit, expected, parts, warning

KINDS = ("usual", "row", "variance", "weight", "last", "input")
MENDED = ("row", "variance", "weight", "last")  # where nothing learns: tests/gen/stages/test_choose.py
Rng = np.random.Generator


def spoilt(rng: Rng, kind: str) -> tuple[Graph, np.ndarray, set[str]]:
    """(a network that float computes without loss, samples, the parts of which one may be named).

    row:      a hidden row times 1,000, undone in the next layer
    variance: a batch normalisation of which one variance is 1e-6: its row is 1,000 times larger
    weight:   one weight 1,000 times the others
    last:     the last layer times 1e-4
    input:    one feature 1,000 times the others, and its weights as much smaller

    Where a hidden row is large the scores are as well, and either layer may lose most.
    """
    n, hidden, classes = int(rng.integers(6, 12)), int(rng.integers(5, 12)), int(rng.integers(3, 6))
    w = [rng.normal(0, 0.5, (hidden, n)), rng.normal(0, 0.5, (classes, hidden))]
    b = [rng.normal(0, 0.3, hidden), rng.normal(0, 0.3, classes)]
    x = rng.normal(0, 1, (256, n))
    at, by = int(rng.integers(hidden)), int(rng.integers(n))
    if kind == "row":
        w[0][at], b[0][at], w[1][:, at] = w[0][at] * 1e3, b[0][at] * 1e3, w[1][:, at] / 1e3
    if kind == "variance":
        w[0][at], b[0][at] = w[0][at] / np.sqrt(1e-6), b[0][at] / np.sqrt(1e-6)
    if kind == "weight":
        w[0][at, by] *= 1e3
    if kind == "last":
        w[1], b[1] = w[1] * 1e-4, b[1] * 1e-4
    if kind == "input":
        x[:, by], w[0][:, by] = x[:, by] * 1e3, w[0][:, by] / 1e3
    tensors = {"x": Tensor("x", (n,)), "relu": Tensor("relu", (hidden,))}
    for i, name in enumerate(("fc0", "fc1")):
        tensors |= {f"w{i}": Tensor(f"w{i}", w[i].shape, w[i]), f"b{i}": Tensor(f"b{i}", b[i].shape, b[i])}
        tensors[name] = Tensor(name, b[i].shape)
    nodes = (
        Node("dense", "fc0", ("x", "w0", "b0"), "fc0"),
        Node("clip", "relu", ("fc0",), "relu", {"lo": 0.0, "hi": np.inf}),
        Node("dense", "fc1", ("relu", "w1", "b1"), "fc1"),
    )
    named = {"last": {"fc1"}, "input": {"input x", "fc0 + relu"}}
    return Graph("net", ("x",), "fc1", tensors, nodes), x, named.get(kind, {"fc0 + relu", "fc1"})


def told(compiled: Compiled) -> list[str]:
    """The report's lines on what is lost, of which there is one at most."""
    lines = [w for w in measure(compiled)["warnings"] if "the class of the float network" in w]
    assert len(lines) <= 1
    return lines


@pytest.mark.parametrize("rule", ["none", "bp", "last"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_lost_is_told_and_the_layer_is_the_one(kind: str, rule: str) -> None:
    compared = lost = 0
    for seed in range(12):
        graph, x, named = spoilt(np.random.default_rng([41, seed]), kind)
        try:
            compiled = compile_model(graph, RuleSpec(rule, rate=6), {"x": x})
        except CompileError:
            continue
        asked = expected(compiled, agreement(compiled)[0])
        share = asked.share
        lines = told(compiled)
        assert bool(lines) == asked.few, (asked, lines)
        compared += 1
        if lines:
            label = lines[0].split(": ")[0]
            assert label in named and f": {100 * share:.1f} % of" in lines[0], lines
            alone = {p.label: kept(compiled, p.values) for p in parts(compiled)}
            assert (
                alone[label] == min(alone.values()) and f"most, {100 * alone[label]:.1f} % with" in lines[0]
            )
            lost += 1
    if rule == "none" and kind in MENDED:
        assert compared == 12 and lost <= (kind == "variance"), (compared, lost)
    else:
        assert compared >= 6 and (lost >= 2 if kind != "usual" else lost <= 3), (compared, lost)


def kept(compiled: Compiled, values: set[str]) -> float:
    """The share of samples whose class stays if only these values are what their integers stand for.

    By hand, for the network of `spoilt`.
    """
    formats, data = compiled.quantised.formats, compiled.quantised.data

    def of(name: str, real: np.ndarray) -> np.ndarray:
        if name not in values:
            return real
        fmt = formats[name]
        if name in data:
            return fmt.meaning.real(data[name])
        return fmt.meaning.real(np.clip(fmt.meaning.units(real), fmt.lo, fmt.hi))

    w, b = ([np.asarray(compiled.graph.tensors[f"{k}{i}"].value) for i in (0, 1)] for k in "wb")
    scores = []
    for pick in (lambda name, real: real, of):
        h = pick("x", compiled.calibration["x"])
        h = pick("fc0", h @ pick("fc0_weight", w[0]).T + pick("fc0_bias", b[0]))
        h = pick("relu", np.maximum(h, 0))
        scores.append(pick("fc1", h @ pick("fc1_weight", w[1]).T + pick("fc1_bias", b[1])))
    return float(np.mean(scores[0].argmax(axis=1) == scores[1].argmax(axis=1)))


def test_parts_of_any_network_hold_every_value_once() -> None:
    for compiled, _ in accepted(ANY, 15):
        values = compiled.abstract.values
        found = parts(compiled)
        assert len({p.label for p in found}) == len(found) and all(p.label for p in found)
        forward = [s for program, s in compiled.abstract.steps() if program == "forward"]
        written = {s.args["y"] for s in forward if "y" in s.args} | {*compiled.abstract.inputs}
        for name in (n for n in written if values[n].space == "arena"):  # not what layers remember
            mine = [p for p in found if name in p.values]
            assert len(mine) == 1
            assert mine[0].label.endswith(" over time") or all(
                root(values, other) == root(values, name)
                for other in mine[0].values
                if values[other].space == "arena"
            )
        part, alone = culprit(compiled)
        assert part in found and 0.0 <= alone <= 1.0


def test_a_network_that_has_not_learned_is_told_so() -> None:
    graph, x, _ = spoilt(np.random.default_rng([41, 1]), "variance")
    label = np.random.default_rng(2).integers(0, 3, len(x))
    compiled = compile_model(graph, RuleSpec("bp", rate=6), {"x": x, "label": label})
    for data, untrained, hint in (
        ({"label": label}, True, "does not fit the labels yet"),
        ({}, True, "if it has learned, scale its last layer up"),
        ({"label": label}, False, "rescale it"),
    ):
        quantised = replace(compiled.quantised, untrained=untrained)
        other = replace(compiled, quantised=quantised, calibration={"x": compiled.calibration["x"], **data})
        assert hint in warning(other, Kept(0.5, 256))
    assert warning(compiled, Kept(LEAST, 10**9)) == "" and warning(compiled, Kept(0.9499, 256)) != ""


def test_compile_says_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With too few samples to choose remedies by, a hidden row that is far larger than the others is told."""
    for factor in (1.0, 1e3):
        folder = tmp_path / str(factor)
        folder.mkdir()
        net, scale = Net(np.random.default_rng(1), [1, 8]), np.ones((6, 1), np.float32)
        scale[2] = factor
        first, second = net.weight(6, 8), net.weight(4, 6)
        net.weights[first] = net.weights[first] * scale
        net.weights[second] = net.weights[second] / scale.T
        net.put("Gemm", first, net.value(np.zeros(6, np.float32)), transB=1)
        net.put("Relu")
        net.put("Gemm", second, net.weight(4), transB=1)
        model, rule, data = om.save(net.proto(), folder), folder / "rule.toml", folder / "data.npz"
        rule.write_text('rule = "none"\n')
        np.savez(data, x=np.random.default_rng(2).normal(0, 1, (6, 8)).astype(np.float32))
        words = ["compile", str(model), "--rule", str(rule), "--calibrate", str(data), "-o"]
        assert main([*words, str(folder / "out")]) == 0
        said = [s for s in capsys.readouterr().out.splitlines() if "warning" in s]
        report = json.loads((folder / "out" / "report.json").read_text())
        assert [s.removeprefix("  warning: ") for s in said] == report["warnings"]
        assert len(said) == (factor > 1)
        assert not said or said[0].startswith(f"  warning: {report['layers'][0]['layer']}: ")


def test_integers_of_a_file_are_not_ours_to_mend(tmp_path: Path) -> None:
    """What a file's own scales lose is told as that: no weight can be rescaled here, no format chosen."""
    a, rng = Author(), np.random.default_rng(0)
    x = a.tensor("x", (1, 8), scale=0.05)
    w = a.tensor("w", (3, 8), scale=0.01, data=rng.integers(-127, 128, (3, 8)))
    y = a.tensor("y", (1, 3), scale=2.0)
    a.op("FULLY_CONNECTED", [x, w], [y], "FullyConnectedOptions", 4)
    (tmp_path / "net.tflite").write_bytes(a.bytes([x], [y]))
    samples = rng.normal(0, 1, (64, 8)).astype(np.float32)
    compiled = compile_model(tmp_path / "net.tflite", RuleSpec("none"), {"x": samples})
    asked = expected(compiled, agreement(compiled)[0])
    line = warning(compiled, asked)
    assert asked == Kept(agreement(compiled)[0], 64) and "near" not in line
    assert line.startswith("y: ") and "the file's own" in line and "rescale" not in line


def test_what_chance_may_lose_is_not_told() -> None:
    """Of 64 answers two are less than 97 %, and so are three; a thousand answers say more."""
    assert [lost for lost in range(7) if Kept(1 - lost / 64, 64).few] == [4, 5, 6]
    assert Kept(0.96, 1024).few and not Kept(0.967, 1024).few and Kept(6 / 7, 7).few
    for n in range(1, 2000):
        assert not Kept(LEAST, n).few and Kept(0.5, n).few == (n > 0)


def test_no_layer_is_accused_that_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, x, _ = spoilt(np.random.default_rng([41, 1]), "usual")
    compiled = compile_model(graph, RuleSpec("none"), {"x": x})
    label = parts(compiled)[0].label
    monkeypatch.setattr("synapcc.host.run.culprit.culprit", lambda c: (parts(c)[0], 1.0))
    line = warning(compiled, Kept(0.9, 256))
    assert line.startswith("net: 90.0 % of the calibration samples get") and label not in line
    assert line.endswith("; no layer loses any by itself, all together do")
