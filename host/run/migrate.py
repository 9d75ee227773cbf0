"""What another Plan's state becomes under this one: the numpy twin of firmware/migrate.c, byte for byte."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.emit.manifest import Entry, Manifest, manifest
from synapcc.gen.ir.plan import Plan
from synapcc.gen.stages.heard import Heard

Tensors = Mapping[str, NDArray[Any]]
_WORD = 32


def as_compiled(plan: Plan) -> dict[str, NDArray[Any]]:
    """The persistent tensors that `<model>_init` leaves, in logical shape."""
    return {
        t.name: t.array().copy() if t.data is not None else np.zeros(t.shape, t.dtype)
        for t in plan.space("state")
    }


def all_of(plan: Plan, heard: Mapping[str, Heard]) -> Manifest:
    """What a whole state of `plan` says of itself; CompileError where no other Plan could know any of it."""
    return manifest(plan, heard, {t.name: t.offset for t in plan.space("state")})


def fitting(old: Manifest, new: Manifest) -> dict[str, Entry]:
    """What is taken over: the old entry by the new tensor's name.

    Those of the same key, count and kind of type; without those that may not be mixed with what is not there.
    """
    there = {e.key: e for e in old.entries}
    found: dict[int, Entry] = {}
    for i, entry in enumerate(new.entries):
        other = there.get(entry.key)
        same = other and (other.count, other.dtype == "uint32") == (entry.count, entry.dtype == "uint32")
        if other and same:
            found[i] = other
    while lone := [i for i, j in new.needs if i in found and j not in found]:
        for i in lone:
            found.pop(i, None)
    return {new.entries[i].name: other for i, other in found.items()}


def rescaled(values: NDArray[Any], shift: int, lo: int, hi: int) -> NDArray[np.int64]:
    """v * 2^shift of int32 or uint32 numbers, halves up, held within lo to hi."""
    wide = values.astype(np.int64)
    if shift < 0:
        right = np.int64(min(-shift, _WORD + 1))  # of 32 bits nothing is left behind so many
        out = (wide + (np.int64(1) << (right - 1))) >> right
    else:
        out = wide * (np.int64(1) << np.int64(min(shift, _WORD - 1)))  # as far beyond any limit as farther ones
        out = np.where((shift >= _WORD) & (wide != 0), np.sign(wide) * np.int64(2**_WORD), out)
    return np.clip(out, lo, hi)


def migrated(
    old: Manifest, tensors: Tensors, plan: Plan, new: Manifest
) -> tuple[dict[str, NDArray[Any]], tuple[str, ...]]:
    """The persistent tensors of `plan`, and the names of those that were taken over.

    old, tensors: what another Plan's state says of itself, and the state
    new:          what a state of `plan` says of itself
    """
    out, taken = as_compiled(plan), fitting(old, new)
    exponents = {e.name: e.exponent for e in new.entries}
    for name, entry in taken.items():
        t, values = plan[name], tensors[entry.name]
        moved = rescaled(values, exponents[name] - entry.exponent, t.lo, t.hi)
        out[name] = moved.astype(t.dtype)
    return out, tuple(taken)
