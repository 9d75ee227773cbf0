"""Layouts in which kernel sets read frozen constants, and their inverses.

Only constants are relaid, when the C is emitted; what a chip learns keeps the one layout of the Plan. A group
is four columns. In a word of two lanes they stand as (0, 2) and (1, 3), which is how SXTB16 unpacks a word of
four int8 activations.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Int8 = NDArray[np.int8]
Int32 = NDArray[np.int32]
Words = NDArray[np.uint32]

HIGH_ROW = 2**23
"""What the sum of the higher row of a dual pair must stay below: it is read from the upper 24 bits."""


def _words(lanes: NDArray[np.int32]) -> Words:
    """Lanes [..., 4] of a group as its words [..., 2]: (0, 2) and (1, 3), the first in the lower half."""
    low, high = lanes[..., :2].astype(np.uint32), lanes[..., 2:].astype(np.uint32)
    return (low & np.uint32(0xFFFF)) | (high << np.uint32(16))


def _lanes(words: Words) -> NDArray[np.int32]:
    """The inverse of _words."""
    low, high = words.astype(np.uint16).astype(np.int16), (words >> np.uint32(16)).astype(np.uint16)
    return np.concatenate([low.astype(np.int32), high.astype(np.int16).astype(np.int32)], axis=-1)


def dual_rows(w: Int8, pairs: int) -> Words:
    """Rows in pairs, w [m, n] with |w| <= 127: a lane is 256 * w[odd row] + w[even row].

    SMLAD of such a word sums both rows, 256 * odd + even; of its SXTB16 the even row alone. Blocks of `pairs`
    pairs, group by group: the words of pair 0, of pair 1, ...; then the pairs that fill no block, one by one.
    Missing rows and columns are zero.
    """
    m, n = w.shape
    count, groups = -(-m // 2), -(-n // 4)
    full = np.zeros((2 * count, 4 * groups), np.int32)
    full[:m, :n] = w
    lanes = 256 * full[1::2] + full[0::2]
    words = _words(lanes.reshape(count, groups, 4))
    whole = m // 2 // pairs * pairs  # an odd last row has no partner, and fills no block
    blocks = words[:whole].reshape(whole // pairs, pairs, groups, 2).transpose(0, 2, 1, 3)
    return np.concatenate([blocks.ravel(), words[whole:].ravel()])


def rows_of_dual(words: Words, pairs: int, shape: tuple[int, int]) -> Int8:
    """The inverse of dual_rows: [m, n]."""
    m, n = shape
    count, groups = -(-m // 2), -(-n // 4)
    whole = m // 2 // pairs * pairs  # an odd last row has no partner, and fills no block
    cut = whole * groups * 2
    blocks = words[:cut].reshape(whole // pairs, groups, pairs, 2).transpose(0, 2, 1, 3)
    ordered = np.concatenate([blocks.reshape(whole, groups, 2), words[cut:].reshape(-1, groups, 2)])
    lanes = _lanes(ordered).reshape(count, 4 * groups)
    even = lanes.astype(np.uint8).astype(np.int8)
    odd = ((lanes - even) >> 8).astype(np.int8)
    return np.stack([even, odd], axis=1).reshape(2 * count, -1)[:m, :n]


def rounded_bias(b: Int32, shift: NDArray[np.uint8]) -> Int32:
    """Biases with the rounding half of each row's shift: where a sum starts that is only shifted then."""
    half = (np.int64(1) << shift.astype(np.int64)) >> 1
    return (b.astype(np.int64) + half).astype(np.int32)


def dual_bias(start: Int32) -> Int32:
    """Starts [m] for the sums of dual_rows: of each pair 256 * odd + even modulo 2^32, and even."""
    full = np.zeros(-(-len(start) // 2) * 2, np.int64)
    full[: len(start)] = start
    both = (256 * full[1::2] + full[0::2]).astype(np.uint64).astype(np.uint32)
    return np.stack([both.view(np.int32), full[0::2].astype(np.int32)], axis=1).ravel()


def bias_of_dual(words: Int32, m: int) -> Int32:
    """The inverse of dual_bias for starts whose odd ones lie within +-2^23: [m]."""
    both, even = words.reshape(-1, 2).astype(np.int64).T
    odd = ((both - even).astype(np.uint64).astype(np.uint32).view(np.int32)) >> 8
    return np.stack([even.astype(np.int32), odd], axis=1).ravel()[:m]


def with_scales(start: Int32, scales: Int32, blocks: int) -> Int32:
    """Starts of blocks of rows, behind those of each block the scales [rows, 2] of its rows, 0 if missing."""
    rows = -(-len(scales) // blocks) * blocks
    full = np.zeros((rows, 2), np.int32)
    full[: len(scales)] = scales
    return np.concatenate([start.reshape(blocks, -1), full.reshape(blocks, -1)], axis=1).ravel()


def without_scales(words: Int32, rows: int, blocks: int) -> tuple[Int32, Int32]:
    """The inverse of with_scales: starts, and scales [rows, 2]."""
    each = words.reshape(blocks, -1)
    cut = each.shape[1] - 2 * -(-rows // blocks)
    return each[:, :cut].ravel(), each[:, cut:].reshape(-1, 2)[:rows]


def dual_fits(w: Int8, start: Int32, zeroed: bool = False) -> bool:
    """True if the sum of every odd row stays below HIGH_ROW, whatever int8 inputs come.

    zeroed: whether zero points lie in the starts, which then outweigh half of what inputs bring: what is left
    """
    wide, from_ = w.astype(np.int64), start.astype(np.int64)
    top = np.abs(from_) + 128 * np.abs(wide).sum(axis=1)
    if zeroed:
        ends = np.stack([-128 * wide, 127 * wide])
        sums = from_ + ends.min(axis=0).sum(axis=1), from_ + ends.max(axis=0).sum(axis=1)
        top = np.maximum(np.abs(sums[0]), np.abs(sums[1]))
    return bool(np.all(top[1::2] < HIGH_ROW)) and int(np.abs(w.astype(np.int32)).max(initial=0)) <= 127


def channel_lanes(w: Int8) -> Words:
    """Weights of a depthwise layer, w [channels, taps]: for four channels at a time, tap by tap, two words.

    Channels in lanes as columns in dual_rows: (0, 2) and (1, 3).
    """
    m, taps = w.shape
    return _words(w.astype(np.int32).reshape(m // 4, 4, taps).swapaxes(1, 2)).ravel()


def channels_of_lanes(words: Words, shape: tuple[int, int]) -> Int8:
    """The inverse of channel_lanes: [channels, taps]."""
    m, taps = shape
    return _lanes(words.reshape(m // 4, taps, 2)).swapaxes(1, 2).reshape(m, taps).astype(np.int8)
