"""Normalisations of float .tflite files, which converters write in several operators, put back together.

    x r + (beta - mean r), (x - mean) r    with r = gamma / sqrt(MEAN((x - mean)^2) + epsilon)
    x / sqrt(MEAN(x^2) + epsilon)          RMS norm
    x / sqrt(SUM(x^2))                     unit vectors; the sum is held above a number that vanishes

The root may be RSQRT, or SQRT that is divided by; NEG of a mean stands for a beta of 0. What is put in the
place of the last operator reads x, gamma and beta.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tflite.ReducerOptions import ReducerOptions

from .file import LiteOp, LiteTensor, Normalised
from .float import OPTIONS

Measure = tuple[LiteTensor, LiteTensor | None, str, tuple[int, ...], float]
SQUARE = 2.0
VANISHING = 1e-6  # what is added to a root, or what a sum of squares is held above, at most


@dataclass(frozen=True, slots=True)
class _Root:
    """gamma / sqrt(measure): of what, along which axes, and whether its mean was taken off."""

    x: int
    kind: str
    axes: tuple[int, ...]
    epsilon: float
    mean: int | None
    gamma: LiteTensor | None


class _Finder:
    """Looks for patterns that end in an operator. Tensors are told by their numbers."""

    def __init__(self, ops: Sequence[LiteOp]) -> None:
        self.makers: Mapping[int, LiteOp] = {op.outputs[0].index: op for op in ops}

    def maker(self, tensor: LiteTensor | None, *names: str) -> LiteOp | None:
        op = None if tensor is None or tensor.kind != "float32" else self.makers.get(tensor.index)
        return op if op is not None and op.op in names and None not in op.inputs and op.inputs else None

    def pairs(self, op: LiteOp | None, last: bool = False) -> list[tuple[LiteTensor, LiteTensor]]:
        """Both orders of the operands of an operator of two; none where a function is fused into it, which
        only the last one may have."""
        if op is None or len(op.inputs) != 2 or None in op.inputs or (_fused(op) and not last):
            return []
        a, b = op.inputs
        assert a is not None and b is not None
        return [(a, b), (b, a)]

    def with_number(self, op: LiteOp | None) -> tuple[LiteTensor, float] | None:
        """The computed operand, and the one number that it is taken together with."""
        for x, c in self.pairs(op):
            if x.value is None and c.value is not None and c.size == 1 and c.kind == "float32":
                return x, float(c.value.reshape(-1)[0])
        return None

    def reduced(self, op: LiteOp | None) -> tuple[LiteTensor, tuple[int, ...]] | None:
        """What is reduced, and along which axes, where these stay."""
        if op is None or len(op.inputs) != 2 or op.inputs[0] is None or op.inputs[1] is None:
            return None
        x, axes = op.inputs[0], op.inputs[1].value
        if axes is None or axes.dtype.kind != "i" or not op.number(op.read(ReducerOptions).KeepDims):
            return None
        rank = len(x.shape)
        if not axes.size or any(not -rank <= a < rank for a in axes.reshape(-1)):
            return None
        return x, tuple(sorted({int(a) % rank for a in axes.reshape(-1)}))

    def mean_of(self, tensor: LiteTensor, x: LiteTensor) -> tuple[int, ...]:
        """The axes along which `tensor` is the mean of x; none if it is not."""
        found = self.reduced(self.maker(tensor, "MEAN"))
        return found[1] if found is not None and found[0] is x else ()

    def squared(self, tensor: LiteTensor) -> tuple[LiteTensor, LiteTensor | None] | None:
        """(x, mean) where `tensor` is (x - mean)^2; (x, None) where it is the square of anything else."""
        if (op := self.maker(tensor, "SQUARED_DIFFERENCE")) is not None:
            for x, mean in self.pairs(op):
                if self.mean_of(mean, x):
                    return x, mean
            return None
        op = self.maker(tensor, "SQUARE", "MUL", "POW")
        if op is None or op.inputs[0] is None:
            return None
        of = op.inputs[0]
        if (op.op == "MUL" and (op.inputs[-1] is not of or _fused(op))) or (op.op == "POW" and not _two(op)):
            return None
        return self.centred(of) or (of, None)

    def centred(self, tensor: LiteTensor) -> tuple[LiteTensor, LiteTensor] | None:
        """(x, mean) where `tensor` is x - mean."""
        op = self.maker(tensor, "SUB")
        if op is None or len(op.inputs) != 2 or _fused(op):
            return None
        x, mean = op.inputs
        assert x is not None and mean is not None
        return (x, mean) if self.mean_of(mean, x) else None

    def measure(self, tensor: LiteTensor) -> Measure | None:
        """(x, mean, kind, axes, epsilon) of what a root is taken of."""
        epsilon = 0.0
        added = self.with_number(self.maker(tensor, "ADD")) or self.with_number(self.maker(tensor, "MAXIMUM"))
        if added is not None:
            limited = self.maker(tensor, "MAXIMUM") is not None
            if not added[1] >= 0 or (limited and added[1] > VANISHING):
                return None
            tensor, epsilon = added[0], 0.0 if limited else added[1]
        kind = "SUM" if self.maker(tensor, "SUM") is not None else "MEAN"
        found = self.reduced(self.maker(tensor, kind))
        of = self.squared(found[0]) if found is not None else None
        if found is None or of is None or (kind == "SUM" and (of[1] is not None or epsilon > VANISHING)):
            return None
        x, mean = of
        if mean is not None and self.mean_of(mean, x) != found[1]:
            return None
        named = "squares" if kind == "SUM" else "mean_square" if mean is None else "variance"
        return x, mean, named, found[1], epsilon if kind == "MEAN" else 0.0

    def root(self, tensor: LiteTensor, divisor: bool) -> _Root | None:
        """`tensor` as what x is multiplied by, or divided by where `divisor`."""
        gamma, name, more = None, "SQRT" if divisor else "RSQRT", 0.0
        if not divisor and (op := self.maker(tensor, "MUL")) is not None:
            for inner, c in self.pairs(op):
                if c.value is not None and c.kind == "float32" and self.maker(inner, name) is not None:
                    tensor, gamma = inner, c
                    break
        if divisor and (added := self.with_number(self.maker(tensor, "ADD"))) is not None:
            tensor, more = added
        op = self.maker(tensor, name)
        if op is None or op.inputs[0] is None or not 0 <= more <= VANISHING:
            return None
        if (found := self.measure(op.inputs[0])) is None:
            return None
        x, mean, kind, axes, epsilon = found
        index = None if mean is None else mean.index
        return _Root(x.index, kind, axes, max(epsilon, more * more), index, gamma)

    def scaled(self, op: LiteOp | None, last: bool = False) -> tuple[LiteTensor, LiteTensor, _Root] | None:
        """(v, r, root) where `op` gives v r."""
        for v, r in self.pairs(op, last)[: 1 if op is not None and op.op == "DIV" else 2]:
            if (root := self.root(r, op is not None and op.op == "DIV")) is not None:
                return v, r, root
        return None

    def whole(self, op: LiteOp) -> LiteOp | None:
        """The one operator that `op` ends; None if it ends none."""
        if op.outputs[0].kind != "float32":
            return None
        if op.op in ("MUL", "DIV"):
            return self._product(op)
        orders = {"ADD": 2, "SUB": 1}.get(op.op, 0)
        made = (self._sum(op, product, rest) for product, rest in self.pairs(op, True)[:orders])
        return next((m for m in made if m is not None), None)

    def _product(self, op: LiteOp) -> LiteOp | None:
        """(x - mean) r, or x r without a mean."""
        found = self.scaled(op, True)
        if found is None:
            return None
        v, _, root = found
        if root.mean is None:
            return _made(op, v, root, None) if v.index == root.x else None
        centred = self.centred(v)
        fits = centred is not None and (centred[0].index, centred[1].index) == (root.x, root.mean)
        return _made(op, centred[0], root, None) if fits and centred is not None else None

    def _sum(self, op: LiteOp, product: LiteTensor, rest: LiteTensor) -> LiteOp | None:
        """x r + (beta - mean r), or x r - mean r; both by DIV where x is divided."""
        scaler = self.maker(product, "MUL", "DIV")
        found = self.scaled(scaler)
        if scaler is None or found is None or found[2].mean is None or found[0].index != found[2].x:
            return None
        x, r, root = found
        by = scaler.op
        beta: LiteTensor | None = None
        if op.op == "SUB":
            return _made(op, x, root, None) if self._is_mean(rest, r, root, by, False) else None
        if (less := self.maker(rest, "SUB")) is not None and not _fused(less) and len(less.inputs) == 2:
            beta, shift = less.inputs
            fits = beta is not None and beta.value is not None and beta.kind == "float32"
            return _made(op, x, root, beta) if fits and self._is_mean(shift, r, root, by, False) else None
        return _made(op, x, root, None) if self._is_mean(rest, r, root, by, True) else None

    def _is_mean(
        self, tensor: LiteTensor | None, r: LiteTensor, root: _Root, by: str, negative: bool
    ) -> bool:
        """Whether a tensor is the mean, or -mean, taken together with r as x is: `by` MUL or DIV."""
        if negative and (outer := self.maker(tensor, "NEG")) is not None:
            return self._is_mean(outer.inputs[0], r, root, by, False)
        for v, other in self.pairs(self.maker(tensor, by))[: 1 if by == "DIV" else 2]:
            inner = self.maker(v, "NEG") if negative else None
            of = inner.inputs[0] if inner is not None else None if negative else v
            if other is r and of is not None and of.index == root.mean:
                return True
        return False


def _fused(op: LiteOp) -> bool:
    """Whether a function is fused into an operator of two operands."""
    if op.table is None or op.op not in OPTIONS:
        return False
    return op.number(op.read(OPTIONS[op.op]).FusedActivationFunction) != 0


def _two(op: LiteOp) -> bool:
    """Whether POW raises to 2."""
    power = op.inputs[1] if len(op.inputs) == 2 else None
    if power is None or power.value is None or power.size != 1:
        return False
    return float(power.value.reshape(-1)[0]) == SQUARE


def _made(op: LiteOp, x: LiteTensor, root: _Root, beta: LiteTensor | None) -> LiteOp:
    how = Normalised(root.axes, root.kind, root.epsilon)
    return replace(op, inputs=(x, root.gamma, beta), normalised=how)


def fused(ops: Sequence[LiteOp]) -> tuple[LiteOp, ...]:
    """The operators, those that end a normalisation replaced by one that is it."""
    finder = _Finder(ops)
    return tuple(finder.whole(op) or op for op in ops)
