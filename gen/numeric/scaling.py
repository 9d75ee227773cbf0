"""Holding, shifting and multiplying by a factor: how a sum ends."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .table import I32, U32, Int, Primitive, Word, bit_length, int32, int64, uint32, uint64


def saturate(x: Int, lo: int, hi: int) -> Int:
    """min(max(x, lo), hi)."""
    return np.minimum(np.maximum(x, np.int32(lo)), np.int32(hi))


def shift_round(x: Int, s: int | Int) -> Int:
    """floor(x / 2^s + 1/2), 0 <= s <= 30; x + 2^(s-1) must fit int32."""
    shift = int32(s) & np.int32(31)  # what a compiler must see to shift words of 32 bits
    half = int32((np.int32(1) << shift) >> np.int32(1))
    return int32(int32(x + half) >> shift)


def scale_once(x: Int, m: Int, n: int | Int) -> Int:
    """x * m / 2^n to the nearest integer, halves away from zero; 1 <= n <= 62, the product in 64 bits.

    m and n are what `multiplier` gives for a real factor.
    """
    wide, shift = int64(x), int64(n)
    half = np.int64(1) << (shift - 1)
    return int32((wide * int64(m) + half - (wide < 0)) >> shift)


def product_below(x: Int, m: Int) -> Int:
    """The upper word of x * m, of one less where x is negative: what halves away from zero round from."""
    wide = int64(x)
    return int32((wide * int64(m) - (wide < 0)) >> np.int64(32))


def scale_once_right(x: Int, m: Int, s: int | Int) -> Int:
    """scale_once with n = 33 + s: the upper word of the product is enough."""
    return scale_once(x, m, int32(s) + np.int32(33))


def scale_twice(x: Int, m: Int, n: int | Int) -> Int:
    """x * m / 2^n, rounded twice: to x * m / 2^31 or finer, halves up, and from there, halves away from zero.

    gemmlowp's SaturatingRoundingDoublingHighMul and RoundingDivideByPOT; 1 <= n <= 62, and m below 2^31 and
    not negative, so that nothing saturates.
    """
    shift = int64(n)
    left, right = np.maximum(31 - shift, 0), np.maximum(shift - 31, 0)
    product = (int64(x) * int64(m)) << left
    high = (product + (np.int64(1) << np.int64(30))) >> np.int64(31)
    half = (np.int64(1) << right) >> np.int64(1)
    return int32((high + half - ((high < 0) & (right > 0))) >> right)


def scale_twice_right(x: Int, m: Int, s: int | Int) -> Int:
    """scale_twice with n = 32 + s: both roundings drop bits."""
    return scale_twice(x, m, int32(s) + np.int32(32))


def scale_half_up(x: Int | NDArray[np.int64], m: Int | int, n: int | Int) -> Int:
    """x * m / 2^n to the nearest integer, halves up; m of 15 bits, 1 <= n <= 46, x up to 48 bits.

    LiteRT's MultiplyByQuantizedMultiplier of an int64: `narrow_multiplier` gives m and n.
    """
    shift = int64(n)
    return int32((int64(x) * int64(m) + (np.int64(1) << (shift - 1))) >> shift)


def scale_half_up_wide(high: Int, low: Word, m: Int, n: int | Int) -> Int:
    """scale_half_up of high:low, a number of 48 bits."""
    return scale_half_up((int64(high) << np.int64(32)) | int64(uint32(low)), m, n)


def scale_fine(high: Int, low: Word, top: Int, bottom: Word, n: int | Int) -> Int:
    """high:low * top:bottom / 2^n: the product rounded to 53 bits, ties to even, and then to an integer,
    halves away from zero, as a product of float64 is; `fine_multiplier` gives top, bottom and n.
    """
    word, more = np.uint64(2**32 - 1), np.uint64(32)
    x = (int64(high) << np.int64(32)) | int64(uint32(low))
    a, m, b = uint64(np.abs(x)), uint64(top), uint64(uint32(bottom))
    last = (a & word) * b
    upper = (a >> more) * b + (a & word) * m + (last >> more) + (((a >> more) * m) << more)
    dropped = np.maximum(bit_length(int64(upper)) - 21, 0)  # bits of the product beyond 53
    half = uint64(np.int64(1) << int64(dropped)) >> np.uint64(1)
    last = (last & word) + (half & word)
    upper = upper + (last >> more) + (half >> more)
    found = int64(((upper >> (uint64(n) - np.uint64(33))) + np.uint64(1)) >> np.uint64(1))
    return int32(found * (1 - 2 * int64(x < 0)))


def fine_multiplier(factor: float) -> tuple[int, int, int]:
    """(top, bottom, n) with factor = top:bottom / 2^n: all 53 bits of a float64."""
    fraction, exponent = math.frexp(factor)
    m, n = int(fraction * 2**53), 53 - exponent
    return (m >> 32, m & (2**32 - 1), n) if n <= 96 else (0, 0, 33)


def narrow_multiplier(factor: float) -> tuple[int, int]:
    """(m, n) with factor = m / 2^n to 15 bits: the upper ones of `multiplier`, rounded half up."""
    m, n = multiplier(factor)
    return (min((m + 2**15) >> 16, 2**15 - 1), n - 16) if m else (0, 1)


LARGEST_EXPONENT = 1025  # of a float64, and one more


def multiplier(factor: float) -> tuple[int, int]:
    """(m, n) with factor = m / 2^n to 31 bits, 2^30 <= m < 2^31, n <= 62; (0, 1) for a factor so small that
    it takes every int32 to 0. Of one that overflowed, or is no number, n is far below any that is proven.

    LiteRT's QuantizeMultiplier, its left shift being 31 - n.
    """
    if not math.isfinite(factor):
        return 2**30, 30 - LARGEST_EXPONENT
    fraction, exponent = math.frexp(factor)
    m, n = math.floor(fraction * 2**31 + 0.5), 31 - exponent
    if m == 2**31:
        m, n = m // 2, n - 1
    return (m, n) if n <= 62 else (0, 1)


def _scaled_fits(x: NDArray[np.int64], m: NDArray[np.int64], n: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether x * m / 2^n, rounded, fits int32: always so where n > 31."""
    narrow = np.minimum(n, 31)
    fits: NDArray[np.bool_] = np.abs(x * m) + (np.int64(1) << narrow) < np.int64(1) << (narrow + 31)
    return (n > 31) | fits


def _narrow_fits(
    high: NDArray[np.int64], low: NDArray[np.int64], m: NDArray[np.int64], n: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """As `_scaled_fits`, of x = high:low."""
    return _scaled_fits((high << 32) | low, m, n)


def _fine_fits(
    high: NDArray[np.int64],
    low: NDArray[np.int64],
    top: NDArray[np.int64],
    bottom: NDArray[np.int64],
    n: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Whether high:low * top:bottom / 2^n, rounded, fits int32 by a bit."""
    size = np.abs(np.ldexp(high.astype(np.float64), 32) + low) * (
        np.ldexp(top.astype(np.float64), 32) + bottom
    )
    fits: NDArray[np.bool_] = size < np.ldexp(1.0, n + 30)
    return fits


# fmt: off
ROWS = (
    Primitive("saturate", "int32_t",
              (("int32_t", "x", *I32), ("int32_t", "lo", *I32), ("int32_t", "hi", *I32)),
              saturate,
              "return x < lo ? lo : x > hi ? hi : x;",
              "x held within lo .. hi",
              lambda x, lo, hi: lo <= hi),
    Primitive("shift_round", "int32_t",
              (("int32_t", "x", *I32), ("uint32_t", "s", 0, 30)),
              shift_round,
              "return (x + ((INT32_C(1) << s) >> 1)) >> s;",
              "x / 2^s, halves rounded up",
              lambda x, s: x + ((1 << s) >> 1) < 2**31),
    Primitive("scale_once", "int32_t",
              (("int32_t", "x", *I32), ("int32_t", "m", 0, 2**31 - 1), ("uint32_t", "n", 1, 62)),
              scale_once,
              "int64_t p = (int64_t)x * m + (x >> 31);\n"
              "return (int32_t)((p + (INT64_C(1) << (n - 1u))) >> n);",
              "x * m / 2^n, halves away from zero",
              _scaled_fits),
    Primitive("scale_once_right", "int32_t",
              (("int32_t", "x", *I32), ("int32_t", "m", 0, 2**31 - 1), ("uint32_t", "s", 0, 29)),
              scale_once_right,
              "int32_t high = (int32_t)(((int64_t)x * m + (x >> 31)) >> 32);\n"
              "return ((high >> s) + 1) >> 1;",
              "x * m / 2^(33 + s), halves away from zero"),
    Primitive("product_below", "int32_t",
              (("int32_t", "x", *I32), ("int32_t", "m", 0, 2**31 - 1)),
              product_below,
              "return (int32_t)(((int64_t)x * m + (x >> 31)) >> 32);",
              "x * m / 2^32, of one less where x is negative"),
    Primitive("scale_twice", "int32_t",
              (("int32_t", "x", *I32), ("int32_t", "m", 0, 2**31 - 1), ("uint32_t", "n", 1, 62)),
              scale_twice,
              "uint32_t left = n < 31u ? 31u - n : 0u;\n"
              "uint32_t right = n > 31u ? n - 31u : 0u;\n"
              "int64_t p = (int64_t)x * m * (INT64_C(1) << left);\n"
              "int32_t high = (int32_t)((p + (INT32_C(1) << 30)) >> 31);\n"
              "return right == 0u ? high : (((high + (high >> 31)) >> (right - 1u)) + 1) >> 1;",
              "x * m / 2^n, rounded to 2^-31 of the product first, then halves away from zero",
              _scaled_fits),
    Primitive("scale_twice_right", "int32_t",
              (("int32_t", "x", *I32), ("int32_t", "m", 0, 2**31 - 1), ("uint32_t", "s", 0, 30)),
              scale_twice_right,
              "int32_t high = (int32_t)(((int64_t)x * m + (INT32_C(1) << 30)) >> 31);\n"
              "return (((high + (high >> 31)) >> s) + 1) >> 1;",
              "x * m / 2^(32 + s), rounded to 2^-31 of the product first, then halves away from zero"),
    Primitive("scale_half_up", "int32_t",
              (("int32_t", "x", *I32), ("int32_t", "m", 0, 2**15 - 1), ("uint32_t", "n", 1, 46)),
              scale_half_up,
              "return (int32_t)(((int64_t)x * m + (INT64_C(1) << (n - 1u))) >> n);",
              "x * m / 2^n, halves up",
              _scaled_fits),
    Primitive("scale_half_up_wide", "int32_t",
              (("int32_t", "high", -(2**15), 2**15 - 1), ("uint32_t", "low", *U32),
               ("int32_t", "m", 0, 2**15 - 1), ("uint32_t", "n", 1, 46)),
              scale_half_up_wide,
              "int64_t x = (int64_t)(((uint64_t)(uint32_t)high << 32) | low);\n"
              "return (int32_t)((x * m + (INT64_C(1) << (n - 1u))) >> n);",
              "high:low * m / 2^n, halves up",
              _narrow_fits),
    Primitive("scale_fine", "int32_t",
              (("int32_t", "high", -(2**10), 2**10 - 1), ("uint32_t", "low", *U32),
               ("int32_t", "top", 0, 2**21 - 1), ("uint32_t", "bottom", *U32), ("uint32_t", "n", 33, 96)),
              scale_fine,
              "const uint64_t x = ((uint64_t)(uint32_t)high << 32) | low;\n"
              "const uint64_t a = high < 0 ? 0u - x : x;\n"
              "const uint32_t a_top = (uint32_t)(a >> 32);\n"
              "const uint64_t last = (uint64_t)(uint32_t)a * bottom;\n"
              "uint64_t upper = (uint64_t)a_top * bottom + (last >> 32);\n"
              "upper += (uint64_t)(uint32_t)a * (uint32_t)top;\n"
              "upper += ((uint64_t)a_top * (uint32_t)top) << 32;\n"
              "uint32_t word = (uint32_t)(upper >> 32);\n"
              "uint32_t dropped = word != 0u ? 43u : 11u; /* bits of the product beyond 53 */\n"
              "word = word != 0u ? word : (uint32_t)upper;\n"
              "while (dropped > 0u && word < (UINT32_C(1) << 31)) {\n"
              "    word <<= 1;\n"
              "    dropped--;\n"
              "}\n"
              "if (dropped > 32u) {\n"
              "    upper += UINT64_C(1) << (dropped - 33u);\n"
              "} else if (dropped > 0u) {\n"
              "    upper += ((uint64_t)(uint32_t)last + (UINT64_C(1) << (dropped - 1u))) >> 32;\n"
              "}\n"
              "const int32_t y = (int32_t)(((upper >> (n - 33u)) + 1u) >> 1);\n"
              "return high < 0 ? -y : y;",
              "high:low * top:bottom / 2^n, as float64 rounds it, then halves away from zero",
              _fine_fits),
)
# fmt: on
