"""Which activations are never below some number: what symmetric int8 leaves integers unused for.

One that is never negative is held as v for (v + 128) / 2^n, all 256 integers for what is above zero: a bit
more, and still a shift. One that is barely negative, as behind a SiLU, has only as many integers below zero
as it needs. The zero point costs nothing where sums begin with a constant bias (gen/ops/_requantise.py);
the limit of int8 that takes the place of 0 is the ReLU. So it is for activations that frozen layers write
and read, with what moves, joins, adds or averages them between; not for one that a layer learns from, or
that a signal needs on its way back.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import numpy as np

from ..ir.program import Abstract, Step, root
from ..ops import changed, kernel
from .calibrate import below

ZERO = -128  # the integer of 0 where nothing is below it


def zero_point(floor: float, top: float, frac: int) -> int:
    """The integer of 0, of an activation that is never below `floor` and was seen up to `top` in magnitude.

    0 where symmetric integers hold all that was seen, or as many are needed below zero.
    """
    if floor == 0.0:
        return ZERO
    if top * 2.0**frac < -ZERO - 0.5:
        return 0
    return min(ZERO + below(max(floor, -top), frac), 0)


def floors(abstract: Abstract) -> dict[str, float]:
    """The activations whose integers may begin there, with all that share their number formats: the least
    real number of each, 0 for what is never negative."""
    net = _Network(abstract)
    groups: dict[str, list[str]] = {}
    for name in abstract.values:
        groups.setdefault(root(abstract.values, name), []).append(name)
    least = {of: net.floor(of, group) for of, group in groups.items()}
    found = [of for of, floor in least.items() if not math.isinf(floor)]
    while True:
        names = {name: least[of] for of in found for name in groups[of]}
        useful = [of for of in found if net.useful(groups[of], names.keys())]
        if len(useful) == len(found):
            return names
        found = useful


class _Network:
    def __init__(self, abstract: Abstract) -> None:
        self.values = abstract.values
        self.uses: dict[str, list[tuple[Step, str]]] = {}
        self.least = {v.name: float(np.min(v.real)) for v in self.values.values() if v.real is not None}
        for _, step in abstract.in_order():
            for role, name in step.args.items():
                self.uses.setdefault(name, []).append((step, role))
            self._follow(step)

    def _follow(self, step: Step) -> None:
        """What a step writes is never smaller than what it says; of several that write, all of them."""
        k = kernel(step.kernel)
        read = {r: self.least.get(n, -math.inf) for r, n in step.args.items() if r in k.reads}
        for role, name in changed(step).items():
            least = k.least(read, step.attrs) if role == "y" else -math.inf
            self.least[name] = min(least, self.least.get(name, math.inf))

    def floor(self, of: str, group: list[str]) -> float:
        """The least real number that the format of `of` needs for all that share it; -inf where it may have
        no zero point."""
        if not all(self._is_activation(name) and self._touched(name) for name in group):
            return -math.inf
        least = {name: self.least.get(name, -math.inf) for name in group}
        if least[of] >= 0.0 and all(least[name] >= 0.0 or self._rectified(name) for name in group):
            return 0.0
        return min(least.values())

    def useful(self, group: list[str], halved: Collection[str]) -> bool:
        """Whether somebody reads them who does not only bring them to a format without a zero point."""
        for name in group:
            for step, role in self.uses.get(name, ()):
                k = kernel(step.kernel)
                if role not in k.changing and (not k.moves or step.args["y"] in {*halved} - {*group}):
                    return True
        return False

    def _is_activation(self, name: str) -> bool:
        v = self.values[name]
        return v.role == "activation" and v.space == "arena" and v.format is None and not v.use

    def _touched(self, name: str) -> bool:
        """Whether all that touch it take a zero point."""
        return all(role in self._zeros(step) for step, role in self.uses.get(name, ()))

    def _zeros(self, step: Step) -> tuple[str, ...]:
        args = {role: self.values[name] for role, name in step.args.items()}
        return kernel(step.kernel).zeros(args, step.attrs)

    def _rectified(self, name: str) -> bool:
        """Whether 0 in the place of its negative values is what all that read it make of them in any case."""
        below: Mapping[str, float] = {"x": -math.inf}
        for step, role in self.uses.get(name, ()):
            k = kernel(step.kernel)
            if role in k.changing:
                continue
            if not k.moves or not (k.least(below, step.attrs) >= 0.0 or self._rectified(step.args["y"])):
                return False
        return True
