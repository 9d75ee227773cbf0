"""A signal at another rate: a filter in as many phases as values are made of one.

Signals are those of gen/ops/signal.py. (Polyphase filters: Crochiere and Rabiner, Multirate digital signal
processing, 1983, chapter 3.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import Accumulator, Arrays, Attrs, Bounds, Case, Cost, Format, Kernel, Known, Variant
from ._contract import INT16, Range, Tensors, beyond, takes, within
from ._loops import Cells, Loop
from .signal import CHANNELS, random_signal, remember, whole

RATIO: Range = (1, 2**12)
TAPS: Range = (2, 2**10)
SHIFT: Range = (1, 30)
WORD = 2**31 - 1


def _polyphase(
    x: Cells, seen: Cells, h: Cells, y: Cells, up: int, down: int, taps: int, shift: int, channels: int
) -> None:
    remember(seen, x)
    half = np.int64(1) << np.int64(shift - 1)
    for i in range(len(y)):
        at = (i // channels + 1) * down - 1
        oldest, first = at // up * channels + i % channels, at % up * taps
        total = half
        for k in range(taps):
            total += np.int64(h[first + k]) * np.int64(seen[oldest + k * channels])
        y[i] = total >> np.int64(shift)


@dataclass(frozen=True, slots=True)
class Sums:
    """What a phase of a filter can make of values from lo to hi: its coefficients' sums above and below 0.

    above, below: the largest sum of coefficients above 0, and of magnitudes of those below, of any phase
    """

    ends: tuple[int, int]
    magnitude: int

    @classmethod
    def of(cls, h: NDArray[Any], taps: int, lo: int, hi: int) -> Sums:
        """h: int, [phases * taps]; lo <= 0 <= hi, between which each value lies"""
        rows = h.astype(np.int64).reshape(-1, taps)
        above, below = np.maximum(rows, 0).sum(axis=1), np.minimum(rows, 0).sum(axis=1)
        least, most = above * lo + below * hi, above * hi + below * lo
        return cls((int(least.min()), int(most.max())), int((above - below).max()))


def halves(magnitude: int, top: int) -> int:
    """The n so that values of up to `top`, as v = a 2^n + b, have sums of coefficients of 32 bits over a and
    over b; 0 where there is none. magnitude: what the coefficients' magnitudes sum up to"""
    n = (WORD // max(magnitude, 1)).bit_length() - 1
    return n if n > 0 and magnitude * ((top >> n) + 1) <= WORD else 0


class Polyphase(Kernel):
    """`up` frames for each `down`. Of frame i, with (i + 1) * down - 1 = q * up + p, q of x is the newest:
    y = (the sum of h[p, k] * seen[q + k] over k < taps) / 2^shift, to the nearest, halves up.

    seen: the taps - 1 frames before x, and x behind them
    h:    phase by phase, the weight of the oldest frame first
    """

    name = "resample.polyphase"
    loop = Loop(_polyphase)
    reads = ("x", "h")
    updates = ("seen",)
    writes = ("y",)
    operands = takes(x="int32 [n]", seen="int32 [p]", h="int16 [m]", y="int32 [k]")
    attributes = within(up=RATIO, down=RATIO, taps=TAPS, shift=SHIFT, channels=CHANNELS)

    def sizes(self, a: Attrs) -> dict[str, int]:
        return {"m": a["up"] * a["taps"]}

    def misfit(self, t: Tensors, a: Attrs) -> str:
        n, k = t["x"].shape[0], t["y"].shape[0]
        if n * a["up"] != k * a["down"] or n % (a["down"] * a["channels"]):
            return f"{n} values become no {k}, {a['up']} for each {a['down']} of {a['channels']} channels"
        if t["seen"].shape[0] != n + (a["taps"] - 1) * a["channels"]:
            return (
                f"{t['seen'].name} holds {t['seen'].shape[0]} values, not x and {a['taps'] - 1} frames before"
            )
        if t["h"].space != "const":
            return f"{t['h'].name} is no constant"
        return beyond(t["seen"], t["x"].lo, t["x"].hi)

    def integer(self, t: Arrays, a: Attrs) -> None:
        total = self._sums(t, a, np.int64)
        t["y"][...] = (total + (np.int64(1) << np.int64(a["shift"] - 1))) >> np.int64(a["shift"])

    def real(self, t: Arrays, a: Attrs) -> None:
        t["y"][...] = self._sums(t, a, np.float64) / 2.0 ** a["shift"]

    @staticmethod
    def _sums(t: Arrays, a: Attrs, of: type[np.generic]) -> NDArray[Any]:
        channels, taps = int(a["channels"]), int(a["taps"])
        (devices, n), x = t["y"].shape, t["x"].shape[1]
        t["seen"][...] = whole(t["x"], t["seen"])[:, x:]
        at = (np.arange(n // channels) + 1) * int(a["down"]) - 1
        rows = (at // int(a["up"]))[:, None] + np.arange(taps)
        frames = t["seen"].reshape(devices, -1, channels)[:, rows].astype(of)  # [devices, outputs, taps, c]
        h = np.broadcast_to(t["h"], (devices, t["h"].shape[1])).astype(of)
        phases = h.reshape(devices, -1, taps)[:, at % int(a["up"])]
        return np.asarray(np.einsum("dotc,dot->doc", frames, phases).reshape(devices, n))

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        return {key: int(a[key]) for key in self.attributes}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        lo, hi = min(k["x"].lo, k["seen"].lo, 0), max(k["x"].hi, k["seen"].hi, 0)
        h = k["h"].data
        if h is None:
            h = np.full(k["h"].shape, k["h"].mag)
            lo, hi = min(lo, -hi), max(hi, -lo)
        half, (least, most) = 1 << (a["shift"] - 1), Sums.of(h, a["taps"], lo, hi).ends
        low, high = (least + half) >> a["shift"], (most + half) >> a["shift"]
        kept = min(k["x"].lo, k["seen"].lo), max(k["x"].hi, k["seen"].hi)
        return [Accumulator("sum", least, most + half, 64), Accumulator("result", low, high)], {
            "y": (low, high, k["y"].shape[0] * max(-low, high)),
            "seen": (*kept, k["seen"].shape[0] * max(-kept[0], kept[1])),
        }

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        macs = shapes["y"][0] * int(a["taps"])
        return Cost(macs=macs, reads=2 * macs)

    def variant(self, kernel_set: str, t: Mapping[str, Any], a: Attrs) -> Variant:
        """A core without a product of 64 bits takes two sums of 32, of the upper and lower part of values."""
        numbers = {"at_once": next(n for n in (4, 3, 2, 1) if a["taps"] % n == 0), "split": 0}
        if kernel_set == "m0":
            magnitude = Sums.of(t["h"].array(), a["taps"], 0, 0).magnitude
            top = max(-t["x"].lo, t["x"].hi, -t["seen"].lo, t["seen"].hi)
            if n := halves(magnitude, top):
                return Variant("polyphase", "m0", numbers={**numbers, "split": n})
        return Variant("polyphase", numbers=numbers)

    def case(self, rng: np.random.Generator) -> Case:
        up, down, channels = (int(n) for n in rng.integers(1, 5, 3))
        taps, turns = int(rng.integers(2, 9)), int(rng.integers(1, 4))
        n, top = turns * down * channels, 2 ** int(rng.integers(4, 31)) - 1
        h = rng.integers(*INT16, up * taps, endpoint=True) >> rng.integers(0, 14)
        h = np.where(rng.integers(0, 8, h.shape) == 0, rng.choice(INT16, h.shape), h)
        shift = int(rng.integers(max(1, (taps * top).bit_length() - 15), 31))
        arrays: dict[str, NDArray[Any]] = {
            "x": random_signal(rng, n, top),
            "seen": random_signal(rng, n + (taps - 1) * channels, top),
            "h": h.astype(np.int16),
            "y": np.zeros(turns * up * channels, np.int32),
        }
        numbers = {"up": up, "down": down, "taps": taps, "shift": shift, "channels": channels}
        return Case(arrays, numbers, {"x": (-top, top), "seen": (-top, top)}, ("h",))
