"""What masks hide in front of a softmax: a share of nothing, in numbers that 16 bits hold beside scores."""

from __future__ import annotations

import numpy as np

from ._build import GraphBuilder

HIDDEN = -128.0  # far enough below the largest score for a share of nothing, near enough for 16 bits
APART = 28.0  # of the smaller one of two such scores the share is 1e-12


def hidden(builder: GraphBuilder, source: str, value: np.ndarray) -> np.ndarray:
    """What takes the place of scores in front of a softmax, not below HIDDEN; told in a note of `source`."""
    what = f"what it hides is {HIDDEN:g}, not less: in the softmax behind it is nothing"
    return _raised(builder, value, HIDDEN, f"{source}: {what} beside a score above {HIDDEN + APART:g}")


def masked(builder: GraphBuilder, source: str, mask: np.ndarray) -> np.ndarray:
    """A summand of what goes into a softmax over the last axis, without numbers as large as a float's."""
    if not mask.ndim or not mask.shape[-1]:
        return mask
    what = f"what it hides lies {-HIDDEN:g} below, not more: in the softmax behind it is nothing"
    least = mask.max(axis=-1, keepdims=True) + HIDDEN
    note = f"{source}: {what} while scores differ by less than {-HIDDEN - APART:g}"
    return _raised(builder, mask, least, note)


def _raised(builder: GraphBuilder, value: np.ndarray, least: np.ndarray | float, note: str) -> np.ndarray:
    if value.dtype.kind != "f" or not np.any(value < least):
        return value
    builder.notes.append(note)
    return np.asarray(np.maximum(value, least).astype(value.dtype))
