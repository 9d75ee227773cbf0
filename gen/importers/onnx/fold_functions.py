"""Functions of one number by which a file may compute constants: tables of sines, scales, limits."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np


def _erf(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.vectorize(math.erf, otypes=[np.float64])(x).astype(x.dtype))


FUNCTIONS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "Abs": np.abs,
    "Atan": np.arctan,
    "Ceil": np.ceil,
    "Cos": np.cos,
    "Erf": _erf,
    "Exp": np.exp,
    "Floor": np.floor,
    "IsNaN": np.isnan,
    "Log": np.log,
    "Neg": np.negative,
    "Reciprocal": np.reciprocal,
    "Relu": lambda x: np.maximum(x, x.dtype.type(0)),
    "Round": np.round,
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "Sign": np.sign,
    "Sin": np.sin,
    "Softplus": lambda x: np.logaddexp(x, x.dtype.type(0)),
    "Sqrt": np.sqrt,
    "Tanh": np.tanh,
}
