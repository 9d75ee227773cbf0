"""Variance from sums, and one over its square root."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .table import U32, Int, Primitive, Word, bit_length, c_table, int32, int64, uint32, uint64

ROOT_TABLE = tuple(round(2.0**15 / math.sqrt((8 + i) / 8)) for i in range(25))  # 1 / sqrt(f), Q15, f = 1 .. 4
ROOT_ARRAY = np.array(ROOT_TABLE, np.int64)
DEVIATION_ARGS = (
    ("uint32_t", "s", 0, 2**31 - 1),
    ("uint32_t", "n", 1, 2**24),
    ("int32_t", "t", -(2**27), 2**27),
    ("uint32_t", "high", 0, 2**30),
    ("uint32_t", "low", *U32),
)
DEVIATION = (
    "const uint64_t square = (uint64_t)((int64_t)t * t);\n"
    "const uint64_t more = ((uint64_t)high << 32) | low;\n"
    "const uint64_t wide = (uint64_t)s * n - square + more;\n"
)


def deviation(
    squares: Word, count: Word, total: Int, high: Word | int, low: Word | int
) -> NDArray[np.uint64]:
    """squares * count - total^2 + high:low, at least 1."""
    less, more = uint64(int64(total) * int64(total)), (uint64(high) << np.uint64(32)) | uint64(low)
    wide = uint64(squares) * uint64(count) - less + more
    return np.maximum(wide, np.uint64(1))


def spread_high(squares: Word, count: Word, total: Int, high: Word | int, low: Word | int) -> Word:
    """The upper word of squares * count - total^2 + high:low, of 1 where that is 0.

    With the sum of count values and that of their squares, and nothing added, count^2 times their variance.
    """
    return uint32(deviation(squares, count, total, high, low) >> np.uint64(32))


def spread_low(squares: Word, count: Word, total: Int, high: Word | int, low: Word | int) -> Word:
    """The lower word of the same."""
    return uint32(deviation(squares, count, total, high, low) & np.uint64(2**32 - 1))


def even_lead(high: Word, low: Word) -> Word:
    """Zero bits above the highest one of the 64-bit number high:low, or one less: an even number."""
    upper = int64(uint32(high))
    none = int64(upper == 0)
    lead = 32 - bit_length(upper + none * int64(uint32(low))) + 32 * none
    return uint32(lead & ~1)


def shifted_top(high: Word, low: Word, n: Word) -> Word:
    """The upper word of high:low * 2^n, n <= 62, where no one leaves it."""
    wide = (uint64(high) << np.uint64(32)) | uint64(low)
    return uint32((wide << uint64(n)) >> np.uint64(32))


def root_reciprocal(m: Word) -> Int:
    """2^46 / sqrt(m) for 2^30 <= m < 2^32: a table of 25 values, linear between them, and a step of Newton's.

    Never above the exact value by more than 2^-27 of it, nor below by more than 2^-18.
    """
    t, wide = ROOT_ARRAY, int64(m)
    i, rem = (wide >> 27) - 8, (wide >> 11) & 0xFFFF
    u = t[i] - (((t[i] - t[i + 1]) * rem + 0x8000) >> 16)
    product = (wide * (u * u)) >> 32  # 2^28 times f / 2^30 u^2, near 1
    return int32(np.minimum((u * (3 * 2**28 - product)) >> 13, 2**31 - 1))


def _deviates(
    squares: NDArray[np.int64],
    count: NDArray[np.int64],
    total: NDArray[np.int64],
    high: NDArray[np.int64],
    low: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Whether the sums can be those of `count` values."""
    fits: NDArray[np.bool_] = squares * count >= total * total
    return fits


# fmt: off
ROWS = (
    Primitive("spread_high", "uint32_t",
              DEVIATION_ARGS,
              spread_high,
              DEVIATION + "return wide == 0u ? 0u : (uint32_t)(wide >> 32);",
              "the upper word of s * n - t^2 + high:low, which is 1 or more",
              _deviates),
    Primitive("spread_low", "uint32_t",
              DEVIATION_ARGS,
              spread_low,
              DEVIATION + "return wide == 0u ? 1u : (uint32_t)wide;",
              "the lower word of the same",
              _deviates),
    Primitive("even_lead", "uint32_t",
              (("uint32_t", "high", *U32), ("uint32_t", "low", *U32)),
              even_lead,
              "uint32_t top = high == 0u ? low : high;\n"
              "uint32_t n = high == 0u ? 32u : 0u;\n"
              "while (top < (UINT32_C(1) << 30)) {\n"
              "    top <<= 2;\n"
              "    n += 2u;\n"
              "}\n"
              "return n;",
              "zero bits above the highest one of high:low, an even number",
              lambda high, low: (high > 0) | (low > 0)),
    Primitive("shifted_top", "uint32_t",
              (("uint32_t", "high", *U32), ("uint32_t", "low", *U32), ("uint32_t", "n", 0, 62)),
              shifted_top,
              "return (uint32_t)(((((uint64_t)high << 32) | low) << n) >> 32);",
              "the upper word of high:low * 2^n"),
    Primitive("root_reciprocal", "int32_t",
              (("uint32_t", "m", 2**30, 2**32 - 1),),
              root_reciprocal,
              c_table(ROOT_TABLE, 13)
              + "const uint32_t i = (m >> 27) - 8u;\n"
              "const int32_t rem = (int32_t)((m >> 11) & 65535u);\n"
              "const int32_t step = table[i] - table[i + 1u];\n"
              "const uint32_t u = (uint32_t)(table[i] - ((step * rem + 32768) >> 16));\n"
              "const uint32_t product = (uint32_t)(((uint64_t)m * (u * u)) >> 32);\n"
              "const uint64_t root = ((uint64_t)u * ((UINT32_C(3) << 28) - product)) >> 13;\n"
              "return (root >> 31) == 0u ? (int32_t)root : INT32_MAX;",
              "2^46 / sqrt(m) for 2^30 <= m < 2^32"),
)
# fmt: on
