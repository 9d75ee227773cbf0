"""Functions that an int8 file computes in float32: DEQUANTIZE, one function of each value, QUANTIZE.

Converters write so what LiteRT has not in int8. Of a tensor with one scale such a chain is a table of 256
entries (gen/ops/_between.py); it becomes one operator on integers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from .file import LiteOp, LiteTensor

VIEWS = ("EXPAND_DIMS", "RESHAPE", "SQUEEZE")


def bridged(ops: Sequence[LiteOp], functions: Collection[str]) -> tuple[LiteOp, ...]:
    """The operators; the QUANTIZE behind a chain is the function itself, from int8 to int8.

    functions: the operators that are a function of each value of their first input. What else reads the
    chain's tensors in float32 still does.
    """
    makers = {op.outputs[0].index: op for op in ops}
    return tuple(_bridged(op, makers, functions) if op.op == "QUANTIZE" else op for op in ops)


def _bridged(end: LiteOp, makers: Mapping[int, LiteOp], functions: Collection[str]) -> LiteOp:
    """A QUANTIZE as the function that it ends; itself where it ends none."""
    last, read = end.outputs[0], _first(end)
    if last.kind != "int8" or read is None or read.kind != "float32":
        return end
    found: list[LiteOp] = []
    passed = 0
    while read is not None and (op := makers.get(read.index)) is not None and passed < len(makers):
        passed += 1
        if op.op == "DEQUANTIZE":
            return _joined(op, found, end)
        if op.op in functions:
            found.append(op)
        elif op.op not in VIEWS:
            return end
        read = _first(op)
    return end


def _joined(start: LiteOp, found: Sequence[LiteOp], end: LiteOp) -> LiteOp:
    x = _first(start)
    if x is None or x.kind != "int8" or x.value is not None or len(found) > 1:
        return end
    if not found:
        return replace(end, inputs=(x,), between=True)
    (op,) = found
    return replace(op, inputs=(x, *op.inputs[1:]), outputs=end.outputs, between=True)


def _first(op: LiteOp) -> LiteTensor | None:
    return op.inputs[0] if op.inputs else None
