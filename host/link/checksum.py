"""The checksum of a persistent state: what a chip says of it after every step. Twin of firmware/checksum.c.

The bytes are n words w of 32 bits, little-endian, the last one filled up with zeros. Each word is mixed,

    g(w): w ^= w >> 15; w *= 0x7feb352d; w ^= w >> 16        (modulo 2^32)

and the checksum is two sums modulo 2^64: s of g(w[i]), and t of (n - i) g(w[i]), i from 0. These are
Fletcher's sums (Fletcher 1982), over mixed words and twice as wide.

**Any change of at most two words is seen**: of one bit, of many, two words that change places. g is a
bijection (so are an xor with one's own upper bits and the product with an odd number): a word that changes,
changes g(w) by some D, 0 < |D| < 2^32.

* One word, i: s changes by D, and D is no multiple of 2^64.
* Two words, i < j, by D and E: if s stays, D + E is a multiple of 2^64, and |D + E| < 2^33, so E = -D. Then
  t changes by D (n - i) - D (n - j) = D (j - i), 0 < |D (j - i)| < 2^32 2^32 = 2^64: no multiple of 2^64.

Where more words change, both sums must meet by chance; mixing is there so that faults of one kind, all of
them off by one say, do not help it. That is for faults: an adversary solves two equations. The second look is
SHA-256.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.target.messages import CHECKSUM_BYTES, CHECKSUM_FACTOR

_WORD = 4


class Checksum:
    """Of states of `size` bytes: what is multiplied with each word, kept from one to the next."""

    def __init__(self, size: int) -> None:
        self._words = -(-size // _WORD)
        self._padding = np.zeros(self._words * _WORD - size, np.uint8)
        self._places = np.arange(self._words, 0, -1, dtype=np.uint64)

    def __call__(self, state: NDArray[np.uint8]) -> bytes:
        """The CHECKSUM_BYTES of a state, [size] bytes: s and t, little-endian."""
        block = np.concatenate((state, self._padding)) if len(self._padding) else np.ascontiguousarray(state)
        word = block.view("<u4").astype(np.uint32)
        word ^= word >> np.uint32(15)
        word *= np.uint32(CHECKSUM_FACTOR)
        word ^= word >> np.uint32(16)
        mixed = word.astype(np.uint64)
        sums = np.array([mixed.sum(), np.dot(mixed, self._places)], "<u8")  # both wrap modulo 2^64
        assert sums.nbytes == CHECKSUM_BYTES
        return sums.tobytes()
