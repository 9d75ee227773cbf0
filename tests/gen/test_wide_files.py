"""A small network of a .tflite file with activations of 16 bits, as a whole: host, C and virtual chip agree,
also where its last layer learns."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from ctools import UNDEFINED, compile_host
from lite import Author, oracle
from lite_wide import UNIT, activation, add, weights
from quantisers import MAIN, hard_floats

from synapcc.gen import emit
from synapcc.gen.compile import compile_model
from synapcc.gen.errors import CompileError, SynapccError
from synapcc.gen.importers import load_model
from synapcc.gen.spec import INFERENCE_ONLY, Loss, RuleSpec
from synapcc.host.cli import main
from synapcc.host.run.emulator import Emulator

SIZE, CLASSES = (9, 5, 3), 4
RULES = {
    "none": 'rule = "none"\n',
    "last": 'rule = "last"\nlayers = "all"\nrate = "2^-6"\n',
}


def network() -> bytes:
    """float32 -> QUANTIZE -> CONV_2D, LEAKY_RELU, MAX_POOL_2D, FULLY_CONNECTED, SOFTMAX -> DEQUANTIZE."""
    rng, a = np.random.default_rng(4), Author()
    given = a.tensor("given", (1, *SIZE), "FLOAT32")
    x, scale = activation(rng, a, "x", SIZE, 3 * UNIT)
    add(a, "QUANTIZE", [given], [x], "QuantizeOptions")
    constants, usual = weights(rng, a, (6, 3, 3, 3), 0, scale, "INT64")
    c, scale = activation(rng, a, "c", (*SIZE[:2], 6), usual)
    says = {"padding": 0, "strideH": 1, "strideW": 1, "fusedActivationFunction": 0}
    add(a, "CONV_2D", [x, *constants], [c], "Conv2DOptions", quantizedBiasType=4, **says)
    leaky, _ = activation(rng, a, "leaky", (*SIZE[:2], 6), scale)
    add(a, "LEAKY_RELU", [c], [leaky], "LeakyReluOptions", alpha=0.2)
    pooled, _ = activation(rng, a, "pooled", (4, 2, 6), scale)
    says = {"padding": 1, "strideH": 2, "strideW": 2, "filterHeight": 2, "filterWidth": 2}
    add(a, "MAX_POOL_2D", [leaky], [pooled], "Pool2DOptions", **says)
    constants, usual = weights(rng, a, (CLASSES, 48), 0, scale, "INT64")
    y, _ = activation(rng, a, "y", (CLASSES,), usual)
    add(a, "FULLY_CONNECTED", [pooled, *constants], [y], "FullyConnectedOptions", quantizedBiasType=4)
    z, _ = activation(rng, a, "z", (CLASSES,), UNIT)
    add(a, "SOFTMAX", [y], [z], "SoftmaxOptions", beta=10 / (2**15 * usual))
    out = a.tensor("out", (1, CLASSES), "FLOAT32")
    add(a, "DEQUANTIZE", [z], [out])
    return a.bytes([given], [out])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "wide.tflite"
    path.write_bytes(network())
    return path


def samples(n: int) -> np.ndarray:
    return np.random.default_rng(1).normal(0, 1, (n, *SIZE)).astype(np.float32)


def test_the_emulator_gives_litert_s_scores(file: Path) -> None:
    c = compile_model(load_model(file), RuleSpec(INFERENCE_ONLY), None)
    x = samples(50)
    assert c.plan[c.plan.inputs[0]].dtype == "int16"
    scores = Emulator(c.plan, len(x)).infer({c.plan.inputs[0]: x}).scores
    want = oracle(file.read_bytes(), [x])
    assert np.array_equal(scores * np.float32(UNIT), want) and len(np.unique(want)) > 50


@pytest.mark.parametrize("rule, device", [("none", "process"), ("last", "process"), ("last", "unicorn")])
def test_a_whole_network_is_verified(rule: str, device: str, file: Path, tmp_path: Path) -> None:
    data, toml, out = tmp_path / "data.npz", tmp_path / "rule.toml", tmp_path / "out"
    x = samples(40)
    np.savez(data, **{load_model(file).interface[0].name: x}, label=np.arange(40) % CLASSES)
    toml.write_text(RULES[rule])
    words = ["compile", str(file), "--rule", str(toml), "--calibrate", str(data), "-o", str(out)]
    assert main(words) == 0
    said = tmp_path / "verify.json"
    words = ["verify", str(out), "--data", str(data), "--steps", "20", "--device", device]
    assert main([*words, "--json", str(said)]) == 0
    assert json.loads(said.read_text())["steps"] == (20 if rule == "last" else 0)


def test_the_emitted_quantiser_gives_the_hosts_integers(file: Path, tmp_path: Path) -> None:
    plan = compile_model(load_model(file), RuleSpec(INFERENCE_ONLY), None).plan
    for path, text in emit.render(plan, None, "test").items():
        if path.endswith(".h"):
            (tmp_path / Path(path).name).write_bytes(text)
    source, size = tmp_path / "main.c", plan[plan.inputs[0]].shape[0]
    words = {"model": plan.model, "name": plan.inputs[0], "size": size, "ctype": "int16_t"}
    source.write_text(MAIN.format(**words))
    program = compile_host([source], tmp_path / "main", f"-I{tmp_path}", "-O2", *UNDEFINED)
    quantiser = plan.quantiser(plan.inputs[0])
    x = hard_floats(np.random.default_rng(5), quantiser, size, 200)
    x[100:] = np.random.default_rng(6).normal(0, 2, x[100:].shape)
    done = subprocess.run([program], input=x.tobytes(), capture_output=True, check=True)
    got = np.frombuffer(done.stdout, np.int16).reshape(x.shape)
    assert np.array_equal(got, quantiser.integers(x)) and {-(2**15), 2**15 - 1} < set(got.ravel().tolist())


def test_inputs_may_be_the_integers_themselves(file: Path) -> None:
    graph = load_model(file)
    c = compile_model(graph, RuleSpec(INFERENCE_ONLY), None)
    x, name = samples(9), c.plan.inputs[0]
    whole = c.plan.quantiser(name).integers(x)
    first, second = (Emulator(c.plan, 9).infer({name: v}).scores for v in (x, whole))
    assert whole.dtype == np.int16 and np.array_equal(first, second)
    with pytest.raises(SynapccError, match="is int8; give float32, or int16 as the chip takes it"):
        Emulator(c.plan, 9).infer({name: (whole >> 8).astype(np.int8)})


def test_no_signal_passes_a_function_of_16_bits(file: Path) -> None:
    data = {load_model(file).interface[0].name: samples(40), "label": np.arange(40) % CLASSES}
    with pytest.raises(CompileError, match="no teaching signal passes through leaky_relu of int16"):
        compile_model(load_model(file), RuleSpec("bp", layers="all", rate=8), data)


@pytest.mark.parametrize("op, told", [("PRELU", "a PReLU"), ("BATCH_MATMUL", "a product")])
def test_no_signal_passes_two_operands_of_16_bits(op: str, told: str, tmp_path: Path) -> None:
    rng, a = np.random.default_rng(7), Author()
    x, scale = activation(rng, a, "x", (4, 4), 2.0**-12)
    made, usual = weights(rng, a, (4, 4), 0, scale, "INT64")
    h, _ = activation(rng, a, "h", (4, 4), usual)
    says = {"keepNumDims": True, "quantizedBiasType": 4}
    add(a, "FULLY_CONNECTED", [x, *made], [h], "FullyConnectedOptions", **says)
    m, scale = activation(rng, a, "m", (4, 4), usual)
    if op == "PRELU":
        add(a, op, [h, a.tensor("slope", (1, 1, 4), scale=0.01, data=np.arange(4))], [m])
    else:
        add(a, op, [h, x], [m], "BatchMatMulOptions")
    constants, usual = weights(rng, a, (CLASSES, 16), 0, scale, "INT64")
    y, _ = activation(rng, a, "y", (CLASSES,), usual)
    add(a, "FULLY_CONNECTED", [m, *constants], [y], "FullyConnectedOptions", quantizedBiasType=4)
    path = tmp_path / "two.tflite"
    path.write_bytes(a.bytes([x], [y]))
    data = {"x": rng.normal(0, 1, (40, 4, 4)).astype(np.float32), "label": np.arange(40) % CLASSES}
    compile_model(load_model(path), RuleSpec("last", layers="all", rate=8), data)
    with pytest.raises(CompileError, match=f"no teaching signal passes through {told} of int16"):
        compile_model(load_model(path), RuleSpec("bp", layers="all", rate=8), data)


def test_features_of_different_size_keep_their_steps_in_16_bits(file: Path) -> None:
    """A fiftieth of the range has 655 of the steps of int16: nothing to warn of."""
    x = samples(60)
    x[..., 0] /= 50
    data = {load_model(file).interface[0].name: x, "label": np.arange(60) % CLASSES}
    assert not [
        w for w in compile_model(load_model(file), RuleSpec("last", rate=6), data).warnings if "255" in w
    ]


def test_an_autoencoder_of_16_bits_is_one_line(tmp_path: Path) -> None:
    """The error of an input as its own target takes int8."""
    rng, a = np.random.default_rng(5), Author()
    x, scale = activation(rng, a, "x", (8,), 3 * UNIT)
    constants, usual = weights(rng, a, (8, 8), 0, scale, "INT64")
    y, _ = activation(rng, a, "y", (8,), usual)
    add(a, "FULLY_CONNECTED", [x, *constants], [y], "FullyConnectedOptions", quantizedBiasType=4)
    (tmp_path / "net.tflite").write_bytes(a.bytes([x], [y]))
    spec = RuleSpec("last", loss=Loss("mse", target="input"))
    data = {"x": rng.normal(0, 1, (60, 8)).astype(np.float32)}
    with pytest.raises(CompileError, match=r"loss.target: .* input x is int16: the error takes int8"):
        compile_model(tmp_path / "net.tflite", spec, data)


def test_a_package_without_calibration_data_draws_its_samples(file: Path, tmp_path: Path) -> None:
    """A file that brings all integers needs no data, and its package none either."""
    rule, out = tmp_path / "rule.toml", tmp_path / "out"
    rule.write_text(RULES["none"])
    words = ["compile", str(file), "--rule", str(rule), "-o", str(out), "--package", "cmake"]
    assert main(words) == 0
    folder = out / "lib" / "wide"
    samples = (folder / "examples" / "cmake" / "example-samples.h").read_text()
    assert "Numbers that no sensor measured" in samples
    assert "These numbers were drawn." in (folder / "README.md").read_text()
