"""Models as skl2onnx writes them: scalers, linear models, and the tails of classifiers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_models as om
import pytest
from float_graph import run_graph
from onnx import ModelProto, TensorProto, helper
from onnx.reference import ReferenceEvaluator
from onnx_models import ml, node

from synapcc.gen.compile import compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.importers import load_model
from synapcc.gen.spec import RuleSpec
from synapcc.host.run.emulator import Emulator

N = 5


def scaled(**attrs: Any) -> Any:
    return ml("Scaler", "x", "s", "Scaler", **attrs)


def classifier(classes: int, end: str, rows: int = 0, **labels: Any) -> ModelProto:
    """Scaler, LinearClassifier, Normalizer where skl2onnx has one; label and probabilities come out."""
    rows = rows or classes
    given = labels or {"classlabels_ints": list(range(10, 10 + classes))}
    nodes = [
        scaled(offset=om.real(N).tolist(), scale=(om.real(N, seed=3) + 2).tolist()),
        ml(
            "LinearClassifier", "s", "label p", "LinearClassifier", post_transform=end, multi_class=1,
            coefficients=om.real(rows * N).tolist(), intercepts=om.real(rows).tolist(), **given,
        ),
        ml("Normalizer", "p", "probabilities", "Normalizer", norm="L1"),
    ]  # fmt: skip
    if end == "NONE":
        nodes[-1] = node("Identity", "p", "probabilities")
    kind = TensorProto.STRING if "classlabels_strings" in given else TensorProto.INT64
    outputs = [
        helper.make_tensor_value_info("label", kind, [None]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, classes]),
    ]
    return om.model(nodes, {"x": ("b", N)}, outputs)


def shares(z: np.ndarray, head: str) -> np.ndarray:
    made = np.exp(z - z.max()) if head == "softmax" else 1 / (1 + np.exp(-z)) if head == "sigmoid" else z
    return made / made.sum() if head != "none" else made


@pytest.mark.parametrize("end", ["NONE", "LOGISTIC", "SOFTMAX"])
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_a_linear_classifier(classes: int, end: str, tmp_path: Path) -> None:
    proto = classifier(classes, end)
    graph, model = load_model(om.save(proto, tmp_path)), ReferenceEvaluator(proto)
    for x in om.rng(1).standard_normal((6, N)).astype(np.float32):
        label, p = model.run(None, {"x": x[None]})
        z = run_graph(graph, {"x": x})
        assert int(label[0]) == 10 + int(np.argmax(z))
        np.testing.assert_allclose(shares(z, graph.head), np.ravel(p), rtol=1e-4, atol=1e-5)
    assert any("class i stands for entry i of" in n and "11" in n for n in graph.notes)


def test_one_row_for_two_classes(tmp_path: Path) -> None:
    proto = classifier(2, "LOGISTIC", rows=1)
    graph = load_model(om.save(proto, tmp_path))
    for x in om.rng(1).standard_normal((6, N)).astype(np.float32):
        first, second = run_graph(graph, {"x": x})
        assert first == pytest.approx(-second)
    assert graph.tensors[graph.output].size == 2


def test_names_of_classes(tmp_path: Path) -> None:
    proto = classifier(2, "SOFTMAX", classlabels_strings=["ill", "well"])
    assert any("['ill', 'well']" in n for n in load_model(om.save(proto, tmp_path)).notes)


def test_the_label_alone(tmp_path: Path) -> None:
    proto = classifier(3, "SOFTMAX")
    del proto.graph.output[1]
    graph = load_model(om.save(proto, tmp_path))
    assert graph.tensors[graph.output].size == 3


@pytest.mark.parametrize("targets", [1, 3])
def test_a_linear_regressor(targets: int, tmp_path: Path) -> None:
    weights = {"coefficients": om.real(targets * N).tolist(), "intercepts": om.real(targets).tolist()}
    nodes = [scaled(offset=[0.5], scale=[2.0]), ml("LinearRegressor", "s", "y", targets=targets, **weights)]
    proto = om.model(nodes, {"x": ("b", N)}, {"y": ("b", targets)})
    graph, model = load_model(om.save(proto, tmp_path)), ReferenceEvaluator(proto)
    for x in om.rng(1).standard_normal((6, N)).astype(np.float32):
        (want,) = model.run(None, {"x": x[None]})
        np.testing.assert_allclose(run_graph(graph, {"x": x}), np.ravel(want), rtol=1e-4, atol=1e-5)


def regressor(**attrs: Any) -> list[Any]:
    return [ml("LinearRegressor", "x", "y", **{"coefficients": [1.0] * N, **attrs})]


def linear(**attrs: Any) -> list[Any]:
    return [ml("LinearClassifier", "x", "l y", coefficients=[1.0] * 2 * N, **attrs)]


BAD: dict[str, tuple[list[Any], str]] = {
    "offsets": ([scaled(offset=[1.0, 2.0]), node("Identity", "s", "y")], "has 2 offsets and 1 scales"),
    "infinite": (
        [scaled(scale=[float("inf")]), node("Identity", "s", "y")],
        "its scale holds numbers that are not finite",
    ),
    "coefficients": (regressor(targets=2), "has 5 coefficients for 2 results of 5 features"),
    "intercepts": (regressor(intercepts=[1.0, 2.0]), "has 2 intercepts for 1 results"),
    "end": (regressor(post_transform="SOFTMAX"), "ends with SOFTMAX"),
    "probit": (linear(post_transform="PROBIT", classlabels_ints=[0, 1]), "makes probabilities by PROBIT"),
    "no labels": (linear(), "coefficients for 0 results"),
    "normalised inside": ([ml("Normalizer", "x", "y", norm="L1")], "stands within the network"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_does_not_fit_is_refused(name: str, tmp_path: Path) -> None:
    nodes, says = BAD[name]
    proto = om.model(nodes, {"x": ("b", N)}, {"y": ("b", 1)})
    with pytest.raises(CompileError) as caught:
        load_model(om.save(proto, tmp_path))
    assert says in str(caught.value) and "\n" not in str(caught.value)


def binary_perceptron() -> ModelProto:
    """MLPClassifier of two classes: shares 1 - p and p of one sigmoid, side by side."""
    weights = {
        "w": om.real(N, 6), "b": om.real(1, 6), "w1": om.real(6, 1), "b1": om.real(1, 1),
        "unity": np.float32([1]), "classes": np.array([3, 4], np.int32), "flat": np.array([-1]),
    }  # fmt: skip
    nodes = [
        node("Cast", "x", "c", "Cast", to=TensorProto.FLOAT),
        node("MatMul", "c w", "m", "MatMul"),
        node("Add", "m b", "a", "Add"),
        node("Relu", "a", "r", "Relu"),
        node("MatMul", "r w1", "m1", "MatMul1"),
        node("Add", "m1 b1", "a1", "Add1"),
        node("Sigmoid", "a1", "p", "Sigmoid"),
        node("Sub", "unity p", "q", "Sub"),
        node("Concat", "q p", "probabilities", "Concat", axis=1),
        node("ArgMax", "probabilities", "i", "ArgMax", axis=1),
        ml("ArrayFeatureExtractor", "classes i", "l", "ArrayFeatureExtractor"),
        node("Reshape", "l flat", "label", "Reshape"),
    ]
    outputs = [
        helper.make_tensor_value_info("label", TensorProto.INT32, [None]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2]),
    ]
    return om.model(nodes, {"x": (None, N)}, outputs, weights, opset=13)


def test_a_perceptron_of_two_classes_compiles(tmp_path: Path) -> None:
    proto = binary_perceptron()
    graph = load_model(om.save(proto, tmp_path))
    x = om.rng(1).standard_normal((200, N)).astype(np.float32)
    compiled = compile_model(graph, RuleSpec("none"), {"x": x})
    winner = Emulator(compiled.plan, len(x)).infer({"x": x}).winner
    label, p = ReferenceEvaluator(proto).run(None, {"x": x})  # type: ignore[misc]
    assert np.mean(winner + 3 == label) > 0.95
    for row, want in zip(x[:6], np.asarray(p), strict=False):
        np.testing.assert_allclose(run_graph(graph, {"x": row}), want, rtol=1e-4, atol=1e-5)
