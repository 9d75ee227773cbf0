"""Samples of wearers out of .npz files: inputs by name, `label`, and an array that says whose each is."""

from __future__ import annotations

import os
import warnings
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from synapcc.gen.errors import DataWarning, SynapccError, shown
from synapcc.gen.files.npz import load_arrays
from synapcc.gen.ir.inputs import LABEL, check_counts, listed, match, unread
from synapcc.gen.ir.plan import Plan

from .samples import from_arrays
from .wearers import Labelled, Wearers

Arrays = Mapping[str, ArrayLike]
ONE = "all"  # who wears a device where the data do not say


@dataclass(frozen=True, eq=False)
class Part:
    """Samples of one wearer. label: [n]; given: the inputs by name, [n, size], as the file has them."""

    label: NDArray[Any]
    given: Mapping[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(self.label)

    def inputs(self) -> Mapping[str, NDArray[Any]]:
        return self.given

    def take(self, which: NDArray[np.bool_]) -> Part:
        return Part(self.label[which], {name: x[which] for name, x in self.given.items()})


def by_wearer(plan: Plan, arrays: Arrays, where: str, key: str = "") -> dict[str, Part]:
    """Labelled samples by who wears the device, in the order of the array `key` [n]; without it one wearer.

    Raises SynapccError for whatever does not fit the Plan, or for a key that is no name or number a sample.
    """
    if plan.numbers or not plan.learning:
        what = "learns numbers, not classes" if plan.numbers else "was compiled for inference only"
        raise SynapccError(plan.model, what, "compile it with a rule that learns classes")
    if key and (key not in arrays or key in {LABEL, *(k for i in plan.interface for k in i.keys)}):
        raise SynapccError(where, f"has no array {key} of wearers", f"there is {listed(arrays)}")
    samples = from_arrays(plan, {n: x for n, x in arrays.items() if n != key}, where, labels=True)
    assert samples.labels is not None
    count = len(samples)
    raw = match(plan.interface, arrays, where)
    whole = Part(samples.labels, {n: np.asarray(x).reshape(count, -1) for n, x in raw.items()})
    return {name: whole.take(mine) for name, mine in whose(arrays, count, where, key).items()}


def whose(arrays: Arrays, count: int, where: str, key: str) -> dict[str, NDArray[np.bool_]]:
    """Which of `count` samples are each wearer's, by name; one wearer, ONE, where `key` is empty."""
    if not key:
        return {ONE: np.ones(count, bool)}
    if key not in arrays:
        raise SynapccError(where, f"has no array {key} of wearers", f"there is {listed(arrays)}")
    who = np.asarray(arrays[key])
    if who.shape != (count,) or who.dtype.kind not in "iuUS":
        what = f"{key} is {who.dtype} of shape {list(who.shape)}"
        raise SynapccError(where, what, f"give a name or a whole number of each sample, [{count}]")
    known, of = np.unique(who, return_inverse=True)
    names = [_name(name) for name in known]
    for i, name in enumerate(names):
        if not name.strip():
            raise SynapccError(
                where, f"{key} has a wearer without a name", "give each sample a name or a number"
            )
        if name in names[:i]:
            what = f"{key} has two wearers who are both shown as {name}"
            raise SynapccError(where, what, "rename one: up to 80 characters that can be printed")
    return {name: of == i for i, name in enumerate(names)}


def parted(arrays: Arrays, where: str, key: str) -> dict[str, dict[str, NDArray[Any]]]:
    """The arrays [n, ...] of each wearer, without that which says whose they are. SynapccError: no labels, or
    arrays of several lengths."""
    if LABEL not in arrays:
        hint = f"add an array `label` with the class of each sample; there is {listed(arrays)}"
        raise SynapccError(where, "label is missing", hint)
    rest = {name: np.asarray(x) for name, x in arrays.items() if name != key}
    for name, x in rest.items():
        if x.ndim == 0:
            raise SynapccError(where, f"{name} is one number", "give one row a sample")
    check_counts(rest, where)
    mine = whose(arrays, len(rest[LABEL]), where, key)
    return {name: {n: x[which] for n, x in rest.items()} for name, which in mine.items()}


def _name(who: Any) -> str:
    return shown(who.decode("utf-8", "backslashreplace") if isinstance(who, bytes) else str(who))


def load_wearers(plan: Plan, learn: Path, test: Path, key: str = "") -> Wearers:
    """Who learns what, and what each is tested on; who learns most comes first. SynapccError: a wearer who
    has no samples of one kind."""
    parts = []
    for path in (learn, test):
        arrays = load_arrays(path)
        parts.append(by_wearer(plan, arrays, str(path), key))
        if rest := [name for name in unread(plan.interface, arrays) if name != key]:
            text = f"{path}: nothing reads these arrays: {listed(rest)}"
            warnings.warn(text, DataWarning, stacklevel=2)
    for path, has, other in ((test, parts[0], parts[1]), (learn, parts[1], parts[0])):
        if lacks := [name for name in has if name not in other]:
            what = f"has no samples of {listed(lacks)}"
            raise SynapccError(str(path), what, "each wearer learns some samples and is tested on others")
    if os.path.realpath(learn) == os.path.realpath(test):
        text = f"{test}: is learned, and tested as well: that says nothing of samples that were not learned"
        warnings.warn(text, DataWarning, stacklevel=2)
    mine, theirs = parts
    order = sorted(mine, key=lambda name: -len(mine[name]))
    return Wearers({name: mine[name] for name in order}, {name: theirs[name] for name in order})


def together(parts: Iterable[Labelled]) -> dict[str, NDArray[Any]]:
    """The samples of several wearers by name, with `label`, as a compilation takes them."""
    each = [{**part.inputs(), LABEL: part.label} for part in parts]
    return {name: np.concatenate([part[name] for part in each]) for name in each[0]}


def flipped(people: Wearers, share: float, classes: int, seed: int = 1) -> Wearers:
    """The same, but of what each wearer learns a `share`, drawn from the seed, has another label."""
    learn = {}
    for name, part in people.learn.items():
        rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        wrong = rng.permutation(len(part))[: round(share * len(part))]
        label = part.label.copy()
        label[wrong] = (label[wrong] + rng.integers(1, max(classes, 2), len(wrong))) % max(classes, 2)
        learn[name] = Part(label, part.inputs())
    return replace(people, learn=learn)
