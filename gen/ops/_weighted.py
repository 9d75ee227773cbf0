"""What layers with weights share: operands of their steps, formats and limits, the rounding of a change.

An op that derives from these brings its geometry and its sums. Its forward kernel names its operands x, w, b,
y (and s, the shifts of its rows, when frozen); its values are `<node>_weight` [rows, inputs of a row] and
`<node>_bias` [rows]. That is what gen.stages.quantise gives formats to, and gen.rules makes feedback
matrices for.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..errors import CompileError
from ..ir.format import Scaled
from ..ir.graph import Node
from ..ir.plan import PlanTensor
from ..ir.program import Space, Value
from ..ir.tape import Tape
from ..spec import MAX_RATE_SHIFT
from . import (
    Accumulator,
    Arrays,
    Attrs,
    Bounds,
    Case,
    Cost,
    Format,
    Kernel,
    Known,
    Layer,
    Variant,
    _long_sums,
    _requantise,
    _zeros,
)
from ._contract import HELD, INT8, REQUANTISED, ROUNDED, WORD, Range, Tensors, beyond, either, within
from ._folding import Pair, per_channel
from ._shifts import MAX_SHIFT as SHIFT
from ._shifts import RESCALE, requantising

Index = NDArray[np.intp]
Change = Callable[[Index, Index], tuple[numeric.Int, numeric.Int]]
Every = Callable[[NDArray[Any]], NDArray[Any]]
MAX_SHIFT = 24  # of products: what the rounding primitives are proven for
ROWS_AT_ONCE = 128  # rows whose products stay in the host's cache
BIAS_TOP = 2**29  # a change of a bias beyond this always meets its limit of 2^28
WIDER = 257  # of an int8 weight: an int16 one with bits everywhere
ZERO_COLUMNS = 2**15  # a row of so many weights times 255, and its bias, fit 32 bits beside both zero points
LEAST_BIAS_SHIFT = -29  # at which one unit of a signal is BIAS_TOP
GATHERING = "samples", "forget"  # what only the formats of sums depend on
GATHERED = 2**30 - 2  # the most that products add up to: one more of 2^30, and its rounding, fits 32 bits


class WeightedLayer(Layer):
    weighted = True
    holds = True
    constants = 2

    def behind(self, node: Node, constants: Pair, pair: Pair) -> Pair | None:
        """s * (W x + b) + t = (s W) x + (s b + t): each row of W must have one s and t."""
        weight, bias = constants
        each = per_channel(pair, len(bias))
        return None if each is None else (weight * each[0][:, None], bias * each[0] + each[1])

    def geometry(self, tape: Tape, node: Node) -> dict[str, int]:
        """Attributes that all steps of this node carry."""
        return {}

    def forward(self, tape: Tape, node: Node) -> None:
        x, w, b = node.inputs
        learned = tape.is_learned(node)
        space: Space = "state" if learned else "const"
        names = f"{node.name}_weight", f"{node.name}_bias"
        weight = Value(
            names[0], tape.shape(w), space, "weight", tape.constant(w), learned=learned, format=tape.given(w)
        )
        bias = Value(
            names[1], tape.shape(b), space, "bias", tape.constant(b), learned=learned, format=tape.given(b)
        )
        args = {"x": tape.value(x), "w": tape.add(weight), "b": tape.add(bias), "y": tape.activation(node)}
        given = tape.given(x) is not None
        fine = node.attrs.get("rounds") == _long_sums.FINE
        if not learned and not (given and given_alike(tape, w) and not fine):
            args["s"] = tape.add(Value(f"{node.name}_shift", tape.shape(b), "const", "shift"))
            if given:
                args["m"] = tape.add(Value(f"{node.name}_multiplier", tape.shape(b), "const", "multiplier"))
            if fine:
                args["r"] = tape.add(Value(f"{node.name}_rest", tape.shape(b), "const", "multiplier"))
        ends = ending(tape, node) if given else {}
        tape.step(f"{self.op}.forward", node, args, **self.geometry(tape, node), **ends)

    def update(self, tape: Tape, node: Node, teach: str, rate: int, twin: str | None) -> None:
        args = {
            "x": tape.value(node.inputs[0]),
            "d": teach,
            "step": tape.counter("step", "samples learned from"),
            "w": f"{node.name}_weight",
            "b": f"{node.name}_bias",
            "saturated": tape.saturations(node),
        }
        if twin:
            args["twin"] = twin
        args |= self.scratch(tape, node)
        attrs: dict[str, Any] = self.geometry(tape, node) | tape.rounding(f"{node.name}_weight")
        if (given := tape.given(node.inputs[0])) is not None:
            attrs["share"] = _requantise.shares(given.meaning.step)
        tape.step(f"{self.op}.update", node, args, rate=rate, **attrs)

    def statement(self, tape: Tape, node: Node, bias: bool = False) -> tuple[str, dict[str, int]]:
        return "statement.change" if bias else "statement.matrix", {}

    def passes(self, tape: Tape, node: Node, matrix: str | None) -> str:
        """What the signals of this node pass through: `matrix`, or where it is None the layer's own weights,
        or a copy of them in numbers of ours where a model file holds them in integers of its own."""
        own = f"{node.name}_weight"
        if matrix is not None:
            return matrix
        if tape.given(node.inputs[1]) is None:
            tape.alike(own)
            return own
        real, name = tape.constant(node.inputs[1]), f"{node.name}_matrix"
        return tape.b.once(Value(name, real.shape, "const", "matrix", real))

    def scratch(self, tape: Tape, node: Node) -> dict[str, str]:
        """Operands that `update` needs for its sums."""
        return {}


def ending(tape: Tape, node: Node) -> dict[str, float]:
    """The attributes of a step whose input a model file holds in integers: how it rounds, and the real
    numbers that its output can hold at least and at most, where that is in the file's integers as well."""
    given, rounds = tape.given(node.output), node.whole("rounds")
    if tape.is_learned(node):  # its sums have 32 bits
        rounds = _long_sums.NARROWED.get(rounds, rounds)
    return (_requantise.held_within(given, node) if given else {}) | {"rounds": rounds}


def given_alike(tape: Tape, weight: str) -> bool:
    """Whether the rows of a weight that a model file brought in integers share one scale."""
    given = tape.given(weight)
    return given is not None and isinstance(given.meaning, Scaled) and len(given.meaning.scale) == 1


class WeightedForward(Kernel):
    """acc = W x + b; y = acc / 2^s held within y's limits. s is one shift, or one a row (frozen layers).

    Where a model file brought the integers, acc = W (x - x_zero) + b, and a multiplier stands beside the
    shift: gen/ops/_requantise.py.
    """

    reads = ("x", "w", "b", "m", "r", "s")
    writes: ClassVar[tuple[str, ...]] = ("y",)
    optional: ClassVar[tuple[str, ...]] = ("m", "r", "s")
    attributes: ClassVar[Mapping[str, Range]] = within(REQUANTISED, _requantise.WEIGHTED)
    spare: ClassVar[tuple[str, ...]] = ("shift", *_requantise.OWN)
    held = staticmethod(_requantise.held)

    def misfit(self, t: Tensors, a: Attrs) -> str:
        if _requantise.scaled(a):
            return _requantise.misfit(t, a)
        if "multiplier" in a or "m" in t or "r" in t:
            return "it has multipliers without rounds"
        return either("shift", "s", t, a) or _zeros.misfit(t, a) or _requantise.too_far(t, a, SHIFT)

    def zeros(self, args: Mapping[str, Value], a: Attrs) -> tuple[str, ...]:
        """Those of layers that do not learn, where zero points leave their sums the room they need."""
        narrow = args["w"].shape[1] <= ZERO_COLUMNS
        return ("x", "y") if "s" in args and "rounds" not in a and narrow else ()

    def ended(self, acc: NDArray[Any], t: Arrays, a: Attrs, every: Every = lambda row: row) -> numeric.Int:
        """Sums as integers of the output. every: a value a row, [copies, rows], as one a sum."""
        shift = every(t["s"].astype(np.int32)) if "s" in t else a["shift"]
        if not _requantise.scaled(a):
            y = numeric.shift_round(acc, shift)
            y = y + np.int32(a["y_zero"]) if "y_zero" in a else y
            return numeric.saturate(y, a["lo"], a["hi"])
        if a["rounds"] == _long_sums.FINE:
            return _long_sums.finish_fine(acc, every(t["m"]), every(t["r"]), shift, a)
        return _requantise.finish(acc, every(t["m"]) if "m" in t else a["multiplier"], shift, a)

    def gram(self, x: NDArray[Any], a: Attrs) -> NDArray[Any] | None:
        """The sum of v v^T over all v that a row is multiplied with, of inputs x [D, size]: [groups, columns,
        columns], each group as many rows. None where rows have nothing in common."""
        return None

    def cap(self, f: Mapping[str, Format], a: Attrs) -> dict[str, int]:
        if "rounds" in a:  # no finer than a product: the multiplier makes no sum larger
            return {"y": math.floor(-math.log2(f["x"].meaning.step * f["w"].meaning.step))}
        return {"y": f["x"].power + min(f["w"].row_fracs or (f["w"].frac,))}

    def derived(
        self, role: str, f: Mapping[str, Format], a: Attrs, where: str
    ) -> tuple[Format, NDArray[np.int64]]:
        if "rounds" in a:
            return _requantise.derived(role, f, int(a["rounds"]), where)
        return super().derived(role, f, a, where)

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        if "rounds" in a:
            own = {k: int(v) for k, v in a.items() if k not in ("least", "most")}
            return own | _requantise.lowered(f, own["rounds"], where)
        fracs = f["w"].row_fracs or (f["w"].frac,)
        shifts = [f["x"].power + frac - f["y"].power for frac in fracs]
        requantising(shifts, where, RESCALE)
        own = {k: int(v) for k, v in a.items()} | {"lo": f["y"].lo, "hi": f["y"].hi} | _zeros.zeros(f)
        return own | ({} if "s" in f else {"shift": shifts[0]})

    def limit(
        self, role: str, f: Mapping[str, Format], shapes: Mapping[str, tuple[int, ...]], a: Attrs
    ) -> int:
        # The register is shared out: an eighth to the bias, a thirty-second to the rounding half, the rest to
        # the products.
        if role == "w":
            return (2**31 - 2**28 - 2**26) // (shapes["w"][1] * _requantise.magnitude(f["x"]))
        return 2**28 if role == "b" else 2**31 - 1

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        w, x, b = k["w"], k["x"], k["b"]
        if _requantise.scaled(a):
            top = k["y"].shape[0] * max(-a["lo"], a["hi"])
            return _requantise.sums(k, a), {"y": (a["lo"], a["hi"], top)}
        if any(name in a for name in _requantise.ZEROS):
            top = k["y"].shape[0] * max(-a["lo"], a["hi"], 0)
            return _zeros.shifted_sums(k, a), {"y": (a["lo"], a["hi"], top)}
        if w.data is not None and b.data is not None:
            row = np.abs(w.data.astype(np.int64)).sum(axis=1) * x.mag
            lo, hi = int((b.data.astype(np.int64) - row).min()), int((b.data.astype(np.int64) + row).max())
        else:
            hi = w.mag * min(x.l1, w.shape[1] * x.mag) + b.mag
            lo = -hi
        shift = a["shift"] if "s" not in k else k["s"].hi
        half = (1 << shift) >> 1
        top = k["y"].shape[0] * max(-a["lo"], a["hi"])
        return [Accumulator("sum", lo, hi + half)], {"y": (a["lo"], a["hi"], top)}

    def variant(self, kernel_set: str, t: Mapping[str, PlanTensor], a: Attrs) -> Variant:
        """ref: the macro `forward`; the zero point of the input lies in the bias."""
        plain = super().variant(kernel_set, t, a)
        if not _requantise.scaled(a):
            return replace(plain, relaid={**plain.relaid, **_zeros.zeroed(t, a, border=False)})
        relaid, numbers = _requantise.printed(t, a)
        if not t["w"].space == t["b"].space == "const":  # what changes takes nothing in
            return replace(plain, relaid=relaid, numbers={**numbers, "zero": a["x_zero"]})
        return replace(plain, relaid=relaid | _requantise.folded(t, a), numbers=numbers)

    @staticmethod
    def scaled_case(rng: np.random.Generator, arrays: Arrays, attrs: Mapping[str, int]) -> Case:
        """A case with frozen weights as one whose output a multiplier makes."""
        if not rng.integers(3):
            return _long_sums.long_case(rng, arrays, attrs)
        made, end = _requantise.drawn(rng, arrays, int(rng.integers(1, 3)))
        kept = {role: v.copy() for role, v in arrays.items() if role != "s"}
        if not rng.integers(3):
            kept["w"][-1, 0] = -128  # which no pair of dual rows can have
        return Case(kept | made, {**attrs, **end}, {"w": (-128, 127)}, flash=("w", "b", "m", "s"))


class WeightedUpdate(Kernel):
    """W -= round(sum / 2^shift), b -= round(sum / 2^bias_shift), the twin as W, each held within its limits.

    In real numbers W -= 2^-rate sum. A row without any signal is not touched and uses no random words. A
    matrix without a bias has no operand b, and no attributes of one.
    Where a model file holds x in integers, products are of x less its zero point, and `share` says what the
    scale that is no power of two makes of the rate: share * 2^-rate for W, 2^-rate / share for b.
    """

    reads: ClassVar[tuple[str, ...]] = ("x", "d", "step")
    updates: ClassVar[tuple[str, ...]] = ("w", "b", "twin", "saturated")
    optional: ClassVar[tuple[str, ...]] = ("twin",)
    gathers: ClassVar[bool] = True
    attributes: ClassVar[Mapping[str, Range]] = within(
        HELD,
        ROUNDED,
        shift=(0, MAX_SHIFT),
        bias_shift=(LEAST_BIAS_SHIFT, MAX_SHIFT),
        rate=(0, 2**8),
        bias_lo=HELD["lo"],
        bias_hi=HELD["hi"],
        x_zero=INT8,
    )
    spare: ClassVar[tuple[str, ...]] = ("x_zero",)

    def misfit(self, t: Tensors, a: Attrs) -> str:
        return (
            beyond(t["w"], a["lo"], a["hi"])
            or ("twin" in t and beyond(t["twin"], a["lo"], a["hi"]))
            or ("b" in t and beyond(t["b"], a["bias_lo"], a["bias_hi"]))
            or beyond(t["saturated"], *WORD)
        )

    def terms(self, a: Attrs) -> int:
        """How many products a change sums up."""
        return 1

    @abstractmethod
    def changes(self, t: Arrays, a: Attrs) -> tuple[NDArray[np.bool_], Change]:
        """Which rows of which devices change, [D, rows]; and the sums of chosen (device, row) pairs.

        The sums are those of the weights [pairs, inputs of a row] and those of the biases [pairs].
        """

    @abstractmethod
    def gradient(self, t: Arrays, a: Attrs) -> tuple[np.ndarray, np.ndarray]:
        """The sums in real numbers: [D, rows, inputs of a row] and [D, rows]."""

    def integer(self, t: Arrays, a: Attrs) -> None:
        active, change = self.changes(t, a)
        device, row = np.nonzero(active)
        m, n = t["w"].shape[1:]
        bias_lane = n + n % 2  # the first lane of the word behind the row's
        steps = t["step"][device, 0]
        for step in np.unique(steps):
            rounding = numeric.Rounding(a["rounding"], a["seed"], int(step), a["tensor"], m, bias_lane + 1)
            mine = np.flatnonzero(steps == step)
            for at in range(0, len(mine), ROWS_AT_ONCE):
                part = mine[at : at + ROWS_AT_ONCE]
                self._rows(t, a, rounding, device[part], row[part], change)

    def _rows(
        self, t: Arrays, a: Attrs, rounding: numeric.Rounding, device: Index, row: Index, change: Change
    ) -> None:
        """Changes the rows [k] of the devices [k]; the pairs are distinct."""
        n = t["w"].shape[2]
        product, total = change(device, row)
        p = rounding(product, a["shift"], row, slice(0, n))
        self._subtract(t, "w", device, row, p, a["lo"], a["hi"])
        if "twin" in t:
            self._subtract(t, "twin", device, row, p, a["lo"], a["hi"])
        if "b" not in t:
            return
        if a["bias_shift"] < 0 and self.terms(a) > 1:  # what is held back here would meet the bias's limit
            top = BIAS_TOP >> -a["bias_shift"]
            total = numeric.saturate(total, -top, top)
        q = rounding(total, a["bias_shift"], row, n + n % 2)
        self._subtract(t, "b", device, row, q, a["bias_lo"], a["bias_hi"])

    @staticmethod
    def _subtract(t: Arrays, role: str, device: Index, row: Index, p: np.ndarray, lo: int, hi: int) -> None:
        v = t[role][device, row] - p
        if v.min() < lo or v.max() > hi:
            held = numeric.saturate(v, lo, hi)
            met = (held != v).reshape(len(row), -1).sum(axis=1, dtype=np.uint32)
            np.add.at(t["saturated"][:, 0], device, met)
            v = held
        t[role][device, row] = v

    @staticmethod
    def rates(t: Arrays, a: Attrs) -> tuple[Any, Any]:
        """The rates of weights and biases in real numbers."""
        share, kind = float(a.get("share", 1.0)), t["d"].dtype.type
        return kind(2.0 ** -a["rate"] * share), kind(2.0 ** -a["rate"] / share)

    def real(self, t: Arrays, a: Attrs) -> None:
        rate, bias_rate = self.rates(t, a)
        p, q = self.gradient(t, a)
        t["w"][...] -= rate * p
        if "twin" in t:
            t["twin"][...] -= rate * p
        if "b" in t:
            t["b"][...] -= bias_rate * q

    def limit(
        self, role: str, f: Mapping[str, Format], shapes: Mapping[str, tuple[int, ...]], a: Attrs
    ) -> int:
        """A sum of products is rounded with one bit to spare."""
        return 2**30 // (self.terms(a) * _requantise.magnitude(f["x"])) if role == "d" else 2**31 - 1

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        zero = _requantise.zero(f["x"])
        shift, bias_shift = self._shifts(f, a, where)
        own = {key: int(v) for key, v in a.items() if key not in ("share", *GATHERING)}
        own |= {"x_zero": zero} if zero else {}
        own |= {"shift": shift, "lo": f["w"].lo, "hi": f["w"].hi}
        if "b" not in f:
            return own
        return own | {"bias_shift": bias_shift, "bias_lo": f["b"].lo, "bias_hi": f["b"].hi}

    def _shifts(self, f: Mapping[str, Format], a: Attrs, where: str) -> tuple[int, int]:
        """How far products are shifted for weights and biases. CompileError where the rate allows none."""
        x = f["x"]
        seen = max(1, _requantise.reach(x.lo, x.hi, _requantise.zero(x)))
        return change_shifts(
            f,
            a,
            of_weight=f["d"].frac + x.meaning.nearest - f["w"].frac,
            of_bias=f["d"].frac - f["b"].meaning.nearest if "b" in f else 0,
            top=max(-f["d"].lo, f["d"].hi) * seen * self.terms(a),
            where=where,
        )

    def implied(self, f: Mapping[str, Format], a: Attrs) -> dict[str, Format]:
        """Of sums of `samples` samples, which forget 2^-forget of themselves behind each `samples`: products
        as they are, so that none is rounded."""
        if "samples" not in a or "w" in f or not {"x", "d"} <= f.keys():
            return {}
        x, d = f["x"], f["d"]
        seen = max(1, _requantise.reach(x.lo, x.hi, _requantise.zero(x)))
        total = max(-d.lo, d.hi) * self.terms(a)

        def format_of(top: int, frac: int) -> Format:
            most = min(int(a["samples"]) * max(top, 1) << int(a["forget"]), GATHERED)
            return Format("int32", frac, -most, most)

        found = {"w": format_of(total * seen, d.frac + x.meaning.nearest), "b": format_of(total, d.frac)}
        return {role: fmt for role, fmt in found.items() if role in self.updates}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        n = self.terms(a)
        reach = _requantise.reach(k["x"].lo, k["x"].hi, a.get("x_zero", 0))
        total = min(n * k["d"].mag, k["d"].l1)
        product = total * max(reach, 1)
        change = (product >> a["shift"]) + 1 + max(k[role].mag for role in ("w", "twin") if role in k)
        sums = [
            Accumulator("product and dither", -product, product + (1 << a["shift"])),
            Accumulator("weight and its change", -change, change),
        ]
        if "b" not in k:
            return sums, {}
        bias = total << max(-a["bias_shift"], 0)
        if n > 1 and a["bias_shift"] < 0:
            bias = min(bias, BIAS_TOP)
        sums += [
            Accumulator("bias product", -bias, bias + (1 << max(a["bias_shift"], 0))),
            Accumulator("bias and its change", -bias - k["b"].mag, bias + k["b"].mag),
        ]
        return sums, {}

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        weights = shapes["w"][0] * shapes["w"][1]
        copies = 2 if "twin" in shapes else 1
        return Cost(macs=weights * self.terms(a), reads=copies * weights, writes=copies * weights)


def change_shifts(
    f: Mapping[str, Format], a: Attrs, of_weight: int, of_bias: int, top: int, where: str
) -> tuple[int, int]:
    """How far sums are shifted for weights and for biases at a rate of 2^-rate; at a rate of 1 it would be
    `of_weight` and `of_bias`.

    f: formats of w and, if there is one, b; top: the largest sum. CompileError where the rate allows none: it
    names one that a rule file takes, if there is any.
    """
    k = int(a["rate"])
    rounding = int(a["rounding"])
    most = max(s for s in range(MAX_SHIFT + 1) if numeric.Rounding.least(rounding, s) <= top)
    first = max(0, -of_weight, LEAST_BIAS_SHIFT - of_bias)
    last = min(MAX_RATE_SHIFT, most - of_weight, MAX_SHIFT - of_bias)
    smaller, larger = (
        (f"take 2^-{first} or smaller", f"take 2^-{last} or larger") if first <= last else ("", "")
    )
    shift, bias_shift = k + of_weight, k + of_bias
    rate = f"a rate of 2^-{k}" + ("" if "b" in f else " of a feedback matrix")
    what, hint = "", ""
    if shift < 0:
        what = f"{rate} is too large for its number formats"
        hint = smaller or "scale the inputs down and the weights up"
    elif shift > most:
        what = f"{rate} can change nothing: the largest product {top} is shifted right by {shift}"
        if most == MAX_SHIFT:
            what = f"{rate} needs a shift of {shift}, {MAX_SHIFT} is the largest that is proven"
        free = most < MAX_SHIFT and rounding != numeric.Rounding.STOCHASTIC
        other = 'take rounding = "stochastic"' if free else "scale the inputs up and the weights down"
        hint = (larger or other) + (', or weights = "int16"' if f["w"].dtype == "int8" else "")
    elif bias_shift > MAX_SHIFT:
        what = f"the bias's change needs a shift of {bias_shift}, {MAX_SHIFT} is the largest that is proven"
        hint = f"{larger and f'{larger}, or '}scale the inputs down"
    elif bias_shift < LEAST_BIAS_SHIFT:  # one unit of a signal would be more than any bias
        what = f"the bias's change needs a shift of {bias_shift}, {LEAST_BIAS_SHIFT} is the least"
        hint = f"{smaller and f'{smaller}, or '}scale the inputs up"
    if what:
        raise CompileError(where, what, hint)
    return shift, bias_shift


def wide_case(case: Case) -> Case:
    """A case with frozen int8 weights; where their rows come in threes, one with int16 weights."""
    w = case.arrays["w"]
    if len(w) % 3:
        return case
    wide = w.astype(np.int16) * np.int16(WIDER)
    return Case({**case.arrays, "w": wide}, case.attrs, {"w": (-127 * WIDER, 127 * WIDER)}, case.flash)


def update_case(rng: np.random.Generator, sizes: tuple[int, int, int, int], attrs: Mapping[str, int]) -> Case:
    """A random case of a kernel that changes weights. sizes: inputs, signals, rows, inputs of a row."""
    inputs, signals, rows, columns = sizes
    wide = bool(rng.integers(2))
    bits = int(rng.integers(10, 17)) if wide else 8
    lo, hi = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    dtype = np.int16 if wide else np.int8
    arrays: dict[str, NDArray[Any]] = {
        "x": rng.integers(-128, 128, inputs).astype(np.int8),
        "d": (rng.integers(-(2**11), 2**11, signals) * rng.integers(0, 2, signals)).astype(np.int16),
        "step": rng.integers(0, 2**32, 1, np.uint32),
        "w": rng.integers(lo, hi + 1, (rows, columns)).astype(dtype),
        "b": rng.integers(-(2**24), 2**24, rows).astype(np.int32),
        "saturated": np.zeros(1, np.uint32),
    }
    if rng.integers(2):
        arrays["twin"] = rng.integers(lo, hi + 1, (rows, columns)).astype(dtype)
    numbers = {
        "x_zero": int(rng.choice([0, 0, -128, int(rng.integers(-128, 128))])),
        "shift": int(rng.integers(0, 25)),
        "bias_shift": int(rng.integers(-14, 12)),
        "rate": 0,
        "lo": lo,
        "hi": hi,
        "bias_lo": -(2**24),
        "bias_hi": 2**24 - 1,
        "rounding": int(rng.integers(3)),
        "seed": int(rng.integers(2**32)),
        "tensor": int(rng.integers(64)),
    }
    limits = {"w": (lo, hi), "twin": (lo, hi), "b": (-(2**24), 2**24 - 1)}
    return Case(arrays, {**attrs, **numbers}, limits)
