"""R peaks of an electrocardiogram, as they come: from one lead, whichever way round it is worn.

The block makes of its signal, in whole steps of the converter and less the first one:

    low     two running sums of `low` each, a triangle, on a scale of 1,024 to 2,047 a millivolt
    band    low less its mean over `high`, both about the same sample
    active  the running sum, over `sum`, of |band - what it was `diff` before|

and gives band and active to `qrs.detect` (gen/ops/qrs.py), which says what the numbers behind them mean. The
defaults were chosen on the records of DS1 of the MIT-BIH Arrhythmia Database (docs/RPEAK.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..ops import qrs
from ..ops.signal import LIMIT
from ..spec.frontend import BlockSpec
from ..spec.options import Integer, Quantity
from . import Block
from ._tape import FRAC, FrontTape, Signal

SCALE = 1024
FLOOR = 0.02
"""mV in `diff`, mean over `sum`: what is less is no beat."""
LEARN, LOST, LONGEST = 2000.0, 2000.0, 2500.0
"""ms: until the first beat; of refusals alone until a smaller beat is taken; that an interval may have."""
LISTEN = 4096.0
"""ms of the running share of loud time, rounded down to a power of two of frames."""
RATES = 100.0, 1000.0


@dataclass(frozen=True, slots=True)
class Sums:
    """Sizes and shifts of the filters, and the largest magnitudes that they can make of the signal's."""

    low: int
    high: int
    diff: int
    sum: int
    first: int
    shift: int
    high_shift: int

    @property
    def level(self) -> int:
        return (self.first * self.low**2 >> self.shift) + 1

    @property
    def delay(self) -> int:
        """Frames by which band lies behind the signal."""
        return self.low - 1 + (self.high >> 1)

    @property
    def band(self) -> int:
        return (2 * self.high * self.level >> self.high_shift) + 1

    @property
    def top(self) -> int:
        """The largest magnitude anywhere in them."""
        return max(self.first * self.low**2, 2 * self.high * self.level, 2 * self.band * self.sum)


class RPeakBlock(Block):
    """Events at R peaks, causal: a third of a second behind, up to `latest` where a beat is found late."""

    kind = "r_peak"
    doc = "R peaks of an electrocardiogram, about which windows stand"
    options = (
        Quantity("gain", "steps of the converter to a millivolt", 1.0, 2.0**15, None, ""),
        Quantity("latest", "how late a beat may yet be told", 100.0, 1e4, 2000.0, "ms"),
        Quantity("low", "of each of the two running sums that take noise away", 1.0, 100.0, 17.0, "ms"),
        Quantity("high", "of the mean that takes the baseline away", 20.0, 1000.0, 150.0, "ms"),
        Quantity("diff", "over which a slope is taken", 1.0, 100.0, 14.0, "ms"),
        Quantity("sum", "over which slopes add up", 10.0, 500.0, 110.0, "ms"),
        Quantity(
            "apart", "which a peak of them exceeds all for, before and after it", 20.0, 500.0, 200.0, "ms"
        ),
        Quantity("around", "within which of its middle its R peak lies", 5.0, 200.0, 90.0, "ms"),
        Integer("share", "64ths of the median beat that a beat must exceed", 0, 127, 21),
        Integer("noise", "16ths of the median of other peaks that it must exceed", 0, 127, 36),
        Quantity("soon", "so soon after a beat it must exceed", 50.0, 1000.0, 330.0, "ms"),
        Integer("soon_share", "64ths of the median beat, unless", 0, 127, 36),
        Integer("steep", "it has so many 64ths of the median steepness", 0, 127, 48),
        Integer("due", "64ths of the median interval until which no beat is missed", 64, 255, 144),
        Integer("back_share", "64ths as share, of one that was refused before", 0, 127, 16),
        Integer("back_noise", "16ths as noise, of that", 0, 127, 44),
        Integer("clip", "16ths of the median that a beat counts for at most", 16, 127, 64),
        Quantity("refractory", "before which no beat follows another one", 50.0, 1000.0, 220.0, "ms"),
        Integer("loud", "one part in so many of the median beat is loud", 1, 127, 5),
        Integer("bad", "64ths of the time that may be loud", 0, 64, 32),
    )

    def write(self, tape: FrontTape, own: BlockSpec, x: Signal) -> None:
        if x.channels != 1:
            raise tape.error(own, f"its signal has {x.channels} channels", "take one lead")
        if not RATES[0] <= x.rate <= RATES[1]:
            what = f"its signal has {x.rate:g} samples a second"
            raise tape.error(
                own, what, f"give one of {RATES[0]:g} to {RATES[1]:g}: decimate, or sample faster"
            )
        lengths = {o: _frames(own, o, x) for o in ("low", "high", "diff", "sum", "apart", "around")}
        near = lengths["apart"] + ((lengths["sum"] + lengths["diff"]) >> 1)
        if lengths["around"] >= near:
            what = f"around = {own['around']:g} ms reaches beyond what has come"
            raise tape.error(own, what, f"give less than {near / x.rate * 1000:.4g} ms")
        sums = _sums(own, x, lengths)
        base = self._start(tape, own, x, sums.first)
        first = self._moving(tape, own, base, "sum", sums.low, 0)
        low = self._moving(tape, own, first, "low", sums.low, sums.shift)
        band = self._moving(tape, own, low, "band", sums.high, sums.high_shift, level=True)
        steep = tape.signal(own, band, 0, band.hi - band.lo, part="steep", frac=0)
        past = tape.kept(own, "before", sums.diff, band.lo, band.hi, 0)
        tape.step("signal.slope", own, {"x": band.name, "past": past, "y": steep.name})
        active = self._moving(tape, own, steep, "active", sums.sum, 0)
        self._detect(tape, own, (band, active), sums, lengths, near)

    def _start(self, tape: FrontTape, own: BlockSpec, x: Signal, top: int) -> Signal:
        y = tape.signal(own, x, -top, top, part="start", frac=0)
        args = {"x": x.name, "y": y.name, "first": tape.kept(own, "first", 1, x.lo, x.hi)}
        args["begun"] = tape.counter("begun", "1 once there was a first value", own=own)
        tape.step("sums.start", own, args)
        return y

    def _moving(
        self,
        tape: FrontTape,
        own: BlockSpec,
        x: Signal,
        part: str,
        size: int,
        shift: int,
        level: bool = False,
    ) -> Signal:
        top = x.top * size
        lo = -((2 if level else 1) * top >> shift) - 1 if x.lo < 0 else 0
        y = tape.signal(own, x, lo, ((2 if level else 1) * top >> shift) + 1, part=part, frac=0)
        args = {
            "x": x.name,
            "ring": tape.kept(own, f"{part}_ring", size, min(x.lo, 0), x.hi, 0),
            "sum": tape.kept(own, f"{part}_sum", 1, -top if x.lo < 0 else 0, top, 0),
            "at": tape.counter(f"{part}_at", "where the oldest value lies", own=own),
            "y": y.name,
        }
        tape.step("sums.level" if level else "sums.moving", own, args, size=size, shift=shift)
        return y

    def _detect(
        self,
        tape: FrontTape,
        own: BlockSpec,
        seen: tuple[Signal, Signal],
        sums: Sums,
        lengths: dict[str, int],
        near: int,
    ) -> None:
        band, active = seen
        rows = near + lengths["around"] + sums.diff + 1
        loud_shift = max(0, math.floor(math.log2(LISTEN * band.rate / 1000)))
        unit = float(own["gain"]) * sums.low**2 / 2**sums.shift * sums.high / 2**sums.high_shift
        latest, usual = _frames(own, "latest", band), near + lengths["around"] + sums.delay
        if latest < usual:
            what = f"latest = {own['latest']:g} ms, and a beat is certain {usual / band.rate * 1000:.4g} ms"
            raise tape.error(own, f"{what} behind it", "give more, so that some are told")
        event = tape.event(own, band, qrs.LONG, latest, _frames(own, "refractory", band))
        doubt = tape.signal(own, band, 0, 1, part="doubtful", frac=0)
        tape.doubts[own.name] = doubt
        args = {
            "band": band.name,
            "active": active.name,
            "ring": tape.kept(own, "ring", rows, band.lo, band.hi, 0),
            "at": tape.counter("at", "where the next value lies", own=own),
            "lists": tape.kept(own, "lists", qrs.LISTS * qrs.LIST, 0, qrs.CAP, 0),
            "medians": tape.kept(own, "medians", qrs.LISTS, 0, qrs.CAP, 0),
            "levels": tape.kept(own, "levels", qrs.LEVELS, 0, qrs.CAP, 0),
            "clock": tape.counter(
                "clock", "frames, and at which of them something was", own=own, size=qrs.CLOCKS
            ),
            "loud": tape.kept(own, "loud", 1, 0, qrs.WHOLE << loud_shift, 0),
            "y": event.name,
            "doubtful": doubt.name,
        }
        named = (
            "share",
            "noise",
            "soon_share",
            "steep",
            "due",
            "back_share",
            "back_noise",
            "clip",
            "loud",
            "bad",
        )
        times = {"learn": LEARN, "lost": LOST, "longest": LONGEST}
        tape.step(
            "qrs.detect",
            own,
            args,
            rows=rows,
            apart=lengths["apart"],
            around=lengths["around"],
            diff=sums.diff,
            half=near - lengths["apart"],
            delay=sums.delay,
            floor=max(1, round(FLOOR * unit * sums.sum)),
            soon=_frames(own, "soon", band),
            refractory=_frames(own, "refractory", band),
            loud_shift=loud_shift,
            **{o: int(own[o]) for o in named},
            **{o: max(2, round(ms * band.rate / 1000)) for o, ms in times.items()},
        )


def _frames(own: BlockSpec, key: str, x: Signal) -> int:
    """The option, in ms, as frames: the nearest number, one at least."""
    return max(1, math.floor(float(own[key]) * x.rate / 1000 + 0.5))


def _sums(own: BlockSpec, x: Signal, lengths: dict[str, int]) -> Sums:
    """The filters: the shift makes SCALE of a millivolt, and more where 32 bits would not do."""
    low, high = max(2, lengths["low"]), max(3, lengths["high"] | 1)
    first = (x.hi - x.lo >> FRAC) + 1
    shift = max(0, math.floor(math.log2(float(own["gain"]) * low * low / SCALE)))
    sizes = low, high, lengths["diff"], max(2, lengths["sum"]), first
    high_shift = (high - 1).bit_length()
    while Sums(*sizes, shift, high_shift).top > LIMIT:
        shift += 1
    return Sums(*sizes, shift, high_shift)
