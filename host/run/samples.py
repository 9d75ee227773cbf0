"""DATA.npz: the model's inputs by name (float32, or integers as the chip takes them) and `label`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from synapcc.gen.errors import DataWarning, SynapccError
from synapcc.gen.files.npz import load_arrays
from synapcc.gen.ir.inputs import LABEL, TARGET, check_counts, check_labels, check_targets, listed, unread
from synapcc.gen.ir.plan import Plan

from .inputs import Clipping, clipped_text, quantise_inputs


@dataclass(frozen=True)
class Samples:
    """Samples as the chip takes them.

    inputs:  by name, int8 or int16 [n, size]
    labels:  [n] in the type of the Plan's labels, None if the data have none
    targets: [n, scores] int16 in the scores' format, None if the data have none or classes are learned
    clipped: the share of values that quantisation clipped, by input; none for inputs given as integers
    """

    inputs: dict[str, NDArray[Any]]
    labels: NDArray[np.unsignedinteger] | None
    clipped: Mapping[str, float] = field(default_factory=dict)
    targets: NDArray[np.int16] | None = None

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def __str__(self) -> str:
        return f"{len(self)} samples, clipped {clipped_text(self.clipped)}"

    def packed(self, i: int) -> bytes:
        """Sample i as the link sends it: the inputs behind one another."""
        return b"".join(x[i].tobytes() for x in self.inputs.values())

    def taught(self, i: int) -> dict[str, NDArray[Any]]:
        """What `learn_target` or `learn_input` takes of sample i."""
        return self.one(i) | ({} if self.targets is None else {TARGET: self.targets[i : i + 1]})

    def one(self, i: int) -> dict[str, NDArray[Any]]:
        """Sample i for an emulator of one device."""
        return {name: x[i : i + 1] for name, x in self.inputs.items()}


def from_arrays(plan: Plan, arrays: Mapping[str, ArrayLike], where: str, labels: bool) -> Samples:
    """Samples for `plan` from inputs [n, *shape] or [n, size] and `label` [n].

    labels: there must be labels, or targets where numbers are learned; where nothing learns, either. Warns
    (DataWarning) of data that look like other units than those of the calibration. SynapccError says what
    does not fit.
    """
    clipping = Clipping(plan)
    inputs = quantise_inputs(plan, arrays, clipping=clipping, where=where)
    together: dict[str, NDArray[Any]] = dict(inputs)
    found = targets = None
    either = labels and not plan.learning and TARGET not in plan.inputs
    if plan.numbers or (either and TARGET in arrays and LABEL not in arrays):
        if TARGET in arrays and (TARGET in plan or either):
            targets = together[TARGET] = _targets(plan, arrays[TARGET], where)
        elif TARGET in plan and labels:
            hint = f"add an array `target` [n, {plan.scores}]; there is {listed(arrays)}"
            raise SynapccError(where, "target is missing", hint)
    elif LABEL in arrays and LABEL not in plan.inputs:
        found = together[LABEL] = check_labels(arrays[LABEL], plan.classes, where)
    elif labels:
        hint = f"add an array `label` with the class of each sample; there is {listed(arrays)}"
        raise SynapccError(where, "label is missing", hint)
    check_counts(together, where)
    clipping.warn(where)
    clipping.warn_of_little(where)
    return Samples(inputs, found, clipping.shares, targets)


def _targets(plan: Plan, targets: ArrayLike, where: str) -> NDArray[np.int16]:
    """Targets [n, scores] in the scores' format: floats are rounded and held within it, int16 passes."""
    t, given = plan[plan.logits], np.asarray(targets)
    real = check_targets(given, plan.scores, where)
    units = real if given.dtype == np.int16 else t.meaning.units(real)
    return np.clip(units, t.lo, t.hi).astype(np.int16)


def load_samples(plan: Plan, path: Path, labels: bool) -> Samples:
    """The samples of an .npz file, as `from_arrays`; warns of arrays that nothing reads, too."""
    arrays = load_arrays(path)
    samples = from_arrays(plan, arrays, str(path), labels)
    if rest := unread(plan.interface, arrays):
        text = f"{path}: nothing reads these arrays: {listed(rest)}"
        warnings.warn(text, DataWarning, stacklevel=2)
    return samples


Data = Samples | Mapping[str, ArrayLike] | str | PathLike[str]


def read_samples(plan: Plan, data: Data, labels: bool) -> Samples:
    """Samples from wherever they are: Samples, arrays by name, or an .npz file."""
    if isinstance(data, Samples):
        if labels and TARGET in plan and data.targets is None:
            raise SynapccError(plan.model, "the samples have no targets", f"give numbers [n, {plan.scores}]")
        if labels and not plan.numbers and data.labels is None and data.targets is None:
            raise SynapccError(plan.model, "the samples have no labels", "give the class of each sample")
        return data
    if isinstance(data, Mapping):
        return from_arrays(plan, data, plan.model, labels)
    return load_samples(plan, Path(fspath(data)), labels)
