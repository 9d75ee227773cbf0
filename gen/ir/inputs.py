"""What a model is fed with: which array is which input, and of what shape.

One place for all who give a model numbers: calibration, data files, fleets of emulators.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import SynapccError, shown
from .roles import label_dtype

LABEL = "label"  # in a file this is the class of each sample, whatever a model calls its inputs
TARGET = "target"  # in a file what the scores of each sample should be, for a rule file that learns numbers
LISTED = 8  # names in a message


@dataclass(frozen=True, slots=True)
class Input:
    """One input of a model.

    name:   of its tensor, and in C
    shape:  of one sample, as the model file has it
    source: what the model file calls it
    """

    name: str
    shape: tuple[int, ...]
    source: str

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def keys(self) -> tuple[str, ...]:
        """The names under which an array is this input."""
        return (self.name,) if self.source in (self.name, LABEL) else (self.name, self.source)

    def __str__(self) -> str:
        return " or ".join([self.name, *(f'"{shown(key)}"' for key in self.keys[1:])])


def ambiguous(inputs: Sequence[Input]) -> str:
    """A name that would mean two of these inputs; "" where each name means one."""
    keys = [key for i in inputs for key in i.keys]
    return next((key for key in keys if keys.count(key) > 1), "")


def listed(names: Iterable[str]) -> str:
    """Names from outside, as a message may show them."""
    texts = [shown(str(name), 40) for name in names]
    more = f" and {len(texts) - LISTED} more" if len(texts) > LISTED else ""
    return (", ".join(texts[:LISTED]) or "nothing") + more


def unread(inputs: Sequence[Input], names: Iterable[str]) -> list[str]:
    """Those of the array names that mean no input and are not the labels."""
    known = {LABEL, TARGET, *(key for i in inputs for key in i.keys)}
    return [name for name in names if name not in known]


def match(
    inputs: Sequence[Input], arrays: Mapping[str, ArrayLike], where: str
) -> dict[str, NDArray[np.generic]]:
    """The arrays by the inputs' names, whichever of its names each has; SynapccError: missing, or twice."""
    if not isinstance(arrays, Mapping):
        what = f"the inputs are {type(arrays).__name__}"
        raise SynapccError(where, what, f'give each by its name: {{"{inputs[0].name}": x}}')
    out = {}
    for i in inputs:
        found = [key for key in i.keys if key in arrays]
        if not found:
            hint = f"the model's inputs are {', '.join(map(str, inputs))}; there is {listed(arrays)}"
            raise SynapccError(where, f"input {i} is missing", hint)
        if len(found) > 1:
            what = f"{listed(found)} are both the input {i.name}"
            raise SynapccError(where, what, "leave one of them out")
        try:
            out[i.name] = np.asarray(arrays[found[0]])
        except ValueError:  # lists of several lengths
            hint = "give an array, every sample of one shape"
            raise SynapccError(where, f"{i.name} is no array", hint) from None
    return out


def check_samples(i: Input, x: NDArray[Any], where: str, count: int | None = None) -> NDArray[Any]:
    """Samples [n, *shape] or flat [n, size] of an input, as [n, *shape].

    count: how many there must be, if not any number from 1. SynapccError: another shape, none, not finite.
    """
    n = len(x) if x.ndim else 0
    if x.shape[1:] not in (i.shape, (i.size,)) or x.ndim == 0 or (n != count is not None):
        raise SynapccError(where, f"{i.name} has shape {x.shape}", _wanted(i, x.shape, count))
    if n == 0:
        what = f"{i.name} holds no samples: shape {x.shape}"
        raise SynapccError(where, what, "give at least one, some hundred are good")
    if not np.all(np.isfinite(x)):
        raise SynapccError(where, f"{i.name} has NaN or infinite values", "remove the samples that hold them")
    return x.reshape(n, *i.shape)


def check_magnitude(i: Input, x: NDArray[Any], where: str) -> None:
    """SynapccError for a value that is none of float32, as which the network takes it."""
    wrong: NDArray[np.intp] = np.argwhere(np.abs(x) > np.finfo(np.float32).max)
    if x.dtype.kind == "f" and len(wrong) and np.all(np.isfinite(x)):
        what = f"{i.name}{_place(wrong[0])} is {x[tuple(wrong[0])]:.3g}, beyond what a float32 holds"
        raise SynapccError(where, what, "scale the inputs down, or remove the sample")


def check_counts(arrays: Mapping[str, NDArray[Any]], where: str) -> None:
    """SynapccError unless all arrays hold the same number of samples."""
    counts = {name: len(x) for name, x in arrays.items()}
    if len(set(counts.values())) > 1:
        what = f"the arrays hold different numbers of samples: {counts}"
        raise SynapccError(where, what, "one row a sample in each")


def check_labels(
    labels: ArrayLike, classes: int, where: str, places: NDArray[np.intp] | None = None
) -> NDArray[np.unsignedinteger]:
    """Labels [n] in the type of these classes; SynapccError where one is no class.

    places: [n, axes], where each lies in the array that the user knows; None: in this one
    """
    y = np.asarray(labels)

    def place(at: np.intp) -> str:
        return f"label{_place([at] if places is None else places[at])}"

    broken = np.flatnonzero(y != np.rint(y)) if y.dtype.kind == "f" else np.empty(0, np.intp)
    if y.ndim != 1 or y.dtype.kind not in "iubf" or len(broken):
        what = f"label is {y.dtype} of shape {y.shape}"
        what += f", {place(broken[0])} is {y[broken[0]]}" if y.ndim == 1 and len(broken) else ""
        how = ": numpy.argmax(label, axis=1)" if y.shape[1:] == (classes,) else ""
        how = ": numpy.ravel(label)" if y.shape[1:] == (1,) else how
        raise SynapccError(where, what, f"give class numbers, one a sample{how}")
    wrong = np.flatnonzero((y < 0) | (y >= classes))
    if len(wrong):
        what = f"{place(wrong[0])} is {y[wrong[0]]}"
        one = "the network has one output, which is no class where nothing learns: leave `label` out"
        raise SynapccError(
            where, what, one if classes == 1 else f"the network has classes 0 to {classes - 1}"
        )
    return y.astype(label_dtype(classes))


def check_targets(targets: ArrayLike, scores: int, where: str) -> NDArray[np.float64]:
    """Targets [n, scores] as float64, also given as [n] where there is one score; SynapccError else."""
    t = np.asarray(targets)
    t = t[:, None] if t.ndim == 1 and scores == 1 else t
    if t.shape[1:] != (scores,) or t.dtype.kind not in "iuf":
        what = f"{TARGET} is {t.dtype} of shape {list(t.shape)}"
        raise SynapccError(where, what, f"give finite numbers [n, {scores}], one an output")
    wrong: NDArray[np.intp] = np.argwhere(~np.isfinite(t))
    if len(wrong):
        what = f"{TARGET}{_place(wrong[0])} is {t[tuple(wrong[0])]}"
        raise SynapccError(where, what, "give finite numbers, or remove the sample")
    return t.astype(np.float64)


def _place(at: Iterable[np.intp]) -> str:
    return "".join(f"[{n}]" for n in at)


def _wanted(i: Input, given: tuple[int, ...], count: int | None) -> str:
    """What to give, and how this array becomes it where that is plain."""
    n = "n" if count is None else str(count)
    flat = f", or flat [{n}, {i.size}]" if len(i.shape) > 1 else ""
    text = f"give [{n}, {', '.join(map(str, i.shape))}]{flat}"
    text += f", a sample for each of {count} devices" if count not in (None, 1) else ""
    if given == i.shape and count in (None, 1):
        return f"{text}: one sample alone is {i.name}[numpy.newaxis]"
    order = _order(given[1:], i.shape)
    if order is not None and order != tuple(range(len(order))):
        axes = (0, *(axis + 1 for axis in order))
        return f"{text}: its axes are in another order, numpy.transpose({i.name}, {axes})"
    if given[1:] != i.shape and _bare(given[1:]) == _bare(i.shape):
        return f"{text}: numpy.reshape({i.name}, {(-1, *i.shape)})"
    return text


def _order(given: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[int, ...] | None:
    """The axes of `given`, in the order of `wanted`; None if they are no others."""
    if sorted(given) != sorted(wanted):
        return None
    left = list(range(len(given)))
    order = []
    for size in wanted:
        axis = next(a for a in left if given[a] == size)
        left.remove(axis)
        order.append(axis)
    return tuple(order)


def _bare(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Without axes of one value."""
    return tuple(size for size in shape if size != 1)
