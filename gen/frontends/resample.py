"""A signal at another rate."""

from __future__ import annotations

import math
from fractions import Fraction

from ..ir.format import Format
from ..ir.program import Value
from ..ops.resample import RATIO, TAPS, Sums
from ..spec.frontend import BlockSpec
from ..spec.options import Quantity
from . import Block
from ._sinc import MOST, integers, phases, taps_of
from ._tape import PREFIX, FrontTape, Signal

MOST_COEFFICIENTS = 2**13
MOST_PUSH = 4096
CLOCK = 2e-5
"""By what share of it a rate may be another one than the file says: what a quartz is off by."""
SIMPLE = 32


class Resample(Block):
    """At `rate`, by a filter of linear phase: what lies below `pass` of half the lower rate passes, what
    would fold into that is damped by 60 dB. It comes half the filter's length late."""

    kind = "resample"
    doc = "the signal at another rate, filtered for it"
    options = (
        Quantity("rate", "samples a second that it has then", 1.0, 2e5, None, "Hz"),
        Quantity("pass", "share of half the lower rate that passes", 0.5, 0.95, 0.8, ""),
    )

    def write(self, tape: FrontTape, own: BlockSpec, x: Signal) -> Signal:
        up, down = self._ratio(tape, own, x)
        taps = taps_of(up, down, float(own["pass"]))
        if taps > TAPS[1] or up * taps > MOST_COEFFICIENTS or max(up, down) > RATIO[1]:
            raise self._difficult(tape, own, x, f"its filter has {up * taps} coefficients")
        if x.frames % down:
            self._refuse(tape, own, x, up, down)
        h, shift = integers(phases(up, down, taps))
        lo, hi = min(x.lo, 0), max(x.hi, 0)
        half, (least, most) = 1 << (shift - 1), Sums.of(h.ravel(), taps, lo, hi).ends
        y = tape.signal(own, x, (least + half) >> shift, (most + half) >> shift, frames=x.frames // down * up)
        name = f"{PREFIX}_{own.name}_filter"
        note = f"{up} phases of {taps} coefficients"
        told = Format("int16", shift, -MOST - 1, MOST)
        flat = h.ravel()
        tape.b.add(Value(name, flat.shape, "const", "constant", ints=flat, format=told, note=note))
        seen = tape.kept(own, "seen", x.size + (taps - 1) * x.channels, lo, hi)
        args = {"x": x.name, "h": name, "seen": seen, "y": y.name}
        numbers = {"up": up, "down": down, "taps": taps, "shift": shift, "channels": x.channels}
        tape.step("resample.polyphase", own, args, **numbers)
        return y

    @staticmethod
    def _ratio(tape: FrontTape, own: BlockSpec, x: Signal) -> tuple[int, int]:
        """The rates' ratio in lowest terms: the simplest one that is as near as a clock is right."""
        before = Fraction(str(tape.front.rate)) * x.frames / tape.front.push
        ratio = Fraction(str(own["rate"])) / before
        sizes = (1 << k for k in range(RATIO[1].bit_length()))
        found = (ratio.limit_denominator(size) for size in sizes)
        ratio = next((r for r in found if abs(r - ratio) <= CLOCK * ratio), ratio)
        if ratio == 1:
            what = f"rate = {x.rate:g} Hz is the rate that its signal has"
            raise tape.error(own, what, "leave the block out")
        return ratio.numerator, ratio.denominator

    @staticmethod
    def _difficult(tape: FrontTape, own: BlockSpec, x: Signal, why: str) -> Exception:
        ratio = Fraction(float(own["rate"]) / x.rate).limit_denominator(SIMPLE)
        what = f"{x.rate:g} Hz to {float(own['rate']):g} Hz: {why}, {MOST_COEFFICIENTS} are the most"
        if not ratio:
            return tape.error(own, what, "take two steps, or decimate before")
        near = float(ratio) * x.rate
        return tape.error(own, what, f"give a rate in a simpler ratio, as {near:.6g} Hz, or decimate before")

    def _refuse(self, tape: FrontTape, own: BlockSpec, x: Signal, up: int, down: int) -> None:
        """CompileError with the smallest push of which whole frames are made."""
        push = tape.front.push * (down // math.gcd(x.frames, down))
        what = f"makes {up} samples of {down}, and {x.frames} come with a push"
        if push > MOST_PUSH:
            raise tape.error(own, what, "give a rate in a simpler ratio")
        raise tape.error(own, what, f"give a push of {push}, or of a multiple")
