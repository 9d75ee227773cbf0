"""Stated errors of a normalisation: of the root, of its outputs, of the signals that pass it."""

from __future__ import annotations

import numpy as np
import pytest

from synapcc.gen import numeric
from synapcc.gen.ir.format import Format
from synapcc.gen.ops import kernel
from synapcc.gen.ops.normalise import KINDS, SQUARES


def test_the_root_keeps_its_stated_error() -> None:
    m = np.unique(np.concatenate([
        np.linspace(2**30, 2**32 - 1, 1 << 20), np.arange(2**30, 2**30 + 5000),
        *(np.arange(k << 27, (k << 27) + 50) for k in range(8, 32)),
    ]).astype(np.uint32))  # fmt: skip
    off = numeric.root_reciprocal(m) / (2.0**46 / np.sqrt(m.astype(np.float64))) - 1
    assert -(2.0**-18) <= off.min() < -(2.0**-19) and off.max() <= 2.0**-27


def attributes(kind: int, size: int, epsilon: float, x: int, y: int) -> dict[str, int]:
    formats = {"x": Format("int8", x, -128, 127), "y": Format("int16", y, -32768, 32767)}
    given = {"outer": 1, "size": size, "block": 1, "kind": kind, "epsilon": epsilon}
    return kernel("normalise.forward").lower(formats, given, "")


@pytest.mark.parametrize("kind", range(len(KINDS)))
@pytest.mark.parametrize("size", [2, 16, 255, 4096])
def test_outputs_are_within_their_stated_error(kind: int, size: int) -> None:
    """Half a unit, and 2^-18 of the output; epsilon is a multiple of (unit of x / size)^2."""
    epsilon = round(1e-3 * size**2 * 256) / (size**2 * 256)
    point = 8 + (size.bit_length() if KINDS[kind] in ("squares", "magnitudes") else 0)
    rng, a = np.random.default_rng([kind, size]), attributes(kind, size, epsilon, 4, point)
    k = kernel("normalise.forward")
    for spread in (1, 5, 40, 128):
        x = rng.integers(-spread, spread, (50, size)).astype(np.int8)
        y, real = np.zeros((50, size), np.int16), np.zeros((50, size))
        k.integer({"x": x, "y": y}, a)
        k.real({"x": x / 16, "y": real}, a | {"epsilon": epsilon})
        off = np.abs(y - np.clip(real * 2**point, -32768, 32767))
        assert np.all(off <= 0.5 + np.abs(real) * 2.0 ** (point - 18) + 1e-6), off.max()
        assert spread == 1 or len(np.unique(y)) > 2


@pytest.mark.parametrize("kind", range(SQUARES + 1))
def test_signals_are_near_the_derivative(kind: int) -> None:
    """Means are rounded to units of the signal, outputs to theirs: 2 % of the largest signal."""
    rng, size = np.random.default_rng(kind), 32
    x = rng.integers(-100, 100, (40, size)).astype(np.int8)
    point = 5 if kind < SQUARES else 8  # at which outputs fill int8
    a, d = attributes(kind, size, 1e-3, 4, point), rng.integers(-2000, 2000, (40, size)).astype(np.int16)
    y, real = np.zeros((40, size), np.int8), np.zeros((40, size))
    kernel("normalise.forward").integer({"x": x, "y": y}, a | {"lo": -128, "hi": 127})
    k, g, want = kernel("normalise.feedback"), np.zeros((40, size), np.int16), np.zeros((40, size))
    kernel("normalise.forward").real({"x": x / 16, "y": real}, a | {"epsilon": 1e-3})
    given = a | {"epsilon": 1e-3}
    k.real({"x": x / 16, "y": real, "d": d / 4096, "g": want}, given)
    formats = {
        "x": Format("int8", 4, -128, 127),
        "y": Format("int8", point, -128, 127),
        "d": Format("int16", 12, -2000, 2000),
        "g": Format("int16", 14, -(2**15), 2**15 - 1),
    }
    k.integer({"x": x, "y": y, "d": d, "g": g}, k.lower(formats, given, ""))
    assert np.abs(want).max() * 2**14 > 500
    assert np.abs(g / 2**14 - want).max() < 0.02 * np.abs(want).max()


def test_a_row_without_any_spread_is_zero() -> None:
    k, y = kernel("normalise.forward"), np.ones((1, 6), np.int16)
    for kind, x in ((0, 77), (1, 0), (2, 0), (3, 0), (4, 0)):
        k.integer({"x": np.full((1, 6), x, np.int8), "y": y}, attributes(kind, 6, 0.0, 4, 8))
        assert not y.any()
