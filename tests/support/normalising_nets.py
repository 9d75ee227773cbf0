"""ONNX networks that normalise their inputs, in many layouts and forms, and how good they are in integers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_models as om
from onnx import ModelProto
from onnx.reference import ReferenceEvaluator
from onnx_nets import Net

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.spec import RuleSpec
from synapcc.host.run.emulator import Emulator

Rng = np.random.Generator
SAMPLES = 200
SHAPES = {
    "dense": (7,),
    "flattened": (2, 5),
    "series": (3, 16),
    "map": (3, 6, 5),
    "channels last": (5, 4, 3),
    "reshaped": (24,),
    "pooled": (3, 8),  # a series behind a pool
}
FORMS = ("BatchNormalization", "Sub Div", "Mul Add", "Keras")
Pair = tuple[np.ndarray, np.ndarray]


def pair_of(rng: Rng, layout: str) -> Pair:
    """Mean and deviation of raw features, of sizes over 2^±10, in a shape that a file broadcasts."""
    shape = {"series": (3, 1), "map": (3, 1, 1), "channels last": (3,)}.get(layout, SHAPES[layout])
    std = (2.0 ** rng.uniform(-10, 10, shape)).astype(np.float32)
    return (rng.normal(0, 3, shape) * std).astype(np.float32), std


def normalise(net: Net, form: str, mean: np.ndarray, std: np.ndarray, layout: str) -> None:
    match form:
        case "BatchNormalization":
            axis_one = layout in ("series", "pooled", "map", "dense", "reshaped")
            flat = [v.ravel() for v in (mean, std)]
            if not axis_one:  # torch normalises axis 1: other layouts are moved there and back
                net.put("Reshape", net.value(np.int64([1, -1, mean.size]) if mean.ndim == 1 else _flat(mean)))
                if mean.ndim == 1:
                    net.put("Transpose", perm=[0, 2, 1])
            ones, zeros = np.ones_like(flat[0]), np.zeros_like(flat[0])
            operands = [net.value(v) for v in (ones, zeros, flat[0], flat[1] ** 2)]
            net.put("BatchNormalization", *operands, epsilon=0.0)
            if not axis_one:
                if mean.ndim == 1:
                    net.put("Transpose", perm=[0, 2, 1])
                net.put("Reshape", net.value(np.int64([1, *SHAPES[layout]])))
        case "Sub Div":
            net.put("Sub", net.value(mean))
            net.put("Div", net.value(std))
        case "Mul Add":
            net.put("Mul", net.value(1 / std))
            net.put("Add", net.value(-mean / std))
        case "Keras":  # a Cast, constants with a batch axis, and a Reshape that changes nothing
            net.put("Cast", to=1)
            net.put("Sub", net.value(mean[None]))
            least, variance, last = net.value(np.float32(1e-7)), net.value(std[None] ** 2), net.last
            net.join("Div", last, net.join("Max", net.join("Sqrt", variance), least))
            net.put("Reshape", net.value(np.int64([-1, *SHAPES[layout]])))


def _flat(v: np.ndarray) -> np.ndarray:
    return np.int64([1, v.size])


def body(net: Net, layout: str) -> None:
    match layout:
        case "dense":
            net.head(7, 6)
        case "flattened":
            net.put("Flatten")
            net.head(10, 6)
        case "series":
            net.conv(3, 4, 3, pads=[1, 1])
            net.put("Flatten")
            net.head(64, 6)
        case "map":
            net.conv(3, 4, 3, 3, pads=[1, 1, 1, 1])
            net.put("Flatten")
            net.head(120, 6)
        case "channels last":
            net.put("Transpose", perm=[0, 3, 1, 2])
            net.conv(3, 4, 3, 2)
            net.put("Flatten")
            net.head(36, 6)
        case "reshaped":
            net.put("Reshape", net.value(np.int64([1, 2, 3, 4])))
            net.conv(2, 3, 2, 2)
            net.put("Flatten")
            net.head(18, 6)
    net.put("Relu")
    net.head(6, 3)


def with_affine(rng: Rng, layout: str, form: str | None, pair: Pair | None = None) -> ModelProto:
    """A network of a layout behind a normalisation of a form; without one where `form` is None."""
    pair = pair or pair_of(rng, layout)
    net = Net(np.random.default_rng(int(rng.integers(1 << 30))), [1, *SHAPES[layout]])
    if form:
        normalise(net, form, *pair, layout)
    body(net, layout)
    return net.proto()


def compiled_net(
    folder: Path, proto: ModelProto, data: dict[str, np.ndarray] | None = None, **spec: Any
) -> tuple[Compiled, Path]:
    path = om.save(proto, folder)
    if data is None:
        dims = [d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim]
        data = {"x": np.random.default_rng(1).normal(0, 1, (SAMPLES, *dims[1:])).astype(np.float32)}
    return compile_model(path, RuleSpec(**({"rule": "none"} | spec)), data, name="net"), path


def raw(rng: Rng, pair: Pair, layout: str) -> np.ndarray:
    return (rng.normal(0, 1, (SAMPLES, *SHAPES[layout])) * pair[1] + pair[0]).astype(np.float32)


def agreement(proto: ModelProto, data: dict[str, np.ndarray], folder: Path) -> tuple[float, Compiled]:
    """The share of samples that get the class of the float network."""
    compiled, _ = compiled_net(folder, proto, data)
    n = len(next(iter(data.values())))
    evaluator = ReferenceEvaluator(proto)
    float_class = [
        int(np.argmax(evaluator.run(None, {k: v[i : i + 1] for k, v in data.items()})[0])) for i in range(n)
    ]
    winner, _, _ = Emulator(compiled.plan, n).infer(data)
    return float(np.mean(winner == float_class)), compiled
