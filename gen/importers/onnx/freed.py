"""A quantised ONNX file as the float network that it stands for, where it computes in float32 in between.

Quantisers leave operators in float32 for which they have no integers: a normalisation, the parts of a GELU.
Then weights are what their integers stand for, and activations get number formats of ours.
"""

from __future__ import annotations

import math

import onnx
from onnx import TensorProto

from ...errors import CompileError
from ...ir.format import Format
from .._layers import limits_of
from .file import OnnxNode, text
from .layers import Act, Const
from .qlinear import ENDS
from .runtime import RUNTIME
from .settle import MOVING, Settler
from .told import CONTRIB

ENDING = ("softmax", "table")
"""Ops whose values a quantiser's range does not cut further: they are a function's."""


def quantised(model: onnx.ModelProto) -> bool:
    """Whether a file has operators on integers, and takes real numbers: those of an input that is integers
    stay the file's."""
    stored = {text(i.name) for i in model.graph.initializer}
    inputs = [i.type.tensor_type.elem_type for i in model.graph.input if text(i.name) not in stored]
    ops = ((text(n.op_type), text(n.domain)) for n in model.graph.node)
    on_integers = any(
        op in (*ENDS, "Quant")
        or op.startswith("QLinear")
        or (domain == CONTRIB and (domain, op) not in RUNTIME)
        for op, domain in ops
    )
    return on_integers and not {*inputs} & {TensorProto.INT8, TensorProto.UINT8}


def note(error: CompileError) -> str:
    """What is said of a file that is read so, because of `error`."""
    return (
        f"{error.where}: {error.what}; so the file's integers are taken as the real numbers "
        "that they stand for, and activations are quantised again, by synapcc"
    )


class Freed(Settler):
    """Holds nothing in the file's integers, but within what they reach: quantisers take a ReLU into them."""

    frees = True

    def settled(self, source: str, tensor: str, held: Format | None) -> str:
        if held is None:
            return tensor
        lo, hi = (float(v) for v in held.meaning.real([held.lo, held.hi]))
        if lo < 0 or self._within(tensor, lo):  # a range that ends below 0 is that of no ReLU
            return tensor
        return self.builder.clip(tensor, lo, hi if math.isfinite(hi) else math.inf, [], source)

    def _within(self, tensor: str, lo: float) -> bool:
        """Whether nothing in it is below lo: an input or a function gave it, or a limit stands before it."""
        todo, seen = [self.builder.root(tensor)], set[str]()
        while todo:
            made = self.builder.producer(todo.pop())
            limits = limits_of(made) if made is not None else None
            if made is None or made.op in ENDING or (limits is not None and limits[0] >= lo):
                continue
            if made.op not in MOVING:
                return False
            fresh = {self.builder.root(x) for x in self.builder.data(made)} - seen
            seen |= fresh
            todo += fresh
        return True

    def weighs(self, y: Act, weight: Const, node: OnnxNode, left: bool = False) -> None:
        """Weights are real numbers."""

    def moved(self, made: object) -> None:
        """Nothing is held."""

    def finish(self, where: str, output: str) -> str:
        return output
