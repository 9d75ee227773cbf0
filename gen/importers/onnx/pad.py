"""Pad of ONNX files: with a constant, or with values of the activation itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .._build import MAX_ELEMENTS
from .._layout import Places, arrange, axes_by_stride, is_natural, natural
from .._names import from_node
from .file import AGAIN, DAMAGED, SMALLEST, OnnxNode, checked_size
from .fold import axis
from .layers import Act, Operand, Scope, activation, constant, disordered, taken
from .spatial import minds_no_edge

MODES = ("constant", "edge", "reflect", "wrap")


class Margins(NamedTuple):
    """How many values stand before and after each axis, and which."""

    before: list[int]
    after: list[int]
    value: float = 0.0
    mode: str = "constant"


def pad(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """Pad; a negative margin takes values away."""
    x = activation(node, args)
    margins = _margins(node, args, len(x.shape))
    for i, n in enumerate(x.shape):
        kept = range(max(0, -margins.before[i]), n - max(0, -margins.after[i]))
        x = taken(scope, node, x, i, kept, from_node(node.name))
    wider = margins._replace(
        before=[max(0, n) for n in margins.before], after=[max(0, n) for n in margins.after]
    )
    checked_size(tuple(sum(n) for n in zip(x.shape, *wider[:2], strict=True)), node.source)
    pools = scope.pooled.get(node.outputs[0], ()) if wider.mode == "edge" else ()
    if pools and all(minds_no_edge(pool, x.shape, wider.before, wider.after) for pool in pools):
        wider = wider._replace(value=-math.inf, mode="constant")
    return padded(scope, node, x, wider) if wider.mode == "constant" else _repeated(scope, node, x, wider)


def _repeated(scope: Scope, node: OnnxNode, x: Act, margins: Margins) -> Act:
    """x between values of its own."""
    for i, ends in enumerate(zip(margins.before, margins.after, strict=True)):
        if any(ends):
            places = np.pad(np.arange(x.shape[i]), ends, margins.mode)  # type: ignore[call-overload]
            x = taken(scope, node, x, i, places.tolist(), from_node(node.name))
    return x


def padded(scope: Scope, node: OnnxNode, x: Act, margins: Margins) -> Act:
    """x between margins of one constant."""
    before, after = margins.before, margins.after
    wanted = [i for i in range(len(x.shape)) if before[i] or after[i]]
    if not wanted:
        return x
    sides = _sides(x, wanted)
    if not sides:
        for i in wanted:
            x = _along(scope, node, x, i, (before[i], after[i]), margins.value)
        return x
    rest = [i for i in range(len(x.shape)) if i not in sides]
    shape = tuple(n + before[i] + after[i] for i, n in enumerate(x.shape))
    lengths = [x.shape[i] for i in sides]
    size = (1, lengths[0]) if len(sides) == 1 else (lengths[0], lengths[1])
    tensor = arrange(
        scope.builder, x.tensor, x.places.transpose(*sides, *rest).reshape(*size, -1), node.source
    )
    if tensor is None:
        raise disordered(node)
    start, end = ([m[i] for i in sides] for m in (before, after))
    first, last = ((0, *m) if len(m) == 1 else m for m in (start, end))
    around, names = (first[0], first[1], last[0], last[1]), [from_node(node.name)]
    y = scope.builder.pad(tensor, around, margins.value, names, node.source)
    return Act(y, _stored([shape[i] for i in (*sides, *rest)], (*sides, *rest)))


def _along(scope: Scope, node: OnnxNode, x: Act, at: int, ends: tuple[int, int], value: float) -> Act:
    """x with margins along one axis, whose values stay in the order in which they lie."""
    order = axes_by_stride(x.places)
    tensor = arrange(scope.builder, x.tensor, x.places.transpose(order), node.source)
    if tensor is None:
        raise disordered(node)
    shape, k = [x.shape[i] for i in order], order.index(at)
    seen = scope.builder.view(tensor, (math.prod(shape[:k]), shape[k], math.prod(shape[k + 1 :])))
    y = scope.builder.pad(seen, (0, ends[0], 0, ends[1]), value, [from_node(node.name)], node.source)
    shape[k] += sum(ends)
    return Act(y, _stored(shape, order))


def _stored(shape: Sequence[int], order: Sequence[int]) -> Places:
    """The places of a tensor of that shape, whose axis i is axis order[i] of the file."""
    return natural(shape).transpose(np.argsort(order))


def _margins(node: OnnxNode, args: Sequence[Operand], rank: int) -> Margins:
    """What the node says: operands since opset 11.

    A value of -inf stands for what can only be padding of a maximum.
    """
    mode = node.string("mode", "constant")
    if mode not in MODES:
        raise node.error(f"pads in mode {mode[:20]!r}", f"there are {', '.join(MODES)}")
    given, value = constant(node, args, 1, "pads"), constant(node, args, 2, "value")
    if given is not None and (given.dtype.kind not in "iu" or given.size > 64):
        raise node.error(f"its pads are {given.dtype.name} of shape {given.shape}", DAMAGED)
    pads = (node.integers("pads") or ()) if given is None else tuple(int(p) for p in given.reshape(-1))
    number = node.real("value", 0.0) if value is None else float(value.reshape(-1)[0]) if value.size else 0.0
    listed = constant(node, args, 3, "axes")
    try:
        axes = range(rank) if listed is None else [axis(int(a), rank) for a in listed.reshape(-1)]
    except (ValueError, OverflowError) as error:
        raise node.error(str(error), AGAIN) from None
    if len({*axes}) < len(axes):
        raise node.error(f"pads an axis twice: its axes are {[*axes][:16]}", AGAIN)
    if len(pads) != 2 * len(axes) or any(not abs(p) <= MAX_ELEMENTS for p in pads):
        raise node.error(f"its pads {pads[:16]} are impossible for {len(axes)} axes", AGAIN)
    number = -math.inf if mode == "constant" and number <= SMALLEST else number
    if math.isnan(number) or number >= -SMALLEST:
        raise node.error(f"pads with {number}", "pad with a number")
    before, after = [0] * rank, [0] * rank
    for k, i in enumerate(axes):
        before[i], after[i] = pads[k], pads[k + len(axes)]
    return Margins(before, after, number, mode)


def _sides(x: Act, wanted: Sequence[int]) -> tuple[int, ...]:
    """The one or two axes that are the height and width of the map to be padded; () where none are."""
    rank = len(x.shape)
    choices: tuple[tuple[int, ...], ...] = {
        1: ((0,),),
        2: ((1,), (0,)),
        3: ((2,), (1,), (1, 2)),
        4: ((2, 3), (1, 2)),
    }.get(rank, ())
    fitting = [c for c in choices if set(wanted) <= set(c)]

    def lies_so(sides: tuple[int, ...]) -> bool:
        rest = [i for i in range(rank) if i not in sides]
        return is_natural(x.places.transpose(*sides, *rest))

    return next((c for c in fitting if lies_so(c)), fitting[0] if fitting else ())
