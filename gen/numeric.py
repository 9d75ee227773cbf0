"""The numeric table: every primitive's numpy meaning and C text side by side.

Nothing else in synapcc knows integer arithmetic: kernels combine these in numpy, and the emitted C holds the
text that stands here. docs/NUMERICS.md states each one with test vectors; tests/gen/test_numeric.py proves
that the two columns agree.

The C relies on two's complement and an arithmetic right shift of negative numbers, which C99 leaves to the
implementation and every Cortex-M compiler gives; the emitted file checks it at compile time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from . import gemmlowp
from .gemmlowp import high_product as high_product
from .gemmlowp import leading_zeros as leading_zeros
from .gemmlowp import log_q5 as log_q5
from .gemmlowp import reciprocal_q0 as reciprocal_q0
from .gemmlowp import shift_away as shift_away

NUMERIC_VERSION = 1

Int = NDArray[np.int32]
Word = NDArray[np.uint32]

LCG_MUL, LCG_ADD = 1664525, 1013904223  # Numerical Recipes, full period mod 2^32
GOLDEN = 0x9E3779B1  # odd, close to 2^32 / golden ratio: spreads small integers over the word

ERROR_FRAC = 14  # softmax probabilities and errors are Q14: +1.0 and -1.0 both fit int16
LOG2_E_Q15 = 47274  # round(log2(e) * 2^15)
EXP2_TABLE = tuple(round(2.0 ** (15 - i / 32)) for i in range(33))  # 2^-(i/32), Q15
ROOT_TABLE = tuple(round(2.0**15 / math.sqrt((8 + i) / 8)) for i in range(25))  # 1 / sqrt(f), Q15, f = 1 .. 4
SIGMOID_RAISED = frozenset(  # where LiteRT's table is one above the nearest, so that lines between fit better
    (
        *(
            4,
            8,
            12,
            14,
            15,
            16,
            17,
            19,
            20,
            21,
            22,
            25,
            27,
            28,
            29,
            30,
            31,
            33,
            34,
            35,
            37,
            39,
            40,
            41,
            43,
            44,
            45,
            46,
        ),
        *(49, 50, 54, 62, 63, 64, 66, 82, 86, 93, 100, 103, 112, 116, 135, 255),
    )
)
SIGMOID_TABLE = tuple(
    min(round(2.0**16 / (1.0 + math.exp(-i / 24))) + (i in SIGMOID_RAISED), 2**16 - 1) for i in range(256)
)
SIGMOID_ENDS = (0xFFFF << 8, 0x7FFF << 10)
RECIP_TABLE = tuple(round(2.0**30 / (32768 + 512 * i)) for i in range(65))  # 2^30 / m at m = 2^15 + 512 i
EXP2_ARRAY, RECIP_ARRAY = (np.array(table, np.int32) for table in (EXP2_TABLE, RECIP_TABLE))

NEAREST, STOCHASTIC, DITHER = 0, 1, 2  # roundings of an update


@dataclass(frozen=True, slots=True)
class Primitive:
    """One row of the table.

    args:  (C type, name, lowest, highest) of each argument
    py:    the meaning on arrays of any one shape, int32 or uint32 as the C types say
    c:     the body of the C function
    given: where the arguments depend on one another, a condition on them together (int64 arrays)

    `args` and `given` are the domain that the proof covers.
    """

    name: str
    ret: str
    args: tuple[tuple[str, str, int, int], ...]
    py: Callable[..., NDArray[np.integer]]
    c: str
    doc: str
    given: Callable[..., NDArray[np.bool_]] | None = None

    @property
    def c_function(self) -> str:
        """The C99 definition, as it stands in the emitted file."""
        params = ", ".join(f"{ctype} {name}" for ctype, name, _, _ in self.args)
        body = "\n".join(f"    {line}" if line else "" for line in self.c.strip().split("\n"))
        return f"/* {self.doc} */\nstatic inline {self.ret} {self.name}({params})\n{{\n{body}\n}}\n"


I32 = (-(2**31), 2**31 - 1)
U32 = (0, 2**32 - 1)
# Products that are rounded arrive with at least one bit to spare (gen/stages/bounds.py proves it), so that
# adding dither cannot overflow.
ACC = (-(2**30), 2**30)


def int32(x: Any) -> Int:
    """x as int32, no copy where it is. The engine compiles it, and its like, as a cast of one number."""
    return np.asarray(x, np.int32)


def int64(x: Any) -> NDArray[np.int64]:
    """x as int64."""
    return np.asarray(x, np.int64)


def uint32(x: Any) -> Word:
    """x as uint32."""
    return np.asarray(x, np.uint32)


def uint64(x: Any) -> NDArray[np.uint64]:
    """x as uint64."""
    return np.asarray(x, np.uint64)


CASTS = (int32, int64, uint32, uint64)


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
    shift: NDArray[np.int64] = np.asarray(n, np.int64)
    product = np.asarray(x, np.int64) * np.asarray(m, np.int64)
    found: Int = ((product + (np.int64(1) << (shift - 1))) >> shift).astype(np.int32)
    return found


def scale_half_up_wide(high: Int, low: Word, m: Int, n: int | Int) -> Int:
    """scale_half_up of high:low, a number of 48 bits."""
    wide = (np.asarray(high, np.int64) << np.int64(32)) | np.asarray(low, np.uint32).astype(np.int64)
    return scale_half_up(wide, m, n)


def sigmoid_curve(a: Int, bits: int) -> Int:
    """2^(16 + bits) times the sigmoid of a / (24 * 2^bits), a >= 0, bits 8 or 9: a table of 256 values,
    linear between them, and what lies behind."""
    t: Int = np.asarray(SIGMOID_TABLE, np.int32)
    i = np.minimum(a >> np.int32(bits), np.int32(254))
    line = (t[i] << np.int32(bits)) + (a & np.int32((1 << bits) - 1)) * (t[i + 1] - t[i])
    found: Int = np.where(a >> np.int32(bits) >= 255, np.int32(SIGMOID_ENDS[bits - 8]), line).astype(np.int32)
    return found


def scale_fine(high: Int, low: Word, top: Int, bottom: Word, n: int | Int) -> Int:
    """high:low * top:bottom / 2^n: the product rounded to 53 bits, ties to even, and then to an integer,
    halves away from zero, as a product of float64 is; `fine_multiplier` gives top, bottom and n.
    """
    word = np.uint64(2**32 - 1)
    x = (np.asarray(high, np.int64) << np.int64(32)) | np.asarray(low, np.uint32).astype(np.int64)
    a, m = np.abs(x).astype(np.uint64), np.asarray(top, np.uint64)
    b, more = np.asarray(bottom, np.uint64), np.uint64(32)
    last = (a & word) * b
    upper = (a >> more) * b + (a & word) * m + (last >> more) + (((a >> more) * m) << more)
    dropped = np.maximum(np.frexp(_cut(upper))[1] - 21, 0)  # bits of the product beyond 53
    half = (np.int64(1) << dropped.astype(np.int64)).astype(np.uint64) >> np.uint64(1)
    last = (last & word) + np.where(dropped > 32, np.uint64(0), half)
    upper = upper + (last >> more) + np.where(dropped > 32, half >> more, np.uint64(0))
    found = (((upper >> (np.asarray(n, np.uint64) - np.uint64(33))) + np.uint64(1)) >> np.uint64(1)).astype(
        np.int64
    )
    y: Int = np.where(x < 0, -found, found).astype(np.int32)
    return y


def _cut(x: NDArray[np.uint64]) -> NDArray[np.float64]:
    """x with its lower half 0 where the upper one is none: a float64 with as many bits."""
    found: NDArray[np.float64] = np.where(x >> np.uint64(32), x & np.uint64(0xFFFFFFFF00000000), x).astype(
        np.float64
    )
    return found


def fine_multiplier(factor: float) -> tuple[int, int, int]:
    """(top, bottom, n) with factor = top:bottom / 2^n: all 53 bits of a float64."""
    fraction, exponent = math.frexp(factor)
    m, n = int(fraction * 2**53), 53 - exponent
    return (m >> 32, m & (2**32 - 1), n) if n <= 96 else (0, 0, 33)


def narrow_multiplier(factor: float) -> tuple[int, int]:
    """(m, n) with factor = m / 2^n to 15 bits: the upper ones of `multiplier`, rounded half up."""
    m, n = multiplier(factor)
    return (min((m + 2**15) >> 16, 2**15 - 1), n - 16) if m else (0, 1)


def multiplier(factor: float) -> tuple[int, int]:
    """(m, n) with factor = m / 2^n to 31 bits, 2^30 <= m < 2^31, n <= 62; (0, 1) for a factor so small that
    it takes every int32 to 0.

    LiteRT's QuantizeMultiplier, its left shift being 31 - n.
    """
    fraction, exponent = math.frexp(factor)
    m, n = math.floor(fraction * 2**31 + 0.5), 31 - exponent
    if m == 2**31:
        m, n = m // 2, n - 1
    return (m, n) if n <= 62 else (0, 1)


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


def product32(x: Word, y: Word | np.uint32) -> Word:
    """x * y mod 2^32."""
    return uint32((uint64(x) * uint64(y)) & np.uint64(0xFFFFFFFF))


def hash32(x: Word) -> Word:
    """Wellons' low-bias 32-bit integer hash (bias .17)."""
    x = uint32(x)
    x = product32(uint32(x ^ (x >> np.uint32(16))), np.uint32(0x7FEB352D))
    x = product32(uint32(x ^ (x >> np.uint32(15))), np.uint32(0x846CA68B))
    return uint32(x ^ (x >> np.uint32(16)))


def mix(key: Word | np.uint32, word: Word | np.uint32 | int) -> Word:
    """hash32(key ^ word * GOLDEN): absorbs one more word into a key."""
    return hash32(uint32(uint32(key) ^ product32(uint32(word), np.uint32(GOLDEN))))


def lcg(x: Word) -> Word:
    """One step of the linear congruential generator."""
    wide = uint64(x) * np.uint64(LCG_MUL) + np.uint64(LCG_ADD)
    return uint32(wide & np.uint64(0xFFFFFFFF))


def scale_index(word: Word, n: Word) -> Word:
    """floor(u * n / 2^16), u the upper half of `word`: a uniform index below n <= 65535, no division."""
    return uint32(product32(uint32(uint32(word) >> np.uint32(16)), uint32(n)) >> np.uint32(16))


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


def _deviation(
    squares: Word, count: Word, total: Int, high: Word | int, low: Word | int
) -> NDArray[np.uint64]:
    wide = np.asarray(squares, np.uint64) * np.asarray(count, np.uint64)
    wide = wide - (np.asarray(total, np.int64) ** 2).astype(np.uint64)
    wide = wide + ((np.asarray(high, np.uint64) << np.uint64(32)) | np.asarray(low, np.uint64))
    return np.maximum(wide, np.uint64(1))


def spread_high(squares: Word, count: Word, total: Int, high: Word | int, low: Word | int) -> Word:
    """The upper word of squares * count - total^2 + high:low, of 1 where that is 0.

    With the sum of count values and that of their squares, and nothing added, count^2 times their variance.
    """
    return (_deviation(squares, count, total, high, low) >> np.uint64(32)).astype(np.uint32)


def spread_low(squares: Word, count: Word, total: Int, high: Word | int, low: Word | int) -> Word:
    """The lower word of the same."""
    return (_deviation(squares, count, total, high, low) & np.uint64(2**32 - 1)).astype(np.uint32)


def even_lead(high: Word, low: Word) -> Word:
    """Zero bits above the highest one of the 64-bit number high:low, or one less: an even number."""
    high, low = np.asarray(high, np.uint32), np.asarray(low, np.uint32)
    top = np.where(high == 0, low, high).astype(np.float64)  # exact: 32 bits
    lead = 32 - np.frexp(top)[1] + np.where(high == 0, 32, 0)
    return (lead & ~1).astype(np.uint32)


def shifted_top(high: Word, low: Word, n: Word) -> Word:
    """The upper word of high:low * 2^n, n <= 62, where no one leaves it."""
    wide = (np.asarray(high, np.uint64) << np.uint64(32)) | np.asarray(low, np.uint64)
    return ((wide << np.asarray(n, np.uint64)) >> np.uint64(32)).astype(np.uint32)


def root_reciprocal(m: Word) -> Int:
    """2^46 / sqrt(m) for 2^30 <= m < 2^32: a table of 25 values, linear between them, and a step of Newton's.

    Never above the exact value by more than 2^-27 of it, nor below by more than 2^-18.
    """
    t: NDArray[np.int64] = np.asarray(ROOT_TABLE, np.int64)
    wide = np.asarray(m, np.int64)
    i, rem = (wide >> 27) - 8, (wide >> 11) & 0xFFFF
    u = t[i] - (((t[i] - t[i + 1]) * rem + 0x8000) >> 16)
    product = (wide * (u * u)) >> 32  # 2^28 times f / 2^30 u^2, near 1
    root = (u * (3 * 2**28 - product)) >> 13
    found: Int = np.minimum(root, 2**31 - 1).astype(np.int32)
    return found


def logit_steps(d: Int, frac: int) -> Int:
    """d * log2(e) as Q10 from a logit difference d >= 0 of frac `frac` (-4 .. 15)."""
    return int32(product32(uint32(d), np.uint32(LOG2_E_Q15)) >> np.uint32(frac + 5))


def probability(e: Int, r: Int, k: Int) -> Int:
    """e * r / 2^(16 + k), rounded: the Q14 probability of a class.

    e: its Q15 exponential; r, k: the reciprocal of the sum of exponentials, as Q15 of sum / 2^k.
    """
    s = int32(k) + np.int32(16)
    half = np.int32(1) << (s - np.int32(1))
    return int32((int32(e) * int32(r) + half) >> s)


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


def _c_table(values: tuple[int, ...], columns: int) -> str:
    """The C definition of `values` as a table of uint16_t, so many to a line."""
    lines = [", ".join(map(str, values[i : i + columns])) for i in range(0, len(values), columns)]
    return f"static const uint16_t table[{len(values)}] = {{\n    " + ",\n    ".join(lines) + "\n};\n"


# Name, return type, arguments; numpy meaning; C text; what it does; condition on the arguments, if any.
# fmt: off
PRIMITIVES: dict[str, Primitive] = {p.name: p for p in (
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
    Primitive("high_product", "int32_t",
              (("int32_t", "a", *I32), ("int32_t", "b", *I32)),
              gemmlowp.high_product,
              "return (int32_t)(((int64_t)a * b + (INT32_C(1) << 30)) >> 31);",
              "a * b / 2^31, halves up",
              lambda a, b: (a > -(2**31)) | (b > -(2**31))),
    Primitive("shift_away", "int32_t",
              (("int32_t", "x", 1 - 2**31, 2**31 - 1), ("uint32_t", "s", 0, 31)),
              gemmlowp.shift_away,
              "return s == 0u ? x : (((x + (x >> 31)) >> (s - 1u)) + 1) >> 1;",
              "x / 2^s, halves away from zero",
              lambda x, s: (s != 1) | (x < 2**31 - 1)),
    Primitive("leading_zeros", "uint32_t",
              (("int32_t", "x", 1, 2**31 - 1),),
              gemmlowp.leading_zeros,
              "uint32_t n = 1u;\n"
              "while (x < (INT32_C(1) << 30)) {\n"
              "    x <<= 1;\n"
              "    n++;\n"
              "}\n"
              "return n;",
              "zero bits above the highest one"),
    Primitive("reciprocal_q0", "int32_t",
              (("int32_t", "a", 0, 2**31 - 1),),
              gemmlowp.reciprocal_q0,
              "const int32_t half = (int32_t)(((uint32_t)a + (UINT32_C(1) << 31)) >> 1);\n"
              f"int32_t x = {gemmlowp.TWO_SEVENTEENTHS[0]}"
              f" - high_product(half, {gemmlowp.TWO_SEVENTEENTHS[1]});\n"
              "for (uint32_t i = 0u; i < 3u; i++) {\n"
              "    x += 4 * high_product(x, (INT32_C(1) << 29) - high_product(half, x));\n"
              "}\n"
              "return x < (INT32_C(1) << 30) ? 2 * x : INT32_MAX;",
              "1 / (1 + a), both with 31 bits behind the point"),
    Primitive("log_q5", "int32_t",
              (("int32_t", "x", 2**19, 2**31 - 1),),
              gemmlowp.log_q5,
              "const uint32_t lead = leading_zeros(x);\n"
              f"const uint32_t other = leading_zeros(high_product(x, {gemmlowp.ROOT_HALF})) - 1u;\n"
              f"const uint32_t first = (uint32_t)high_product(x << (lead - 1u), {gemmlowp.ROOT_HALF}) << 1;\n"
              "const uint32_t second = (uint32_t)x << other;\n"
              "const uint32_t r = first < second ? first : second;\n"
              f"const int32_t up = ((12 - (int32_t)lead) * (INT32_C(1) << 25)) + {gemmlowp.QUARTER_Q6};\n"
              f"const int32_t down = ((12 - (int32_t)other) * (INT32_C(1) << 25)) - {gemmlowp.QUARTER_Q6};\n"
              f"const int32_t p = (int32_t)((r + {gemmlowp.ROOT_ROOT_HALF + 1}u) >> 1);\n"
              f"const int32_t q = 2 * ((int32_t)r - {gemmlowp.ROOT_ROOT_HALF});\n"
              "const int32_t square = high_product(q, q);\n"
              f"const int32_t cube = high_product(high_product(q, square), {gemmlowp.LOG_NUM});\n"
              "const int32_t above = high_product(q, (int32_t)r) + cube;\n"
              f"const int32_t last = {gemmlowp.LOG_ONE} + q + high_product({gemmlowp.LOG_SQUARE}, square);\n"
              f"const int32_t below = high_product(p, last) + high_product({gemmlowp.LOG_LINEAR}, q);\n"
              f"const int32_t power = high_product(up > down ? up : down, {gemmlowp.LOG_2});\n"
              "return 2 * (power + high_product(shift_away(above, 6u), reciprocal_q0(below)));",
              "log(x), x of 19 and the result of 26 bits behind the point"),
    Primitive("sigmoid_curve", "int32_t",
              (("int32_t", "a", 0, 2**31 - 1), ("uint32_t", "bits", 8, 9)),
              sigmoid_curve,
              _c_table(SIGMOID_TABLE, 12)
              + "const int32_t i = a >> bits;\n"
              f"int32_t y = bits == 8u ? {SIGMOID_ENDS[0]} : {SIGMOID_ENDS[1]};\n"
              "if (i < 255) {\n"
              "    y = (int32_t)((uint32_t)table[i] << bits);\n"
              "    y += (a - (i << bits)) * (table[i + 1] - table[i]);\n"
              "}\n"
              "return y;",
              "2^(16 + bits) times the sigmoid of a / (24 * 2^bits)"),
    Primitive("round_stochastic", "int32_t",
              (("int32_t", "p", *ACC), ("uint32_t", "s", 0, 24), ("uint32_t", "lane", 0, 65535)),
              round_stochastic,
              "uint32_t r = s <= 16u ? lane >> (16u - s) : lane << (s - 16u);\n"
              "return (p + (int32_t)r) >> s;",
              "p / 2^s, rounded up with a probability equal to the discarded fraction"),
    Primitive("round_dither", "int32_t",
              (("int32_t", "p", *ACC), ("uint32_t", "s", 0, 24)),
              round_dither,
              "uint32_t h = s >> 1;\n"
              "int32_t mag = p < 0 ? -p : p;\n"
              "int32_t rest = mag & ((INT32_C(1) << s) - 1);\n"
              "int32_t low = (rest & ((INT32_C(1) << h) - 1)) << (s & 1u);\n"
              "int32_t out = (mag >> s) + ((rest >> h) > low ? 1 : 0);\n"
              "return p < 0 ? -out : out;",
              "p / 2^s, rounded away from zero where the upper half of the discarded bits "
              "exceeds the lower half"),
    Primitive("hash32", "uint32_t",
              (("uint32_t", "x", *U32),),
              hash32,
              "x ^= x >> 16;\n"
              "x *= UINT32_C(0x7feb352d);\n"
              "x ^= x >> 15;\n"
              "x *= UINT32_C(0x846ca68b);\n"
              "return x ^ (x >> 16);",
              "a 32-bit integer hash of low bias (C. Wellons)"),
    Primitive("mix", "uint32_t",
              (("uint32_t", "key", *U32), ("uint32_t", "word", *U32)),
              mix,
              f"return hash32(key ^ (word * UINT32_C(0x{GOLDEN:08x})));",
              "absorbs one more word into a key"),
    Primitive("lcg", "uint32_t",
              (("uint32_t", "x", *U32),),
              lcg,
              f"return x * UINT32_C({LCG_MUL}) + UINT32_C({LCG_ADD});",
              "the next word of a row's random stream"),
    Primitive("scale_index", "uint32_t",
              (("uint32_t", "word", *U32), ("uint32_t", "n", 0, 65535)),
              scale_index,
              "return ((word >> 16) * n) >> 16;",
              "an index below n from a random word"),
    Primitive("logit_steps", "int32_t",
              (("int32_t", "d", 0, 65535), ("int32_t", "frac", -4, 15)),
              logit_steps,
              f"return (int32_t)(((uint32_t)d * UINT32_C({LOG2_E_Q15})) >> (uint32_t)(frac + 5));",
              "a difference of logits in steps of 2^-10 of a power of two"),
    Primitive("exp2_neg", "int32_t",
              (("int32_t", "u", 0, 2**31 - 1),),
              exp2_neg,
              _c_table(EXP2_TABLE, 11)
              + "int32_t i = (u >> 5) & 31;\n"
              "int32_t rem = u & 31;\n"
              "int32_t v = table[i] - (((table[i] - table[i + 1]) * rem + 16) >> 5);\n"
              "int32_t n = u >> 10;\n"
              "return v >> (n < 31 ? n : 31);",
              "2^-(u / 1024) as Q15"),
    Primitive("reciprocal", "int32_t",
              (("int32_t", "m", 32768, 65535),),
              reciprocal,
              _c_table(RECIP_TABLE, 13)
              + "int32_t i = (m - 32768) >> 9;\n"
              "int32_t rem = m & 511;\n"
              "return table[i] - (((table[i] - table[i + 1]) * rem + 256) >> 9);",
              "2^30 / m for 2^15 <= m < 2^16"),
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
              _c_table(ROOT_TABLE, 13)
              + "const uint32_t i = (m >> 27) - 8u;\n"
              "const int32_t rem = (int32_t)((m >> 11) & 65535u);\n"
              "const int32_t step = table[i] - table[i + 1u];\n"
              "const uint32_t u = (uint32_t)(table[i] - ((step * rem + 32768) >> 16));\n"
              "const uint32_t product = (uint32_t)(((uint64_t)m * (u * u)) >> 32);\n"
              "const uint64_t root = ((uint64_t)u * ((UINT32_C(3) << 28) - product)) >> 13;\n"
              "return (root >> 31) == 0u ? (int32_t)root : INT32_MAX;",
              "2^46 / sqrt(m) for 2^30 <= m < 2^32"),
    Primitive("probability", "int32_t",
              (("int32_t", "e", 0, 32768), ("int32_t", "r", 16384, 32768), ("uint32_t", "k", 0, 14)),
              probability,
              "uint32_t s = k + 16u;\n"
              "return (e * r + (INT32_C(1) << (s - 1u))) >> s;",
              "e * r / 2^(16 + k) as Q14: a class's share of the sum of exponentials"),
)}
# fmt: on


COMPOUND = (product32, rounded)
"""Functions of primitives that compiled loops call as well."""


@cache
def lcg_coefficients(n: int) -> tuple[Word, Word]:
    """(A, C), each [n]: word k of a row is A[k] * key + C[k] mod 2^32, the k-fold step in closed form."""
    a, c = np.empty(n, np.uint32), np.empty(n, np.uint32)
    ak, ck = 1, 0
    for k in range(n):
        a[k], c[k] = ak, ck
        ak, ck = (ak * LCG_MUL) % 2**32, (ck * LCG_MUL + LCG_ADD) % 2**32
    return a, c


def row_keys(seed: int, step: int, tensor: int, rows: int) -> Word:
    """Keys [rows] of a tensor's random streams at one step: hash32(mix(mix(seed, step), tensor) + row)."""
    base = mix(mix(np.uint32(seed), np.uint32(step)), np.uint32(tensor))
    with np.errstate(over="ignore"):
        streams = base + np.arange(rows, dtype=np.uint32)
    return hash32(streams.astype(np.uint32))


def lanes(keys: Word, n: int) -> NDArray[np.uint16]:
    """The first n 16-bit lanes of each stream, [rows, n].

    Element i is the lower (i even) or upper half of word i // 2.
    """
    a, c = lcg_coefficients((n + 1) // 2)
    with np.errstate(over="ignore"):
        words = keys[:, None] * a[None, :] + c[None, :]
    return words.astype("<u4", copy=False).view("<u2")[:, :n]


def feedback_matrix(seed: int, tensor: int, rows: int, cols: int, ternary: bool) -> NDArray[np.int8]:
    """A fixed random feedback matrix [rows, cols] int8 that is a function of its seed.

    Uniform: odd integers -127 .. 127 (mean exactly zero). Ternary: -1, 0, 0, +1 with equal odds.
    """
    lane = lanes(row_keys(seed, 0, tensor, rows), cols).astype(np.int32)
    if ternary:
        top = lane >> 14
        return (np.where(top == 2, 1, 0) - np.where(top == 3, 1, 0)).astype(np.int8)
    return (2 * (lane >> 9) - 127).astype(np.int8)


def matvec(
    w: NDArray[np.integer], x: NDArray[np.integer], dtype: type[np.signedinteger[Any]] = np.int32
) -> NDArray[Any]:
    """Exact sum_j w[d, i, j] x[d, j] as int32: w [D or 1, m, n], x [D, n] -> [D, m].

    Through BLAS: float32 holds every partial sum below 2^24, float64 every one below 2^53. int8 by int8
    reaches n * 2^14, int16 by int16 n * 2^30; gen/stages/bounds.py has proven that the result fits `dtype`,
    and 48 bits.
    """
    exact = np.float32 if w.itemsize * x.itemsize == 1 and w.shape[-1] < 1024 else np.float64
    xf = x.astype(exact)
    out: NDArray[Any]
    if w.shape[0] == 1:
        out = (xf @ w[0].astype(exact).T).astype(dtype)
        return out
    out = np.empty(w.shape[:2], dtype)
    for i in range(len(w)):
        out[i] = w[i].astype(exact) @ xf[i]
    return out


def vecmat(e: NDArray[np.integer], w: NDArray[np.integer]) -> Int:
    """Exact sum_i e[d, i] w[d, i, j] as int32: e [D, m], w [D or 1, m, n] -> [D, n]."""
    ef = e.astype(np.float64)
    out: Int
    if w.shape[0] == 1:
        out = (ef @ w[0].astype(np.float64)).astype(np.int32)
        return out
    out = np.empty((len(w), w.shape[2]), np.int32)
    for i in range(len(w)):
        out[i] = ef[i] @ w[i].astype(np.float64)
    return out


def matmul(
    a: NDArray[np.integer], b: NDArray[np.integer], *, dtype: type[np.signedinteger[Any]] = np.int32
) -> NDArray[Any]:
    """Exact a @ b as int32 over the last two axes, leading axes broadcast. As `matvec`, through BLAS."""
    exact = np.float32 if a.itemsize * b.itemsize == 1 and a.shape[-1] < 1024 else np.float64
    out: NDArray[Any] = np.matmul(a.astype(exact), b.astype(exact)).astype(dtype)
    return out


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
