"""Whether samples can be trusted: 1 where a lead is off or a converter saturates, else 0."""

from __future__ import annotations

from ..ops.lead_off import FRAMES
from ..spec.frontend import BlockSpec
from ..spec.options import Quantity
from . import Block
from ._tape import FRAC, INT16, FrontTape, Signal

ONE = 1 << FRAC


class LeadOff(Block):
    """1 where a channel stands at a rail or does not move, and for `hold` behind, in which filters settle.
    It belongs on the raw samples: filters make a fault look like a signal."""

    kind = "lead_off"
    doc = "1 where samples stand at a rail or do not move, and some time behind; else 0"
    options = (
        Quantity("low", "the lower rail, in steps of the converter", -32768.0, 32767.0, INT16[0], ""),
        Quantity("high", "the upper rail, in steps of the converter", -32768.0, 32767.0, INT16[1], ""),
        Quantity("stuck", "how long at a rail is a fault", 0.01, 1e6, 20.0, "ms"),
        Quantity(
            "flat", "moving by less than so many steps is standing still; 0: never", 0.0, 65536.0, 2.0, ""
        ),
        Quantity("still", "how long standing still is a fault", 0.01, 1e6, 1000.0, "ms"),
        Quantity("hold", "how long a fault is told behind its end", 0.0, 1e6, 1000.0, "ms"),
    )

    def write(self, tape: FrontTape, own: BlockSpec, x: Signal) -> Signal:
        low, high = float(own["low"]), float(own["high"])
        if low >= high:
            raise tape.error(own, f"low = {low:g} and high = {high:g}", "give a low rail below the high one")
        stuck = tape.frames(own, "stuck", x, 1, FRAMES[1])
        still = tape.frames(own, "still", x, 2, FRAMES[1])
        hold = tape.frames(own, "hold", x, 0, FRAMES[1])
        y = tape.signal(own, x, 0, ONE, channels=1)
        lo, hi = min(x.lo, 0), max(x.hi, 0)
        args = {
            "x": x.name,
            "bottom": tape.kept(own, "bottom", x.channels, lo, hi),
            "top": tape.kept(own, "top", x.channels, lo, hi),
            "rail": tape.kept(own, "rail", x.channels, 0, stuck, 0),
            "run": tape.kept(own, "run", x.channels, 0, still, 0),
            "left": tape.kept(own, "left", 1, 0, hold + 1, 0),
            "y": y.name,
        }
        counts = {"stuck": stuck, "still": still, "hold": hold, "channels": x.channels}
        levels = {"low": low, "high": high, "flat": float(own["flat"]), "one": 1}
        tape.step("lead_off.watch", own, args, **levels, **counts)
        return y
