"""A network that was trained behind a constant which its normalisation blew up: told by name if it costs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_models as om
import pytest
from onnx_nets import Net

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.spec import RuleSpec
from synapcc.host.pages.facts import measure

FEATURES, HIDDEN, CLASSES, AT = 8, 16, 4, 3
Weights = list[np.ndarray]


def trained(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Weights:
    """W1, b1, W2, b2 of a rectified perceptron, by Adam (Kingma, Ba 2015)."""
    sizes = ((HIDDEN, x.shape[1]), (HIDDEN,), (CLASSES, HIDDEN), (CLASSES,))
    p = [rng.uniform(-1, 1, s) * np.sqrt(6 / sum(s)) if len(s) == 2 else np.zeros(s) for s in sizes]
    first, second = ([np.zeros(s) for s in sizes] for _ in range(2))
    for t in range(1, 1500):
        chosen = rng.integers(0, len(x), 32)
        a = x[chosen] @ p[0].T + p[1]
        h = np.maximum(a, 0)
        z = h @ p[2].T + p[3]
        e = np.exp(z - np.max(z, axis=1, keepdims=True))
        e /= e.sum(axis=1, keepdims=True)
        e[np.arange(32), y[chosen]] -= 1
        d = e @ p[2] * (a > 0)
        for i, g in enumerate((d.T @ x[chosen], d.sum(0), e.T @ h, e.sum(0))):
            first[i] += (g / 32 - first[i]) / 10
            second[i] += ((g / 32) ** 2 - second[i]) / 1000
            p[i] -= 0.01 * first[i] / (1 - 0.9**t) / (np.sqrt(second[i] / (1 - 0.999**t)) + 1e-7)
    return p


def behind_a_constant(seed: int, constant: float, folder: Path, rule: str = "none") -> tuple[Compiled, float]:
    """(the compiled network, the share of samples that get the class of the float one).

    Features N(0, 1) about the centre of their class, but for one that is always the same, and of which the
    normalisation makes `constant`.
    """
    rng = np.random.default_rng([17, seed])
    y = rng.integers(0, CLASSES, 1000)
    x = (rng.normal(0, 1.2, (CLASSES, FEATURES))[y] + rng.normal(0, 1, (1000, FEATURES))).astype(np.float32)
    x[:, AT] = 40.1
    mean, std = x.mean(axis=0), x.std(axis=0)
    mean[AT] = np.nextafter(x[0, AT], np.float32(100))
    std[AT] = (x[0, AT] - mean[AT]) / np.float32(constant)
    given = ((x - mean) / std).astype(np.float64)
    assert given[0, AT] == pytest.approx(constant, rel=1e-3)
    p = trained(given, y, rng)
    net = Net(rng, [1, FEATURES])
    net.put("Sub", net.value(mean))
    net.put("Div", net.value(std))
    for i in (0, 2):
        net.put("Gemm", net.value(p[i].astype("f4")), net.value(p[i + 1].astype("f4")), transB=1)
        if not i:
            net.put("Relu")
    compiled = compile_model(om.save(net.proto(), folder), RuleSpec(rule), {"x": x, "label": y}, name="net")
    report = measure(compiled)
    return compiled, report["calibration"]["same_class_as_float"]


@pytest.mark.parametrize("constant", [-30.0, 30.0, 3000.0, -3000.0, 10_000.0])
def test_what_a_constant_costs_is_told_by_feature(constant: float, tmp_path: Path) -> None:
    named = 0
    for seed in range(3):
        compiled, share = behind_a_constant(seed, constant, tmp_path)
        lines = measure(compiled)["warnings"]
        by_feature = [w for w in lines if w.startswith(f"input x: feature {AT} never moved")]
        named += len(by_feature)
        assert lines or share >= 0.95, "what is lost is told, by the feature or by the layer"
        assert not by_feature or f"makes {constant:.4g}" in by_feature[0]
        if abs(constant) < 100:
            assert share > 0.97 and lines == []
    assert named >= 2 or abs(constant) < 100


def test_a_refusal_names_the_feature_too(tmp_path: Path) -> None:
    refused = 0
    for seed in range(3):
        try:
            behind_a_constant(seed, -30_000.0, tmp_path, "last")
        except CompileError as error:
            assert f"feature {AT} never moved" in error.hint
            refused += 1
    assert refused


def test_a_constant_that_no_layer_takes_in_is_told(tmp_path: Path) -> None:
    """A border of zeros cannot take a summand: the constant stays in the input, and takes its range."""
    rng = np.random.default_rng(18)
    net = Net(rng, [1, 2, 12])
    mean, std = np.zeros((2, 12), "f4"), np.ones((2, 12), "f4")
    mean[0], std[0] = np.nextafter(np.float32(7), np.float32(8)), 1e-9
    net.put("Sub", net.value(mean))
    net.put("Div", net.value(std))
    net.conv(2, 4, 3, pads=[1, 1])
    net.put("Relu")
    net.head(48)
    x = rng.normal(0, 1, (300, 2, 12)).astype(np.float32)
    x[:, 0] = 7
    compiled = compile_model(om.save(net.proto(), tmp_path), RuleSpec("none"), {"x": x}, name="net")
    print(measure(compiled)["warnings"], measure(compiled)["calibration"], compiled.graph.notes)
