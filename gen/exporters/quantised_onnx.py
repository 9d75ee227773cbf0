"""A Plan's inference as an ONNX file that computes the chip's integers, bit for bit, from float inputs.

Inputs are float32 [batch, *shape]; outputs are `scores` int16 [batch, classes], units of the last layer's
format, and `winner` and `margin`, int32 [batch].
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from ..ir.format import Scaled
from ..ir.plan import Plan
from ..ir.program import Call, Step
from ..ir.quantiser import AffineQuantiser
from ._integer_kernels import integer_kernels
from ._integers import Integers
from .onnx import DIGEST


def export(plan: Plan, state: Mapping[str, NDArray[Any]] | None = None) -> bytes:
    """The file. state: persistent tensors by name, in logical shape; those as compiled where it has none.

    Raises CompileError where a kernel of the inference has no exact form.
    """
    q = Integers(plan, state or {})
    for name, shape in zip(plan.inputs, plan.input_shapes, strict=True):
        q.put(name, _quantised(q, name, int(np.prod(shape))))
    forms = integer_kernels()
    for step in _steps(plan, "infer"):
        if step.kernel not in forms:
            what = f"{step.kernel} has no exact form in ONNX"
            raise CompileError(step.node, what, "take the float network, pull --onnx")
        if "rounds" in step.attrs and _of_a_file(plan, step):
            what = f"{step.kernel} multiplies sums of the file's own scales, which has no exact form in ONNX"
            raise CompileError(
                step.node, what, "take the model file itself, or the float network, pull --onnx"
            )
        forms[step.kernel](q, step)
    names = {o: f"{o}_out" if o in plan.inputs else o for o in ("scores", "winner", "margin")}
    q.node("Cast", [q.get(plan.logits)], names["scores"], "scores", to=q.INT16)
    for place, output in enumerate(("winner", "margin")):
        at = q.constant(f"at/{place}", np.array(place))
        q.node("Gather", [q.get("verdict"), at], names[output], output, axis=1)
    outputs = {
        names["scores"]: ("int16", (plan.scores,)),
        names["winner"]: ("int32", ()),
        names["margin"]: ("int32", ()),
    }
    inputs = dict(zip(plan.inputs, plan.input_shapes, strict=True))
    about = {DIGEST: plan.digest.hex()}
    about |= {
        f"synapcc.scores_{key}": _text(value) for key, value in plan[plan.logits].meaning.to_json().items()
    }
    return q.model(plan.model, inputs, outputs, about)


def _text(value: object) -> str:
    """A number of a meaning; of a tuple, its one number."""
    return _text(value[0]) if isinstance(value, tuple) else str(value)


def _steps(plan: Plan, program: str) -> Iterator[Step]:
    for item in plan.programs[program].items:
        if isinstance(item, Step):
            yield item
        elif isinstance(item, Call):
            yield from _steps(plan, item.program)
        else:
            raise CompileError(
                program, "the inference loops or branches", "take the float network, pull --onnx"
            )


def _of_a_file(plan: Plan, step: Step) -> bool:
    """Whether an operand has a scale that a model file brought."""
    return any(isinstance(plan[name].meaning, Scaled) for name in step.args.values())


def _quantised(q: Integers, name: str, size: int) -> str:
    """The input quantiser: rint((x - offset) * scale), ties to even, within int8.

    Held within the limits before it is rounded, which changes nothing: runtimes convert to integers first
    and saturate then, and a large float fits no integer.
    """
    quantiser = q.plan.quantiser(name)
    if isinstance(quantiser, AffineQuantiser):
        return _divided(q, name, quantiser, size)
    own = name in q.plan.quantisers  # the network's own scale is no power of two: it multiplies
    scale = np.float32(1.0 if own else q.plan[name].meaning.step)
    ends = [q.constant(f"{name}/{v}", np.array(v * scale)) for v in (-128, 127)]
    flat = q.node("Reshape", [name, q.integers(-1, size)], f"{name}/flat", name)
    if own:
        for op, what, value in zip(("Sub", "Mul"), ("offset", "factor"), quantiser.each(size), strict=True):
            flat = q.node(op, [flat, q.constant(f"{name}.{what}", value)], f"{name}/{what}", name)
    held = q.node("Clip", [flat, *ends], f"{name}/held", name)
    steps = [q.constant(f"{name}/scale", np.array(scale)), q.constant("zero", np.array(0, np.int8))]
    rounded = q.node("QuantizeLinear", [held, *steps], f"{name}/int8", name)
    return q.node("Cast", [rounded], f"{name}/int32", name, to=q.INT32)


def _divided(q: Integers, name: str, quantiser: AffineQuantiser, size: int) -> str:
    """round(x / scale) + zero, halves away from zero, within its ends: what QuantizeLinear rounds to even."""

    def put(op: str, inputs: list[str], what: str, **attrs: object) -> str:
        return q.node(op, inputs, f"{name}/{what}", name, **attrs)

    def number(what: str, value: float) -> str:
        return q.constant(f"{name}/{what}", np.array(value, np.float32))

    flat = put("Reshape", [name, q.integers(-1, size)], "flat")
    steps = put("Div", [flat, number("scale", quantiser.scale)], "steps")
    size_of = put("Abs", [steps], "magnitude")
    whole = put("Floor", [size_of], "whole")
    rest = put("Sub", [size_of, whole], "rest")
    up = put("Cast", [put("GreaterOrEqual", [rest, number("half", 0.5)], "is_up")], "up", to=q.FLOAT)
    rounded = put("Mul", [put("Sign", [steps], "sign"), put("Add", [whole, up], "away")], "rounded")
    moved = put("Add", [rounded, number("zero", quantiser.zero)], "moved")
    lo, hi = quantiser.ends
    held = put("Clip", [moved, number("lo", lo), number("hi", hi)], "held")
    return put("Cast", [held], "int32", to=q.INT32)
