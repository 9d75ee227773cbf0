"""Files that PyTorch and Keras really wrote (tests/exports) compute what these frameworks computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from float_graph import run_graph

from synapcc.gen.importers import load_model

EXPORTS = Path(__file__).parent / "exports"
FILES = sorted(EXPORTS.glob("*.onnx"))
LARGEST = 40_000

# The layers that are left, without reshapes.
EXPECTED = {}


def expected(path: Path) -> dict[str, np.ndarray]:
    """Inputs and scores as the framework had them: FRAMEWORK_NET_EXPORTER.onnx -> FRAMEWORK.npz, NET/..."""
    framework, *net, _ = path.stem.split("_")
    with np.load(EXPORTS / f"{framework}.npz") as file:
        prefix = "_".join(net) + "/"
        return {k.removeprefix(prefix): file[k] for k in file.files if k.startswith(prefix)}


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
