"""A teaching signal that is added to another one as it is made, as accumulate.add would do it afterwards.

A tensor with two readers hears from both. Where the second signal is made by a kernel with the optional
operand `onto`, that is the first one, and may be the same memory as the sum: the second is never stored.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .. import numeric
from ..ir.program import Step
from . import Accumulator, Arrays, Attrs, Known
from ._contract import INT16, Tensors, within
from ._loops import Cells, Number, helper
from .accumulate import MAX_SHIFT

ATTRIBUTES = within(onto_shift=(0, MAX_SHIFT), sum_shift=(0, MAX_SHIFT), sum_lo=INT16, sum_hi=INT16)
"""Of a step that has `onto`: the shifts of both signals, and the limits of their sum."""


def added(step: Step, total: Step) -> Step | None:
    """The step that makes the signal of `step` and adds it as `total` does; None where `total` does not."""
    signal = step.args["g"]
    sides = {role: total.args[role] for role in ("left", "right") if role in total.args}
    if total.kernel != "accumulate.add" or "onto" in step.args or list(sides.values()).count(signal) != 1:
        return None
    own = "left" if sides["left"] == signal else "right"
    other = "right" if own == "left" else "left"
    args = {**step.args, "onto": sides[other], "g": total.args["g"]}
    attrs = {
        "onto_shift": total.attrs[f"{other}_shift"],
        "sum_shift": total.attrs[f"{own}_shift"],
        "sum_lo": total.attrs["lo"],
        "sum_hi": total.attrs["hi"],
    }
    return Step(step.kernel, step.node, args, dict(sorted({**step.attrs, **attrs}.items())))


def misfit(t: Tensors, a: Attrs) -> str:
    """Whether a step has one of the operand and its attributes without the other; "" if not."""
    if any((name in a) != ("onto" in t) for name in ATTRIBUTES):
        return "it takes operand onto and the attributes of a sum together"
    return "its sum is held to nothing" if "onto" in t and a["sum_lo"] > a["sum_hi"] else ""


def finish(signal: numeric.Int, t: Arrays, a: Attrs) -> numeric.Int:
    """What is written, [D, n], of a signal [D, n] within its own limits."""
    if "onto" not in t:
        return signal
    onto = numeric.shift_round(t["onto"].astype(np.int32), a["onto_shift"])
    return numeric.saturate(onto + numeric.shift_round(signal, a["sum_shift"]), a["sum_lo"], a["sum_hi"])


ADDED = {"added": tuple(ATTRIBUTES)}
"""Of a loop that calls `write_onto`: the attributes as one tuple."""


@helper
def write_onto(
    g: Cells, acc: Cells, shift: Number, lo: Number, hi: Number, onto: Cells, added: Number
) -> None:
    """Sums as a teaching signal, added onto another one: as `finish`, of one device."""
    onto_shift, sum_shift, sum_lo, sum_hi = added
    for i in range(len(g)):
        signal = numeric.saturate(numeric.shift_round(acc[i], shift), lo, hi)
        there = numeric.shift_round(numeric.int32(onto[i]), onto_shift)
        total = numeric.int32(there + numeric.shift_round(numeric.int32(signal), sum_shift))
        g[i] = numeric.saturate(total, sum_lo, sum_hi)


def bounds(k: Mapping[str, Known], a: Attrs) -> tuple[list[Accumulator], int, int]:
    """(sums, lo, hi): what adding needs, and the limits of what is written."""
    if "onto" not in k:
        return [], a["lo"], a["hi"]
    top = k["onto"].mag + max(-a["lo"], a["hi"])
    half = ((1 << a["onto_shift"]) >> 1) + ((1 << a["sum_shift"]) >> 1)
    return [Accumulator("sum of two signals", -top, top + half)], a["sum_lo"], a["sum_hi"]


def random(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Arrays, dict[str, int]]:
    """A random signal to add to, and the attributes."""
    top = int(rng.choice([2**9, 2**15]))
    shifts = {name: int(rng.integers(0, 8)) for name in ("onto_shift", "sum_shift")}
    held = (
        {"sum_lo": -(2**12), "sum_hi": 2**12 - 1}
        if rng.integers(2)
        else {"sum_lo": -(2**15), "sum_hi": 2**15 - 1}
    )
    return {"onto": rng.integers(-top, top, shape).astype(np.int16)}, shifts | held
