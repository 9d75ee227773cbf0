"""The square of a signal: what is left of it through a low pass is its power."""

from __future__ import annotations

from ..ops.power import most
from ..ops.signal import LIMIT
from ..spec.frontend import BlockSpec
from ..spec.options import PowerOfTwo
from . import Block
from ._tape import FRAC, FrontTape, Signal

HIGHEST = 15


class Square(Block):
    """(x / unit)^2. The square of a signal of int16 fits 32 bits from a unit of 2^5 on."""

    kind = "square"
    doc = "the square of each value; through a low pass it is the power"
    options = (PowerOfTwo("unit", "what is 1 in it, in steps of the converter: 2^k", 0, HIGHEST, 2.0**8),)

    def write(self, tape: FrontTape, own: BlockSpec, x: Signal) -> Signal:
        unit = round(float(own["unit"])).bit_length() - 1
        top = most(x.top, FRAC + 2 * unit)
        if top > LIMIT:
            fits = (k for k in range(HIGHEST + 1) if most(x.top, FRAC + 2 * k) <= LIMIT)
            what = f"unit = 2^{unit}, and its signal may reach {x.top / 2**FRAC:g}"
            raise tape.error(own, what, f'give unit = "2^{next(fits)}", or a larger one')
        if top == 0:
            what = f"unit = 2^{unit}, and its signal never exceeds {x.top / 2**FRAC:g}: nothing would be left"
            raise tape.error(own, what, "give a smaller unit")
        y = tape.signal(own, x, 0, top)
        tape.step("power.square", own, {"x": x.name, "y": y.name}, unit=2.0**unit)
        return y
