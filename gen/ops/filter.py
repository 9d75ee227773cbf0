"""Linear filters of a front end, a frame after another: moving average, one pole, biquad.

Signals are those of gen/ops/signal.py. What a recursive filter rounds off is kept and added the next time
(`rest`): so its mean is right to the last bit, and a constant input ends in a constant output. (Error
feedback of first order: Laakso and Hartimo, Noise reduction in recursive digital filters using high-order
error feedback, IEEE Transactions on Signal Processing 40, 1992.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from . import Accumulator, Arrays, Attrs, Bounds, Case, Cost, Format, Kernel, Known, Variant, _narrow
from ._contract import HELD, Range, Tensors, beyond, takes, within
from ._loops import Cells, Loop
from .signal import CHANNELS, LIMIT, random_signal

SHIFT = 30
"""Coefficients are integers that stand for c * 2^-30."""
COEFFICIENT: Range = (-(2**31), 2**31 - 1)
MOST_SIZE = 2**12
MOST_FACTOR: Range = (0, 2**31 - 1)


def _average(
    x: Cells, ring: Cells, sum: Cells, at: Cells, y: Cells, size: int, multiplier: int, shift: int,
    channels: int, lo: int, hi: int,
) -> None:  # fmt: skip
    place: Any = np.int64(at[0])
    for i in range(len(x) // channels):
        for c in range(channels):
            k, j = place * channels + c, i * channels + c
            s = numeric.saturate(numeric.int32(sum[c] - ring[k] + x[j]), lo, hi)
            ring[k] = x[j]
            sum[c] = s
            y[j] = numeric.scale_once(numeric.int32(s), numeric.int32(multiplier), shift)
        place = 0 if place + 1 == size else place + 1
    at[0] = place


def _one_pole(
    x: Cells, low: Cells, rest: Cells, y: Cells, factor: int, high: int, channels: int
) -> None:  # fmt: skip
    for j in range(len(x)):
        c = j % channels
        acc = np.int64(factor) * (np.int64(x[j]) - np.int64(low[c])) + np.int64(rest[c])
        low[c] = np.int64(low[c]) + (acc >> np.int64(SHIFT))
        rest[c] = acc & np.int64(2**SHIFT - 1)
        y[j] = x[j] - low[c] if high else low[c]


def _biquad(
    x: Cells, past: Cells, made: Cells, rest: Cells, y: Cells, b0: int, b1: int, b2: int, a1: int, a2: int,
    lo: int, hi: int, channels: int,
) -> None:  # fmt: skip
    for j in range(len(x)):
        c, v = j % channels, np.int64(x[j])
        acc = np.int64(b0) * v + np.int64(b1) * np.int64(past[2 * c])
        acc += np.int64(b2) * np.int64(past[2 * c + 1]) + np.int64(rest[c])
        acc -= np.int64(a1) * np.int64(made[2 * c]) + np.int64(a2) * np.int64(made[2 * c + 1])
        out = min(max(acc >> np.int64(SHIFT), np.int64(lo)), np.int64(hi))
        rest[c] = acc & np.int64(2**SHIFT - 1)
        past[2 * c + 1] = past[2 * c]
        past[2 * c] = v
        made[2 * c + 1] = made[2 * c]
        made[2 * c] = out
        y[j] = out


def _amplitude(x: Cells, top: Cells, bottom: Cells, y: Cells, factor: int, channels: int) -> None:
    for j in range(len(x)):
        c, v = j % channels, np.int64(x[j])
        above, below = np.int64(top[c]) - v, v - np.int64(bottom[c])
        high = np.int64(top[c]) + (-above * np.int64(factor) >> np.int64(SHIFT)) if above > 0 else v
        low = np.int64(bottom[c]) - (-below * np.int64(factor) >> np.int64(SHIFT)) if below > 0 else v
        top[c] = high
        bottom[c] = low
        y[j] = high - low


def split(total: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """(q, r) with total = q * 2^30 + r, 0 <= r < 2^30."""
    return numeric.int32(total >> np.int64(SHIFT)), numeric.int32(total & np.int64(2**SHIFT - 1))


def _whole(channels: int, x: str = "x") -> str:
    return f"{channels} channels do not divide what {x} holds"


def _folds(a: Attrs) -> tuple[int, int]:
    """(m, n) so that b1 is about m b0 and b2 is n b0, as they are of each shape of a biquad: x + m x1 + n x2
    is one value with one coefficient then. (0, 0) where they are not."""
    second = 1 if a["b2"] == a["b0"] else -1
    if a["b0"] == 0 or a["b2"] != second * a["b0"]:
        return 0, 0
    first = min(max(round(a["b1"] / a["b0"]), -2), 2)
    return (first, second) if abs(a["b1"] - first * a["b0"]) < 2**_narrow.HALF else (0, second)


class Average(Kernel):
    """sum = sum + x - what x was `size` frames before, held within its limits; y = sum / size, to the nearest
    integer, halves away from zero: sum * multiplier / 2^shift.

    ring: the last `size` frames; at: where the oldest lies
    The limits of sum are size times those of ring, so that they are met by a state from elsewhere alone.
    """

    name = "filter.average"
    loop = Loop(_average)
    reads = ("x",)
    updates = ("ring", "sum", "at")
    writes = ("y",)
    operands = takes(x="int32 [n]", ring="int32 [m]", sum="int32 [channels]", at="uint32 [1]", y="int32 [n]")
    attributes = within(HELD, size=(2, MOST_SIZE), multiplier=MOST_FACTOR, shift=(31, 62), channels=CHANNELS)

    def sizes(self, a: Attrs) -> dict[str, int]:
        return {"m": a["size"] * a["channels"], "channels": a["channels"]}

    def misfit(self, t: Tensors, a: Attrs) -> str:
        if t["x"].shape[0] % a["channels"]:
            return _whole(a["channels"])
        return beyond(t["ring"], t["x"].lo, t["x"].hi) or beyond(t["sum"], a["lo"], a["hi"])

    def integer(self, t: Arrays, a: Attrs) -> None:
        size, channels = int(a["size"]), int(a["channels"])
        device = np.arange(len(t["at"]))
        multiplier = numeric.int32(a["multiplier"])
        for i in range(t["x"].shape[1] // channels):
            for c in range(channels):
                k, j = t["at"][:, 0].astype(np.intp) * channels + c, i * channels + c
                x = t["x"][:, j]
                s = numeric.saturate(t["sum"][:, c] - t["ring"][device, k] + x, a["lo"], a["hi"])
                t["ring"][device, k] = x
                t["sum"][:, c] = s
                t["y"][:, j] = numeric.scale_once(s, multiplier, a["shift"])
            following = t["at"] + t["at"].dtype.type(1)
            t["at"][...] = np.where(following == size, 0, following)

    def real(self, t: Arrays, a: Attrs) -> None:
        size, channels = int(a["size"]), int(a["channels"])
        device = np.arange(len(t["at"]))
        for i in range(t["x"].shape[1] // channels):
            for c in range(channels):
                k, j = t["at"][:, 0].astype(np.intp) * channels + c, i * channels + c
                t["ring"][device, k] = t["x"][:, j]
                t["sum"][:, c] = t["ring"][:, c::channels].sum(axis=1)
                t["y"][:, j] = t["sum"][:, c] / size
            t["at"][...] = (t["at"] + 1) % size

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        m, n = numeric.multiplier(1.0 / a["size"])
        numbers = {"size": int(a["size"]), "channels": int(a["channels"])}
        return numbers | {"multiplier": m, "shift": n, "lo": f["sum"].lo, "hi": f["sum"].hi}

    def ranges(self, a: Attrs) -> dict[str, tuple[int, int]]:
        return {"at": (0, a["size"] - 1)}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        lo = min(a["lo"], k["sum"].lo) + k["x"].lo - max(k["ring"].hi, k["x"].hi)
        hi = max(a["hi"], k["sum"].hi) + k["x"].hi - min(k["ring"].lo, k["x"].lo)
        ends = numeric.scale_once(
            np.array([a["lo"], a["hi"]], np.int32), numeric.int32(a["multiplier"]), a["shift"]
        )
        low, high = int(ends[0]), int(ends[1])
        kept = min(k["ring"].lo, k["x"].lo), max(k["ring"].hi, k["x"].hi)
        return [Accumulator("running sum", lo, hi)], {
            "y": (low, high, k["y"].shape[0] * max(-low, high)),
            "ring": (*kept, k["ring"].shape[0] * max(-kept[0], kept[1])),
            "sum": (a["lo"], a["hi"], k["sum"].shape[0] * max(-a["lo"], a["hi"])),
        }

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        n = shapes["x"][0]
        return Cost(macs=n, reads=8 * n, writes=8 * n)

    def case(self, rng: np.random.Generator) -> Case:
        channels, size = int(rng.integers(1, 4)), int(rng.integers(2, 9))
        n, top = channels * int(rng.integers(1, 12)), 2**27 >> int(rng.integers(0, 20))
        m, shift = numeric.multiplier(1.0 / size)
        arrays: dict[str, NDArray[Any]] = {
            "x": random_signal(rng, n, top),
            "ring": random_signal(rng, size * channels, top),
            "sum": random_signal(rng, channels, size * top),
            "at": rng.integers(0, size, 1).astype(np.uint32),
            "y": np.zeros(n, np.int32),
        }
        limits = {"x": (-top, top), "ring": (-top, top), "sum": (-size * top, size * top)}
        numbers = {"size": size, "multiplier": m, "shift": shift, "channels": channels}
        numbers |= {"lo": -size * top, "hi": size * top}
        return Case(arrays, numbers, limits | {"at": (0, size - 1)})


class OnePole(Kernel):
    """low = low + factor * (x - low), rounded down with what was lost before; y = low, or x - low.

    low lies between what it was and x, so it never leaves the limits of x. In real numbers factor is
    1 - exp(-2 pi f / rate).
    """

    name = "filter.one_pole"
    loop = Loop(_one_pole)
    reads = ("x",)
    updates = ("low", "rest")
    writes = ("y",)
    operands = takes(x="int32 [n]", low="int32 [channels]", rest="int32 [channels]", y="int32 [n]")
    attributes = within(factor=(1, 2**SHIFT), high=(0, 1), channels=CHANNELS)

    def sizes(self, a: Attrs) -> dict[str, int]:
        return {"channels": a["channels"]}

    def misfit(self, t: Tensors, a: Attrs) -> str:
        if t["x"].shape[0] % a["channels"]:
            return _whole(a["channels"])
        if (t["rest"].lo, t["rest"].hi) != (0, 2**SHIFT - 1):
            return f"{t['rest'].name} is no remainder of 2^{SHIFT}"
        return beyond(t["low"], t["x"].lo, t["x"].hi)

    def integer(self, t: Arrays, a: Attrs) -> None:
        channels = int(a["channels"])
        for i in range(0, t["x"].shape[1], channels):
            x, low = t["x"][:, i : i + channels], t["low"].astype(np.int64)
            q, t["rest"][...] = split(np.int64(a["factor"]) * (x - low) + t["rest"])
            t["low"][...] = low + q
            t["y"][:, i : i + channels] = x - t["low"] if a["high"] else t["low"]

    def real(self, t: Arrays, a: Attrs) -> None:
        channels = int(a["channels"])
        for i in range(0, t["x"].shape[1], channels):
            x = t["x"][:, i : i + channels]
            t["low"] += a["factor"] * (x - t["low"])
            t["y"][:, i : i + channels] = x - t["low"] if a["high"] else t["low"]

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        factor = min(max(round(a["factor"] * 2**SHIFT), 1), 2**SHIFT)
        return {"factor": factor, "high": int(a["high"]), "channels": int(a["channels"])}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        lo, hi = min(k["low"].lo, k["x"].lo), max(k["low"].hi, k["x"].hi)
        top = a["factor"] * (hi - lo) + 2**SHIFT - 1
        apart = k["x"].lo - hi, k["x"].hi - lo
        y = apart if a["high"] else (lo, hi)
        n, channels = k["x"].shape[0], k["low"].shape[0]
        return [Accumulator("difference", *apart), Accumulator("change", -top, top, 64)], {
            "y": (*y, n * max(-y[0], y[1])),
            "low": (lo, hi, channels * max(-lo, hi)),
            "rest": (0, 2**SHIFT - 1, channels * (2**SHIFT - 1)),
        }

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        return Cost(macs=shapes["x"][0])

    def case(self, rng: np.random.Generator) -> Case:
        channels = int(rng.integers(1, 4))
        n = channels * int(rng.integers(1, 12))
        arrays = {
            "x": random_signal(rng, n),
            "low": random_signal(rng, channels),
            "rest": rng.choice([0, 1, 2**SHIFT - 1, *rng.integers(0, 2**SHIFT, 2)], channels).astype(
                np.int32
            ),
            "y": np.zeros(n, np.int32),
        }
        factor = int(rng.choice([1, 2**SHIFT, 2**29, *rng.integers(1, 2**SHIFT, 3)]))
        limits = {"x": (-LIMIT, LIMIT), "low": (-LIMIT, LIMIT), "rest": (0, 2**SHIFT - 1)}
        return Case(arrays, {"factor": factor, "high": int(rng.integers(2)), "channels": channels}, limits)


class Biquad(Kernel):
    """y = (b0 x + b1 x1 + b2 x2 - a1 y1 - a2 y2 + rest) / 2^30, rounded down, held within lo .. hi; rest is
    what that left. x1, x2, y1, y2: x and y of the frames before (direct form I).

    past, made: x1, x2 and y1, y2 of each channel
    Of a filter that starts at rest nothing is ever held there: gen/frontends/biquad.py chooses the limits so.
    """

    name = "filter.biquad"
    loop = Loop(_biquad)
    reads = ("x",)
    updates = ("past", "made", "rest")
    writes = ("y",)
    operands = takes(
        x="int32 [n]", past="int32 [m]", made="int32 [m]", rest="int32 [channels]", y="int32 [n]"
    )
    attributes = within(
        HELD,
        b0=COEFFICIENT,
        b1=COEFFICIENT,
        b2=COEFFICIENT,
        a1=COEFFICIENT,
        a2=COEFFICIENT,
        channels=CHANNELS,
    )

    def sizes(self, a: Attrs) -> dict[str, int]:
        return {"m": 2 * a["channels"], "channels": a["channels"]}

    def misfit(self, t: Tensors, a: Attrs) -> str:
        if t["x"].shape[0] % a["channels"]:
            return _whole(a["channels"])
        if (t["rest"].lo, t["rest"].hi) != (0, 2**SHIFT - 1):
            return f"{t['rest'].name} is no remainder of 2^{SHIFT}"
        return beyond(t["past"], t["x"].lo, t["x"].hi) or beyond(t["made"], a["lo"], a["hi"])

    def integer(self, t: Arrays, a: Attrs) -> None:
        channels = int(a["channels"])
        b, back = [np.int64(a[n]) for n in ("b0", "b1", "b2")], [np.int64(a[n]) for n in ("a1", "a2")]
        for i in range(0, t["x"].shape[1], channels):
            x = t["x"][:, i : i + channels]
            total: Any = b[0] * x + b[1] * t["past"][:, ::2] + b[2] * t["past"][:, 1::2] + t["rest"]
            total = total - back[0] * t["made"][:, ::2] - back[1] * t["made"][:, 1::2]
            q, t["rest"][...] = split(total)
            self._move(t, x, numeric.saturate(q, a["lo"], a["hi"]), i)

    @staticmethod
    def _move(t: Arrays, x: NDArray[Any], y: NDArray[Any], i: int) -> None:
        for role, new in (("past", x), ("made", y)):
            t[role][:, 1::2] = t[role][:, ::2]
            t[role][:, ::2] = new
        t["y"][:, i : i + x.shape[1]] = y

    def real(self, t: Arrays, a: Attrs) -> None:
        channels = int(a["channels"])
        for i in range(0, t["x"].shape[1], channels):
            x, past, made = t["x"][:, i : i + channels], t["past"], t["made"]
            y = a["b0"] * x + a["b1"] * past[:, ::2] + a["b2"] * past[:, 1::2]
            self._move(t, x, y - a["a1"] * made[:, ::2] - a["a2"] * made[:, 1::2], i)

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        lo, hi = COEFFICIENT
        numbers = {n: min(max(round(a[n] * 2**SHIFT), lo), hi) for n in ("b0", "b1", "b2", "a1", "a2")}
        return numbers | {"lo": f["made"].lo, "hi": f["made"].hi, "channels": int(a["channels"])}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        x, made = max(k["x"].mag, k["past"].mag), max(k["made"].mag, -a["lo"], a["hi"])
        top = sum(abs(a[n]) for n in ("b0", "b1", "b2")) * x + sum(abs(a[n]) for n in ("a1", "a2")) * made
        most = (top >> SHIFT) + 1
        proofs = [Accumulator("sum", -top, top + 2**SHIFT - 1, 64), Accumulator("result", -most, most)]
        n, channels, held = k["x"].shape[0], k["rest"].shape[0], max(-a["lo"], a["hi"])
        lo, hi = min(k["x"].lo, k["past"].lo), max(k["x"].hi, k["past"].hi)
        return proofs, {
            "y": (a["lo"], a["hi"], n * held),
            "past": (lo, hi, 2 * channels * x),
            "made": (a["lo"], a["hi"], 2 * channels * held),
            "rest": (0, 2**SHIFT - 1, channels * (2**SHIFT - 1)),
        }

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        return Cost(macs=5 * shapes["x"][0])

    def variant(self, kernel_set: str, t: Mapping[str, Any], a: Attrs) -> Variant:
        """A core without a product of 64 bits takes sums of 32, where limits and coefficients allow it."""
        if kernel_set != "m0":
            return super().variant(kernel_set, t, a)
        x, made = (max(-v.lo, v.hi) for v in (t["x"], t["made"]))
        x = max(x, -t["past"].lo, t["past"].hi)
        for first, second in (_folds(a), (0, 0)):
            terms = {
                "u": (a["b0"], (1 + abs(first) + abs(second)) * x),
                "x1": (a["b1"] - first * a["b0"], x),
                "x2": (a["b2"] - second * a["b0"], x),
                "y1": (-a["a1"], made),
                "y2": (-a["a2"], made),
            }
            if _narrow.fits(list(terms.values())):
                said = {"first": first, "second": second}
                return Variant("biquad", "m0", numbers={**said, **_narrow.numbers(terms)})
        return super().variant(kernel_set, t, a)

    def case(self, rng: np.random.Generator) -> Case:
        if rng.integers(4) == 0:
            return self._wide(rng)
        channels = int(rng.integers(1, 4))
        n, top, made = channels * int(rng.integers(1, 12)), 2**26 - 1, 2**27 - 1
        arrays = {
            "x": random_signal(rng, n, top),
            "past": random_signal(rng, 2 * channels, top),
            "made": random_signal(rng, 2 * channels, made),
            "rest": rng.choice([0, 1, 2**SHIFT - 1], channels).astype(np.int32),
            "y": np.zeros(n, np.int32),
        }
        ends = [*COEFFICIENT, 0, 2**SHIFT]
        numbers = {n: int(rng.choice([*ends, *rng.integers(-(2**31), 2**31, 6)])) for n in ("b0", "b1", "b2")}
        numbers |= {n: int(rng.choice([*ends, *rng.integers(-(2**31), 2**31, 6)])) for n in ("a1", "a2")}
        if rng.integers(2):  # as those of a low pass, a high pass, a notch or a band pass
            sign, times = ((1, 2), (1, -2), (1, 0), (-1, 0))[int(rng.integers(4))]
            numbers["b0"] >>= 2
            numbers["b1"] = times * numbers["b0"] + (int(rng.integers(0, 4)) if times == 2 else 0)
            numbers["b2"] = sign * numbers["b0"]
        numbers |= {"lo": -made, "hi": made, "channels": channels}
        limits = {"x": (-top, top), "past": (-top, top), "made": (-made, made), "rest": (0, 2**SHIFT - 1)}
        return Case(arrays, numbers, limits)

    @staticmethod
    def _wide(rng: np.random.Generator) -> Case:
        """Signals so large that sums of 32 bits do not hold their parts."""
        n = int(rng.integers(1, 12))
        arrays = {"x": random_signal(rng, n), "y": np.zeros(n, np.int32), "rest": np.zeros(1, np.int32)}
        arrays |= {role: random_signal(rng, 2) for role in ("past", "made")}
        numbers = {"b0": 0, "b1": 0, "b2": 0, "a1": 0, "a2": 0, "lo": -LIMIT, "hi": LIMIT, "channels": 1}
        for name in rng.choice(["b0", "b1", "b2", "a1", "a2"], 3, replace=False):
            numbers[str(name)] = int(rng.integers(2 ** (SHIFT - 1), 0.66 * 2**SHIFT)) * int(
                rng.choice([-1, 1])
            )
        limits = dict.fromkeys(("x", "past", "made"), (-LIMIT, LIMIT))
        return Case(arrays, numbers, limits | {"rest": (0, 2**SHIFT - 1)})


class Amplitude(Kernel):
    """top = x where x is above it, else top + factor * (x - top), rounded down; bottom likewise, turned;
    y = top - bottom: how far a signal went up and down of late.

    Both lie between what they were and x, so they never leave its limits, and both reach a constant x. In
    real numbers factor is 1 - exp(-1 / (release * rate)).
    """

    name = "filter.amplitude"
    loop = Loop(_amplitude)
    reads = ("x",)
    updates = ("top", "bottom")
    writes = ("y",)
    operands = takes(x="int32 [n]", top="int32 [channels]", bottom="int32 [channels]", y="int32 [n]")
    attributes = within(factor=(1, 2**SHIFT), channels=CHANNELS)

    def sizes(self, a: Attrs) -> dict[str, int]:
        return {"channels": a["channels"]}

    def misfit(self, t: Tensors, a: Attrs) -> str:
        if t["x"].shape[0] % a["channels"]:
            return _whole(a["channels"])
        return beyond(t["top"], t["x"].lo, t["x"].hi) or beyond(t["bottom"], t["x"].lo, t["x"].hi)

    def integer(self, t: Arrays, a: Attrs) -> None:
        channels, factor = int(a["channels"]), np.int64(a["factor"])
        for i in range(0, t["x"].shape[1], channels):
            x = t["x"][:, i : i + channels].astype(np.int64)
            above, below = np.maximum(t["top"] - x, 0), np.maximum(x - t["bottom"], 0)
            t["top"][...] = np.maximum(t["top"], x) + split(-above * factor)[0]
            t["bottom"][...] = np.minimum(t["bottom"], x) - split(-below * factor)[0]
            t["y"][:, i : i + channels] = t["top"] - t["bottom"]

    def real(self, t: Arrays, a: Attrs) -> None:
        channels = int(a["channels"])
        for i in range(0, t["x"].shape[1], channels):
            x = t["x"][:, i : i + channels]
            t["top"][...] = np.maximum(x, t["top"] + a["factor"] * (x - t["top"]))
            t["bottom"][...] = np.minimum(x, t["bottom"] + a["factor"] * (x - t["bottom"]))
            t["y"][:, i : i + channels] = t["top"] - t["bottom"]

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        factor = min(max(round(a["factor"] * 2**SHIFT), 1), 2**SHIFT)
        return {"factor": factor, "channels": int(a["channels"])}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        known = (k["x"], k["top"], k["bottom"])
        lo, hi = min(v.lo for v in known), max(v.hi for v in known)
        span, channels = hi - lo, k["top"].shape[0]
        held = (lo, hi, channels * max(-lo, hi))
        # a state from elsewhere may have its bottom above its top, until the first sample
        proofs = [Accumulator("difference", -span, span), Accumulator("change", -span * a["factor"], 0, 64)]
        return proofs, {"y": (0, span, k["x"].shape[0] * span), "top": held, "bottom": held}

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        return Cost(macs=2 * shapes["x"][0])

    def case(self, rng: np.random.Generator) -> Case:
        channels = int(rng.integers(1, 4))
        n = channels * int(rng.integers(1, 12))
        arrays = {
            "x": random_signal(rng, n),
            "top": random_signal(rng, channels),
            "bottom": random_signal(rng, channels),
            "y": np.zeros(n, np.int32),
        }
        factor = int(rng.choice([1, 2**SHIFT, 2**29, *rng.integers(1, 2**SHIFT, 3)]))
        limits = dict.fromkeys(("x", "top", "bottom"), (-LIMIT, LIMIT))
        return Case(arrays, {"factor": factor, "channels": channels}, limits)
