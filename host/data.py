"""DATA.npz: the model's inputs by name (float32, or int8 as the chip takes them) and `label`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.compile import check_labels
from synapcc.gen.errors import SynapccError
from synapcc.gen.npz import load_arrays
from synapcc.gen.plan import Plan

from .emulator import quantise_inputs


@dataclass(frozen=True)
class Samples:
    """Quantised inputs by name, int8 [n, size], and labels [n] uint8 (None if the file has none)."""

    inputs: dict[str, NDArray[np.int8]]
    labels: NDArray[np.uint8] | None

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def packed(self, i: int) -> bytes:
        """Sample i as the link sends it: the inputs behind one another."""
        return b"".join(x[i].tobytes() for x in self.inputs.values())

    def one(self, i: int) -> dict[str, NDArray[np.int8]]:
        """Sample i for an emulator of one device."""
        return {name: x[i : i + 1] for name, x in self.inputs.items()}


def from_arrays(plan: Plan, arrays: dict[str, NDArray[Any]], where: str, labels: bool) -> Samples:
    """Samples for `plan`; `labels`: there must be labels. SynapccError says what does not fit."""
    try:
        inputs = quantise_inputs(plan, arrays)
    except SynapccError as error:
        raise SynapccError(where, f"{error.where}: {error.what}", error.hint) from None
    counts = {name: len(x) for name, x in inputs.items()}
    found = None
    if "label" in arrays and "label" not in plan.inputs:
        found = check_labels(arrays["label"], plan.classes, where)
        counts["label"] = len(found)
    elif labels:
        raise SynapccError(where, "label is missing", "add an array `label` with the class of each sample")
    if len(set(counts.values())) > 1:
        raise SynapccError(
            where, f"the arrays hold different numbers of samples: {counts}", "one row a sample in each"
        )
    return Samples(inputs, found)


def load_samples(plan: Plan, path: Path, labels: bool) -> Samples:
    """The samples of an .npz file."""
    return from_arrays(plan, load_arrays(path), str(path), labels)
