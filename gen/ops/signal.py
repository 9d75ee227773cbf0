"""What a front end does to samples before it filters them, and filters that only compare or subtract.

A signal is int32, [frames * channels]: what one push brought, the channels of a frame side by side. What a
kernel must know of earlier pushes lies in the state.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from . import Accumulator, Arrays, Attrs, Bounds, Case, Cost, Format, Kernel, Known
from ._contract import Range, Tensors, beyond, takes, within
from ._loops import Cells, Loop, helper

MOST_CHANNELS = 16
CHANNELS: Range = (1, MOST_CHANNELS)
LIMIT = 2**30 - 1
"""The largest magnitude of a signal: two of them can be subtracted, and more than that nobody needs."""
MOST_SHIFT = 14
SIZES = (3, 5, 7, 9)
"""Of how many samples there are medians."""
MOST_LAG = 2**12


def _take(x: Cells, y: Cells, shift: int) -> None:
    for i in range(len(x)):
        y[i] = np.int32(x[i]) << np.int32(shift)


@helper
def remember(past: Cells, x: Cells) -> None:
    """The last values of past and x, one behind the other, become past."""
    kept = len(past) - len(x)
    for i in range(kept):
        past[i] = past[i + len(x)]
    for i in range(max(kept, 0), len(past)):
        past[i] = x[i - kept]


@helper
def before(past: Cells, x: Cells, at: Any) -> Any:
    """Value number `at` of past and x, one behind the other."""
    return past[at] if at < len(past) else x[at - len(past)]


def _difference(x: Cells, past: Cells, y: Cells) -> None:
    for i in range(len(x)):
        y[i] = np.int32(x[i]) - np.int32(before(past, x, i))
    remember(past, x)


def _slope(x: Cells, past: Cells, y: Cells) -> None:
    for i in range(len(x)):
        y[i] = abs(np.int32(x[i]) - np.int32(before(past, x, i)))
    remember(past, x)


def _absolute(x: Cells, y: Cells) -> None:
    for i in range(len(x)):
        y[i] = abs(x[i])


def _median(x: Cells, past: Cells, y: Cells, size: int, channels: int) -> None:
    seen = np.zeros(size, np.int32)
    for i in range(len(x)):
        for k in range(size):
            v = before(past, x, i + k * channels)
            at = k
            while at > 0 and seen[at - 1] > v:
                seen[at] = seen[at - 1]
                at -= 1
            seen[at] = v
        y[i] = seen[size // 2]
    remember(past, x)


@helper
def root(square: Any, first: Any) -> Any:
    """The largest r with r * r <= square, 0 <= square < 2^(first + 2), digit by digit; first is even."""
    rest, r, bit = np.int64(square), np.int64(0), np.int64(1) << np.int64(first)
    while bit > 0:
        if rest >= r + bit:
            rest = rest - r - bit
            r = (r >> np.int64(1)) + bit
        else:
            r = r >> np.int64(1)
        bit = bit >> np.int64(2)
    return r


def _norm(x: Cells, y: Cells, channels: int, first: int) -> None:
    for i in range(len(y)):
        total = np.int64(0)
        for c in range(channels):
            total += np.int64(x[i * channels + c]) * np.int64(x[i * channels + c])
        y[i] = root(total, first)


def _fill(x: Cells, value: int) -> None:
    for i in range(len(x)):
        x[i] = value


def _decimate(x: Cells, y: Cells, by: int, channels: int) -> None:
    for i in range(len(y)):
        y[i] = x[((i // channels + 1) * by - 1) * channels + i % channels]


def whole(x: NDArray[Any], past: NDArray[Any]) -> NDArray[Any]:
    """Past and x, one behind the other, of every device."""
    return np.concatenate([np.broadcast_to(past, (len(x), past.shape[1])), x], axis=1)


def remember_all(x: NDArray[Any], past: NDArray[Any]) -> None:
    """`remember`, of every device."""
    past[...] = whole(x, past)[:, x.shape[1] :]


def random_signal(rng: np.random.Generator, n: int, top: int = LIMIT) -> NDArray[np.int32]:
    """Values of all sizes, rails among them."""
    v = rng.integers(-top, top + 1, n) >> rng.integers(0, 31, n)
    return np.where(rng.integers(0, 8, n) == 0, rng.choice([-top, 0, top], n), v).astype(np.int32)


class Take(Kernel):
    """y = x * 2^shift: raw samples with bits behind the point, which filters round in.

    channels: how many of them make a frame
    """

    name = "signal.take"
    loop = Loop(_take)
    reads = ("x",)
    writes = ("y",)
    operands = takes(x="int16 [n]", y="int32 [n]")
    attributes = within(shift=(0, MOST_SHIFT), channels=CHANNELS)

    def misfit(self, t: Tensors, a: Attrs) -> str:
        n = t["x"].shape[0]
        return f"{a['channels']} channels do not divide {n} samples" if n % a["channels"] else ""

    def integer(self, t: Arrays, a: Attrs) -> None:
        t["y"][...] = numeric.int32(t["x"]) << numeric.int32(a["shift"])

    def real(self, t: Arrays, a: Attrs) -> None:
        t["y"][...] = t["x"]

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        return {"shift": f["y"].frac - f["x"].frac, "channels": int(a["channels"])}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        lo, hi = k["x"].lo << a["shift"], k["x"].hi << a["shift"]
        return [], {"y": (lo, hi, k["x"].l1 << a["shift"])}

    def case(self, rng: np.random.Generator) -> Case:
        channels = int(rng.integers(1, 4))
        n = channels * int(rng.integers(1, 9))
        x = rng.choice([-(2**15), 2**15 - 1, *rng.integers(-(2**15), 2**15, 5)], n).astype(np.int16)
        numbers = {"shift": int(rng.integers(0, MOST_SHIFT + 1)), "channels": channels}
        return Case({"x": x, "y": np.zeros(n, np.int32)}, numbers, {})


class Difference(Kernel):
    """y = x - what x was `past` values before: a change over so many frames."""

    name = "signal.difference"
    loop = Loop(_difference)
    reads = ("x",)
    updates = ("past",)
    writes = ("y",)
    operands = takes(x="int32 [n]", past="int32 [p]", y="int32 [n]")

    def misfit(self, t: Tensors, a: Attrs) -> str:
        return beyond(t["past"], t["x"].lo, t["x"].hi)

    def integer(self, t: Arrays, a: Attrs) -> None:
        seen = whole(t["x"], t["past"])
        n, p = t["x"].shape[1], t["past"].shape[1]
        t["y"][...] = t["x"] - seen[:, :n]
        t["past"][...] = seen[:, n : n + p]

    real = integer

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        lo, hi = k["x"].lo - max(k["past"].hi, k["x"].hi), k["x"].hi - min(k["past"].lo, k["x"].lo)
        kept = min(k["past"].lo, k["x"].lo), max(k["past"].hi, k["x"].hi)
        return [Accumulator("difference", lo, hi)], {
            "y": (lo, hi, k["x"].shape[0] * max(-lo, hi)),
            "past": (*kept, k["past"].shape[0] * max(-kept[0], kept[1])),
        }

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        return Cost(reads=4 * shapes["past"][0], writes=4 * shapes["past"][0])

    def case(self, rng: np.random.Generator) -> Case:
        n, p = int(rng.integers(1, 12)), int(rng.integers(1, 12))
        arrays = {"x": random_signal(rng, n), "past": random_signal(rng, p), "y": np.zeros(n, np.int32)}
        return Case(arrays, {}, {"x": (-LIMIT, LIMIT), "past": (-LIMIT, LIMIT)})


class Slope(Difference):
    """y = |x - what x was `past` values before|: how much it changed over so many frames, up or down."""

    name = "signal.slope"
    loop = Loop(_slope)

    def integer(self, t: Arrays, a: Attrs) -> None:
        super().integer(t, a)
        np.abs(t["y"], out=t["y"])

    real = integer

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        sums, found = super().bounds(k, a)
        lo, hi, total = found["y"]
        return sums, found | {"y": (0, max(-lo, hi), total)}


class Absolute(Kernel):
    """y = |x|."""

    name = "signal.absolute"
    loop = Loop(_absolute)
    reads = ("x",)
    writes = ("y",)
    inplace = ("x", "y")
    operands = takes(x="int32 [n]", y="int32 [n]")

    def integer(self, t: Arrays, a: Attrs) -> None:
        t["y"][...] = np.abs(t["x"])

    real = integer

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        top = k["x"].mag
        return [Accumulator("magnitude", 0, top)], {"y": (0, top, k["x"].l1)}

    def case(self, rng: np.random.Generator) -> Case:
        n = int(rng.integers(1, 20))
        limits = {"x": (-LIMIT, LIMIT)}
        return Case({"x": random_signal(rng, n), "y": np.zeros(n, np.int32)}, {}, limits)


class Median(Kernel):
    """y = the middle one of the last `size` values of its channel, x itself the last of them.

    past: the size - 1 frames before x
    """

    name = "signal.median"
    loop = Loop(_median)
    reads = ("x",)
    updates = ("past",)
    writes = ("y",)
    operands = takes(x="int32 [n]", past="int32 [p]", y="int32 [n]")
    attributes = within(size=(SIZES[0], SIZES[-1]), channels=CHANNELS)

    def sizes(self, a: Attrs) -> dict[str, int]:
        return {"p": (a["size"] - 1) * a["channels"]}

    def misfit(self, t: Tensors, a: Attrs) -> str:
        if a["size"] not in SIZES:
            return f"it takes the median of {a['size']}"
        return beyond(t["past"], t["x"].lo, t["x"].hi)

    def integer(self, t: Arrays, a: Attrs) -> None:
        seen, n = whole(t["x"], t["past"]), t["x"].shape[1]
        taken = [seen[:, k * a["channels"] : k * a["channels"] + n] for k in range(a["size"])]
        t["y"][...] = np.sort(np.stack(taken), axis=0)[a["size"] // 2]
        t["past"][...] = seen[:, n:]

    real = integer

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        lo, hi = min(k["past"].lo, k["x"].lo), max(k["past"].hi, k["x"].hi)
        top = max(-lo, hi)
        return [], {"y": (lo, hi, k["x"].shape[0] * top), "past": (lo, hi, k["past"].shape[0] * top)}

    def case(self, rng: np.random.Generator) -> Case:
        channels, size = int(rng.integers(1, 4)), int(rng.choice(SIZES))
        n = channels * int(rng.integers(1, 12))
        arrays = {
            "x": random_signal(rng, n),
            "past": random_signal(rng, (size - 1) * channels),
            "y": np.zeros(n, np.int32),
        }
        limits = {"x": (-LIMIT, LIMIT), "past": (-LIMIT, LIMIT)}
        return Case(arrays, {"size": size, "channels": channels}, limits)


class Decimate(Kernel):
    """y = the last one of each `by` frames of x."""

    name = "signal.decimate"
    loop = Loop(_decimate)
    reads = ("x",)
    writes = ("y",)
    operands = takes(x="int32 [n]", y="int32 [k]")
    attributes = within(by=(2, 2**12), channels=CHANNELS)

    def misfit(self, t: Tensors, a: Attrs) -> str:
        n, k = t["x"].shape[0], t["y"].shape[0]
        return "" if n == k * a["by"] and k % a["channels"] == 0 else f"it takes one in {a['by']} of {n}"

    def integer(self, t: Arrays, a: Attrs) -> None:
        frames = t["x"].reshape(len(t["x"]), -1, a["by"], a["channels"])
        t["y"][...] = frames[:, :, -1].reshape(t["y"].shape)

    real = integer

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return [], {"y": (k["x"].lo, k["x"].hi, k["x"].l1)}

    def case(self, rng: np.random.Generator) -> Case:
        by, channels, frames = int(rng.integers(2, 6)), int(rng.integers(1, 4)), int(rng.integers(1, 6))
        n = channels * frames
        arrays = {"x": random_signal(rng, n * by), "y": np.zeros(n, np.int32)}
        return Case(arrays, {"by": by, "channels": channels}, {})


class Fill(Kernel):
    """x = value everywhere: how what a front end keeps begins again."""

    name = "signal.fill"
    loop = Loop(_fill)
    writes = ("x",)
    operands = takes(x="int8|int16|int32|uint32 [n]")
    attributes = within(value=(0, 2**31 - 1))

    def misfit(self, t: Tensors, a: Attrs) -> str:
        return beyond(t["x"], a["value"], a["value"])

    def integer(self, t: Arrays, a: Attrs) -> None:
        t["x"][...] = a["value"]

    real = integer

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return [], {"x": (a["value"], a["value"], k["x"].shape[0] * a["value"])}

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        return Cost(writes=shapes["x"][0])

    def case(self, rng: np.random.Generator) -> Case:
        dtype = str(rng.choice(["int8", "int16", "int32", "uint32"]))
        value = int(rng.choice([0, 1, 127]))
        x = rng.integers(0, 127, int(rng.integers(1, 20))).astype(dtype)
        return Case({"x": x}, {"value": value}, {})


class Norm(Kernel):
    """y = the root of the sum of the squares of a frame's channels, rounded down: how long a vector is.

    first: the sum is below 2^(first + 2), and a root is taken from its digit of 2^first on
    """

    name = "signal.norm"
    loop = Loop(_norm)
    reads = ("x",)
    writes = ("y",)
    operands = takes(x="int32 [n]", y="int32 [k]")
    attributes = within(channels=(2, MOST_CHANNELS), first=(0, 60))

    def misfit(self, t: Tensors, a: Attrs) -> str:
        n, k = t["x"].shape[0], t["y"].shape[0]
        if a["first"] % 2 or self._most(t["x"].lo, t["x"].hi, a) >> (a["first"] + 2):
            return f"its squares do not begin at 2^{a['first']}"
        return "" if n == k * a["channels"] else f"{n} values are no {k} frames of {a['channels']} channels"

    @staticmethod
    def _most(lo: int, hi: int, a: Attrs) -> int:
        """The largest sum of squares."""
        return int(a["channels"]) * max(-lo, hi) ** 2

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        most = self._most(f["x"].lo, f["x"].hi, a)
        return {"channels": int(a["channels"]), "first": max(0, most.bit_length() - 1) // 2 * 2}

    def integer(self, t: Arrays, a: Attrs) -> None:
        frames = t["x"].astype(np.int64).reshape(*t["y"].shape, a["channels"])
        rest = np.sum(frames * frames, axis=-1)
        r, bit = np.zeros_like(rest), 1 << int(a["first"])
        while bit:
            more = rest >= r + bit
            rest, r = np.where(more, rest - r - bit, rest), (r >> 1) + np.where(more, bit, 0)
            bit >>= 2
        t["y"][...] = r

    def real(self, t: Arrays, a: Attrs) -> None:
        frames = t["x"].reshape(*t["y"].shape, int(a["channels"]))
        t["y"][...] = np.sqrt(np.sum(frames * frames, axis=-1))

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        most = self._most(k["x"].lo, k["x"].hi, a)
        top = math.isqrt(most)
        proofs = [Accumulator("sum of squares", 0, most, 63), Accumulator("root", 0, top)]
        return proofs, {"y": (0, top, k["y"].shape[0] * top)}

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        return Cost(macs=shapes["x"][0])

    def case(self, rng: np.random.Generator) -> Case:
        channels, frames, top = (
            int(rng.integers(2, 5)),
            int(rng.integers(1, 8)),
            2 ** int(rng.integers(0, 30)),
        )
        first = ((channels * top**2).bit_length() - 1) // 2 * 2
        arrays = {"x": random_signal(rng, channels * frames, top), "y": np.zeros(frames, np.int32)}
        return Case(arrays, {"channels": channels, "first": first}, {"x": (-top, top)})
