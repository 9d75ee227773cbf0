"""Loop forms: what a kernel does to one device, as the compiled engine runs it (host/engine).

Beside its array form, `Kernel.integer`, a kernel may have a `Loop`: a function over flat arrays in the subset
of Python that numba compiles. It combines the primitives of gen.numeric, whose text is the same for both, and
says what the array form says, byte for byte: tests/host/engine holds them together. Nothing here needs numba.

In compiled code a sum of int32 is int64. What must stay a word of 32 bits, so that it fits the lanes of a
vector, is cast (`numeric.int32`) where it is made.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..ir.plan import PlanTensor
from ._window import Window

Cells = Any
"""An operand: its stored elements, [n] or, with rows, [rows, row]. One that is missing is empty."""
Number = Any
"""An attribute, or several as a tuple. One that is missing is 0."""
Takes = Callable[[Mapping[str, PlanTensor], Mapping[str, Any]], bool]
Function = TypeVar("Function", bound=Callable[..., Any])
Tables = Callable[[Mapping[str, PlanTensor], Mapping[str, Any]], Mapping[str, NDArray[Any]]]

WINDOWED = {"window": tuple(Window.__dataclass_fields__)}
"""Of a loop that takes the geometry of its windows as one tuple."""
HELPERS: list[Callable[..., Any]] = []
"""Functions that loops call, beside those of gen.numeric."""


@dataclass(frozen=True, slots=True)
class Loop:
    """The loop form of a kernel.

    body:   its parameters are named as roles, attributes, `groups` or `tables`
    groups: several attributes as one tuple
    tables: constants that a step needs, made once
    takes:  whether it knows a step on these operands, with these attributes
    otherwise: the form of steps that it does not know
    """

    body: Callable[..., None]
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tables: Tables = lambda t, a: {}
    takes: Takes = lambda t, a: True
    otherwise: Loop | None = None

    def form(self, t: Mapping[str, PlanTensor], a: Mapping[str, Any]) -> tuple[str, Loop] | None:
        """The form that a step has, and how one gets there from this one; None if there is none.

        An operand that a body does not name is a constant, which `tables` may hold, or the form is another's.
        """
        named = inspect.signature(self.body).parameters
        if all(role in named or t[role].space == "const" for role in t) and self.takes(t, a):
            return "", self
        found = self.otherwise.form(t, a) if self.otherwise else None
        return (f".otherwise{found[0]}", found[1]) if found else None


def helper(function: Function) -> Function:
    """Marks a function that loops call."""
    HELPERS.append(function)
    return function


def narrow(t: Mapping[str, PlanTensor], a: Mapping[str, Any]) -> bool:
    """Whether a layer with weights has int8 inputs and sums of 32 bits."""
    return t["x"].dtype == "int8" and a.get("rounds", 0) <= 2


@helper
def less_zero(x: Cells, zero: Any, n: Any) -> Any:
    """int8 values less their zero point, as int16, and zeros up to n of them."""
    seen = np.zeros(n, np.int16)
    for j in range(len(x)):
        seen[j] = np.int32(x[j]) - np.int32(zero)
    return seen


@helper
def dot(w: Cells, seen: Cells) -> Any:
    """The int32 sum of w[j] * seen[j], both of 16 bits at most."""
    acc = np.int32(0)
    for j in range(len(seen)):
        acc = np.int32(acc + np.int32(w[j]) * np.int32(seen[j]))
    return acc


LANES = 8
BLOCK = 32
"""Elements that one turn of a loop takes in lanes. What is left of a row behind whole blocks goes one by one,
and may be as much work: where a row is scratch, it is filled up."""


def windows(
    out: Cells, first: Any, apart: Any, start: Cells, w: Cells, x: Cells, at: Any, step: Any, offsets: Cells,
    every: Any, count: Any,
) -> None:  # fmt: skip
    """out[first + c apart + f] = start[f] + the sum over r, p and i < 2 of
    x[at + c step + offsets[r] + p every + i] * w[r, p, 2 f + i], as int32, for c < count.

    out: int32, flat, apart >= n; start: int32 [n], n a multiple of LANES; w: int16 [runs, pairs, 2 n or
    more]; x: int16, flat; offsets: int64 [runs]. The engine has instructions for it (host/engine/vector.py).
    """
    for c in range(count):
        place = first + c * apart
        out[place : place + len(start)] = start
        _add_window(out, place, len(start), w, x, at + c * step, offsets, every)


def windows_onto(
    out: Cells, first: Any, apart: Any, n: Any, w: Cells, x: Cells, at: Any, step: Any, offsets: Cells,
    every: Any, count: Any,
) -> None:  # fmt: skip
    """As `windows`, but added to what `out` holds, one c after the other: places may overlap."""
    for c in range(count):
        _add_window(out, first + c * apart, n, w, x, at + c * step, offsets, every)


@helper
def _add_window(
    out: Cells, place: Any, n: Any, w: Cells, x: Cells, at: Any, offsets: Cells, every: Any
) -> None:
    for r in range(len(w)):
        for p in range(w.shape[1]):
            k = at + offsets[r] + p * every
            a, b = np.int32(x[k]), np.int32(x[k + 1])
            for f in range(n):
                both = a * np.int32(w[r, p, 2 * f]) + b * np.int32(w[r, p, 2 * f + 1])
                out[place + f] = np.int32(out[place + f] + both)


@helper
def pair(low: Any, high: Any) -> Any:
    """Two int16 as the word that they are in memory, the first one in its lower half."""
    return np.int32((np.int32(low) & np.int32(0xFFFF)) | (np.int32(high) << np.int32(16)))


@helper
def put(to: Cells, given: Cells) -> None:
    """to = given, as many as `to` has: a loop that a compiler sees through, as it does not through slices."""
    for i in range(len(to)):
        to[i] = given[i]


@helper
def fill_map(seen: Cells, x: Cells, window: Any, across: Any, zero: Any) -> None:
    """A map less its zero point behind its padding, rows of `across` elements."""
    height, width, channels, _, _, _, _, _, _, _, _, top, left, _ = window
    rows, row = height, width * channels
    if row == across:
        rows, row = 1, height * row
    for iy in range(rows):
        there = seen[(iy + top) * across + left * channels :]
        given = x[iy * row :]
        for i in range(row):
            there[i] = np.int32(given[i]) - zero


@helper
def tiled(row: Cells, times: Any) -> Any:
    """A row so many times in a row, as int32."""
    n = len(row)
    out = np.empty(n * times, np.int32)
    for k in range(times if n else 0):
        put(out[k * n : (k + 1) * n], row)
    return out


@helper
def lanes(n: Any) -> Any:
    """n, or the next multiple of LANES."""
    return -(-n // LANES) * LANES


@helper
def end_row(
    y: Cells, acc: Cells, s: Cells, m: Cells, shift: Any, multiplier: Any, lo: Any, hi: Any, rounds: Any,
    y_zero: Any,
) -> None:  # fmt: skip
    """Sums as integers of the output: by a shift, or where `rounds` is given by a multiplier and a shift.

    s, m: shifts and multipliers of the sums, one each; empty where they have the same
    """
    zero = np.int32(y_zero)
    if rounds == 0 and len(s) == 0:
        for i in range(len(y)):
            y[i] = numeric.saturate(numeric.int32(numeric.shift_round(acc[i], shift) + zero), lo, hi)
    elif rounds == 0:
        for i in range(len(y)):
            y[i] = numeric.saturate(numeric.int32(numeric.shift_round(acc[i], s[i]) + zero), lo, hi)
    else:
        for i in range(len(y)):
            n: Any = np.int64(s[i]) if len(s) else shift
            factor: Any = np.int64(m[i]) if len(m) else multiplier
            if rounds == 1:
                v = numeric.scale_once(acc[i], factor, n)
            else:
                v = numeric.scale_twice(acc[i], factor, n)
            y[i] = numeric.saturate(numeric.int32(v + zero), lo, hi)


@helper
def stream_key(seed: Any, step: Any, tensor: Any) -> Any:
    """What the keys of a tensor's rows at one step come from."""
    return numeric.mix(numeric.mix(numeric.uint32(seed), numeric.uint32(step)), numeric.uint32(tensor))


@helper
def row_words(words: Cells, base: Any, row: Any, mul: Cells, add: Cells) -> None:
    """The random words of a row, as many as `words` has."""
    key = numeric.hash32(numeric.uint32(base + numeric.uint32(row)))
    for k in range(len(words)):
        words[k] = np.uint32(mul[k] * key + add[k])


@helper
def round_row(p: Cells, shift: Any, mode: Any, lane: Cells) -> None:
    """p / 2^shift by the rounding `mode`, in place. lane: random lanes of 16 bits where that is stochastic"""
    if mode == numeric.STOCHASTIC:
        for j in range(len(p)):
            p[j] = numeric.round_stochastic(p[j], shift, lane[j])
    elif mode == numeric.DITHER:
        for j in range(len(p)):
            p[j] = numeric.round_dither(p[j], shift)
    else:
        for j in range(len(p)):
            p[j] = numeric.shift_round(p[j], shift)


@helper
def product_row(p: Cells, factor: Any, seen: Cells, shift: Any, mode: Any, lane: Cells) -> None:
    """p = factor * seen / 2^shift, as `round_row` rounds. seen: as long as p; lane: not shorter, where it is
    needed"""
    by = np.int32(factor)
    if mode == numeric.STOCHASTIC:
        for j in range(len(p)):
            product: Any = np.int32(by * np.int32(seen[j]))
            p[j] = numeric.round_stochastic(product, shift, lane[j])
    else:
        for j in range(len(p)):
            p[j] = np.int32(by * np.int32(seen[j]))
        round_row(p, shift, mode, lane)


@helper
def blocks(n: Any) -> Any:
    """n, or the next multiple of BLOCK."""
    return -(-n // BLOCK) * BLOCK


@helper
def subtract_row(w: Cells, i: Any, p: Cells, n: Any, lo: Any, hi: Any) -> Any:
    """w[i] -= p, n of them, within lo .. hi; how many values met a limit."""
    met, low, high = np.int32(0), np.int32(lo), np.int32(hi)
    for j in range(n):
        v = np.int32(np.int32(w[i, j]) - p[j])
        held = np.int32(min(max(v, low), high))
        met = np.int32(met + np.int32(held != v))
        w[i, j] = held
    return met


@helper
def change_row(
    i: Any, p: Cells, total: Any, w: Cells, b: Cells, twin: Cells, saturated: Cells, rates: Any, limits: Any,
    mode: Any, words: Cells,
) -> None:  # fmt: skip
    """Row i of a layer less its sums, p [inputs of a row] for the weights, `total` for the bias.

    rates: the shifts of both; limits: those of weight and bias
    """
    change_lanes(i, p, total, w, b, twin, saturated, rates, limits, mode, words.view(np.uint16))


@helper
def change_lanes(
    i: Any, p: Cells, total: Any, w: Cells, b: Cells, twin: Cells, saturated: Cells, rates: Any, limits: Any,
    mode: Any, lane: Cells,
) -> None:  # fmt: skip
    """As `change_row`, of words as their lanes: a view that a caller makes once for all rows."""
    round_row(p, rates[0], mode, lane)
    change_rounded(i, p, len(p), total, w, b, twin, saturated, rates, limits, mode, lane)


@helper
def change_rounded(
    i: Any, p: Cells, n: Any, total: Any, w: Cells, b: Cells, twin: Cells, saturated: Cells, rates: Any,
    limits: Any, mode: Any, lane: Cells,
) -> None:  # fmt: skip
    """As `change_lanes`, of n sums for the weights, rounded already: a stored row may be longer, and p."""
    lo, hi, bias_lo, bias_hi = limits
    met = subtract_row(w, i, p, n, lo, hi)
    if len(twin):
        met += subtract_row(twin, i, p, n, lo, hi)
    last: Any = lane[n + n % 2] if mode == numeric.STOCHASTIC else np.uint16(0)
    change_bias(i, total, b, saturated, rates[1], (bias_lo, bias_hi), mode, last, met)


@helper
def change_bias(
    i: Any, total: Any, b: Cells, saturated: Cells, rate: Any, limits: Any, mode: Any, lane: Any, met: Any
) -> None:
    """The bias of row i less `total`, in whose weights `met` met a limit."""
    v = numeric.int32(b[i] - numeric.rounded(mode, total, rate, lane))
    held = numeric.saturate(v, limits[0], limits[1])
    b[i] = held
    saturated[0] = np.uint32(saturated[0] + np.uint32(met + np.int32(held != v)))


@helper
def heard(d: Cells) -> Any:
    """The rows whose signal is not 0: found at once, since which ones they are no processor can guess, and
    a wrong guess a row keeps it from working on the next rows meanwhile."""
    rows = np.empty(len(d), np.int64)
    n: Any = 0
    for i in range(len(d)):
        rows[n] = i
        n += np.int64(d[i] != 0)
    return rows[:n]


@helper
def add_row(acc: Cells, row: Cells, factor: Any) -> None:
    """acc += factor * row, as int32."""
    by = np.int32(factor)
    for j in range(len(acc)):
        acc[j] = np.int32(acc[j] + by * np.int32(row[j]))


@helper
def write_signal(g: Cells, acc: Cells, shift: Any, lo: Any, hi: Any) -> None:
    """Sums as a teaching signal."""
    for i in range(len(g)):
        g[i] = numeric.saturate(numeric.shift_round(acc[i], shift), lo, hi)


RATES = {"rates": ("shift", "bias_shift"), "limits": ("lo", "hi", "bias_lo", "bias_hi")}
"""Of a loop that changes rows."""


def row_tables(t: Mapping[str, PlanTensor], a: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """`mul` and `add`: the words of a row of w and its bias where a step rounds stochastically, else none.
    They are enough for `blocks` of w."""
    columns, stochastic = t["w"].shape[1], a["rounding"] == numeric.STOCHASTIC
    words = max((columns + 1) // 2 + 1, blocks(columns) // 2)
    mul, add = numeric.lcg_coefficients(words if stochastic else 0)
    return {"mul": mul, "add": add}
