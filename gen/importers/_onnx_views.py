"""The ONNX operators that limit, join or only view activations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ._layout import arrange, is_natural, natural
from ._names import from_node
from ._onnx_file import AGAIN, FLOAT_TYPES, MAX_RANK, SMALLEST, OnnxNode, type_name
from ._onnx_fold import axes_of, axis, reshaped, squeezed, unsqueezed
from ._onnx_layers import Act, Operand, Scope, activation, constant, disordered


def _limit(node: OnnxNode, args: Sequence[Operand], i: int, attr: str, default: float) -> float:
    value = constant(node, args, i, attr)
    if value is None:
        limit = node.real(attr, default)
    elif value.size == 1:
        limit = float(value.reshape(-1)[0])
    else:
        raise node.error(
            f"its {attr} has shape {value.shape}", "only one limit for all values can be compiled"
        )
    return -math.inf if limit <= SMALLEST else math.inf if limit >= -SMALLEST else limit


def _clip(scope: Scope, node: OnnxNode, x: Act, lo: float, hi: float) -> Act:
    if not lo < hi:
        raise node.error(f"its limits {lo} and {hi} leave no range", "repair the limits")
    if math.isinf(lo) and math.isinf(hi):
        return x
    return replace(x, tensor=scope.builder.clip(x.tensor, lo, hi, [from_node(node.name)], node.source))


def clip(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """Relu; Clip with limits as attributes (to opset 10) or operands; Min and Max with one number."""
    if node.op == "Relu":
        return _clip(scope, node, activation(node, args), 0.0, math.inf)
    if node.op == "Clip":
        lo, hi = _limit(node, args, 1, "min", -math.inf), _limit(node, args, 2, "max", math.inf)
        return _clip(scope, node, activation(node, args), lo, hi)
    if len(args) != 2:
        raise node.error(f"has {len(args)} operands", "supported is one activation and one number")
    first = isinstance(args[0], Act)
    limit = _limit(node, args, 1 if first else 0, "limit", 0.0)
    x = activation(node, args, 0 if first else 1)
    return (
        _clip(scope, node, x, limit, math.inf)
        if node.op == "Max"
        else _clip(scope, node, x, -math.inf, limit)
    )


def concat(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """Activations side by side, along one axis."""
    parts = [activation(node, args, i) for i in range(len(args))]
    if not parts:
        raise node.error("joins nothing", AGAIN)
    shapes = [p.shape for p in parts]
    rank = len(shapes[0])
    try:
        along = axis(node.integer("axis", 1), rank)
    except ValueError as error:
        raise node.error(str(error), AGAIN) from None
    rests = {s[:along] + s[along + 1 :] for s in shapes if len(s) == rank}
    if len(rests) != 1 or any(len(s) != rank for s in shapes):
        raise node.error(f"shapes {', '.join(map(str, shapes))} do not fit along axis {along}", AGAIN)
    if len(parts) == 1:
        return parts[0]
    if _outermost(parts, along):
        return _joined_flat(scope, node, parts, along)
    return _joined_maps(scope, node, parts, along)


def _outermost(parts: Sequence[Act], along: int) -> bool:
    """Whether the values of the parts can stand one part behind the other in memory.

    So vectors can, each in an order of its own, and maps whose slowest axis is joined.
    """
    rows = [np.moveaxis(p.places, along, 0).reshape(p.shape[along], -1) for p in parts]
    width = rows[0].shape[1]
    return width == 1 or all(np.array_equal(r, np.arange(len(r))[:, None] * width + rows[0][0]) for r in rows)


def _joined_flat(scope: Scope, node: OnnxNode, parts: Sequence[Act], along: int) -> Act:
    builder = scope.builder
    ends = np.cumsum([p.size for p in parts])
    tensor = builder.concat([builder.flat(p.tensor) for p in parts], [from_node(node.name)], node.source)
    places = [p.places + np.int32(end - p.size) for p, end in zip(parts, ends, strict=True)]
    return Act(tensor, np.concatenate(places, along))


def _joined_maps(scope: Scope, node: OnnxNode, parts: Sequence[Act], along: int) -> Act:
    """Maps joined along their channels: every part in the order of the first that lies channels-last."""
    model = next((p for p in parts if not is_natural(p.places)), parts[0])
    others = [i for i in range(len(model.shape)) if i != along and model.shape[i] != 1]
    steps = {i: int(np.moveaxis(model.places, i, -1).reshape(-1)[1]) for i in others}
    others.sort(key=lambda i: -abs(steps[i] - int(model.places.reshape(-1)[0])))
    sizes = [model.shape[i] for i in others]
    sides = (1, sizes[0]) if len(sizes) == 1 else (sizes[0], math.prod(sizes[1:]))
    units = [i for i in range(len(model.shape)) if i != along and i not in others]
    order = (*units, *others, along)
    tensors = []
    for part in parts:
        wanted = part.places.transpose(order).reshape(*sides, part.shape[along])
        tensor = arrange(scope.builder, part.tensor, wanted, node.source)
        if tensor is None:
            raise disordered(node)
        tensors.append(tensor)
    joined = scope.builder.concat(tensors, [from_node(node.name)], node.source)
    stored = natural(scope.builder.shape(joined)).reshape(*(1 for _ in units), *sizes, -1)
    return Act(joined, stored.transpose(np.argsort(order)))


def reshape(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """Flatten, Reshape, Squeeze, Unsqueeze, Transpose: another view of the numbers."""
    x = activation(node, args)
    second = constant(node, args, 1, "shape")
    shape: tuple[int, ...]
    try:
        match node.op:
            case "Flatten":
                along = node.integer("axis", 1)
                along += len(x.shape) if along < 0 else 0
                shape = (math.prod(x.shape[:along]), math.prod(x.shape[along:]))
            case "Reshape":
                target = (
                    node.integers("shape") or () if second is None else [int(d) for d in second.reshape(-1)]
                )
                shape = reshaped(x.shape, target, bool(node.integer("allowzero", 0)))
            case "Squeeze":
                shape = squeezed(x.shape, axes_of(node, (None, second)))
            case "Unsqueeze":
                shape = unsqueezed(x.shape, axes_of(node, (None, second)))
            case _:
                order = node.integers("perm") or tuple(range(len(x.shape)))[::-1]
                if sorted(order) != list(range(len(x.shape))):
                    raise ValueError(f"perm {order} does not fit shape {x.shape}")
                return replace(x, places=x.places.transpose(order))
    except (ValueError, TypeError, OverflowError) as error:  # the latter two: a shape of NaN or infinity
        raise node.error(
            str(error), "export with a batch of 1 or a dynamic batch, one flat vector per sample"
        ) from None
    if len(shape) > MAX_RANK:
        raise node.error(f"makes {len(shape)} dimensions", f"the most is {MAX_RANK}")
    return replace(x, places=x.places.reshape(shape))


def same(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """Identity, Dropout in inference, Cast from float to float."""
    x = activation(node, args)
    if node.op == "Cast" and x.stage == "layer" and node.integer("to", 0) not in FLOAT_TYPES:
        raise node.error(f"casts activations to {type_name(node.integer('to', 0))}", "export the float model")
    training = constant(node, args, 2, "training_mode") if node.op == "Dropout" else None
    if training is not None and np.any(training):
        raise node.error("is in training mode", "export the model for inference, after model.eval()")
    return x
