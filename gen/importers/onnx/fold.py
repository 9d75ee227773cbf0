"""Computes what a model computes from constants and shapes alone: transposed weights, targets of reshapes.

A batch is always 1 here, as on the chip, so that what `x.view(x.size(0), -1)` becomes is plain arithmetic.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ...errors import shown
from .file import AGAIN, OnnxNode, checked_size, numpy_type, read_tensor, text, type_name
from .fold_functions import FUNCTIONS
from .fold_norms import NORMALISATIONS

MAX_PRODUCTS = 1 << 28  # of constant matrices
Operands = Sequence[np.ndarray | None]


def constant(node: OnnxNode, folder: Path) -> np.ndarray:
    """The value of a Constant node in any of the forms that the attribute may take."""
    for name, attr in node.attrs.items():
        match name:
            case "value":
                return read_tensor(attr.t, text(attr.t.name) or node.source, folder)
            case "value_float":
                return np.array(attr.f, np.float32)
            case "value_floats":
                return np.array(attr.floats, np.float32)
            case "value_int":
                return np.array(attr.i, np.int64)
            case "value_ints":
                return np.array(attr.ints, np.int64)
    given = ", ".join(shown(a) for a in node.attrs) or "nothing"
    raise node.error(
        f"holds {given}, which synapcc does not read", "store the constant as a float32 or int64 tensor"
    )


def fold(node: OnnxNode, operands: Operands, folder: Path) -> np.ndarray:
    """The value of `node`, all of whose operands are known."""
    try:
        with np.errstate(all="ignore"):
            if node.op == "ConstantOfShape":
                value = _filled(node, operands, folder)
            else:
                value = np.asarray(FOLDABLE[node.op](node, operands))
    except (ValueError, IndexError, TypeError, OverflowError, ZeroDivisionError) as error:
        reason = shown(str(error).splitlines()[0]) if str(error) else type(error).__name__
        raise node.error(f"its constant operands do not fit: {reason}", AGAIN) from None
    checked_size(value.shape, node.source)
    return value


def reshaped(shape: tuple[int, ...], target: Sequence[int], allow_zero: bool) -> tuple[int, ...]:
    """The shape that Reshape gives: 0 copies a dimension, one -1 is what remains. Else ValueError."""
    dims = [
        shape[i] if d == 0 and not allow_zero and i < len(shape) else int(d) for i, d in enumerate(target)
    ]
    size, known = math.prod(shape), math.prod(d for d in dims if d != -1)
    if dims.count(-1) == 1 and known > 0 and size % known == 0:
        dims[dims.index(-1)] = size // known
    if math.prod(dims) != size or any(d < 0 for d in dims):
        raise ValueError(f"{size} values of shape {shape} do not make shape {tuple(int(d) for d in target)}")
    return tuple(dims)


def axes_of(node: OnnxNode, operands: Operands) -> tuple[int, ...] | None:
    """The axes of Squeeze, Unsqueeze and reductions: an attribute up to opset 12, an operand since."""
    second = operands[1] if len(operands) > 1 else None
    return node.integers("axes") if second is None else tuple(int(a) for a in second.reshape(-1))


def squeezed(shape: tuple[int, ...], axes: tuple[int, ...] | None) -> tuple[int, ...]:
    """`shape` without the axes, or without any axis of size 1. ValueError if an axis has another size."""
    if axes is None:
        return tuple(d for d in shape if d != 1)
    gone = {axis(a, len(shape)) for a in axes}
    if any(shape[a] != 1 for a in gone):
        raise ValueError(f"axes {axes} of shape {shape} are not all of size 1")
    return tuple(d for i, d in enumerate(shape) if i not in gone)


def unsqueezed(shape: tuple[int, ...], axes: tuple[int, ...] | None) -> tuple[int, ...]:
    """`shape` with axes of size 1 where the result is to have them. ValueError if one is named twice."""
    new = {axis(a, len(shape) + len(axes or ())) for a in axes or ()}
    if len(new) != len(axes or ()):
        raise ValueError(f"axes {axes} name one axis twice")
    rest = iter(shape)
    return tuple(1 if i in new else next(rest) for i in range(len(shape) + len(new)))


def axis(number: int, rank: int) -> int:
    """`number` counted from the front. ValueError if there is no such axis."""
    if not -rank <= number < rank:
        raise ValueError(f"there is no axis {number} in {rank} dimensions")
    return number % rank


def _filled(node: OnnxNode, operands: Operands, folder: Path) -> np.ndarray:
    shape = tuple(int(d) for d in _given(operands, 0).reshape(-1))
    checked_size(shape, node.source)
    if "value" not in node.attrs:
        return np.zeros(shape, np.float32)
    return np.full(shape, read_tensor(node.attrs["value"].t, node.source, folder).reshape(-1)[0])


def _given(operands: Operands, i: int) -> np.ndarray:
    value = operands[i] if i < len(operands) else None
    if value is None:
        raise ValueError(f"operand {i + 1} is missing")
    return value


def _elementwise(function: Callable[..., np.ndarray]) -> Callable[[OnnxNode, Operands], np.ndarray]:
    def run(node: OnnxNode, operands: Operands) -> np.ndarray:
        args = [_given(operands, i) for i in range(len(operands))]
        checked_size(np.broadcast_shapes(*(a.shape for a in args)), node.source)
        return function(*args)

    return run


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if a.dtype.kind == "f":
        return np.asarray(a / b)
    if not np.all(b):
        raise ZeroDivisionError("division by 0")
    return np.asarray(np.trunc(a / b).astype(a.dtype))


def _cast(node: OnnxNode, operands: Operands) -> np.ndarray:
    to = node.integer("to", 0)
    dtype = numpy_type(to)
    if dtype is None:
        raise node.error(
            f"casts to {type_name(to)}, which synapcc does not read", "export the model in float32"
        )
    return _given(operands, 0).astype(dtype)


def _concat(node: OnnxNode, operands: Operands) -> np.ndarray:
    args = [_given(operands, i) for i in range(len(operands))]
    checked_size((sum(a.size for a in args),), node.source)
    return np.concatenate(args, node.integer("axis", 0))


def _expand(node: OnnxNode, operands: Operands) -> np.ndarray:
    value, target = _given(operands, 0), tuple(int(d) for d in _given(operands, 1).reshape(-1))
    shape = np.broadcast_shapes(value.shape, target)
    checked_size(shape, node.source)
    return np.broadcast_to(value, shape)


def _gather(node: OnnxNode, operands: Operands) -> np.ndarray:
    value, index = _given(operands, 0), _given(operands, 1)
    along = axis(node.integer("axis", 0), value.ndim)
    checked_size(value.shape[:along] + index.shape + value.shape[along + 1 :], node.source)
    return np.take(value, index, along)


def cuts_of(node: OnnxNode, operands: Operands, shape: tuple[int, ...]) -> list[slice]:
    """What Slice takes of each axis of `shape`: attributes, or operands since opset 10. ValueError: none."""
    names = ("starts", "ends", "axes", "steps")
    if len(operands) > 1:  # operands since opset 10
        given = [None if v is None else tuple(int(n) for n in v.reshape(-1)) for v in operands[1:5]]
    else:
        given = [node.integers(name) for name in names]
    starts, ends, axes, steps = given + [None] * (len(names) - len(given))
    if starts is None or ends is None or len(starts) != len(ends):
        raise ValueError("starts and ends are missing or differ in number")
    cuts = [slice(None)] * len(shape)
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        along = axis(axes[i] if axes else i, len(shape))
        # A backward slice that includes the first element ends at the exporter's smallest integer.
        cuts[along] = slice(start, end if end > -(2**31) else None, steps[i] if steps else 1)
    return cuts


def _slice(node: OnnxNode, operands: Operands) -> np.ndarray:
    value = _given(operands, 0)
    return value[tuple(cuts_of(node, operands, value.shape))]


def _tile(node: OnnxNode, operands: Operands) -> np.ndarray:
    value, times = _given(operands, 0), tuple(int(n) for n in _given(operands, 1).reshape(-1))
    if len(times) != value.ndim:
        raise ValueError(f"{len(times)} repeats for {value.ndim} axes")
    checked_size(tuple(n * t for n, t in zip(value.shape, times, strict=True)), node.source)
    return np.tile(value, times)


def _range(node: OnnxNode, operands: Operands) -> np.ndarray:
    start, limit, delta = (_given(operands, i).reshape(-1)[0] for i in range(3))
    checked_size((max(int(np.ceil((limit - start) / delta)), 0),), node.source)
    return np.arange(start, limit, delta, dtype=_given(operands, 0).dtype)


def _shape(node: OnnxNode, operands: Operands) -> np.ndarray:
    shape = _given(operands, 0).shape
    return np.array(shape[node.integer("start", 0) : node.integer("end", len(shape))], np.int64)


def _reduce(function: Callable[..., np.ndarray]) -> Callable[[OnnxNode, Operands], np.ndarray]:
    def run(node: OnnxNode, operands: Operands) -> np.ndarray:
        value, keep = _given(operands, 0), bool(node.integer("keepdims", 1))
        axes = axes_of(node, operands) or (() if node.integer("noop_with_empty_axes", 0) else None)
        return np.asarray(function(value, axis=axes, keepdims=keep)).astype(value.dtype)

    return run


def _to_shape(
    shape: Callable[[OnnxNode, Operands], tuple[int, ...]],
) -> Callable[[OnnxNode, Operands], np.ndarray]:
    return lambda node, operands: _given(operands, 0).reshape(shape(node, operands))


def _reshape_shape(node: OnnxNode, operands: Operands) -> tuple[int, ...]:
    target = tuple(int(d) for d in _given(operands, 1).reshape(-1))
    return reshaped(_given(operands, 0).shape, target, bool(node.integer("allowzero", 0)))


def _clip(node: OnnxNode, operands: Operands) -> np.ndarray:
    value = _given(operands, 0)
    ends = [operands[i] if i < len(operands) else None for i in (1, 2)]
    lo, hi = (node.attrs[n].f if n in node.attrs else e for n, e in zip(("min", "max"), ends, strict=True))
    if any(end is not None and np.size(end) != 1 for end in (lo, hi)):
        raise ValueError("its limits are no single numbers")
    value = value if lo is None else np.maximum(value, np.asarray(lo, value.dtype))
    return value if hi is None else np.minimum(value, np.asarray(hi, value.dtype))


def _running(node: OnnxNode, operands: Operands) -> np.ndarray:
    """CumSum, of the type of its operand."""
    value, along = _given(operands, 0), _given(operands, 1)
    if along.size != 1:
        raise ValueError("sums along no axis, or several")
    at = axis(int(along.reshape(-1)[0]), value.ndim)
    seen = np.flip(value, at) if node.integer("reverse", 0) else value
    sums = np.cumsum(seen, at, value.dtype)
    if node.integer("exclusive", 0):
        sums = np.roll(sums, 1, at)
        np.moveaxis(sums, at, 0)[:1] = 0
    return np.flip(sums, at) if node.integer("reverse", 0) else sums


def _flat(node: OnnxNode, operands: Operands) -> tuple[int, ...]:
    shape = _given(operands, 0).shape
    along = node.integer("axis", 1)
    along += len(shape) if along < 0 else 0
    return math.prod(shape[:along]), math.prod(shape[along:])


def _matmul(node: OnnxNode, operands: Operands) -> np.ndarray:
    left, right = _given(operands, 0), _given(operands, 1)
    made = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    work = math.prod(made) * math.prod(left.shape[-2:]) * math.prod(right.shape[-1:])
    if work > MAX_PRODUCTS:
        raise ValueError(f"{left.shape} by {right.shape} takes {work} products")
    return np.asarray(np.matmul(left, right))


def _mod(node: OnnxNode, operands: Operands) -> np.ndarray:
    a, b = _given(operands, 0), _given(operands, 1)
    checked_size(np.broadcast_shapes(a.shape, b.shape), node.source)
    if b.dtype.kind in "iu" and not np.all(b):
        raise ZeroDivisionError("division by 0")
    return np.asarray(np.fmod(a, b) if node.integer("fmod", 0) else np.mod(a, b))


def _power(node: OnnxNode, operands: Operands) -> np.ndarray:
    """Of the base's type, whatever the exponent's is."""
    base, exponent = _given(operands, 0), _given(operands, 1)
    checked_size(np.broadcast_shapes(base.shape, exponent.shape), node.source)
    return np.asarray(np.power(base, exponent)).astype(base.dtype)


def _is_infinite(node: OnnxNode, operands: Operands) -> np.ndarray:
    value = _given(operands, 0)
    above, below = (node.integer(f"detect_{sign}", 1) for sign in ("positive", "negative"))
    return np.asarray(np.isinf(value) & np.where(value > 0, bool(above), bool(below)))


def _scatter(node: OnnxNode, operands: Operands) -> np.ndarray:
    value, places, given = (_given(operands, i) for i in range(3))
    if (how := node.string("reduction", "none")) != "none":
        raise ValueError(f"it scatters with reduction {how[:20]}, where only none is known")
    out = value.copy()
    out[tuple(np.moveaxis(places, -1, 0))] = given
    return out


def _trilu(node: OnnxNode, operands: Operands) -> np.ndarray:
    given = operands[1] if len(operands) > 1 else None
    k = 0 if given is None else int(given.reshape(-1)[0])
    if _given(operands, 0).ndim < 2:
        raise ValueError("it is no matrix")
    return (np.triu if node.integer("upper", 1) else np.tril)(_given(operands, 0), k)


# What may be computed at compile time, by ONNX op. ConstantOfShape, which reads a tensor, is in fold().
FOLDABLE: Mapping[str, Callable[[OnnxNode, Operands], np.ndarray]] = {
    **{op: _elementwise(function) for op, function in FUNCTIONS.items()},
    **NORMALISATIONS,
    "Add": _elementwise(np.add),
    "And": _elementwise(np.logical_and),
    "Cast": _cast,
    "CastLike": lambda node, operands: _given(operands, 0).astype(_given(operands, 1).dtype),
    "Clip": _clip,
    "Concat": _concat,
    "CumSum": _running,
    "Div": _elementwise(_divide),
    "Equal": _elementwise(np.equal),
    "Expand": _expand,
    "Flatten": _to_shape(_flat),
    "Gather": _gather,
    "Greater": _elementwise(np.greater),
    "GreaterOrEqual": _elementwise(np.greater_equal),
    "Identity": lambda node, operands: _given(operands, 0),
    "IsInf": _is_infinite,
    "Less": _elementwise(np.less),
    "LessOrEqual": _elementwise(np.less_equal),
    "Max": _elementwise(lambda *args: functools.reduce(np.maximum, args)),
    "MatMul": _matmul,
    "Min": _elementwise(lambda *args: functools.reduce(np.minimum, args)),
    "Mod": _mod,
    "Mul": _elementwise(np.multiply),
    "Not": _elementwise(np.logical_not),
    "Or": _elementwise(np.logical_or),
    "Pow": _power,
    "Range": _range,
    "ReduceL1": _reduce(lambda x, **over: np.abs(x).sum(**over)),
    "ReduceL2": _reduce(lambda x, **over: np.sqrt(np.square(x).sum(**over))),
    "ReduceMax": _reduce(np.max),
    "ReduceMean": _reduce(np.mean),
    "ReduceMin": _reduce(np.min),
    "ReduceProd": _reduce(np.prod),
    "ReduceSum": _reduce(np.sum),
    "ReduceSumSquare": _reduce(lambda x, **over: np.square(x).sum(**over)),
    "Reshape": _to_shape(_reshape_shape),
    "ScatterND": _scatter,
    "Shape": _shape,
    "Size": lambda node, operands: np.array(_given(operands, 0).size, np.int64),
    "Slice": _slice,
    "Squeeze": _to_shape(lambda node, operands: squeezed(_given(operands, 0).shape, axes_of(node, operands))),
    "Sub": _elementwise(np.subtract),
    "Sum": _elementwise(lambda *args: functools.reduce(np.add, args)),
    "Tile": _tile,
    "Trilu": _trilu,
    "Transpose": lambda node, operands: np.transpose(_given(operands, 0), node.integers("perm")),
    "Unsqueeze": _to_shape(
        lambda node, operands: unsqueezed(_given(operands, 0).shape, axes_of(node, operands))
    ),
    "Where": _elementwise(np.where),
}
