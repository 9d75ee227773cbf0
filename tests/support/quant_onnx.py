"""Quantised ONNX files written by hand, ONNX's reference evaluator as an oracle, and what synapcc says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.importers import load_model
from synapcc.gen.spec import INFERENCE_ONLY, RuleSpec
from synapcc.host.run.emulator import Emulator

Rng = np.random.Generator
OPSET = 21  # the evaluator has the two operators from here on
SAMPLES = 24


@dataclass(frozen=True)
class Held:
    """A tensor of integers of the file: (v - zero) * scale. real: the float tensor that was quantised"""

    name: str
    scale: float
    zero: int
    dtype: str
    real: str = ""


@dataclass
class QuantNet:
    """A file under construction. Activations have a dynamic batch.

    ties:  scales are powers of two, so that the reference evaluator's arithmetic is exact and ties are common
    dtype: of activations; unsigned weights too where `uint8_weights`
    """

    rng: Rng
    shape: tuple[int, ...]
    dtype: str = "int8"
    ties: bool = False
    by_channel: bool = False
    uint8_weights: bool = False
    nodes: list[NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)
    count: int = 0

    def __post_init__(self) -> None:
        self.x = self.rng.normal(0, 1, (SAMPLES, *self.shape)).astype(np.float32)

    def new(self, word: str) -> str:
        self.count += 1
        return f"{word}{self.count}"

    def const(self, value: NDArray[Any], word: str = "c") -> str:
        name = self.new(word)
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def op(self, op: str, inputs: Sequence[str], domain: str = "", **attrs: Any) -> str:
        """A node; returns what its one output is called."""
        out = self.new(op.lower())
        self.nodes.append(
            helper.make_node(op, list(inputs), [out], name=f"/{out}/{op}", domain=domain, **attrs)
        )
        return out

    def run(self, name: str) -> NDArray[Any]:
        """What the file so far gives for a tensor, for all samples."""
        model = self.model(name)
        (found,) = ReferenceEvaluator(model).run(None, {"x": self.x})
        return np.asarray(found)

    def rounded(self, scale: float) -> float:
        return float(np.float32(2.0 ** np.round(np.log2(scale)) if self.ties else scale))

    def pair(self, real: NDArray[Any], zero: int | None = None) -> tuple[float, int]:
        """A scale and a zero point for such numbers; some are clipped."""
        lo, hi = min(float(real.min()), 0.0), max(float(real.max()), 1e-3)
        share = float(self.rng.uniform(0.7, 1.2))
        scale = self.rounded((hi - lo) * share / 255)
        least = 0 if self.dtype == "uint8" else -128
        found = int(np.clip(np.rint(least - lo * share / scale), least, least + 255))
        return scale, found if zero is None else zero

    def scalars(self, scale: float, zero: int, dtype: str | None = None) -> tuple[str, str]:
        return self.const(np.float32(scale), "s"), self.const(np.dtype(dtype or self.dtype).type(zero), "z")

    def quantise(self, name: str, given: tuple[float, int] | None = None) -> Held:
        """QuantizeLinear of a float tensor."""
        scale, zero = given or self.pair(self.run(name))
        y = self.op("QuantizeLinear", [name, *self.scalars(scale, zero)])
        return Held(y, scale, zero, self.dtype, name)

    def start(self) -> Held:
        return self.quantise("x")

    def real(self, x: Held) -> str:
        """DequantizeLinear of an activation."""
        return self.op("DequantizeLinear", [x.name, *self.scalars(x.scale, x.zero, x.dtype)])

    def numbers(self, value: NDArray[Any], axis: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """A weight as integers, scales and zero points, by channel or not."""
        top = np.abs(value).max(axis=tuple(i for i in range(value.ndim) if i != axis % value.ndim))
        top = np.maximum(top if self.by_channel else top.max(keepdims=True), 1e-3)
        scale = np.float32([self.rounded(float(t) / 127) for t in top])
        shape = [-1 if i == axis % value.ndim else 1 for i in range(value.ndim)]
        along = scale.reshape(shape if self.by_channel else [1] * value.ndim)
        whole = np.clip(np.rint(value / along), -127, 127).astype(np.int64)
        kind, zero = ("uint8", 128) if self.uint8_weights else ("int8", 0)
        zeros = np.full(scale.shape, zero, kind)
        whole = (whole + zero).astype(kind)
        return (whole, scale, zeros) if self.by_channel else (whole, scale[0], zeros[0])

    def weight(self, value: NDArray[Any], axis: int) -> str:
        """DequantizeLinear of a weight; axis: of its outputs."""
        whole, scale, zero = (
            self.const(v, w) for v, w in zip(self.numbers(value, axis), ("w", "s", "z"), strict=True)
        )
        attrs = {"axis": axis} if self.by_channel else {}
        return self.op("DequantizeLinear", [whole, scale, zero], **attrs)

    def steps(self, weight: str) -> NDArray[Any]:
        """The scales of a weight, as the file has them."""
        node = next(n for n in self.nodes if n.output[0] == weight)
        return next(numpy_helper.to_array(c) for c in self.constants if c.name == node.input[1])

    def fused(self, y: str) -> str:
        """An activation function behind y, or none."""
        match int(self.rng.integers(4)):
            case 0:
                return self.op("Relu", [y])
            case 1:
                return self.op("Clip", [y, self.const(np.float32(0)), self.const(np.float32(6))])
        return y

    def bias(self, x: Held, value: NDArray[Any], scale: NDArray[Any]) -> str:
        """DequantizeLinear of an int32 bias; scale: of the weight."""
        steps = (np.float32(x.scale) * np.float32(scale)).astype(np.float32)
        whole = np.rint(value / steps).astype(np.int32)
        operands = [self.const(whole, "b"), self.const(np.broadcast_to(steps, whole.shape).copy(), "s")]
        return self.op("DequantizeLinear", operands, axis=0)

    def model(self, output: str) -> ModelProto:
        inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *self.shape])]
        outputs = [onnx.ValueInfoProto(name=output)]
        graph = helper.make_graph(self.nodes, "quantised", inputs, outputs, self.constants)
        imports = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=imports, ir_version=10)


def drawn(rng: Rng, shape: tuple[int, ...], **given: Any) -> QuantNet:
    """A net with everything drawn that is not given."""
    options = {
        "dtype": str(rng.choice(["int8", "uint8"])),
        "ties": not rng.integers(3),
        "by_channel": bool(rng.integers(2)),
        "uint8_weights": not rng.integers(4),
    }
    return QuantNet(rng, shape, **{**options, **given})


def compiled(model: ModelProto, folder: Path, x: NDArray[Any], rule: RuleSpec | None = None) -> Compiled:
    """What synapcc makes of the file, for inference alone or under a rule."""
    path = folder / "net.onnx"
    path.write_bytes(model.SerializeToString())
    graph = load_model(path)
    classes = graph.tensors[graph.output].size
    labels = np.random.default_rng(0).integers(0, classes, len(x))
    calibration = {graph.interface[0].name: x, "label": labels}
    return compile_model(graph, rule or RuleSpec(INFERENCE_ONLY), calibration)


def scores(c: Compiled, x: NDArray[Any]) -> NDArray[np.int64]:
    """The integers of the scores to samples x, [n, size]."""
    return Emulator(c.plan, len(x)).infer({c.graph.interface[0].name: x}).scores.astype(np.int64)


def wanted(net: QuantNet, y: Held) -> NDArray[np.int64]:
    """What ONNX's reference evaluator gives for y, as integers, uint8 less 128."""
    found = net.run(y.name).astype(np.int64).reshape(SAMPLES, -1)
    return found - 128 if y.dtype == "uint8" else found


def beside_ties(net: QuantNet, y: Held) -> NDArray[np.bool_]:
    """Where the number that becomes y is next to the middle between two integers: within float32's rounding,
    and half a step of the products, to which a bias in float is rounded."""
    steps = net.run(y.real).astype(np.float64).reshape(SAMPLES, -1) / y.scale
    near: NDArray[np.bool_] = np.abs(np.abs(steps - np.floor(steps)) - 0.5) < 0.01
    return near


def examples() -> list[ModelProto]:
    """Small files of every form, for fuzzers."""
    return [_layers(), _on_integers(), _integer_products(), _brevitas()]


def _layers() -> ModelProto:
    """QuantizeLinear and DequantizeLinear around the layers of a small residual network."""
    net = QuantNet(np.random.default_rng(1), (2, 4, 4), "uint8", by_channel=True)
    x, rng = net.start(), net.rng
    w = net.weight(rng.normal(0, 1, (3, 2, 3, 3)), 0)
    bias = net.bias(x, rng.normal(0, 1, 3), net.steps(w))
    y = net.op("Conv", [net.real(x), w, bias], kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    h = net.quantise(net.op("Relu", [y]))
    g = net.quantise(net.op("LeakyRelu", [net.real(h)], alpha=0.1))
    y = net.quantise(net.op("Add", [net.real(g), net.real(h)]))
    y = net.quantise(net.op("Mul", [net.real(y), net.const(np.float32(0.5))]))
    y = net.quantise(net.op("Concat", [net.real(y), net.real(h)], axis=1))
    y = net.quantise(net.op("AveragePool", [net.real(y)], kernel_shape=[2, 2], pads=[1, 1, 1, 1]))
    y = net.quantise(net.op("GlobalAveragePool", [net.real(y)]))
    flat = net.op("Flatten", [net.real(y)])
    return net.model(net.op("Gemm", [flat, net.weight(rng.normal(0, 1, (6, 3)), 1)]))


def _on_integers() -> ModelProto:
    """QLinearConv, onnxruntime's QLinearAdd and a pool on integers, QGemm."""
    net = QuantNet(np.random.default_rng(2), (2, 4, 4), "uint8")
    x = net.start()
    one, z = net.scalars(x.scale, x.zero)
    weight = [net.const(v) for v in net.numbers(net.rng.normal(0, 1, (2, 2, 1, 1)), 0)]
    out = net.scalars(x.scale * 2, x.zero)
    y = net.op("QLinearConv", [x.name, one, z, *weight, *out])
    y = net.op("QLinearAdd", [y, *out, x.name, one, z, *out], "com.microsoft")
    y = net.op("Flatten", [net.op("MaxPool", [y], kernel_shape=[2, 2], strides=[2, 2])])
    weight = [net.const(v) for v in net.numbers(net.rng.normal(0, 1, (3, 8)), 0)]
    y = net.op("QGemm", [y, *out, *weight, "", *net.scalars(0.1, 128)], "com.microsoft", transB=1)
    return net.model(net.op("DequantizeLinear", [y, *net.scalars(0.1, 128)]))


def _integer_products() -> ModelProto:
    """ConvInteger and MatMulInteger, their scales behind them."""
    net = QuantNet(np.random.default_rng(3), (1, 3, 3), "uint8")
    x = net.start()
    whole = net.rng.integers(-9, 9, (2, 1, 2, 2)).astype(np.int8)
    y = net.op("ConvInteger", [x.name, net.const(whole), net.const(np.uint8(x.zero)), net.const(np.int8(1))])
    y = net.op("Cast", [y], to=TensorProto.FLOAT)
    y = net.quantise(net.op("Relu", [net.op("Mul", [y, net.const(np.float32(x.scale * 0.1))])]))
    flat = net.op("Reshape", [y.name, net.const(np.array([-1, 8]))])
    whole = net.rng.integers(-9, 9, (8, 3)).astype(np.int8)
    y2 = net.op("MatMulInteger", [flat, net.const(whole), net.const(np.uint8(y.zero))])
    y2 = net.op("Mul", [net.op("Cast", [y2], to=TensorProto.FLOAT), net.const(np.float32(y.scale * 0.1))])
    return net.model(net.op("Add", [y2, net.const(np.float32([0.1, -0.2, 0.3]))]))


def _brevitas() -> ModelProto:
    """Brevitas' own node, of activations and of a weight."""
    net = QuantNet(np.random.default_rng(4), (5,))

    def quant(x: str, scale: float, bits: int) -> str:
        operands = [net.const(np.float32(v)) for v in (scale, 0, bits)]
        return net.op("Quant", [x, *operands], "onnx.brevitas", signed=1, narrow=1, rounding_mode="ROUND")

    w = quant(net.const(np.float32(net.rng.normal(0, 1, (5, 3)))), 0.2, 4)
    return net.model(quant(net.op("MatMul", [quant("x", 0.02, 8), w]), 0.1, 6))
