"""What the sums of a recurrent cell's gates hear of a signal at its hidden state, in one step of time.

g is the signal of what comes from the inputs; a GRU has another one, gq, for what comes from the hidden
state: its reset gate stands between. Without k, what a state hears from later steps is left out: that is what
makes the signal local in time (gen/rules/dftt.py). With it k is what the cell's own state hears, in the step
before this one: of a GRU what passes its update gate, of an LSTM what passes its forget gate, which is there
already from the step behind (gen/rules/bptt.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from . import Accumulator, Arrays, Attrs, Bounds, Case, Cost, Format, Known
from ._contract import Range, Tensors, takes, within
from ._loops import Cells, Loop, helper
from ._recurrent_loops import CELL_FRAC, GATE_FRAC, STATE_FRAC, UP, argument
from .recurrent import OfSums, real_sigmoid, state_low

ONE = 2**STATE_FRAC
MOST = 2**15 - 1


@helper
def times(a: Any, b: Any) -> Any:
    """The product of a number and one in Q15, as the first one is."""
    return numeric.shift_round(numeric.int32(a * b), 15)


@helper
def signal(v: Any) -> Any:
    """Held within 16 bits."""
    return numeric.saturate(v, -(2**15), 2**15 - 1)


@helper
def held(v: Any, fewer: int) -> Any:
    """Held within 16 bits, less `fewer`."""
    top = 2**15 >> fewer
    return numeric.saturate(v, -top, top - 1)


@helper
def sigmoid_slope(s: Any) -> Any:
    """s (1 - s), in Q15."""
    return times(s, numeric.int32(np.int32(2**15) - s))


@helper
def tanh_slope(n: Any) -> Any:
    """1 - n^2, in Q15."""
    return numeric.int32(np.int32(2**15) - times(n, n))


@helper
def gru_signals(d: Any, z: Any, r: Any, n: Any, h: Any, own: Any, q_up: Any) -> Any:
    """Of z, r and n, and of what n has of the hidden state. own: that, before its shift"""
    kept = numeric.int32(np.int32(2**15) - z)
    of_n = times(d, times(kept, tanh_slope(n)))
    of_z = times(d, times(numeric.int32(h - n), sigmoid_slope(z)))
    reach = numeric.shift_round(numeric.int32(own * sigmoid_slope(r)), 15 - q_up)
    of_r = numeric.shift_round(numeric.int32(signal(of_n) * signal(reach)), 12)
    return of_z, of_r, of_n, times(signal(of_n), r)


@helper
def lstm_signals(d: Any, i: Any, o: Any, f: Any, g: Any, c: Any, k: Any) -> Any:
    """Of i, o, f, g, and of the cell's state before this step, c. k: what its state behind it has heard"""
    fresh = numeric.shift_round(numeric.int32(i * g), 4)
    now = numeric.shift_round(numeric.int32(numeric.int32(f * c) + fresh), 15)
    t = numeric.gate_tanh(numeric.int32(signal(now) << 1))
    of_c = signal(numeric.int32(times(d, times(o, tanh_slope(t))) + k))
    of_f = numeric.shift_round(numeric.int32(of_c * times(c, sigmoid_slope(f))), 11)
    of_i, of_o = times(of_c, times(g, sigmoid_slope(i))), times(d, times(t, sigmoid_slope(o)))
    return of_i, of_o, of_f, times(of_c, times(i, tanh_slope(g))), times(of_c, f)


def _rnn(p: Cells, q: Cells, d: Cells, g: Cells, p_up: int, q_up: int, fewer: int) -> None:
    for i in range(len(d)):
        h = numeric.gate_tanh(argument(p, q, p_up, q_up, i))
        g[i] = held(times(np.int32(d[i]), tanh_slope(h)), fewer)


def _gru(
    p: Cells, q: Cells, h: Cells, d: Cells, g: Cells, gq: Cells, k: Cells, p_up: int, q_up: int, fewer: int
) -> None:
    units = len(d)
    for i in range(units):
        z = numeric.gate_sigmoid(argument(p, q, p_up, q_up, i))
        r = numeric.gate_sigmoid(argument(p, q, p_up, q_up, units + i))
        at = 2 * units + i
        own = numeric.shift_round(numeric.int32(r * np.int32(q[at])), 15 - q_up)
        n = numeric.gate_tanh(numeric.int32(numeric.int32(np.int32(p[at]) << np.int32(p_up)) + own))
        of_z, of_r, of_n, of_own = gru_signals(np.int32(d[i]), z, r, n, np.int32(h[i]), np.int32(q[at]), q_up)
        g[i], g[units + i], g[at] = held(of_z, fewer), held(of_r, fewer), held(of_n, fewer)
        gq[i], gq[units + i], gq[at] = held(of_z, fewer), held(of_r, fewer), held(of_own, fewer)
        if len(k) > 0:
            k[i] = held(times(np.int32(d[i]), z), fewer)


def _lstm(
    p: Cells, q: Cells, h: Cells, d: Cells, k: Cells, g: Cells, p_up: int, q_up: int, fewer: int
) -> None:
    units = len(d)
    for j in range(units):
        i = numeric.gate_sigmoid(argument(p, q, p_up, q_up, j))
        o = numeric.gate_sigmoid(argument(p, q, p_up, q_up, units + j))
        f = numeric.gate_sigmoid(argument(p, q, p_up, q_up, 2 * units + j))
        fresh = numeric.gate_tanh(argument(p, q, p_up, q_up, 3 * units + j))
        heard = np.int32(0)
        if len(k) > 0:
            heard = np.int32(k[j])
        of_i, of_o, of_f, of_g, of_c = lstm_signals(np.int32(d[j]), i, o, f, fresh, np.int32(h[j]), heard)
        g[j], g[units + j] = held(of_i, fewer), held(of_o, fewer)
        g[2 * units + j], g[3 * units + j] = held(of_f, fewer), held(of_g, fewer)
        if len(k) > 0:
            k[j] = held(of_c, fewer)


class _Gates(OfSums):
    """The signals of a step's sums, in the format of d, each held within 16 bits less `fewer`."""

    reads: ClassVar[tuple[str, ...]] = ("p", "q", "h", "d")
    writes: ClassVar[tuple[str, ...]] = ("g",)
    attributes: ClassVar[Mapping[str, Range]] = within(p_up=(0, UP), q_up=(0, UP), fewer=(1, 15))
    spare = ("fewer",)
    operands = takes(
        p="int16 [gates]", q="int16 [gates]", h="int16 [units]", d="int16 [units]", g="int16 [gates]"
    )
    each = "d"

    def implied(self, f: Mapping[str, Format], a: Attrs) -> dict[str, Format]:
        if "d" not in f:
            return {}
        signals = (role for role in self.writes if role not in self.optional)
        return dict.fromkeys(signals, Format("int16", f["d"].frac, -MOST - 1, MOST))

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        fewer = 16 - (f["g"].hi + 1).bit_length()
        return super().lower(f, a, where) | ({"fewer": fewer} if fewer else {})

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        top = (k["p"].mag << a["p_up"]) + (k["q"].mag << a["q_up"])
        product, most = 2**15 * ONE, 2**15 >> a.get("fewer", 0)
        sums = [
            Accumulator("gate's sum", -top, top),
            Accumulator("signal times slope", -product, product + (1 << (STATE_FRAC - 1))),
            *self._inner(k, a),
        ]
        told = [role for role in self.changing if role in k]
        return sums, {role: (-most, most - 1, most * k[role].shape[0]) for role in told}

    def _inner(self, k: Mapping[str, Known], a: Attrs) -> list[Accumulator]:
        return []

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        return Cost(macs=3 * shapes["p"][0])

    def case(self, rng: np.random.Generator) -> Case:
        n, wide, loud = int(rng.integers(1, 20)), 2 ** int(rng.integers(8, 16)), 2 ** int(rng.integers(2, 16))
        arrays: dict[str, NDArray[Any]] = {
            role: rng.integers(-wide, wide, self.gates * n).astype(np.int16) for role in ("p", "q")
        }
        if "h" in self.reads:
            arrays["h"] = rng.integers(-MOST, MOST + 1, n).astype(np.int16)
        arrays["d"] = rng.integers(-loud, loud, n).astype(np.int16)
        arrays |= {role: np.zeros(self.gates * n, np.int16) for role in self.writes if role != "k"}
        limits, attrs = {"h": (-MOST, MOST)} if "h" in arrays else {}, {}
        if rng.integers(2):
            attrs["fewer"] = int(rng.integers(1, 16))
        if self.optional and rng.integers(2):
            top = 2**15 >> attrs.get("fewer", 0)
            arrays["k"] = rng.integers(-top, top, n).astype(np.int16)
            limits["k"] = (-top, top - 1)
        ups = {role: int(rng.integers(UP + 1)) for role in ("p_up", "q_up")}
        return Case(arrays, ups | attrs, limits)


def _put(out: NDArray[Any], parts: Sequence[Any]) -> None:
    """Signals, one array a gate."""
    out[...] = np.concatenate(parts, axis=-1)


class Rnn(_Gates):
    """g = d (1 - tanh(p + q)^2)."""

    name = "gates.rnn"
    loop = Loop(_rnn)
    reads = ("p", "q", "d")
    operands = takes(p="int16 [gates]", q="int16 [gates]", d="int16 [units]", g="int16 [gates]")
    gates = 1

    def integer(self, t: Arrays, a: Attrs) -> None:
        (p,), (q,) = self._parts(t, a)
        slope = tanh_slope(numeric.gate_tanh(p + q))
        t["g"][...] = held(times(t["d"].astype(np.int32), slope), a.get("fewer", 0))

    def real(self, t: Arrays, a: Attrs) -> None:
        t["g"][...] = t["d"] * (1.0 - np.tanh(t["p"] + t["q"]) ** 2)


class Gru(_Gates):
    """g = (d (h - n) z (1 - z), g_n q_n r (1 - r), g_n = d (1 - z) (1 - n^2)), gq the same with r g_n;
    k = d z."""

    name = "gates.gru"
    loop = Loop(_gru)
    writes = ("g", "gq", "k")
    optional = ("k",)
    operands = takes(_Gates.operands, gq="int16 [gates]", k="int16 [units]")
    gates = 3

    def misfit(self, t: Tensors, a: Attrs) -> str:
        return super().misfit(t, a) or state_low(t["h"])

    def integer(self, t: Arrays, a: Attrs) -> None:
        p, q = self._parts(t, a)
        z, r = numeric.gate_sigmoid(p[0] + q[0]), numeric.gate_sigmoid(p[1] + q[1])
        own = np.split(t["q"].astype(np.int32), 3, axis=-1)[2]
        n = numeric.gate_tanh(p[2] + numeric.shift_round(r * own, STATE_FRAC - a["q_up"]))
        d, h = t["d"].astype(np.int32), t["h"].astype(np.int32)
        fewer = a.get("fewer", 0)
        of_z, of_r, of_n, of_own = (held(v, fewer) for v in gru_signals(d, z, r, n, h, own, a["q_up"]))
        _put(t["g"], (of_z, of_r, of_n))
        _put(t["gq"], (of_z, of_r, of_own))
        if "k" in t:
            t["k"][...] = held(times(d, z), fewer)

    def real(self, t: Arrays, a: Attrs) -> None:
        p, q = self._reals(t)
        z, r = real_sigmoid(p[0] + q[0]), real_sigmoid(p[1] + q[1])
        n = np.tanh(p[2] + r * q[2])
        of_z, of_n = t["d"] * (t["h"] - n) * z * (1.0 - z), t["d"] * (1.0 - z) * (1.0 - n * n)
        of_r = of_n * q[2] * r * (1.0 - r)
        _put(t["g"], (of_z, of_r, of_n))
        _put(t["gq"], (of_z, of_r, of_n * r))
        if "k" in t:
            t["k"][...] = t["d"] * z

    def _inner(self, k: Mapping[str, Known], a: Attrs) -> list[Accumulator]:
        far, half = (ONE - 1 + k["h"].mag) * (ONE // 4 + 1), 1 << (STATE_FRAC - 1)
        one = (ONE - 1) * k["q"].mag
        top = (k["p"].mag << a["p_up"]) + (one >> (STATE_FRAC - a["q_up"])) + 1
        return [
            Accumulator("way times slope", -far, far + half),
            Accumulator("reset times sum", -one, one + half),
            Accumulator("sum of the candidate", -top, top),
            Accumulator("signal of the reset gate", -(2**30), 2**30 + (1 << (GATE_FRAC - 1))),
        ]


class Lstm(_Gates):
    """g_c = d o (1 - tanh(c)^2); g = (g_c g i (1 - i), d tanh(c) o (1 - o), g_c c_before f (1 - f),
    g_c i (1 - g^2)); operand h holds c before the step. k is added to g_c, and is f times that then."""

    name = "gates.lstm"
    loop = Loop(_lstm)
    updates = ("k",)
    optional = ("k",)
    operands = takes(_Gates.operands, k="int16 [units]")
    gates = 4

    def integer(self, t: Arrays, a: Attrs) -> None:
        p, q = self._parts(t, a)
        i, o, f = (numeric.gate_sigmoid(p[k] + q[k]) for k in range(3))
        fresh = numeric.gate_tanh(p[3] + q[3])
        d, c = t["d"].astype(np.int32), t["h"].astype(np.int32)
        later = t["k"].astype(np.int32) if "k" in t else np.int32(0)
        *signals, of_c = (held(v, a.get("fewer", 0)) for v in lstm_signals(d, i, o, f, fresh, c, later))
        _put(t["g"], signals)
        if "k" in t:
            t["k"][...] = of_c

    def real(self, t: Arrays, a: Attrs) -> None:
        p, q = self._reals(t)
        i, o, f = (real_sigmoid(p[k] + q[k]) for k in range(3))
        g = np.tanh(p[3] + q[3])
        tanh = np.tanh(f * t["h"] + i * g)
        of_c = t["d"] * o * (1.0 - tanh * tanh) + t.get("k", 0.0)
        of_o, of_f = t["d"] * tanh * o * (1.0 - o), of_c * t["h"] * f * (1.0 - f)
        _put(t["g"], (of_c * g * i * (1.0 - i), of_o, of_f, of_c * i * (1.0 - g * g)))
        if "k" in t:
            t["k"][...] = of_c * f

    def _inner(self, k: Mapping[str, Known], a: Attrs) -> list[Accumulator]:
        one, half = ONE - 1, 1 << (STATE_FRAC - 1)
        far = one * k["h"].mag + (one * one >> (STATE_FRAC - CELL_FRAC)) + 1
        return [
            Accumulator("gate times gate", -one * one, one * one + half),
            Accumulator("cell's state", -far, far + half),
            Accumulator("signal of the forget gate", -(2**28), 2**28 + (1 << (CELL_FRAC - 1))),
        ]
