"""The ONNX operators that limit, join or only view activations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ._layout import arrange, axes_by_stride, is_natural, natural
from ._names import from_node
from ._onnx_file import AGAIN, FLOAT_TYPES, MAX_RANK, SMALLEST, OnnxNode, type_name
from ._onnx_fold import axes_of, axis, reshaped, squeezed, unsqueezed
from ._onnx_layers import Act, Operand, Scope, activation, constant, disordered


def limit(node: OnnxNode, args: Sequence[Operand], i: int, attr: str, default: float) -> float:
    """Operand i, or the attribute, as one number; infinite where exporters write that there is none."""
    value = constant(node, args, i, attr)
    if value is None:
        end = node.real(attr, default)
    elif value.size == 1:
        end = float(value.reshape(-1)[0])
    else:
        raise node.error(
            f"its {attr} has shape {value.shape}", "only one limit for all values can be compiled"
        )
    return -math.inf if end <= SMALLEST else math.inf if end >= -SMALLEST else end


def limited(scope: Scope, node: OnnxNode, x: Act, lo: float, hi: float) -> Act:
    """x held within lo .. hi."""
    if not lo < hi:
        raise node.error(f"its limits {lo} and {hi} leave no range", "repair the limits")
    if math.isinf(lo) and math.isinf(hi):
        return x
    return replace(x, tensor=scope.builder.clip(x.tensor, lo, hi, [from_node(node.name)], node.source))


def clip(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """Relu; Clip with limits as attributes (to opset 10) or operands."""
    if node.op == "Relu":
        return limited(scope, node, activation(node, args), 0.0, math.inf)
    lo, hi = limit(node, args, 1, "min", -math.inf), limit(node, args, 2, "max", math.inf)
    return limited(scope, node, activation(node, args), lo, hi)


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
    order = _map_order(parts, along)
    rows = [p.places.transpose(order).reshape(-1, p.shape[along]) for p in parts]
    if len(rows[0]) == 1 or (_outermost(rows) and not all(is_natural(r) for r in rows)):
        return _joined_flat(scope, node, parts, along)
    tensors = []
    for part in parts:
        wanted = part.places.transpose(order).reshape(-1, shapes[0][order[-2]], part.shape[along])
        tensor = arrange(scope.builder, part.tensor, wanted, node.source)
        if tensor is None:
            raise disordered(node)
        tensors.append(tensor)
    joined = scope.builder.concat(tensors, [from_node(node.name)], node.source)
    stored = natural(scope.builder.shape(joined)).reshape([*(shapes[0][i] for i in order[:-1]), -1])
    return Act(joined, stored.transpose(np.argsort(order)))


def _map_order(parts: Sequence[Act], along: int) -> tuple[int, ...]:
    """The axes, the joined one last, as the first part has them that does not lie as in the file."""
    model = next((p for p in parts if not is_natural(p.places)), parts[0]).places
    return (*(i for i in axes_by_stride(model) if i != along), along)


def _outermost(rows: Sequence[np.ndarray]) -> bool:
    """Whether the joined axis is the slowest in memory: then the parts can stand one behind the other."""
    width = len(rows[0])
    return all(np.array_equal(r.T, np.arange(r.shape[1])[:, None] * width + rows[0][:, 0]) for r in rows)


def _joined_flat(scope: Scope, node: OnnxNode, parts: Sequence[Act], along: int) -> Act:
    builder = scope.builder
    ends = np.cumsum([p.size for p in parts])
    tensor = builder.concat([builder.flat(p.tensor) for p in parts], [from_node(node.name)], node.source)
    places = [p.places + np.int32(end - p.size) for p, end in zip(parts, ends, strict=True)]
    return Act(tensor, np.concatenate(places, along))


def reshape(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """Flatten, Reshape, Squeeze, Unsqueeze, Transpose: another view of the numbers."""
    x = activation(node, args)
    second = constant(node, args, 1, "shape")
    seen = scope.whole(x.shape)
    shape: tuple[int, ...]
    try:
        match node.op:
            case "Flatten":
                along = node.integer("axis", 1)
                along += len(seen) if along < 0 else 0
                shape = (math.prod(seen[:along]), math.prod(seen[along:]))
            case "Reshape":
                target = (
                    node.integers("shape") or () if second is None else [int(d) for d in second.reshape(-1)]
                )
                shape = reshaped(seen, target, bool(node.integer("allowzero", 0)))
            case "Squeeze":
                shape = squeezed(seen, axes_of(node, (None, second)))
            case "Unsqueeze":
                shape = unsqueezed(seen, axes_of(node, (None, second)))
            case _:
                order = node.integers("perm") or tuple(range(len(x.shape)))[::-1]
                if sorted(order) != list(range(len(x.shape))):
                    raise ValueError(f"perm {order} does not fit shape {x.shape}")
                return replace(x, places=x.places.transpose(order))
        shape = scope.one(shape)
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
