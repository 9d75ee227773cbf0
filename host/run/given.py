"""What an entry program is given, on the host and on a chip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from synapcc.gen.errors import SynapccError
from synapcc.gen.ir.inputs import listed
from synapcc.gen.ir.plan import Plan
from synapcc.gen.ir.program import Entry

from .samples import Samples


def own_inputs(plan: Plan, entry: Entry) -> tuple[str, ...]:
    """What the entry program takes beside the network's inputs."""
    return tuple(name for name in entry.inputs if name not in plan.inputs)


def integers(
    plan: Plan, entry: Entry, inputs: Mapping[str, ArrayLike], count: int
) -> dict[str, NDArray[Any]]:
    """The inputs of an entry program that takes some of its own: integers of their types, [count, size] each.
    Floats are rounded to what has their meaning.

    Raises SynapccError where one is missing or too many, of another shape, or beyond its type.
    """
    if set(inputs) != set(entry.inputs):
        what = f"{entry.name} got {listed(inputs)}"
        raise SynapccError(plan.model, what, f"it takes {listed(entry.inputs)}")
    out = {}
    for name in entry.inputs:
        t, x = plan[name], np.asarray(inputs[name])
        if x.dtype.kind not in "iuf" or x.shape != (count, t.count):
            what = f"{name} is {x.dtype} of shape {list(x.shape)}"
            raise SynapccError(plan.model, what, f"give {t.dtype}, or float, of shape {[count, t.count]}")
        if x.dtype.kind == "f" and name in plan.inputs:
            x = plan.quantiser(name).integers(x)
        elif x.dtype.kind == "f":
            x = t.meaning.units(x)
        if not np.all((x >= t.lo) & (x <= t.hi)):
            what = f"{name} holds values beyond {t.dtype}"
            raise SynapccError(plan.model, what, "scale them into its range first")
        out[name] = x.astype(t.dtype)
    return out


@dataclass(frozen=True)
class Given:
    """One device's inputs of an entry program, [1, size] each, and its label if it takes one."""

    inputs: Mapping[str, NDArray[Any]]
    label: int | None


def drawn(plan: Plan, entry: Entry, samples: Samples, rng: np.random.Generator) -> Given:
    """What a test gives an entry program: the first sample; of its own inputs, any values of their types."""
    inputs = {n: x for n, x in samples.one(0).items() if n in entry.inputs}
    for name in own_inputs(plan, entry):
        t = plan[name]
        inputs[name] = rng.integers(t.lo, t.hi + 1, (1, t.count)).astype(t.dtype)
    return Given(inputs, int(rng.integers(plan.classes)) if entry.label else None)
