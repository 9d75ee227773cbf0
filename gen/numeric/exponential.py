"""Exponentials, and the shares that they have of their sum: softmax in Q14."""

from __future__ import annotations

import math

import numpy as np

from .streams import product32
from .table import Int, Primitive, c_table, int32, uint32

ERROR_FRAC = 14  # softmax probabilities and errors are Q14: +1.0 and -1.0 both fit int16
LOG2_E_Q15 = 47274  # round(log2(e) * 2^15)
EXP2_TABLE = tuple(round(2.0 ** (15 - i / 32)) for i in range(33))  # 2^-(i/32), Q15
RECIP_TABLE = tuple(round(2.0**30 / (32768 + 512 * i)) for i in range(65))  # 2^30 / m at m = 2^15 + 512 i
LOG_TABLE = tuple(round(2.0**16 * math.log(1 + i / 64)) for i in range(65))  # Q16, at m = 2^15 + 512 i
EXP2_ARRAY, RECIP_ARRAY, LOG_ARRAY = (
    np.array(table, np.int32) for table in (EXP2_TABLE, RECIP_TABLE, LOG_TABLE)
)
LOG_2_Q16 = round(2.0**16 * math.log(2.0))


def logit_steps(d: Int, frac: int) -> Int:
    """d * log2(e) as Q10 from a logit difference d >= 0 of frac `frac` (-4 .. 15)."""
    return int32(product32(uint32(d), np.uint32(LOG2_E_Q15)) >> np.uint32(frac + 5))


def exp2_neg(u: Int) -> Int:
    """2^-(u / 2^10) as Q15, u >= 0: table of 33 values, linear between them.

    From 1.0 below to 2.5 above the exact value, in units of 2^-15.
    """
    t = EXP2_ARRAY
    i, rem = (u >> np.int32(5)) & np.int32(31), u & np.int32(31)
    v = int32(t[i] - (((t[i] - t[i + 1]) * rem + np.int32(16)) >> np.int32(5)))
    return int32(v >> np.minimum(int32(u >> np.int32(10)), np.int32(31)))


def reciprocal(m: Int) -> Int:
    """2^30 / m for 2^15 <= m < 2^16: table of 65 values, linear between them.

    From 1.0 below to 2.5 above the exact value.
    """
    t = RECIP_ARRAY
    i, rem = (m - np.int32(32768)) >> np.int32(9), m & np.int32(511)
    return int32(t[i] - (((t[i] - t[i + 1]) * rem + np.int32(256)) >> np.int32(9)))


def logarithm(m: Int) -> Int:
    """log(m / 2^15) as Q16 for 2^15 <= m < 2^16: table of 65 values, linear between them.

    From 2.5 below to 1.0 above the exact value, in units of 2^-16.
    """
    t = LOG_ARRAY
    i, rem = (m - np.int32(32768)) >> np.int32(9), m & np.int32(511)
    return int32(t[i] + (((t[i + 1] - t[i]) * rem + np.int32(256)) >> np.int32(9)))


def probability(e: Int, r: Int, k: Int) -> Int:
    """e * r / 2^(16 + k), rounded: the Q14 probability of a class.

    e: its Q15 exponential; r, k: the reciprocal of the sum of exponentials, as Q15 of sum / 2^k.
    """
    s = int32(k) + np.int32(16)
    half = np.int32(1) << (s - np.int32(1))
    return int32((int32(e) * int32(r) + half) >> s)


# fmt: off
ROWS = (
    Primitive("logit_steps", "int32_t",
              (("int32_t", "d", 0, 65535), ("int32_t", "frac", -4, 15)),
              logit_steps,
              f"return (int32_t)(((uint32_t)d * UINT32_C({LOG2_E_Q15})) >> (uint32_t)(frac + 5));",
              "a difference of logits in steps of 2^-10 of a power of two"),
    Primitive("exp2_neg", "int32_t",
              (("int32_t", "u", 0, 2**31 - 1),),
              exp2_neg,
              c_table(EXP2_TABLE, 11)
              + "int32_t i = (u >> 5) & 31;\n"
              "int32_t rem = u & 31;\n"
              "int32_t v = table[i] - (((table[i] - table[i + 1]) * rem + 16) >> 5);\n"
              "int32_t n = u >> 10;\n"
              "return v >> (n < 31 ? n : 31);",
              "2^-(u / 1024) as Q15"),
    Primitive("reciprocal", "int32_t",
              (("int32_t", "m", 32768, 65535),),
              reciprocal,
              c_table(RECIP_TABLE, 13)
              + "int32_t i = (m - 32768) >> 9;\n"
              "int32_t rem = m & 511;\n"
              "return table[i] - (((table[i] - table[i + 1]) * rem + 256) >> 9);",
              "2^30 / m for 2^15 <= m < 2^16"),
    Primitive("logarithm", "int32_t",
              (("int32_t", "m", 32768, 65535),),
              logarithm,
              c_table(LOG_TABLE, 13)
              + "int32_t i = (m - 32768) >> 9;\n"
              "int32_t rem = m & 511;\n"
              "return table[i] + (((table[i + 1] - table[i]) * rem + 256) >> 9);",
              "log(m / 2^15) as Q16 for 2^15 <= m < 2^16"),
    Primitive("probability", "int32_t",
              (("int32_t", "e", 0, 32768), ("int32_t", "r", 16384, 32768), ("uint32_t", "k", 0, 14)),
              probability,
              "uint32_t s = k + 16u;\n"
              "return (e * r + (INT32_C(1) << (s - 1u))) >> s;",
              "e * r / 2^(16 + k) as Q14: a class's share of the sum of exponentials"),
)
# fmt: on
