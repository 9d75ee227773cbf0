"""A filter of second order: low pass, high pass, band pass or notch, by frequency and Q.

Source of the equations: R. Bristow-Johnson, Cookbook formulae for audio EQ biquad filter coefficients.
"""

from __future__ import annotations

import cmath
import math

from ..spec.frontend import BlockSpec
from ..spec.options import Choice, Quantity
from . import Block
from ._norm import norms
from ._tape import FRAC, FrontTape, Signal

ONE = 1 << 30
SHAPES = ("low", "high", "band", "notch")


def coefficients(shape: str, frequency: float, q: float, rate: float) -> tuple[int, int, int, int, int]:
    """b0, b1, b2, a1, a2 in units of 2^-30.

    a1 and a2 are rounded first; the sums of b that must be exact are: gain 1 at 0 Hz of a low pass and a
    notch, 0 there of a high pass and a band pass.
    """
    w = 2 * math.pi * frequency / rate
    alpha = math.sin(w) / (2 * q)
    a0 = 1 + alpha
    a1, a2 = round(-2 * math.cos(w) / a0 * ONE), round((1 - alpha) / a0 * ONE)
    rest = ONE + a1 + a2  # what b must sum up to where the gain at 0 Hz is 1
    if shape == "low":
        b0 = rest // 4
        return b0, rest - 2 * b0, b0, a1, a2
    if shape == "high":
        b0 = round((ONE - a1 + a2) / 4)
        return b0, -2 * b0, b0, a1, a2
    if shape == "band":
        b0 = round(alpha / a0 * ONE)
        return b0, 0, -b0, a1, a2
    b0 = round(ONE / a0)
    return b0, rest - 2 * b0, b0, a1, a2


def response(numbers: tuple[int, int, int, int, int], frequency: float, rate: float) -> complex:
    """The gain at a frequency of these very coefficients."""
    z = cmath.exp(-2j * math.pi * frequency / rate)
    b0, b1, b2, a1, a2 = (n / ONE for n in numbers)
    return (b0 + b1 * z + b2 * z * z) / (1 + a1 * z + a2 * z * z)


class Biquad(Block):
    """Gain 1 where it passes."""

    kind = "biquad"
    doc = "a filter of second order: low pass, high pass, band pass or notch"
    options = (
        Choice("shape", "what passes", SHAPES),
        Quantity("frequency", "corner, or middle of band and notch", 0.01, 1e4, None, "Hz"),
        Quantity("q", "quality: 0.7071 is Butterworth's", 0.1, 50.0, math.sqrt(0.5), ""),
    )

    def write(self, tape: FrontTape, own: BlockSpec, x: Signal) -> Signal:
        frequency = tape.hertz(own, "frequency", x)
        numbers = coefficients(str(own["shape"]), frequency, float(own["q"]), x.rate)
        try:
            gain, noise = norms(numbers[:3], numbers[3:])
        except ValueError as error:
            what = f"at {frequency:g} Hz of {x.rate:g} {error}"
            raise tape.error(own, what, "take a higher frequency, or decimate before") from None
        top = math.ceil(x.top * gain + noise) + 1
        y = tape.signal(own, x, -top, top)
        args = {
            "x": x.name,
            "past": tape.kept(own, "past", 2 * x.channels, x.lo, x.hi),
            "made": tape.kept(own, "made", 2 * x.channels, -top, top),
            "rest": tape.kept(own, "rest", x.channels, 0, ONE - 1, FRAC + 30),
            "y": y.name,
        }
        named = dict(zip(("b0", "b1", "b2", "a1", "a2"), (n / ONE for n in numbers), strict=True))
        tape.step("filter.biquad", own, args, **named, channels=x.channels)
        return y
