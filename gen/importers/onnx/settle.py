"""How layers of a quantised ONNX file get its integers: what a Graph's node needs to end in a given format.

QuantizeLinear asks for a tensor in some integers (`Settler.settled`); the nodes that compute it, up to those
whose integers are known, then become ones of integers, or are refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from ...errors import CompileError, shown
from ...ir.format import Format, Scaled
from ...ir.graph import Node
from ...ops import layer
from ...ops._requantise import ONCE
from .._layers import LayerBuilder, limits_of
from .holding import FLOAT_SCALES, WHOLE, Holder, Rows

MOVING = ("clip", "concat", "gather", "maxpool2d", "pad", "reshape", "transpose")
"""Ops whose output needs no other integers than their input."""
FINEST = 12  # n of the steps 2^-n that a softmax is computed in


class Settler(Holder):
    frees = False  # whether it holds nothing in the file's integers

    def __init__(self, builder: LayerBuilder) -> None:
        super().__init__(builder)
        self.scored = ""  # the table that gives the scores in numbers of ours, where one does
        self.settling: Mapping[str, Callable[[str, Node, Format | None], str]] = {
            "add": self._add,
            "add_constant": self._with_constant,
            "affine": self._affine,
            "avgpool2d": self._avgpool,
            "clip": self._moving,
            "concat": self._concat,
            "conv2d": self._weighted,
            "dense": self._weighted,
            "mul": self._mul,
            "mul_constant": self._with_constant,
            "prelu": self._prelu,
            "softmax": self._softmax,
            "table": self._table,
            **dict.fromkeys(("gather", "maxpool2d", "pad", "reshape", "transpose"), self._moving),
        }

    def settled(self, source: str, tensor: str, held: Format | None) -> str:
        """The values of `tensor` in the integers `held`, whatever is needed for it written: its own, or
        another tensor of the same shape. None: of the network's output, whose integers are ours.

        source: who asks
        """
        root = self.builder.root(tensor)
        given = self.builder.held(root)
        if given is not None:
            new = root if held in (None, given) else self._rescaled(source, root, given, held)
        else:
            new = self._made(source, root, held)
        return tensor if new == root else self.builder.view(new, self.builder.shape(tensor))

    def _rescaled(self, source: str, x: str, given: Format, held: Format | None) -> str:
        assert held is not None
        if given.meaning == held.meaning:
            lo, hi = held.meaning.real([held.lo, held.hi]).tolist()
            y = self.builder.clip(x, lo, hi, [], source)
        else:
            y = self.builder.table(x, "identity", [], source)
            self._even(y)
        self.builder.hold(y, held)
        return y

    def _even(self, tensor: str) -> None:
        """The table that gives `tensor` rounds as QuantizeLinear does."""
        made = self.builder.producer(tensor)
        assert made is not None
        self.builder.rewired(made, self.builder.data(made), {**made.attrs, "even": 1})

    def _made(self, source: str, root: str, held: Format | None) -> str:
        made = self.builder.producer(root)
        if made is None:
            if held is None:
                return root
            whole = Format("int8", held.meaning, -128, 127)
            self.builder.hold(root, whole)
            return self.settled(source, root, held)
        settle = self.settling.get(made.op)
        if settle is None:
            raise CompileError(made.source, "is not supported in integers", FLOAT_SCALES)
        return settle(source, made, held)

    def moved(self, made: Node) -> None:
        """Holds what a node only moves in the integers that it had before, if those are the same in all."""
        formats = {self.builder.held(i) for i in self.builder.data(made)}
        held = next(iter(formats)) if len(formats) == 1 else None
        if made.op in MOVING and held is not None and self._fits(made, held):
            self._moves(made, held)

    def _fits(self, made: Node, held: Format) -> bool:
        """Whether what a pad writes is one of these integers."""
        value = made.number("value") if made.op == "pad" else -math.inf
        if value == -math.inf:
            return True
        units = float(held.meaning.real(held.meaning.units(value))) - value
        return abs(units) < WHOLE * held.meaning.step

    def _moves(self, made: Node, held: Format) -> None:
        if (limits := limits_of(made)) is not None:
            self.builder.rewired(made, self.builder.data(made), _on_grid(limits, held))
        self.builder.hold(made.output, held)

    def _moving(self, source: str, made: Node, held: Format | None) -> str:
        """What computes the input makes these integers; they are moved then."""
        x = self.builder.data(made)[0]
        if self.builder.held(x) is None:
            self._alone(made)
            self.inner.add(self.builder.root(x))
            new = self.settled(source, x, held)
            if new != x:
                self.builder.rewired(made, [new])
                made = self._node(made.output)
        if held is not None:
            if not self._fits(made, held):
                what = f"pads with {made.attrs['value']}, which is no number of its output"
                raise CompileError(made.source, what, "pad with 0")
            self._moves(made, held)
        return made.output

    def _affine(self, source: str, made: Node, held: Format | None) -> str:
        """A scale and an offset behind sums become part of them; of integers, an operation on a constant."""
        scale, shift = self.builder.constants(made)
        first, x = made, self.builder.data(made)[0]
        while (before := self._floating(x)) is not None and layer(before.op).scales:
            self._alone(first)
            s, t = self.builder.constants(before)
            scale, shift = scale * s, scale * t + shift
            first, x = before, self.builder.data(before)[0]
        if before is None and held is not None and self.builder.held(x) is None:
            self._raw(first, x, (scale, shift), held)
        if self.builder.held(x) is not None:
            return self.settled(source, self._constant(made, x, scale, shift), held)
        if before is None or not layer(before.op).weighted or not self._quantised(before):
            if held is None:
                return made.output
            raise CompileError(
                source, f"quantises what is computed in float32, by {made.source}", FLOAT_SCALES
            )
        self._alone(first)
        self.inner.add(before.output)
        self._taken_in(made, before, scale, shift)
        return self.builder.view(self._made(source, before.output, held), self.builder.shape(made.output))

    def _raw(self, made: Node, x: str, pair: tuple[Rows, Rows], held: Format) -> None:
        """Holds an input that is scaled before it is quantised, the same for all values, so that its integers
        are those behind it: round(x / (S / s)) + z + round(t / S) for round((s x + t) / S) + z."""
        scale, shift = (float(v.flat[0]) for v in pair)
        (step,), (zero,) = _scaled(held).scale, _scaled(held).zero
        if not all(np.all(v == v.flat[0]) for v in pair) or not scale > 0 or not math.isfinite(shift / step):
            return
        zero += round(shift / step)
        if -128 <= zero <= 127:
            self._alone(made)
            root = self.builder.root(x)
            self.inner.add(root)
            meaning = Scaled((float(np.float32(step / scale)),), (zero,))
            self.builder.hold(root, Format("int8", meaning, -128, 127))

    def _concat(self, source: str, made: Node, held: Format | None) -> str:
        """Each part in the integers of the whole."""
        end = self._end(made, held)
        self.builder.rewired(made, [self.settled(source, part, end) for part in self.builder.data(made)])
        self.builder.hold(made.output, end)
        return made.output

    def _table(self, source: str, made: Node, held: Format | None) -> str:
        if held is None and self._quantised(made):  # the scores are a function of integers
            self.scored = made.output
            return made.output
        end = self._end(made, held)
        self._input(made)
        self._even(made.output)
        self.builder.hold(made.output, end)
        return made.output

    def _softmax(self, source: str, made: Node, held: Format | None) -> str:
        """In steps that are a power of two, and from these to the file's."""
        self._input(made)
        end = self._end(made, held)
        lo, hi = end.meaning.real([end.lo, end.hi]).tolist()
        reach, zero = (-lo, 127) if made.attrs["log"] else (min(hi, 1.0), -128)
        n = min(math.floor(math.log2(255 / max(reach, 2.0**-FINEST))), FINEST)
        self.builder.hold(made.output, Format("int8", Scaled((2.0**-n,), (zero,)), -128, 127))
        return self.settled(source, made.output, held)

    def _avgpool(self, source: str, made: Node, held: Format | None) -> str:
        """A mean; where windows are of several sizes, first in the integers of its input."""
        self._input(made)
        x = self.builder.data(made)[0]
        top, left, bottom, right = padding = made.wholes("padding")
        if any(padding) and made.attrs["count_padding"]:
            wider = self.builder.pad(x, (top, left, bottom, right), 0.0, [], made.source)
            self.builder.hold(wider, self.builder.held(x))
            self.builder.rewired(made, [wider], {**made.attrs, "padding": (0, 0, 0, 0), "count_padding": 0})
            padding = (0, 0, 0, 0)
        if not any(padding):
            self.builder.hold(made.output, held or self.builder.held(x), (), ONCE)
            return made.output
        self.builder.hold(made.output, self.builder.held(x), (), ONCE)
        return self.settled(source, made.output, held)

    def finish(self, where: str, output: str) -> str:
        """The output, all that it needs being held, but for the scores; or nothing held at all."""
        if not self.builder.holds_any:
            if self.weights:
                few = ", ".join(self.weights[:3]) + (", …" if len(self.weights) > 3 else "")
                note = f"weights alone are quantised ({few}): taken as what they stand for"
                self.builder.notes.append(note)
            return output
        made = self.builder.producer(output)
        output = self.builder.flat(self.settled(made.source if made else where, output, None))
        self.builder.in_order(output)
        for node in self.builder.nodes:
            self._checked(node)
        return output

    def _checked(self, node: Node) -> None:
        """CompileError where a node computes in float32 in a network that computes in integers."""
        if self.builder.held(node.output) is not None:
            return
        if "rounds" in node.attrs or node.output == self.scored:
            return
        given = [self.builder.held(i) for i in self.builder.data(node)]
        inputs = [i for i in self.builder.data(node) if self.builder.producer(i) is None]
        if any(g is not None for g in given):
            raise CompileError(node.source, "computes in float32 what it reads in int8", FLOAT_SCALES)
        if inputs:
            what = f'reads input "{shown(inputs[0])}" in float32, in a network that computes in int8'
            raise CompileError(node.source, what, FLOAT_SCALES)


def _scaled(held: Format) -> Scaled:
    assert isinstance(held.meaning, Scaled)
    return held.meaning


def _on_grid(limits: tuple[float, float], held: Format) -> dict[str, float]:
    """Limits as the integers next to them have them, ties to even."""
    lo, hi = (v if math.isinf(v) else float(held.meaning.real(held.meaning.units(v))) for v in limits)
    return {"lo": lo, "hi": hi}
