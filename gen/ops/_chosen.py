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

from .. import numeric
from ..ir.program import Step
from . import Arrays, Attrs
from . import _packed as bits
from ._contract import INT16, Tensors, within
from ._loops import Cells, Number, helper, put
from ._packed import whole_words
from ._pool_loops import first_maxima, put_signals

ATTRIBUTES = within(pool_h=(1, bits.MOST), pool_w=(1, bits.MOST))
"""Of a step that has `at`: the windows, which lie side by side in the map of its outputs."""
POOLED = {"pooling": tuple(ATTRIBUTES)}
"""Of a loop that calls `map_signals`: the attributes as one tuple."""

CLIPPED = within(clip_lo=INT16, clip_hi=INT16)
"""Of a convolution that pools what it makes, with a clip in between."""
FOLDED = {"pooling": tuple(ATTRIBUTES), "clipping": tuple(CLIPPED)}


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


def fold_misfit(t: Tensors, a: Attrs) -> str:
    """The same of a convolution that pools what it makes (`folded`): it has `row`, and may have `at`."""
    if any((name in a) != ("row" in t) for name in (*ATTRIBUTES, *CLIPPED)) or ("at" in t and "row" not in t):
        return "it takes operand row and the attributes of a pooling and a clip together, and at with these"
    if "row" in t and not (sizes(a).get("outputs") and a["groups"] == 1 and a["clip_lo"] <= a["clip_hi"]):
        return "it pools what no one group of filters makes, or nothing, or holds it to nothing"
    return ""


def absorbed(step: Step, second: Step, row: str) -> Step | None:
    """One step with the bits of a convolution and of the clip, then the max pooling, that alone read it; None
    where they are others. row: the name of what holds the filters of one place."""
    a, own = second.attrs, step.attrs
    if own["groups"] != 1 or "pool_h" in own:
        return None
    if second.kernel == "clip.forward" and "clip_lo" not in own and "mask" not in second.args:
        args, more = {**step.args, "y": second.args["y"]}, {"clip_lo": a["lo"], "clip_hi": a["hi"]}
    elif second.kernel == "maxpool2d.forward" and all(a[f"kernel_{n}"] == a[f"stride_{n}"] for n in "hw"):
        if a["pad_top"] or a["pad_left"] or a["out_height"] * a["kernel_h"] > a["height"]:
            return None
        if a["out_width"] * a["kernel_w"] > a["width"] or a["kernel_h"] * a["kernel_w"] > bits.MOST:
            return None
        args = {**step.args, **{r: n for r, n in second.args.items() if r != "x"}, "row": row}
        more = {"pool_h": a["kernel_h"], "pool_w": a["kernel_w"]}
        more |= {name: own.get(name, INT16[i]) for i, name in enumerate(CLIPPED)}
    else:
        return None
    return Step(step.kernel, step.node, args, dict(sorted({**own, **more}.items())))


def windows_of(y: NDArray[Any], a: Attrs) -> NDArray[Any]:
    """[D, windows, places, filters] of outputs [D, positions * filters]."""
    high, wide, filters = (int(a[name]) for name in ("out_height", "out_width", "filters"))
    down, across = int(a["pool_h"]), int(a["pool_w"])
    rows, columns = high // down, wide // across
    y = y.reshape(len(y), high, wide, filters)[:, : rows * down, : columns * across]
    y = y.reshape(len(y), rows, down, columns, across, filters).transpose(0, 1, 3, 2, 4, 5)
    return y.reshape(len(y), rows * columns, down * across, filters)


def fold(y: NDArray[Any], t: Arrays, a: Attrs) -> None:
    """Writes `y`, `row` and `at` of a convolution whose outputs are y [D, positions * filters]."""
    seen = windows_of(y, a)
    t["row"][...] = seen[:, -1, -1]
    seen = np.clip(seen, a["clip_lo"], a["clip_hi"])
    t["y"][...] = seen.max(axis=2).reshape(t["y"].shape)
    if "at" in t:
        t["at"][...] = bits.packed(seen.argmax(axis=2).reshape(t["y"].shape), bits.width(seen.shape[2]))


@helper
def fold_map(
    whole: Cells, y: Cells, row: Cells, at: Cells, window: Number, filters: Number, pooling: Number,
    clipping: Number,
) -> None:  # fmt: skip
    """As `fold`, of one device; holds `whole` within the clip."""
    pool_w, most = pooling[1], 127 if whole.itemsize == 1 else 32767
    low = whole.dtype.type(numeric.saturate(numeric.int32(clipping[0]), -most - 1, most))
    high = whole.dtype.type(numeric.saturate(numeric.int32(clipping[1]), -most - 1, most))
    columns, rows = window[4] // pool_w, window[3] // pooling[0]
    last = ((rows * pooling[0] - 1) * window[4] + columns * pool_w - 1) * filters
    put(row, whole[last:])
    for i in range(len(whole)):
        whole[i] = min(max(whole[i], low), high)
    first_maxima(whole, y, at, window[4], filters, columns, pooling, pooling)


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
    out_w, n = window[4], window[3] * window[4] * filters
    out = np.zeros(whole_words(n), np.int16)
    put_signals(out, d, at, out_w, filters, out_w // pooling[1], pooling, pooling)
    return out[:n]


def random_fold(
    rng: np.random.Generator, arrays: Arrays, a: Mapping[str, int]
) -> tuple[dict[str, NDArray[Any]], dict[str, int]]:
    """For tests: operands and attributes of a convolution that pools what it makes."""
    y = arrays["y"]
    given, made = random(rng, {**arrays, "d": y}, a)
    given["y"] = given.pop("d")
    given["at"] = np.zeros_like(given["at"])
    given["row"] = np.zeros(a["filters"], y.dtype)
    if rng.integers(2):
        del given["at"]
    return given, made | {
        "clip_lo": int(rng.choice([-(2**15), -10, 0])),
        "clip_hi": int(rng.choice([2**15 - 1, 60])),
    }


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
