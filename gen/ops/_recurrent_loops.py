"""Loop forms of recurrent cells, and the formats of their gates and states."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import numeric
from ._loops import Cells, helper

GATE_FRAC = 12  # of a gate's argument
GATE_TOP = 16  # the largest argument: both curves have ended long before
UP = 14  # bits by which sums are brought to GATE_FRAC at most
STATE_FRAC = 15  # of gates, and of a GRU's state
CELL_FRAC = 11  # of an LSTM's state: within -16 .. 16
HIDDEN_FRAC = 7  # of the hidden state that sums read


def begin(hidden: Cells, cursor: Cells, h: Cells, out: Cells) -> None:
    cursor[0] = 0
    for i in range(len(hidden)):
        hidden[i] = 0
    for i in range(len(h)):
        h[i] = 0
    for i in range(len(out)):
        out[i] = 0


def take(x: Cells, cursor: Cells, y: Cells, steps: int, still: int) -> None:
    at = np.int64(cursor[0])
    for i in range(len(y)):
        y[i] = x[at * len(y) + i]
    if still == 0:
        cursor[0] = 0 if at + 1 == steps else at + 1


def put_row(x: Cells, cursor: Cells, y: Cells, steps: int) -> None:
    following = np.int64(cursor[0])
    at = np.int64(steps - 1 if following == 0 else following - 1)
    for i in range(len(x)):
        y[at * len(x) + i] = x[i]


@helper
def argument(p: Cells, q: Cells, p_up: Any, q_up: Any, at: Any) -> Any:
    """What both sums make of a gate's argument, in Q12."""
    first = numeric.int32(np.int32(p[at]) << np.int32(p_up))
    return numeric.int32(first + numeric.int32(np.int32(q[at]) << np.int32(q_up)))


@helper
def narrowed(v: Any, shift: Any) -> Any:
    """A state as the int8 that the next sums read."""
    return numeric.saturate(numeric.shift_round(v, shift), -128, 127)


def rnn(p: Cells, q: Cells, y: Cells, p_up: int, q_up: int) -> None:
    for i in range(len(y)):
        y[i] = narrowed(numeric.gate_tanh(argument(p, q, p_up, q_up, i)), 8)


def gru(p: Cells, q: Cells, h: Cells, y: Cells, p_up: int, q_up: int) -> None:
    units = len(y)
    for i in range(units):
        z = numeric.gate_sigmoid(argument(p, q, p_up, q_up, i))
        r = numeric.gate_sigmoid(argument(p, q, p_up, q_up, units + i))
        at = 2 * units + i
        own = numeric.shift_round(numeric.int32(r * np.int32(q[at])), 15 - q_up)
        n = numeric.gate_tanh(numeric.int32(numeric.int32(np.int32(p[at]) << np.int32(p_up)) + own))
        far = numeric.int32(z * numeric.int32(np.int32(h[i]) - n))
        state = numeric.int32(n + numeric.shift_round(far, 15))
        h[i] = state
        y[i] = narrowed(state, 8)


def reset(p: Cells, q: Cells, h: Cells, y: Cells, p_up: int, q_up: int) -> None:
    units = len(y)
    for i in range(units):
        r = numeric.gate_sigmoid(argument(p, q, p_up, q_up, units + i))
        y[i] = narrowed(numeric.int32(r * np.int32(h[i])), 23)


def gru_early(p: Cells, q: Cells, k: Cells, h: Cells, y: Cells, p_up: int, q_up: int, k_up: int) -> None:
    units = len(y)
    for i in range(units):
        z = numeric.gate_sigmoid(argument(p, q, p_up, q_up, i))
        own = numeric.int32(np.int32(k[i]) << np.int32(k_up))
        n = numeric.gate_tanh(
            numeric.int32(numeric.int32(np.int32(p[2 * units + i]) << np.int32(p_up)) + own)
        )
        far = numeric.int32(z * numeric.int32(np.int32(h[i]) - n))
        state = numeric.int32(n + numeric.shift_round(far, 15))
        h[i] = state
        y[i] = narrowed(state, 8)


def lstm(p: Cells, q: Cells, h: Cells, y: Cells, p_up: int, q_up: int) -> None:
    units = len(y)
    for k in range(units):
        i = numeric.gate_sigmoid(argument(p, q, p_up, q_up, k))
        o = numeric.gate_sigmoid(argument(p, q, p_up, q_up, units + k))
        f = numeric.gate_sigmoid(argument(p, q, p_up, q_up, 2 * units + k))
        g = numeric.gate_tanh(argument(p, q, p_up, q_up, 3 * units + k))
        fresh = numeric.shift_round(numeric.int32(i * g), 4)
        kept = numeric.int32(numeric.int32(f * np.int32(h[k])) + fresh)
        c = numeric.saturate(numeric.shift_round(kept, 15), -(2**15), 2**15 - 1)
        h[k] = c
        y[k] = narrowed(numeric.int32(o * numeric.gate_tanh(numeric.int32(c << 1))), 23)
