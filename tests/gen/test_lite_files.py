"""The third-party int8 networks of $SYNAPCC_DATA/models learn: faithful before, byte for byte after.

ad01_int8 is an autoencoder of 640 outputs, which no label names: it is cut behind its fifth layer.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from lite import Author, oracle

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.importers import load_model
from synapcc.gen.ir.graph import Graph
from synapcc.gen.spec import Feedback, RuleSpec
from synapcc.host.cli import main
from synapcc.host.run.agreement import as_the_file
from synapcc.host.run.emulator import Emulator

CASES = {"micro_speech": ("micro_speech_quantized.tflite", 0), "ad01": ("ad01_int8.tflite", 5)}
SAMPLES = 400
pytestmark = pytest.mark.long


def network(case: str, folder: Path) -> tuple[Path, Graph]:
    """The file, cut behind so many operators, and what is read of it."""
    name, operators = CASES[case]
    source = Path(os.environ.get("SYNAPCC_DATA", "")) / "models" / name
    assert source.is_file(), f"set SYNAPCC_DATA to a folder that holds models/{name}"
    cut = Author()
    cut.model = schema.ModelT.InitFromPackedBuf(source.read_bytes(), 0)
    cut.graph = cut.model.subgraphs[0]
    if operators:
        cut.graph.operators = cut.graph.operators[:operators]
        cut.graph.outputs = cut.graph.operators[-1].outputs
    cut.model.signatureDefs = None
    path = folder / f"{case}.tflite"
    path.write_bytes(cut.bytes(list(cut.graph.inputs), list(cut.graph.outputs)))
    return path, load_model(path)


def samples(graph: Graph, kind: str) -> dict[str, np.ndarray]:
    """Within what the input holds: every value of its own, or levels that lie beside one another."""
    rng = np.random.default_rng(sum(kind.encode()))
    name, (tensor,) = graph.inputs[0], [graph.tensors[n] for n in graph.inputs]
    assert tensor.format
    lo, hi = tensor.format.meaning.real([tensor.format.lo, tensor.format.hi])
    if kind == "uniform":
        x = rng.uniform(lo, hi, (SAMPLES, tensor.size))
    else:
        bumps = rng.normal(0, 1, (SAMPLES, tensor.size // 40 + 2)).cumsum(axis=1)
        at = np.arange(tensor.size) / 40
        x = np.array([np.interp(at, np.arange(len(b)), b) for b in bumps])
        x = (lo + hi) / 2 + (hi - lo) / 8 * (x / x.std() + rng.normal(0, 0.3, x.shape))
    x = np.clip(x, lo, hi).reshape(SAMPLES, *tensor.shape).astype(np.float32)
    return {name: x, "label": rng.integers(0, graph.tensors[graph.output].size, SAMPLES)}


def rules(graph: Graph) -> dict[str, RuleSpec]:
    layers = [n.name for n in graph.nodes if n.op in ("dense", "conv2d")]
    return {
        "last": RuleSpec("last", layers="all", rate=12),
        "first": RuleSpec("bp", layers=(layers[0],), rate=14),
        "middle": RuleSpec("dfa", layers=tuple(layers[1:3]), rate=14),
        "all": RuleSpec("hebbian", layers="all", rate=14, feedback=Feedback("aligned")),
    }


@pytest.mark.parametrize("kind", ["uniform", "smooth"])
@pytest.mark.parametrize("case", CASES)
def test_before_it_learns_it_answers_as_the_file(case: str, kind: str, tmp_path: Path) -> None:
    path, graph = network(case, tmp_path)
    data = samples(graph, kind)
    for name, spec in rules(graph).items():
        c = compile_model(path, spec, data)
        file = as_the_file(c)
        assert file and file["same_class"] >= 0.99, (name, file)
        assert file["same_class"] == pytest.approx(by_hand(c, path, data), abs=1e-9), name


def by_hand(c: Compiled, path: Path, data: dict[str, np.ndarray]) -> float:
    """The same from LiteRT's own scores; those before its softmax, which rounds more of them alike."""
    (name,) = c.plan.inputs
    held = c.plan[name]
    x = np.clip(held.meaning.units(data[name]), -128, 127).astype(np.int8)
    cut = Author()
    cut.model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    cut.graph = cut.model.subgraphs[0]
    codes = [o.builtinCode for o in cut.model.operatorCodes]
    if codes[cut.graph.operators[-1].opcodeIndex] == schema.BuiltinOperator.SOFTMAX:
        cut.graph.outputs = cut.graph.operators.pop().inputs
    want = oracle(cut.bytes(list(cut.graph.inputs), list(cut.graph.outputs)), [x])
    winner = Emulator(c.plan).infer_many({name: data[name]}).winner
    return float(np.mean(want[np.arange(len(want)), winner] == want.max(axis=1)))


@pytest.mark.parametrize("device", ["process", "unicorn"])
@pytest.mark.parametrize("case, rule", [(case, rule) for case in CASES for rule in ("last", "all")])
def test_learning_is_verified(case: str, rule: str, device: str, tmp_path: Path) -> None:
    path, graph = network(case, tmp_path)
    data, toml, out = tmp_path / "data.npz", tmp_path / "rule.toml", tmp_path / "out"
    np.savez(data, **samples(graph, "smooth"))
    spec = rules(graph)[rule]
    toml.write_text(f'rule = "{spec.rule}"\nlayers = "all"\nrate = "2^-{spec.rate}"\n')
    words = ["compile", str(path), "--rule", str(toml), "--calibrate", str(data), "-o", str(out)]
    assert main(words) == 0
    said = tmp_path / "verify.json"
    words = ["verify", str(out), "--data", str(data), "--steps", "300", "--device", device]
    assert main([*words, "--json", str(said)]) == 0
    assert json.loads(said.read_text())["steps"] == 300
