"""Whole numbers of a TensorFlow Lite file that follow from shapes: what converters leave in a file of fixed
shapes, as in front of TRANSPOSE_CONV and RESHAPE."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tflite.ConcatenationOptions import ConcatenationOptions
from tflite.GatherOptions import GatherOptions
from tflite.PackOptions import PackOptions

from ...ir.format import Scaled
from ...ir.quantiser import AffineQuantiser
from ...ops._litert import scaled
from ...ops._litert_pairs import COMPARISONS
from .file import AGAIN, DAMAGED, LiteOp, LiteTensor
from .scope import Act, Operand, Scope, axis
from .slices import cuts

Whole = NDArray[np.int64]
INTEGERS = ("int32", "int64")


def _joined(op: LiteOp, args: Sequence[Operand], values: Sequence[Whole]) -> Whole:
    at = axis(op, op.number(op.read(ConcatenationOptions).Axis), values[0].ndim)
    return np.concatenate(values, at)


def _stacked(op: LiteOp, args: Sequence[Operand], values: Sequence[Whole]) -> Whole:
    return np.stack(values, axis(op, op.number(op.read(PackOptions).Axis), values[0].ndim + 1))


def _taken(op: LiteOp, args: Sequence[Operand], values: Sequence[Whole]) -> Whole:
    at = axis(op, op.number(op.read(GatherOptions).Axis), values[0].ndim)
    return np.take(values[0], values[1], at)


def _sliced(op: LiteOp, args: Sequence[Operand], values: Sequence[Whole]) -> Whole:
    y = values[0]
    for at, places in cuts(op, args, values[0].shape):
        y = y.take(places, at)
    return y


def _of_two(compute: Callable[..., Any]) -> Callable[..., Whole]:
    def made(op: LiteOp, args: Sequence[Operand], values: Sequence[Whole]) -> Whole:
        left, right = values
        return np.asarray(compute(left, right), np.int64)

    return made


def _product(op: LiteOp, args: Sequence[Operand], values: Sequence[Whole]) -> Whole:
    return np.asarray(np.prod(values[0], axis=tuple(values[1].reshape(-1).tolist())), np.int64)


def _same(op: LiteOp, args: Sequence[Operand], values: Sequence[Whole]) -> Whole:
    return values[0]


FOLDS: Mapping[str, Callable[[LiteOp, Sequence[Operand], Sequence[Whole]], Whole]] = {
    "ADD": _of_two(np.add),
    "CAST": _same,
    "CONCATENATION": _joined,
    "EXPAND_DIMS": _same,
    "GATHER": _taken,
    "MUL": _of_two(np.multiply),
    "PACK": _stacked,
    "REDUCE_PROD": _product,
    "RESHAPE": _same,
    "SQUEEZE": _same,
    "STRIDED_SLICE": _sliced,
    "SUB": _of_two(np.subtract),
}
"""By operator: its whole numbers, in the shape that the file says."""


def _filled(op: LiteOp, args: Sequence[Operand], values: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return np.full(values[0].reshape(-1).tolist(), values[1].reshape(-1)[0])


def _tiled(op: LiteOp, args: Sequence[Operand], values: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return np.tile(values[0], values[1].reshape(-1).tolist())


def _spread(op: LiteOp, args: Sequence[Operand], values: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return np.broadcast_to(values[0], values[1].reshape(-1).tolist())


def _shaped(op: LiteOp, args: Sequence[Operand], values: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return values[0].reshape(op.outputs[0].shape)


def _turned(op: LiteOp, args: Sequence[Operand], values: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return values[0].transpose(values[1].reshape(-1).tolist())


MOVES: Mapping[str, Callable[[LiteOp, Sequence[Operand], Sequence[NDArray[Any]]], NDArray[Any]]] = {
    "BROADCAST_TO": _spread,
    "EXPAND_DIMS": _shaped,
    "FILL": _filled,
    "RESHAPE": _shaped,
    "SQUEEZE": _shaped,
    "TILE": _tiled,
    "TRANSPOSE": _turned,
}
"""By operator: a constant of any type, moved or repeated."""


TRUTHS: Mapping[str, Callable[..., Any]] = {
    "LOGICAL_AND": np.logical_and,
    "LOGICAL_NOT": np.logical_not,
    "LOGICAL_OR": np.logical_or,
    **COMPARISONS,
}

FOLDED = (*TRUTHS, "BROADCAST_TO", "FILL", "ZEROS_LIKE")  # of constants alone


def _truth(op: LiteOp, values: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """A truth value of constants, which may be stretched."""
    try:
        shape = np.broadcast_shapes(*(v.shape for v in values))
        if math.prod(shape) != op.outputs[0].size:
            raise ValueError(f"shape {shape}")
        return np.asarray(TRUTHS[op.op](*values), np.bool_)
    except (ValueError, TypeError) as error:
        raise op.error(f"its constants do not fit ({error})", DAMAGED) from None


def constant(op: LiteOp, args: Sequence[Operand]) -> LiteTensor | None:
    """The output of an operator that moves or repeats a constant, or quantises one; None if it is no such."""
    out = op.outputs[0]
    known = [a for a in args if isinstance(a, LiteTensor) and a.value is not None]
    data = known[-1] if op.op == "FILL" and known else known[0] if known else None
    if data is None or len(known) != len(args) or len(op.outputs) != 1:
        return None
    values = [np.asarray(a.value) for a in known]
    if op.op in TRUTHS and out.kind == "bool" and not any(a.scaled for a in known):
        return replace(out, value=_truth(op, values).reshape(out.shape))
    if data.kind in INTEGERS:
        return None
    if op.op == "QUANTIZE" and out.kind in ("int8", "int16"):
        value = _quantised(op, data)
    elif op.op in MOVES and out.kind == data.kind and out.scaled == data.scaled and data.size > 0:
        sizes = values[1 if op.op in ("BROADCAST_TO", "TILE") else 0]
        if op.op in ("BROADCAST_TO", "FILL", "TILE") and _beyond(op, sizes, data):
            raise op.error("makes a constant of another size than the file says", DAMAGED)
        try:
            value = MOVES[op.op](op, args, values)
        except (ValueError, IndexError, TypeError) as error:
            raise op.error(f"its constants do not fit ({error})", DAMAGED) from None
    else:
        return None
    if value.size != out.size:
        raise op.error(f"makes {value.size} values, the file says shape {out.shape}", DAMAGED)
    return replace(out, value=np.array(value.reshape(out.shape)))


def _beyond(op: LiteOp, sizes: NDArray[Any], data: LiteTensor) -> bool:
    """Whether whole numbers ask for another size than the output has: before memory is taken for it."""
    if sizes.dtype.kind not in "iu" or np.any(sizes < 0):
        return True
    made = math.prod(int(n) for n in sizes.reshape(-1)) * (data.size if op.op == "TILE" else 1)
    return made != op.outputs[0].size


def _quantised(op: LiteOp, data: LiteTensor) -> NDArray[Any]:
    """QUANTIZE of a constant."""
    held = Scope.format(op, op.outputs[0])
    assert held is not None and data.value is not None
    meaning = held.meaning
    assert isinstance(meaning, Scaled)
    if data.kind == "float32":
        found = AffineQuantiser(meaning.scale[0], meaning.zero[0]).units(data.value)
        return np.clip(np.where(np.isnan(found), held.lo, found), held.lo, held.hi).astype(held.dtype)
    if data.kind not in ("int8", "int16") or data.scaled is None or len(data.scaled.scale) != 1:
        raise op.error(f"quantises a constant in {data.kind}", AGAIN)
    whole = data.value.astype(np.int64) - data.scaled.zero[0]
    made = scaled(whole, data.scaled.scale[0] / meaning.scale[0], op.source) + meaning.zero[0]
    return np.clip(made, held.lo, held.hi).astype(held.dtype)


def zeros(op: LiteOp) -> LiteTensor | None:
    """The output of ZEROS_LIKE in float32 or whole numbers; None if it is none."""
    out = op.outputs[0]
    if op.op != "ZEROS_LIKE" or out.kind not in ("float32", *INTEGERS) or out.dtype is None:
        return None
    return replace(out, value=np.zeros(out.shape, out.dtype))


def fold(op: LiteOp, args: Sequence[Operand]) -> LiteTensor | None:
    """The output of SHAPE, of an operator of whole numbers that are known, or of one that only moves a
    constant; None if it is no such one."""
    if (found := zeros(op) or constant(op, args)) is not None:
        return found
    out = op.outputs[0]
    if out.kind not in INTEGERS or len(op.outputs) != 1:
        return None
    value: Whole
    if op.op == "SHAPE" and isinstance(args[0] if args else None, Act | LiteTensor):
        value = np.array(args[0].shape, np.int64)  # type: ignore[union-attr]
    else:
        known = [a for a in args if isinstance(a, LiteTensor) and a.value is not None]
        if op.op not in FOLDS or not known or len(known) != len(args):
            return None
        values = [np.asarray(a.value) for a in known]
        if any(v.dtype.kind not in "iu" for v in values):
            return None
        try:
            value = FOLDS[op.op](op, args, [v.astype(np.int64) for v in values])
        except (ValueError, IndexError, TypeError) as error:
            raise op.error(f"its whole numbers do not fit ({error})", DAMAGED) from None
    if value.size != out.size:
        raise op.error(f"makes {value.size} numbers, the file says shape {out.shape}", DAMAGED)
    assert out.dtype is not None
    return replace(out, value=value.reshape(out.shape).astype(out.dtype))
