"""Random words: functions of seed, step, tensor and place, so that no generator keeps a state."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from .table import U32, Primitive, Word, uint32, uint64

LCG_MUL, LCG_ADD = 1664525, 1013904223  # Numerical Recipes, full period mod 2^32
GOLDEN = 0x9E3779B1  # odd, close to 2^32 / golden ratio: spreads small integers over the word


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


# fmt: off
ROWS = (
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
)
# fmt: on
