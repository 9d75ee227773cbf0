"""Why an operator of a TensorFlow Lite file cannot be compiled, and what is nearest to it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from ...errors import CompileError
from .file import LiteOp

CONTROL = ("CALL", "CALL_ONCE", "IF", "WHILE", "STABLEHLO_CASE", "STABLEHLO_WHILE")
RECURRENT = (
    *("BIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_RNN", "LSTM", "RNN", "SVDF"),
    *("UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN"),
    *("ASSIGN_VARIABLE", "READ_VARIABLE", "VAR_HANDLE"),
)
CHOICES = (
    *("EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL", "NOT_EQUAL"),
    *("LOGICAL_AND", "LOGICAL_NOT", "LOGICAL_OR", "SELECT", "SELECT_V2", "WHERE"),
)
MOST_TESTS = 64
"""Comparisons and masks of one SELECT."""
KINDS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "control flow": (CONTROL, "convert one straight path"),
    "it compares two tensors, or chooses between them": (
        CHOICES,
        f"in int8 and int16 a SELECT may read up to {MOST_TESTS} comparisons and masks, by LOGICAL_AND, "
        "LOGICAL_OR and LOGICAL_NOT; MAXIMUM and MINIMUM compare two",
    ),
    "it keeps a state between calls": (RECURRENT, "use convolutions over a window of time"),
}

LIKE: Mapping[str, str] = {
    "CAST": "QUANTIZE",
    "REDUCE_PROD": "MUL",
    "TOPK_V2": "REDUCE_MAX",
    **dict.fromkeys(("BITCAST", "BITWISE_XOR", "MATRIX_DIAG", "RANK"), ""),
}
"""What is nearest to operators whose names are like those of others; "" where nothing is."""


def unsupported(op: LiteOp, known: Iterable[str]) -> CompileError:
    """The refusal of an operator that is none of `known`."""
    for what, (operators, hint) in KINDS.items():
        if op.op in operators:
            like = "MAXIMUM" if operators is CHOICES else op.op
            return op.error(f"is not supported: {what}", f"{hint}; {_nearest(like, known)}")
    if op.op.startswith("CUSTOM"):
        what = "is not supported: an operator that is none of TensorFlow Lite's own"
        return op.error(what, f"convert with TFLITE_BUILTINS alone; {_nearest('', known)}")
    how = f" in {op.outputs[0].kind}" if op.outputs[0].dtype is not None else ""
    return op.error(f"is not supported{how}", _nearest(op.op, known))


def _nearest(op: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(LIKE.get(op, op), names, 1, 0.5)
    return (f"nearest is {near[0]}; " if near else "") + f"supported are {', '.join(names)}"
