"""Operators without weights of int8 .tflite files: each output byte is that of LiteRT's reference kernels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lite import Author, answers, compiled, oracle
from lite_wide import chosen, conditional

SAMPLES = 16
Rng = np.random.Generator
Shape = tuple[int, ...]
Net = tuple[bytes, list[Shape]]
"""A file, and the shapes of its inputs without the batch."""


def number(rng: Rng, usual: float = 0.1) -> dict[str, Any]:
    """A scale, often a power of two, for which ties are common, and a zero point."""
    scale = usual * 2.0 ** rng.uniform(-3, 3)
    if not rng.integers(3):
        scale = 2.0 ** np.rint(np.log2(scale))
    return {
        "scale": float(np.float32(scale)),
        "zero": int(rng.choice([-128, 0, 127, int(rng.integers(-128, 128))])),
    }


def sizes(rng: Rng, top: Shape = (8, 8, 7)) -> Shape:
    return tuple(int(rng.integers(1, n)) for n in top)


def _pool(rng: Rng, op: str) -> Net:
    a, (h, w, c), held = Author(), sizes(rng), number(rng)
    same, stride = bool(rng.integers(2)), rng.integers(1, 4, 2)
    kernel = [int(rng.integers(1, 6 if same else n + 1)) for n in (h, w)]
    if not rng.integers(4):
        kernel, same = [h, w], False
    size = zip((h, w), kernel, stride, strict=True)
    out = [-(-n // int(s)) if same else (n - k) // int(s) + 1 for n, k, s in size]
    x, y = a.tensor("x", (1, h, w, c), **held), a.tensor("y", (1, *out, c), **held)
    options = {
        "padding": 0 if same else 1,
        "strideH": int(stride[0]),
        "strideW": int(stride[1]),
        "filterHeight": kernel[0],
        "filterWidth": kernel[1],
        "fusedActivationFunction": int(rng.integers(4)),
    }
    a.op(op, [x], [y], "Pool2DOptions", 2, **options)
    return a.bytes([x], [y]), [(h, w, c)]


def maximum(rng: Rng) -> Net:
    return _pool(rng, "MAX_POOL_2D")


def average(rng: Rng) -> Net:
    return _pool(rng, "AVERAGE_POOL_2D")


def mean(rng: Rng) -> Net:
    return _reduced(rng, "MEAN")


def smallest(rng: Rng) -> Net:
    return _reduced(rng, "REDUCE_MIN")


def largest(rng: Rng) -> Net:
    return _reduced(rng, "REDUCE_MAX")


def bounded(rng: Rng) -> Net:
    """The larger, or the smaller, of a value and one number, on either side."""
    a, shape, held = Author(), (1, *sizes(rng)), number(rng)
    x, y = a.tensor("x", shape, **held), a.tensor("y", shape, **held)
    limit = a.tensor("limit", (1,) * int(rng.integers(1, 5)), data=[int(rng.integers(-128, 128))], **held)
    op = str(rng.choice(["MAXIMUM", "MINIMUM"]))
    a.op(op, [x, limit][:: int(rng.choice([-1, 1]))], [y], "MaximumMinimumOptions", 2)
    return a.bytes([x], [y]), [shape[1:]]


def extremes(rng: Rng) -> Net:
    """The larger, or the smaller, of two activations, stretched perhaps."""
    a, shapes, held = Author(), list(_stretched(rng)), number(rng)
    out = np.broadcast_shapes(*shapes)
    whole = [(1,) * (len(out) - len(s)) + s for s in shapes]
    given = [a.tensor(f"x{i}", s, **held) for i, s in enumerate(whole)]
    y = a.tensor("y", out, **held)
    a.op(str(rng.choice(["MAXIMUM", "MINIMUM"])), given, [y], "MaximumMinimumOptions", 2)
    return a.bytes(given, [y]), [tuple(s[1:]) or (1,) for s in whole]


def blocks(rng: Rng) -> Net:
    """Channels that become places, or places that become channels."""
    a, held, block = Author(), number(rng), int(rng.integers(1, 4))
    h, w, c = sizes(rng, (4, 4, 5))
    deep, wide = (1, h, w, c * block**2), (1, h * block, w * block, c)
    shapes = [deep, wide][:: 1 if (outwards := bool(rng.integers(2))) else -1]
    x, seen = passed(rng, a, shapes[0], held)
    y = a.tensor("y", shapes[1], **held)
    op, options = (
        ("DEPTH_TO_SPACE", "DepthToSpaceOptions") if outwards else ("SPACE_TO_DEPTH", "SpaceToDepthOptions")
    )
    a.op(op, [seen], [y], options, 1, blockSize=block)
    return a.bytes([x], [y]), [shapes[0][1:]]


def _reduced(rng: Rng, op: str) -> Net:
    """Over any axes of 2 to 4, the batch among them."""
    a, held = Author(), number(rng)
    shape = (1, *sizes(rng, (9, 9, 9)[: int(rng.integers(1, 4))]))
    axes = sorted({int(v) for v in rng.integers(0, len(shape), int(rng.integers(1, 4)))})
    keep = bool(rng.integers(2)) or len(axes) == len(shape)
    out = [1 if i in axes else n for i, n in enumerate(shape) if keep or i not in axes]
    written = [i - len(shape) if rng.integers(2) else i for i in axes]
    x = a.tensor("x", shape, **held)
    over = a.tensor("axes", (len(axes),), "INT32", data=written)
    own = number(rng, held["scale"] * (8 if op == "SUM" else 0.5))
    y = a.tensor("y", out, **(held if op.startswith("REDUCE") or not rng.integers(4) else own))
    a.op(op, [x, over], [y], "ReducerOptions", 2, keepDims=keep)
    return a.bytes([x], [y]), [shape[1:]]


def passed(rng: Rng, a: Author, shape: Shape, held: dict[str, Any]) -> tuple[int, int]:
    """An input of a map and what a pool of single values makes of it: a network must compute something."""
    x, y = a.tensor("x", shape, **held), a.tensor("h", shape, **held)
    ones = dict.fromkeys(("strideH", "strideW", "filterHeight", "filterWidth"), 1)
    a.op("MAX_POOL_2D", [x], [y], "Pool2DOptions", 2, padding=1, **ones)
    return x, y


def pad(rng: Rng) -> Net:
    a, shape, held = Author(), (1, *sizes(rng, (6, 6, 5))), number(rng)
    ends = rng.integers(0, 4, (4, 2)) * rng.integers(0, 2, (4, 1))
    ends[0] = 0
    if not rng.integers(3):
        ends[3] = 0
    x, h = passed(rng, a, shape, held)
    pads = a.tensor("pads", (4, 2), str(rng.choice(["INT32", "INT64"])), data=ends)
    y = a.tensor("y", np.array(shape) + ends.sum(axis=1), **held)
    if rng.integers(2):
        value = a.tensor("value", (1,), data=[int(rng.integers(-128, 128))], **held)
        a.op("PADV2", [h, pads, value], [y], "PadV2Options", 2)
    else:
        a.op("PAD", [h, pads], [y], "PadOptions", 2)
    return a.bytes([x], [y]), [shape[1:]]


def concatenation(rng: Rng) -> Net:
    a, shape, held = Author(), [1, *sizes(rng, (6, 6, 5))], number(rng)
    at, count = int(rng.integers(1, 4)), int(rng.integers(2, 4))
    shapes = [
        tuple(int(rng.integers(1, 5)) if i == at else n for i, n in enumerate(shape)) for _ in range(count)
    ]
    parts = [a.tensor(f"x{i}", s, **held) for i, s in enumerate(shapes)]
    inputs, parts = list(parts), [*parts, parts[0]] if rng.integers(2) else parts
    out = [sum(a.graph.tensors[p].shape[i] for p in parts) if i == at else n for i, n in enumerate(shape)]
    y = a.tensor("y", out, **held)
    a.op("CONCATENATION", parts, [y], "ConcatenationOptions", 2, axis=at - 4 * int(rng.integers(2)))
    return a.bytes(inputs, [y]), [s[1:] for s in shapes]


def beside_constant(rng: Rng) -> Net:
    """CONCATENATION of an activation and constants, as of a class token."""
    a, shape, held = Author(), (1, *sizes(rng)), number(rng)
    at = int(rng.integers(1, 4))
    x, h = passed(rng, a, shape, held)
    parts = [h]
    for i in range(int(rng.integers(1, 3))):
        own = [int(rng.integers(1, 4)) if k == at else n for k, n in enumerate(shape)]
        parts.insert(int(rng.integers(2)), a.tensor(f"c{i}", own, data=rng.integers(-128, 128, own), **held))
    out = list(shape)
    out[at] = sum(int(a.graph.tensors[p].shape[at]) for p in parts)
    y = a.tensor("y", out, **held)
    a.op("CONCATENATION", parts, [y], "ConcatenationOptions", 2, axis=at)
    return a.bytes([x], [y]), [shape[1:]]


def transpose(rng: Rng) -> Net:
    a, shape, held = Author(), (1, *sizes(rng)), number(rng)
    order = [0, *(1 + rng.permutation(3))] if rng.integers(2) else rng.permutation(4)
    x, h = passed(rng, a, shape, held)
    perm = a.tensor("order", (4,), "INT32", data=order)
    y = a.tensor("y", [shape[i] for i in order], **held)
    a.op("TRANSPOSE", [h, perm], [y], "TransposeOptions", 2)
    return a.bytes([x], [y]), [shape[1:]]


def _stretched(rng: Rng) -> tuple[Shape, Shape]:
    """Two shapes of up to 4 axes that fit, the batch among them."""
    rank = int(rng.integers(1, 4))
    shape = (1, *sizes(rng, {1: (90,), 2: (10, 10), 3: (6, 6, 8)}[rank]))
    kind = int(rng.integers(5))
    if kind < 2:
        return shape, shape
    if kind == 2:
        return shape, shape[int(rng.integers(1, rank + 1)) :]
    if kind == 3:
        return shape, (1,) * int(rng.integers(1, rank + 2))
    left, right = (tuple(1 if rng.integers(2) else n for n in shape) for _ in range(2))
    return left, right


def _pair(rng: Rng, op: str) -> Net:
    """Two activations, one twice, or one and a constant on either side."""
    a, shapes = Author(), list(_stretched(rng))
    out = np.broadcast_shapes(*shapes)
    held = [number(rng), number(rng)]
    usual = held[0]["scale"] * held[1]["scale"] * 150 if op == "MUL" else sum(h["scale"] for h in held)
    constant = int(rng.integers(-1, 2))
    operands, inputs = [], []
    for i, side in enumerate(rng.permutation(2)):
        data = rng.integers(-128, 128, shapes[side]) if i == constant else None
        whole = (1,) * (len(out) - len(shapes[side])) + shapes[side]  # an input has a batch
        shape = whole if data is None else shapes[side]
        operands.append(a.tensor(f"x{i}", shape, data=data, **held[side]))
        inputs += [i] if data is None else []
    if constant < 0 and shapes[0] == shapes[1] == out and not rng.integers(4):
        operands[1], inputs = operands[0], [0]
    y = a.tensor("y", out, **number(rng, usual))
    options = {"ADD": "AddOptions", "SUB": "SubOptions", "MUL": "MulOptions"}[op]
    a.op(op, operands, [y], options, 2, fusedActivationFunction=int(rng.integers(4)))
    given = [operands[i] for i in inputs]
    return a.bytes(given, [y]), [tuple(a.graph.tensors[g].shape[1:]) or (1,) for g in given]


def add(rng: Rng) -> Net:
    return _pair(rng, "ADD")


def subtract(rng: Rng) -> Net:
    return _pair(rng, "SUB")


def multiply(rng: Rng) -> Net:
    return _pair(rng, "MUL")


def squared_difference(rng: Rng) -> Net:
    """Of two activations, one stretched perhaps."""
    a, shapes = Author(), list(_stretched(rng))
    out, held = np.broadcast_shapes(*shapes), [number(rng), number(rng)]
    whole = [(1,) * (len(out) - len(s)) + s for s in shapes]
    given = [a.tensor(f"x{i}", s, **h) for i, (s, h) in enumerate(zip(whole, held, strict=True))]
    y = a.tensor("y", out, **number(rng, 150 * max(h["scale"] for h in held) ** 2))
    a.op("SQUARED_DIFFERENCE", given, [y], "SquaredDifferenceOptions", 2)
    return a.bytes(given, [y]), [tuple(s[1:]) or (1,) for s in whole]


def quotient(rng: Rng) -> Net:
    """Of two activations, one stretched perhaps; a limit keeps divisors from 0, which LiteRT leaves open."""
    a, shapes = Author(), list(_stretched(rng))
    out, held = np.broadcast_shapes(*shapes), [number(rng), number(rng)]
    above = bool(rng.integers(2))
    held[1]["zero"] = -128 if above else 127
    whole = [(1,) * (len(out) - len(s)) + s for s in shapes]
    given = [a.tensor(f"x{i}", s, **h) for i, (s, h) in enumerate(zip(whole, held, strict=True))]
    limit = a.tensor("limit", (), data=-127 if above else 126, **held[1])
    by = a.tensor("by", whole[1], **held[1])
    a.op("MAXIMUM" if above else "MINIMUM", [given[1], limit], [by], "MaximumMinimumOptions", 2)
    y = a.tensor("y", out, **number(rng, held[0]["scale"] / held[1]["scale"] / 30))
    a.op("DIV", [given[0], by], [y], "DivOptions", 2, fusedActivationFunction=int(rng.integers(4)))
    return a.bytes(given, [y]), [tuple(s[1:]) or (1,) for s in whole]


def unit(rng: Rng) -> Net:
    a, shape, held = Author(), (1, *sizes(rng, (5, 5, 40))), number(rng)
    x, h = passed(rng, a, shape, held)
    y = a.tensor("y", shape, scale=1 / 128, zero=0)
    a.op("L2_NORMALIZATION", [h], [y], "L2NormOptions", 2)
    return a.bytes([x], [y]), [shape[1:]]


def gather(rng: Rng) -> Net:
    a, shape, held = Author(), (1, *sizes(rng)), number(rng)
    at, count = int(rng.integers(1, 4)), int(rng.integers(1, 9))
    x, h = passed(rng, a, shape, held)
    places = a.tensor("places", (count,), "INT32", data=rng.integers(0, shape[at], count))
    y = a.tensor("y", [count if i == at else n for i, n in enumerate(shape)], **held)
    a.op("GATHER", [h, places], [y], "GatherOptions", 2, axis=at - 4 * int(rng.integers(2)))
    return a.bytes([x], [y]), [shape[1:]]


def split(rng: Rng) -> Net:
    """Its parts in another order, one of them perhaps unread."""
    a, held, at = Author(), number(rng), int(rng.integers(1, 4))
    count, shape = int(rng.integers(2, 5)), [1, *sizes(rng, (6, 6, 6))]
    part = list(shape)
    shape[at] *= count
    x = a.tensor("x", shape, **held)
    axis = a.tensor("axis", (), "INT32", data=at - 4 * int(rng.integers(2)))
    parts = [a.tensor(f"part{i}", part, **held) for i in range(count)]
    a.op("SPLIT", [axis, x], parts, "SplitOptions", 2, numSplits=count)
    read = [int(p) for p in rng.permutation(parts)[int(rng.integers(2)) :]]
    out = [n * (len(read) if i == 3 else 1) for i, n in enumerate(part)]
    y = a.tensor("y", out, **held)
    a.op("CONCATENATION", read, [y], "ConcatenationOptions", 2, axis=3)
    return a.bytes([x], [y]), [tuple(shape[1:])]


def strided_slice(rng: Rng) -> Net:
    """Any begin, end and stride that leave something, also beyond the axis; masks; dropped axes."""
    a, shape, held = Author(), (1, *sizes(rng)), number(rng)
    while True:
        begin, end = rng.integers(-12, 13, (2, 4))
        step = rng.choice([-3, -2, -1, 1, 1, 2, 3], 4)
        masks = [int(m) for m in rng.integers(0, 16, 3)]
        masks[2] &= int(rng.integers(0, 16))
        dropped = [masks[2] >> i & 1 for i in range(4)]
        begin = np.where(dropped, rng.integers(0, shape) - np.array(shape) * rng.integers(0, 2, 4), begin)
        end, step = np.where(dropped, begin + 1, end), np.where(dropped, 1, step)
        cuts = [
            slice(None if masks[0] >> i & 1 else begin[i], None if masks[1] >> i & 1 else end[i], step[i])
            for i in range(4)
        ]
        lengths = [1 if d else len(range(n)[cut]) for n, cut, d in zip(shape, cuts, dropped, strict=True)]
        masks = [m & ~masks[2] for m in masks[:2]] + masks[2:]
        if min(lengths) and not all(dropped):
            break
    x, h = passed(rng, a, shape, held)
    ends = [a.tensor(f"end{i}", (4,), "INT32", data=v) for i, v in enumerate((begin, end, step))]
    y = a.tensor("y", [n for n, d in zip(lengths, dropped, strict=True) if not d], **held)
    options = dict(zip(("beginMask", "endMask", "shrinkAxisMask"), masks, strict=True))
    a.op("STRIDED_SLICE", [h, *ends], [y], "StridedSliceOptions", 2, **options)
    return a.bytes([x], [y]), [shape[1:]]


def masked_slice(rng: Rng) -> Net:
    """With an ellipsis or new axes, behind which axes count on."""
    a, shape, held = Author(), (1, *sizes(rng)), number(rng)
    x, h = passed(rng, a, shape, held)
    at, fresh = int(rng.integers(1, 4)), not rng.integers(2)
    begin = int(rng.integers(shape[at]))
    end = int(rng.integers(begin + 1, shape[at] + 1))
    if fresh:  # a new axis before that one
        ends = [*[(0, n, 1) for n in shape[:at]], (0, 1, 1), (begin, end, 1)]
        masks = {"newAxisMask": 1 << at}
        out = (*shape[:at], 1, end - begin, *shape[at + 1 :])
    else:
        ends = [(0, 0, 1), (begin, end, 1), *[(0, n, 1) for n in shape[at + 1 :]]]
        masks = {"ellipsisMask": 1}
        out = (*shape[:at], end - begin, *shape[at + 1 :])
    operands = [
        a.tensor(f"end{i}", (len(ends),), "INT32", data=v) for i, v in enumerate(zip(*ends, strict=True))
    ]
    y = a.tensor("y", out, **held)
    a.op("STRIDED_SLICE", [h, *operands], [y], "StridedSliceOptions", 2, **masks)
    return a.bytes([x], [y]), [shape[1:]]


def cut_out(rng: Rng) -> Net:
    a, shape, held = Author(), (1, *sizes(rng)), number(rng)
    x, h = passed(rng, a, shape, held)
    begin = [int(rng.integers(n)) for n in shape]
    size = [int(rng.integers(1, n - b + 1)) for n, b in zip(shape, begin, strict=True)]
    y = a.tensor("y", size, **held)
    written = [
        -1 if b + s == n and rng.integers(2) else s for n, b, s in zip(shape, begin, size, strict=True)
    ]
    ends = [a.tensor(f"end{i}", (4,), "INT32", data=v) for i, v in enumerate((begin, written))]
    a.op("SLICE", [h, *ends], [y], "SliceOptions", 2)
    return a.bytes([x], [y]), [shape[1:]]


def split_by_sizes(rng: Rng) -> Net:
    """The parts beside one another in another order."""
    a, held, at = Author(), number(rng), int(rng.integers(1, 4))
    shape, lengths = (
        [1, *sizes(rng, (6, 6, 6))],
        [int(n) for n in rng.integers(1, 4, int(rng.integers(2, 5)))],
    )
    shape[at] = sum(lengths)
    x = a.tensor("x", shape, **held)
    written = [-1 if i == 1 and rng.integers(2) else n for i, n in enumerate(lengths)]
    counts = a.tensor("sizes", (len(lengths),), "INT32", data=written)
    axis = a.tensor("axis", (), "INT32", data=at - 4 * int(rng.integers(2)))
    parts = [
        a.tensor(f"part{i}", [n if k == at else d for k, d in enumerate(shape)], **held)
        for i, n in enumerate(lengths)
    ]
    a.op("SPLIT_V", [x, counts, axis], parts, "SplitVOptions", 2, numSplits=len(parts))
    y = a.tensor("y", shape, **held)
    read = [int(p) for p in rng.permutation(parts)]
    a.op("CONCATENATION", read, [y], "ConcatenationOptions", 2, axis=at)
    return a.bytes([x], [y]), [tuple(shape[1:])]


def unpack(rng: Rng) -> Net:
    """Some of the parts, beside one another."""
    a, held, at = Author(), number(rng), int(rng.integers(1, 4))
    shape = [1, *sizes(rng)]
    x, rest = a.tensor("x", shape, **held), [n for i, n in enumerate(shape) if i != at]
    parts = [a.tensor(f"part{i}", rest, **held) for i in range(shape[at])]
    a.op("UNPACK", [x], parts, "UnpackOptions", 2, num=len(parts), axis=at - 4 * int(rng.integers(2)))
    read = [int(p) for p in rng.permutation(parts)[: int(rng.integers(1, 4))]]
    read = [*read, read[0]]
    y = a.tensor("y", [*rest[:2], rest[2] * len(read)], **held)
    a.op("CONCATENATION", read, [y], "ConcatenationOptions", 2, axis=2)
    return a.bytes([x], [y]), [tuple(shape[1:])]


def tile(rng: Rng) -> Net:
    a, shape, held = Author(), (1, *sizes(rng, (5, 5, 5))), number(rng)
    x, h = passed(rng, a, shape, held)
    times = [1, *(int(n) for n in rng.integers(1, 4, 3))]
    multiples = a.tensor("multiples", (4,), str(rng.choice(["INT32", "INT64"])), data=times)
    y = a.tensor("y", np.array(shape) * times, **held)
    a.op("TILE", [h, multiples], [y], "TileOptions", 2)
    return a.bytes([x], [y]), [shape[1:]]


def broadcast_to(rng: Rng) -> Net:
    a, held = Author(), number(rng)
    out = (1, *sizes(rng, (5, 5, 5)))
    shape = (1, *(n if rng.integers(2) else 1 for n in out[1:]))
    x, h = passed(rng, a, shape, held)
    to = a.tensor("to", (4,), str(rng.choice(["INT32", "INT64"])), data=out)
    y = a.tensor("y", out, **held)
    a.op("BROADCAST_TO", [h, to], [y], "BroadcastToOptions", 2)
    return a.bytes([x], [y]), [shape[1:]]


def choice(rng: Rng) -> Net:
    return chosen(rng, "INT8")


def choices(rng: Rng) -> Net:
    return conditional(rng, "INT8")


def mirror_pad(rng: Rng) -> Net:
    a, shape, held, same = Author(), (1, *sizes(rng)), number(rng), int(rng.integers(2))
    x, h = passed(rng, a, shape, held)
    ends = np.array([rng.integers(0, n - 1 + same + 1, 2) for n in shape])
    ends[0] = 0
    pads = a.tensor("pads", (4, 2), "INT32", data=ends)
    y = a.tensor("y", np.array(shape) + ends.sum(axis=1), **held)
    a.op("MIRROR_PAD", [h, pads], [y], "MirrorPadOptions", 2, mode=same)
    return a.bytes([x], [y]), [shape[1:]]


def reverse(rng: Rng) -> Net:
    a, shape, held = Author(), (1, *sizes(rng)), number(rng)
    x, h = passed(rng, a, shape, held)
    axes = a.tensor("axes", (1,), "INT32", data=[int(rng.integers(1, 4))])
    y = a.tensor("y", shape, **held)
    a.op("REVERSE_V2", [h, axes], [y], "ReverseV2Options", 3)
    return a.bytes([x], [y]), [shape[1:]]


def pack(rng: Rng) -> Net:
    a, shape, held = Author(), (1, *sizes(rng)[: int(rng.integers(1, 4))]), number(rng)
    count, at = int(rng.integers(2, 5)), int(rng.integers(0, len(shape) + 1))
    parts = [a.tensor(f"x{i}", shape, **held) for i in range(count)]
    y = a.tensor("y", (*shape[:at], count, *shape[at:]), **held)
    a.op("PACK", parts, [y], "PackOptions", 2, valuesCount=count, axis=at)
    return a.bytes(parts, [y]), [shape[1:]] * count


def resize(rng: Rng) -> Net:
    a, shape, held = Author(), (1, *sizes(rng)), number(rng)
    size = [int(n) for n in rng.integers(1, 17, 2)]
    if rng.integers(2):
        size = [2 * n for n in shape[1:3]]
    x, h = passed(rng, a, shape, held)
    to, y = a.tensor("size", (2,), "INT32", data=size), a.tensor("y", (1, *size, shape[3]), **held)
    align = bool(rng.integers(2))
    options = {"alignCorners": align, "halfPixelCenters": not align and bool(rng.integers(2))}
    a.op("RESIZE_NEAREST_NEIGHBOR", [h, to], [y], "ResizeNearestNeighborOptions", 3, **options)
    return a.bytes([x], [y]), [shape[1:]]


def bilinear(rng: Rng) -> Net:
    a, shape, held = Author(), (1, *sizes(rng)), number(rng)
    size = [2 * n for n in shape[1:3]] if rng.integers(2) else [int(n) for n in rng.integers(1, 17, 2)]
    x, h = passed(rng, a, shape, held)
    to, y = a.tensor("size", (2,), "INT32", data=size), a.tensor("y", (1, *size, shape[3]), **held)
    align = bool(rng.integers(2))
    options = {"alignCorners": align, "halfPixelCenters": not align and bool(rng.integers(2))}
    a.op("RESIZE_BILINEAR", [h, to], [y], "ResizeBilinearOptions", 3, **options)
    return a.bytes([x], [y]), [shape[1:]]


MAKERS: tuple[Callable[[Rng], Net], ...] = (
    maximum,
    average,
    mean,
    largest,
    smallest,
    bounded,
    extremes,
    blocks,
    pad,
    concatenation,
    beside_constant,
    transpose,
    add,
    subtract,
    multiply,
    squared_difference,
    quotient,
    unit,
    gather,
    split,
    strided_slice,
    masked_slice,
    cut_out,
    split_by_sizes,
    unpack,
    tile,
    broadcast_to,
    choice,
    choices,
    mirror_pad,
    reverse,
    pack,
    resize,
    bilinear,
)


FEW = (beside_constant, broadcast_to, choices, extremes, blocks, smallest, squared_difference, bilinear)
"""Those of which a few files are enough: what they are made of is drawn elsewhere as well."""


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("seed", [0, *(pytest.param(s, marks=pytest.mark.long) for s in (1, 2, 3, 4))])
def test_every_byte_is_litert_s(make: Callable[[Rng], Net], seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    moved, count = 0, 12 if make in FEW and not seed else 50
    for _ in range(count):
        data, shapes = make(rng)
        x = [rng.integers(-128, 128, (SAMPLES, *shape)).astype(np.int8) for shape in shapes]
        expected = oracle(data, x)
        c = compiled(data, tmp_path)
        got = answers(c, x)
        assert np.array_equal(got, expected), c.graph.nodes
        moved += len(np.unique(expected))
    assert moved > count * 10  # outputs that say something, not only limits


@pytest.mark.parametrize("seed", range(2))
def test_sums_are_those_of_litert_s_usual_kernel(seed: int, tmp_path: Path) -> None:
    """LiteRT 2.3.0's reference kernel of int8 SUM gives what lay in its memory before."""
    rng, moved = np.random.default_rng(seed), 0
    for _ in range(15):
        data, shapes = _reduced(rng, "SUM")
        x = [rng.integers(-128, 128, (SAMPLES, *shape)).astype(np.int8) for shape in shapes]
        expected = oracle(data, x, reference=False)
        assert np.array_equal(answers(compiled(data, tmp_path), x), expected)
        moved += len(np.unique(expected))
    assert moved > 15 * 10
