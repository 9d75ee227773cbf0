"""A row of a classifier from the first samples of its class, with no gradient: imprinted weights.

After Qi, Brown, Lowe, Low-shot learning with imprinted weights, CVPR 2018. W_c is the mean over the class's
first samples of gain * (x - centre), and b_c such that the score is `level` half way between the centre of
all classes and the class's own mean: nearest mean, beside rows that learning made. gain and level are real
numbers that the compiler chose (gen/stages/head.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..errors import CompileError
from . import Accumulator, Arrays, Attrs, Bounds, Case, Cost, Format, Kernel, Known, _labels, _requantise
from ._contract import HELD, INT8, Operand, Range, Tensors, beyond, takes, within
from ._loops import Cells, Loop, Number, helper

SHARE_FRAC = 14
MOST = 8  # samples of a class that make a row
FACTOR = (2.0**-8, 2.0**20)  # units of a weight by one unit of x: what the primitives are proven for
MULTIPLIER: Range = (0, 2**31 - 1)
SHIFT: Range = (1, 62)


def share(k: int) -> int:
    """1 / k, Q14: what the k-th sample counts in the mean of k."""
    return ((1 << SHARE_FRAC) + k // 2) // k


LONGEST = 2**8  # samples of the longest mean that any kernel of this kind takes
SHARES = np.array([0, *map(share, range(1, LONGEST + 1)), 0], np.int32)


LIMITS = {"limits": ("lo", "hi", "bias_lo", "bias_hi", "x_lo", "x_hi")}


def _row(
    x: Cells, label: Cells, centre: Cells, w: Cells, b: Cells, twin: Cells, count: Cells, most: int,
    multiplier: Number, shift: Number, half_multiplier: Number, half_shift: Number, level: int, x_zero: int,
    limits: Number,
) -> None:  # fmt: skip
    row = np.int64(label[0])
    k = np.int64(count[row]) + 1
    if k <= most:
        draw_in(
            row,
            k,
            x,
            centre,
            w,
            b,
            twin,
            multiplier,
            shift,
            half_multiplier,
            half_shift,
            level,
            x_zero,
            limits,
        )
        count[row] = k


@helper
def draw_in(
    row: Any, k: Any, x: Cells, centre: Cells, w: Cells, b: Cells, twin: Cells, multiplier: Number,
    shift: Number, half_multiplier: Number, half_shift: Number, level: Any, x_zero: Number, limits: Number,
) -> None:  # fmt: skip
    """Draws x into the mean of a row as its k-th sample: what `Row` says."""
    lo, hi, bias_lo, bias_hi, x_lo, x_hi = limits
    total: Any = np.int32(level)
    part = np.int32(SHARES[k])
    for j in range(len(x)):
        middle, old = np.int32(centre[j]), np.int32(w[row, j])
        away = numeric.scale_once(numeric.int32(np.int32(x[j]) - middle), multiplier, shift)
        to = numeric.int32(numeric.saturate(away, lo, hi) - old)
        change = numeric.shift_round(numeric.int32(to * part), SHARE_FRAC)
        made = numeric.int32(old + change)
        half = numeric.int32(middle + numeric.scale_once(made, half_multiplier, half_shift))
        total -= made * numeric.int32(numeric.saturate(half, x_lo, x_hi) - np.int32(x_zero))
        w[row, j] = made
        if len(twin):
            twin[row, j] = numeric.saturate(numeric.int32(np.int32(twin[row, j]) + change), lo, hi)
    b[row] = numeric.saturate(numeric.int32(total), bias_lo, bias_hi)


class Row(Kernel):
    """While count_c < most, c the label: count_c += 1, and with k = count_c, for every input j

    W_cj += shift_round((saturate(scale_once(x_j - centre_j)) - W_cj) * share(k), 14); the twin by as much,
    b_c = saturate(level - sum W_cj (p_j - x_zero)), p_j = saturate(centre_j + scale_once(W_cj)), the middle.
    """

    name = "imprint.row"
    loop = Loop(_row, LIMITS)
    reads = ("x", "label", "centre")
    updates: ClassVar[tuple[str, ...]] = ("w", "b", "twin", "count")
    optional: ClassVar[tuple[str, ...]] = ("twin",)
    operands: ClassVar[Mapping[str, Operand]] = takes(
        x="int8 [columns]",
        label=_labels.LABEL,
        centre="int8 [columns]",
        w="int8|int16 [rows, columns]",
        b="int32 [rows]",
        twin="=w [rows, columns]",
        count="uint32 [rows]",
    )
    attributes: ClassVar[Mapping[str, Range]] = within(
        HELD,
        most=(1, MOST),
        multiplier=MULTIPLIER,
        shift=SHIFT,
        half_multiplier=MULTIPLIER,
        half_shift=SHIFT,
        level=(-(2**31), 2**31 - 1),
        bias_lo=HELD["lo"],
        bias_hi=HELD["hi"],
        x_zero=INT8,
        x_lo=INT8,
        x_hi=INT8,
    )

    def misfit(self, t: Tensors, a: Attrs) -> str:
        rows = t["w"].shape[0]
        if t["label"].hi >= rows:
            return f"{t['label'].name} may be {t['label'].hi}, and there are {rows} rows"
        unproven = [key for key in ("multiplier", "half_multiplier") if not _fits(a, key)]
        return (
            beyond(t["w"], a["lo"], a["hi"])
            or ("twin" in t and beyond(t["twin"], a["lo"], a["hi"]))
            or beyond(t["b"], a["bias_lo"], a["bias_hi"])
            or (f"{unproven[0]} makes more than 32 bits" if unproven else "")
            or ("its x_lo is above its x_hi" if a["x_lo"] > a["x_hi"] else "")
        )

    def numbered(self, count: NDArray[Any], most: int) -> NDArray[Any]:
        """Which sample of its row comes, by how many have been; beyond `most` it changes nothing."""
        following: NDArray[Any] = count + count.dtype.type(1)
        return following

    def integer(self, t: Arrays, a: Attrs) -> None:
        device, row = np.arange(len(t["x"])), t["label"][:, 0].astype(np.intp)
        k = self.numbered(t["count"][device, row], a["most"])
        chosen = np.flatnonzero(k <= a["most"])
        device, row = device[chosen], row[chosen]
        centre = np.broadcast_to(t["centre"], t["x"].shape).astype(np.int32)[chosen]
        w = t["w"][device, row].astype(np.int32)
        away = t["x"][chosen].astype(np.int32) - centre
        to = numeric.saturate(numeric.scale_once(away, a["multiplier"], a["shift"]), a["lo"], a["hi"])
        change = numeric.shift_round((to - w) * SHARES[k[chosen]][:, None], SHARE_FRAC)
        made = w + change
        half = numeric.scale_once(made, a["half_multiplier"], a["half_shift"])
        middle = numeric.saturate(centre + half, a["x_lo"], a["x_hi"]) - np.int32(a["x_zero"])
        score = np.int32(a["level"]) - numeric.matvec(made[:, None], middle)[:, 0]
        t["w"][device, row] = made
        if "twin" in t:
            t["twin"][device, row] = numeric.saturate(t["twin"][device, row] + change, a["lo"], a["hi"])
        t["b"][device, row] = numeric.saturate(score, a["bias_lo"], a["bias_hi"])
        t["count"][device, row] = k[chosen]

    def real(self, t: Arrays, a: Attrs) -> None:
        device, row = np.arange(len(t["x"])), t["label"][:, 0].astype(np.intp)
        k = self.numbered(t["count"][device, row], a["most"])
        chosen = np.flatnonzero(k <= a["most"])
        device, row = device[chosen], row[chosen]
        centre = np.broadcast_to(t["centre"], t["x"].shape)[chosen]
        w = t["w"][device, row]
        change = (a["gain"] * (t["x"][chosen] - centre) - w) / k[chosen, None]
        made = w + change
        t["w"][device, row] = made
        if "twin" in t:
            t["twin"][device, row] += change
        t["b"][device, row] = a["level"] - np.sum(made * (centre + made / (2 * a["gain"])), axis=1)
        t["count"][device, row] = k[chosen]

    def ranges(self, a: Attrs) -> dict[str, tuple[int, int]]:
        return {"count": (0, int(a["most"]))}

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        factor = a["gain"] * f["x"].meaning.step / f["w"].meaning.step
        if not FACTOR[0] <= factor <= FACTOR[1]:
            what = f"one unit of its input is {factor:.3g} units of an imprinted weight"
            hint = f'{FACTOR[0]:g} to {FACTOR[1]:g} are possible: take weights = "int16", or other inputs'
            raise CompileError(where, what, hint)
        whole, half = numeric.multiplier(factor), numeric.multiplier(1.0 / (2.0 * factor))
        level = f["b"].meaning.unit(a["level"])
        return {
            "most": int(a["most"]),
            "multiplier": whole[0],
            "shift": whole[1],
            "half_multiplier": half[0],
            "half_shift": half[1],
            "level": max(f["b"].lo, min(f["b"].hi, level)),
            "lo": f["w"].lo,
            "hi": f["w"].hi,
            "bias_lo": f["b"].lo,
            "bias_hi": f["b"].hi,
            "x_zero": _requantise.zero(f["x"]),
            "x_lo": f["x"].lo,
            "x_hi": f["x"].hi,
        }

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        reach = _requantise.reach(a["x_lo"], a["x_hi"], a["x_zero"])
        total = k["w"].shape[1] * max(-a["lo"], a["hi"]) * reach + abs(a["level"])
        far = (max(a["hi"], k["w"].hi) - min(a["lo"], k["w"].lo)) << SHARE_FRAC
        sums = [
            Accumulator("share of a change", -far, far + (1 << SHARE_FRAC - 1)),
            Accumulator("score half way", -total, total),
        ]
        return sums, {}

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        n = shapes["w"][1]
        copies = 2 if "twin" in shapes else 1
        return Cost(macs=n, reads=copies * n, writes=copies * n)

    def case(self, rng: np.random.Generator) -> Case:
        rows, n = int(rng.integers(1, 9)) if rng.integers(8) else 300, int(rng.integers(1, 40))
        wide = bool(rng.integers(2))
        bits = int(rng.integers(10, 17)) if wide else 8
        lo, hi = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
        dtype = np.int16 if wide else np.int8
        most = int(rng.integers(*self.attributes["most"], endpoint=True))
        arrays: dict[str, NDArray[Any]] = {
            "x": rng.integers(-128, 128, n).astype(np.int8),
            "label": _labels.draw(rng, rows - 1),
            "centre": rng.integers(-128, 128, n).astype(np.int8),
            "w": rng.integers(lo, hi + 1, (rows, n)).astype(dtype),
            "b": rng.integers(-(2**24), 2**24, rows).astype(np.int32),
            "count": rng.integers(0, most + 1, rows).astype(np.uint32),
        }
        if "twin" in self.roles and rng.integers(2):
            arrays["twin"] = rng.integers(lo, hi + 1, (rows, n)).astype(dtype)
        factor = float(2.0 ** rng.uniform(-8, 12))
        whole, half = numeric.multiplier(factor), numeric.multiplier(0.5 / factor)
        attrs = {
            "most": most,
            "lo": lo,
            "hi": hi,
            "bias_lo": -(2**24),
            "bias_hi": 2**24 - 1,
            "multiplier": whole[0],
            "shift": whole[1],
            "half_multiplier": half[0],
            "half_shift": half[1],
            "level": int(rng.integers(-(2**24), 2**24)),
            "x_zero": int(rng.choice([0, -128, int(rng.integers(-128, 128))])),
            "x_lo": -128,
            "x_hi": 127,
        }
        limits = {
            "w": (lo, hi),
            "twin": (lo, hi),
            "b": (-(2**24), 2**24 - 1),
            "label": (0, rows - 1),
            "count": (0, most),
        }
        return Case(arrays, attrs, {role: v for role, v in limits.items() if role in arrays})


def _fits(a: Attrs, key: str) -> bool:
    """Whether a product with this multiplier is one of numeric.scale_once."""
    top = 255 if key == "multiplier" else max(-a["lo"], a["hi"])
    n = a[key.replace("multiplier", "shift")]
    return bool(n > 31 or top * a[key] + (1 << n) < 1 << (n + 31))
