"""Normalisations that exporters write in several operators, put back together before the file is read.

    d = x - ReduceMean(x);  y = d / Sqrt(ReduceMean(d^2) + epsilon)      PyTorch up to opset 16
    y = x / Sqrt(ReduceMean(x^2) + epsilon)                              RMS norm
    y = x / ReduceL2(x), the norm held above a small number              torch.nn.functional.normalize

The division may be one by a reciprocal. What is put in the place of the last operator reads x alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from onnx import helper

from ._onnx_file import OnnxNode

Constants = Callable[[str], np.ndarray | None]
SQUARE = 2.0
VANISHING = 1e-6  # what a norm is held above, at most: of activations in integers that is nothing


class _Finder:
    """Looks for patterns that end in a node."""

    def __init__(self, nodes: Sequence[OnnxNode], constant: Constants) -> None:
        self.makers: Mapping[str, OnnxNode] = {n.outputs[0]: n for n in nodes if n.outputs and not n.domain}
        self.constant = constant

    def maker(self, name: str, *ops: str) -> OnnxNode | None:
        node = self.makers.get(name)
        return node if node is not None and node.op in ops and node.inputs else None

    def number(self, name: str) -> float | None:
        value = self.constant(name) if name else None
        if value is None or value.size != 1 or value.dtype.kind not in "fiu":
            return None
        return float(value.reshape(-1)[0])

    def with_number(self, node: OnnxNode | None) -> tuple[str, float] | None:
        """The other operand of a node of two, one of which is a number; and that."""
        if node is None or len(node.inputs) != 2:
            return None
        for x, c in (node.inputs, node.inputs[::-1]):
            number = self.number(c)
            if number is not None:
                return x, number
        return None

    def quotient(self, node: OnnxNode) -> list[tuple[str, str]]:
        """What a node may divide by what."""
        if len(node.inputs) != 2:
            return []
        if node.op == "Div":
            return [(node.inputs[0], node.inputs[1])]
        found = []
        for x, inverse in (node.inputs, node.inputs[::-1]) if node.op == "Mul" else ():
            if (reciprocal := self.maker(inverse, "Reciprocal")) is not None:
                found.append((x, reciprocal.inputs[0]))
            one = self.maker(inverse, "Div")
            if one is not None and len(one.inputs) == 2 and self.number(one.inputs[0]) == 1.0:
                found.append((x, one.inputs[1]))
        return found

    def square(self, name: str) -> str:
        """What `name` is the square of; "" if of nothing."""
        node = self.maker(name, "Mul", "Pow")
        if node is None or len(node.inputs) != 2:
            return ""
        left, right = node.inputs
        if node.op == "Mul":
            return left if left == right else ""
        return left if self.number(right) == SQUARE else ""

    def reduced(self, node: OnnxNode | None) -> tuple[str, tuple[int, ...]] | None:
        """What is reduced, and along which axes, where these stay."""
        if node is None or not node.integer("keepdims", 1) or node.integer("noop_with_empty_axes", 0):
            return None
        axes = node.integers("axes")
        if axes is None and len(node.inputs) > 1:
            value = self.constant(node.inputs[1])
            whole = value is not None and value.dtype.kind == "i"
            axes = tuple(int(a) for a in value.reshape(-1)) if whole and value is not None else None
        return (node.inputs[0], tuple(sorted(axes))) if axes else None

    def centred(self, name: str) -> tuple[str, tuple[int, ...]] | None:
        """x and the axes, where `name` is x without its mean."""
        node = self.maker(name, "Sub")
        if node is None or len(node.inputs) != 2:
            return None
        mean = self.reduced(self.maker(node.inputs[1], "ReduceMean"))
        return mean if mean is not None and mean[0] == node.inputs[0] else None

    def root(self, name: str) -> tuple[str, tuple[int, ...], float] | None:
        """d, axes and epsilon, where `name` is Sqrt(ReduceMean(d^2) + epsilon)."""
        node = self.maker(name, "Sqrt")
        if node is None:
            return None
        inner, epsilon = node.inputs[0], 0.0
        if (added := self.with_number(self.maker(inner, "Add"))) is not None:
            inner, epsilon = added
        mean = self.reduced(self.maker(inner, "ReduceMean"))
        of = self.square(mean[0]) if mean is not None else ""
        return (of, mean[1], epsilon) if mean is not None and of else None

    def norm(self, name: str) -> tuple[str, int] | None:
        """x and the axis, where `name` is its Euclidean norm, perhaps held above a number that vanishes."""
        node = self.maker(name, "Expand")
        name = node.inputs[0] if node is not None else name
        if (limited := self.maker(name, "Clip", "Max")) is not None:
            limit = self.number(limited.inputs[1]) if len(limited.inputs) > 1 else limited.real("min", 0.0)
            above = any(limited.inputs[2:]) or "max" in limited.attrs
            if limit is None or not 0 <= limit <= VANISHING or above:
                return None
            name = limited.inputs[0]
        found = self.reduced(self.maker(name, "ReduceL2"))
        return (found[0], found[1][0]) if found is not None and len(found[1]) == 1 else None

    def whole(self, node: OnnxNode) -> OnnxNode | None:
        """The one operator that `node` ends; None if it ends none."""
        for x, measure in self.quotient(node):
            if (norm := self.norm(measure)) is not None and norm[0] == x:
                return _made(node, "LpNormalization", x, axis=norm[1], p=2)
            root = self.root(measure)
            if root is None:
                continue
            of, axes, epsilon = root
            centred = self.centred(x)
            same = centred is not None and (of == x or self.centred(of) == centred)
            if same and centred is not None and centred[1] == axes:
                return _made(node, "MeanVarianceNormalization", centred[0], axes=axes, epsilon=epsilon)
            if of == x:
                return _made(node, "RMSNormalization", x, axes=axes, epsilon=epsilon)
        return None


def _made(node: OnnxNode, op: str, x: str, **attrs: object) -> OnnxNode:
    found = {name: helper.make_attribute(name, value) for name, value in attrs.items()}
    return replace(node, op=op, inputs=(x,), attrs=found)


def fused(nodes: Sequence[OnnxNode], constant: Constants) -> list[OnnxNode]:
    """The nodes, those that end a normalisation replaced by one that is it.

    constant: the content of a tensor that the file holds; None where it is computed
    """
    finder = _Finder(nodes, constant)
    return [finder.whole(node) or node for node in nodes]
