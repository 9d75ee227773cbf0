"""Each ONNX operator in a network that learns below it: float is onnx's reference, C the emulator, and the
float network that goes out is the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx_models as om
import pytest
from ctools import UNDEFINED, HostBatch
from exported import assert_close, computed, random_feeds
from onnx import ModelProto
from onnx.reference import ReferenceEvaluator
from onnx_nets import graph_of
from onnx_operators import OPERATORS
from play import play

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.exporters.onnx import export
from synapcc.gen.importers import load_model
from synapcc.gen.importers.onnx.operators import supported
from synapcc.gen.ir.graph import Graph
from synapcc.gen.spec import RuleSpec

FROZEN = ("Ceil", "Floor", "Round", "Sign", "Pow -2.0", *(n for n in OPERATORS if n.startswith("Where by")))
"""Steps, below which nothing can learn, and what is too steep."""
PER_BATCH = 16


def given(proto: ModelProto, feeds: dict[str, np.ndarray]) -> np.ndarray:
    """What the file says, sample by sample: its batch is 1."""
    model = ReferenceEvaluator(proto)
    rows = [model.run(None, {k: v[i : i + 1] for k, v in feeds.items()})[0] for i in range(len(feeds["x"]))]
    return np.stack([np.asarray(r, np.float64).ravel() for r in rows])


@pytest.mark.parametrize("name", OPERATORS)
def test_it_computes_what_onnx_says_and_goes_out(name: str, tmp_path: Path) -> None:
    proto = OPERATORS[name]()
    graph = graph_of(proto, tmp_path)
    feeds = random_feeds(om.rng(5), graph)
    want = given(proto, feeds)
    assert_close(computed(graph, feeds), want)
    out = onnx.load_from_string(export(graph))
    onnx.checker.check_model(out, full_check=True)
    (got,) = ReferenceEvaluator(out).run(None, dict(feeds))
    assert_close(np.asarray(got, np.float64), want)
    assert {n.op_type for n in out.graph.node} <= set(supported())
    (tmp_path / "again.onnx").write_bytes(out.SerializeToString())
    assert_close(computed(load_model(tmp_path / "again.onnx"), feeds), want)


def _compiled(name: str, folder: Path) -> Compiled:
    graph: Graph = load_model(om.save(OPERATORS[name](), folder))
    layers = (graph.nodes[-1].name,) if name in FROZEN else "all"
    g = om.rng(11)
    x = g.standard_normal((48, *graph.tensors["x"].shape)).astype(np.float32)
    return compile_model(
        graph, RuleSpec("bp", layers=layers, rate=9), {"x": x, "label": g.integers(0, 3, 48)}
    )


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(i, marks=pytest.mark.long if i // PER_BATCH % 4 else ())
        for i in range(0, len(OPERATORS), PER_BATCH)
    ],
)
def test_emitted_c_is_the_emulator(first: int, tmp_path: Path) -> None:
    names = list(OPERATORS)[first : first + PER_BATCH]
    found = [_compiled(name, tmp_path) for name in names]
    plans = [replace(c.plan, model=f"net{i}") for i, c in enumerate(found)]
    batch = HostBatch(plans, tmp_path, "-O0", *UNDEFINED)
    try:
        for i, name in enumerate(names):
            assert play(batch, i, i) > 5, name
    finally:
        batch.close()
