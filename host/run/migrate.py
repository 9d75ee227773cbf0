"""What another Plan's state becomes under this one: the numpy twin of firmware/migrate.c, byte for byte."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.emit.manifest import Entry, Manifest, manifest
from synapcc.gen.errors import SynapccError
from synapcc.gen.files.userfile import read_file
from synapcc.gen.ir.plan import Plan
from synapcc.gen.stages.heard import Heard, from_json

Tensors = Mapping[str, NDArray[Any]]
_WORD = 32
_MOST = 1 << 28  # bytes of a report


def as_compiled(plan: Plan) -> dict[str, NDArray[Any]]:
    """The persistent tensors that `<model>_init` leaves, in logical shape."""
    return {
        t.name: t.array().copy() if t.data is not None else np.zeros(t.shape, t.dtype)
        for t in plan.space("state")
    }


def all_of(plan: Plan, heard: Mapping[str, Heard]) -> Manifest:
    """What a whole state of `plan` says of itself; CompileError where no other Plan could know any of it."""
    return manifest(plan, heard, {t.name: t.offset for t in plan.space("state")})


def manifest_of(project: Path, plan: Plan) -> Manifest:
    """What states of an output folder say of themselves; SynapccError where it was not compiled for that."""
    file = (project if project.is_dir() else project.parent) / "report.json"
    text = read_file(file, _MOST, SynapccError, "give the output folder of `synapcc compile`")
    try:
        report = json.loads(text)
        digest, keep = report["digest"], report["keep"] or {}
        found = keep.get("heard")
        heard = None if found is None else from_json(found)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        raise SynapccError(str(file), "is no report", "compile the model again") from None
    if digest != plan.digest.hex():
        raise SynapccError(str(file), "belongs to another Plan", "compile the model again")
    if heard is None:
        hint = "write [keep] with migrate = true into its rule file and compile it again: the Plan stays"
        raise SynapccError(str(project), "does not say what its layers hear", hint)
    return all_of(plan, heard)


def fitting(old: Manifest, new: Manifest) -> dict[str, Entry]:
    """What is taken over: the old entry by the new tensor's name.

    Those of the same key, count and kind of type; without those that may not be mixed with what is not there.
    """
    there = {e.key: e for e in old.entries}
    pairs = ((i, there[e.key], e) for i, e in enumerate(new.entries) if e.key in there)
    found = {i: other for i, other, entry in pairs if _alike(other, entry)}

    def lone() -> list[int]:
        needs = [*new.needs[: new.always], *(n for n in new.needs[new.always :] if n[0] in behind)]
        return [i for i, j in needs if i in found and j not in found]

    behind = {i for i, other in found.items() if other.behind}
    while wrong := lone():
        for i in wrong:
            found.pop(i, None)
    return {new.entries[i].name: other for i, other in found.items()}


def _alike(other: Entry, own: Entry) -> bool:
    """Whether numbers of the same key can be moved, and what the other layer heard is here, too."""
    kind = (other.count, other.dtype == "uint32") == (own.count, own.dtype == "uint32")
    return kind and other.behind in (0, own.behind)


def rescaled(values: NDArray[Any], shift: int, lo: int, hi: int) -> NDArray[np.int64]:
    """v * 2^shift of int32 or uint32 numbers, halves up, held within lo to hi."""
    wide = values.astype(np.int64)
    if shift < 0:
        right = np.int64(min(-shift, _WORD + 1))  # of 32 bits nothing is left behind so many
        out = (wide + (np.int64(1) << (right - 1))) >> right
    else:
        out = wide * (
            np.int64(1) << np.int64(min(shift, _WORD - 1))
        )  # as far beyond any limit as farther ones
        out = np.where((shift >= _WORD) & (wide != 0), np.sign(wide) * np.int64(2**_WORD), out)
    held: NDArray[np.int64] = np.clip(out, lo, hi)
    return held


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
