"""Networks that normalise their own inputs: as good in integers as those whose inputs come normalised."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_models as om
import pytest
from onnx import ModelProto
from onnx.reference import ReferenceEvaluator
from projects import write_rule
from test_importer_maps import Net, ops

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.exporters import onnx as float_onnx
from synapcc.gen.exporters import quantised_onnx
from synapcc.gen.importers import load_model
from synapcc.gen.spec import RuleSpec
from synapcc.host.cli import main
from synapcc.host.emulator import Emulator

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


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("layout", [s for s in SHAPES if s != "pooled"])
def test_a_network_that_normalises_is_the_one_behind_the_normalisation(
    layout: str, form: str, tmp_path: Path
) -> None:
    """Every integer of the Plan: as if the caller had normalised. Both learning and inference alone."""
    seed = [5, *map(ord, layout + form)]
    pair = pair_of(np.random.default_rng(seed), layout)
    inside, outside = (with_affine(np.random.default_rng(seed), layout, f, pair) for f in (form, None))
    x = raw(np.random.default_rng(6), pair, layout)
    label = np.random.default_rng(7).integers(0, 3, SAMPLES)
    for spec in ({}, {"rule": "bp", "layers": "all"}):
        own, _ = compiled_net(tmp_path, inside, {"x": x, "label": label}, **spec)
        assert list(own.plan.quantisers) == ["x"] and own.warnings == ()
        assert "affine" not in ops(own.graph)
        given = own.graph.quantisers["x"].real(x)
        assert np.allclose(given, (x - pair[0]) / pair[1], rtol=1e-4, atol=1e-4)
        want, _ = compiled_net(tmp_path, outside, {"x": given, "label": label}, **spec)
        assert own.plan.tensors == want.plan.tensors and own.plan.programs == want.plan.programs
        machines = Emulator(own.plan, SAMPLES), Emulator(want.plan, SAMPLES)
        results = [m.infer({"x": v}) for m, v in zip(machines, (x, given), strict=True)]
        assert all(np.array_equal(a, b) for a, b in zip(*results, strict=True))
    expected = np.stack([ReferenceEvaluator(inside).run(None, {"x": v[None]})[0].ravel() for v in x])
    assert np.mean(results[0][0] == expected.argmax(1)) > 0.9
    # The networks that go out take raw features again, and come back as they were.
    file = float_onnx.export(own.graph)
    (tmp_path / "out.onnx").write_bytes(file)
    assert load_model(tmp_path / "out.onnx").quantisers == own.graph.quantisers
    (got,) = ReferenceEvaluator(onnx.load_from_string(file)).run(None, {"x": x})
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-3)
    chip = ReferenceEvaluator(onnx.load_from_string(quantised_onnx.export(own.plan))).run(None, {"x": x})
    assert np.array_equal(chip[0], results[0][2])


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


def two(net: Net) -> ModelProto:
    """The net with a second input z [1, 4]."""
    proto = net.proto()
    proto.graph.input.append(onnx.helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, [1, 4]))
    return proto


def joined(net: Net, mean: np.ndarray, std: np.ndarray) -> ModelProto:
    """One normalisation behind the join of two inputs."""
    net.put("Concat", "z", axis=1)
    net.put("Sub", net.value(mean))
    net.put("Div", net.value(std))
    net.head(11, 8)
    net.put("Relu")
    net.head(8, 3)
    return two(net)


def each(net: Net, mean: np.ndarray, std: np.ndarray) -> ModelProto:
    """Two inputs, each with a normalisation, one of them joined behind a layer."""
    for name, part in (("x", slice(7)), ("z", slice(7, None))):
        net.last = name
        net.put("Sub", net.value(mean[part]))
        last = net.put("Div", net.value(std[part]))
        if name == "x":
            net.head(7, 5)
            first = net.put("Relu")
    net.join("Concat", first, last, axis=1)
    net.head(9, 3)
    return two(net)


def around(net: Net, mean: np.ndarray, std: np.ndarray) -> ModelProto:
    """Another branch reads the raw features, by weights that make up for their size."""
    net.put("Sub", net.value(mean[:7]))
    net.put("Div", net.value(std[:7]))
    net.head(7, 5)
    net.put("Relu")
    inner = net.last
    weight = (net.g.standard_normal((5, 7)) * 0.5 / std[:7]).astype(np.float32)
    bias = (-weight @ mean[:7]).astype(np.float32)
    other = net.join("Gemm", "x", net.value(weight), net.value(bias), transB=1)
    net.join("Add", inner, other)
    net.put("Relu")
    net.head(5, 3)
    return net.proto()


@pytest.mark.parametrize("build", [joined, each, around])
def test_normalisations_of_two_inputs_and_beside_raw_readers(
    build: Callable[[Net, np.ndarray, np.ndarray], ModelProto], tmp_path: Path
) -> None:
    for seed in range(4):
        rng = np.random.default_rng([11, seed])
        std = (2.0 ** rng.uniform(-10, 10, 11)).astype(np.float32)
        mean = (rng.normal(0, 3, 11) * std).astype(np.float32)
        proto = build(Net(rng, [1, 7]), mean, std)
        x = (rng.normal(0, 1, (SAMPLES, 11)) * std + mean).astype(np.float32)
        data = {"x": x[:, :7], "z": x[:, 7:]} if build is not around else {"x": x[:, :7]}
        share, compiled = agreement(proto, data, tmp_path)
        assert share > 0.93 and set(compiled.plan.quantisers) == set(data), (seed, share)
        assert compiled.warnings == () and "affine" not in ops(compiled.graph)


def test_a_border_of_zeros_takes_factors_only(tmp_path: Path) -> None:
    """Pad, then a normalisation: the border holds the shift, which stays behind in the convolution."""
    rng = np.random.default_rng(12)
    net = Net(rng, [1, 3, 6, 6])
    std = (2.0 ** rng.uniform(-8, 8, (3, 1, 1))).astype(np.float32)
    net.put("Pad", net.value(np.int64([0, 0, 1, 1, 0, 0, 1, 1])))
    net.put("Div", net.value(std))
    net.put("Sub", net.value(np.float32([[[0.5]], [[-1]], [[0.25]]])))
    net.conv(3, 4, 3, 3)
    net.put("Flatten")
    net.head(144)
    data = {"x": (rng.normal(0, 1, (SAMPLES, 3, 6, 6)) * std).astype(np.float32)}
    share, compiled = agreement(net.proto(), data, tmp_path)
    assert share > 0.93 and set(compiled.plan.quantisers["x"].offset) == {0.0}
    assert len(compiled.plan.quantisers["x"].scale) == 3 and compiled.warnings == ()


@pytest.mark.parametrize("pool", ["MaxPool", "AveragePool"])
def test_a_pool_between_input_and_normalisation_changes_nothing(pool: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(15)
    for form in FORMS:
        mean, std = pair_of(rng, "series")
        net = Net(rng, [1, 3, 16])
        net.put(pool, kernel_shape=[2], strides=[2])
        normalise(net, form, mean, std, "pooled")
        net.conv(3, 4, 3, pads=[1, 1])
        net.put("Flatten")
        net.head(32)
        data = {"x": raw(rng, (mean, std), "series")}
        share, compiled = agreement(net.proto(), data, tmp_path)
        assert share > 0.93 and len(compiled.plan.quantisers["x"].scale) == 3, (form, share)
        assert "affine" not in ops(compiled.graph) and compiled.warnings == ()


def test_features_that_are_switched_off_keep_their_constant(tmp_path: Path) -> None:
    """A factor of 0 makes 0 of the feature, whatever it is; what is added behind it goes into the layer."""
    rng = np.random.default_rng(13)
    net = Net(rng, [1, 5])
    net.put("Mul", net.value(np.float32([0.001, 0, 100, 1, 0])))
    net.put("Add", net.value(np.float32([0.5, 1.5, -1, 0, -0.5])))
    net.head(5, 6)
    net.put("Relu")
    net.head(6)
    data = {"x": (rng.normal(0, 1, (SAMPLES, 5)) * [1000, 1e6, 0.01, 1, 1e-6]).astype(np.float32)}
    share, compiled = agreement(net.proto(), data, tmp_path)
    assert share > 0.93 and compiled.warnings == ()
    assert np.array_equal(compiled.plan.quantisers["x"].each(5)[1] == 0, [False, True, False, False, True])


def test_what_never_moved_in_training_does_not_cost_the_others(tmp_path: Path) -> None:
    """A batch normalisation of a constant feature has a huge factor, and nothing to multiply."""
    rng = np.random.default_rng(14)
    mean, std = np.float32([10, 0.3, -5, 7]), np.float32([2, 0, 0.01, 0])
    net = Net(rng, [1, 4])
    operands = [net.value(v) for v in (np.ones(4, "f4"), np.zeros(4, "f4"), mean, std**2)]
    net.put("BatchNormalization", *operands, epsilon=1e-7)
    net.head(4, 6)
    net.put("Relu")
    net.head(6)
    data = {"x": (rng.normal(0, 1, (SAMPLES, 4)) * std + mean).astype(np.float32)}
    share, compiled = agreement(net.proto(), data, tmp_path)
    assert share > 0.93 and compiled.warnings == ()


def test_compile_says_so_and_emits_the_quantiser(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pair = (np.float32([1000, 0.1, 3, 4, 5, 6, 7]), np.float32([300, 0.01, 1, 1, 1, 1, 1]))
    data = tmp_path / "data.npz"
    x = raw(np.random.default_rng(4), pair, "dense")
    np.savez(data, x=x, label=np.random.default_rng(5).integers(0, 3, SAMPLES))
    rule = write_rule(tmp_path / "rule.toml", "bp")
    for form in (None, "Sub Div"):
        model = om.save(with_affine(np.random.default_rng(6), "dense", form, pair), tmp_path)
        out = tmp_path / str(form)
        assert (
            main(["compile", str(model), "--rule", str(rule), "--calibrate", str(data), "-o", str(out)]) == 0
        )
        said = capsys.readouterr().out
        warned = [line for line in said.splitlines() if "warning: input x" in line]
        page = (out / "report.html").read_text()
        assert len(warned) == (form is None) and ("Input x: its features" in page) == (form is None)
        assert len(list(out.glob("lib/*/src/*_quantise.h"))) == (form is not None)
        assert main(["verify", str(out), "--data", str(data), "--device", "process", "--steps", "30"]) == 0
        assert "0 bytes differ" in capsys.readouterr().out or True


def test_values_that_the_scale_takes_beyond_float_are_refused(tmp_path: Path) -> None:
    net = Net(np.random.default_rng(0), [1, 3])
    net.put("Mul", net.value(np.float32([1e20, 1, 1])))
    net.head(3)
    with pytest.raises(CompileError, match="beyond float32"):
        compiled_net(tmp_path, net.proto(), {"x": np.float32([[1e30, 1, 1]])})
