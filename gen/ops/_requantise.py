"""From the sums of a layer to its output, where a model file brought scales that are no powers of two.

A sum of products (x - x_zero) w stands for multiples of scale_x * scale_w. It becomes the output's integer by
a multiplier of 31 bits and a shift (gen.numeric.multiplier, or where it rounds once gen/ops/_nearest.py),
rounded once or twice, as whoever made the file's numbers has it. A step of a layer whose scales are powers of
two has none of these attributes:

rounds      1 or 2: numeric.scale_once or scale_twice; 3 or 4: gen/ops/_long_sums.py
x_zero, y_zero   the zero points of input and output
multiplier, shift   m and n of all rows; where rows differ they are constants of the step, `m` and `s`

Of these only zero points may stand at a step that shifts: gen/ops/_zeros.py.

The weight of a layer that learns has a power of two for its scale, and so have scores; input and output stay
in the file's numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..errors import CompileError
from ..ir.format import PowerOfTwo, Scaled
from ..ir.graph import Node
from ..ir.plan import PlanTensor
from . import Accumulator, Attrs, Format, Known, Relaid
from ._contract import BETWEEN, INT8, INT16, Tensors, crossed, either, within
from ._long_sums import FINE, LONG, MULTIPLIERS, NARROW, TOPS, long_misfit
from ._nearest import nearest_multiplier
from ._shifts import requantising

MULTIPLIER_TOP = 2**31 - 1
ONCE, TWICE = 1, 2
EXACT = {ONCE: numeric.scale_once, TWICE: numeric.scale_twice, NARROW: numeric.scale_half_up}
FAST = {ONCE: ("scale_once_right", 33), TWICE: ("scale_twice_right", 32)}
"""By rounding: the primitive that is enough where n is at least so much, and takes what it is beyond."""
SCALES = "check the file's scales: quantise the model again"


ATTRIBUTES = within(
    BETWEEN,
    shift=(0, 62),
    rounds=(ONCE, TWICE),
    x_zero=INT8,
    y_zero=INT16,
    multiplier=(0, MULTIPLIER_TOP),
)
WEIGHTED = within(ATTRIBUTES, rounds=(ONCE, FINE), shift=(0, 96))
"""Of layers with weights."""
ZEROS = ("x_zero", "y_zero")
OWN = ("rounds", *ZEROS, "multiplier")
"""Those that a step that shifts has none of, but for zero points."""


def form_misfit(a: Attrs, own: tuple[str, ...], most: int) -> str:
    """Why a step is neither one of numbers of ours nor one of a file's; "" if it is.

    own: the attributes that a file's alone has, all of them; most: the largest shift of ours
    """
    wrong = [name for name in own if (name in a) != ("rounds" in a)]
    if wrong:
        return f"attribute {wrong[0]} {'is missing' if 'rounds' in a else 'is there, and rounds is not'}"
    if "rounds" in a:
        return crossed(a) or ("" if a["shift"] > 0 else "its shift is none")
    return beside_zero(a) or ("" if a["shift"] <= most else f"shift is {a['shift']}, beyond {most}")


def misfit(t: Tensors, a: Attrs) -> str:
    """What is wrong with a step that ends with a multiplier; "" if nothing is."""
    missing = [name for name in ZEROS if name not in a]
    if missing:
        return f"attribute {missing[0]} is missing"
    moved = [role for role in ("m", "s") if role in t and t[role].space != "const"]
    if moved:
        return f"operand {moved[0]}, {t[moved[0]].name}, is no constant"
    if ("m" in t) != ("s" in t):
        return "it takes operands m and s, or neither"
    least = int(t["s"].array().min()) if "s" in t and t["s"].data is not None else a.get("shift", 1)
    if least < 1 or ("m" in t and t["m"].lo < 0):
        return "its multiplier or its shift is none"
    if a["rounds"] in LONG or "r" in t:
        return long_misfit(t, a) or either("multiplier", "m", t, a) or either("shift", "s", t, a)
    return crossed(a) or either("multiplier", "m", t, a) or either("shift", "s", t, a) or too_far(t, a, 62)


def beside_zero(a: Attrs) -> str:
    """Whether 0 lies within the limits, as it does where scales are powers of two."""
    return "" if a["lo"] <= 0 <= a["hi"] else f"0 does not lie within its limits {a['lo']} to {a['hi']}"


def too_far(t: Tensors, a: Attrs, most: int) -> str:
    """Whether a shift may be larger than `most`."""
    shift, name = (t["s"].hi, t["s"].name) if "s" in t else (a["shift"], "shift")
    return f"{name} may be {shift}, beyond a shift of {most}" if shift > most else ""


def scaled(a: Attrs) -> bool:
    """Whether a step (lowered) ends with a multiplier."""
    return "rounds" in a


def pairs(f: Mapping[str, Format], rounds: int, where: str) -> NDArray[np.int64]:
    """m and n of each row, [2, rows], or of all rows, [2, 1]; of FINE both words of m and n, [3, rows].

    The factors are scale_x * scale_w / scale_y in float64. CompileError where the input has no scale.
    """
    if not isinstance(f["x"].meaning, Scaled):
        what = f"its input has {f['x'].meaning}, and others of its tensors a scale and a zero point"
        raise CompileError(where, what, "report this model: an importer is wrong")
    x, w, y = (_scales(f[role]) for role in ("x", "w", "y"))
    factors = x * w / y
    usual = (lambda v: nearest_multiplier(v)[:2]) if rounds == ONCE else numeric.multiplier
    made, least, most = MULTIPLIERS.get(rounds, (usual, 1, 62))
    found = np.array([made(float(v)) for v in factors], np.int64).T
    requantising((found[-1] - least).tolist(), where, SCALES, most - least)
    return found


def _scales(fmt: Format) -> NDArray[np.float64]:
    """The scale of each row, [rows], or of all, [1]."""
    meaning = fmt.meaning
    return np.array(meaning.scale if isinstance(meaning, Scaled) else [meaning.step])


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
    return {"rounds": node.whole("rounds"), "least": float(least), "most": float(most)}


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
    if isinstance(fmt.meaning, PowerOfTwo):
        return fmt.meaning.zero
    return fmt.meaning.zero[0] if isinstance(fmt.meaning, Scaled) else 0


def reach(lo: int, hi: int, middle: int) -> int:
    """The largest magnitude of lo .. hi less `middle`, a zero point."""
    return max(middle - lo, hi - middle)


def magnitude(x: Format) -> int:
    """The largest magnitude of an input without its zero point, 1 where it is nothing else: a divisor."""
    return max(1, reach(x.lo, x.hi, zero(x))) if isinstance(x.meaning, Scaled) or zero(x) else 128


def centred(x: NDArray[Any], a: Attrs) -> NDArray[Any]:
    """x without its zero point, if it has one."""
    return x - np.int16(a["x_zero"]) if a.get("x_zero") else x


def shares(scale: float) -> float:
    """What share of its rate a weight learns at whose input has this scale; a bias learns at one over it.

    The products of signals and inputs are shifted, so that a change knows the scale to the nearest power of
    two: .71 to 1.41.
    """
    meaning = Scaled((scale,))
    return PowerOfTwo(meaning.nearest).step / scale


def lowered(f: Mapping[str, Format], rounds: int, where: str) -> dict[str, int]:
    """The attributes of a step that ends with a multiplier."""
    out = {
        "rounds": rounds,
        "x_zero": zero(f["x"]),
        "y_zero": zero(f["y"]),
        "lo": f["y"].lo,
        "hi": f["y"].hi,
    }
    found = pairs(f, rounds, where)
    if "m" not in f:
        out |= {"multiplier": int(found[0, 0]), "shift": int(found[-1, 0])}
    return out


def derived(role: str, f: Mapping[str, Format], rounds: int, where: str) -> tuple[Format, NDArray[np.int64]]:
    """The constants `m` and `s` of a step whose rows differ."""
    found = pairs(f, rounds, where)
    most, far = TOPS.get(rounds, (MULTIPLIER_TOP, 62))
    if role == "m":
        return Format("int32", 0, 0, most), found[0]
    if role == "r":
        return Format("uint32", 0, 0, 2**32 - 1), found[1]
    return Format("uint8", 0, 0, far), found[-1]


def summed(a: Attrs) -> type[np.signedinteger[Any]]:
    """The type of a step's sums."""
    return np.int64 if a.get("rounds") in LONG else np.int32


def finish(acc: NDArray[Any], multiplier: Any, shift: Any, a: Attrs) -> numeric.Int:
    """Sums as integers of the output."""
    y: numeric.Int = EXACT[a["rounds"]](acc, multiplier, shift) + np.int32(a["y_zero"])
    return numeric.saturate(y, a["lo"], a["hi"])


def sums(k: Mapping[str, Known], a: Attrs) -> list[Accumulator]:
    """Proofs for a step: its sums, with constant w [rows, n] and b [rows] also where the zero point of x is
    taken into the bias, and what the multiplier makes of them."""
    w, b, x = k["w"], k["b"], k["x"]
    bits = LONG.get(a["rounds"], 32)
    if w.data is None or b.data is None:
        most = w.mag * w.shape[1] * reach(x.lo, x.hi, a["x_zero"]) + b.mag
        return [Accumulator("sum", -most, most, bits), _scaled_sum(np.array([most]), k, a)]
    lo, hi, plain = row_sums(w.data, b.data, x, a)
    return [
        Accumulator("sum", int(lo.min(initial=0)), int(hi.max(initial=0)), bits),
        Accumulator("sum from a bias with the zero point", -int(plain.max()), int(plain.max()), bits),
        _scaled_sum(np.maximum(np.abs(lo), np.abs(hi)), k, a),
    ]


def row_sums(
    w: NDArray[Any], b: NDArray[Any], x: Known, a: Attrs
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """By row: the interval of its sum, and the largest magnitude on the way from a bias with x's zero."""
    wide, bias, zero = w.astype(np.int64), b.astype(np.int64), a.get("x_zero", 0)
    ends = np.stack([wide * (end - zero) for end in (x.lo, x.hi)])
    if "kernel_h" in a:  # a tap beyond the map
        ends = np.concatenate([ends, np.zeros_like(ends[:1])])
    lo, hi = bias + ends.min(axis=0).sum(axis=1), bias + ends.max(axis=0).sum(axis=1)
    start, most = np.abs(bias - zero * wide.sum(axis=1)), np.abs(wide).sum(axis=1)
    if "kernel_h" in a and not scaled(a):  # it may start with the zero points of some of its taps
        start = np.abs(bias) + abs(zero) * most
    return lo, hi, start + most * x.mag


def _scaled_sum(tops: NDArray[np.int64], k: Mapping[str, Known], a: Attrs) -> Accumulator:
    """What the multiplier makes of sums whose largest magnitudes are `tops` [rows], or [1] for all rows."""
    m, n = (k["m"].data, k["s"].data) if "m" in k else (a["multiplier"], a["shift"])
    whole = np.asarray(m).astype(object)
    if "r" in k:
        whole = whole * 2**32 + np.asarray(k["r"].data).astype(object)
    top = tops.astype(object) * whole
    most = max(int(v) >> int(s) for v, s in zip(top, np.broadcast_to(np.asarray(n), top.shape), strict=True))
    return Accumulator("scaled sum", -most - 256, most + 256)


def folded(t: Mapping[str, PlanTensor], a: Attrs) -> dict[str, Relaid]:
    """The bias with the zero point of x taken in: sum (x - zero) w + b = sum x w + (b - zero sum w)."""
    if not a["x_zero"]:
        return {}
    note = f"bias less {a['x_zero']} times the sum of the row's weights: the zero point of the input"
    return {"b": Relaid("zeroed", started(t, a), note)}


def started(t: Mapping[str, PlanTensor], a: Attrs, border: bool = False) -> NDArray[np.int32]:
    """Where the sums of constant rows start, [rows]: the bias with the zero points taken in.

    Not that of x if `border`: each tap inside of the map then gives its own. That of y where a shift ends the
    sum: shift_round(sum + zero * 2^s, s) = shift_round(sum, s) + zero.
    """
    start = t["b"].array().astype(np.int64)
    if not border:
        start -= a.get("x_zero", 0) * t["w"].array().astype(np.int64).sum(axis=1)
    if not scaled(a) and "y_zero" in a:
        start += a["y_zero"] << t["s"].array().astype(np.int64)
    return start.astype(np.int32)


def random_ending(rng: np.random.Generator) -> dict[str, int]:
    """For the tests: the attributes of a step whose weight has one scale, beside its limits."""
    zeros = [int(rng.choice([0, -128, int(rng.integers(-128, 128))])) for _ in range(2)]
    return {
        "rounds": int(rng.integers(ONCE, TWICE + 1)),
        "x_zero": zeros[0],
        "y_zero": zeros[1],
        "multiplier": int(rng.integers(2**30, 2**31)),
        "shift": int(rng.integers(31, 52)),
    }


def printed(t: Mapping[str, PlanTensor], a: Attrs) -> tuple[dict[str, Relaid], dict[str, int]]:
    """How the C of a step ends: constants in another form, and numbers for the macro of
    templates/requantise.j2: `right`, whether the shift to the right beyond the first word is enough, and
    `rest`, the shift of all rows that is left."""
    n = t["s"].array() if "s" in t else np.array([a["shift"]])
    if a["rounds"] in LONG:
        return {}, {"right": 0, "rest": int(n[0]), "long": int(_leaves_word(t, a))}
    least = FAST[a["rounds"]][1]
    if int(n.min()) < least:
        return {}, {"right": 0, "rest": int(n[0])}
    if "s" not in t:
        return {}, {"right": 1, "rest": int(n[0]) - least}
    note = f"bits that are left to shift behind the first {least}"
    return {"s": Relaid("rest", n.astype(np.uint8) - np.uint8(least), note)}, {"right": 1, "rest": 0}


def _leaves_word(t: Mapping[str, PlanTensor], a: Attrs) -> bool:
    """Whether a sum of constant rows may not fit 32 bits."""
    x = t["x"]
    seen = Known(x.shape, x.lo, x.hi, 0)
    lo, hi, plain = row_sums(t["w"].array(), t["b"].array(), seen, a)
    return bool(max(-lo.min(), hi.max(), plain.max()) > MULTIPLIER_TOP)


def widened(rng: np.random.Generator, x: NDArray[Any]) -> NDArray[np.int16]:
    """For tests: int8 values as int16 ones, with bits everywhere."""
    return (x.astype(np.int16) * np.int16(256) + rng.integers(0, 256, x.shape)).astype(np.int16)


def drawn(
    rng: np.random.Generator, arrays: Mapping[str, NDArray[Any]], rounds: int
) -> tuple[dict[str, NDArray[Any]], dict[str, int]]:
    """For the cases of a kernel with w [rows, n], b [rows] and y: constants and attributes of a random end.

    Zero points at the ends and between, one multiplier or one a row, powers of two (halves), outputs of 8 and
    of 16 bits, limits that are narrower on either side.
    """
    w, b = arrays["w"].astype(np.int64), arrays["b"].astype(np.int64)
    dtype = np.int16 if not rng.integers(5) else np.int8
    bottom, top = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    usual = top / np.maximum(np.abs(w).sum(axis=1) * 128 + np.abs(b), 1)
    factors = usual * 2.0 ** rng.uniform(-3, 5, usual.shape)
    if not rng.integers(3):
        factors = np.exp2(np.rint(np.log2(factors)))
    y_zero = int(rng.choice(np.array([bottom, 0, top, rng.integers(bottom, top + 1)])))
    low, high = sorted(rng.integers(bottom, top + 1, 2).tolist())
    ends = [(bottom, top), (bottom, top), (bottom, high), (low, top), (low, high)][rng.integers(5)]
    attrs = {
        "rounds": rounds,
        "x_zero": int(rng.choice(np.array([-128, 0, 127, rng.integers(-128, 128)]))),
        "y_zero": y_zero,
        "lo": ends[0],
        "hi": ends[1],
    }
    made: dict[str, NDArray[Any]] = {"y": arrays["y"].astype(dtype)}
    m, n = zip(*(numeric.multiplier(float(v)) for v in factors), strict=True)
    if rng.integers(2):
        return made, attrs | {"multiplier": m[0], "shift": n[0]}
    return made | {"m": np.array(m, np.int32), "s": np.array(n, np.uint8)}, attrs


def literal(a: Attrs, prefix: str) -> dict[str, int]:
    """The numbers of one factor of a step that has several, for the macro `literal`."""
    n, least = a[f"{prefix}shift"], FAST[a["rounds"]][1]
    right = n >= least
    return {f"{prefix}right": int(right), f"{prefix}rest": n - least if right else n}


def random_formats(rng: np.random.Generator, count: int, wide: bool = False) -> list[Format]:
    """For tests: int8 with any scale, powers of two among them, and any zero point; or int16 without any."""
    scales = 2.0 ** rng.uniform(-7, 0, count)
    if not rng.integers(3):  # ties are common
        scales = np.exp2(np.rint(np.log2(scales)))
    if wide:
        scales = np.ldexp(scales, -8)
        return [Format("int16", Scaled((float(np.float32(s)),)), -(2**15), 2**15 - 1) for s in scales]
    zeros = [int(rng.choice([-128, 0, 127, int(rng.integers(-128, 128))])) for _ in range(count)]
    return [
        Format("int8", Scaled((float(np.float32(s)),), (z,)), -128, 127)
        for s, z in zip(scales, zeros, strict=True)
    ]
