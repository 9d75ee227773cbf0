"""What a recursive filter of second order can reach, from its impulse response: a proven upper bound.

A filter y = b(z) / a(z) x whose response is h reaches at most max|x| times the sum of |h|: the L1 norm. Sums
here are of integers that stand for v / 2^64, rounded down; what that and the tail may leave out is added. The
tail follows from g, the response of 1 / a(z): the companion matrix to the power i has two rows, of which the
sums of magnitudes are at most |g_i| + |g_(i-1)|, and that of i - 1 (|a2| < 1). Once three of g in a row are
at most a quarter, the matrix to that power halves every state, and what comes later is at most as much again.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import count

SCALE = 64
ONE = 1 << SCALE
QUARTER = ONE >> 2
COEFFICIENT = 30
LONGEST = 1 << 21
"""Steps after which a filter that still rings is none."""


def _steps(b: tuple[int, int, int], a: tuple[int, int]) -> list[int]:
    """The impulse response, in units of 2^-64, until three in a row are at most 2^-34 of the largest before,
    and a quarter."""
    h1 = h2 = top = 0
    out: list[int] = []
    for n in count():
        v = (b[n] << (SCALE - COEFFICIENT)) if n < 3 else 0
        v += (-a[0] * h1 - a[1] * h2) >> COEFFICIENT
        out.append(v)
        h1, h2, top = v, h1, max(top, abs(v))
        if n > 4 and max(abs(u) for u in out[-3:]) <= min(top >> 34, QUARTER):
            return out
        if n > LONGEST:
            raise ValueError("the filter does not settle")
    raise AssertionError


@lru_cache(256)
def norms(b: tuple[int, int, int], a: tuple[int, int]) -> tuple[float, float]:
    """Upper bounds of the L1 norms of b / a and of (1 - z^-1) / a, coefficients in units of 2^-30.

    The second is what rounding can add where remainders are kept. ValueError where a filter is not stable.
    """
    one = 1 << COEFFICIENT
    if not (abs(a[1]) < one and abs(a[0]) < one + a[1]):
        raise ValueError("the filter is not stable")
    g = _steps((one, 0, 0), a)
    every = _rings(g)
    return _norm(_steps(b, a), every), _norm(_steps((one, -one, 0), a), every)


def _rings(g: list[int]) -> int:
    """At most the sum of all powers of the companion matrix, in the largest row sum.

    g: ends with three values of at most a quarter
    """
    end = next(n for n in range(2, len(g)) if all(abs(v) <= QUARTER for v in g[n - 2 : n + 1]))
    return 8 * (sum(abs(v) for v in g[: end + 1]) + end + 1)


def _norm(h: list[int], every: int) -> float:
    """The sum of |h|, and what comes behind its end at most."""
    tail = max(abs(h[-1]), abs(h[-2])) * every >> SCALE
    rounded = len(h) * (every >> SCALE) + len(h)
    return (sum(map(abs, h)) + tail + rounded + 1) / ONE * (1 + 2.0**-40)
