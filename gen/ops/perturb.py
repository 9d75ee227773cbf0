"""Learned tensors moved along a direction and back: for rules that try out changes and follow no gradient.

The direction u of a layer is 1 or -1 for each weight and bias, by the top bit of a 16-bit lane that is a
function of seed, step, tensor, row and place: made again wherever it is needed, kept nowhere. While one is
tried, values stay `by` within their limits, so that a move is undone to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..errors import CompileError
from ..ir.plan import PlanTensor
from . import Accumulator, Arrays, Attrs, Bounds, Case, Cost, Format, Kernel, Known, Variant
from ._contract import HELD, ROUNDED, WORD, Tensors, beyond, takes, within
from ._loops import Cells, Loop, Number, helper, row_words, stream_key

MAX_SHIFT = 24  # what the rounding primitives are proven for
LEAST_SHIFT, LEAST_BIAS_SHIFT = -15, -29  # at which one unit of a slope is more than any weight, any bias
ROOM = 2**29  # a change of a bias beyond this always meets its limit of 2^28
PART = 4  # of a limit, which a move is no larger than
TOPS = 2**13, 2**26  # moves of weights and of biases, half as far as any step goes
MOVES = within(HELD, bias_lo=HELD["lo"], bias_hi=HELD["hi"], by=(-(2**14), 2**14), bias_by=(-(2**27), 2**27))
LIMITS = {"limits": ("lo", "hi", "bias_lo", "bias_hi"), "moves": ("by", "bias_by")}


@helper
def toward(lane: Any) -> Any:
    """The direction that a lane stands for: 1 or -1."""
    return numeric.int32(np.int32(1) - (numeric.int32(lane) >> np.int32(15)) * np.int32(2))


@helper
def moved(v: Any, u: Any, by: Any, lo: Any, hi: Any) -> Any:
    """v + by u within lo .. hi. Before a move upwards from where it was, v is brought `by` within them."""
    inset = max(by, 0)
    inside = numeric.saturate(numeric.int32(v), lo + inset, hi - inset)
    return numeric.saturate(numeric.int32(inside + numeric.int32(u * np.int32(by))), lo, hi)


@helper
def back(v: Any, u: Any, by: Any, change: Any) -> Any:
    """v + by u - change, not yet held within any limits."""
    return numeric.int32(numeric.int32(v) + numeric.int32(u * np.int32(by)) - change)


def _apply(
    step: Cells, w: Cells, b: Cells, moves: Number, limits: Number, seed: int, tensor: int, columns: Cells,
    mul: Cells, add: Cells,
) -> None:  # fmt: skip
    by, bias_by = moves
    lo, hi, bias_lo, bias_hi = limits
    n: Any = columns[0]
    words, base = np.empty(len(mul), np.uint32), stream_key(seed, step[0], tensor)
    lane = words.view(np.uint16)
    for i in range(len(b)):
        row_words(words, base, i, mul, add)
        for j in range(n):
            w[i, j] = moved(w[i, j], toward(lane[j]), by, lo, hi)
        b[i] = moved(b[i], toward(lane[n + n % 2]), bias_by, bias_lo, bias_hi)


def _settle(
    step: Cells, d: Cells, w: Cells, b: Cells, saturated: Cells, moves: Number, limits: Number,
    shifts: Number, rounding: int, seed: int, tensor: int, turn: int, columns: Cells, mul: Cells, add: Cells,
) -> None:  # fmt: skip
    by, bias_by = moves
    lo, hi, bias_lo, bias_hi = limits
    shift, bias_shift = shifts
    n: Any = columns[0]
    bias: Any = n + n % 2
    words, base = np.empty(len(mul), np.uint32), stream_key(seed, step[0], tensor)
    drawn, second = np.empty(len(mul), np.uint32), stream_key(seed, step[0], turn)
    lane, other = words.view(np.uint16), drawn.view(np.uint16)
    slope, met = np.int32(d[0]), np.int32(0)
    for i in range(len(b)):
        row_words(words, base, i, mul, add)
        row_words(drawn, second, i, mul, add)
        for j in range(n):
            u = toward(lane[j])
            v = back(w[i, j], u, by, numeric.rounded(rounding, numeric.int32(slope * u), shift, other[j]))
            held = numeric.saturate(v, lo + abs(by), hi - abs(by))
            met = np.int32(met + np.int32(held != v))
            w[i, j] = held
        u = toward(lane[bias])
        total = numeric.int32(within_room(slope, bias_shift) * u)
        v = back(b[i], u, bias_by, numeric.rounded(rounding, total, bias_shift, other[bias]))
        held = numeric.saturate(v, bias_lo + abs(bias_by), bias_hi - abs(bias_by))
        met = np.int32(met + np.int32(held != v))
        b[i] = held
    saturated[0] = np.uint32(saturated[0] + np.uint32(met))


@helper
def within_room(slope: Any, shift: Any) -> Any:
    """A slope that is shifted left, no larger than ROOM then."""
    top = ROOM >> max(-shift, 0)
    return numeric.saturate(slope, -top, top)


def _tables(t: Mapping[str, PlanTensor], a: Attrs) -> dict[str, NDArray[Any]]:
    """The words of a row and its bias, and how many weights a row has."""
    n = t["w"].shape[1]
    mul, add = numeric.lcg_coefficients((n + 1) // 2 + 1)
    return {"mul": mul, "add": add, "columns": np.array([n])}


def _reach(f: Mapping[str, Format], epsilon: float) -> tuple[int, int]:
    """How many units a weight and a bias move by, powers of two: from one to a part of their limit."""

    def units(fmt: Format, real: float, top: int) -> int:
        most = math.floor(math.log2(min(fmt.hi // PART, top)))
        return min(max(round(math.log2(real / fmt.meaning.step)), 0), most)

    by = units(f["w"], epsilon, TOPS[0])
    return 1 << by, 1 << units(f["b"], f["w"].meaning.step * 2**by, TOPS[1])


class _Move(Kernel):
    """What both kernels have: the lanes of a layer's directions, limits, costs."""

    def misfit(self, t: Tensors, a: Attrs) -> str:
        return (
            beyond(t["w"], a["lo"], a["hi"])
            or beyond(t["b"], a["bias_lo"], a["bias_hi"])
            or self._narrow(a["by"], a["lo"], a["hi"])
            or self._narrow(a["bias_by"], a["bias_lo"], a["bias_hi"])
        )

    @staticmethod
    def _narrow(by: int, lo: int, hi: int) -> str:
        return f"a move by {by} does not fit {lo} to {hi}" if abs(by) > min(-lo, hi) else ""

    @staticmethod
    def directions(t: Arrays, a: Attrs, device: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """u of weights and biases, [rows, columns] and [rows], of one device."""
        m, n = t["w"].shape[1:]
        keys = numeric.row_keys(a["seed"], int(t["step"][device, 0]), a["tensor"], m)
        lanes = numeric.lanes(keys, n + n % 2 + 1)
        return toward(lanes[:, :n]), toward(lanes[:, n + n % 2])

    @staticmethod
    def _limits(f: Mapping[str, Format]) -> dict[str, int]:
        return {"lo": f["w"].lo, "hi": f["w"].hi, "bias_lo": f["b"].lo, "bias_hi": f["b"].hi}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        sums = [
            Accumulator(what, -k[role].mag - abs(a[by]), k[role].mag + abs(a[by]))
            for what, role, by in (("weight and its move", "w", "by"), ("bias and its move", "b", "bias_by"))
        ]
        return sums, {}

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        n = shapes["w"][0] * shapes["w"][1]
        return Cost(macs=n, reads=n, writes=n)

    @staticmethod
    def drawn(rng: np.random.Generator) -> tuple[dict[str, NDArray[Any]], dict[str, int], dict[str, Any]]:
        """Operands, attributes and limits of a case."""
        m, n, wide = int(rng.integers(1, 12)), int(rng.integers(1, 30)), bool(rng.integers(2))
        bits = int(rng.integers(10, 17)) if wide else int(rng.integers(4, 9))
        lo, hi = -(1 << bits - 1), (1 << bits - 1) - 1
        w = rng.choice([lo, hi, *rng.integers(lo, hi + 1, 8)], (m, n))
        arrays: dict[str, NDArray[Any]] = {
            "step": rng.integers(0, 2**32, 1, np.uint32),
            "w": w.astype(np.int16 if wide else np.int8),
            "b": rng.choice([-(2**24), 2**24 - 1, *rng.integers(-(2**24), 2**24, 8)], m).astype(np.int32),
        }
        by, bias_by = (1 << int(rng.integers(0, top)) for top in (bits - 3 if bits > 4 else 1, 22))
        attrs = {"by": by, "bias_by": bias_by, "lo": lo, "hi": hi, "bias_lo": -(2**24), "bias_hi": 2**24 - 1}
        attrs |= {"seed": int(rng.integers(2**32)), "tensor": int(rng.integers(64))}
        return arrays, attrs, {"w": (lo, hi), "b": (-(2**24), 2**24 - 1)}


class Apply(_Move):
    """w = w + by u, b = b + bias_by u, within their limits; before a move by > 0, both are brought as far
    within them."""

    name = "perturb.apply"
    loop = Loop(_apply, LIMITS, _tables)
    reads = ("step",)
    updates = ("w", "b")
    operands = takes(step="uint32 [1]", w="int8|int16 [rows, columns]", b="int32 [rows]")
    attributes = within(MOVES, seed=WORD, tensor=WORD)

    def integer(self, t: Arrays, a: Attrs) -> None:
        for i in range(len(t["w"])):
            u, v = self.directions(t, a, i)
            t["w"][i] = moved(t["w"][i], u, a["by"], a["lo"], a["hi"])
            t["b"][i] = moved(t["b"][i], v, a["bias_by"], a["bias_lo"], a["bias_hi"])

    def real(self, t: Arrays, a: Attrs) -> None:
        for i in range(len(t["w"])):
            u, v = self.directions(t, a, i)
            t["w"][i] += a["times"] * a["epsilon"] * u
            t["b"][i] += a["times"] * a["epsilon"] * v

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        by, bias_by = (int(a["times"]) * n for n in _reach(f, a["epsilon"]))
        own = {"seed": int(a["seed"]), "tensor": int(a["tensor"])}
        return own | {"by": by, "bias_by": bias_by} | self._limits(f)

    def case(self, rng: np.random.Generator) -> Case:
        arrays, attrs, limits = self.drawn(rng)
        times = int(rng.choice([1, -2]))
        attrs |= {name: times * attrs[name] for name in ("by", "bias_by")}
        return Case(arrays, attrs, limits)


class Settle(_Move):
    """w = w + by u - round(d u / 2^shift), held |by| within its limits, b likewise: a move undone, and a
    change along it. `saturated` grows by the number of values that were held.

    In real numbers the change is gain epsilon^power d u.
    """

    name = "perturb.settle"
    loop = Loop(_settle, {**LIMITS, "shifts": ("shift", "bias_shift")}, _tables)
    reads = ("step", "d")
    updates = ("w", "b", "saturated")
    operands = takes(
        step="uint32 [1]",
        d="int16 [1]",
        w="int8|int16 [rows, columns]",
        b="int32 [rows]",
        saturated="uint32 [1]",
    )
    attributes = within(
        MOVES,
        ROUNDED,
        turn=WORD,
        shift=(LEAST_SHIFT, MAX_SHIFT),
        bias_shift=(LEAST_BIAS_SHIFT, MAX_SHIFT),
    )

    def misfit(self, t: Tensors, a: Attrs) -> str:
        return super().misfit(t, a) or beyond(t["saturated"], *WORD)

    def _rounding(self, t: Arrays, a: Attrs, device: int) -> numeric.Rounding:
        m, n = t["w"].shape[1:]
        step = int(t["step"][device, 0])
        return numeric.Rounding(a["rounding"], a["seed"], step, a["turn"], m, n + n % 2 + 1)

    def integer(self, t: Arrays, a: Attrs) -> None:
        n = t["w"].shape[2]
        for i in range(len(t["w"])):
            (u, v), rounding = self.directions(t, a, i), self._rounding(t, a, i)
            slope, rows = np.int32(t["d"][i, 0]), np.arange(len(u))
            change = rounding(numeric.int32(slope * u), a["shift"], rows, slice(0, n))
            total = numeric.int32(within_room(slope, a["bias_shift"]) * v)
            bias_change = rounding(total, a["bias_shift"], rows, n + n % 2)
            for role, at, by, less in (("w", u, "by", change), ("b", v, "bias_by", bias_change)):
                lo, hi = (a[f"{'bias_' * (role == 'b')}{end}"] for end in ("lo", "hi"))
                to = back(t[role][i], at, a[by], less)
                held = numeric.saturate(to, lo + abs(a[by]), hi - abs(a[by]))
                t["saturated"][i] += np.uint32(np.count_nonzero(held != to))
                t[role][i] = held

    def real(self, t: Arrays, a: Attrs) -> None:
        gain = a["gain"] * a["epsilon"] ** a["power"]
        for i in range(len(t["w"])):
            u, v = self.directions(t, a, i)
            by = a["times"] * a["epsilon"] - gain * t["d"][i, 0]
            t["w"][i] += by * u
            t["b"][i] += by * v

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        by, bias_by = _reach(f, a["epsilon"])
        step = a["gain"] * (by * f["w"].meaning.step) ** int(a["power"])  # what a slope of 1 changes
        shift = f["d"].frac - round(math.log2(step / f["w"].meaning.step))
        bias_shift = shift - round(math.log2(bias_by / by))
        self._refuse(shift, max(-f["d"].lo, f["d"].hi), int(a["rounding"]), where)
        if not LEAST_BIAS_SHIFT <= bias_shift <= MAX_SHIFT:
            possible = f"{LEAST_BIAS_SHIFT} to {MAX_SHIFT} are possible"
            what = f"the bias's change needs a shift of {bias_shift}, {possible}"
            raise CompileError(where, what, f"scale the inputs {'down' if bias_shift > 0 else 'up'}")
        own = {key: int(a[key]) for key in ("seed", "tensor", "rounding", "turn")}
        own |= {"shift": shift, "bias_shift": bias_shift}
        times = int(a["times"])
        return own | {"by": times * by, "bias_by": times * bias_by} | self._limits(f)

    @staticmethod
    def _refuse(shift: int, top: int, rounding: int, where: str) -> None:
        """Raises CompileError where no slope could change a weight, or the least one changes too much."""
        if shift > MAX_SHIFT or numeric.Rounding.least(rounding, max(shift, 0)) > top:
            what = f"the rate can change nothing: the largest slope, {top}, is shifted right by {shift}"
            raise CompileError(
                where, what, 'take a larger rate, weights = "int16", or rounding = "stochastic"'
            )
        if shift < LEAST_SHIFT:
            what = f"the rate is too large: the least slope is shifted left by {-shift}"
            raise CompileError(where, what, f"take one that is 2^{LEAST_SHIFT - shift} times smaller")

    def variant(self, kernel_set: str, t: Mapping[str, PlanTensor], a: Attrs) -> Variant:
        return Variant("settle", numbers={"bias_top": ROOM >> max(-a["bias_shift"], 0)})

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        sums = []
        for what, role, by, shift in (("weight", "w", "by", "shift"), ("bias", "b", "bias_by", "bias_shift")):
            top = k["d"].mag << max(-a[shift], 0)
            top = min(top, ROOM) if role == "b" else top
            far = k[role].mag + abs(a[by]) + top + 1
            sums.append(Accumulator(f"slope of a {what}", -top, top + (1 << max(a[shift], 0))))
            sums.append(Accumulator(f"{what} and its change", -far, far))
        return sums, {}

    def case(self, rng: np.random.Generator) -> Case:
        arrays, attrs, limits = self.drawn(rng)
        times = int(rng.choice([1, -1]))
        attrs |= {name: times * attrs[name] for name in ("by", "bias_by")}
        attrs |= {"rounding": int(rng.integers(3)), "turn": int(rng.integers(64))}
        attrs |= {"shift": int(rng.integers(-3, 20)), "bias_shift": int(rng.integers(-29, 20))}
        d = int(rng.choice([0, -1, 1, int(rng.integers(-(2**14), 2**14))]))
        arrays |= {"d": np.array([d], np.int16), "saturated": np.zeros(1, np.uint32)}
        return Case(arrays, attrs, limits)
