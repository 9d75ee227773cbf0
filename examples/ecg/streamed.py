"""Beats as a chip hears them: from a record's raw samples through the fixed-point front end
(fronts/stream.toml), about R peaks that it finds itself.

What it finds is matched to the annotated beats within 150 ms, one to one, as ANSI/AAMI EC57 has it. A wearer
labels what was found; what was missed cannot be labelled, and counts as wrong in the test. What was found
and is no beat has no label, and is answered all the same: of the class that it was called, it is a false one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.frontends import block_options
from synapcc.gen.spec import FrontEnd
from synapcc.gen.spec.frontend import load_frontend
from synapcc.host.run.frontend import cut

from .records import FS, Record
from .rpeak.match import WINDOW, matched

FRONT = Path(__file__).parent / "fronts" / "stream.toml"
GAIN = 200.0
"""Steps of the converter to a millivolt: that of MIT-BIH, and of fronts/stream.toml."""
NO_BEAT = 255
"""The label of what was found and is no beat."""
HOLD = 2
"""Seconds for which the last sample of a record is held, so that its last beats are told."""


@dataclass(frozen=True)
class Heard:
    """What the chip told of a record.

    inputs: float32 [k, ...] by name, what the network was given
    place:  int64[k], samples of the R peaks that it found
    late:   int64[k], samples from there until the verdict
    of:     int64[k], which annotated beat each is, -1 for none
    missed: int64[m], annotated beats that it did not tell
    """

    inputs: dict[str, NDArray[np.float32]]
    place: NDArray[np.int64]
    late: NDArray[np.int64]
    of: NDArray[np.int64]
    missed: NDArray[np.int64]


@cache
def front() -> FrontEnd:
    """The front end file."""
    return load_frontend(FRONT, block_options())


def samples(record: Record) -> NDArray[np.int16]:
    """The lead in steps of the converter, int16[n]."""
    return np.clip(np.round(record.signal * GAIN), -(2**15), 2**15 - 1).astype(np.int16)


@lru_cache(maxsize=64)
def _heard(name: str, raw: bytes, rpeak: bytes) -> Heard:
    x, truth = np.frombuffer(raw, np.int16), np.frombuffer(rpeak, np.int64)
    found = cut(front(), np.concatenate([x, np.full(HOLD * FS, x[-1], np.int16)]))
    assert found.event is not None
    order = np.argsort(found.event, kind="stable")
    order = order[found.event[order] < len(x)]
    place = found.event[order]
    of_truth, of_found = matched(truth, place, round(WINDOW * FS))
    inputs = {n: v[order] for n, v in found.windows.items()}
    return Heard(inputs, place, found.said[order] - place, of_found, np.flatnonzero(of_truth < 0))


def heard(record: Record) -> Heard:
    """What the chip tells of a record, from its first sample to its last."""
    return _heard(record.name, samples(record).tobytes(), record.rpeak.astype(np.int64).tobytes())


def counted(
    record: Record, labels: NDArray[np.uint8], predicted: NDArray[np.integer], start: float, classes: int
) -> NDArray[np.int64]:
    """The confusion matrix behind `start` seconds, int64[classes + 1, classes + 1]: the last row of what was
    found and is no beat, the last column of beats that were missed.

    labels, predicted: of what was told there, NO_BEAT where it is none
    """
    it = heard(record)
    truth = np.where(labels == NO_BEAT, classes, labels).astype(np.int64)
    flat = truth * (classes + 1) + predicted
    matrix = np.bincount(flat, minlength=(classes + 1) ** 2).reshape(classes + 1, classes + 1)
    late = it.missed[record.rpeak[it.missed] >= start * FS]
    missed = record.label()[late]
    matrix[:classes, classes] += np.bincount(missed[missed < classes], minlength=classes)
    return matrix
