"""The ONNX operators that become dense, affine and add layers, and what all operators' handlers share."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from ...errors import CompileError
from .._build import Sliding
from .._layers import LayerBuilder
from .._layout import Places, arrange, axes_by_stride, is_natural, natural
from .._names import from_node, from_parameter
from .file import AGAIN, MAX_RANK, OnnxNode, checked_size


@dataclass(frozen=True, slots=True, eq=False)
class Act:
    """An activation; `stage` tells what became of it.

    places: where each value lies in the tensor, in the shape that the file sees, with a batch of 1
    """

    tensor: str
    places: Places
    stage: str = (
        "layer"  # or softmax, label, map: what stands behind the scores and does not change the class
    )
    head: str = "none"

    @property
    def shape(self) -> tuple[int, ...]:
        return self.places.shape

    @property
    def size(self) -> int:
        return self.places.size

    def stored(self, values: np.ndarray) -> np.ndarray:
        """`values`, one for each value of the activation in the file's order, in the tensor's order."""
        out = np.empty(self.size, values.dtype)
        out[self.places.reshape(-1)] = values.reshape(-1)
        return out


class Const(NamedTuple):
    """A value known at compile time; `name` is what the file calls it.

    steps: the scale of each number, where the file holds integers for them
    """

    value: np.ndarray
    name: str
    steps: np.ndarray | None = None


Operand = Act | Const | None


@dataclass(frozen=True, slots=True)
class Scope:
    """What an operator may need to know beside its operands."""

    builder: LayerBuilder
    opset: int
    added: Mapping[str, str]  # tensor -> the other operand of the Add that alone consumes it: MatMul's bias
    inside: frozenset[str] = frozenset()  # results of a softmax that a layer reads
    shared: Mapping[str, Sequence[OnnxNode]] = field(default_factory=dict)  # what softmaxes alone read; these
    pooled: Mapping[str, Sequence[OnnxNode]] = field(default_factory=dict)  # what MaxPools alone read; these
    batch: int = 1  # of the file's shapes: activations have one sample
    open: bool = False  # whether the file leaves the batch open
    read: Collection[str] = ()  # what the result needs

    def whole(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape that the file sees of an activation of `shape`."""
        return (shape[0] * self.batch, *shape[1:]) if shape else shape

    def one(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """What one sample has of a shape that the file sees. ValueError where samples do not lie in front."""
        if self.batch > 1 and (not shape or shape[0] % self.batch):
            raise ValueError(f"its result has shape {shape}, in which {self.batch} samples are mixed")
        return (shape[0] // self.batch, *shape[1:]) if shape else shape


Handler = Callable[[Scope, OnnxNode, Sequence[Operand]], "Act | tuple[Act, ...]"]
"""What writes an operator: its result, or one for each of its first outputs."""


def activation(node: OnnxNode, args: Sequence[Operand], i: int = 0) -> Act:
    """Operand i, which must depend on the model's input."""
    arg = args[i] if i < len(args) else None
    if not isinstance(arg, Act):
        what = f"operand {i + 1} is constant" if arg is not None else f"operand {i + 1} is missing"
        raise node.error(f"{what}, where an activation is expected", AGAIN)
    return arg


def weights(scope: Scope, node: OnnxNode, args: Sequence[Operand], i: int, role: str) -> np.ndarray:
    """Operand i, which must be a finite, not empty float constant, as float64."""
    arg = args[i] if i < len(args) else None
    if not isinstance(arg, Const):
        what = "is computed from the model's input" if arg is not None else "is missing"
        raise node.error(f"its {role} {what}", "export the model for inference, with constant weights")
    value = arg.value
    if value.dtype.kind != "f":
        what = f'its {role} "{arg.name}" is {value.dtype.name}'
        raise node.error(what, "export the float model: synapcc quantises by itself")
    if value.size == 0:
        raise node.error(f'its {role} "{arg.name}" is empty (shape {value.shape})', AGAIN)
    bad = int(value.size - np.count_nonzero(np.isfinite(value)))
    if bad:
        what = f'{bad} of the {value.size} values of its {role} "{arg.name}" are NaN or infinite'
        raise node.error(what, "train the model again or repair the file")
    if value.dtype != np.float32:
        note = f"{arg.name}: {value.dtype.name} values, used without rounding to float32"
        if note not in scope.builder.notes:
            scope.builder.notes.append(note)
    return value.astype(np.float64)


def constant(node: OnnxNode, args: Sequence[Operand], i: int, role: str) -> np.ndarray | None:
    """Operand i if it is there: a constant that steers the operator."""
    arg = args[i] if i < len(args) else None
    if isinstance(arg, Act):
        raise node.error(
            f"its {role} is computed from the model's input", "only constant ones can be compiled"
        )
    return None if arg is None else arg.value


def dense(
    scope: Scope, node: OnnxNode, x: Act, weight: np.ndarray, bias: np.ndarray, params: Sequence[str]
) -> str:
    """The tensor of weight [outputs, inputs] times x, all of whose values are one vector, plus bias."""
    outputs, inputs = weight.shape
    if x.size != inputs:
        what = f"its weight takes {inputs} values ({inputs} -> {outputs}), the activation has shape {x.shape}"
        raise node.error(
            what, "a dense layer takes one vector per sample: flatten in front of it, or " + AGAIN
        )
    if not is_natural(x.places):
        columns = np.empty_like(weight)
        columns[:, x.places.reshape(-1)] = weight
        weight = columns
    return scope.builder.dense(x.tensor, weight, bias, hints(node, params), node.source)


def hints(node: OnnxNode, params: Sequence[str]) -> list[str]:
    """What a layer may be called: by its node, or by its parameters."""
    return [from_node(node.name), *(from_parameter(p) for p in params if p)]


def param_names(args: Sequence[Operand]) -> list[str]:
    return [a.name for a in args if isinstance(a, Const)]


def gemm(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """alpha * x * B' + beta * C."""
    x = activation(node, args)
    if node.integer("transA", 0):
        raise node.error(
            "transA is set: the activation is transposed", "export the model with the batch in front"
        )
    matrix = weights(scope, node, args, 1, "weight")
    if matrix.ndim != 2 or len(x.shape) > 2:
        raise node.error(
            f"operands of shape {x.shape} and {matrix.shape} are no matrices", "flatten in front of it"
        )
    weight = node.real("alpha", 1.0) * (matrix if node.integer("transB", 0) else matrix.T)
    bias = np.zeros(weight.shape[0])
    if len(args) > 2 and args[2] is not None:
        given = weights(scope, node, args, 2, "bias")
        if given.size not in (1, bias.size) or given.shape[:-1] not in ((), (1,)):
            raise node.error(f"its bias has shape {given.shape}, the layer has {bias.size} outputs", AGAIN)
        bias = bias + node.real("beta", 1.0) * given.reshape(-1)
    if len(x.shape) == 2 and x.shape[1] == weight.shape[1]:
        return at_each(scope, node, x, weight, bias, param_names(args))
    tensor = dense(scope, node, x, weight, bias, param_names(args))
    return Act(tensor, natural((*x.shape[:-1], bias.size)))


def matmul(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """x * W, or W * x. A vector stands for one column, or one row, whose axis the result has not."""
    left = len(args) > 1 and isinstance(args[0], Const)
    x = activation(node, args, 1 if left else 0)
    matrix = weights(scope, node, args, 0 if left else 1, "weight")
    while matrix.ndim > 2 and matrix.shape[0] == 1:
        matrix = matrix[0]
    vector = matrix.ndim == 1
    if vector:
        matrix = matrix[None] if left else matrix[:, None]
    if matrix.ndim != 2:
        raise node.error(f"its weight has shape {matrix.shape}", "a dense layer's weight is a matrix")
    turned = left and len(x.shape) > 1
    seen = replace(x, places=x.places.swapaxes(-1, -2)) if turned else x
    weight = matrix if left else matrix.T
    if (seen.shape[-1] if seen.shape else 1) != weight.shape[1]:
        shapes = (matrix.shape, x.shape) if left else (x.shape, matrix.shape)
        raise node.error(f"operands of shape {shapes[0]} and {shapes[1]} do not fit", AGAIN)
    arg = args[0 if left else 1]
    params = [arg.name if isinstance(arg, Const) else "", scope.added.get(node.outputs[0], "")]
    y = at_each(scope, node, seen, weight, np.zeros(weight.shape[0]), params)
    if vector:
        return replace(y, places=y.places[..., 0])
    return replace(y, places=y.places.swapaxes(-1, -2)) if turned else y


def at_each(
    scope: Scope, node: OnnxNode, x: Act, weight: np.ndarray, bias: np.ndarray, params: Sequence[str]
) -> Act:
    """A dense layer along the last axis; at each step of a sequence it is a convolution of one place."""
    outputs, inputs = weight.shape
    made = natural((*x.shape[:-1], outputs))
    if x.size == inputs:
        return Act(dense(scope, node, x, weight, bias, params), made)
    rows = arrange(scope.builder, x.tensor, x.places.reshape(1, -1, inputs), node.source)
    if rows is None:
        raise disordered(node)
    columns, names = weight.reshape(outputs, 1, 1, inputs), hints(node, params)
    return Act(scope.builder.conv2d(rows, columns, bias, Sliding((1, 1)), 1, names, node.source), made)


def taken(scope: Scope, node: OnnxNode, x: Act, along: int, chosen: Sequence[int], name: str = "") -> Act:
    """x at these places of an axis; itself where they are all, in order. name: what the layer is called."""
    if list(chosen) == list(range(x.shape[along])):
        return x
    if not chosen:
        raise node.error(f"takes nothing of axis {along} of shape {x.shape}", AGAIN)
    order = axes_by_stride(x.places)
    tensor = arrange(scope.builder, x.tensor, x.places.transpose(order), node.source)
    if tensor is None:
        order = tuple(range(len(x.shape)))
        tensor = arrange(scope.builder, x.tensor, x.places, node.source)
    if tensor is None:
        raise disordered(node)
    shape = [len(chosen) if i == along else x.shape[i] for i in order]
    checked_size(tuple(shape), node.source)
    at = order.index(along)
    around = (math.prod(shape[:at]), x.shape[along], math.prod(shape[at + 1 :]))
    seen = scope.builder.view(tensor, around)
    y = scope.builder.gather(seen, 1, chosen, [name], node.source)
    return Act(y, natural(shape).transpose(np.argsort(order)))


def stretched(scope: Scope, node: OnnxNode, x: Act, shape: tuple[int, ...], beside: tuple[int, ...]) -> Act:
    """x, repeated where it has one element, to meet `shape`, which a constant of shape `beside` asks for."""
    checked_size(shape, node.source)
    if len(shape) == len(x.shape) and shape[:1] == x.shape[:1]:
        for i, n in enumerate(shape):  # a constant that an activation stands still beside
            x = taken(scope, node, x, i, [0] * n) if x.shape[i] < n else x
    if math.prod(shape) != x.size or len(shape) > MAX_RANK:
        raise node.error(f"a constant of shape {beside} does not fit values of shape {x.shape}", AGAIN)
    return replace(x, places=x.places.reshape(shape))


def affine(scope: Scope, node: OnnxNode, x: Act, scale: np.ndarray, shift: np.ndarray) -> Act:
    """scale * x + shift, broadcast as the file does."""
    try:
        shape = np.broadcast_shapes(x.shape, scale.shape, shift.shape)
    except ValueError:
        shape = ()
    x = stretched(scope, node, x, shape, scale.shape if scale.ndim else shift.shape)
    each = [x.stored(np.broadcast_to(v, shape)) for v in (scale, shift)]
    tensor = scope.builder.affine(x.tensor, each[0], each[1], [from_node(node.name)], node.source)
    return Act(tensor, x.places.reshape(shape))


def scaled(scope: Scope, node: OnnxNode, x: Act, factor: float) -> Act:
    """factor * x, a step of `node`."""
    if not math.isfinite(factor):
        raise node.error(f"multiplies by {factor}", "repair the file")
    return affine(scope, replace(node, name=""), x, np.full((), factor), np.zeros(()))


def disordered(node: OnnxNode) -> CompileError:
    return node.error(
        "its operands lie in orders that no transpose brings together",
        "put a dense layer behind flattened maps that are joined, or export the model channels-last",
    )


def batch_norm(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """scale * (x - mean) / sqrt(variance + epsilon) + shift, per channel (axis 1)."""
    x = activation(node, args)
    if node.integer("training_mode", 0):
        raise node.error("is in training mode", "export the model for inference, after model.eval()")
    roles = ("scale", "bias", "mean", "variance")
    scale, shift, mean, variance = (
        weights(scope, node, args, i + 1, r).reshape(-1) for i, r in enumerate(roles)
    )
    channels = x.shape[1] if len(x.shape) > 1 else x.size
    sizes = {v.size for v in (scale, shift, mean, variance)}
    if sizes not in ({channels}, {x.size}):
        raise node.error(f"its constants have {sorted(sizes)} values, the activation shape {x.shape}", AGAIN)
    spread = variance + node.real("epsilon", 1e-5)
    if np.any(spread <= 0):
        raise node.error("a variance is not positive", "train the model again or repair the file")
    factor = scale / np.sqrt(spread)
    shape = (1, -1, *(1 for _ in x.shape[2:])) if len(x.shape) > 1 and scale.size == channels else x.shape
    each = [v.reshape(shape) for v in (factor, shift - mean * factor)]
    return affine(scope, node, x, *each)
