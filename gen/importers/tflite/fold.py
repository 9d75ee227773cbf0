"""Whole numbers of a TensorFlow Lite file that follow from shapes: what converters leave in a file of fixed
shapes, as in front of TRANSPOSE_CONV and RESHAPE."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tflite.ConcatenationOptions import ConcatenationOptions
from tflite.GatherOptions import GatherOptions
from tflite.PackOptions import PackOptions

from .file import DAMAGED, LiteOp, LiteTensor
from .scope import Act, Operand, axis
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


def fold(op: LiteOp, args: Sequence[Operand]) -> LiteTensor | None:
    """The output of SHAPE, or of an operator of whole numbers that are known; None if it is no such one."""
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
