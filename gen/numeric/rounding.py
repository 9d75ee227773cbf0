"""How the change of a learned number is rounded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from .scaling import shift_round
from .streams import lanes, row_keys
from .table import Int, Primitive, int32

NEAREST, STOCHASTIC, DITHER = 0, 1, 2  # roundings of an update
# Products that are rounded arrive with at least one bit to spare (gen/stages/bounds.py proves it), so that
# adding dither cannot overflow.
ACC = (-(2**30), 2**30)


def round_stochastic(p: Int, s: int, lane: NDArray[np.integer]) -> Int:
    """floor((p + r) / 2^s), r uniform in [0, 2^s) made of the upper bits of a 16-bit lane; 0 stays 0."""
    r: Int = int32(lane >> np.int32((16 - s) & 31) if s <= 16 else lane << np.int32((s - 16) & 31))
    r += p  # r is ours, and in place there are no further arrays
    return int32(int32(r) >> np.int32(s & 31))


def round_dither(p: Int, s: int) -> Int:
    """Pseudo-stochastic (NITI): of the discarded bits of |p| the upper half against the lower half.

    The sign is kept, 0 stays 0.
    """
    h = s >> 1
    mag = int32(np.abs(p))
    rest = int32(mag & np.int32((1 << (s & 31)) - 1))
    low = int32((rest & np.int32((1 << (h & 31)) - 1)) << np.int32(s & 1))
    out = int32((mag >> np.int32(s & 31)) + int32((rest >> np.int32(h & 31)) > low))
    return int32(out * (1 - 2 * int32(p < 0)))


def rounded(mode: int, p: Int, s: int, lane: NDArray[np.integer] | None) -> Int:
    """p / 2^s by the rounding `mode`; a negative s multiplies, exactly. lane: of mode STOCHASTIC alone."""
    if s < 0:
        return int32(p << np.int32(-s & 31))
    if mode == STOCHASTIC:
        return round_stochastic(p, s, lane)  # type: ignore[arg-type]
    return round_dither(p, s) if mode == DITHER else shift_round(p, s)


class Rounding:
    """The rounding of an update, as a rule file names it, for all rows of one tensor at one step."""

    NEAREST, STOCHASTIC, DITHER = NEAREST, STOCHASTIC, DITHER
    NAMES: ClassVar[Mapping[str, int]] = {"nearest": NEAREST, "stochastic": STOCHASTIC, "dither": DITHER}

    def __init__(self, mode: int, seed: int, step: int, tensor: int, rows: int, lanes_per_row: int) -> None:
        self.mode = mode
        keys = row_keys(seed, step, tensor, rows) if mode == self.STOCHASTIC else None
        self.lanes = None if keys is None else lanes(keys, lanes_per_row)

    @classmethod
    def least(cls, mode: int, s: int) -> int:
        """The smallest positive product that a shift by s can round up to one unit."""
        if mode == cls.STOCHASTIC:
            return 1 << max(s - 16, 0)
        return 1 << (s >> 1) if mode == cls.DITHER else 1 << max(s - 1, 0)

    def __call__(self, p: Int, s: int, rows: NDArray[np.intp], columns: slice | int) -> Int:
        """p / 2^s, [len(rows), columns]; a negative s multiplies, exactly."""
        lane = None if self.lanes is None or s < 0 else self.lanes[rows, columns]
        return rounded(self.mode, p, s, lane)


# fmt: off
ROWS = (
    Primitive("round_stochastic", "int32_t",
              (("int32_t", "p", *ACC), ("uint32_t", "s", 0, 24), ("uint32_t", "lane", 0, 65535)),
              round_stochastic,
              "uint32_t r = s <= 16u ? lane >> (16u - s) : lane << (s - 16u);\n"
              "return (p + (int32_t)r) >> s;",
              "p / 2^s, rounded up with a probability equal to the discarded fraction"),
    Primitive("round_dither", "int32_t",
              (("int32_t", "p", *ACC), ("uint32_t", "s", 0, 24)),
              round_dither,
              "int32_t sign = p >> 31;\n"
              "uint32_t h = s >> 1, mag = (uint32_t)((p ^ sign) - sign);\n"
              "/* What the lower half lacks, added to the upper half, carries where it is less. */\n"
              "uint32_t lacks = ((UINT32_C(1) << (s - h)) - 1u) & ~(mag << (s & 1u));\n"
              "return ((int32_t)(((mag >> h) + lacks) >> (s - h)) ^ sign) - sign;",
              "p / 2^s, rounded away from zero where the upper half of the discarded bits "
              "exceeds the lower half"),
)
# fmt: on
