"""The networks of this example that `synapcc bench --emulator` measures. Noise calibrates: no data needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from synapcc.gen.compile import compile_model
from synapcc.gen.importers import load_model
from synapcc.gen.ir.plan import Plan
from synapcc.gen.spec import ALL, RuleSpec

HERE = Path(__file__).parents[1]
HEBBIAN = RuleSpec("hebbian", rate=7)
MEASURED = (
    ("ECG CNN, hebbian", "ecg_cnn", HEBBIAN, (1, 100, 1000)),
    ("ECG MLP, hebbian", "ecg_mlp", HEBBIAN, (1000,)),
    ("ECG CNN, convolutions learned", "ecg_cnn", RuleSpec("hebbian", layers=ALL, rate=9), (1000,)),
)


def networks() -> Iterator[tuple[str, Plan, Sequence[int]]]:
    """(title, Plan, numbers of devices)."""
    rng = np.random.default_rng(0)
    for title, name, spec, devices in MEASURED:
        graph = load_model(HERE / "models" / f"{name}.onnx", None, None)
        noise = {i: rng.normal(0.0, 1.0, (64, *graph.tensors[i].shape)) for i in graph.inputs}
        calibration = noise | {"label": rng.integers(0, 4, 64)}
        yield title, compile_model(graph, spec, calibration).plan, devices
