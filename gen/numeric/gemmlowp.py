"""Fixed-point exponential, reciprocal and logarithm: the bits of TensorFlow Lite's reference kernels.

A number of Qn stands for v / 2^(31 - n) in int32. Polynomials, constants and roundings are those that
gemmlowp's fixedpoint.h and TensorFlow Lite's internal/common.h and log_softmax document; LiteRT 2.3.0 was the
measure. `exp_neg` and `inverse_root` only fill tables: they have no C text.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .table import I32, Int, Primitive, bit_length, int32, int64

Wide = NDArray[np.int64]

TOP = 2**31 - 1
EIGHTH, EXP_EIGHTH, THIRD = 1 << 28, 1895147668, 715827883  # 1/8, exp(-1/8), 1/3 in Q0
EXPONENTIALS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)  # exp(-2^k), k from -2
TWO_SEVENTEENTHS = (1515870810, 1010580540)  # 48/17 and 32/17 in Q2
LOG_2, ROOT_HALF, ROOT_ROOT_HALF = 1488522236, 1518500250, 1805811301  # in Q0
LOG_NUM, LOG_SQUARE, LOG_ONE, LOG_LINEAR = 117049297, 127690142, 1057819769, 638450708
QUARTER_Q6 = 1 << 23


def high_product(a: Int | int, b: Int | int) -> Int:
    """a * b / 2^31, halves up: SaturatingRoundingDoublingHighMul of anything but twice -2^31."""
    return int32((int64(a) * int64(b) + (np.int64(1) << np.int64(30))) >> np.int64(31))


def shift_away(x: Int, s: int | Int) -> Int:
    """x / 2^s, halves away from zero, 0 <= s <= 31: RoundingDivideByPOT."""
    wide, shift = int64(x), int64(s)
    half = (np.int64(1) << shift) >> np.int64(1)
    return int32((wide + half - ((wide < 0) & (shift > 0))) >> shift)


def exp_neg(x: Int) -> Int:
    """exp(x) in Q0 of x <= 0 in Q5; 2^31 - 1 where x is 0."""
    wide = np.asarray(x, np.int64)
    within = (wide & ((1 << 24) - 1)) - (1 << 24)  # -1/4 <= . < 0
    a = ((within << 5) + EIGHTH).astype(np.int32)
    square = high_product(a, a)
    cube, fourth = high_product(square, a), high_product(square, square)
    rest = shift_away(high_product(shift_away(fourth, 2) + cube, THIRD) + square, 1)
    y = np.int32(EXP_EIGHTH) + high_product(EXP_EIGHTH, a + rest)
    for k, factor in enumerate(EXPONENTIALS):
        y = np.where((within - wide) >> (24 + k) & 1, high_product(y, factor), y)
    return np.where(wide == 0, np.int32(TOP), y).astype(np.int32)


def reciprocal_q0(a: Int) -> Int:
    """1 / (1 + a) in Q0 of 0 <= a < 1 in Q0: three steps of Newton and Raphson."""
    half = int32((int64(a) + 2**31) >> 1)
    return refined(half, int32(TWO_SEVENTEENTHS[0] + high_product(half, -TWO_SEVENTEENTHS[1])))


def reciprocal(d: Int) -> tuple[Int, Int]:
    """(m, n) with 1 / d = m / 2^(31 + n) of whole numbers d > 0: GetReciprocal."""
    lead = int32(leading_zeros(d))
    fraction = int64(d) << int64(lead)  # 1 + a in Q0
    half = int32(fraction >> 1)
    guess = int32(TWO_SEVENTEENTHS[0] + high_product(half, -TWO_SEVENTEENTHS[1]))
    return refined(half, guess), int32(31 - lead)


def refined(half: Int, x: Int) -> Int:
    """1 / (2 half) in Q0 from a guess x of 1 / half in Q2."""
    for _ in range(3):
        x = int32(x + 4 * high_product(x, int32((1 << 29) - high_product(half, x))))
    return int32(np.minimum(2 * int64(x), TOP))


def log_q5(x: Int) -> Int:
    """log(x) in Q5 of 1 <= x < 2^12 in Q12: a rational function around the root of sqrt(1/2)."""
    lead = int64(leading_zeros(x))
    first = int64(high_product(int64(x) << (lead - 1), ROOT_HALF)) << 1
    other = int64(leading_zeros(high_product(x, ROOT_HALF))) - 1
    r = int32(np.minimum(first, int64(x) << other))
    power = np.maximum(((12 - lead) << 25) + QUARTER_Q6, ((12 - other) << 25) - QUARTER_Q6)
    p = int32((int64(r) + ROOT_ROOT_HALF + 1) >> 1)
    q = int32(2 * int32(r - ROOT_ROOT_HALF))
    square = high_product(q, q)
    above = int32(high_product(q, r) + high_product(high_product(q, square), LOG_NUM))
    last = int32(LOG_ONE + q + high_product(LOG_SQUARE, square))
    below = int32(high_product(p, last) + high_product(LOG_LINEAR, q))
    y = high_product(power, LOG_2) + high_product(shift_away(above, 6), reciprocal_q0(below))
    return int32(2 * y)


def leading_zeros(x: Int) -> Int:
    """Zero bits above the highest one of x > 0, in 32 bits."""
    return int32(32 - bit_length(int64(x)))


def inverse_root(value: int) -> tuple[int, int]:
    """(m, n) with 1 / sqrt(value) = m / 2^n, value > 0: five steps of Newton and Raphson from 1."""
    if value == 1:
        return TOP, 31
    pairs = (32 - value.bit_length() - 1) // 2 - 1
    scaled = np.int32(value << 2 * pairs)
    half = shift_away(np.asarray(scaled >> np.int32(1)), 1)
    x: Int = np.asarray(1 << 28, np.int32)  # Q3
    for _ in range(5):
        cube = np.int32(64) * high_product(high_product(x, x), x)
        x = np.int32(8) * (high_product((1 << 28) + (1 << 27), x) - high_product(half, cube))
    m, shift = int(high_product(x, ROOT_HALF)), 11 - pairs
    return (m << -shift, 31) if shift < 0 else (m, 31 + shift)


# fmt: off
ROWS = (
    Primitive("high_product", "int32_t",
              (("int32_t", "a", *I32), ("int32_t", "b", *I32)),
              high_product,
              "return (int32_t)(((int64_t)a * b + (INT32_C(1) << 30)) >> 31);",
              "a * b / 2^31, halves up",
              lambda a, b: (a > -(2**31)) | (b > -(2**31))),
    Primitive("shift_away", "int32_t",
              (("int32_t", "x", 1 - 2**31, 2**31 - 1), ("uint32_t", "s", 0, 31)),
              shift_away,
              "return s == 0u ? x : (((x + (x >> 31)) >> (s - 1u)) + 1) >> 1;",
              "x / 2^s, halves away from zero",
              lambda x, s: (s != 1) | (x < 2**31 - 1)),
    Primitive("leading_zeros", "uint32_t",
              (("int32_t", "x", 1, 2**31 - 1),),
              leading_zeros,
              "uint32_t n = 1u;\n"
              "while (x < (INT32_C(1) << 30)) {\n"
              "    x <<= 1;\n"
              "    n++;\n"
              "}\n"
              "return n;",
              "zero bits above the highest one"),
    Primitive("reciprocal_q0", "int32_t",
              (("int32_t", "a", 0, 2**31 - 1),),
              reciprocal_q0,
              "const int32_t half = (int32_t)(((uint32_t)a + (UINT32_C(1) << 31)) >> 1);\n"
              f"int32_t x = {TWO_SEVENTEENTHS[0]} + high_product(half, -{TWO_SEVENTEENTHS[1]});\n"
              "for (uint32_t i = 0u; i < 3u; i++) {\n"
              "    x += 4 * high_product(x, (INT32_C(1) << 29) - high_product(half, x));\n"
              "}\n"
              "return x < (INT32_C(1) << 30) ? 2 * x : INT32_MAX;",
              "1 / (1 + a), both with 31 bits behind the point"),
    Primitive("log_q5", "int32_t",
              (("int32_t", "x", 2**19, 2**31 - 1),),
              log_q5,
              "const uint32_t lead = leading_zeros(x);\n"
              f"const uint32_t other = leading_zeros(high_product(x, {ROOT_HALF})) - 1u;\n"
              f"const uint32_t first = (uint32_t)high_product(x << (lead - 1u), {ROOT_HALF}) << 1;\n"
              "const uint32_t second = (uint32_t)x << other;\n"
              "const uint32_t r = first < second ? first : second;\n"
              f"const int32_t up = ((12 - (int32_t)lead) * (INT32_C(1) << 25)) + {QUARTER_Q6};\n"
              f"const int32_t down = ((12 - (int32_t)other) * (INT32_C(1) << 25)) - {QUARTER_Q6};\n"
              f"const int32_t p = (int32_t)((r + {ROOT_ROOT_HALF + 1}u) >> 1);\n"
              f"const int32_t q = 2 * ((int32_t)r - {ROOT_ROOT_HALF});\n"
              "const int32_t square = high_product(q, q);\n"
              f"const int32_t cube = high_product(high_product(q, square), {LOG_NUM});\n"
              "const int32_t above = high_product(q, (int32_t)r) + cube;\n"
              f"const int32_t last = {LOG_ONE} + q + high_product({LOG_SQUARE}, square);\n"
              f"const int32_t below = high_product(p, last) + high_product({LOG_LINEAR}, q);\n"
              f"const int32_t power = high_product(up > down ? up : down, {LOG_2});\n"
              "return 2 * (power + high_product(shift_away(above, 6u), reciprocal_q0(below)));",
              "log(x), x of 19 and the result of 26 bits behind the point"),
)
# fmt: on
