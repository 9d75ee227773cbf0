"""Networks that onnxruntime's quantiser has quantised, and learning on top of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from ctools import UNDEFINED, HostBatch
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper
from onnx.reference import ReferenceEvaluator
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from play import play
from quant_onnx import QuantNet, compiled, scores

from synapcc.gen.compile import Compiled
from synapcc.gen.spec import RuleSpec

CLASSES, CALIBRATION = 4, 32


class Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, x: NDArray[np.float32]) -> None:
        self.samples: Iterator[NDArray[np.float32]] = iter(x)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        sample = next(self.samples, None)
        return None if sample is None else {"x": sample[None]}


def weight(net: QuantNet, *shape: int) -> str:
    return net.const(np.float32(net.rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)), "w")


def bias(net: QuantNet, n: int) -> str:
    return net.const(np.float32(net.rng.normal(0, 0.1, n)), "b")


def conv(net: QuantNet, x: str, inputs: int, outputs: int, size: int = 3, **attrs: Any) -> str:
    groups = int(attrs.get("group", 1))
    w = weight(net, outputs, inputs // groups, size, size)
    pad = [size // 2] * 4
    return net.op("Conv", [x, w, bias(net, outputs)], kernel_shape=[size, size], pads=pad, **attrs)


def dense(net: QuantNet, x: str, inputs: int, outputs: int) -> str:
    return net.op("Gemm", [x, weight(net, outputs, inputs), bias(net, outputs)], transB=1)


def mlp(net: QuantNet) -> str:
    y = net.op("Relu", [dense(net, net.op("Flatten", ["x"]), 72, 24)])
    y = net.op("Relu", [dense(net, y, 24, 12)])
    return dense(net, y, 12, CLASSES)


def cnn(net: QuantNet) -> str:
    y = net.op("Relu", [conv(net, "x", 2, 6)])
    y = net.op("MaxPool", [y], kernel_shape=[2, 2], strides=[2, 2])
    y = net.op("LeakyRelu", [conv(net, y, 6, 8)], alpha=0.1)
    y = net.op("AveragePool", [y], kernel_shape=[3, 3])
    return dense(net, net.op("Flatten", [y]), 8, CLASSES)


def residual(net: QuantNet) -> str:
    x = net.op("Relu", [conv(net, "x", 2, 6)])
    y = conv(net, net.op("Relu", [conv(net, x, 6, 6)]), 6, 6)
    y = net.op("Relu", [net.op("Add", [y, x])])
    y = net.op("Concat", [y, x], axis=1)
    return dense(net, net.op("Flatten", [net.op("GlobalAveragePool", [y])]), 12, CLASSES)


def separable(net: QuantNet) -> str:
    y = net.op("Relu", [conv(net, "x", 2, 8, strides=[2, 2])])
    y = net.op("Clip", [conv(net, y, 8, 8, group=8), net.const(np.float32(0)), net.const(np.float32(6))])
    y = conv(net, y, 8, 10, 1)
    y = net.op("Mul", [y, net.op("Sigmoid", [y])])
    y = net.op("ReduceMean", [y, net.const(np.array([2, 3]))], keepdims=0)
    return dense(net, y, 10, CLASSES)


NETWORKS: Mapping[str, Callable[[QuantNet], str]] = {
    "cnn": cnn,
    "mlp": mlp,
    "residual": residual,
    "separable": separable,
}
WAYS = list(
    product(
        (QuantFormat.QDQ, QuantFormat.QOperator),
        (CalibrationMethod.MinMax, CalibrationMethod.Entropy),
        (False, True),
        (QuantType.QInt8, QuantType.QUInt8),
        (False, True),
    )
)


def quantised(
    folder: Path, name: str, way: tuple[Any, ...], seed: int = 1, softmax: bool = False
) -> tuple[ModelProto, NDArray[np.float32]]:
    """The network as onnxruntime's quantiser writes it, and samples."""
    style, method, by_channel, kind, symmetric = way
    net = QuantNet(np.random.default_rng(seed), (2, 6, 6))
    y = NETWORKS[name](net)
    model = net.model(net.op("Softmax", [y], axis=-1) if softmax else y)
    out = model.graph.output[0].name
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info(out, TensorProto.FLOAT, ["N", CLASSES]))
    path, done = folder / "float.onnx", folder / "quantised.onnx"
    path.write_bytes(model.SerializeToString())
    x = np.random.default_rng(seed + 1).normal(0, 1, (64, 2, 6, 6)).astype(np.float32)
    logging.disable(logging.WARNING)
    quantize_static(
        path,
        done,
        Reader(x[:CALIBRATION]),
        quant_format=style,
        per_channel=by_channel,
        activation_type=kind,
        weight_type=QuantType.QInt8,
        calibrate_method=method,
        extra_options={"ActivationSymmetric": symmetric},
    )
    return onnx.load(done), x


@pytest.mark.parametrize("name", NETWORKS)
def test_scores_of_networks_that_onnxruntime_s_quantiser_wrote(name: str, tmp_path: Path) -> None:
    """Within two units of onnxruntime, which breaks ties otherwise, and within one of the evaluator."""
    for way in WAYS:
        model, x = quantised(tmp_path, name, way)
        c = compiled(model, tmp_path, x)
        held = c.graph.tensors[c.graph.output].format
        assert held is not None
        got = held.meaning.real(scores(c, x))
        (want,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
        assert np.abs(got - want).max() < 2.1 * held.meaning.step, way
        assert np.mean(got.argmax(1) == want.argmax(1)) > 0.95, way
        if way[0] == QuantFormat.QDQ:  # the evaluator has none of onnxruntime's own operators
            (want,) = ReferenceEvaluator(model).run(None, {"x": x})
            assert np.abs(got - want).max() < 1.1 * held.meaning.step, way


def test_a_softmax_at_the_end_is_the_head_with_integers_around_it(tmp_path: Path) -> None:
    for way in (WAYS[0], WAYS[-1]):
        model, x = quantised(tmp_path, "mlp", way, softmax=True)
        c = compiled(model, tmp_path, x)
        (want,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
        assert c.graph.head == "softmax"
        got = scores(c, x)
        clear = np.sort(want, 1)[:, -1] - np.sort(want, 1)[:, -2] > 0.02
        assert np.array_equal(got.argmax(1)[clear], want.argmax(1)[clear]) and np.mean(clear) > 0.7


@pytest.fixture(scope="module")
def learners(tmp_path_factory: pytest.TempPathFactory) -> list[Compiled]:
    """Inference alone, a learned last layer, and all layers, of each network; one in either style."""
    folder, found = tmp_path_factory.mktemp("learners"), []
    rules = [None, RuleSpec("last", rate=4), RuleSpec("bp", layers="all", rate=4)]
    for i, (name, rule) in enumerate(product(NETWORKS, rules)):
        model, x = quantised(folder, name, WAYS[(5 * i) % len(WAYS)])
        found.append(compiled(model, folder, x, rule))
    return found


def test_emitted_c_infers_and_learns_as_the_emulator_does(learners: list[Compiled], tmp_path: Path) -> None:
    plans = [replace(c.plan, model=f"net{i}") for i, c in enumerate(learners)]
    batch = HostBatch(plans, tmp_path, "-O0", *UNDEFINED)
    try:
        for i in range(len(plans)):
            assert play(batch, i, i) >= 5
    finally:
        batch.close()


def test_a_learned_last_layer_answers_as_the_file_before_it_learns(tmp_path: Path) -> None:
    """Its weights become powers of two, what is below stays the file's, bit for bit."""
    for name in NETWORKS:
        model, x = quantised(tmp_path, name, WAYS[0])
        plain, learned = (compiled(model, tmp_path, x, rule) for rule in (None, RuleSpec("last", rate=4)))
        same = scores(plain, x).argmax(1) == scores(learned, x).argmax(1)
        assert np.mean(same) >= 0.95, name
        frozen = {
            t.name: t.data for t in plain.plan.tensors if t.space == "const" and t.name.endswith("weight")
        }
        kept = [t for t in learned.plan.tensors if t.name in frozen and t.space == "const"]
        assert kept and all(t.data == frozen[t.name] for t in kept)
