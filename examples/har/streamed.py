"""Windows as a chip makes them: from the raw samples of a recording through the fixed-point front end
(fronts/stream.toml), one a second, each of the last two seconds.

A device is given whole recordings, in the order of the file, and reset between them. Windows that end within
the first quarter of a recording may be learned, those that begin behind it are the test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.frontends import block_options
from synapcc.gen.spec import FrontEnd
from synapcc.gen.spec.frontend import load_frontend
from synapcc.host.run.frontend import cut

from .data import Recording
from .features import LENGTH, SHARE

HERE = Path(__file__).resolve().parent
FRONT, RULE = HERE / "fronts" / "stream.toml", HERE / "stream.toml"
STEPS = np.repeat(np.array([4096, 940], np.float32), 3)
"""Steps of the converter to 1 g, and to 1 rad/s: a watch's usual ranges of 8 g and 2,000 degrees a second."""


@dataclass(frozen=True)
class Heard:
    """inputs: float32 [n, size] by name, as the network is given them; label: uint8 [n]"""

    inputs: dict[str, NDArray[np.float32]]
    label: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.label)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """As an .npz file holds them."""
        return {**self.inputs, "label": self.label}

    def take(self, which: NDArray[np.bool_] | NDArray[np.int64]) -> Heard:
        return Heard({name: x[which] for name, x in self.inputs.items()}, self.label[which])


@cache
def front() -> FrontEnd:
    """The front end file."""
    return load_frontend(FRONT, block_options())


def samples(recording: Recording) -> NDArray[np.int16]:
    """In steps of the converter, int16 [n, 6]; what lies beyond its range stands at a rail."""
    return np.clip(np.round(recording.signal * STEPS), -(2**15), 2**15 - 1).astype(np.int16)


def ends(recording: Recording) -> NDArray[np.int64]:
    """The number of the sample behind each window."""
    push = front().push
    return np.arange(LENGTH, len(recording.signal) + 1, push)


def parts(recording: Recording) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which windows are (learned, tested)."""
    last, quarter = ends(recording), round(SHARE * len(recording.signal))
    return last <= quarter, last - LENGTH >= quarter


@lru_cache(maxsize=256)
def _windows(raw: bytes) -> dict[str, NDArray[np.float32]]:
    """[n, size] by name, of samples as `samples` gives them."""
    windows = cut(front(), np.frombuffer(raw, np.int16).reshape(-1, front().channels)).windows
    return {name: x.reshape(len(x), -1) for name, x in windows.items()}


def heard(recordings: Sequence[Recording]) -> Heard:
    """All windows of whole recordings."""
    found, labels = [], []
    for r in recordings:
        found.append(_windows(samples(r).tobytes()))
        labels.append(np.full(len(ends(r)), r.exercise, np.uint8))
    return Heard(
        {name: np.concatenate([one[name] for one in found]) for name in found[0]}, np.concatenate(labels)
    )
