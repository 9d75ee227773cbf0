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
def put_packed(held: Cells, i: Number, bits: Number, value: Number) -> None:
    """Writes number i into bytes that are 0 there."""
    at = i * bits
    held[at >> 3] = np.uint8(held[at >> 3] | (value << (at & 7)))


@helper
def get_packed(held: Cells, i: Number, bits: Number) -> Number:
    """Number i."""
    at = i * bits
    return (np.int64(held[at >> 3]) >> (at & 7)) & ((1 << bits) - 1)


def without(step: Step, *names: str, **more: str) -> dict[str, str]:
    """The operands of a step less those of some roles, and with others."""
    return {role: name for role, name in step.args.items() if role not in names} | more
