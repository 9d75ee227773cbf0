"""Runs a network through each tool. What was counted is kept, so that a run that broke off goes on."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.compile import compile_model
from synapcc.gen.spec import INFERENCE_ONLY, RuleSpec
from synapcc.host.run.emulator import Emulator, classify
from synapcc.host.run.kept import Results

from . import ort
from .networks import Network, Samples
from .table import OURS, Count, Row

Classes = NDArray[np.integer[Any]]
Tell = Callable[[str], None]

BLOCK = 512  # samples that the emulator takes at once


class Kept:
    """Counts of one network in a JSON file, each under the digest of all that it follows from."""

    def __init__(self, path: Path) -> None:
        self.results = Results(path, _is_count)

    def get(self, key: str, count: Callable[[], Count]) -> Count:
        """What is kept under `key`; else `count()`, kept from now on."""
        return Count(**self.results.get(key, lambda: asdict(count())))


def _is_count(found: Any) -> bool:
    whole = isinstance(found, dict) and found.keys() == {"agree", "right"}
    return whole and all(type(value) is int for value in found.values())


def ways() -> tuple[str, ...]:
    """Those of `OURS` that this compiler has."""
    return OURS if "quantise" in inspect.signature(compile_model).parameters else OURS[:1]


def count(got: Classes, floats: Classes, labels: Classes) -> Count:
    """How often classes [n] are those of the float network, and the labels."""
    return Count(int(np.sum(got == floats)), int(np.sum(got == labels)))


def digest(path: Path, samples: Samples) -> str:
    """Of a model file and the samples it is measured on."""
    made = hashlib.sha256(path.read_bytes())
    for arrays in (samples.calibration, samples.inputs, {"label": samples.labels}):
        for name, x in arrays.items():
            made.update(f"{name} {x.shape} {x.dtype} ".encode())
            made.update(x.tobytes())
    return made.hexdigest()


def _ours(path: Path, samples: Samples, way: str) -> tuple[str, Callable[[], Classes]]:
    """The Plan's digest, and what runs it."""
    options: dict[str, Any] = {"quantise": way} if len(ways()) > 1 else {}
    plan = compile_model(path, RuleSpec(rule=INFERENCE_ONLY), samples.calibration, **options).plan
    state = Emulator(plan).state[0]
    return plan.digest.hex(), lambda: classify(plan, state, samples.inputs, BLOCK)


def measure(network: Network, samples: Samples, folder: Path, tell: Tell) -> Row:
    """A row of the table; what `folder` has of it already is not counted again."""
    kept, base = Kept(folder / f"{network.name}.json"), digest(network.path, samples)
    floats = ort.classes(network.path, samples.inputs)
    n, ours, theirs = len(samples), {}, {}
    for way in ways():
        key, run = _ours(network.path, samples, way)
        ours[way] = kept.get(f"plan {key} {base}", lambda run=run: count(run(), floats, samples.labels))  # type: ignore[misc]
        tell(f"{network.name}: {way} {100 * ours[way].agree / n:.2f} %")
    for way in ort.WAYS:

        def run_ort(way: str = way) -> Count:
            got = ort.quantised(network.path, way, samples.calibration, samples.inputs)
            return count(got, floats, samples.labels)

        theirs[way] = kept.get(f"onnxruntime {ort.VERSION} {way} {base}", run_ort)
        tell(f"{network.name}: onnxruntime {way} {100 * theirs[way].agree / n:.2f} %")
    return Row(network.name, n, int(np.sum(floats == samples.labels)), ours, theirs, network.images)
