"""float32 .tflite files: what the graph computes is what LiteRT computes, to float32's precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from float_graph import run_graph
from lite import compiled, oracle
from lite_float import network
from numpy.typing import NDArray

from synapcc.gen.importers import load_model
from synapcc.gen.importers._tflite_operators import FLOAT_ROWS, TFLITE_OPERATORS
from synapcc.host.run.emulator import Emulator

NETWORKS, SAMPLES = 240, 2
Real = NDArray[np.float64]


def _log_softmax(z: Real) -> Real:
    z = z - z.max()
    return z - np.log(np.sum(np.exp(z)))


def test_random_networks(tmp_path: Path) -> None:
    rng, used = np.random.default_rng(21), set[str]()
    for _ in range(NETWORKS):
        data, shape, ops = network(rng)
        (tmp_path / "net.tflite").write_bytes(data)
        graph = load_model(tmp_path / "net.tflite")
        x = rng.normal(0, 1, (SAMPLES, *shape)).astype(np.float32)
        wanted = oracle(data, [x], reference=False).astype(np.float64)
        for sample, want in zip(x, wanted, strict=True):
            got = run_graph(graph, {"x": sample})
            if ops[-1] in ("SOFTMAX", "LOG_SOFTMAX"):
                assert graph.head == "softmax"
                got, want = _log_softmax(got), np.log(want) if ops[-1] == "SOFTMAX" else want
            assert np.allclose(got, want, rtol=1e-4, atol=1e-4 * max(1.0, np.abs(want).max())), ops
        used |= {*ops}
    assert {*FLOAT_ROWS} <= used <= {*FLOAT_ROWS, *TFLITE_OPERATORS}


def test_one_is_quantised_and_runs(tmp_path: Path) -> None:
    """The way of float ONNX from here on."""
    rng, agree = np.random.default_rng(3), 0
    for _ in range(6):
        data, shape, _ = network(rng)
        x = rng.normal(0, 1, (64, *shape)).astype(np.float32)
        c = compiled(data, tmp_path, samples=256)
        assert c.plan.quantiser("x").reach and not c.quantised.formats["x"].meaning.to_json().get("scale")
        got = Emulator(c.plan, len(x)).infer({"x": x}).winner
        agree += int(np.sum(got == np.argmax(oracle(data, [x], reference=False), axis=1)))
    assert agree > 0.9 * 6 * 64
