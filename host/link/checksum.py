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

from typing import Any

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.numeric import int64, uint32, uint64
from synapcc.gen.target.messages import CHECKSUM_BYTES, CHECKSUM_FACTOR

SUMS = 2
_WORD = 4


def mixed(word: Any) -> Any:
    """g of a word, or of an array of words, uint32."""
    word = uint32(word ^ word >> uint32(15))
    word = uint32(word * uint32(CHECKSUM_FACTOR))
    return uint32(word ^ word >> uint32(16))


def sums(state: Any, words: Any, out: Any) -> None:
    """s and t of a state, [size] uint8, into out, [SUMS] uint64: what the emulator's engine compiles.

    words: the whole words of the state, [size // 4] uint32
    """
    n = len(words) + (len(state) % _WORD > 0)
    s, t = uint64(0), uint64(0)
    for i in range(len(words)):
        g = uint64(mixed(words[i]))
        s += g
        t += g * uint64(uint32(n - i))
    last = uint32(0)
    for i in range(int64(_WORD * len(words)), len(state)):
        last = uint32(last | uint32(state[i]) << uint32(8 * (i % _WORD)))
    if n > len(words):
        s += uint64(mixed(last))
        t += uint64(mixed(last))
    out[0], out[1] = s, t


LOOPS = (mixed, sums)


def unmixed(g: int) -> int:
    """The word w with g(w) = g."""
    g ^= g >> 16
    g = g * pow(CHECKSUM_FACTOR, -1, 1 << 32) % (1 << 32)
    return g ^ g >> 15 ^ g >> 30


def _gap(got: bytes, want: bytes) -> int:
    """The difference of two sums, between -2^63 and 2^63."""
    gap = (int.from_bytes(got, "little") - int.from_bytes(want, "little")) % (1 << 64)
    return gap - (gap >> 63 << 64)


class Checksum:
    """Of states of `size` bytes: what is multiplied with each word, kept from one to the next."""

    def __init__(self, size: int) -> None:
        self._words = -(-size // _WORD)
        self._padding = np.zeros(self._words * _WORD - size, np.uint8)
        self._places = np.arange(self._words, 0, -1, dtype=np.uint64)

    def __call__(self, state: NDArray[np.uint8]) -> bytes:
        """The CHECKSUM_BYTES of a state, [size] bytes: s and t, little-endian."""
        block = np.concatenate((state, self._padding)) if len(self._padding) else np.ascontiguousarray(state)
        each = mixed(block.view("<u4").astype(np.uint32, copy=False)).astype(np.uint64)
        found = np.array([each.sum(), np.dot(each, self._places)], "<u8")  # both wrap modulo 2^64
        assert found.nbytes == CHECKSUM_BYTES == SUMS * found.itemsize
        return found.tobytes()

    def one_word(self, state: NDArray[np.uint8], got: bytes) -> NDArray[np.uint8] | None:
        """The state, [size], with the checksum `got` and all but one word of `state`; None: there is none.

        Of one word, i, s changes by D and t by (n - i) D: their quotient is its place, and g(w) + D gives it.
        """
        want, half = self(state), CHECKSUM_BYTES // SUMS
        d, placed = _gap(got[:half], want[:half]), _gap(got[half:], want[half:])
        if d == 0 or placed % d:
            return None
        i = self._words - placed // d
        if not 0 <= i < self._words:
            return None
        block = np.concatenate((state, self._padding)).view("<u4")
        g = int(mixed(block[i : i + 1].astype(np.uint32))[0]) + d
        if not 0 <= g < 1 << 32:
            return None
        block[i] = unmixed(g)
        found: NDArray[np.uint8] = block.view(np.uint8)[: len(state)]
        return found if self(found) == got else None
