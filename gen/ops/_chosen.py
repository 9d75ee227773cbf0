"""Signals that only one place of each window of a pooling hears, read as they are in front of it.

Where windows do not overlap, maxpool2d.feedback gives a signal for each place of the map, all but one a
window zero. A convolution that reads these may read what they are made of: d for each window and filter, and
`at`, which place of the window it is for. The map's signals are then never stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir.program import Step
from . import Arrays, Attrs
from . import _packed as bits
from ._contract import Tensors, within
from ._loops import Cells, Number, helper

ATTRIBUTES = within(pool_h=(1, bits.MOST), pool_w=(1, bits.MOST))
"""Of a step that has `at`: the windows, which lie side by side in the map of its outputs."""
POOLED = {"pooling": tuple(ATTRIBUTES)}
"""Of a loop that calls `map_signals`: the attributes as one tuple."""


def sizes(a: Attrs) -> dict[str, int]:
    """Sizes of `d` and of `at`, where a step has it."""
    if "pool_h" not in a or a["pool_h"] * a["pool_w"] > bits.MOST:
        return {}
    count = (a["out_height"] // a["pool_h"]) * (a["out_width"] // a["pool_w"]) * a["filters"]
    return {"outputs": count, "chosen": bits.size(count, bits.width(a["pool_h"] * a["pool_w"]))}


def misfit(t: Tensors, a: Attrs) -> str:
    """Whether a step has one of the operand and its attributes without the other; "" if not."""
    if any((name in a) != ("at" in t) for name in ATTRIBUTES):
        return "it takes operand at and the attributes of a pooling together"
    if "at" in t and not sizes(a).get("outputs"):
        return f"its pooling of {a['pool_h']} x {a['pool_w']} has too many places, or leaves nothing"
    return ""


def read(step: Step, made: Step) -> Step | None:
    """`step` on what the signal d that it reads is `made` of; None where it is no such signal."""
    a, own = made.attrs, step.attrs
    if "at" not in made.args or "at" in step.args or "pool_h" in a:
        return None
    alike = (
        all(own[f"out_{axis}"] == a[axis] for axis in ("height", "width")) and own["filters"] == a["channels"]
    )
    apart = all(a[f"kernel_{axis}"] == a[f"stride_{axis}"] for axis in "hw")
    if not (alike and apart):
        return None
    args = {**step.args, "d": made.args["d"], "at": made.args["at"]}
    pooling = {"pool_h": a["kernel_h"], "pool_w": a["kernel_w"]}
    return Step(step.kernel, step.node, args, dict(sorted({**own, **pooling}.items())))


def signals(t: Arrays, a: Attrs) -> NDArray[Any]:
    """The signals [D, outputs] of the whole map."""
    d = t["d"]
    if "at" not in t:
        return d
    high, wide, filters = (int(a[name]) for name in ("out_height", "out_width", "filters"))
    down, across = int(a["pool_h"]), int(a["pool_w"])
    rows, columns = high // down, wide // across
    at = bits.unpacked(t["at"], d.shape[1], bits.width(down * across)).reshape(-1, rows, columns, filters)
    d = d.reshape(-1, rows, columns, filters)
    out = np.zeros((len(d), high, wide, filters), d.dtype)
    for place in range(down * across):
        there = out[:, place // across : rows * down : down, place % across : columns * across : across]
        there[...] = np.where(at == place, d, d.dtype.type(0))
    return out.reshape(len(d), -1)


@helper
def map_signals(d: Cells, at: Cells, window: Number, filters: Number, pooling: Number) -> Cells:
    """As `signals`, of one device."""
    if len(at) == 0:
        return d
    out_h, out_w, (down, across), each = window[3], window[4], pooling, 1
    while 1 << each < down * across:
        each *= 2
    columns, out = out_w // across, np.zeros(out_h * out_w * filters, np.int16)
    for n in range(len(d)):
        place = bits.get_packed(at, n, each)
        if place < down * across:
            oy = n // filters // columns * down + place // across
            ox = n // filters % columns * across + place % across
            out[(oy * out_w + ox) * filters + n % filters] = d[n]
    return out


def random(
    rng: np.random.Generator, arrays: Arrays, a: Mapping[str, int]
) -> tuple[dict[str, NDArray[Any]], dict[str, int]]:
    """For tests: operands and attributes of a step as in front of a random pooling."""
    pooling = {
        f"pool_{axis}": int(rng.integers(1, min(a[f"out_{name}"], 4) + 1))
        for axis, name in (("h", "height"), ("w", "width"))
    }
    made = sizes({**a, **pooling})
    d = arrays["d"][: made["outputs"]]
    at = rng.integers(0, 256, made["chosen"]).astype(np.uint8)
    return {**arrays, "d": d, "at": at}, {**a, **pooling}
