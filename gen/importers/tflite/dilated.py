"""Dilated convolutions as TensorFlow writes them: a map is dealt out over a batch, convolved, and collected.

SPACE_TO_BATCH_ND deals every d-th place into a sample of its own, so that a dense kernel over one sample is a
kernel with gaps of d over the map. Such a chain becomes the one convolution that it stands for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from tflite.Conv2DOptions import Conv2DOptions
from tflite.DepthwiseConv2DOptions import DepthwiseConv2DOptions
from tflite.Padding import Padding

from ...errors import CompileError
from .._build import Pair
from .file import AGAIN, DAMAGED, Dilated, LiteOp, LiteTensor

DEALS, COLLECTS = "SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND"
VIEWS = ("EXPAND_DIMS", "RESHAPE", "SQUEEZE")
OPTIONS = {"CONV_2D": Conv2DOptions, "DEPTHWISE_CONV_2D": DepthwiseConv2DOptions}


def collected(ops: Sequence[LiteOp], outputs: Sequence[LiteTensor]) -> tuple[LiteOp, ...]:
    """The operators, each chain from DEALS to COLLECTS as one convolution.

    outputs: of the network. CompileError where something else stands between the two.
    """
    readers: dict[int, list[LiteOp]] = {}
    for op in ops:
        for t in op.inputs:
            if t is not None:
                readers.setdefault(t.index, []).append(op)
    kept = {t.index for t in outputs}
    gone: set[int] = set()
    folded: dict[int, LiteOp] = {}
    for op in ops:
        if op.op == DEALS:
            for chain in _chains(op, readers, kept):
                gone |= {o.index for o in chain}
                folded[chain[-1].index] = _convolution(chain)
    return tuple(folded.get(op.index, op) for op in ops if op.index not in gone or op.index in folded)


def _chains(first: LiteOp, readers: Mapping[int, list[LiteOp]], kept: set[int]) -> Iterator[list[LiteOp]]:
    """Each way from DEALS to a COLLECTS: one convolution, and views."""
    hint = f"{DEALS} is read as part of a dilated convolution: then one convolution, and {COLLECTS}"
    todo = [[first]]
    while todo:
        chain = todo.pop()
        op, convolved = chain[-1], any(o.op in OPTIONS for o in chain)
        if op.op == COLLECTS:
            if not convolved:
                raise first.error("deals a map out over a batch for nothing", hint)
            yield chain
            continue
        found = readers.get(op.outputs[0].index, [])
        if not found or op.outputs[0].index in kept:
            raise first.error(f"deals a map out over a batch, and {len(found)} operators read that", hint)
        for following in found:
            if any(o is following for o in chain):
                raise first.error("stands in a circle", DAMAGED)
            fits = following.op in (*VIEWS, COLLECTS) or (following.op in OPTIONS and not convolved)
            if not fits or following.inputs[0] is not op.outputs[0]:
                raise first.error(f"deals a map out over a batch, and {following.source} works on that", hint)
            todo.append([*chain, following])


def _convolution(chain: Sequence[LiteOp]) -> LiteOp:
    """The convolution that a chain stands for."""
    first, last = chain[0], chain[-1]
    conv = next(o for o in chain if o.op in OPTIONS)
    x, dealt, made = first.inputs[0], conv.inputs[0], conv.outputs[0]
    assert x is not None and dealt is not None
    if x.scaled != dealt.scaled or made.scaled != last.outputs[0].scaled:
        raise first.error("rescales what it deals out", AGAIN)
    options = conv.read(OPTIONS[conv.op])
    if conv.number(options.Padding) != Padding.VALID:
        raise conv.error(f"pads what {DEALS} dealt out", AGAIN)
    block, ends = _constant(first, 1, (-1,)), _constant(first, 2, (-1, 2))
    again, crops = _constant(last, 1, (-1,)), _constant(last, 2, (-1, 2))
    if len(x.shape) == 3 and len(dealt.shape) == 4 and len(block) == 1:  # of one dimension: which is it?
        lying = dealt.shape[1] == 1
        shape = (1, *x.shape[1:]) if lying else (x.shape[1], 1, x.shape[2])
        factor: Pair = (1, int(block[0])) if lying else (int(block[0]), 1)
        grown = np.array([[0, 0], (ends - crops)[0]] if lying else [(ends - crops)[0], [0, 0]])
    elif len(x.shape) == 4 and len(block) == 2:
        shape, factor, grown = x.shape[1:], (int(block[0]), int(block[1])), ends - crops
    else:
        raise first.error(f"deals shape {x.shape} out into blocks of {block.tolist()}", AGAIN)
    if np.any(block < 1) or not np.array_equal(block, again) or np.any(grown < 0):
        what = f"deals out blocks of {block.tolist()} with {ends.tolist()}, and {again.tolist()} come back"
        raise first.error(f"{what} without {crops.tolist()}", AGAIN)
    (top, bottom), (left, right) = grown.tolist()
    dilated = Dilated((shape[0], shape[1], shape[2]), factor, (top, left, bottom, right))
    return replace(conv, inputs=(x, *conv.inputs[1:]), outputs=last.outputs, dilated=dilated)


def _constant(op: LiteOp, at: int, shape: tuple[int, ...]) -> np.ndarray:
    """Constant whole numbers of an operator, in this shape."""
    tensor = op.inputs[at] if at < len(op.inputs) else None
    try:
        if tensor is None or tensor.value is None or tensor.value.dtype.kind != "i":
            raise ValueError
        return tensor.value.astype(np.int64).reshape(shape)
    except ValueError:
        raise CompileError(op.source, f"its input {at + 1} is no constant of whole numbers", AGAIN) from None
