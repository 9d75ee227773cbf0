"""Files that PyTorch and Keras really wrote (tests/exports) compute what these frameworks computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from float_graph import run_graph
from projects import save

from synapcc.gen.compile import compile_model
from synapcc.gen.importers import load_model
from synapcc.gen.spec import RuleSpec
from synapcc.gen.stages.float_run import RealMachine
from synapcc.host.cli import main

EXPORTS = Path(__file__).parent / "exports"
FILES = sorted(EXPORTS.glob("*.onnx"))
# Ops that are left of each net, whichever exporter wrote it: the rest was folded, or is a view.
LEFT = {
    "torch_ecg": "transpose conv2d clip conv2d clip maxpool2d concat dense clip dense",
    "torch_convnet": "conv2d clip maxpool2d conv2d table avgpool2d dense",
    "torch_residual": "transpose conv2d clip conv2d clip conv2d add clip "
    "conv2d avgpool2d add avgpool2d dense",
    "torch_separable_relu6": "conv2d clip conv2d clip conv2d clip avgpool2d dense",
    "torch_separable_hardswish": "conv2d table conv2d table conv2d table avgpool2d dense",
    "keras_ecg": "conv2d clip conv2d clip maxpool2d concat dense clip dense",
    "keras_image": "conv2d clip conv2d table conv2d add conv2d conv2d clip "
    "avgpool2d maxpool2d avgpool2d dense",
}
RULES = (RuleSpec("none"), RuleSpec("hebbian"), RuleSpec("bp", layers="all", rate=4))


def expected(path: Path) -> dict[str, np.ndarray]:
    """Inputs and scores as the framework had them: FRAMEWORK_NET_EXPORTER.onnx -> FRAMEWORK.npz, NET/..."""
    framework, *net, _ = path.stem.split("_")
    with np.load(EXPORTS / f"{framework}.npz") as file:
        prefix = "_".join(net) + "/"
        return {k.removeprefix(prefix): file[k] for k in file.files if k.startswith(prefix)}


def network(path: Path) -> str:
    """Framework and net, without the exporter."""
    return path.stem.rpartition("_")[0]


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_computes_what_the_framework_did(path: Path) -> None:
    graph, arrays = load_model(path), expected(path)
    scores = arrays.pop("scores")
    assert set(arrays) == set(graph.inputs)
    for i, wanted in enumerate(scores):
        got = run_graph(graph, {k: v[i] for k, v in arrays.items()})
        if graph.head == "softmax":
            got = np.exp(got - got.max()) / np.exp(got - got.max()).sum()
            wanted = np.exp(wanted) if wanted.max() <= 0 else wanted  # LogSoftmax
        elif graph.head == "sigmoid":
            got = 1 / (1 + np.exp(-got))
        np.testing.assert_allclose(got, wanted.reshape(-1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("path", [p for p in FILES if network(p) in LEFT], ids=lambda p: p.stem)
def test_nothing_is_left_that_can_be_folded(path: Path) -> None:
    assert " ".join(n.op for n in load_model(path).nodes if n.op != "reshape") == LEFT[network(path)]


@pytest.mark.parametrize("spec", RULES, ids=lambda s: s.rule)
@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_compiles_and_computes_the_same_in_float(path: Path, spec: RuleSpec) -> None:
    arrays = expected(path)
    wanted = arrays.pop("scores")
    g = np.random.default_rng(1)
    noise = {k: g.standard_normal((30, *v.shape[1:])).astype(np.float32) for k, v in arrays.items()}
    compiled = compile_model(path, spec, {**noise, "label": np.arange(30) % wanted.shape[1]})
    n = len(wanted)
    real = RealMachine(compiled.abstract.values, compiled.abstract.programs, n, shared=True)
    real.load({k: v.reshape(n, -1) for k, v in arrays.items()})
    real.run("infer")
    graph = compiled.graph
    feeds = [{k: v[i] for k, v in arrays.items()} for i in range(n)]
    scores = np.array([run_graph(graph, f) for f in feeds])
    np.testing.assert_allclose(real.arena[compiled.plan.logits], scores, rtol=1e-6, atol=1e-6)
    assert np.array_equal(scores.argmax(axis=1), wanted.argmax(axis=1))


def test_the_files_are_small() -> None:
    assert len(FILES) == 18 and all(p.stat().st_size < 40_000 for p in FILES)


@pytest.mark.parametrize("name", ["torch_residual_dynamo", "torch_ecg_script", "keras_image_tensorflow"])
def test_learns_bit_for_bit_as_its_emulator(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All layers learn; the emitted C in a process of its own."""
    model, rule, data = EXPORTS / f"{name}.onnx", tmp_path / "rule.toml", tmp_path / "data.npz"
    rule.write_text('rule = "bp"\nlayers = "all"\nrate = "2^-4"\n')
    arrays = expected(model)
    classes = arrays.pop("scores").shape[1]
    g = np.random.default_rng(2)
    noise = {k: g.standard_normal((30, *v.shape[1:])).astype(np.float32) for k, v in arrays.items()}
    save(data, {**noise, "label": np.arange(30) % classes})
    out = str(tmp_path / "out")
    assert main(["compile", str(model), "--rule", str(rule), "--calibrate", str(data), "-o", out]) == 0
    assert main(["verify", out, "--data", str(data), "--steps", "30", "--device", "process"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "verify: 30 steps, 0 differing bytes"
