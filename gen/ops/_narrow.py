"""A sum of products of 64 bits as sums of 32, for cores that have no product of more: the same bits.

A coefficient c is q 2^30 + h 2^15 + l with 0 <= l < 2^15, q the nearest integer to c / 2^30; a value v is
a 2^15 + b with 0 <= b < 2^15. So c v = (q v + h a) 2^30 + (h b + l a) 2^15 + l b, and each of the three parts
is summed by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

ONE = 30
HALF = 15
MASK = 2**HALF - 1
WORD = 2**31


def parts(coefficient: int) -> tuple[int, int, int]:
    """(q, h, l) of a coefficient."""
    q = (coefficient + 2 ** (ONE - 1)) >> ONE
    rest = coefficient - (q << ONE)
    return q, rest >> HALF, rest & MASK


def fits(terms: Sequence[tuple[int, int]]) -> bool:
    """Whether there are parts, and no sum of them leaves its 32 bits. terms: coefficients, each with the
    magnitude that its value may have"""
    if not any(part for coefficient, _ in terms for part in parts(coefficient)[1:]):
        return False
    whole = middle = low = 0
    for coefficient, top in terms:
        (q, h, rest), a = parts(coefficient), (top >> HALF) + 1
        whole += abs(q) * top + abs(h) * a
        middle += abs(h) * MASK + rest * a
        low += rest * MASK
        if top >= WORD:
            return False
    carried = whole + (middle >> HALF) + 8
    return max(carried, middle) < WORD and low < 2 * WORD  # the last one has no sign


def numbers(terms: Mapping[str, tuple[int, int]]) -> dict[str, int]:
    """What a template prints of each term, by its name: q, h and l; nothing of what is 0."""
    return {
        f"{name}_{part}": n
        for name, (coefficient, _) in terms.items()
        for part, n in zip("qhl", parts(coefficient), strict=True)
        if coefficient
    }
