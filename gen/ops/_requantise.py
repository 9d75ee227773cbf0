"""From the sums of a layer to its output, where a model file brought scales that are no powers of two.

A sum of products (x - x_zero) w stands for multiples of scale_x * scale_w. It becomes the output's integer by
a multiplier of 31 bits and a shift (gen.numeric.multiplier), rounded once or twice, as whoever made the
file's numbers has it. A step of a layer whose scales are powers of two has none of these attributes:

rounds      1 or 2: numeric.scale_once or scale_twice
x_zero, y_zero   the zero points of input and output
multiplier, shift   m and n of all rows; where rows differ they are constants of the step, `m` and `s`
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..errors import CompileError
from ..ir.format import Scaled
from ..ir.graph import Node
from ..ir.plan import PlanTensor
from . import Accumulator, Attrs, Format, Known, Relaid
from ._shifts import requantising

MULTIPLIER_TOP = 2**31 - 1
ONCE, TWICE = 1, 2
EXACT = {ONCE: numeric.scale_once, TWICE: numeric.scale_twice}
FAST = {ONCE: ("scale_once_right", 33), TWICE: ("scale_twice_right", 32)}
"""By rounding: the primitive that is enough where n is at least so much, and takes what it is beyond."""
SCALES = "check the file's scales: quantise the model again"


def scaled(a: Attrs) -> bool:
    """Whether a step (lowered) ends with a multiplier."""
    return "rounds" in a


def pairs(f: Mapping[str, Format], where: str) -> NDArray[np.int64]:
    """m and n of each row, [2, rows], or of all rows, [2, 1].

    The factors are scale_x * scale_w / scale_y in float64. CompileError where a meaning has no scale.
    """
    scales = {}
    for role in ("x", "w", "y"):
        meaning = f[role].meaning
        if not isinstance(meaning, Scaled):
            what = f"its {role} has {meaning}, and others of its tensors a scale and a zero point"
            raise CompileError(where, what, "report this model: an importer is wrong")
        scales[role] = np.array(meaning.scale)
    factors = scales["x"] * scales["w"] / scales["y"]
    found = np.array([numeric.multiplier(float(v)) for v in factors], np.int64).T
    requantising(found[1].tolist(), where, SCALES, 62)
    return found


def scale(fmt: Format, where: str) -> float:
    """The one scale of a tensor; CompileError where its meaning has none."""
    if not isinstance(fmt.meaning, Scaled) or len(fmt.meaning.scale) != 1:
        what = f"one of its tensors has {fmt.meaning}, others a scale and a zero point"
        raise CompileError(where, what, "report this model: an importer is wrong")
    return fmt.meaning.scale[0]


def held_within(given: Format, node: Node) -> dict[str, float]:
    """The attributes of a step whose output a model file holds in integers: how it rounds, and the real
    numbers that the output can hold at least and at most."""
    least, most = given.meaning.real([given.lo, given.hi])
    return {"rounds": int(node.attrs["rounds"]), "least": float(least), "most": float(most)}  # type: ignore[arg-type]


def held(y: NDArray[Any], a: Attrs) -> NDArray[Any]:
    """Real numbers within what the output can hold, where a model file says what that is."""
    return np.clip(y, a["least"], a["most"]) if "least" in a else y


def factor(value: float, prefix: str, where: str) -> dict[str, int]:
    """The attributes `prefix`multiplier and `prefix`shift of a real factor."""
    m, n = numeric.multiplier(value)
    requantising(n, where, SCALES, 62)
    if n < 1:
        raise CompileError(where, f"needs the factor {value:.3g}, 2^30 is the most", SCALES)
    return {f"{prefix}multiplier": m, f"{prefix}shift": n}


def ends(y: Format) -> dict[str, int]:
    """The attributes of an output."""
    return {"y_zero": zero(y), "lo": y.lo, "hi": y.hi}


def zero(fmt: Format) -> int:
    """The zero point of a tensor that has one scale."""
    assert isinstance(fmt.meaning, Scaled)
    return fmt.meaning.zero[0]


def lowered(f: Mapping[str, Format], rounds: int, where: str) -> dict[str, int]:
    """The attributes of a step that ends with a multiplier."""
    out = {
        "rounds": rounds,
        "x_zero": zero(f["x"]),
        "y_zero": zero(f["y"]),
        "lo": f["y"].lo,
        "hi": f["y"].hi,
    }
    found = pairs(f, where)
    if "m" not in f:
        out |= {"multiplier": int(found[0, 0]), "shift": int(found[1, 0])}
    return out


def derived(role: str, f: Mapping[str, Format], where: str) -> tuple[Format, NDArray[np.int64]]:
    """The constants `m` and `s` of a step whose rows differ."""
    m, n = pairs(f, where)
    if role == "m":
        return Format("int32", 0, 0, MULTIPLIER_TOP), m
    return Format("uint8", 0, 0, 62), n


def finish(acc: numeric.Int, multiplier: Any, shift: Any, a: Attrs) -> numeric.Int:
    """Sums as integers of the output."""
    y: numeric.Int = EXACT[a["rounds"]](acc, multiplier, shift) + np.int32(a["y_zero"])
    return numeric.saturate(y, a["lo"], a["hi"])


def sums(k: Mapping[str, Known], a: Attrs) -> list[Accumulator]:
    """Proofs for a step with constant w [rows, n] and b [rows]: its sums, also where the zero point of x is
    taken into the bias, and what the multiplier makes of them."""
    w, b, x = k["w"], k["b"], k["x"]
    assert w.data is not None and b.data is not None
    wide, bias = w.data.astype(np.int64), b.data.astype(np.int64)
    ends = np.stack([wide * (end - a["x_zero"]) for end in (x.lo, x.hi)])
    if "kernel_h" in a:  # a tap beyond the map
        ends = np.concatenate([ends, np.zeros_like(ends[:1])])
    lo, hi = bias + ends.min(axis=0).sum(axis=1), bias + ends.max(axis=0).sum(axis=1)
    plain = np.abs(bias - a["x_zero"] * wide.sum(axis=1)) + np.abs(wide).sum(axis=1) * x.mag
    m, n = (k["m"].data, k["s"].data) if "m" in k else (a["multiplier"], a["shift"])
    top = np.maximum(np.abs(lo), np.abs(hi)).astype(object) * np.asarray(m).astype(object)
    most = max(int(v) >> int(s) for v, s in zip(top, np.broadcast_to(np.asarray(n), top.shape), strict=True))
    return [
        Accumulator("sum", int(lo.min(initial=0)), int(hi.max(initial=0))),
        Accumulator("sum from a bias with the zero point", -int(plain.max()), int(plain.max())),
        Accumulator("scaled sum", -most - 256, most + 256),
    ]


def folded(t: Mapping[str, PlanTensor], a: Attrs) -> dict[str, Relaid]:
    """The bias with the zero point of x taken in: sum (x - zero) w + b = sum x w + (b - zero sum w)."""
    if not a["x_zero"]:
        return {}
    start = t["b"].array().astype(np.int64) - a["x_zero"] * t["w"].array().astype(np.int64).sum(axis=1)
    note = f"bias less {a['x_zero']} times the sum of the row's weights: the zero point of the input"
    return {"b": Relaid("zeroed", start.astype(np.int32), note)}


def printed(t: Mapping[str, PlanTensor], a: Attrs) -> tuple[dict[str, Relaid], dict[str, int]]:
    """How the C of a step ends: constants in another form, and numbers for the macro of
    templates/requantise.j2: `right`, whether the shift to the right beyond the first word is enough, and
    `rest`, the shift of all rows that is left."""
    least = FAST[a["rounds"]][1]
    n = t["s"].array() if "s" in t else np.array([a["shift"]])
    if int(n.min()) < least:
        return {}, {"right": 0, "rest": int(n[0])}
    if "s" not in t:
        return {}, {"right": 1, "rest": int(n[0]) - least}
    note = f"bits that are left to shift behind the first {least}"
    return {"s": Relaid("rest", n.astype(np.uint8) - np.uint8(least), note)}, {"right": 1, "rest": 0}


def literal(a: Attrs, prefix: str) -> dict[str, int]:
    """The numbers of one factor of a step that has several, for the macro `literal`."""
    n, least = a[f"{prefix}shift"], FAST[a["rounds"]][1]
    right = n >= least
    return {f"{prefix}right": int(right), f"{prefix}rest": n - least if right else n}


def random_formats(rng: np.random.Generator, count: int) -> list[Format]:
    """For tests: int8 with any scale, powers of two among them, and any zero point."""
    scales = 2.0 ** rng.uniform(-7, 0, count)
    if not rng.integers(3):  # ties are common
        scales = np.exp2(np.rint(np.log2(scales)))
    zeros = [int(rng.choice([-128, 0, 127, int(rng.integers(-128, 128))])) for _ in range(count)]
    return [
        Format("int8", Scaled((float(np.float32(s)),), (z,)), -128, 127)
        for s, z in zip(scales, zeros, strict=True)
    ]
