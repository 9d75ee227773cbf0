"""Quantised ONNX networks: QuantizeLinear, DequantizeLinear and what stands on integers between them.

An activation is one tensor of the Graph before and behind both: QuantizeLinear says how it is held
(`Tensor.format`), DequantizeLinear says nothing new. Operators between them are read as those of a float
network; settle.py gives them integers. What only moves numbers is held as what it moves.

uint8 is held as int8, its zero point less 128: the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import CompileError, shown
from ...ir.format import Format, Scaled
from .file import AGAIN, DAMAGED, OnnxNode
from .fold import axis as counted
from .holding import FLOAT_SCALES
from .layers import (
    Act,
    Const,
    Operand,
    Scope,
    activation,
    constant,
    matmul,
    scaled,
)
from .pairs import aligned, common_shape
from .qlinear import ENDS
from .settle import Settler
from .spatial import conv

STATIC = "quantise with calibration data (onnxruntime: quantize_static), so that all scales are constants"
BREVITAS = ("onnx.brevitas", "qonnx.custom_op.general", "finn.custom_op.general")
INTEGER = ("ConvInteger", "MatMulInteger")
DYNAMIC = ("DynamicQuantizeLinear", "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "DynamicQuantizeLSTM")
ON_INTEGERS = (
    *("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Dropout"),
    *("MaxPool", "Concat", "Gather", "Slice", "Split", "Pad", "Clip", "Resize", "ArgMax"),
)
"""What may work on integers as it does on what they stand for."""
VIEWS = ("Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze", "Expand", "Slice")
"""Of constants: the scales go the same way as the numbers."""
TYPES = ("int8", "uint8")
WIDE = ("int16", "uint16")  # of activations that are taken as real numbers
Fold = Callable[[Sequence[NDArray[Any] | None]], NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Integers:
    """The integers of an activation in the file: v stands for (v - zero) * scale."""

    dtype: str
    scale: float
    zero: int

    @property
    def offset(self) -> int:
        return 0 if self.dtype.startswith("int") else np.iinfo(self.dtype).max // 2 + 1

    @property
    def held(self) -> Format:
        kind = self.dtype.removeprefix("u")
        ends = np.iinfo(kind)
        meaning = Scaled((self.scale,), (self.zero - self.offset,))
        return Format(kind, meaning, int(ends.min), int(ends.max))


class Quant:
    """What of one file's import is about integers."""

    def __init__(self, settler: Settler) -> None:
        self.settler, self.builder = settler, settler.builder
        self.integers: dict[str, Integers] = {}  # by what the file calls the value
        self.inputs: dict[str, str] = {}  # inputs of integers: tensor, and type
        self.floats: dict[str, Integers] = {}  # what was computed in float32 before it was quantised

    def value(self, scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act | Const | None:
        """The result of an operator that is about integers; None if `node` is none."""
        if node.op in DYNAMIC:
            raise node.error("takes its scale from each input anew", STATIC)
        acts = any(isinstance(a, Act) for a in args)
        if node.domain in BREVITAS:
            return self._brevitas(node, args) if node.op == "Quant" else None
        if node.domain:
            return None
        if node.op in ENDS:
            return (self._quantize if node.op == ENDS[0] else self._dequantize)(node, args)
        if not acts:
            return self._constant(node, args)
        if node.op in INTEGER:
            return self._product(scope, node, args)
        return self._pair(scope, node, args)

    def ready(self, node: OnnxNode, args: Sequence[Operand]) -> list[Operand]:
        """The operands of a float operator; of one that works on integers, what its constants stand for."""
        self._unmixed(node, args)
        kinds = [self.integers.get(name) for name in node.inputs[: len(args)]]
        given = next((k for k in kinds if k is not None), None)
        if given is None or any(isinstance(a, Act) and a.stage != "layer" for a in args):
            return list(args)
        if node.op not in ON_INTEGERS:
            hint = f"put DequantizeLinear in front of it; on integers work {', '.join(ON_INTEGERS)}"
            raise node.error(f"works on {given.dtype}", hint)
        if node.op == "Concat" and any(k != given for k in kinds):
            raise node.error("joins integers of several scales", "put DequantizeLinear in front of it")
        ready = list(args)
        if node.op == "Pad" and len(ready) < 3:
            ready += [None] * (3 - len(ready))
        if node.op == "Pad" and ready[2] is None:
            ready[2] = Const(np.zeros((), given.dtype), "0")
        steered = {"Pad": (2,), "Clip": (1, 2)}.get(node.op, ())
        for i in steered:
            c = ready[i] if i < len(ready) else None
            if isinstance(c, Const):
                real = (c.value.astype(np.float64) - given.zero) * given.scale
                ready[i] = c._replace(value=real.astype(np.float32))
        return ready

    def _unmixed(self, node: OnnxNode, args: Sequence[Operand]) -> None:
        """CompileError where `node` reads in float32 what became integers on the way to a QuantizeLinear."""
        for name, a in zip(node.inputs, args, strict=False):
            if isinstance(a, Act) and a.stage == "layer" and node.op not in VIEWS:
                inner = self.builder.root(a.tensor) in self.settler.inner
                if inner or name in self.floats:
                    raise node.error(
                        f'reads "{shown(name)}" in float32, which is quantised as well', FLOAT_SCALES
                    )

    def done(self, node: OnnxNode, args: Sequence[Operand], y: Act, written: int) -> None:
        """Keeps the scales of a layer's weight, and holds what the nodes behind the first `written` only move
        as it was held before."""
        constants = args[1:2] if node.op in ("Conv", "Gemm") else args
        weight = next((a for a in constants if isinstance(a, Const) and a.steps is not None), None)
        if weight is not None:
            self.settler.weighs(y, weight, node, isinstance(args[0], Const))
        for made in self.builder.nodes[written:]:
            self.settler.moved(made)
        given = next((self.integers[n] for n in node.inputs if n in self.integers), None)
        if given is not None and y.stage == "layer":
            for name in node.outputs:
                self.integers[name] = given
            self.settler.settled(node.source, y.tensor, given.held)

    def folded(self, node: OnnxNode, args: Sequence[Operand], run: Fold) -> NDArray[np.float64] | None:
        """The scales of a constant that is another view of one with scales."""
        first = args[0] if args else None
        if node.op not in VIEWS or not isinstance(first, Const) or first.steps is None:
            return None
        rest = [a.value if isinstance(a, Const) else None for a in args[1:]]
        return np.asarray(run([first.steps, *rest]), np.float64)

    def _numbers(
        self, node: OnnxNode, args: Sequence[Operand], dtype: str | None
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], str]:
        """Scales, zero points as many, and the type of the integers."""
        if node.integer("block_size", 0):
            raise node.error("has a scale for each block", "quantise per tensor or per channel")
        scale, zero = constant(node, args, 1, "scale"), constant(node, args, 2, "zero point")
        if scale is None or scale.dtype.kind != "f" or scale.ndim > 1 or scale.size == 0:
            found = "is missing" if scale is None else f"is {scale.dtype.name} of shape {scale.shape}"
            raise node.error(f"its scale {found}", "one scale, or one a channel, in float32 or float16")
        if not (np.all(np.isfinite(scale)) and np.all(scale > 0)):
            raise node.error("has a scale that is no positive number", DAMAGED)
        if zero is None:
            return scale.astype(np.float64), np.zeros(scale.shape, np.int64), dtype or "uint8"
        if (
            zero.dtype.kind not in "iu"
            or zero.size != scale.size
            or (dtype or zero.dtype.name) != zero.dtype.name
        ):
            what = f"its zero point is {zero.dtype.name} of shape {zero.shape}, its scale has {scale.shape}"
            raise node.error(what, DAMAGED)
        return scale.astype(np.float64), zero.astype(np.int64).reshape(scale.shape), zero.dtype.name

    def _one(self, node: OnnxNode, args: Sequence[Operand], dtype: str | None) -> Integers:
        """The integers of an activation."""
        scale, zero, kind = self._numbers(node, args, dtype)
        if scale.size > 1:
            raise node.error(f"gives an activation {scale.size} scales", "quantise activations per tensor")
        if kind not in self._types():
            raise node.error(f"holds an activation in {kind}", "quantise activations to int8 or uint8")
        return Integers(kind, float(scale.reshape(-1)[0]), int(zero.reshape(-1)[0]))

    def _quantize(self, node: OnnxNode, args: Sequence[Operand]) -> Act | Const:
        x = args[0] if args else None
        if isinstance(x, Const):
            return self._written(node, args, x)
        act = activation(node, args)
        if act.stage != "layer":
            return act
        if node.inputs[0] in self.integers:
            raise node.error("quantises integers", DAMAGED)
        given = self._one(node, args, None)
        self.integers[node.outputs[0]] = given
        if not self.settler.frees:
            self._once(node, act, given)
        return replace(act, tensor=self.settler.settled(node.source, act.tensor, given.held))

    def _once(self, node: OnnxNode, x: Act, given: Integers) -> None:
        """CompileError where what is computed in float32 is quantised in two ways, or read as it is."""
        root, name = self.builder.root(x.tensor), node.inputs[0]
        fresh = self.builder.held(root) is None
        if self.floats.get(name, given) != given or root in self.settler.inner:
            raise node.error(f'"{shown(name)}" is quantised in another way as well', FLOAT_SCALES)
        if fresh and self.builder.readers(root):
            raise node.error(f'"{shown(name)}" is read in float32 as well', FLOAT_SCALES)
        if fresh:
            self.floats[name] = given

    def _dequantize(self, node: OnnxNode, args: Sequence[Operand]) -> Act | Const:
        x = args[0] if args else None
        if isinstance(x, Const):
            return self._stored(node, args, x)
        act = activation(node, args)
        if act.stage != "layer":
            return act
        root = self.builder.root(act.tensor)
        written = self.integers.get(node.inputs[0])
        dtype = self.inputs.get(root) if written is None else written.dtype
        if dtype is None:
            raise node.error("its input is float32 already", AGAIN)
        given = self._one(node, args, dtype if len(args) > 2 and args[2] is not None else None)
        given = replace(given, dtype=dtype)
        if written is None and self.builder.held(root) is None:
            self.builder.hold(root, given.held)
        if (self.builder.held(root) != given.held and (written or given) != given) or written not in (
            None,
            given,
        ):
            raise node.error("reads integers with another scale than they were written with", AGAIN)
        return act

    def _types(self) -> tuple[str, ...]:
        return (*TYPES, *WIDE) if self.settler.frees else TYPES

    def _written(self, node: OnnxNode, args: Sequence[Operand], x: Const) -> Const:
        """QuantizeLinear of a constant."""
        scale, zero, kind = self._numbers(node, args, None)
        if kind not in self._types() or x.value.dtype.kind != "f":
            raise node.error(
                f"makes {kind} of the {x.value.dtype.name} {x.name}", "quantise to int8 or uint8"
            )
        ends = np.iinfo(kind)
        each, zeros = (self._along(node, v, x.value.shape) for v in (scale, zero))
        nearest = np.rint(x.value.astype(np.float32) / each.astype(np.float32)) + zeros
        return Const(np.clip(np.nan_to_num(nearest), ends.min, ends.max).astype(kind), x.name)

    def _stored(self, node: OnnxNode, args: Sequence[Operand], x: Const) -> Const:
        """DequantizeLinear of a constant: weights and biases."""
        if x.value.dtype.kind not in "iu":
            raise node.error(f"{x.name} is {x.value.dtype.name}", "quantise weights to int8")
        scale, zero, _ = self._numbers(node, args, x.value.dtype.name)
        each, zeros = (self._along(node, v, x.value.shape) for v in (scale, zero))
        whole = x.value.astype(np.int64) - zeros
        real = whole * each  # float32 as in the file, where that holds the integers
        kind = np.float32 if np.abs(whole).max(initial=0) < 1 << 24 else np.float64
        steps = np.broadcast_to(each, x.value.shape).astype(np.float64)
        return Const(real.astype(kind), x.name.removesuffix("_quantized"), steps)

    def _along(self, node: OnnxNode, v: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """A number for all, or one each along the node's axis, to be broadcast over `shape`."""
        if v.size == 1:
            return v.reshape(())
        try:
            at = counted(node.integer("axis", 1), len(shape))
        except ValueError as error:
            raise node.error(str(error), AGAIN) from None
        if shape[at] != v.size:
            raise node.error(f"has {v.size} scales along axis {at} of shape {shape}", DAMAGED)
        return v.reshape([-1 if i == at else 1 for i in range(len(shape))])

    def _constant(self, node: OnnxNode, args: Sequence[Operand]) -> Const | None:
        """Clip of constant integers, as Brevitas writes narrow ranges."""
        x = args[0] if args else None
        if node.op != "Clip" or not isinstance(x, Const) or x.value.dtype.kind not in "iu":
            return None
        ends = [constant(node, args, i, "limit") for i in (1, 2)]
        value = x.value
        for end, limit in zip(ends, (np.maximum, np.minimum), strict=True):
            if end is not None and end.size != 1:
                raise node.error(f"has a limit of shape {end.shape}", AGAIN)
            value = value if end is None else limit(value, end.reshape(()).astype(value.dtype))
        return x._replace(value=value)

    def _brevitas(self, node: OnnxNode, args: Sequence[Operand]) -> Act | Const:
        """Brevitas' and QONNX's own node: quantises and dequantises, with any number of bits."""
        if node.string("rounding_mode", "ROUND").upper() not in ("ROUND", "HALF_EVEN"):
            raise node.error(f"rounds by {node.string('rounding_mode', '')[:20]!r}", 'supported is "ROUND"')
        scale, zero, bits = (
            constant(node, args, i, r) for i, r in enumerate(("scale", "zero point", "width"), 1)
        )
        if scale is None or zero is None or bits is None or bits.size != 1 or scale.dtype.kind != "f":
            raise node.error("its scale, zero point or bit width is missing or no number", STATIC)
        if not (np.all(np.isfinite(scale)) and np.all(scale > 0)) or not np.all(zero == np.rint(zero)):
            raise node.error(
                "has a scale that is no positive number, or a zero point that is not whole", AGAIN
            )
        width, signed = float(bits.reshape(-1)[0]), int(bool(node.integer("signed", 1)))
        narrow = int(bool(node.integer("narrow", 0)))
        if width not in range(1 + signed, 9):
            raise node.error(f"has {width:g} bits", "quantise to at most 8 bits")
        top = (1 << (int(width) - signed)) - 1
        lo, hi = (-top - 1 + narrow, top) if signed else (0, top - narrow)
        x = args[0] if args else None
        if isinstance(x, Const):
            return self._narrow(node, x, (scale.astype(np.float64), zero.astype(np.float64)), (lo, hi))
        act = activation(node, args)
        if act.stage != "layer":
            return act
        if scale.size != 1 or zero.size != 1:
            raise node.error(f"gives an activation {scale.size} scales", "quantise activations per tensor")
        if not lo <= zero.reshape(-1)[0] <= hi:
            raise node.error(f"has the zero point {zero.reshape(-1)[0]:g} beyond {lo} .. {hi}", AGAIN)
        offset, z = 128 if hi > 127 else 0, int(zero.reshape(-1)[0])
        meaning = Scaled((float(scale.reshape(-1)[0]),), (z - offset,))
        held = Format("int8", meaning, lo - offset, hi - offset)
        return replace(act, tensor=self.settler.settled(node.source, act.tensor, held))

    @staticmethod
    def _narrow(
        node: OnnxNode, x: Const, pair: tuple[NDArray[np.float64], ...], ends: tuple[int, int]
    ) -> Const:
        try:
            scale, zero = (np.broadcast_to(v, x.value.shape) for v in pair)
        except ValueError:
            what = f"its scale has shape {pair[0].shape}, its weight {x.value.shape}"
            raise node.error(what, AGAIN) from None
        whole = np.clip(np.rint(x.value.astype(np.float64) / scale + zero), *ends) - zero
        return Const((whole * scale).astype(np.float32), x.name, scale)

    def _product(self, scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
        """ConvInteger, MatMulInteger: int32 sums, that is real ones over the scale of x."""
        x, given = activation(node, args), self.integers.get(node.inputs[0])
        weight = args[1] if len(args) > 1 else None
        if given is None or not isinstance(weight, Const) or weight.value.dtype.name not in TYPES:
            raise node.error(
                "takes no int8 or uint8 activation and constant weight", "put QuantizeLinear before it"
            )
        zeros = [constant(node, args, i, "zero point") for i in (2, 3)]
        zero = 0 if zeros[0] is None else int(zeros[0].reshape(-1)[0]) if zeros[0].size == 1 else -1
        if zero != given.zero:
            raise node.error(f"takes {zero} for the zero point of its input, which has {given.zero}", AGAIN)
        shift: NDArray[Any] = np.zeros((), np.int64) if zeros[1] is None else zeros[1].astype(np.int64)
        if shift.size > 1 and node.op == "ConvInteger":
            shift = shift.reshape(-1, *(1 for _ in weight.value.shape[1:]))
        elif shift.size == 1:
            shift = shift.reshape(())
        try:
            whole = np.asarray(weight.value.astype(np.int64) - shift)
        except ValueError:
            raise node.error(f"its weight has {shift.size} zero points", AGAIN) from None
        real = Const(whole.astype(np.float32), weight.name, np.ones(whole.shape))
        like = replace(node, op=node.op.removesuffix("Integer"), inputs=node.inputs[:2])
        y = (conv if like.op == "Conv" else matmul)(scope, like, [x, real])
        self.settler.weighs(y, real, like)
        return scaled(scope, like, y, 1.0 / given.scale)

    def _pair(self, scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act | None:
        """A product of two activations that are held already: no function of one of them."""
        acts = [a for a in args if isinstance(a, Act)]
        if node.op != "Mul" or len(acts) != 2 or any(a.stage != "layer" for a in acts):
            return None
        if any(self.builder.held(self.builder.root(a.tensor)) is None for a in acts):
            return None
        self._unmixed(node, args)
        shape = common_shape(*acts)
        if shape is None:
            return None
        parts = [replace(a, places=a.places.reshape(shape)) for a in acts]
        left, right, places = aligned(scope, node, parts)
        return Act(self.builder.product(left, right, [], node.source), places)

    def input(self, tensor: str, dtype: str) -> None:
        """An input of the network is integers, whose scale DequantizeLinear will say."""
        self.inputs[tensor] = dtype

    def finish(self, where: str, output: str) -> str:
        """The network's output, once all that it needs is held in integers or nothing is."""
        for tensor, dtype in self.inputs.items():
            if self.builder.held(tensor) is None:
                what = f"is {dtype}, and no DequantizeLinear says what it stands for"
                raise CompileError(f'input "{shown(tensor)}"', what, FLOAT_SCALES)
        return self.settler.finish(where, output)
