"""Functions of int16 that a model file's kernels look up: 512 steps over the whole range, linear between.

The entries are those that TensorFlow Lite's reference kernels (LiteRT 2.3.0) make in float32. A `table` layer
writes this step where its input is int16: gen/ops/pointwise16.py. No teaching signal passes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..errors import CompileError
from ..ir.format import Scaled
from . import Accumulator, Arrays, Attrs, Bounds, Case, Cost, Format, Kernel, Known
from ._contract import BETWEEN, INT16, Range, Tensors, crossed, takes, within
from ._loops import Cells, Loop, helper
from ._requantise import scale
from .table import FUNCTIONS, NAMES

STEPS = 512
LEAST, MOST = INT16

Real = NDArray[Any]
Single = np.float32


def _rounded(f: Callable[[Real], Real], x: Real) -> Real:
    """A function of the C library: in float64, rounded to float32 once."""
    y: Real = f(x.astype(np.float64)).astype(Single)
    return y


def _exp(x: Real, least: Single, most: Single) -> Real:
    return _rounded(np.exp, x)


def _log(x: Real, least: Single, most: Single) -> Real:
    return np.where(x <= 0, least, _rounded(np.log, x))


def _rsqrt(x: Real, least: Single, most: Single) -> Real:
    return np.where(x <= 0, most, Single(1) / np.sqrt(x))


CURVES: Mapping[str, Callable[[Real, Single, Single], Real]] = {
    "exp": _exp,
    "log": _log,
    "rsqrt": _rsqrt,
}
"""Of x in float32, and the least and the largest number that the output can hold."""


def entries(fn: str, x: float, y: float) -> NDArray[np.int64]:
    """[513]: the function at 512 steps over all of int16, in units of the output's scale; each but the last
    moved by half of what a line to the next misses the middle by. What is no number is 0.

    x, y: the scales of input and output
    """
    first, last, low, high = (Single(s) * Single(v) for s in (x, y) for v in (LEAST, MOST))
    step, at = (last - first) / Single(STEPS), np.arange(STEPS + 1).astype(Single)
    inverse = Single(MOST - LEAST + 1) / (high - low)
    with np.errstate(all="ignore"):
        places = first + at * step
        value = CURVES[fn](places, low, high) * inverse
        middle = CURVES[fn](places[:-1] + step / Single(2), low, high) * inverse
        start = _nearest(value[:-1])
        missed = _nearest((value[1:] + start) / Single(2)) - _nearest(middle)
        moved = start - _nearest(missed / Single(2))
        end = _nearest(CURVES[fn](np.array([last]), low, high) * inverse)
        held = np.clip(np.concatenate([moved, end]), LEAST, MOST)
    found: NDArray[np.int64] = np.nan_to_num(held, nan=0.0).astype(np.int64)
    return found


def _nearest(v: Real) -> Real:
    """To the nearest integer, halves away from zero."""
    found: Real = np.copysign(np.floor(np.abs(v.astype(np.float64)) + 0.5), v).astype(Single)
    return found


@helper
def wrapped(v: Any) -> Any:
    """The lower 16 bits of v, with a sign."""
    return numeric.int32(((v + np.int32(32768)) & np.int32(65535)) - np.int32(32768))


def _forward(x: Cells, table: Cells, y: Cells, wraps: int, lo: int, hi: int) -> None:
    for i in range(len(y)):
        at = STEPS // 2 + (np.int64(x[i]) >> 7)
        base = np.int32(table[at])
        rise = numeric.int32(np.int32(table[at + 1]) - base)
        rise = wrapped(rise) if wraps else rise
        found = numeric.int32(
            base + numeric.shift_round(numeric.int32(rise * np.int32(np.int64(x[i]) & 127)), 7)
        )
        y[i] = numeric.saturate(wrapped(found) if wraps else found, lo, hi)


class Forward(Kernel):
    """y = the entry of x in a table of 512 steps, linear between two; where one entry is more than 2^15 from
    the next (`wraps`) the difference and the result are those of 16 bits, as LiteRT has them.

    Abstract: fn, the function by its number
    """

    name = "curve16.forward"
    loop = Loop(_forward)
    reads = ("x", "table")
    writes = ("y",)
    inplace = ("x", "y")
    operands = takes(x="int16 [n]", table=f"int16 [{STEPS + 1}]", y="int16 [n]")
    attributes: ClassVar[Mapping[str, Range]] = within(BETWEEN, wraps=(1, 1))
    spare = ("wraps",)

    def misfit(self, t: Tensors, a: Attrs) -> str:
        return crossed(a) or ("" if t["table"].space == "const" else f"{t['table'].name} is no constant")

    def integer(self, t: Arrays, a: Attrs) -> None:
        x = t["x"].astype(np.int32)
        at = np.int32(STEPS // 2) + (x >> np.int32(7))
        wide = np.broadcast_to(t["table"], (len(x), STEPS + 1)).astype(np.int32)
        base = np.take_along_axis(wide, at, axis=1)
        rise = np.take_along_axis(wide, at + 1, axis=1) - base
        rise = wrapped(rise) if "wraps" in a else rise
        found = base + numeric.shift_round(rise * (x & np.int32(127)), 7)
        t["y"][...] = numeric.saturate(wrapped(found) if "wraps" in a else found, a["lo"], a["hi"])

    def real(self, t: Arrays, a: Attrs) -> None:
        t["y"][...] = FUNCTIONS[int(a["fn"])].value(t["x"], 0.0, 0.0)

    @staticmethod
    def _entries(f: Mapping[str, Format], a: Attrs, where: str) -> NDArray[np.int64]:
        if not isinstance(f["y"].meaning, Scaled):
            what = f"its output has {f['y'].meaning}, which is ours: a function of int16 keeps a file's scale"
            raise CompileError(where, what, "put a layer with weights behind it")
        return entries(NAMES[int(a["fn"])], scale(f["x"], where), scale(f["y"], where))

    def derived(
        self, role: str, f: Mapping[str, Format], a: Attrs, where: str
    ) -> tuple[Format, NDArray[np.int64]]:
        return Format("int16", f["y"].meaning, LEAST, MOST), self._entries(f, a, where)

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        jump = int(np.abs(np.diff(self._entries(f, a, where))).max())
        return {"lo": f["y"].lo, "hi": f["y"].hi} | ({"wraps": 1} if jump > MOST else {})

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        rise = 2**15 if "wraps" in a else k["table"].hi - k["table"].lo
        sums = [Accumulator("rise between two entries", -rise * 127, rise * 127 + 64)]
        return sums, {"y": (a["lo"], a["hi"], k["y"].shape[0] * max(-a["lo"], a["hi"]))}

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        return Cost(macs=shapes["x"][0], reads=2 * (STEPS + 1))

    def case(self, rng: np.random.Generator) -> Case:
        x = rng.integers(LEAST, MOST, int(rng.integers(1, 50)), endpoint=True).astype(np.int16)
        wraps, narrow = bool(rng.integers(2)), not rng.integers(4)
        top = 2**15 if wraps else 2**14
        table = rng.integers(-top, top, STEPS + 1).astype(np.int16)
        limits = {"lo": -(2**13), "hi": 2**14} if narrow else {"lo": LEAST, "hi": MOST}
        attrs = limits | ({"wraps": 1} if wraps else {})
        return Case({"x": x, "table": table, "y": np.zeros_like(x)}, attrs, {}, ("table",))
