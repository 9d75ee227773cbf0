"""Zero points at steps that shift, of activations that are never or barely negative (gen/stages/halves.py).

They cost nothing where the C is printed: that of the input goes into the bias (`started`), and so does that
of the output, shifted to the left as far as the sum is to the right. A step without a bias has `addend`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..ir.plan import PlanTensor
from . import Accumulator, Attrs, Case, Format, Known, Relaid
from ._contract import Tensors, crossed
from ._requantise import ZEROS, beside_zero, row_sums, started, zero


def misfit(t: Tensors, a: Attrs) -> str:
    """What is wrong with the zero points of a step that shifts; "" if nothing, or if it has none."""
    named = [name for name in ZEROS if name in a]
    if not named:
        return beside_zero(a)
    moved = [role for role in ("w", "b", "s") if role not in t or t[role].space != "const"]
    if moved:
        return f"it has {named[0]}, and operand {moved[0]} is no constant"
    absent = [name for name in named if a[name] == 0]
    return f"{absent[0]} is 0, which is none" if absent else crossed(a)


def zeros(f: Mapping[str, Format]) -> dict[str, int]:
    """The attributes of a step that shifts, for zero points that are not 0."""
    return {name: z for name in ZEROS if (z := zero(f[name[0]]))}


def addend(inputs: int, y: Format, shift: int) -> dict[str, int]:
    """The attribute `addend` of a step that shifts, if it is not 0: what the zero points of its inputs bring
    to a sum, and that of its output, which stands behind the shift."""
    more = inputs + (zero(y) << shift)
    return {"addend": more} if more else {}


def shifted_sums(k: Mapping[str, Known], a: Attrs) -> list[Accumulator]:
    """Proofs for a step that shifts and has zero points, all its constants known: its sums, wherever zero
    points are taken in, with the half that rounds."""
    w, b, s = (k[role].data for role in ("w", "b", "s"))
    assert w is not None and b is not None and s is not None
    lo, hi, plain = row_sums(w, b, k["x"], a)
    unit = np.int64(1) << s.astype(np.int64)
    ends = a.get("y_zero", 0) * unit
    most = np.maximum(np.abs(lo), np.abs(hi)).max(initial=0)
    start = int((plain + np.abs(ends) + (unit >> 1)).max())
    return [
        Accumulator("sum", -int(most), int(most)),
        Accumulator("sum from a bias with the zero points", -start, start),
    ]


def zeroed(t: Mapping[str, PlanTensor], a: Attrs, border: bool) -> dict[str, Relaid]:
    """The bias of a step that shifts with its zero points taken in; nothing where it has none.

    border: windows reach beyond the map
    """
    if not any(name in a for name in ZEROS):
        return {}
    note = "bias with the zero points of " + ("the output" if border else "input and output")
    return {"b": Relaid("zeroed", started(t, a, border), note)}


def random_addend(rng: np.random.Generator, most: int) -> dict[str, int]:
    """For the tests: that attribute, up to `most` in magnitude, or half of the time none."""
    more = int(rng.integers(-most, most + 1)) if rng.integers(2) else 0
    return {"addend": more} if more else {}


def with_zeros(rng: np.random.Generator, case: Case) -> Case:
    """For the tests: a case of frozen rows that are shifted, sometimes with zero points, -128 or any."""
    drawn = {name: int(rng.choice([-128, int(rng.integers(-128, 128))])) for name in ZEROS if rng.integers(2)}
    found = {name: z for name, z in drawn.items() if z}
    if not found:
        return case
    return replace(case, attrs={**case.attrs, **found}, flash=("w", "b", "s"))
