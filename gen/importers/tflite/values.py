"""What an operator that works on each value makes of values, in LiteRT's own arithmetic: for tables.

Values are arrays [256], one for each int8 of the tensor that all of them come from: int8 in `Held`, float32
and bool as numpy has them. Constants of one element are stretched.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tflite.AddOptions import AddOptions
from tflite.DivOptions import DivOptions
from tflite.GeluOptions import GeluOptions
from tflite.MulOptions import MulOptions
from tflite.SubOptions import SubOptions

from ...ir.format import Format, Scaled
from ...ir.quantiser import AffineQuantiser
from ...ops._between import FUNCTIONS as REAL_FUNCTIONS
from ...ops._litert import entries
from ...ops._litert_pairs import COMPARISONS, PAIRS, Held, compared
from .file import AGAIN, LiteOp, LiteTensor
from .functions import FUNCTIONS, IN_FLOAT, LIMITS, leak
from .scope import ENDS, Scope, units

Real = NDArray[np.float32]
Truth = NDArray[np.bool_]
Values = Held | Real | Truth
FIRST, ENTRIES = -128, 256
SELECTS = ("SELECT", "SELECT_V2")
LOGIC: Mapping[str, Callable[[Any, Any], Any]] = {"LOGICAL_AND": np.logical_and, "LOGICAL_OR": np.logical_or}
REAL_PAIRS: Mapping[str, Callable[[Real, Real], Real]] = {
    "ADD": np.add,
    "DIV": np.divide,
    "MAXIMUM": np.maximum,
    "MINIMUM": np.minimum,
    "MUL": np.multiply,
    "SQUARED_DIFFERENCE": lambda a, b: np.square(a - b),
    "SUB": np.subtract,
}
VIEWS = ("EXPAND_DIMS", "RESHAPE", "SQUEEZE")
SINGLE = (
    *(op for op in (*FUNCTIONS, *IN_FLOAT) if op != "POW"),
    *LIMITS,
    "DEQUANTIZE",
    "LOGICAL_NOT",
    "QUANTIZE",
    "ZEROS_LIKE",
)
"""Operators of one operand, and of two or three; views pass values on."""
TWO = (*REAL_PAIRS, *COMPARISONS, *LOGIC, *SELECTS, "POW")
OPTIONS: Mapping[str, Any] = {"ADD": AddOptions, "DIV": DivOptions, "MUL": MulOptions, "SUB": SubOptions}


def operands(op: LiteOp) -> Sequence[LiteTensor | None]:
    """The inputs of an operator that hold values; of views the first."""
    return op.inputs[:1] if op.op in (*SINGLE, *VIEWS) else op.inputs


def every(held: Format) -> Held:
    """All integers of an int8 tensor."""
    return Held(np.arange(FIRST, FIRST + ENTRIES, dtype=np.int64), held)


def constant(op: LiteOp, t: LiteTensor) -> Values:
    """A constant of one element."""
    assert t.value is not None
    if t.kind == "int8":
        held = Scope.format(op, t)
        assert held is not None
        return Held(np.full(ENTRIES, int(t.value.reshape(-1)[0]), np.int64), held)
    if t.kind not in ("bool", "float32"):
        raise op.error(f"{t.label} is {t.kind}, beside numbers in int8 and float32", AGAIN)
    return np.full(ENTRIES, t.value.reshape(-1)[0])


def computed(op: LiteOp, given: Sequence[Values]) -> Values:
    """What the operator makes of its operands; CompileError where they do not belong together."""
    out = op.outputs[0]
    if op.op in VIEWS:
        made: Values = given[0]
    elif op.op in (*COMPARISONS, *LOGIC, "LOGICAL_NOT"):
        made = _truth(op, given)
    elif op.op == "ZEROS_LIKE":
        made = np.zeros_like(_single(op, given[0]))
    elif op.op in SELECTS:
        made = _selected(op, given)
    elif op.op == "QUANTIZE" and not isinstance(given[0], Held):
        made = _quantised(op, given[0])
    elif op.op == "DEQUANTIZE":
        made = _real(op, given[0])
    elif out.kind == "int8" and all(isinstance(v, Held) for v in given):
        made = _whole(op, [v for v in given if isinstance(v, Held)])
    else:
        made = _in_float(op, [_single(op, v) for v in given])
    kind = "int8" if isinstance(made, Held) else str(made.dtype)
    if kind != out.kind:
        raise op.error(f"makes {out.kind} of {kind}", AGAIN)
    return made


def _count(op: LiteOp, given: Sequence[Values], wanted: int) -> None:
    if len(given) != wanted:
        raise op.error(f"has {len(given)} operands, not {wanted}", AGAIN)


def _single(op: LiteOp, v: Values) -> Real:
    if isinstance(v, Held) or v.dtype != np.float32:
        raise op.error("takes together float32 and other numbers", AGAIN)
    return v.astype(np.float32, copy=False)


def _format(op: LiteOp) -> Format:
    held = Scope.format(op, op.outputs[0])
    assert held is not None
    return held


def _real(op: LiteOp, v: Values) -> Real:
    if not isinstance(v, Held):
        raise op.error("its input is float32 already", AGAIN)
    assert isinstance(v.format.meaning, Scaled)
    return np.asarray(v.centred.astype(np.float32) * np.float32(v.format.meaning.scale[0]), np.float32)


def _quantised(op: LiteOp, v: Values) -> Held:
    x, held = _single(op, v), _format(op)
    meaning = held.meaning
    assert isinstance(meaning, Scaled)
    found = AffineQuantiser(meaning.scale[0], meaning.zero[0]).units(x)
    return Held(np.where(np.isnan(x), held.lo, np.clip(found, held.lo, held.hi)).astype(np.int64), held)


def _truth(op: LiteOp, given: Sequence[Values]) -> Truth:
    _count(op, given, 1 if op.op == "LOGICAL_NOT" else 2)
    held = [v for v in given if isinstance(v, Held)]
    if op.op in COMPARISONS and len(held) == 2:
        return compared(op.op, held[0], held[1], op.source)
    if op.op in COMPARISONS:
        return np.asarray(COMPARISONS[op.op](*(_single(op, v) for v in given)), np.bool_)
    truths = [v for v in given if not isinstance(v, Held) and v.dtype == np.bool_]
    if len(truths) < len(given):
        raise op.error("takes something else than truth values", AGAIN)
    made = np.logical_not(truths[0]) if op.op == "LOGICAL_NOT" else LOGIC[op.op](*truths)
    return np.asarray(made, np.bool_)


def _selected(op: LiteOp, given: Sequence[Values]) -> Values:
    """LiteRT rescales nothing."""
    _count(op, given, 3)
    which, yes, no = given
    if isinstance(which, Held) or which.dtype != np.bool_:
        raise op.error("its condition is no truth value", AGAIN)
    if isinstance(yes, Held) and isinstance(no, Held):
        held = _format(op)
        if not yes.format.meaning == no.format.meaning == held.meaning:
            raise op.error("chooses between integers of several scales", AGAIN)
        return Held(np.where(which, yes.v, no.v), held)
    return np.where(which, _single(op, yes), _single(op, no))


def _whole(op: LiteOp, given: Sequence[Held]) -> Held:
    """In int8 throughout."""
    held, where = _format(op), op.source
    x = given[0]
    if op.op in ("MAXIMUM", "MINIMUM"):
        _count(op, given, 2)
        if not x.format.meaning == given[1].format.meaning == held.meaning:
            raise op.error("compares integers of several scales", AGAIN)
        least = op.op == "MINIMUM"
        return Held((np.minimum if least else np.maximum)(x.v, given[1].v), held)
    if op.op in PAIRS:
        _count(op, given, 2)
        return _ended(op, Held(PAIRS[op.op](x, given[1], held, where), held), ENDS.get(_fused(op)))
    if op.op in LIMITS:
        return _ended(op, _table(op, x, "identity", 1.0, held), LIMITS[op.op])
    if op.op == "QUANTIZE":
        return _table(op, x, "identity", 0.0, held)
    fn, alpha = _function(op)
    if op.op not in FUNCTIONS:
        raise op.error("is not supported in int8", AGAIN)
    return _table(op, x, fn, alpha, held)


def _table(op: LiteOp, x: Held, fn: str, alpha: float, y: Format) -> Held:
    if fn == "identity" and x.format.meaning == y.meaning:
        return Held(x.v, y)
    if op.between:  # LiteRT has it in float32
        return _quantised(op, _in_float(op, [_real(op, x)]))
    assert isinstance(x.format.meaning, Scaled) and isinstance(y.meaning, Scaled)
    made = entries(fn, alpha, x.format.meaning, y.meaning, op.source)
    return Held(np.clip(made, y.lo, y.hi)[x.v - FIRST], y)


def _ended(op: LiteOp, y: Held, ends: tuple[float, ...] | None) -> Held:
    if ends is None:
        raise op.error("has a fused activation that is not supported", AGAIN)
    if not ends:
        return y
    meaning = y.format.meaning
    assert isinstance(meaning, Scaled)
    lo, hi = (v if math.isinf(v) else meaning.unit(units(v, meaning)) for v in ends)
    return Held(np.clip(y.v, max(lo, y.format.lo), min(hi, y.format.hi)).astype(np.int64), y.format)


def _in_float(op: LiteOp, given: Sequence[Real]) -> Real:
    with np.errstate(all="ignore"):
        if op.op in REAL_PAIRS:
            _count(op, given, 2)
            ends = ENDS.get(_fused(op))
            if ends is None:
                raise op.error("has a fused activation that is not supported", AGAIN)
            y = REAL_PAIRS[op.op](*given)
            return np.asarray(np.clip(y, ends[0], ends[1]) if ends else y, np.float32)
        if op.op in LIMITS:
            return np.asarray(np.clip(given[0], *LIMITS[op.op]), np.float32)
        if op.op == "POW":
            _count(op, given, 2)
            return np.power(given[0].astype(np.float64), given[1].astype(np.float64)).astype(np.float32)
        if op.op == "QUANTIZE":
            return given[0]
        fn, alpha = _function(op)
        return REAL_FUNCTIONS[fn](given[0], alpha)


def _function(op: LiteOp) -> tuple[str, float]:
    """The function of one operand, by the names of gen/ops/table.py, and its alpha."""
    fn = (FUNCTIONS | IN_FLOAT)[op.op]
    match op.op:
        case "LEAKY_RELU":
            return fn, leak(op)
        case "ELU":
            return fn, 1.0
        case "SQUARE":
            return fn, 2.0
        case "GELU" if op.number(op.read(GeluOptions).Approximate):
            return "gelu_tanh", 0.0
    return fn, 0.0


def _fused(op: LiteOp) -> int:
    kind = OPTIONS.get(op.op)
    return 0 if kind is None or op.table is None else op.number(op.read(kind).FusedActivationFunction)
