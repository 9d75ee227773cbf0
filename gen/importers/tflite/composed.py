"""Functions that a file computes in several operators, each value of one int8 tensor by itself.

Converters write so SELU, thresholds, softsign, tf.where; and what they leave in float32 between DEQUANTIZE
and QUANTIZE. However many they are, the last one is a function of that one int8: a table of 256 entries
(gen/ops/lookup.py). They become one operator where one of them has no form of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from .file import LiteOp, LiteTensor
from .values import SELECTS, SINGLE, TWO, VIEWS, operands

MOST = 64  # operators of one function
ALWAYS = frozenset(("DIV", "SELECT", "SELECT_V2"))
"""Those that have no form of their own in int8."""


def joined(ops: Sequence[LiteOp]) -> tuple[LiteOp, ...]:
    """The operators; where a function of one int8 tensor ends in int8, its last one reads that tensor and
    has all of it in `composed`. So has a SELECT of a network in float32 that is a function of one tensor."""
    whole, real = _Finder(ops, "int8"), _Finder(ops, "float32")
    return tuple(real.joined(op) if op.op in SELECTS else op for op in map(whole.joined, ops))


class _Finder:
    """Finds which tensor of one type, and no other, a tensor is a function of, value by value."""

    def __init__(self, ops: Sequence[LiteOp], kind: str) -> None:
        self.kind = kind
        self.makers: Mapping[int, LiteOp] = {out.index: op for op in ops for out in op.outputs}
        self.sources: dict[int, LiteTensor | None] = {}
        for op in ops:
            for out in op.outputs:
                self.sources[out.index] = self._source(op, out)

    def _source(self, op: LiteOp, out: LiteTensor) -> LiteTensor | None:
        """The tensor that the output is a function of, itself where it is of no other; else None."""
        own = out if out.kind == self.kind else None
        if len(op.outputs) != 1 or op.op not in (*SINGLE, *TWO, *VIEWS) or op.normalised or op.dilated:
            return own
        read = operands(op)
        varying = [t for t in read if t is not None and t.value is None]
        single = all(t is not None and (t.value is None or t.size == 1) for t in read)
        found = {t.index: s for t in varying if (s := self.of(t)) is not None}
        if not single or len(found) != len({t.index for t in varying}) or not found:
            return own
        (source, *others) = {s.index: s for s in found.values()}.values()
        alike = all(t.size == out.size for t in varying)
        return source if not others and alike and source.size == out.size else own

    def of(self, t: LiteTensor) -> LiteTensor | None:
        if t.index in self.sources:
            return self.sources[t.index]
        return t if t.kind == self.kind and t.value is None else None

    def joined(self, op: LiteOp) -> LiteOp:
        out = op.outputs[0]
        source = self.sources.get(out.index)
        if out.kind != self.kind or source is None or source.index == out.index or op.between or op.composed:
            return op
        if op.op in VIEWS:
            return op
        path = self._path(op, source)
        if path is None or (op.op not in ALWAYS and not _needed(path, op)):
            return op
        return replace(op, inputs=(source,), composed=tuple(path))

    def _path(self, end: LiteOp, source: LiteTensor) -> list[LiteOp] | None:
        """The operators between `source` and the output of `end`, in order; None if there are too many."""
        found: dict[int, LiteOp] = {}
        todo = [end]
        while todo and len(found) <= MOST:
            op = todo[-1]
            waits = [
                self.makers[t.index]
                for t in operands(op)
                if t is not None and t.value is None and t.index != source.index
                if self.makers[t.index].index not in found
            ]
            if waits:
                todo += waits
                continue
            found[todo.pop().index] = op
        return list(found.values()) if len(found) <= MOST else None


def _needed(path: Collection[LiteOp], end: LiteOp) -> bool:
    """Whether one of the operators has no form of its own, behind which no other table ends before `end`."""
    tables = {op.outputs[0].index for op in path if op is not end and op.outputs[0].kind == "int8"}
    kinds = {"float32", "bool"}
    todo, seen = [end], set[int]()
    makers = {op.outputs[0].index: op for op in path}
    while todo:
        op = todo.pop()
        if op.op in ALWAYS:
            return True
        for t in operands(op):
            if t is None or t.index not in makers or t.index in seen:
                continue
            if t.kind in kinds:
                return True
            if t.index not in tables:
                seen.add(t.index)
                todo.append(makers[t.index])
    return False
