"""Kernels that work row by row: how long a row may be, and whether values fill rows."""

from __future__ import annotations

ROW = (1, 2**12 - 1)  # values of a row: more would leave the sum's 31 bits


def rows_misfit(values: int, size: int) -> str:
    """Whether values do not fill rows."""
    return f"{values} values do not fill rows of {size}" if values % size else ""
