"""Normalisations that exporters write in several operators, put back together before the file is read.

    d = x - ReduceMean(x);  y = d / Sqrt(ReduceMean(d^2) + epsilon)      PyTorch up to opset 16
    y = x / Sqrt(ReduceMean(x^2) + epsilon)                              RMS norm
    y = x / ReduceL2(x), the norm held above a small number              torch.nn.functional.normalize
    s = gamma / Sqrt(ReduceMean(d^2) + epsilon);  y = x s - mean s + beta   Keras

The division may be one by a reciprocal, the mean one over space. What is put in the place of the last
operator reads x and gamma and beta.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
from onnx import helper

from .file import OnnxNode
from .told import Told

Constants = Callable[[str], np.ndarray | None]
HOLDING = ("If", "Loop", "Scan")
"""Operators that may read more than their inputs."""
SQUARE = 2.0
VANISHING = 1e-6  # what a norm is held above, at most: of activations in integers that is nothing


class _Finder:
    """Looks for patterns that end in a node."""

    def __init__(self, nodes: Sequence[OnnxNode], constant: Constants) -> None:
        self.makers: Mapping[str, OnnxNode] = {n.outputs[0]: n for n in nodes if n.outputs and not n.domain}
        self.every = {output: n for n in nodes for output in n.outputs}
        self.constant = constant

    def moves(self, name: str, held: Collection[str]) -> bool:
        """Whether a tensor depends on an input of the network: weights are normalised as well, once.

        held: the tensors that the file holds
        """
        todo, seen = [name], set[str]()
        while todo:
            name = todo.pop()
            node = self.every.get(name)
            if node is None and name and name not in held:
                return True
            if node is not None and node.op in HOLDING:
                return True
            if node is not None and name not in seen:
                seen.add(name)
                todo += node.inputs
        return False

    def maker(self, name: str, *ops: str) -> OnnxNode | None:
        node = self.makers.get(name)
        return node if node is not None and node.op in ops and node.inputs else None

    def number(self, name: str) -> float | None:
        value = self.constant(name) if name else None
        if value is None or value.size != 1 or value.ndim > 1 or value.dtype.kind not in "fiu":
            return None  # one of more axes may add these to what it is combined with
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

    def unit(self, node: OnnxNode, x: str, measure: str) -> list[OnnxNode]:
        """x over its Euclidean norm, where that is the measure; expanded as this was: x may have one row."""
        expanded = self.maker(measure, "Expand")
        norm = self.norm(expanded.inputs[0] if expanded is not None else measure)
        if norm is None or norm[0] != x:
            return []
        made = _made(node, "LpNormalization", x, axis=norm[1], p=2)
        if expanded is None:
            return [made]
        told = Told(node)
        y = told.write(made.op, made.inputs, made.attrs)
        told.write("Expand", (y, *expanded.inputs[1:]), output=node.outputs[0])
        return told.nodes

    def norm(self, name: str) -> tuple[str, int] | None:
        """x and the axis, where `name` is its Euclidean norm, perhaps held above a number that vanishes."""
        if (limited := self.maker(name, "Clip", "Max")) is not None:
            limit = self.number(limited.inputs[1]) if len(limited.inputs) > 1 else limited.real("min", 0.0)
            above = any(limited.inputs[2:]) or "max" in limited.attrs
            if limit is None or not 0 <= limit <= VANISHING or above:
                return None
            name = limited.inputs[0]
        found = self.reduced(self.maker(name, "ReduceL2"))
        return (found[0], found[1][0]) if found is not None and len(found[1]) == 1 else None

    def mean(self, name: str) -> tuple[str, tuple[int, ...] | None] | None:
        """x and the axes, where `name` is its mean; None for the axes of space."""
        space = self.maker(name, "GlobalAveragePool")
        return (space.inputs[0], None) if space is not None else self.reduced(self.maker(name, "ReduceMean"))

    def variance(self, name: str) -> tuple[str, str, float] | None:
        """x, its mean and epsilon, where `name` is 1 / Sqrt(ReduceMean((x - mean)^2) + epsilon)."""
        inverse = self.maker(name, "Reciprocal")
        root = self.maker(inverse.inputs[0], "Sqrt") if inverse is not None else None
        added = self.with_number(self.maker(root.inputs[0], "Add")) if root is not None else None
        mean = self.mean(added[0]) if added is not None else None
        centred = self.maker(self.square(mean[0]), "Sub") if mean is not None else None
        if added is None or mean is None or centred is None or len(centred.inputs) != 2:
            return None
        x, taken = centred.inputs
        return (x, taken, added[1]) if self.mean(taken) == (x, mean[1]) else None

    def scaled(self, node: OnnxNode) -> list[OnnxNode]:
        """Keras' normalisation that `node` ends; [] if it ends none."""
        if node.op != "Add" or len(node.inputs) != 2:
            return []
        for first, rest in (node.inputs, node.inputs[::-1]):
            for x, scale in self.factors(first):
                for inverse, gamma in self.factors(scale) or [(scale, "")]:
                    found = self.variance(inverse)
                    offset = self.offset(rest, found[1], scale) if found is not None else None
                    if found is not None and found[0] == x and offset is not None:
                        return self.normalised(node, found, gamma, offset)
        return []

    def factors(self, name: str) -> list[tuple[str, str]]:
        """The two operands of a product, in either order; [] if `name` is none."""
        node = self.maker(name, "Mul")
        if node is None or len(node.inputs) != 2:
            return []
        left, right = node.inputs
        return [(left, right), (right, left)]

    def offset(self, name: str, mean: str, scale: str) -> tuple[str, ...] | None:
        """What stands beside - mean * scale in a sum: nothing, or one operand."""
        node = self.maker(name, "Mul", "Add", "Sub")
        if node is None or len(node.inputs) != 2:
            return None
        if node.op == "Sub":
            return node.inputs[:1] if (mean, scale) in self.factors(node.inputs[1]) else None
        if node.op == "Mul":
            minus = [self.maker(a, "Neg") for a, b in self.factors(name) if b == scale]
            return () if any(m is not None and m.inputs[0] == mean for m in minus) else None
        for part, beta in (node.inputs, node.inputs[::-1]):
            if self.factors(part) and self.offset(part, mean, scale) == ():
                return (beta,)
        return None

    def normalised(
        self, node: OnnxNode, found: tuple[str, str, float], gamma: str, offset: tuple[str, ...]
    ) -> list[OnnxNode]:
        told, (x, mean, epsilon) = Told(node), found
        over = self.mean(mean)
        axes = over[1] if over is not None else None
        attrs = {"epsilon": helper.make_attribute("epsilon", epsilon)}
        if axes is None:
            y = told.write("InstanceNormalization", (x,), attrs)
        else:
            attrs |= {"axes": helper.make_attribute("axes", axes)}
            y = told.write("MeanVarianceNormalization", (x,), attrs)
        for op, operand in (("Mul", gamma), *(("Add", beta) for beta in offset)):
            y = told.write(op, (y, operand)) if operand else y
        told.nodes[-1] = replace(told.nodes[-1], outputs=node.outputs[:1])
        return told.nodes

    def whole(self, node: OnnxNode) -> list[OnnxNode]:
        """The normalisation over one measure that `node` ends; [] if it ends none."""
        for x, measure in self.quotient(node):
            if unit := self.unit(node, x, measure):
                return unit
            root = self.root(measure)
            if root is None:
                continue
            of, axes, epsilon = root
            centred = self.centred(x)
            same = centred is not None and (of == x or self.centred(of) == centred)
            if same and centred is not None and centred[1] == axes:
                return [_made(node, "MeanVarianceNormalization", centred[0], axes=axes, epsilon=epsilon)]
            if of == x:
                return [_made(node, "RMSNormalization", x, axes=axes, epsilon=epsilon)]
        return []


def _made(node: OnnxNode, op: str, x: str, **attrs: object) -> OnnxNode:
    found = {name: helper.make_attribute(name, value) for name, value in attrs.items()}
    return replace(node, op=op, inputs=(x,), attrs=found)


def fused(nodes: Sequence[OnnxNode], constant: Constants, held: Collection[str]) -> list[OnnxNode]:
    """The nodes, those that end a normalisation replaced by what it is; but of weights, which are computed.

    constant: the content of a tensor that the file holds; None where it is computed
    held:     the tensors that the file holds
    """
    finder = _Finder(nodes, constant)
    out: list[OnnxNode] = []
    for node in nodes:
        found = finder.scaled(node) or finder.whole(node)
        out += found if found and finder.moves(node.outputs[0], held) else [node]
    return out
