"""What the sums of a recurrent cell's gates hear of a signal at its hidden state, in one step of time.

g is the signal of what comes from the inputs; a GRU has another one, gq, for what comes from the hidden
state: its reset gate stands between. What a state hears from later steps is left out: that is what makes the
signal local in time (gen/rules/dftt.py).
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
def lstm_signals(d: Any, i: Any, o: Any, f: Any, g: Any, c: Any) -> Any:
    """Of i, o, f and g. c: the cell's state before this step"""
    fresh = numeric.shift_round(numeric.int32(i * g), 4)
    now = numeric.shift_round(numeric.int32(numeric.int32(f * c) + fresh), 15)
    t = numeric.gate_tanh(numeric.int32(signal(now) << 1))
    of_c = signal(times(d, times(o, tanh_slope(t))))
    of_f = numeric.shift_round(numeric.int32(of_c * times(c, sigmoid_slope(f))), 11)
    of_i, of_o = times(of_c, times(g, sigmoid_slope(i))), times(d, times(t, sigmoid_slope(o)))
    return of_i, of_o, of_f, times(of_c, times(i, tanh_slope(g)))


def _rnn(p: Cells, q: Cells, d: Cells, g: Cells, p_up: int, q_up: int) -> None:
    for k in range(len(d)):
        h = numeric.gate_tanh(argument(p, q, p_up, q_up, k))
        g[k] = signal(times(np.int32(d[k]), tanh_slope(h)))


def _gru(p: Cells, q: Cells, h: Cells, d: Cells, g: Cells, gq: Cells, p_up: int, q_up: int) -> None:
    units = len(d)
    for k in range(units):
        z = numeric.gate_sigmoid(argument(p, q, p_up, q_up, k))
        r = numeric.gate_sigmoid(argument(p, q, p_up, q_up, units + k))
        at = 2 * units + k
        own = numeric.shift_round(numeric.int32(r * np.int32(q[at])), 15 - q_up)
        n = numeric.gate_tanh(numeric.int32(numeric.int32(np.int32(p[at]) << np.int32(p_up)) + own))
        of_z, of_r, of_n, of_own = gru_signals(np.int32(d[k]), z, r, n, np.int32(h[k]), np.int32(q[at]), q_up)
        g[k], g[units + k], g[at] = signal(of_z), signal(of_r), signal(of_n)
        gq[k], gq[units + k], gq[at] = signal(of_z), signal(of_r), signal(of_own)


def _lstm(p: Cells, q: Cells, h: Cells, d: Cells, g: Cells, p_up: int, q_up: int) -> None:
    units = len(d)
    for k in range(units):
        i = numeric.gate_sigmoid(argument(p, q, p_up, q_up, k))
        o = numeric.gate_sigmoid(argument(p, q, p_up, q_up, units + k))
        f = numeric.gate_sigmoid(argument(p, q, p_up, q_up, 2 * units + k))
        fresh = numeric.gate_tanh(argument(p, q, p_up, q_up, 3 * units + k))
        of_i, of_o, of_f, of_g = lstm_signals(np.int32(d[k]), i, o, f, fresh, np.int32(h[k]))
        g[k], g[units + k] = signal(of_i), signal(of_o)
        g[2 * units + k], g[3 * units + k] = signal(of_f), signal(of_g)


class _Gates(OfSums):
    """The signals of a step's sums, in the format of d, each held within 16 bits."""

    reads: ClassVar[tuple[str, ...]] = ("p", "q", "h", "d")
    writes: ClassVar[tuple[str, ...]] = ("g",)
    attributes: ClassVar[Mapping[str, Range]] = within(p_up=(0, UP), q_up=(0, UP))
    operands = takes(
        p="int16 [gates]", q="int16 [gates]", h="int16 [units]", d="int16 [units]", g="int16 [gates]"
    )
    each = "d"

    def implied(self, f: Mapping[str, Format], a: Attrs) -> dict[str, Format]:
        if "d" not in f:
            return {}
        held = Format("int16", f["d"].frac, -MOST - 1, MOST)
        return dict.fromkeys(self.writes, held)

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        top = (k["p"].mag << a["p_up"]) + (k["q"].mag << a["q_up"])
        product = 2**15 * ONE
        sums = [
            Accumulator("gate's sum", -top, top),
            Accumulator("signal times slope", -product, product + (1 << (STATE_FRAC - 1))),
            *self._inner(k, a),
        ]
        return sums, {role: (-MOST - 1, MOST, (MOST + 1) * k[role].shape[0]) for role in self.writes}

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
        arrays |= {role: np.zeros(self.gates * n, np.int16) for role in self.writes}
        limits = {"h": (-MOST, MOST)} if "h" in arrays else {}
        return Case(arrays, {"p_up": int(rng.integers(UP + 1)), "q_up": int(rng.integers(UP + 1))}, limits)


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
        t["g"][...] = signal(times(t["d"].astype(np.int32), tanh_slope(numeric.gate_tanh(p + q))))

    def real(self, t: Arrays, a: Attrs) -> None:
        t["g"][...] = t["d"] * (1.0 - np.tanh(t["p"] + t["q"]) ** 2)


class Gru(_Gates):
    """g = (d (h - n) z (1 - z), g_n q_n r (1 - r), g_n = d (1 - z) (1 - n^2)), gq the same with r g_n."""

    name = "gates.gru"
    loop = Loop(_gru)
    writes = ("g", "gq")
    operands = takes(_Gates.operands, gq="int16 [gates]")
    gates = 3

    def misfit(self, t: Tensors, a: Attrs) -> str:
        return super().misfit(t, a) or state_low(t["h"])

    def integer(self, t: Arrays, a: Attrs) -> None:
        p, q = self._parts(t, a)
        z, r = numeric.gate_sigmoid(p[0] + q[0]), numeric.gate_sigmoid(p[1] + q[1])
        own = np.split(t["q"].astype(np.int32), 3, axis=-1)[2]
        n = numeric.gate_tanh(p[2] + numeric.shift_round(r * own, STATE_FRAC - a["q_up"]))
        d, h = t["d"].astype(np.int32), t["h"].astype(np.int32)
        of_z, of_r, of_n, of_own = map(signal, gru_signals(d, z, r, n, h, own, a["q_up"]))
        _put(t["g"], (of_z, of_r, of_n))
        _put(t["gq"], (of_z, of_r, of_own))

    def real(self, t: Arrays, a: Attrs) -> None:
        p, q = self._reals(t)
        z, r = real_sigmoid(p[0] + q[0]), real_sigmoid(p[1] + q[1])
        n = np.tanh(p[2] + r * q[2])
        of_z, of_n = t["d"] * (t["h"] - n) * z * (1.0 - z), t["d"] * (1.0 - z) * (1.0 - n * n)
        of_r = of_n * q[2] * r * (1.0 - r)
        _put(t["g"], (of_z, of_r, of_n))
        _put(t["gq"], (of_z, of_r, of_n * r))

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
    g_c i (1 - g^2)); operand h holds c before the step."""

    name = "gates.lstm"
    loop = Loop(_lstm)
    gates = 4

    def integer(self, t: Arrays, a: Attrs) -> None:
        p, q = self._parts(t, a)
        i, o, f = (numeric.gate_sigmoid(p[k] + q[k]) for k in range(3))
        fresh = numeric.gate_tanh(p[3] + q[3])
        d, c = t["d"].astype(np.int32), t["h"].astype(np.int32)
        _put(t["g"], [signal(v) for v in lstm_signals(d, i, o, f, fresh, c)])

    def real(self, t: Arrays, a: Attrs) -> None:
        p, q = self._reals(t)
        i, o, f = (real_sigmoid(p[k] + q[k]) for k in range(3))
        g = np.tanh(p[3] + q[3])
        tanh = np.tanh(f * t["h"] + i * g)
        of_c = t["d"] * o * (1.0 - tanh * tanh)
        of_o, of_f = t["d"] * tanh * o * (1.0 - o), of_c * t["h"] * f * (1.0 - f)
        _put(t["g"], (of_c * g * i * (1.0 - i), of_o, of_f, of_c * i * (1.0 - g * g)))

    def _inner(self, k: Mapping[str, Known], a: Attrs) -> list[Accumulator]:
        one, half = ONE - 1, 1 << (STATE_FRAC - 1)
        far = one * k["h"].mag + (one * one >> (STATE_FRAC - CELL_FRAC)) + 1
        return [
            Accumulator("gate times gate", -one * one, one * one + half),
            Accumulator("cell's state", -far, far + half),
            Accumulator("signal of the forget gate", -(2**28), 2**28 + (1 << (CELL_FRAC - 1))),
        ]
