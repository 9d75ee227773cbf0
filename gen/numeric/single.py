"""float32 of IEEE 754 in integers, of positive numbers: products, square roots and quotients of significands.

A float32 is a significand of 24 bits and an exponent; each operation rounds its result to 24 bits, halves to
even. Here exponents are the caller's: a result lies within two powers of two of its smallest one, and has
zeros below its 24 bits where it is larger.
"""

from __future__ import annotations

import numpy as np

from .table import Primitive, Word, int64, uint32

LOW, HIGH = SIGNIFICAND = (1 << 23, (1 << 24) - 1)
"""The least and the largest one."""


def significand(x: float) -> tuple[int, int]:
    """(m, e) of a positive float32 m * 2^e, LOW <= m <= HIGH."""
    fraction, exponent = np.frexp(np.float64(x))
    return int(fraction * 2**24), int(exponent) - 24


def significand_product(m: Word, u: Word) -> Word:
    """m * u / 2^14, 2^23 to 2^25, of a significand m and 2^14 <= u < 2^15."""
    product = int64(m) * int64(u)
    s = int64(14) + int64(product >= 2**38)
    q = product >> s
    up = int64(2 * (product - (q << s)) + (q & 1) > int64(1) << s)
    return uint32((q + up) << (s - 14))


def significand_root(x: Word) -> Word:
    """sqrt(x) * 2^12, 2^23 to 2^25, of 2^23 <= x <= 2^26. No root lies half way between two numbers."""
    s = int64(int64(x) >= 2**24)
    v = int64(x) << (24 - 2 * s)
    root = int64(np.sqrt(v * 1.0))  # of less than 2^50: float64 has the whole part
    up = int64(v - root * root > root)
    return uint32((root + up) << s)


def significand_quotient(r: Word, n: Word) -> Word:
    """r / n * 2^24, 2^23 to 2^26, of 2^23 <= r <= 2^25 and a significand n."""
    s = int64(int64(r) >= int64(n)) + int64(int64(r) >= 2 * int64(n))
    d = int64(n) << s
    q = (int64(r) << 24) // d
    up = int64(2 * ((int64(r) << 24) - q * d) + (q & 1) > d)
    return uint32((q + up) << s)


# fmt: off
ROWS = (
    Primitive("significand_product", "uint32_t",
              (("uint32_t", "m", LOW, HIGH), ("uint32_t", "u", 1 << 14, (1 << 15) - 1)),
              significand_product,
              "const uint64_t product = (uint64_t)m * u;\n"
              "const uint32_t s = product < (UINT64_C(1) << 38) ? 14u : 15u;\n"
              "const uint32_t q = (uint32_t)(product >> s);\n"
              "const uint32_t rest = (uint32_t)product & ((UINT32_C(1) << s) - 1u);\n"
              "const uint32_t up = ((2u * rest) + (q & 1u)) > (UINT32_C(1) << s) ? 1u : 0u;\n"
              "return (q + up) << (s - 14u);",
              "m * u / 2^14 of 24 bits, halves to even"),
    Primitive("significand_root", "uint32_t",
              (("uint32_t", "x", LOW, 1 << 26),),
              significand_root,
              "const uint32_t s = x < (UINT32_C(1) << 24) ? 0u : 1u;\n"
              "uint32_t left = x << (6u - (2u * s));\n"
              "uint32_t rest = 0u;\n"
              "uint32_t root = 0u;\n"
              "for (uint32_t i = 0u; i < 25u; i++) {\n"
              "    rest = (rest << 2) | (left >> 30);\n"
              "    left <<= 2;\n"
              "    root <<= 1;\n"
              "    if (rest > (2u * root)) {\n"
              "        rest -= (2u * root) + 1u;\n"
              "        root++;\n"
              "    }\n"
              "}\n"
              "return (root + (rest > root ? 1u : 0u)) << s;",
              "sqrt(x) * 2^12 of 24 bits, to the nearest"),
    Primitive("significand_quotient", "uint32_t",
              (("uint32_t", "r", LOW, 1 << 25), ("uint32_t", "n", LOW, HIGH)),
              significand_quotient,
              "const uint32_t s = r < n ? 0u : r < (2u * n) ? 1u : 2u;\n"
              "const uint32_t d = n << s;\n"
              "uint32_t rest = r;\n"
              "uint32_t q = 0u;\n"
              "for (uint32_t i = 0u; i < 24u; i++) {\n"
              "    rest *= 2u;\n"
              "    q *= 2u;\n"
              "    if (rest >= d) {\n"
              "        rest -= d;\n"
              "        q++;\n"
              "    }\n"
              "}\n"
              "return (q + (((2u * rest) + (q & 1u)) > d ? 1u : 0u)) << s;",
              "r / n * 2^24 of 24 bits, halves to even"),
)
# fmt: on
