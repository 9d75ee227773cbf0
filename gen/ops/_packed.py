"""Small numbers side by side in bytes: what learning keeps of a map where its values are not needed again.

Number i of so many `bits`, 1, 2, 4 or 8, lies in byte i bits / 8, the first of a byte lowest. The bits behind
the last number are 0 where they are written, and are never looked at.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir.program import Step
from ._loops import Cells, Number, helper

WIDTHS = (1, 2, 4, 8)
MOST = 1 << WIDTHS[-1]
"""How many numbers there may be at most."""
BYTES = 8
"""Of a word, in which loops move numbers."""


def anything(count: int) -> tuple[int, int, int]:
    """(lo, hi, l1) of so many bytes that may be anything."""
    return 0, 255, 255 * count


def width(numbers: int) -> int:
    """The least width that tells so many numbers apart, at most MOST."""
    return next(bits for bits in WIDTHS if numbers <= 1 << bits)


def size(count: int, bits: int) -> int:
    """Bytes of `count` numbers."""
    return -(-count * bits // 8)


def packed(numbers: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """[D, count] as bytes [D, size(count, bits)]."""
    each = (numbers[..., None].astype(np.uint8) >> np.arange(bits, dtype=np.uint8)) & np.uint8(1)
    return np.packbits(each.reshape(len(numbers), -1), axis=1, bitorder="little")


def unpacked(held: NDArray[np.uint8], count: int, bits: int) -> NDArray[np.uint8]:
    """The numbers [D, count] in bytes."""
    each = np.unpackbits(held, axis=1, count=count * bits, bitorder="little")
    weights = (np.uint8(1) << np.arange(bits, dtype=np.uint8)).astype(np.uint8)
    numbers: NDArray[np.uint8] = (each.reshape(len(held), count, bits) * weights).sum(axis=2, dtype=np.uint8)
    return numbers


@helper
def places_bits(numbers: Number) -> Number:
    """As `width`, in compiled code."""
    each = 1
    while 1 << each < numbers:
        each *= 2
    return each


@helper
def _fields(each: Number) -> Number:
    """Of words in whose fields of 4, of 2 and of 1 bytes as many numbers lie lowest: the bits of these."""
    four, two, one = (1 << 4 * each) - 1, (1 << 2 * each) - 1, (1 << each) - 1
    return four * 0x0000000100000001, two * 0x0001000100010001, one * 0x0101010101010101


@helper
def whole_words(n: Number) -> Number:
    """n, or the next multiple of the bytes of a word."""
    return -(-n // BYTES) * BYTES


@helper
def unpacked_bytes(held: Cells, count: Number, each: Number) -> Cells:
    """Numbers of `each` bits as bytes, in whole words: what is behind the last one is anything. Those of a
    word are moved apart together, first the upper half of them, then of each half."""
    words, apart = np.zeros(whole_words(count) // BYTES, np.int64), 8 - each
    four, two, one = _fields(each)
    for k in range(each):
        for j in range((len(held) - k + each - 1) // each):
            words[j] |= np.int64(held[np.uint64(j * each + k)]) << 8 * k
    for j in range(len(words)):
        v = words[j]
        v = (v | v << 4 * apart) & four
        v = (v | v << 2 * apart) & two
        words[j] = (v | v << apart) & one
    return words.view(np.uint8)


@helper
def pack_bytes(held: Cells, numbers: Cells, each: Number) -> None:
    """Writes numbers as `each` bits; they are bytes in whole words, 0 behind the last one, and are lost."""
    words, apart = numbers.view(np.int64), 8 - each
    four, two, _ = _fields(each)
    for j in range(len(words)):
        v = words[j]
        v = (v | v >> apart) & two
        v = (v | v >> 2 * apart) & four
        words[j] = v | v >> 4 * apart
    for k in range(each):
        for j in range((len(held) - k + each - 1) // each):
            held[np.uint64(j * each + k)] = np.uint8(words[j] >> 8 * k)


def without(step: Step, *names: str, **more: str) -> dict[str, str]:
    """The operands of a step less those of some roles, and with others."""
    return {role: name for role, name in step.args.items() if role not in names} | more
