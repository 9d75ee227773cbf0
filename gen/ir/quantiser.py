"""What the integers of an input stand for, and the features of an input that would drown in one scale.

A network may normalise its inputs itself: a scale and an offset for each element or channel, in its first
layer. One scale for raw features of different size would leave nothing of the small ones, and no weight
brings that back. So such a layer belongs into the quantiser, which sees float32: `gen.stages.lift` puts it
there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import CompileError
from .format import Meaning, PowerOfTwo, Scaled

LIMIT = 2.0**80  # of a network's scales; with a format's 2^frac the product of two float32 stays one
FAR = 2.0**100  # of its offsets
INT8, INT16 = (-128, 127), (-(2**15), 2**15 - 1)
LEAST = float(np.finfo(np.float32).tiny)  # a smaller scale is 0: FPUs may flush it

Reals = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Quantiser:
    """x becomes (x - offset) * scale in float32, each operation rounded once; as an integer rint of that,
    ties to even, held within -128 .. 127.

    offset, scale: float32 values, a pair for element (i // inner) % len(scale): one for all, one a channel of
                   maps [C, H, W] (inner = H W) or [H, W, C] (inner = 1), or one an element
    """

    offset: tuple[float, ...]
    scale: tuple[float, ...]
    inner: int = 1
    ends: ClassVar[tuple[int, int]] = INT8

    @classmethod
    def of(cls, offset: ArrayLike, scale: ArrayLike) -> Quantiser:
        """From one pair an element, [n] each; kept as the shortest table that repeats."""
        pairs = np.stack([np.asarray(offset, np.float32).ravel(), np.asarray(scale, np.float32).ravel()])
        pairs += np.float32(0)  # no negative zeros
        n = pairs.shape[1]
        changes = np.flatnonzero(np.any(pairs[:, 1:] != pairs[:, :-1], axis=0)) + 1
        if not len(changes):
            return cls((float(pairs[0, 0]),), (float(pairs[1, 0]),))
        inner = math.gcd(n, *changes.tolist())
        table = pairs[:, ::inner]
        count = next(c for c in range(1, n + 1) if _repeats(table, c))
        return cls(tuple(table[0, :count].tolist()), tuple(table[1, :count].tolist()), inner)

    @classmethod
    def power(cls, frac: int) -> Quantiser:
        """x * 2^frac, as an input has it whose network does not normalise."""
        return cls((0.0,), (math.ldexp(1.0, frac),))

    def each(self, size: int) -> tuple[Reals, Reals]:
        """(offset, scale), [size] each."""
        at = np.arange(size) // self.inner % len(self.scale)
        return np.array(self.offset, np.float32)[at], np.array(self.scale, np.float32)[at]

    def times(self, frac: int) -> Quantiser:
        """With 2^frac times the scales: from real numbers to integers of that frac. Tiny ones become 0."""
        scales = [math.ldexp(s, frac) for s in self.scale]
        return Quantiser(self.offset, tuple(s if abs(s) >= LEAST else 0.0 for s in scales), self.inner)

    def real(self, x: ArrayLike) -> Reals:
        """(x - offset) * scale of samples [n, ...], float32."""
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            values = np.asarray(x, np.float32)
            if len(self.scale) == 1:
                offset, scale = np.float32(self.offset[0]), np.float32(self.scale[0])
            else:
                shape = values.shape[1:]
                offset, scale = (v.reshape(shape) for v in self.each(math.prod(shape)))  # type: ignore[assignment]
            return np.asarray((values - offset) * scale, np.float32)

    def units(self, x: ArrayLike) -> Reals:
        """What samples [n, ...] are in units of the format, rounded and not yet held within int8; a NaN gives
        0, as on the chip."""
        values = self.real(x)
        return np.rint(np.where(np.isnan(values), np.float32(0), values))

    def integers(self, x: ArrayLike) -> NDArray[np.int8]:
        """The integers of samples [n, ...]."""
        return held(self.units(x))

    @property
    def reach(self) -> tuple[float, float] | None:
        """Between which x nothing is clipped; None where that is not one range."""
        if len(self.scale) > 1 or not self.scale[0]:
            return None
        low, high = sorted((self.offset[0] + end / self.scale[0]) for end in (-128, 127))
        return low, high

    def to_json(self) -> dict[str, Any]:
        return {"offset": self.offset, "scale": self.scale, "inner": self.inner}


@dataclass(frozen=True, slots=True)
class AffineQuantiser:
    """x becomes round(x / scale) + zero, held within `ends`: one division in float32, halves away from
    zero. So does LiteRT's QUANTIZE (AffineQuantize of its reference kernels).

    scale: a float32 value; zero: the integer that stands for 0.0; ends: those of int8, or of int16
    """

    scale: float
    zero: int
    ends: tuple[int, int] = INT8

    def units(self, x: ArrayLike) -> Reals:
        """What samples are in units of the format, rounded and not yet held within its ends; a NaN gives the
        zero point, as on the chip."""
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            steps = np.asarray(x, np.float32) / np.float32(self.scale)
            whole = np.trunc(np.where(np.isnan(steps), np.float32(0), steps))
            # What is left of a finite number is exact; an infinite one has no rest.
            rest = np.where(np.isfinite(steps), steps - whole, np.float32(0))
        away = np.copysign(np.abs(rest) >= np.float32(0.5), rest)
        return np.asarray(whole + away + np.float32(self.zero), np.float32)

    def integers(self, x: ArrayLike) -> NDArray[Any]:
        """The integers of samples [n, ...]."""
        return held(self.units(x), self.ends)

    @property
    def reach(self) -> tuple[float, float]:
        """Between which x nothing is clipped."""
        low, high = ((end - self.zero) * self.scale for end in self.ends)
        return low, high


InputQuantiser = Quantiser | AffineQuantiser


def plain(meaning: Meaning, dtype: str = "int8") -> InputQuantiser:
    """What brings real numbers to integers of this meaning: its inverse."""
    if isinstance(meaning, Scaled):
        return AffineQuantiser(meaning.scale[0], meaning.zero[0], INT16 if dtype == "int16" else INT8)
    return Quantiser.power(meaning.frac)


def held(units: Reals, ends: tuple[int, int] = INT8) -> NDArray[Any]:
    """`units` within the ends of int8, or of int16."""
    return np.clip(units, *ends).astype(np.int8 if ends == INT8 else np.int16)


def _repeats(table: Reals, count: int) -> bool:
    n = table.shape[1]
    return n % count == 0 and bool(np.all(table.reshape(2, -1, count) == table[:, None, :count]))


def misfit(q: Quantiser, size: int, limit: float) -> str:
    """What is wrong with a quantiser of `size` elements and scales of at most `limit`; "" if nothing is."""
    numbers = (*q.offset, *q.scale)
    if not all(type(v) is float and math.isfinite(v) and float(np.float32(v)) == v for v in numbers):
        return "has a number that is no float32"
    if type(q.inner) is not int or q.inner < 1 or len(q.offset) != len(q.scale) or not q.scale:
        return "has tables that do not fit one another"
    if size % (q.inner * len(q.scale)):
        return f"has {len(q.scale)} pairs for {size} elements"
    if any(abs(v) > FAR for v in q.offset) or any(v and not LEAST <= abs(v) <= limit for v in q.scale):
        return "has a number beyond its limits"
    return ""


def no_input(meaning: Meaning) -> str:
    """Why no input of a network can have this meaning; "" if one can."""
    if isinstance(meaning, PowerOfTwo):
        return "has a zero point" if meaning.zero else ""
    assert isinstance(meaning, Scaled)
    scale = meaning.scale[0]
    if len(meaning.scale) > 1 or float(np.float32(scale)) != scale:
        return "has a scale that is no float32"
    return "" if 1 / FAR <= scale <= FAR else f"has the scale {scale:.3g}, beyond 2^-100 .. 2^100"


def normalised(
    quantisers: Mapping[str, Quantiser], arrays: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """Samples by name as the first layers take them: inputs [n, ...] that have a quantiser through it."""
    return {n: quantisers[n].real(x).astype(np.float64) if n in quantisers else x for n, x in arrays.items()}


def checked(data: Mapping[str, NDArray[Any]], where: str) -> Mapping[str, NDArray[Any]]:
    """`data` as it is; CompileError where the network's own scale took a value beyond float32."""
    for name, x in data.items():
        if not np.all(np.isfinite(x)):
            what = f"{name} holds values that the network's own scale and offset take beyond float32"
            raise CompileError(where, what, "remove the samples that hold them, or repair the model")
    return data


# ---- features of different size -----------------------------------------------------------------------

UNEVEN = 2.0**5  # so much smaller than the largest, a feature has two to eight of the 255 steps
MOVING = 0.05  # a feature counts if it moves in so many of the samples
TAILS = (0.005, 0.995)
LOOKED_AT = 64, 1024, 1 << 23  # samples at least, at most, and the numbers that allow more
MOST = 2.0**100  # a ratio that is larger is told as this
NAMED = 6  # features that a warning lists


@dataclass(frozen=True, slots=True)
class Uneven:
    """An input that holds features of different size.

    axis:     which axis of the input they are, counted behind the batch
    features: those whose range is UNEVEN times smaller than what the input's scale must hold, smallest first
    ratio:    of the smallest
    """

    input: str
    axis: int
    features: tuple[int, ...]
    ratio: float
    rank: int = field(default=1)

    def __str__(self) -> str:
        shown = ", ".join(map(str, self.features[:NAMED]))
        more = f" and {len(self.features) - NAMED} more" if len(self.features) > NAMED else ""
        place = f" of axis {self.axis + 1}" if self.rank > 1 else ""
        many = len(self.features) > 1
        return (
            f"input {self.input}: its features differ in range by more than 2^5, and share one scale: "
            f"{'features' if many else 'feature'} {shown}{more}{place} {'keep' if many else 'keeps'} few of "
            f"the 255 steps (range down to 1/{self.ratio:.0f} of the largest); "
            "normalise them in front of the network, or by its first layer, with a scale and offset for each"
        )


def uneven(name: str, x: NDArray[Any]) -> Uneven | None:
    """The features of input `name` that its one scale leaves few steps, x [n, *shape] as quantised.

    Features are the places along one axis: of a vector its elements, of maps the axis along which ranges
    differ most. Those that hardly ever move (border pixels) do not count, nor do a few outliers.
    """
    least, most, numbers = LOOKED_AT
    looked = min(len(x), max(least, min(most, numbers // math.prod(x.shape[1:]))))
    chosen = x[np.linspace(0, len(x) - 1, looked).round().astype(np.intp)]
    shape = chosen.shape[1:] if chosen.ndim > 1 else (1,)
    chosen = chosen.reshape(len(chosen), *shape)
    found = [_along(name, np.moveaxis(chosen, 1 + a, 0), a, len(shape)) for a in range(len(shape))]
    return max((f for f in found if f), key=lambda f: f.ratio, default=None)


def _along(name: str, x: NDArray[Any], axis: int, rank: int) -> Uneven | None:
    """As `uneven`, of features x[feature]."""
    flat = x.reshape(len(x), -1).astype(np.float64)
    lo, middle, hi = np.quantile(flat, (TAILS[0], 0.5, TAILS[1]), axis=1)
    spread = hi - lo
    moves = np.mean(flat != middle[:, None], axis=1) >= MOVING
    top = float(max(np.max(spread), np.max(np.abs(lo)), np.max(np.abs(hi))))
    moves &= spread > 0
    with np.errstate(over="ignore"):
        ratio = np.where(moves, np.minimum(top / np.where(moves, spread, 1.0), MOST), 0.0)
    order = [int(i) for i in np.argsort(-ratio, kind="stable") if ratio[i] > UNEVEN]
    return Uneven(name, axis, tuple(order), float(ratio[order[0]]), rank) if order else None


def warnings(inputs: Sequence[str], data: Mapping[str, NDArray[Any]]) -> tuple[str, ...]:
    """A line for each input whose features differ too much in size for one scale."""
    return tuple(str(f) for name in inputs if len(data[name]) and (f := uneven(name, data[name])))
