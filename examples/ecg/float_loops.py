"""Learning in float32, a beat at a time, compiled by numba: bases are compared by it, where the emulator
takes hours. Three dense layers, ReLU between them, softmax and cross-entropy behind; plain SGD.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float32]

BP, HEBBIAN, LAST = range(3)
RULES = {"bp": BP, "hebbian": HEBBIAN, "last": LAST}
"""hebbian: independent random feedback that learns what the weights learn."""


def _compiled(loop: Callable[..., Any]) -> Callable[..., Any]:
    made: Callable[..., Any] = njit(fastmath=True)(loop)
    return made


@_compiled
def _forward(w: Floats, b: Floats, x: Floats, z: Floats, clipped: bool) -> None:
    for i in range(w.shape[0]):
        row, total = w[i], np.float32(0)
        for k in range(w.shape[1]):
            total += row[k] * x[k]
        total += b[i]
        z[i] = np.float32(0) if clipped and total < 0 else total


@_compiled
def _back(w: Floats, signal: Floats, hidden: Floats, below: Floats) -> None:
    below[:] = 0
    for i in range(w.shape[0]):
        row, s = w[i], signal[i]
        for k in range(w.shape[1]):
            below[k] += s * row[k]
    for k in range(w.shape[1]):
        if hidden[k] <= 0:
            below[k] = 0


@_compiled
def _update(w: Floats, signal: Floats, x: Floats, rate: float) -> None:
    for i in range(w.shape[0]):
        row, s = w[i], np.float32(-rate) * signal[i]
        for k in range(w.shape[1]):
            row[k] += s * x[k]


@_compiled
def _error(z: Floats, label: int) -> None:
    """Scores become the derivative of the cross-entropy."""
    most, total = z.max(), np.float32(0)
    for i in range(len(z)):
        z[i] = np.exp(z[i] - most)
        total += z[i]
    for i in range(len(z)):
        z[i] /= total
    z[label] -= np.float32(1)


@_compiled
def _learn(
    w1: Floats, b1: Floats, w2: Floats, b2: Floats, w3: Floats, b3: Floats, r2: Floats, r3: Floats,
    x: Floats, label: NDArray[np.int64], rate: float, passes: int, rule: int,
) -> None:  # fmt: skip
    h1, s1 = np.zeros_like(b1), np.zeros_like(b1)
    h2, s2 = np.zeros_like(b2), np.zeros_like(b2)
    z, step = np.zeros_like(b3), np.float32(rate)
    for _ in range(passes):
        for t in range(len(label)):
            _forward(w1, b1, x[t], h1, True)
            _forward(w2, b2, h1, h2, True)
            _forward(w3, b3, h2, z, False)
            _error(z, label[t])
            if rule != LAST:
                _back(r3 if rule == HEBBIAN else w3, z, h2, s2)
                _back(r2 if rule == HEBBIAN else w2, s2, h1, s1)
                _update(w1, s1, x[t], rate)
                _update(w2, s2, h1, rate)
                b1 -= step * s1
                b2 -= step * s2
            if rule == HEBBIAN:
                _update(r2, s2, h1, rate)
                _update(r3, z, h2, rate)
            _update(w3, z, h2, rate)
            b3 -= step * z


def learned(
    layers: Sequence[Floats], x: Floats, label: NDArray[np.integer], rule: str, rate: float, seed: int,
    passes: int,
) -> list[Floats]:  # fmt: skip
    """Weights and biases of three layers after `passes` over x [n, inputs] at `rate`, by a rule of `RULES`.

    The feedback of `hebbian` is drawn by `seed`, uniform, each matrix as large as the weights that it stands
    beside.
    """
    made, draw = [layer.copy() for layer in layers], np.random.default_rng(1000 + seed)
    feedback = []
    for w in (made[2], made[4]):
        size = np.sqrt(3 * (w**2).mean())
        feedback.append(((draw.random(w.shape) * 2 - 1) * size).astype(np.float32))
    _learn(*made, *feedback, x, label.astype(np.int64), rate, passes, RULES[rule])
    return made


def answers(layers: Sequence[Floats], x: Floats) -> NDArray[np.int64]:
    """The class that three layers give each of x [n, inputs]."""
    for i in range(0, len(layers), 2):
        x = x @ layers[i].T + layers[i + 1]
        x = np.maximum(x, 0) if i + 2 < len(layers) else x
    found: NDArray[np.int64] = x.argmax(axis=1)
    return found
