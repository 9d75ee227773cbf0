"""Frames of a signal, their spectra, and the power in bands of these: what `mel` and `bands` share."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..ir.format import Format
from ..ir.program import Value
from ..ops import spectrum
from ..spec.frontend import BlockSpec
from ..spec.options import Integer, Quantity
from ._tape import FRAC, PREFIX, FrontTape, Signal

FRAMES = (
    Quantity("length", "of a frame, under a Hann window; an even number of samples", 0.1, 1e6, None, "ms"),
    Quantity("hop", "from one frame to the next, at most a length; 0: half of it", 0.0, 1e6, 0.0, "ms"),
    Integer("size", "of the transform, a power of two; 0: the next one from a frame on", 0, 1024, 0),
    Quantity("floor", "what a smaller power is taken for, in steps^2", 2.0**-20, 2.0**30, 1.0, ""),
)
"""Options of a block that has spectra."""
LEAST = 0.25
"""Of a bin, that a band must have: less would be what the window lets over from elsewhere."""
HELD_ABOVE = 8
"""Units of 2^-8 octaves that a power may lie above the largest square: what is rounded, and more."""


def frame_of(tape: FrontTape, own: BlockSpec, x: Signal) -> tuple[int, int, int]:
    """(length, hop, size) in samples of x; CompileError where there is no such frame."""
    length = 2 * math.floor(float(own["length"]) * x.rate / 2000 + 0.5)
    low, high = spectrum.SIZES
    if not 4 <= length <= high:
        what = f"length = {own['length']:g} ms is {length} samples at {x.rate:g} Hz"
        hint = f"give {4000 / x.rate:.4g} to {1000 * high / x.rate:.4g} ms, or decimate before"
        raise tape.error(own, what, hint)
    hop = tape.frames(own, "hop", x, 2, high) if own["hop"] else length // 2
    if hop > length:
        what = (
            f"hop = {own['hop']:g} ms, and a frame is {length * 1000 / x.rate:.4g} ms: some would be missed"
        )
        raise tape.error(own, what, "give a hop of a frame's length at most")
    size = int(own["size"]) or max(low, 1 << (length - 1).bit_length())
    if size & (size - 1) or not max(low, length) <= size:
        what = f"size = {size}, and a frame has {length} samples"
        raise tape.error(own, what, f"give a power of two from {max(low, 1 << (length - 1).bit_length())} on")
    if x.frames % hop:
        push = tape.front.push * (hop // math.gcd(x.frames, hop))
        what = f"makes a frame of {hop} samples, and {x.frames} come with a push"
        raise tape.error(own, what, f"give a push of {push}, or of a multiple")
    return length, hop, size


def hann(length: int) -> NDArray[np.int16]:
    """The Hann window, periodic, Q15."""
    h = np.sin(np.pi * np.arange(length) / length) ** 2
    return np.minimum(np.round(h * 2**15), 2**15 - 1).astype(np.int16)


def octaves(
    tape: FrontTape, own: BlockSpec, x: Signal, frame: tuple[int, int, int], weights: NDArray[np.float64]
) -> Signal:
    """The signal of each frame's power in each band, as log2 of steps^2: a channel's bands side by side, the
    next channel's behind them.

    frame:   what `frame_of` says
    weights: [bands, size / 2], 0 to 1, of each bin's power
    """
    length, hop, size = frame
    h, many, rows = hann(length), len(weights), x.size // hop
    whole = np.round(weights * spectrum.WHOLE).astype(np.int16)
    spans = [(int(np.flatnonzero(w)[0]), int(np.flatnonzero(w)[-1]) + 1) for w in whole]
    flat = np.concatenate([w[a:b] for w, (a, b) in zip(whole, spans, strict=True)])
    pairs = np.array([(a, b - a) for a, b in spans], np.int16).ravel()
    floor = float(own["floor"])
    lo, hi = (round(math.log2(floor) * 2**FRAC), _highest(x))
    if lo >= hi:
        what = f"floor = {floor:g}, and its power never exceeds {(x.top / 2**FRAC) ** 2:g}"
        raise tape.error(own, what, "give a lower floor")
    kept = tape.kept(own, "seen", x.size + (length - hop) * x.channels, min(x.lo, 0), max(x.hi, 0))
    z = _arena(tape, own, "bins", rows * size, FRAC + 15, spectrum.LARGEST)
    most = max(max(x.top, 1).bit_length() - 15, 14)
    scale = _arena(tape, own, "scale", rows, 0, most)
    grown = _arena(tape, own, "grown", rows, 0, most + spectrum.shifted(size))
    args = {"x": x.name, "h": _constant(tape, own, "hann", h, 15, "a Hann window"), "seen": kept}
    numbers = {"size": size, "length": length, "hop": hop, "channels": x.channels}
    tape.step("spectrum.frame", own, {**args, "z": z, "scale": scale}, **numbers)
    turns = _constant(tape, own, "turns", spectrum.turns(size), 15, "cosines of a transform")
    args = {"z": z, "scale": scale, "turns": turns, "grown": grown}
    tape.step("spectrum.transform", own, args, size=size)
    y = tape.signal(own, x, min(lo, 0), max(hi, 0), frames=x.frames // hop, channels=x.channels * many)
    args = {"z": z, "grown": grown, "turns": turns, "y": y.name}
    args["w"] = _constant(tape, own, "weights", flat, 14, f"of the bins of {many} bands")
    args["spans"] = _constant(tape, own, "spans", pairs, 0, "the first bin of each band, and how many")
    power = 2 / (size * float(np.sum((h / 2.0**15) ** 2)))
    tape.step("spectrum.bands", own, args, size=size, bands=many, power=power, floor=floor)
    return y


def _highest(x: Signal) -> int:
    """log2 of the largest power, Q8: all of a frame's is at most its largest square (Parseval)."""
    return HELD_ABOVE + int(np.ceil(2 * math.log2(max(x.top, 1) / 2**FRAC) * 2**FRAC))


def _arena(tape: FrontTape, own: BlockSpec, what: str, size: int, frac: int, top: int) -> str:
    """A vector that lives within a push, of values up to a magnitude."""
    name = f"{PREFIX}_{own.name}_{what}"
    tape.free(own, name)
    fmt = Format("int32", frac, -top, top)
    return tape.b.add(Value(name, (size,), "arena", "signal", format=fmt))


def _constant(
    tape: FrontTape, own: BlockSpec, what: str, ints: NDArray[np.int16], frac: int, note: str
) -> str:
    name = f"{PREFIX}_{own.name}_{what}"
    tape.free(own, name)
    lo, hi = min(int(ints.min()), 0), max(int(ints.max()), 1)
    fmt = Format("int16", frac, lo, hi)
    return tape.b.add(Value(name, ints.shape, "const", "constant", ints=ints, format=fmt, note=note))
