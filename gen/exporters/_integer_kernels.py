"""The exact integer ONNX form of each kernel that runs in inference: one function per kernel, in one table.

Every activation is an int32 tensor [batch, size]. int32 sums are exact: gen/stages/bounds.py has proven that
none overflows, in whichever order a runtime adds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..discovery import rows
from ..errors import CompileError
from ..ir.program import Step
from ..ops._broadcast import spread
from ..ops._chosen import windows_of
from ..ops._normalise_loops import KINDS
from ..ops._requantise import ZEROS, started
from ..ops._window import Window, taps
from ..ops.interpolate import FRAC, ONE
from ._integer_normalise import normalised
from ._integer_softmax import Long, softmax_forward
from ._integers import Integers


def requantise(q: Integers, step: Step, total: str, shift: int | NDArray[np.integer]) -> str:
    """The int32 saturate(shift_round(total, shift), lo, hi). shift: one, or one a column.

    Exact in double: its 53 bits hold the 32 of the sum, wherever the point lies, and the half that is added.
    """
    return requantised(q, step, total, shift, q.attr(step, "lo"), q.attr(step, "hi"))


def requantised(
    q: Integers, step: Step, total: str, shift: int | NDArray[np.integer], lo: int, hi: int
) -> str:
    if not np.any(shift):
        return saturate(q, step, total, lo, hi)
    factor = q.constant(q.fresh(step, "factor"), np.ldexp(1.0, -np.asarray(shift, np.int32)))
    half = q.constant("half", np.array(0.5))
    ends = [q.constant(f"double/{v}", np.array(float(v))) for v in (lo, hi)]
    real = q.then(step, "Cast", [total], to=q.DOUBLE)
    raised = q.then(step, "Add", [q.then(step, "Mul", [real, factor]), half])
    held = q.then(step, "Clip", [q.then(step, "Floor", [raised]), *ends])
    return q.then(step, "Cast", [held], to=q.INT32)


def saturate(q: Integers, step: Step, x: str, lo: int, hi: int) -> str:
    return q.then(step, "Clip", [x, *(q.constant(f"int/{v}", np.array(v, np.int32)) for v in (lo, hi))])


def _shift(q: Integers, step: Step) -> int | NDArray[np.integer]:
    """The requantising shift of a layer with weights: one, or one a row where the layer is frozen."""
    return q.content(step.args["s"]) if "s" in step.args else q.attr(step, "shift")


def dense_forward(q: Integers, step: Step) -> None:
    w = step.args["w"]
    weight = q.weights(w, "transposed", q.content(w).T)
    product = q.then(step, "MatMul", [q.known(step, "x"), weight])
    total = q.then(step, "Add", [product, _bias(q, step)])
    q.put(step.args["y"], requantise(q, step, total, _shift(q, step)))


def _zero(step: Step, role: str) -> int:
    """The zero point of an operand, 0 if it has none."""
    return int(step.attrs.get(f"{role}_zero", 0))


def _bias(q: Integers, step: Step) -> str:
    """The bias; where the step has zero points, a constant that has taken them in."""
    b = step.args["b"]
    if not any(name in step.attrs for name in ZEROS):
        return q.weights(b, "values", q.content(b))
    start = started({role: q.plan[name] for role, name in step.args.items()}, step.attrs)
    return q.constant(q.fresh(step, "start"), start)


def affine_forward(q: Integers, step: Step) -> None:
    w, b = step.args["w"], step.args["b"]
    product = q.then(step, "Mul", [q.known(step, "x"), q.weights(w, "values", q.content(w))])
    total = q.then(step, "Add", [product, q.weights(b, "values", q.content(b))])
    q.put(step.args["y"], requantise(q, step, total, q.attr(step, "shift")))


def clip_forward(q: Integers, step: Step) -> None:
    x = q.known(step, "x")
    q.put(step.args["y"], saturate(q, step, x, q.attr(step, "lo"), q.attr(step, "hi")))


def conv2d_forward(q: Integers, step: Step) -> None:
    """Windows by Gather, [batch, groups, positions, taps], times the filters of each group."""
    w, g, filters = step.args["w"], Window.from_attrs(step.attrs), q.attr(step, "filters")
    blocks = q.content(w).reshape(g.groups, filters // g.groups, -1).swapaxes(1, 2)
    seen = _seen(q, step, taps(g), _zero(step, "x"))
    product = q.then(step, "MatMul", [seen, q.weights(w, "groups", blocks)])
    _filtered(q, step, q.then(step, "Transpose", [product], perm=[0, 2, 1, 3]), g.positions, filters)


def local2d_forward(q: Integers, step: Step) -> None:
    """As conv2d, with filters of its own at each position: [batch, positions, groups, 1, taps] times them."""
    w, g, filters = step.args["w"], Window.from_attrs(step.attrs), q.attr(step, "filters")
    blocks = q.content(w).reshape(g.positions, g.groups, filters // g.groups, -1).swapaxes(2, 3)
    seen = _seen(q, step, taps(g).swapaxes(0, 1)[:, :, None], _zero(step, "x"))
    product = q.then(step, "MatMul", [seen, q.weights(w, "places", blocks)])
    _filtered(q, step, product, 1, g.positions * filters)


def _seen(q: Integers, step: Step, where: NDArray[np.integer], beyond: int = 0) -> str:
    """The elements of x at `where`; `beyond` where that is x's size."""
    x = q.known(step, "x")
    if where.max() >= q.size(step.args["x"]):
        number = q.constant(f"int/{beyond}", np.array(beyond, np.int32))
        x = q.then(step, "Pad", [x, q.integers(0, 0, 0, 1), number])
    table = q.constant(q.fresh(step, "windows"), where.astype(np.int64))
    return q.then(step, "Gather", [x, table], axis=1)


def _filtered(q: Integers, step: Step, product: str, times: int, rows: int) -> None:
    """Bias and requantisation of sums that are [batch, times, rows], whatever their shape."""
    sums = q.then(step, "Reshape", [product, q.integers(-1, times, rows)])
    total = q.then(step, "Add", [sums, _bias(q, step)])
    y = requantise(q, step, total, _shift(q, step))
    _put_flat(q, step, _folded(q, step, y) if "pool_h" in step.attrs else y)


def _folded(q: Integers, step: Step, y: str) -> str:
    """[batch, windows, filters] of outputs that the step clips and pools itself."""
    g, filters = Window.from_attrs(step.attrs), q.attr(step, "filters")
    where = windows_of(np.arange(g.positions * filters)[None], step.attrs)[0]
    flat = q.then(step, "Reshape", [y, q.integers(-1, g.positions * filters)])
    held = saturate(q, step, flat, q.attr(step, "clip_lo"), q.attr(step, "clip_hi"))
    table = q.constant(q.fresh(step, "places"), where.astype(np.int64))
    return q.then(step, "ReduceMax", [q.then(step, "Gather", [held, table], axis=1)], axes=[2], keepdims=0)


def _put_flat(q: Integers, step: Step, y: str) -> None:
    name = step.args["y"]
    q.put(name, q.then(step, "Reshape", [y, q.integers(-1, q.size(name))]))


def _pooled(q: Integers, step: Step, beyond: int) -> str:
    """[batch, positions, places of a window, channels] of a pool."""
    g = Window.from_attrs(step.attrs)
    return _seen(q, step, taps(g).reshape(g.positions, -1, g.channels), beyond)


def maxpool2d_forward(q: Integers, step: Step) -> None:
    """Padding is the lowest int16: it never wins."""
    seen = _pooled(q, step, -(2**15))
    _put_flat(q, step, q.then(step, "ReduceMax", [seen], axes=[2], keepdims=0))


def avgpool2d_forward(q: Integers, step: Step) -> None:
    """sum * m / 2^shift, with one m for all windows or one a window."""
    pooled = _pooled(q, step, zero := _zero(step, "x"))
    if zero:
        pooled = q.then(step, "Sub", [pooled, q.constant(f"int/{zero}", np.array(zero, np.int32))])
    total = q.then(step, "ReduceSum", [pooled, q.integers(2)], keepdims=0)
    if "m" in step.args:
        m = step.args["m"]
        factor = q.weights(m, "factors", q.content(m)[:, None])
    else:
        factor = q.constant(f"int/{q.attr(step, 'factor')}", np.array(q.attr(step, "factor"), np.int32))
    scaled = q.then(step, "Mul", [total, factor])
    zero, shift = _zero(step, "y"), q.attr(step, "shift")
    if not zero:
        _put_flat(q, step, requantise(q, step, scaled, shift))
        return
    # in front of the shift it might be beyond 32 bits
    lo, hi = (q.attr(step, end) for end in ("lo", "hi"))
    moved = replace(step, attrs={**step.attrs, "lo": lo - zero, "hi": hi - zero})
    mean = requantise(q, moved, scaled, shift)
    _put_flat(q, step, q.then(step, "Add", [mean, q.constant(f"int/{zero}", np.array(zero, np.int32))]))


def _with_addend(q: Integers, step: Step, total: str) -> str:
    """A sum with what zero points bring to it, where there is any."""
    more = step.attrs.get("addend", 0)
    return (
        q.then(step, "Add", [total, q.constant(f"int/{more}", np.array(more, np.int32))]) if more else total
    )


def add_forward(q: Integers, step: Step) -> None:
    """(left * 2^left_shift + right * 2^right_shift + addend) / 2^shift."""
    sides = []
    for role, side in zip(("left", "right"), _sides(q, step), strict=True):
        factor = 1 << q.attr(step, f"{role}_shift")
        number = q.constant(f"int/{factor}", np.array(factor, np.int32))
        sides.append(q.then(step, "Mul", [side, number]) if factor > 1 else side)
    total = _with_addend(q, step, q.then(step, "Sub" if "subtract" in step.attrs else "Add", sides))
    q.put(step.args["y"], requantise(q, step, total, q.attr(step, "shift")))


def mul_forward(q: Integers, step: Step) -> None:
    """left * right / 2^shift."""
    product = q.then(step, "Mul", _sides(q, step))
    q.put(step.args["y"], requantise(q, step, product, q.attr(step, "shift")))


def _sides(q: Integers, step: Step) -> list[str]:
    """Both operands, [batch, size of the output] or the constant's [1, size], each value where it is read."""
    out = []
    for side in ("left", "right"):
        name = step.args[side]
        constant = q.plan[name].space == "const"
        x = q.weights(name, "values", q.content(name)[None]) if constant else q.known(step, side)
        if "n0" in step.attrs:
            places = np.arange(q.size(name))[None]
            table = q.constant(q.fresh(step, f"{side}_places"), spread(places, side, step.attrs)[0])
            x = q.then(step, "Gather", [x, table], axis=1)
        out.append(x)
    return out


def pad_forward(q: Integers, step: Step) -> None:
    rows = q.then(
        step, "Reshape", [q.known(step, "x"), q.integers(-1, q.attr(step, "rows"), q.attr(step, "row"))]
    )
    begin, end = ([q.attr(step, k) for k in side] for side in (("above", "before"), ("below", "after")))
    value = q.constant(f"int/{q.attr(step, 'value')}", np.array(q.attr(step, "value"), np.int32))
    _put_flat(q, step, q.then(step, "Pad", [rows, q.integers(0, *begin, 0, *end), value]))


def dilate_forward(q: Integers, step: Step) -> None:
    """x by Gather, the value in between standing behind it."""
    height, width, channels, *steps = (
        q.attr(step, key) for key in ("height", "width", "channels", "stride_h", "stride_w")
    )
    size = height * width * channels
    large = ((height - 1) * steps[0] + 1, (width - 1) * steps[1] + 1, channels)
    where = np.full(large, size, np.int64)
    where[:: steps[0], :: steps[1]] = np.arange(size).reshape(height, width, channels)
    _put_flat(q, step, _seen(q, step, where.reshape(-1), q.attr(step, "value")))


def transpose_permute(q: Integers, step: Step) -> None:
    """Element [i0, i1, ..] comes from i0 s0 + i1 s1 + .., i0 < n0, i1 < n1, .."""
    where = np.zeros(1, np.int64)
    for i in range(len(step.attrs) // 2):
        where = (where[:, None] + np.arange(q.attr(step, f"n{i}")) * q.attr(step, f"s{i}")).reshape(-1)
    table = q.constant(q.fresh(step, "order"), where)
    q.put(step.args["y"], q.then(step, "Gather", [q.known(step, "x"), table], axis=1))


def gather_forward(q: Integers, step: Step) -> None:
    """y[o, k] = x[o, place k], blocks of values."""
    outer, size, block, count = (q.attr(step, key) for key in ("outer", "size", "block", "count"))
    if "index" in step.args:
        places = q.content(step.args["index"]).astype(np.int64)
    else:
        places = q.attr(step, "start") + np.arange(count) * q.attr(step, "step")
    where = (np.arange(outer)[:, None, None] * size + places[:, None]) * block + np.arange(block)
    table = q.constant(q.fresh(step, "places"), where.reshape(-1))
    q.put(step.args["y"], q.then(step, "Gather", [q.known(step, "x"), table], axis=1))


def interpolate_forward(q: Integers, step: Step) -> None:
    """(x[before] (2^15 - share) + x[behind] share) / 2^15."""
    outer, size, block = (q.attr(step, key) for key in ("outer", "size", "block"))
    places = q.content(step.args["index"]).astype(np.int64)
    share = places % ONE
    parts = []
    for at, weight in ((places // ONE, ONE - share), (-(-places // ONE), share)):
        where = (np.arange(outer)[:, None, None] * size + at[:, None]) * block + np.arange(block)
        table = q.constant(q.fresh(step, "places"), where.reshape(-1))
        each = np.broadcast_to(weight[:, None], where.shape).reshape(-1)
        factor = q.constant(q.fresh(step, "share"), each.astype(np.int32))
        parts.append(
            q.then(step, "Mul", [q.then(step, "Gather", [q.known(step, "x"), table], axis=1), factor])
        )
    t = q.plan[step.args["y"]]
    q.put(step.args["y"], requantised(q, step, q.then(step, "Add", parts), FRAC, t.lo, t.hi))


def normalise_forward(q: Integers, step: Step) -> None:
    normalised(q, step, KINDS[q.attr(step, "kind")])


def matmul_forward(q: Integers, step: Step) -> None:
    """Where a scale is no power of two, a product of 64 bits, halves away from zero."""
    batch, rows, inner, columns = (q.attr(step, key) for key in ("batch", "rows", "inner", "columns"))
    sides = []
    for role, shape in (("left", (rows, inner)), ("right", (inner, columns))):
        turned = q.attr(step, f"{role}_turned")
        lies = q.integers(-1, batch, *(shape[::-1] if turned else shape))
        side = q.then(step, "Reshape", [q.known(step, role), lies])
        sides.append(q.then(step, "Transpose", [side], perm=[0, 1, 3, 2]) if turned else side)
    total = q.then(step, "MatMul", sides)
    if "rounds" not in step.attrs:
        _put_flat(q, step, requantise(q, step, total, q.attr(step, "shift")))
        return
    long, n = Long(q, step), q.attr(step, "shift")
    wide = q.then(step, "Cast", [total], to=q.INT64)
    scaled = long.scaled(wide, long.number(q.attr(step, "multiplier")), long.number(1 << n))
    narrow = q.then(step, "Cast", [scaled], to=q.INT32)
    _put_flat(q, step, saturate(q, step, narrow, q.attr(step, "lo"), q.attr(step, "hi")))


def table_forward(q: Integers, step: Step) -> None:
    """Entry i is the function of i - 128."""
    name = step.args["table"]
    first = q.constant("int/128", np.array(128, np.int32))
    place = q.then(step, "Add", [q.known(step, "x"), first])
    entries = q.weights(name, "entries", q.content(name))
    q.put(step.args["y"], q.then(step, "Gather", [entries, place], axis=0))


def bilinear_forward(q: Integers, step: Step) -> None:
    """A file's own arithmetic: there is no exact form."""
    raise CompileError(step.node, "rounds halves away from zero", "take the float network, pull --onnx")


def file_arithmetic(q: Integers, step: Step) -> None:
    """Of a file's own scales: there is no exact form."""
    raise CompileError(step.node, "multiplies in 64 bits", "take the float network, pull --onnx")


def prelu_forward(q: Integers, step: Step) -> None:
    """x (x < 0 ? w : 2^frac) / 2^shift. With a file's own scales and zero points there is no exact form."""
    if "x_zero" in step.attrs:
        raise CompileError(step.node, "multiplies in 64 bits", "take the float network, pull --onnx")
    x, w = q.known(step, "x"), step.args["w"]
    content = q.content(w)
    slopes = q.weights(w, "slopes", np.tile(content, q.size(step.args["x"]) // content.size))
    below = q.then(step, "Less", [x, q.constant("int/0", np.array(0, np.int32))])
    one = 1 << q.attr(step, "frac")
    factor = q.then(step, "Where", [below, slopes, q.constant(f"int/{one}", np.array(one, np.int32))])
    q.put(step.args["y"], requantise(q, step, q.then(step, "Mul", [x, factor]), q.attr(step, "shift")))


def concat_copy(q: Integers, step: Step) -> None:
    """The copies come in the order of their places, each [batch, rows, its part of a row]."""
    y, offset = step.args["y"], q.attr(step, "offset")
    rows = q.attr(step, "rows") if "rows" in step.attrs else 1
    part = requantise(q, step, _with_addend(q, step, q.known(step, "x")), q.attr(step, "shift"))
    if not offset:
        q.put(y, part)
        return
    n = q.size(step.args["x"]) // rows
    both = [
        q.then(step, "Reshape", [part_of, q.integers(-1, rows, width)])
        for part_of, width in ((q.get(y), offset), (part, n))
    ]
    joined = q.then(step, "Concat", both, axis=2)
    q.put(y, q.then(step, "Reshape", [joined, q.integers(-1, rows * (offset + n))]))


def classify_argmax(q: Integers, step: Step) -> None:
    """verdict [batch, 2]: the first index of the largest score, and its lead over the second largest."""
    z = q.known(step, "z")
    winner = q.then(step, "Cast", [q.then(step, "ArgMax", [z], axis=1, keepdims=1)], to=q.INT32)
    best = q.then(step, "ReduceMax", [z], axes=[1], keepdims=1)
    lead = q.then(step, "Sub", [best, best])
    if q.plan.scores > 1:
        places = q.constant("places", np.arange(q.plan.scores, dtype=np.int32))
        mine = q.then(step, "Equal", [places, winner])
        least = q.constant("int/-32768", np.array(-(2**15), np.int32))
        others = q.then(step, "Where", [mine, least, z])
        lead = q.then(step, "Sub", [best, q.then(step, "ReduceMax", [others], axes=[1], keepdims=1)])
    q.put(step.args["verdict"], q.then(step, "Concat", [winner, lead], axis=1))


def classify_sign(q: Integers, step: Step) -> None:
    """verdict [batch, 2]: 1 where the one score is above zero, and its magnitude."""
    z = q.known(step, "z")
    above = q.then(step, "Greater", [z, q.constant("int/0", np.array(0, np.int32))])
    both = [q.then(step, "Cast", [above], to=q.INT32), q.then(step, "Abs", [z])]
    q.put(step.args["verdict"], q.then(step, "Concat", both, axis=1))


ONNX_KERNELS: Mapping[str, Callable[[Integers, Step], None]] = {
    "add.forward": add_forward,
    "affine.forward": affine_forward,
    "avgpool2d.forward": avgpool2d_forward,
    "bilinear.forward": bilinear_forward,
    "choice.forward": file_arithmetic,
    "classify.argmax": classify_argmax,
    "classify.sign": classify_sign,
    "clip.forward": clip_forward,
    "concat.copy": concat_copy,
    "conv2d.forward": conv2d_forward,
    "dense.forward": dense_forward,
    "dilate.forward": dilate_forward,
    "div.forward": file_arithmetic,
    "gather.forward": gather_forward,
    "interpolate.forward": interpolate_forward,
    "local2d.forward": local2d_forward,
    "lookup.forward": file_arithmetic,
    "matmul.forward": matmul_forward,
    "maxpool2d.forward": maxpool2d_forward,
    "mul.forward": mul_forward,
    "normalise.forward": normalise_forward,
    "pad.forward": pad_forward,
    "prelu.forward": prelu_forward,
    "softmax.forward": softmax_forward,
    "squared_difference.forward": file_arithmetic,
    "table.forward": table_forward,
    "transpose.permute": transpose_permute,
    "unit_length.forward": file_arithmetic,
}
"""By kernel: writes a step and puts what it computes."""


def integer_kernels() -> Mapping[str, Callable[[Integers, Step], None]]:
    """The table, with the rows that ops from outside bring as `ONNX_KERNELS`."""
    return rows("ONNX_KERNELS", ONNX_KERNELS)
