"""The table of supported ONNX operators; and what may stand behind the scores without changing the class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ...discovery import rows
from ...errors import shown
from .._layers import function_of
from .._layout import arrange, natural
from .._masks import hidden, masked
from .._names import from_node
from .attention import attention, einsum
from .batch import BY_VALUE, refuse_mixing
from .choices import compare
from .concat import concat
from .file import AGAIN, OnnxNode
from .fold import axis
from .indexed import blocks, gather, gather_each, repeated, slices, split
from .layers import (
    Act,
    Const,
    Handler,
    Operand,
    Scope,
    activation,
    batch_norm,
    gemm,
)
from .matmul import fused_product, product
from .norms import any_axes, group, instance, last_axes, local, unit
from .pad import pad
from .pairs import arithmetic, extreme, several
from .products import choose, known, multiply, of_mask, part
from .recurrent import recurrent
from .resize import resize
from .sklearn import linear_classifier, linear_regressor, scaler
from .spatial import REDUCTIONS, conv, global_pool, pool, reduce, running
from .unary import inverse, power, unary
from .upsampling import conv_transpose
from .views import clip, reshape, same

_VIEWS = ("Identity", "Cast", "CastLike", "Reshape", "Flatten", "Squeeze", "Unsqueeze")
# What may follow each stage.
AFTER: Mapping[str, tuple[str, ...]] = {
    "softmax": (*_VIEWS, "Dropout", "Normalizer", "ArgMax", "ZipMap"),
    "label": (*_VIEWS, "ArrayFeatureExtractor"),
    "map": ("Identity",),
}


def _axis(node: OnnxNode, x: Act, along: int) -> int:
    try:
        return axis(along, len(x.shape))
    except ValueError as error:
        raise node.error(str(error), AGAIN) from None


def _over_features(node: OnnxNode, x: Act, along: int) -> None:
    first = _axis(node, x, along)
    if x.shape[first] != x.size or (first == 0 and len(x.shape) > 1):
        raise node.error(
            f"works along axis {along} of shape {x.shape}, not over the classes", "use the last axis"
        )


def softmax(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """Softmax and LogSoftmax; those of the scores keep their order: dropped, but remembered as the head."""
    x = activation(node, args)
    old = scope.opset < 13  # until then all axes from `axis` on were one
    along = node.integer("axis", 1 if old else -1)
    first = _axis(node, x, along)
    if first == 0 and len(x.shape) > 1:
        what = f"works along axis {along} of shape {x.shape}, not over the classes"
        raise node.error(what, "use the last axis")
    places = x.places.reshape(*x.shape[:first], -1) if old else np.moveaxis(x.places, first, -1)
    if places.shape[-1] == x.size and node.outputs[0] not in scope.inside:
        return replace(x, stage="softmax", head="softmax")
    tensor = arrange(scope.builder, x.tensor, places, node.source)
    if tensor is None:
        what = "its values lie in an order that no transpose makes"
        raise node.error(what, "put the softmax behind a dense layer or a convolution")
    log, size = node.op == "LogSoftmax", places.shape[-1]
    y = scope.builder.softmax(tensor, size, log, 1.0, [from_node(node.name)], node.source)
    made = natural(places.shape)
    return Act(y, made.reshape(x.shape) if old else np.moveaxis(made, -1, first))


def argmax(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """The class itself: the compiled network gives it anyway, beside the scores."""
    x = activation(node, args)
    _over_features(node, x, node.integer("axis", 0))
    if node.integer("select_last_index", 0):
        raise node.error("prefers the last of equal scores", "export with select_last_index = 0")
    scope.builder.notes.append(f"{node.source} dropped: the compiled network gives the winner and the scores")
    return replace(x, stage="label")


def lookup(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """skl2onnx looks the label up in the list of classes; the compiled network counts classes from 0."""
    x = activation(node, args, 1)
    if x.stage != "label":
        raise node.error(
            "is supported only to look up the label at the model's end", "export scores or probabilities"
        )
    classes = args[0]
    names = np.asarray(classes.value).reshape(-1)[:16].tolist() if isinstance(classes, Const) else []
    scope.builder.notes.append(f"{node.source} dropped: class i stands for entry i of {shown(str(names))}")
    return x


def zipmap(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """skl2onnx hands the probabilities out as dictionaries."""
    scope.builder.notes.append(f"{node.source} dropped: the scores come as an array")
    return replace(activation(node, args), stage="map")


def without_sigmoid(scope: Scope, x: Act) -> Act:
    """The result of a network without a sigmoid over two or more scores: it keeps their order."""
    node = scope.builder.producer(x.tensor)
    if node is None or function_of(node) != "sigmoid" or x.size < 2:
        return x
    scope.builder.notes.append(f"{node.source} dropped: it does not change which score is the largest")
    return replace(x, tensor=node.inputs[0], head="sigmoid" if x.head == "none" else x.head)


ONNX_OPERATORS: Mapping[str, Handler] = {
    "Abs": unary,
    "Add": arithmetic,
    "Atan": unary,
    "Attention": attention,
    "AveragePool": pool,
    "BatchNormalization": batch_norm,
    "Cast": of_mask,
    "CastLike": same,
    "Ceil": unary,
    "Celu": unary,
    "Clip": clip,
    "Concat": concat,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "Cos": unary,
    "CumSum": running,
    "DepthToSpace": blocks,
    "Div": arithmetic,
    "Dropout": same,
    "Einsum": einsum,
    "Elu": unary,
    "Erf": unary,
    "Erfc": part,
    "Exp": unary,
    "Expand": repeated,
    "Flatten": reshape,
    "Floor": unary,
    "FusedMatMul": fused_product,
    "Gather": gather,
    "GatherElements": gather_each,
    "GatherND": gather_each,
    "GRU": recurrent,
    "Gelu": unary,
    "Gemm": gemm,
    "GlobalAveragePool": global_pool,
    "GlobalMaxPool": global_pool,
    "Greater": part,
    "GreaterOrEqual": compare,
    "GroupNormalization": group,
    "HardSigmoid": unary,
    "HardSwish": unary,
    "Identity": same,
    "InstanceNormalization": instance,
    "LayerNormalization": last_axes,
    "LRN": local,
    "LSTM": recurrent,
    "LeakyRelu": unary,
    "Less": compare,
    "LessOrEqual": compare,
    "LinearClassifier": linear_classifier,
    "LinearRegressor": linear_regressor,
    "Log": unary,
    "LpNormalization": unit,
    "MatMul": product,
    "Max": extreme,
    "MaxPool": pool,
    "Mean": several,
    "MeanVarianceNormalization": any_axes,
    "Min": extreme,
    "Mish": unary,
    "Mul": multiply,
    "Neg": arithmetic,
    "Normalizer": unit,
    "Not": of_mask,
    "PRelu": unary,
    "Pad": pad,
    "Pow": power,
    "RMSNormalization": last_axes,
    "RNN": recurrent,
    "Reciprocal": inverse,
    **dict.fromkeys(REDUCTIONS, reduce),
    "Relu": clip,
    "Reshape": reshape,
    "Resize": resize,
    "Round": unary,
    "Scaler": scaler,
    "Selu": unary,
    "Shrink": unary,
    "Sigmoid": unary,
    "Sign": unary,
    "Sin": unary,
    "Slice": slices,
    "SimplifiedLayerNormalization": last_axes,
    "Softplus": unary,
    "Softsign": unary,
    "SpaceToDepth": blocks,
    "Split": split,
    "Sqrt": unary,
    "Squeeze": reshape,
    "Sub": arithmetic,
    "Sum": several,
    "Swish": unary,
    "Tanh": unary,
    "ThresholdedRelu": unary,
    "Tile": repeated,
    "Transpose": reshape,
    "Unsqueeze": reshape,
    "Upsample": resize,
    "Where": choose,
}
SOFTMAXES = ("LogSoftmax", "Softmax")
HEADS: Mapping[str, Handler] = {
    "ArgMax": argmax,
    "ArrayFeatureExtractor": lookup,
    **dict.fromkeys(SOFTMAXES, softmax),
    "ZipMap": zipmap,
}
ML_OPS = ("ArrayFeatureExtractor", "LinearClassifier", "LinearRegressor", "Normalizer", "Scaler", "ZipMap")


def operators() -> Mapping[str, Handler]:
    """The operators that become layers, with those that ops from outside bring as `ONNX_OPERATORS`."""
    return rows("ONNX_OPERATORS", ONNX_OPERATORS)


def supported() -> tuple[str, ...]:
    return tuple(sorted({*operators(), *HEADS}))


def _of_one_rank(args: Sequence[Operand]) -> list[Operand]:
    """The operands, each activation with as many axes in front as the one, or the constant, of most has."""
    rank = max(len(a.shape) if isinstance(a, Act) else a.value.ndim for a in args if a is not None)
    return [
        replace(a, places=a.places.reshape((1,) * (rank - len(a.shape)) + a.shape))
        if isinstance(a, Act)
        else a
        for a in args
    ]


def _before_softmax(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> list[Operand]:
    """The operands of a mask that is added, or of a choice between scores and what hides them."""
    rank = max(len(a.shape) for a in args if isinstance(a, Act))
    usual = 1 if scope.opset < 13 else -1
    last = all(s.integer("axis", usual) in (-1, rank - 1) for s in scope.shared[node.outputs[0]])

    def kept(value: np.ndarray) -> np.ndarray:
        if node.op == "Where":
            return hidden(scope.builder, node.source, value)
        return masked(scope.builder, node.source, value) if last else value

    return [a._replace(value=kept(a.value)) if isinstance(a, Const) and a.steps is None else a for a in args]


def convert(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act | tuple[Act, ...]:
    """The results of a supported operator at least one operand of which is an activation."""
    refuse_mixing(scope, node, args)
    if node.op not in ("Where", *_VIEWS) or node.op == "CastLike":
        args = [known(scope, node, a) if isinstance(a, Act) else a for a in args]
    args = _of_one_rank(args) if node.op in BY_VALUE else args
    if node.op in ("Add", "Where") and node.outputs[0] in scope.shared:
        args = _before_softmax(scope, node, args)
    stage = next((a.stage for a in args if isinstance(a, Act) and a.stage != "layer"), "layer")
    if stage == "layer":
        return (HEADS.get(node.op) or operators()[node.op])(scope, node, args)
    if node.op not in AFTER[stage]:
        what = {"softmax": "the result of a Softmax", "label": "class numbers", "map": "a ZipMap"}[stage]
        hint = f"that belongs to the model's end; behind it may stand {', '.join(AFTER[stage])}"
        raise node.error(f"works on {what}", hint)
    if node.op in (*_VIEWS, "Dropout", "Normalizer"):  # shares that are normalised keep their order
        return activation(node, args)
    return HEADS[node.op](scope, node, args)
