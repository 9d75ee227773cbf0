"""The exact integer ONNX form of each kernel that runs in inference: one function per kernel, in one table.

Every activation is an int32 tensor [batch, size]. int32 sums are exact: gen/bounds.py has proven that none
overflows, in whichever order a runtime adds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from ..program import Step
from ._integers import Integers


def requantise(q: Integers, step: Step, total: str, shift: int | NDArray[np.integer]) -> str:
    """The int32 saturate(shift_round(total, shift), lo, hi). shift: one, or one a column.

    Exact in double: its 53 bits hold the 32 of the sum, wherever the point lies, and the half that is added.
    """
    lo, hi = q.attr(step, "lo"), q.attr(step, "hi")
    if not np.any(shift):
        return saturate(q, step, total, lo, hi)
    factor = q.constant(q.fresh(step, "factor"), np.ldexp(1.0, -np.asarray(shift, np.int32)))
    half = q.constant("half", np.array(0.5))
    ends = [q.constant(f"double/{v}", np.array(float(v))) for v in (lo, hi)]
    real = q.then(step, "Cast", [total], to=q.DOUBLE)
    raised = q.then(step, "Add", [q.then(step, "Mul", [real, factor]), half])
    held = q.then(step, "Clip", [q.then(step, "Floor", [raised]), *ends])
    return q.then(step, "Cast", [held], to=q.INT32)


def saturate(q: Integers, step: Step, x: str, lo: int, hi: int) -> str:
    return q.then(step, "Clip", [x, *(q.constant(f"int/{v}", np.array(v, np.int32)) for v in (lo, hi))])


def _shift(q: Integers, step: Step) -> int | NDArray[np.integer]:
    """The requantising shift of a layer with weights: one, or one a row where the layer is frozen."""
    return q.content(step.args["s"]) if "s" in step.args else q.attr(step, "shift")


def dense_forward(q: Integers, step: Step) -> None:
    w, b = step.args["w"], step.args["b"]
    weight = q.weights(w, "transposed", q.content(w).T)
    product = q.then(step, "MatMul", [q.known(step, "x"), weight])
    total = q.then(step, "Add", [product, q.weights(b, "values", q.content(b))])
    q.put(step.args["y"], requantise(q, step, total, _shift(q, step)))


def affine_forward(q: Integers, step: Step) -> None:
    w, b = step.args["w"], step.args["b"]
    product = q.then(step, "Mul", [q.known(step, "x"), q.weights(w, "values", q.content(w))])
    total = q.then(step, "Add", [product, q.weights(b, "values", q.content(b))])
    q.put(step.args["y"], requantise(q, step, total, q.attr(step, "shift")))


def clip_forward(q: Integers, step: Step) -> None:
    x = q.known(step, "x")
    q.put(step.args["y"], saturate(q, step, x, q.attr(step, "lo"), q.attr(step, "hi")))


def concat_copy(q: Integers, step: Step) -> None:
    """The copies of a concatenation come in the order of their places."""
    y, offset = step.args["y"], q.attr(step, "offset")
    part = requantise(q, step, q.known(step, "x"), q.attr(step, "shift"))
    q.put(y, q.then(step, "Concat", [q.get(y), part], axis=1) if offset else part)


def classify_argmax(q: Integers, step: Step) -> None:
    """verdict [batch, 2]: the first index of the largest score, and its lead over the second largest."""
    z = q.known(step, "z")
    winner = q.then(step, "Cast", [q.then(step, "ArgMax", [z], axis=1, keepdims=1)], to=q.INT32)
    best = q.then(step, "ReduceMax", [z], axes=[1], keepdims=1)
    lead = q.then(step, "Sub", [best, best])
    if q.plan.classes > 1:
        places = q.constant("places", np.arange(q.plan.classes, dtype=np.int32))
        mine = q.then(step, "Equal", [places, winner])
        least = q.constant("int/-32768", np.array(-(2**15), np.int32))
        others = q.then(step, "Where", [mine, least, z])
        lead = q.then(step, "Sub", [best, q.then(step, "ReduceMax", [others], axes=[1], keepdims=1)])
    q.put(step.args["verdict"], q.then(step, "Concat", [winner, lead], axis=1))


KERNELS: Mapping[str, Callable[[Integers, Step], None]] = {
    "affine.forward": affine_forward,
    "classify.argmax": classify_argmax,
    "clip.forward": clip_forward,
    "concat.copy": concat_copy,
    "dense.forward": dense_forward,
}
"""By kernel: writes a step and puts what it computes."""
