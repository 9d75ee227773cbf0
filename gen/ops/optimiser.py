"""What products have added up to changes what is learned: one rounding for many samples.

Gradient accumulation and momentum are one step: sums are gone behind it, or forget a share of themselves.
The momentum is Polyak's (1964), in the form of Sutskever, Martens, Dahl, Hinton, On the importance of
initialization and momentum in deep learning (2013) without Nesterov's look ahead, as PyTorch's SGD has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..spec.optimiser import MOST_SHIFT
from . import Accumulator, Arrays, Attrs, Bounds, Case, Cost, Format, Known
from ._contract import HELD, ROUNDED, Tensors, takes, within
from ._loops import (
    Cells,
    Loop,
    Number,
    change_rounded,
    helper,
    round_row,
    row_tables,
    row_words,
    stream_key,
    subtract_row,
)
from ._weighted import (
    BIAS_TOP,
    GATHERED,
    LEAST_BIAS_SHIFT,
    MAX_SHIFT,
    Change,
    Index,
    WeightedUpdate,
    change_shifts,
)

RATES = {"rates": ("shift", "bias_shift"), "limits": ("lo", "hi", "bias_lo", "bias_hi")}


@helper
def forgotten(v: Any, away: Any, forget: Any) -> Any:
    """What a sum loses, v / 2^forget away from zero: one to which nothing is added any more ends at zero.

    away: what v takes on before it is rounded, as `_away` has it.
    """
    return numeric.shift_round(numeric.int32(v + away[1 if v > 0 else 0]), forget)


def _away(forget: int) -> NDArray[np.int32]:
    """What makes rounding half up round away from zero: (of v <= 0, of v > 0)."""
    half = (1 << forget) >> 1
    return np.array([-half, half - 1 if half else 0], np.int32)


def _step(
    sum: Cells, bias_sum: Cells, step: Cells, w: Cells, b: Cells, twin: Cells, saturated: Cells,
    rates: Number, limits: Number, forget: int, rounding: int, seed: int, tensor: int, columns: Cells,
    away: Cells, mul: Cells, add: Cells,
) -> None:  # fmt: skip
    base, n = stream_key(seed, step[0], tensor), columns[0]
    words, p = np.empty(len(mul), np.uint32), np.empty(n, np.int32)
    lane = words.view(np.uint16)
    for i in range(len(w)):
        row_words(words, base, i, mul, add)
        for j in range(n):
            p[j] = -sum[i, j]
        round_row(p, rates[0], rounding, lane)
        if len(b):
            total = numeric.int32(-bias_sum[i])
            if rates[1] < 0:
                top: Any = np.int32(BIAS_TOP) >> np.int32(-rates[1])
                total = numeric.saturate(total, -top, top)
            change_rounded(i, p, n, total, w, b, twin, saturated, rates, limits, rounding, lane)
            bias_sum[i] = numeric.int32(bias_sum[i] - forgotten(bias_sum[i], away, forget))
        else:
            met = subtract_row(w, i, p, n, limits[0], limits[1])
            if len(twin):
                met += subtract_row(twin, i, p, n, limits[0], limits[1])
            saturated[0] = np.uint32(saturated[0] + np.uint32(met))
        for j in range(n):
            sum[i, j] = numeric.int32(sum[i, j] - forgotten(sum[i, j], away, forget))


def _tables(t: Mapping[str, Any], a: Attrs) -> dict[str, NDArray[Any]]:
    return {"columns": np.array([t["w"].shape[1]]), "away": _away(a["forget"]), **row_tables(t, a)}


class Step(WeightedUpdate):
    """W -= round(-sum / 2^shift), b -= round(-bias_sum / 2^bias_shift), the twin as W; then both sums forget
    2^-forget of themselves, away from zero: all where forget is 0.

    The sums are what updates took off zeros. In real numbers W += 2^-rate sum.
    """

    name = "optimiser.step"
    function = "optimise"
    loop = Loop(_step, RATES, _tables)
    reads = ("step",)
    updates = ("sum", "bias_sum", "w", "b", "twin", "saturated")
    optional = ("bias_sum", "b", "twin")
    gathers = False
    operands = takes(
        sum="int32 [rows, columns]",
        bias_sum="int32 [rows]",
        step="uint32 [1]",
        saturated="uint32 [1]",
        w="int8|int16 [rows, columns]",
        b="int32 [rows]",
        twin="=w [rows, columns]",
    )
    attributes = within(
        HELD,
        ROUNDED,
        shift=(0, MAX_SHIFT),
        bias_shift=(LEAST_BIAS_SHIFT, MAX_SHIFT),
        rate=(0, 2**8),
        bias_lo=HELD["lo"],
        bias_hi=HELD["hi"],
        forget=(0, MOST_SHIFT),
    )
    spare = ("bias_shift", "bias_lo", "bias_hi")

    def misfit(self, t: Tensors, a: Attrs) -> str:
        if ("bias_sum" in t) != ("b" in t):
            return "it takes both bias_sum and b, or neither"
        if any((name in a) != ("b" in t) for name in self.spare):
            return "the numbers of a bias belong to operand b"
        large = next(
            (t[r].name for r in ("sum", "bias_sum") if r in t and max(-t[r].lo, t[r].hi) > GATHERED), ""
        )
        return f"{large} may reach more than {GATHERED}" if large else super().misfit(t, a)

    def terms(self, a: Attrs) -> int:
        return 2  # more than one: what a bias takes is held back before it is shifted left

    def changes(self, t: Arrays, a: Attrs) -> tuple[NDArray[np.bool_], Change]:
        def change(device: Index, row: Index) -> tuple[numeric.Int, numeric.Int]:
            total = t["bias_sum"][device, row] if "bias_sum" in t else np.zeros(len(row), np.int32)
            return -t["sum"][device, row], -total

        return np.ones(t["sum"].shape[:2], np.bool_), change

    def gradient(self, t: Arrays, a: Attrs) -> tuple[np.ndarray, np.ndarray]:
        return -t["sum"], -t["bias_sum"] if "bias_sum" in t else np.zeros(0)

    def integer(self, t: Arrays, a: Attrs) -> None:
        super().integer(t, a)
        for sums in (t[role] for role in ("sum", "bias_sum") if role in t):
            away = _away(a["forget"])[(sums > 0).astype(np.intp)]
            sums -= numeric.shift_round(sums + away, a["forget"])

    @staticmethod
    def rates(t: Arrays, a: Attrs) -> tuple[Any, Any]:
        share, kind = float(a.get("share", 1.0)), t["w"].dtype.type
        return kind(2.0 ** -a["rate"] * share), kind(2.0 ** -a["rate"] / share)

    def real(self, t: Arrays, a: Attrs) -> None:
        super().real(t, a)
        for sums in (t[role] for role in ("sum", "bias_sum") if role in t):
            sums *= 1.0 - 2.0 ** -a["forget"]

    def implied(self, f: Mapping[str, Format], a: Attrs) -> dict[str, Format]:
        return {}

    def limit(
        self, role: str, f: Mapping[str, Format], shapes: Mapping[str, tuple[int, ...]], a: Attrs
    ) -> int:
        return 2**31 - 1

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        shift, bias_shift = change_shifts(
            f,
            a,
            of_weight=f["sum"].frac - f["w"].frac,
            of_bias=f["bias_sum"].frac - f["b"].meaning.nearest if "b" in f else 0,
            top=f["sum"].hi,
            where=where,
        )
        own = {key: int(v) for key, v in a.items() if key != "share"}
        own |= {"shift": shift, "lo": f["w"].lo, "hi": f["w"].hi}
        if "b" not in f:
            return own
        return own | {"bias_shift": bias_shift, "bias_lo": f["b"].lo, "bias_hi": f["b"].hi}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        top = k["sum"].mag
        change = (top >> a["shift"]) + 1 + max(k[role].mag for role in ("w", "twin") if role in k)
        lost = 1 << a["forget"]  # what rounding away from zero adds, and one more
        sums = [
            Accumulator("sum and dither", -top - lost, top + max(1 << a["shift"], lost)),
            Accumulator("weight and its change", -change, change),
        ]
        if "b" not in k:
            return sums, {}
        total = k["bias_sum"].mag
        bias = min(total << max(-a["bias_shift"], 0), BIAS_TOP) if a["bias_shift"] < 0 else total
        sums += [
            Accumulator(
                "bias sum",
                -max(bias, total + lost),
                max(bias, total + max(1 << max(a["bias_shift"], 0), lost)),
            ),
            Accumulator("bias and its change", -bias - k["b"].mag, bias + k["b"].mag),
        ]
        return sums, {}

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        weights = shapes["w"][0] * shapes["w"][1]
        copies = 3 if "twin" in shapes else 2
        return Cost(macs=weights, reads=copies * weights, writes=copies * weights)

    def case(self, rng: np.random.Generator) -> Case:
        m, n, wide = int(rng.integers(1, 12)), int(rng.integers(1, 30)), bool(rng.integers(2))
        bits = int(rng.integers(10, 17)) if wide else 8
        lo, hi = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
        kind = np.int16 if wide else np.int8
        most = int(rng.choice([GATHERED, 2**20]))
        arrays: dict[str, NDArray[Any]] = {
            "sum": (rng.integers(-most, most + 1, (m, n)) * rng.integers(0, 2, (m, n))).astype(np.int32),
            "step": rng.integers(0, 2**32, 1, np.uint32),
            "w": rng.integers(lo, hi + 1, (m, n)).astype(kind),
            "saturated": np.zeros(1, np.uint32),
        }
        limits = {"sum": (-most, most), "w": (lo, hi)}
        attrs = {"shift": int(rng.integers(0, 25)), "rate": 0, "lo": lo, "hi": hi}
        attrs |= {"forget": int(rng.choice([0, 0, 1, 3, MOST_SHIFT])), "rounding": int(rng.integers(3))}
        attrs |= {"seed": int(rng.integers(2**32)), "tensor": int(rng.integers(64))}
        if rng.integers(2):
            arrays["twin"], limits["twin"] = rng.integers(lo, hi + 1, (m, n)).astype(kind), (lo, hi)
        if rng.integers(3):
            arrays["bias_sum"] = rng.integers(-most, most + 1, m).astype(np.int32)
            arrays["b"] = rng.integers(-(2**24), 2**24, m).astype(np.int32)
            limits |= {"bias_sum": (-most, most), "b": (-(2**24), 2**24 - 1)}
            attrs |= {"bias_shift": int(rng.integers(-14, 12)), "bias_lo": -(2**24), "bias_hi": 2**24 - 1}
        return Case(arrays, attrs, limits)
