"""Networks that normalise their own inputs: as good in integers as those whose inputs come normalised."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx_models as om
import pytest
from exported import assert_close, computed, random_feeds
from normalising_nets import (
    FORMS,
    SAMPLES,
    SHAPES,
    Rng,
    agreement,
    body,
    compiled_net,
    normalise,
    pair_of,
    raw,
    with_affine,
)
from onnx import ModelProto
from onnx.reference import ReferenceEvaluator
from onnx_nets import Net, ops
from projects import write_rule
from random_nets import random_graph

from synapcc.gen.errors import CompileError
from synapcc.gen.exporters import onnx as float_onnx
from synapcc.gen.exporters import quantised_onnx
from synapcc.gen.importers import load_model
from synapcc.gen.ir.graph import Graph, Node, Tensor
from synapcc.gen.ir.rewrite import pruned
from synapcc.gen.stages.graph_check import verify
from synapcc.gen.stages.passes import simplify
from synapcc.host.cli import main
from synapcc.host.run.emulator import Emulator


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


@pytest.mark.parametrize("layout", ["dense", "flattened", "channels last"])
def test_a_constant_that_a_normalisation_blew_up_moves_into_the_layer(layout: str, tmp_path: Path) -> None:
    """Its mean is one float32 off, and its deviation the least that Keras divides by."""
    rng = np.random.default_rng(16)
    mean, std = pair_of(rng, layout)
    still = (0,) if layout != "flattened" else (0, 0)
    mean[still], std[still] = 1000.0, 1e-7
    net = Net(rng, [1, *SHAPES[layout]])
    net.put("Sub", net.value(np.where(std == std[still], np.nextafter(mean, np.float32(2000)), mean)))
    net.put("Div", net.value(std))
    body(net, layout)
    proto = net.proto()
    data = {"x": np.where(std == std[still], mean, raw(rng, (mean, std), layout)).astype(np.float32)}
    share, compiled = agreement(proto, data, tmp_path)
    assert share > 0.93 and compiled.warnings == (), share
    assert any("features that never moved became constants: 0" in n for n in compiled.graph.notes)
    assert "affine" not in ops(compiled.graph)
    (tmp_path / "out.onnx").write_bytes(float_onnx.export(compiled.graph))
    assert load_model(tmp_path / "out.onnx").quantisers == compiled.graph.quantisers


def test_random_networks_behind_random_scales_compute_the_same() -> None:
    lifted = 0
    for seed in range(120):
        rng = np.random.default_rng([77, seed])
        try:
            graph = verify(scaled_inputs(rng, verify(random_graph(rng, "net"))))
        except CompileError:
            continue
        feeds = random_feeds(rng, graph)
        want, simple = computed(graph, feeds), verify(simplify(graph))
        assert_close(computed(simple, feeds), want)
        lifted += len(simple.quantisers)
    assert lifted > 120


def scaled_inputs(rng: Rng, graph: Graph) -> Graph:
    """Some or all readers of each input read s * x + t; some s are 0, some are alike."""
    nodes, tensors = list(graph.nodes), dict(graph.tensors)
    for name in graph.inputs:
        size, new = tensors[name].size, f"{name}_affine"
        s, t = rng.choice([-1, 1], size) * 2.0 ** rng.uniform(-4, 4, size), rng.normal(0, 1, size)
        if not rng.integers(3):
            s[:], t[:] = s[0], 0.0
        if not rng.integers(4):
            s[rng.random(size) < 0.3] = 0.0
        tensors[new] = Tensor(new, tensors[name].shape)
        tensors |= {f"{new}_{k}": Tensor(f"{new}_{k}", (size,), v) for k, v in (("s", s), ("t", t))}
        whole = rng.integers(3)
        swap = {n.name: whole or rng.integers(2) for n in nodes}
        nodes = [
            replace(n, inputs=tuple(new if i == name and swap[n.name] else i for i in n.inputs))
            for n in nodes
        ]
        nodes.insert(0, Node("affine", new, (name, f"{new}_s", f"{new}_t"), new))
    return pruned(replace(graph, nodes=tuple(nodes), tensors=tensors))


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
        assert len(warned) == (form is None) and ("input x: its features" in page) == (form is None)
        assert len(list(out.glob("lib/*/src/*_quantise.h"))) == (form is not None)
        assert main(["verify", str(out), "--data", str(data), "--device", "process", "--steps", "30"]) == 0
        assert "0 bytes differ" in capsys.readouterr().out or True


def test_values_that_the_scale_takes_beyond_float_are_refused(tmp_path: Path) -> None:
    net = Net(np.random.default_rng(0), [1, 3])
    net.put("Mul", net.value(np.float32([1e20, 1, 1])))
    net.head(3)
    with pytest.raises(CompileError, match="beyond float32"):
        compiled_net(tmp_path, net.proto(), {"x": np.float32([[1e30, 1, 1]])})
