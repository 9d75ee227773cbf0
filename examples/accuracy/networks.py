"""The twelve networks that accuracy is measured on, named before anything was measured, and their data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synapcc.examples.ecg import beats, evaluate, protocol
from synapcc.examples.ecg.beats import Beats
from synapcc.examples.images import data
from synapcc.gen.errors import SynapccError

Arrays = Mapping[str, NDArray[np.float32]]

CALIBRATION = 1024
"""Samples of the training side that number formats are chosen from, without labels, for every tool alike."""


@dataclass(frozen=True)
class Samples:
    """What a network is measured on.

    calibration: inputs by name, float32 [CALIBRATION, *shape], spread evenly over what it was trained on
    inputs:      the same of the test, [n, *shape]
    labels:      [n] uint8
    """

    calibration: Arrays
    inputs: Arrays
    labels: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Network:
    """A network of the table: its name and file, and the source of its data for a number of test samples."""

    name: str
    path: Path
    load: Callable[[int], Samples]
    images: bool


def spread(count: int, most: int) -> NDArray[np.int64]:
    """Indices of at most `most` of `count` samples, evenly spread."""
    return np.arange(min(count, most)) * count // max(1, min(count, most))


@cache
def _images(name: str, part: str) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    return data.read(data.find(name), part)


def images(name: str, most: int) -> Samples:
    """MNIST or Fashion-MNIST: pixels in 0..1; calibrated on training images that none validates on."""
    (seen, _), (test, labels) = _images(name, "train"), _images(name, "t10k")
    trained, chosen = seen[: -data.VALIDATION], spread(len(test), most)
    calibration = {"image": trained[spread(len(trained), CALIBRATION)]}
    return Samples(calibration, {"image": test[chosen]}, labels[chosen])


@cache
def _beats(name: str) -> tuple[Beats, Beats]:
    """(beats of the base's patients, those of the test's patients after their first five minutes)."""
    chosen = protocol.PROTOCOLS[name]
    later = [protocol.split(patient)[1] for patient in chosen.load(chosen.test).values()]
    return chosen.pool(), beats.join(later)


def ecg(model: str, name: str, most: int) -> Samples:
    """A base model of a protocol before it learns, on the beats that the protocol tests."""
    base, test = _beats(name)
    base, test = base.take(spread(len(base), CALIBRATION)), test.take(spread(len(test), most))
    used = ("beat",) if model == "mlp" else ("beat", "rr")
    return Samples({n: base.inputs()[n] for n in used}, {n: test.inputs()[n] for n in used}, test.label)


def _ecg(model: str, name: str) -> Network:
    path = evaluate.model_path(model, name)
    return Network(path.stem, path, lambda most: ecg(model, name, most), False)


def _image(folder: str, model: str) -> Network:
    stem = f"{folder.split('-')[0]}_{model}"
    path = Path(data.__file__).parent / "models" / f"{stem}.onnx"
    return Network(stem, path, lambda most: images(folder, most), True)


NETWORKS = {
    n.name: n
    for n in (
        *(_ecg(model, name) for name in "AB" for model in ("mlp", "mlp_rr", "cnn")),
        *(_image(folder, model) for folder in data.SETS for model in ("mlp", "resnet", "dscnn")),
    )
}


def named(names: list[str]) -> list[Network]:
    """The networks of these names, all for none. SynapccError for a name that is none of them."""
    for name in names:
        if name not in NETWORKS:
            raise SynapccError(name, "is none of the networks", f"there are {', '.join(NETWORKS)}")
    return [n for n in NETWORKS.values() if not names or n.name in names]
