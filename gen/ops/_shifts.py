"""The shifts that bring a sum to its output's Q format."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import CompileError

MAX_SHIFT = 30  # bits by which a 32-bit sum is shifted right
RESCALE = "rescale the layer's weights or inputs"


def requantising(shifts: int | Sequence[int], where: str, hint: str, most: int = MAX_SHIFT) -> None:
    """Checks shifts, one or several: CompileError, naming `where`, if one is to the left or beyond `most`."""
    lo, hi = int(np.min(shifts)), int(np.max(shifts))
    if lo < 0 or hi > most:
        needed = f"a requantising shift of {lo}" if lo == hi else f"requantising shifts of {lo} to {hi}"
        raise CompileError(where, f"needs {needed}, 0 to {most} are possible", hint)
