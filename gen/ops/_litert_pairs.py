"""What TensorFlow Lite's reference kernels make of int8 values taken two by two, on whole arrays.

Measured with LiteRT 2.3.0: tests/gen/importers/test_tflite_composed.py. An importer asks it where operators
one behind another become one table (gen/ops/lookup.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..errors import CompileError
from . import Format, Kernel
from ._requantise import SCALES, TWICE, scale, zero
from .add import Forward as Sum
from .div import Forward as Quotient
from .div import divided, reciprocals
from .mul import Forward as Product
from .squared_difference import Forward as Square

Whole = NDArray[np.int64]
COMPARED_UP = 8  # bits that LiteRT puts behind the point of both sides of a comparison


@dataclass(frozen=True, slots=True)
class Held:
    """int8 values [n], and how they are held."""

    v: Whole
    format: Format

    @property
    def centred(self) -> NDArray[np.int32]:
        """The values less their zero point."""
        return (self.v - zero(self.format)).astype(np.int32)


def _of(kernel: Kernel, left: Held, right: Held, y: Format, where: str, **attrs: int) -> Whole:
    lowered = kernel.lower(
        {"left": left.format, "right": right.format, "y": y}, {"rounds": TWICE, **attrs}, where
    )
    made = np.zeros((1, len(left.v)), np.int8)
    kernel.integer({"left": left.v[None], "right": right.v[None], "y": made}, lowered)
    found: Whole = made[0].astype(np.int64)
    return found


def total(left: Held, right: Held, y: Format, where: str) -> Whole:
    return _of(Sum(), left, right, y, where)


def difference(left: Held, right: Held, y: Format, where: str) -> Whole:
    return _of(Sum(), left, right, y, where, subtract=1)


def product(left: Held, right: Held, y: Format, where: str) -> Whole:
    return _of(Product(), left, right, y, where)


def squared_difference(left: Held, right: Held, y: Format, where: str) -> Whole:
    return _of(Square(), left, right, y, where)


def quotient(left: Held, right: Held, y: Format, where: str) -> Whole:
    lowered = Quotient().lower({"left": left.format, "right": right.format, "y": y}, {}, where)
    made = divided(left.centred, right.centred, reciprocals(), lowered["multiplier"], lowered["shift"])
    return np.clip(made.astype(np.int64) + zero(y), y.lo, y.hi)


COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "EQUAL": np.equal,
    "GREATER": np.greater,
    "GREATER_EQUAL": np.greater_equal,
    "LESS": np.less,
    "LESS_EQUAL": np.less_equal,
    "NOT_EQUAL": np.not_equal,
}


def compared(op: str, left: Held, right: Held, where: str) -> NDArray[np.bool_]:
    """A comparison of real numbers in steps of 2^-8."""
    sides = []
    for side in (left, right):
        step = scale(side.format, where)
        if not step < 1.0:
            raise CompileError(
                where, f"compares int8 of scale {step:.3g}, LiteRT demands less than 1", SCALES
            )
        m, n = numeric.multiplier(step)
        up = side.centred << np.int32(COMPARED_UP)
        sides.append(numeric.scale_twice(up, np.asarray(m, np.int32), n))
    return np.asarray(COMPARISONS[op](*sides), np.bool_)


PAIRS: Mapping[str, Callable[[Held, Held, Format, str], Whole]] = {
    "ADD": total,
    "DIV": quotient,
    "MUL": product,
    "SQUARED_DIFFERENCE": squared_difference,
    "SUB": difference,
}
