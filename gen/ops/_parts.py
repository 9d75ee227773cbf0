"""Functions of one number that several layers make, one behind another: their parts, value and slope.

A part is what one layer does with each value of what it reads. Parts stand in order; each reads the input,
which is 0, or the part before number 1, 2, …; the last one is the result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.floating[Any]]
Slopes = Callable[[Real, float, float], Real]
OPERATIONS = ("view", "scale", "limits", "sum", "difference", "product")
"""What is no function of gen/ops/table.py: x; alpha x + beta; x within alpha .. beta; of two."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What a layer does with each value: one of OPERATIONS, or a function of gen/ops/table.py."""

    name: str
    alpha: float = 0.0
    beta: float = 0.0


@dataclass(frozen=True, slots=True)
class Part:
    """left, right: what it reads; right is 0 where it reads one."""

    applied: Applied
    left: int
    right: int = 0


def coded(parts: Sequence[Part], functions: Sequence[str]) -> dict[str, float]:
    """Parts as the attributes of a step; an operation is the number -1 - its place, a function its place."""
    found: dict[str, float] = {"parts": len(parts)}
    for i, part in enumerate(parts):
        name = part.applied.name
        number = -1 - OPERATIONS.index(name) if name in OPERATIONS else functions.index(name)
        numbers = (number, part.left, part.right, part.applied.alpha, part.applied.beta)
        found |= {f"{key}{i}": value for key, value in zip("fxyab", numbers, strict=True)}
    return found


def decoded(a: Mapping[str, Any], functions: Sequence[str]) -> list[Part]:
    """The parts that `coded` has written."""
    found = []
    for i in range(int(a["parts"])):
        number, left, right = (int(a[f"{key}{i}"]) for key in "fxy")
        name = functions[number] if number >= 0 else OPERATIONS[-1 - number]
        found.append(Part(Applied(name, float(a[f"a{i}"]), float(a[f"b{i}"])), left, right))
    return found


def evaluated(
    parts: Sequence[Part], x: Real, functions: Mapping[str, tuple[Slopes, Slopes]]
) -> tuple[Real, Real]:
    """The value and the slope of what the parts make of x: by the chain rule, a step's slope being 0.

    functions: value and slope of each, by name
    """
    found = [(x, np.ones_like(x))]
    for part in parts:
        name, alpha, beta = part.applied.name, part.applied.alpha, part.applied.beta
        (u, du), (v, dv) = found[part.left], found[part.right]
        match name:
            case "view":
                made = (u, du)
            case "scale":
                made = (alpha * u + beta, alpha * du)
            case "limits":
                made = (np.clip(u, alpha, beta), np.where((u > alpha) & (u < beta), du, 0.0))
            case "sum":
                made = (u + v, du + dv)
            case "difference":
                made = (u - v, du - dv)
            case "product":
                made = (u * v, du * v + u * dv)
            case _:
                value, slope = functions[name]
                made = (value(u, alpha, beta), slope(u, alpha, beta) * du)
        found.append(made)
    return found[-1]
