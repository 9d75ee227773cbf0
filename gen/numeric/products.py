"""Products of matrices, exact, through BLAS."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .table import Int


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
