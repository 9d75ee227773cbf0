"""Inputs as the chip takes them, and how much of them their integers could not hold."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from synapcc.gen.errors import DataWarning, SynapccError
from synapcc.gen.ir.inputs import check_samples, match
from synapcc.gen.ir.plan import Plan
from synapcc.gen.ir.quantiser import held

Inputs = Mapping[str, ArrayLike]

MUCH = 0.01  # the share of clipped values that is warned of
LITTLE = 3  # of 127 units: data that fill no more have hardly any bits


class Clipping:
    """Counts what quantisation did to a model's inputs: values in all, clipped ones, and how far they reach.

    Values given as integers are taken as they are and are not counted.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.values = dict.fromkeys(plan.inputs, 0)
        self.clipped = dict.fromkeys(plan.inputs, 0)
        self._largest = dict.fromkeys(plan.inputs, 0.0)
        self._told: set[str] = set()

    def add(self, name: str, scaled: NDArray[np.float32]) -> None:
        """Values of input `name` in units of its format, rounded and not yet clipped."""
        self.values[name] += scaled.size
        lo, hi = self.plan.quantiser(name).ends
        self.clipped[name] += int(np.count_nonzero((scaled < lo) | (scaled > hi)))
        self._largest[name] = max(self._largest[name], float(np.max(np.abs(scaled), initial=0.0)))

    @property
    def shares(self) -> dict[str, float]:
        """The share of clipped values of each input that was quantised."""
        return {n: self.clipped[n] / count for n, count in self.values.items() if count}

    def warn(self, where: str) -> None:
        """Warns, once an input, where more than MUCH was clipped."""
        for name, share in self.shares.items():
            if share > MUCH:
                what = f"{self.clipped[name]} of {self.values[name]} values ({100 * share:.3g} %) of input"
                beyond = f"lie beyond {self.reach(name)} and were clipped"
                self._warn(name, f"{where}: {what} {name} {beyond}")

    def warn_of_little(self, where: str) -> None:
        """Warns where whole data fill almost nothing of what the format holds."""
        for name, count in self.values.items():
            largest = self._largest[name]
            if count and largest <= LITTLE:
                units = self.plan.quantiser(name).ends[1]
                what = f"no value of input {name} is beyond {largest:.0f} of the {units} units"
                self._warn(name, f"{where}: {what} of {self.reach(name)}")

    def reach(self, name: str) -> str:
        """What the input's format holds, in the units of the data where that is one range."""
        reach = self.plan.quantiser(name).reach
        return "the range of its quantiser" if reach is None else f"{reach[0]:.4g} .. {reach[1]:.4g}"

    def _warn(self, name: str, text: str) -> None:
        if name not in self._told:
            self._told.add(name)
            cause = "likely these are other units, or another scaling, than in the calibration data"
            warnings.warn(f"{text}; {cause}", DataWarning, stacklevel=3)


def clipped_text(shares: Mapping[str, float]) -> str:
    """What was clipped, from `Clipping.shares` or its JSON, for a person."""
    told = ", ".join(f"{100 * share:.3g} % of {name}" for name, share in shares.items())
    return told or "nothing, int8 as the chip takes it"


def quantise_inputs(
    plan: Plan,
    inputs: Inputs,
    count: int | None = None,
    clipping: Clipping | None = None,
    where: str = "",
) -> dict[str, NDArray[Any]]:
    """Inputs as the chip takes them, int8 or int16 [n, size]: float ones are quantised, such ones pass.

    inputs:   arrays [n, *shape] or [n, size] by input, under its own name or the model file's
    count:    how many samples there must be
    clipping: counts
    where:    names the data in a message, the model's name if empty
    Raises SynapccError where one is missing or twice, of another shape or dtype, or not finite.
    """
    where = where or plan.model
    out: dict[str, NDArray[Any]] = {}
    for i, x in zip(plan.interface, match(plan.interface, inputs, where).values(), strict=True):
        own = plan[i.name].dtype
        if x.dtype.kind != "f" and x.dtype != own:
            what = f"{i.name} is {x.dtype}"
            raise SynapccError(where, what, f"give float32, or {own} as the chip takes it")
        samples = check_samples(i, x, where, count)
        flat = samples.reshape(len(samples), i.size)
        if flat.dtype == own:
            out[i.name] = flat
        else:
            quantiser = plan.quantiser(i.name)
            units = quantiser.units(flat)
            out[i.name] = held(units, quantiser.ends)
            if clipping:
                clipping.add(i.name, units)
    return out
