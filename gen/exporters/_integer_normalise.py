"""The exact integer ONNX form of a normalisation, in int64: gen/ops/normalise.py without a shift."""

from __future__ import annotations

import numpy as np

from ..ir.program import Step
from ..numeric import ROOT_TABLE
from ._integer_softmax import Long
from ._integers import Integers

POWERS = 31  # of 4 within 63 bits, beside 1


def normalised(q: Integers, step: Step, kind: str) -> None:
    """Rows [batch, outer, size, block], by the measure `kind`."""
    long, x = Long(q, step), _rows(q, step)
    total, wide = _deviation(q, step, long, x, kind)
    power, root = _root(q, step, long, wide)
    c = long("Mul", x, _factor(q, step, kind))
    c = long("Sub", c, total) if total else c
    shifts = [1 << (31 - q.attr(step, "point") + k) for k in range(POWERS + 1)]
    unit = long.chosen(q.fresh(step, "units"), shifts, power)
    y = long.scaled(c, root, unit)
    ends = [long.number(q.attr(step, key)) for key in ("lo", "hi")]
    y = q.then(step, "Cast", [q.then(step, "Clip", [y, *ends])], to=q.INT32)
    q.put(step.args["y"], q.then(step, "Reshape", [y, q.integers(-1, q.size(step.args["y"]))]))


def _rows(q: Integers, step: Step) -> str:
    shape = q.integers(-1, *(q.attr(step, key) for key in ("outer", "size", "block")))
    wide = q.then(step, "Cast", [q.known(step, "x")], to=q.INT64)
    return q.then(step, "Reshape", [wide, shape])


def _factor(q: Integers, step: Step, kind: str) -> int:
    return q.attr(step, "size") if kind in ("variance", "mean_square") else 1


def _deviation(q: Integers, step: Step, long: Long, x: str, kind: str) -> tuple[str, str]:
    """The sum of each row, "" where it is not taken off; and the square of its measure, 1 or more."""

    def summed(of: str) -> str:
        return q.then(step, "ReduceSum", [of, q.integers(2)], keepdims=1)

    total, factor = "", _factor(q, step, kind)
    if kind in ("magnitudes", "largest"):
        sizes = q.then(step, "Abs", [x])
        found = (
            summed(sizes)
            if kind == "magnitudes"
            else q.then(step, "ReduceMax", [sizes], axes=[2], keepdims=1)
        )
        wide = long("Mul", found, found)
    else:
        wide = long("Mul", summed(long("Mul", x, x)), factor)
        if kind == "variance":
            total = summed(x)
            wide = long("Sub", wide, long("Mul", total, total))
    epsilon = (q.attr(step, "epsilon_high") << 32) + q.attr(step, "epsilon_low")
    return total, long("Max", long("Add", wide, epsilon), 1)


def _root(q: Integers, step: Step, long: Long, wide: str) -> tuple[str, str]:
    """The largest k with 4^k <= wide; and numeric.root_reciprocal of wide / 4^(k - 15)."""
    powers = q.constant("normalise/powers", np.int64(4) ** np.arange(1, POWERS))
    deep = q.then(step, "Unsqueeze", [wide, q.integers(-1)])
    reached = q.then(step, "Cast", [q.then(step, "GreaterOrEqual", [deep, powers])], to=q.INT64)
    power = q.then(step, "ReduceSum", [reached, q.integers(-1)], keepdims=0)
    up = long.chosen("normalise/up", [1 << max(30 - 2 * k, 0) for k in range(POWERS)], power)
    down = long.chosen("normalise/down", [1 << max(2 * k - 30, 0) for k in range(POWERS)], power)
    m = long("Div", long("Mul", wide, up), down)
    eighth = long("Div", m, 1 << 27)
    rest = long("Sub", long("Div", m, 1 << 11), long("Mul", eighth, 1 << 16))
    first, second = (
        long.chosen("normalise/roots", list(ROOT_TABLE), long("Sub", eighth, before)) for before in (8, 7)
    )
    slope = long("Mul", long("Sub", first, second), rest)
    u = long("Sub", first, long("Div", long("Add", slope, 1 << 15), 1 << 16))
    product = long("Div", long("Mul", m, long("Mul", u, u)), 1 << 32)
    newton = long("Mul", u, long("Sub", long.number(3 << 28), product))
    return power, long("Min", long("Div", newton, 1 << 13), 2**31 - 1)
