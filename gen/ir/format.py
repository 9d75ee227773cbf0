"""How a tensor holds numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Format:
    """How a tensor holds numbers: v stands for v * 2^-frac, lo <= v <= hi always.

    row_fracs: one frac per row instead of `frac`; empty if all rows are alike.
    """

    dtype: str
    frac: int
    lo: int
    hi: int
    row_fracs: tuple[int, ...] = ()
