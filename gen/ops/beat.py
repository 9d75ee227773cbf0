"""What a network is told of a beat: its window in units of the wearer's own beats, and its rhythm."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..errors import CompileError
from ..ir.format import Scaled
from ..ir.plan import PlanTensor
from . import Accumulator, Arrays, Attrs, Bounds, Case, Cost, Format, Kernel, Known, Variant
from ._contract import BETWEEN, Range, Tensors, beyond, crossed, takes, within
from ._loops import Cells, Loop, helper
from .logarithm import mantissa, mantissas

INPUTS = "int8|int16"
FRAC = 8
"""Bits behind the point of what is a mean of many."""
TOP = 2**21
"""Of an interval, in frames."""
SHIFT: Range = (0, 10)
"""A mean of so many: 2^shift."""
LOG_2 = numeric.LOG_2_Q16
NUMBERS = {"log_2": LOG_2}


def _window(
    table: Cells, at: Cells, ago: Cells, mean: Cells, x: Cells, first: int, last: int, least: int, top: int,
    many: int, shift: int, zero: int, lo: int, hi: int,
) -> None:  # fmt: skip
    rows, length = len(table), len(x)
    start: Any = np.int64(at[0]) + rows - np.int64(ago[0]) - length
    start = start - rows if start >= rows else start
    peak = np.int64(0)
    for i in range(first, last + 1):
        row = start + i - rows if start + i >= rows else start + i
        peak = max(peak, abs(np.int64(table[row])))
    before = np.int64(mean[0]) if mean[0] > 0 else peak << np.int64(FRAC)
    a = max(before >> np.int64(FRAC), np.int64(least))
    multiplier = numeric.int32((np.int64(top) + (a >> np.int64(1))) // a)
    for i in range(length):
        row = start + i - rows if start + i >= rows else start + i
        v: Any = numeric.scale_once(numeric.int32(table[row]), multiplier, shift)
        x[i] = numeric.saturate(numeric.int32(v + zero), lo, hi)
    mean[0] = before + (((peak << np.int64(FRAC)) - before) >> np.int64(many))


@helper
def log_q16(v: Any) -> Any:
    """The natural logarithm of v > 0 in Q16, but for a constant: table of 65 values, linear between them."""
    lead: Any = numeric.leading_zeros(numeric.int32(v))
    part: Any = numeric.logarithm(mantissa(v, lead))
    return np.int64(part) - np.int64(lead) * np.int64(LOG_2)


def _rhythm(
    interval: Cells, past: Cells, mean: Cells, x: Cells, usual: int, many: int, multiplier: int, shift: int,
    zero: int, lo: int, hi: int,
) -> None:  # fmt: skip
    one, two, start = np.int64(past[0]), np.int64(past[1]), np.int64(usual)
    one, two = start if one == 0 else one, start if two == 0 else two
    t = np.int64(interval[0]) << np.int64(FRAC) if interval[0] > 0 else start
    u = max(np.int64(mean[0]), np.int64(1))
    middle = log_q16(u)
    for i in range(4):
        v = t if i == 0 or i == 3 else one if i == 1 else two
        d: Any = numeric.int32(log_q16(v) - (log_q16(start) if i == 3 else middle))
        y: Any = numeric.scale_once(d, numeric.int32(multiplier), shift)
        x[i] = numeric.saturate(numeric.int32(y + zero), lo, hi)
    past[1] = one
    past[0] = t
    mean[0] = u + ((t - u) >> np.int64(many))


def _zero(y: Format) -> int:
    return y.meaning.zero[0] if isinstance(y.meaning, Scaled) else 0


class Window(Kernel):
    """x = the window of the ring that ended `ago` frames before its newest one, the oldest value first, over
    the mean peak of the beats before: v * (top / mean, to the nearest integer) / 2^shift + zero.

    A beat's peak is the largest |v| of its values first .. last; mean is that of about 2^many beats, in Q8:
    the first one's own, to begin with. Where it is below `least`, that is taken in its place. In real numbers
    x = v / mean * `scale`, held within `limit`.
    """

    name = "beat.window"
    loop = Loop(_window)
    reads = ("table", "at", "ago")
    updates = ("mean",)
    writes = ("x",)
    operands = takes(
        table="int16 [rows]", at="uint32 [1]", ago="uint32 [1]", mean="int32 [1]", x=f"{INPUTS} [n]"
    )
    attributes = within(
        BETWEEN,
        rows=(1, 2**16 - 1),
        first=(0, 2**15),
        last=(0, 2**15),
        least=(1, 2**15 - 1),
        top=(0, 2**30),
        many=SHIFT,
        shift=(1, 62),
        zero=(-(2**15), 2**15 - 1),
    )

    def sizes(self, a: Attrs) -> dict[str, int]:
        return {"rows": a["rows"]}

    def misfit(self, t: Tensors, a: Attrs) -> str:
        n, rows = t["x"].shape[0], t["table"].shape[0]
        if not a["first"] <= a["last"] < n or n > rows:
            return f"the peak of a window of {n}, of a ring of {rows}, lies at {a['first']} to {a['last']}"
        if t["at"].hi >= rows or t["ago"].hi > rows - n:
            return f"{t['at'].name} may be {t['at'].hi}, {t['ago'].name} {t['ago'].hi}"
        if (t["mean"].lo, t["mean"].hi) != (0, 2**15 << FRAC):
            return f"{t['mean'].name} is no mean of peaks"
        return crossed(a) or beyond(t["x"], a["lo"], a["hi"])

    def _rows(self, t: Arrays) -> NDArray[Any]:
        """The values of the window, of each device."""
        (devices, n), rows = t["x"].shape, t["table"].shape[1]
        start = t["at"].astype(np.intp) - t["ago"].astype(np.intp) - n
        table = np.broadcast_to(t["table"], (devices, rows))
        which = np.broadcast_to((start + np.arange(n)) % rows, (devices, n))
        found: NDArray[Any] = table[np.arange(devices)[:, None], which]
        return found

    def integer(self, t: Arrays, a: Attrs) -> None:
        w = self._rows(t).astype(np.int64)
        peak = np.abs(w[:, a["first"] : a["last"] + 1]).max(axis=1, keepdims=True)
        before = np.where(t["mean"] > 0, t["mean"].astype(np.int64), peak << FRAC)
        level = np.maximum(before >> FRAC, a["least"])
        multiplier = numeric.int32((a["top"] + (level >> 1)) // level)
        v = numeric.scale_once(numeric.int32(w), multiplier, a["shift"]) + np.int32(a["zero"])
        t["x"][...] = numeric.saturate(v, a["lo"], a["hi"])
        t["mean"][...] = before + (((peak << FRAC) - before) >> a["many"])

    def real(self, t: Arrays, a: Attrs) -> None:
        w = self._rows(t).astype(np.float64)
        peak = np.abs(w[:, int(a["first"]) : int(a["last"]) + 1]).max(axis=1, keepdims=True)
        before = np.where(t["mean"] > 0, t["mean"], peak)
        y = w / np.maximum(before, a["floor"]) * a["scale"]
        t["x"][...] = np.clip(y, -a["limit"], a["limit"])
        t["mean"][...] = before + (peak - before) * 2.0 ** -a["many"]

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        y, frac = f["x"], f["table"].frac
        units = a["scale"] / y.meaning.step
        n = 30 - math.ceil(math.log2(units))
        limit = math.floor(min(a["limit"] / y.meaning.step, 2.0**15) + 0.5)
        if n < 1 or limit < 1:
            what = f"a beat of its usual size would be {units:g} of the input's steps"
            raise CompileError(where, what, "take a smaller scale, or a larger limit")
        zero = _zero(y)
        numbers = {"top": round(units * 2.0**n), "shift": n, "zero": zero}
        numbers |= {"lo": max(y.lo, zero - limit), "hi": min(y.hi, zero + limit)}
        kept = ("rows", "first", "last", "many")
        return numbers | {"least": max(1, round(a["floor"] * 2.0**frac))} | {k: int(a[k]) for k in kept}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        top = -(-a["top"] // a["least"]) + 1
        largest = (top << 15 >> a["shift"]) + 1 + abs(a["zero"])
        n = k["x"].shape[0]
        return [Accumulator("multiplier", 0, top), Accumulator("scaled", -largest, largest)], {
            "x": (a["lo"], a["hi"], n * max(abs(a["lo"]), abs(a["hi"]))),
            "mean": (0, 2**15 << FRAC, 2**15 << FRAC),
        }

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        return Cost(macs=shapes["x"][0], reads=2 * shapes["x"][0], writes=shapes["x"][0])

    def case(self, rng: np.random.Generator) -> Case:
        n, more = int(rng.integers(1, 12)), int(rng.integers(0, 6))
        dtype = str(rng.choice(INPUTS.split("|")))
        info, first = np.iinfo(dtype), int(rng.integers(0, n))
        top, least = int(2 ** rng.uniform(10, 30)), int(rng.choice([1, 10, 1000]))
        zero = int(rng.integers(info.min, info.max + 1)) if rng.integers(2) else 0
        shift = int(rng.integers(15, 40))
        while (top // least + 1) << 15 >> shift > 2**30:
            shift += 1
        rows, size = n + more, int(2 ** rng.uniform(2, 15))
        arrays: dict[str, NDArray[Any]] = {
            "table": rng.integers(-size, size, rows).astype(np.int16),
            "at": rng.integers(0, rows, 1).astype(np.uint32),
            "ago": rng.integers(0, more + 1, 1).astype(np.uint32),
            "mean": rng.choice([0, 1, size << FRAC, 2**15 << FRAC], 1).astype(np.int32),
            "x": np.zeros(n, dtype),
        }
        numbers = {
            "first": first,
            "last": int(rng.integers(first, n)),
            "least": least,
            "top": top,
            "zero": zero,
        }
        numbers |= {"many": int(rng.integers(0, 7)), "shift": shift, "lo": int(info.min), "hi": int(info.max)}
        limits = {"at": (0, rows - 1), "ago": (0, more), "mean": (0, 2**15 << FRAC)}
        return Case(arrays, numbers | {"rows": rows}, limits)


class Rhythm(Kernel):
    """x = gain * log2 of: the interval over the mean of those before, the one before it over that, the one
    before that over that, the interval over `usual`; by logarithms of a table, scaled once.

    interval: in frames, 0 where there was no beat before: `usual` then; past: the two before, mean: of about
    2^many, all in Q8 of frames
    """

    name = "beat.rhythm"
    loop = Loop(_rhythm)
    reads = ("interval",)
    updates = ("past", "mean")
    writes = ("x",)
    operands = takes(interval="uint32 [1]", past="int32 [2]", mean="int32 [1]", x=f"{INPUTS} [4]")
    attributes = within(
        BETWEEN,
        usual=(1, TOP << FRAC),
        many=SHIFT,
        multiplier=(0, 2**31 - 1),
        shift=(1, 62),
        zero=(-(2**15), 2**15 - 1),
    )

    def variant(self, kernel_set: str, t: Mapping[str, PlanTensor], a: Attrs) -> Variant:
        return Variant(self.name.split(".")[1], numbers=NUMBERS)

    def misfit(self, t: Tensors, a: Attrs) -> str:
        if t["interval"].hi > TOP:
            return f"{t['interval'].name} may be {t['interval'].hi}"
        for role in ("past", "mean"):
            if (t[role].lo, t[role].hi) != (0, TOP << FRAC):
                return f"{t[role].name} holds no intervals"
        return crossed(a) or beyond(t["x"], a["lo"], a["hi"])

    def integer(self, t: Arrays, a: Attrs) -> None:
        past, start = t["past"].astype(np.int64), np.int64(a["usual"])
        past = np.where(past == 0, start, past)
        interval = t["interval"].astype(np.int64)
        now = np.where(interval > 0, interval << FRAC, start)
        mean = np.maximum(t["mean"].astype(np.int64), 1)
        seen = np.concatenate([now, past, now], axis=1)
        over = np.concatenate([mean, mean, mean, np.full_like(mean, start)], axis=1)
        d = numeric.int32(_log(seen) - _log(over))
        y = numeric.scale_once(d, numeric.int32(a["multiplier"]), a["shift"]) + np.int32(a["zero"])
        t["x"][...] = numeric.saturate(y, a["lo"], a["hi"])
        t["past"][...] = np.concatenate([now, past[:, :1]], axis=1)
        t["mean"][...] = mean + ((now - mean) >> a["many"])

    def real(self, t: Arrays, a: Attrs) -> None:
        past, start = np.where(t["past"] == 0, a["usual"], t["past"]), float(a["usual"])
        now = np.where(t["interval"] > 0, t["interval"], start)
        mean = np.maximum(t["mean"], 2.0**-FRAC)
        seen = np.concatenate([now, past, now], axis=1)
        over = np.concatenate([mean, mean, mean, np.full_like(mean, start)], axis=1)
        t["x"][...] = np.clip(a["gain"] * np.log2(seen / over), -a["limit"], a["limit"])
        t["past"][...] = np.concatenate([now, past[:, :1]], axis=1)
        t["mean"][...] = mean + (now - mean) * 2.0 ** -a["many"]

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        y = f["x"]
        m, n = numeric.multiplier(a["gain"] / math.log(2.0) / y.meaning.step * 2.0**-16)
        limit = math.floor(min(a["limit"] / y.meaning.step, 2.0**15) + 0.5)
        if n < 1 or math.ldexp(m, 21 - n) > 2**30 or limit < 1:
            what = f"gain {a['gain']:g} takes rhythm beyond what the input holds"
            raise CompileError(where, what, "take a smaller one")
        zero = _zero(y)
        numbers = {"usual": round(a["usual"] * 2**FRAC), "many": int(a["many"]), "multiplier": m, "shift": n}
        numbers |= {"lo": max(y.lo, zero - limit), "hi": min(y.hi, zero + limit)}
        return numbers | {"zero": zero}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        d = 31 * LOG_2 + 2**16
        top = (d * a["multiplier"] >> a["shift"]) + 1 + abs(a["zero"])
        wide = TOP << FRAC
        return [Accumulator("logarithms", -d, d), Accumulator("scaled", -top, top)], {
            "x": (a["lo"], a["hi"], 4 * max(abs(a["lo"]), abs(a["hi"]))),
            "past": (0, wide, 2 * wide),
            "mean": (0, wide, wide),
        }

    def case(self, rng: np.random.Generator) -> Case:
        dtype = str(rng.choice(INPUTS.split("|")))
        info, (m, shift) = np.iinfo(dtype), numeric.multiplier(2.0 ** -rng.uniform(4, 16))
        spread = [0, 1, TOP << FRAC, *(2.0 ** rng.uniform(0, 29, 4)).astype(int)]
        arrays: dict[str, NDArray[Any]] = {
            "interval": rng.choice([0, 1, 300, TOP], 1).astype(np.uint32),
            "past": rng.choice(spread, 2).astype(np.int32),
            "mean": rng.choice(spread, 1).astype(np.int32),
            "x": np.zeros(4, dtype),
        }
        numbers = {"usual": int(rng.choice([1, 288 << FRAC, TOP << FRAC])), "many": int(rng.integers(0, 8))}
        numbers |= {"multiplier": m, "shift": shift, "zero": int(rng.integers(-5, 6))}
        limits = {"interval": (0, TOP), "past": (0, TOP << FRAC), "mean": (0, TOP << FRAC)}
        return Case(arrays, numbers | {"lo": int(info.min), "hi": int(info.max)}, limits)


def _log(v: NDArray[Any]) -> NDArray[np.int64]:
    """`log_q16` of arrays."""
    m, lead = mantissas(numeric.int32(v))
    found: NDArray[np.int64] = numeric.logarithm(m).astype(np.int64) - lead.astype(np.int64) * LOG_2
    return found
