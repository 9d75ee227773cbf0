"""QUANTIZE and DEQUANTIZE: between float numbers, of a caller or of a constant, and the file's integers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from tflite.SoftmaxOptions import SoftmaxOptions

from ...ir.format import Format, Scaled
from .file import AGAIN, LiteOp, LiteTensor
from .scope import Act, Operand, Scope, activation, names

VIEWS = ("EXPAND_DIMS", "RESHAPE", "SQUEEZE")
HEADS = ("LOG_SOFTMAX", "SOFTMAX")
AT_THE_END = ("DEQUANTIZE", *HEADS, *VIEWS)
"""What may stand behind DEQUANTIZE: it changes neither the class nor, of integers, the bytes."""
BEHIND_A_HEAD = ("DEQUANTIZE", *VIEWS)
UINT8 = 128  # by how much a number of uint8 is more than the same one of int8
FULLY = "convert the whole network to int8 (full integer quantisation), or to float32"


def read_as(tensor: LiteTensor, readers: Mapping[int, Sequence[LiteOp]]) -> Format | None:
    """How an input of float32 or uint8 is held, if all that reads it, through views, is QUANTIZE to one
    format: then the input's quantiser is that QUANTIZE; of uint8 it must only take 128 off. None if something
    else reads it."""
    found, todo = dict[Format, None](), [tensor.index]
    while todo:
        for op in readers.get(todo.pop(), ()):
            if op.op in VIEWS:
                if op.outputs[0].scaled != tensor.scaled:
                    return None
                todo.append(op.outputs[0].index)
                continue
            held = Scope.format(op, op.outputs[0]) if op.op == "QUANTIZE" else None
            if held is None:
                return None
            found[held] = None
    held = next(iter(found)) if len(found) == 1 else None
    return held if tensor.kind != "uint8" or (held and signed(tensor) == held) else None


def signed(tensor: LiteTensor) -> Format | None:
    """How int8 holds the numbers of a uint8 tensor: all of them less 128. None if it has no one scale."""
    scaled = tensor.scaled
    if tensor.kind != "uint8" or scaled is None or len(scaled.scale) != 1 or len(scaled.zero) != 1:
        return None
    return Format("int8", Scaled(scaled.scale, (scaled.zero[0] - UINT8,)), -128, 127)


def quantize(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """QUANTIZE of an input, which the input's quantiser does already; between integers; or to uint8 at the
    end, where the scores stay the int8 that they are."""
    x = activation(op, args)
    if op.outputs[0].kind == "uint8" and x.format is not None and signed(op.outputs[0]) == x.format:
        return replace(x, shape=op.outputs[0].shape)
    held = Scope.format(op, op.outputs[0])
    if x.format is None:
        raise op.error("quantises what the network computes in float32", FULLY)
    out = op.outputs[0]
    shape = out.shape if out.size == x.size else x.shape  # what the file leaves to the run
    if x.format != held:
        if op.between:
            return scope.made(op, tabled(scope, op, x, "identity"))
        exact = "int16" in (x.format.dtype, out.kind)
        name = scope.builder.table(x.tensor, "identity", names(op), op.source, exact=exact)
        scope.builder.hold(name, held)
        return Act(name, shape, held)
    return replace(x, shape=shape)


def tabled(scope: Scope, op: LiteOp, x: Act, fn: str, alpha: float = 0.0) -> str:
    """The function `fn` of each value; in float32 where the file has it between DEQUANTIZE and QUANTIZE."""
    if op.between:
        return between(scope, x.tensor, fn, names(op), op.source, alpha)
    return scope.builder.table(x.tensor, fn, names(op), op.source, alpha)


def between(scope: Scope, x: str, fn: str, hints: Sequence[str], source: str, alpha: float = 0.0) -> str:
    """A function of integers that is computed in float32."""
    builder = scope.builder
    y = builder.table(x, fn, hints, source, alpha)
    node = builder.producer(y)
    assert node is not None
    builder.rewired(node, builder.data(node), {**node.attrs, "between": 1})
    return y


def opposite(scope: Scope, op: LiteOp, x: str) -> str:
    """-x. In integers v becomes -1 - v, which is exact: their zero point is the other one's, too."""
    build, held = scope.builder, scope.builder.held(x)
    if held is None:
        size = math.prod(build.shape(x))
        return build.affine(x, -np.ones(size), np.zeros(size), [], op.source)
    meaning = held.meaning
    assert isinstance(meaning, Scaled)
    y = between(scope, x, "neg", [], op.source)
    other = Scaled(meaning.scale, (-1 - meaning.zero[0],))
    build.hold(y, Format(held.dtype, other, -1 - held.hi, -1 - held.lo))
    return y


def dequantize(scope: Scope, op: LiteOp, args: Sequence[Operand]) -> Act:
    """DEQUANTIZE at the end: the scores stay the integers they are, which stand for the same numbers."""
    x = activation(op, args)
    if x.format is None:
        raise op.error("its input is float32 already", AGAIN)
    return replace(x, shape=op.outputs[0].shape)


def head(op: LiteOp, x: Act) -> Act:
    """SOFTMAX, LOG_SOFTMAX in float32 of what was integers, at the end: neither changes the class."""
    if op.op == "SOFTMAX" and not op.real(op.read(SoftmaxOptions).Beta) > 0:
        raise op.error("has a beta that is not positive", AGAIN)
    if not x.shape or x.size != x.shape[-1]:
        raise op.error(f"works on several vectors: its input has shape {x.shape}", "classify one at a time")
    return replace(x, head="softmax")


def dequantized(op: LiteOp, tensor: LiteTensor) -> LiteTensor:
    """DEQUANTIZE of a constant: the weights of a float network in float16, or in integers with scales."""
    assert tensor.value is not None
    out = op.outputs[0]
    if out.shape != tensor.shape or out.kind != "float32":
        raise op.error(f"makes {out.kind} {out.shape} of {tensor.kind} {tensor.shape}", AGAIN)
    if tensor.kind == "float16":
        return replace(out, value=tensor.value.astype(np.float32))
    if tensor.scaled is None or tensor.kind not in ("int8", "int16", "uint8"):
        raise op.error(f"{tensor.label} is {tensor.kind} without a scale", AGAIN)
    return replace(out, value=tensor.real())


def scores_of(op: LiteOp | None) -> LiteTensor | None:
    """What ARG_MAX at the end is of: one vector of scores, whose winner the chip gives anyway. None for what
    is no such operator; CompileError where it is of several vectors."""
    if op is None or op.op != "ARG_MAX" or len(op.inputs) != 2:
        return None
    x, over = op.inputs
    if x is None or over is None or over.value is None or over.size != 1 or not x.shape:
        return None
    if over.kind not in ("int32", "int64"):
        raise op.error(f"its axis is {over.kind}", AGAIN)
    at = int(over.value.reshape(-1)[0])
    if at not in (-1, len(x.shape) - 1) or x.size != x.shape[-1]:
        what = f"takes the largest along axis {at} of shape {x.shape}"
        raise op.error(what, "at the end it may be over the classes: leave it out, or take it off the file")
    return x


def refuse_mixed(op: LiteOp, args: Sequence[Operand]) -> None:
    """CompileError where `op` computes in float on what was integers, or on a network's probabilities."""
    for tensor, x in zip(op.inputs, args, strict=False):
        if not isinstance(x, Act) or tensor is None:
            continue
        if x.format is not None and tensor.kind == "float32" and op.op not in ("QUANTIZE", *AT_THE_END):
            what = f"computes in float32, in a network that computes in {x.format.dtype} before it"
            raise op.error(what, FULLY)
        if x.format is not None and tensor.kind == "uint8" and op.op not in ("QUANTIZE", *AT_THE_END):
            hint = "uint8 is taken at the ends alone: convert with int8 inside"
            raise op.error(f"computes on {tensor.label} in uint8", hint)
        if x.head != "none" and op.op not in BEHIND_A_HEAD:
            what = f"works on the result of {x.head}, which belongs to the end"
            raise op.error(what, f"behind it may stand {', '.join(BEHIND_A_HEAD)}")


def softened(ops: Sequence[LiteOp], kept: Sequence[LiteTensor]) -> frozenset[int]:
    """The tensors that nothing but SOFTMAX reads, through views that keep its rows. kept: outputs."""
    readers: dict[int, list[LiteOp]] = {}
    for op in ops:
        for t in op.inputs:
            readers.setdefault(-1 if t is None else t.index, []).append(op)
    found, outside = set[int](), {t.index for t in kept}

    def softens(op: LiteOp, x: LiteTensor) -> bool:
        y = op.outputs[0]
        if op.op in VIEWS:
            return y.index in found and x.shape[-1:] == y.shape[-1:]
        return op.op == "SOFTMAX" and op.real(op.read(SoftmaxOptions).Beta) >= 1.0

    for op in reversed(ops):
        for x in op.outputs:
            read = readers.get(x.index, ())
            if read and x.index not in outside and all(softens(r, x) for r in read):
                found.add(x.index)
    return frozenset(found)
