"""The ONNX operators that limit, join or only view activations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .._names import from_node
from .file import FLOAT_TYPES, MAX_RANK, SMALLEST, OnnxNode, type_name
from .fold import axes_of, reshaped, squeezed, unsqueezed
from .layers import Act, Const, Operand, Scope, activation, constant


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
    """Identity, Dropout in inference, Cast and CastLike from float to float."""
    x = activation(node, args)
    like = args[1] if node.op == "CastLike" and len(args) > 1 else None
    if isinstance(like, Const) and like.value.dtype.kind != "f":
        raise node.error(f"casts activations to {like.value.dtype.name}", "export the float model")
    if node.op == "Cast" and x.stage == "layer" and node.integer("to", 0) not in FLOAT_TYPES:
        raise node.error(f"casts activations to {type_name(node.integer('to', 0))}", "export the float model")
    training = constant(node, args, 2, "training_mode") if node.op == "Dropout" else None
    if training is not None and np.any(training):
        raise node.error("is in training mode", "export the model for inference, after model.eval()")
    return x
