"""What the operators of a TensorFlow Lite file work on, and how a node gets the file's integers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...errors import CompileError, shown
from ...ir.format import Format, Scaled
from .._layers import LayerBuilder
from .._names import from_node
from .file import AGAIN, DAMAGED, LiteOp, LiteTensor

Shape = tuple[int, ...]


INT8 = "convert the model to int8, inputs and outputs too, or to float32"
_OTHER_KINDS = {
    "uint8": ", as TensorFlow 1 writes it; in front of or behind QUANTIZE with int8 of one scale it is taken",
}


@dataclass(frozen=True, slots=True)
class Act:
    """An activation: the graph's tensor that has its values in the file's order, and its shape in the file.

    format: how the file holds it; None if in float
    head:   what stood behind it and does not change the class
    """

    tensor: str
    shape: Shape
    format: Format | None
    head: str = "none"

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))


Operand = Act | LiteTensor | None
Handler = Callable[["Scope", LiteOp, Sequence[Operand]], Act | tuple[Act, ...]]


@dataclass(slots=True)
class Scope:
    """Where handlers write. scores: the tensors that softmaxes alone read."""

    builder: LayerBuilder
    scores: frozenset[int] = frozenset()

    def map(self, op: LiteOp, x: Act) -> str:
        """x as a map [height, width, channels]; CompileError unless it is one of a single sample."""
        if len(x.shape) != 4 or x.shape[0] != 1:
            hint = "convert with a batch of 1"
            raise op.error(f"its input has shape {x.shape}, not (1, height, width, channels)", hint)
        return self.builder.view(x.tensor, x.shape[1:])

    def made(self, op: LiteOp, tensor: str, constants: Sequence[Format | None] = (), rounds: int = 0) -> Act:
        """The output of a node that was just written, held as the file says.

        constants: formats of its last operands; rounds: how often it rounds (gen/ops/_requantise.py)
        """
        out = op.outputs[0]
        held = self.format(op, out)
        if held is not None:
            self.builder.hold(tensor, held, constants, rounds)
        return self._shaped(op, tensor, out, held)

    def moved(self, op: LiteOp, tensor: str, sources: Sequence[Act], out: LiteTensor | None = None) -> Act:
        """The output `out`, the first if not given, of a node that only moves or picks numbers of `sources`:
        its integers must mean what theirs mean."""
        out = out or op.outputs[0]
        held = self.format(op, out)
        for x in sources:
            if x.format != held:
                ours, theirs = (f.meaning if f else "float32" for f in (x.format, held))
                raise op.error(f"its input has {ours}, its output {theirs}, and it does not rescale", AGAIN)
        if held is not None:
            self.builder.hold(tensor, held)
        return self._shaped(op, tensor, out, held)

    def _shaped(self, op: LiteOp, tensor: str, out: LiteTensor, held: Format | None) -> Act:
        """CompileError where the file says another size than the operator gives."""
        found = self.builder.shape(tensor)
        if math.prod(found) != out.size:
            raise op.error(f"gives {math.prod(found)} values, the file says shape {out.shape}", DAMAGED)
        return Act(tensor, out.shape, held)

    @staticmethod
    def format(op: LiteOp | None, tensor: LiteTensor) -> Format | None:
        """How the file holds an activation, of `op` or an input; None in float. CompileError for what synapcc
        cannot run."""
        if tensor.kind == "float32":
            return None

        def refused(what: str, hint: str = AGAIN) -> CompileError:
            return tensor.error(what, hint) if op is None else op.error(f"{tensor.label} {what}", hint)

        if tensor.kind not in ("int8", "int16"):
            raise refused(f"is {tensor.kind}{_OTHER_KINDS.get(tensor.kind, '')}", INT8)
        found = tensor.format()
        if found is None or not isinstance(found.meaning, Scaled):
            raise refused(f"is {tensor.kind} without a scale")
        if len(found.meaning.scale) != 1:
            raise refused("has a scale for each channel, an activation has one")
        if tensor.kind == "int16" and found.meaning.zero != (0,):
            raise refused(f"is int16 with the zero point {found.meaning.zero[0]}, LiteRT demands 0")
        return found


def activation(op: LiteOp, args: Sequence[Operand], at: int = 0) -> Act:
    """Operand `at`, which must be computed."""
    x = args[at] if at < len(args) else None
    if not isinstance(x, Act):
        what = "is missing" if x is None else "is a constant"
        raise op.error(f"its input {at + 1} {what}", AGAIN)
    return x


def constant(op: LiteOp, args: Sequence[Operand], at: int, what: str) -> LiteTensor:
    """Operand `at`, which must be a constant."""
    x = args[at] if at < len(args) else None
    if not isinstance(x, LiteTensor) or x.value is None:
        raise op.error(f"its {what} {'is missing' if x is None else 'is computed'}", AGAIN)
    return x


def integers(op: LiteOp, args: Sequence[Operand], at: int, what: str) -> NDArray[np.int64]:
    """Operand `at`, constant whole numbers."""
    tensor = constant(op, args, at, what)
    assert tensor.value is not None
    if tensor.kind not in ("int32", "int64"):
        raise op.error(f"its {what} is {tensor.kind}", "int32 and int64 are read")
    return tensor.value.astype(np.int64)


def inner(shape: Shape, out: Shape) -> Shape:
    """A shape with as many axes as the output, without the batch where that is one sample."""
    whole = (1,) * (len(out) - len(shape)) + shape
    return whole[1:] if len(whole) > 1 and out[0] == 1 else whole


def axis(op: LiteOp, number: int, rank: int) -> int:
    """The number of an axis, counted from the end where negative."""
    if not -rank <= number < rank:
        raise op.error(f"works on axis {number} of {rank}", DAMAGED)
    return number % rank


def around(shape: Shape, axis: int) -> tuple[int, int, int]:
    """Sizes of what lies outside of an axis, the axis itself, and what lies within."""
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])


def names(op: LiteOp, weight: LiteTensor | None = None) -> list[str]:
    """Names that a layer may have: the converter joins those of what it fused, the layer's own last."""
    parts = [from_node(p) for p in reversed(op.outputs[0].name.split(";"))]
    return [*parts, *([from_node(weight.name)] if weight else [])]


def units(bound: float, meaning: Scaled) -> float:
    """The real number that LiteRT takes for a bound: a whole number of steps in float32, halves away from
    zero."""
    steps = np.float32(bound) / np.float32(meaning.scale[0])
    return float(np.copysign(np.floor(np.abs(np.float64(steps)) + 0.5), steps)) * meaning.scale[0]


ENDS = {0: (), 1: (0.0, np.inf), 2: (-1.0, 1.0), 3: (0.0, 6.0)}
"""By ActivationFunctionType: what the output is held within."""


def activated(scope: Scope, op: LiteOp, y: Act, function: int) -> Act:
    """y behind the activation function that the file fused into `op`."""
    ends = ENDS.get(function)
    if ends is None:
        what = f"has the fused activation {shown(str(function))}"
        raise op.error(what, "NONE, RELU, RELU6 and RELU_N1_TO_1 are supported")
    return clipped(scope, op, y, *ends) if ends else y


def clipped(scope: Scope, op: LiteOp, y: Act, lo: float, hi: float) -> Act:
    """y held within lo .. hi, in the same integers."""
    if y.format is not None:
        meaning = y.format.meaning
        assert isinstance(meaning, Scaled)
        lo, hi = (bound if np.isinf(bound) else units(bound, meaning) for bound in (lo, hi))
    name = scope.builder.clip(y.tensor, lo, hi, [], op.source)
    if y.format is not None:
        scope.builder.hold(name, y.format)
    return replace(y, tensor=name)
