"""The exact integer ONNX form of a softmax, in int64: products of two 32-bit numbers, and right shifts."""

from __future__ import annotations

import numpy as np

from ..ir.program import Step
from ..numeric.gemmlowp import TOP, TWO_SEVENTEENTHS
from ._integers import Integers

LEAD = 12  # leading zeros of the smallest sum, 1.0 in Q12


class Long:
    """Arithmetic of one step in int64."""

    def __init__(self, q: Integers, step: Step) -> None:
        self.q, self.step = q, step

    def number(self, value: int) -> str:
        return self.q.constant(f"long/{value}", np.array(value, np.int64))

    def __call__(self, op: str, a: str, b: str | int) -> str:
        return self.q.then(self.step, op, [a, self.number(b) if isinstance(b, int) else b])

    def high(self, a: str, b: str | int) -> str:
        """numeric.high_product: floor((a b + 2^30) / 2^31), by a division of what is not negative."""
        raised = self("Add", self("Mul", a, b), (1 << 62) + (1 << 30))
        return self("Sub", self("Div", raised, 1 << 31), 1 << 31)

    def scaled(self, a: str, m: str, unit: str) -> str:
        """numeric.scale_once: a m / unit, halves away from zero."""
        raised = self("Add", self("Mul", self.q.then(self.step, "Abs", [a]), m), self("Div", unit, 2))
        return self("Mul", self.q.then(self.step, "Sign", [a]), self("Div", raised, unit))

    def chosen(self, name: str, values: list[int], place: str) -> str:
        return self.q.then(
            self.step, "Gather", [self.q.constant(name, np.array(values, np.int64)), place], axis=0
        )


def softmax_forward(q: Integers, step: Step) -> None:
    """Rows [batch, rows, size]: exponentials times the reciprocal of their sum, as gemmlowp.py has it."""
    long, size = Long(q, step), q.attr(step, "size")
    e = _exponentials(q, step, long, size)
    total = q.then(
        step, "ReduceSum", [long("Div", long("Add", e, 1 << 11), 1 << 12), q.integers(2)], keepdims=1
    )
    steps = q.constant("softmax/powers", np.int64(1) << np.arange(32 - LEAD, 31))
    reached = q.then(step, "Cast", [q.then(step, "GreaterOrEqual", [total, steps])], to=q.INT64)
    beyond = q.then(step, "ReduceSum", [reached, q.integers(2)], keepdims=1)  # LEAD - leading zeros
    leads = range(LEAD, 0, -1)
    half = long("Div", long("Mul", total, long.chosen("softmax/leads", [1 << k for k in leads], beyond)), 2)
    x = long("Add", long.number(TWO_SEVENTEENTHS[0]), long.high(half, -TWO_SEVENTEENTHS[1]))
    for _ in range(3):
        rest = long("Sub", long.number(1 << 29), long.high(half, x))
        x = long("Add", x, long("Mul", long.high(x, rest), 4))
    share = long("Min", long("Mul", x, 2), TOP)
    units = [1 << min(q.attr(step, "shift") - k, 31) for k in leads]
    unit = long.chosen(q.fresh(step, "units"), units, beyond)
    y = long("Div", long("Add", long.high(share, e), long("Div", unit, 2)), unit)
    y = q.then(step, "Cast", [long("Add", y, q.attr(step, "zero"))], to=q.INT32)
    ends = [q.constant(f"int/{v}", np.array(v, np.int32)) for v in (q.attr(step, "lo"), q.attr(step, "hi"))]
    y = q.then(step, "Clip", [y, *ends])
    q.put(step.args["y"], q.then(step, "Reshape", [y, q.integers(-1, q.size(step.args["y"]))]))


def _exponentials(q: Integers, step: Step, long: Long, size: int) -> str:
    """Of the differences from each row's largest: entries of the step's table."""
    rows = q.integers(-1, q.size(step.args["x"]) // size, size)
    x = q.then(step, "Reshape", [q.known(step, "x"), rows])
    d = q.then(step, "Sub", [x, q.then(step, "ReduceMax", [x], axes=[2], keepdims=1)])
    place = q.then(step, "Add", [d, q.constant("int/255", np.array(255, np.int32))])
    table = step.args["table"]
    return long.chosen(f"{table}.entries", q.content(table).tolist(), place)
