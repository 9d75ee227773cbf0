"""Operators of the domain ai.onnx.ml, as skl2onnx writes scalers and linear models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...errors import shown
from .._layout import natural
from .file import AGAIN, OnnxNode
from .layers import Act, Operand, Scope, activation, affine, dense

Real = NDArray[np.float64]
_HEADS = {"NONE": "none", "LOGISTIC": "sigmoid", "SOFTMAX": "softmax"}
SHOWN = 16  # class names in a note


def _numbers(node: OnnxNode, name: str) -> Real:
    """An attribute of finite numbers, empty where it is missing."""
    found = np.array(node.reals(name) or (), np.float64)
    if not np.isfinite(found).all():
        raise node.error(f"its {name} holds numbers that are not finite", "train the model again")
    return found


def scaler(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """(x - offset) * scale, for each feature or for all alike."""
    x = activation(node, args)
    offset, scale = _numbers(node, "offset"), _numbers(node, "scale")
    offset, scale = (offset if offset.size else np.zeros(1)), (scale if scale.size else np.ones(1))
    if any(v.size not in (1, x.shape[-1] if x.shape else 1) for v in (offset, scale)):
        what = f"has {offset.size} offsets and {scale.size} scales, its input shape {x.shape}"
        raise node.error(what, AGAIN)
    return affine(scope, node, x, scale, -offset * scale)


def _rows(node: OnnxNode, x: Act, count: int) -> Real:
    """The coefficients, a row for each of `count` results."""
    found = _numbers(node, "coefficients")
    if count < 1 or found.size != count * x.size:
        what = f"has {found.size} coefficients for {count} results of {x.size} features"
        raise node.error(what, AGAIN)
    return found.reshape(count, x.size)


def _bias(node: OnnxNode, count: int) -> Real:
    found = _numbers(node, "intercepts")
    if found.size not in (0, count):
        raise node.error(f"has {found.size} intercepts for {count} results", AGAIN)
    return found if found.size else np.zeros(count)


def linear_regressor(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """A dense layer."""
    x, count = activation(node, args), node.integer("targets", 1)
    if node.string("post_transform", "NONE") != "NONE":
        raise node.error(f"ends with {shown(node.string('post_transform', ''))}", "export it with NONE")
    tensor = dense(scope, node, x, _rows(node, x, count), _bias(node, count), [])
    return Act(tensor, natural((*x.shape[:-1], count)))


def linear_classifier(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> tuple[Act, Act]:
    """A dense layer: the label, and the scores or probabilities, which keep the scores' order."""
    x, end = activation(node, args), node.string("post_transform", "NONE")
    if end not in _HEADS:
        what = f"makes probabilities by {shown(end)}"
        raise node.error(what, f"those by {', '.join(_HEADS)} can be compiled")
    numbers, names = node.integers("classlabels_ints"), node.strings("classlabels_strings")
    labels = [str(v) for v in numbers or names or ()]
    found = _numbers(node, "coefficients").size
    single = len(labels) == 2 and found == x.size
    weight = _rows(node, x, 1 if single else len(labels))
    bias = _bias(node, len(weight))
    if single:  # one row of scores, of the second class
        weight, bias = np.concatenate([-weight, weight]), np.concatenate([-bias, bias])
    tensor = dense(scope, node, x, weight, bias, [])
    scope.builder.notes.append(
        f"{node.source}: class i stands for entry i of {shown(str(labels[:SHOWN]))}"
        + ("" if end == "NONE" else f"; {end} dropped: the scores keep its order")
    )
    scores = Act(tensor, natural((*x.shape[:-1], len(bias))), head=_HEADS[end])
    return replace(scores, stage="label"), replace(scores, stage="layer" if end == "NONE" else "softmax")
