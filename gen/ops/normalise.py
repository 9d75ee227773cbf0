"""Rows brought to one size: layer, instance and group normalisation, RMS norm, unit vectors.

y = (x - mean) / sqrt(variance + epsilon), or x over another measure of its row. Scale and shift of a
normalisation are an `affine` behind it. Sums are exact; the one rounding but for the last is that of
numeric.root_reciprocal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..errors import CompileError
from ..ir.graph import Attr, Node
from ..ir.plan import PlanTensor
from ..ir.tape import Tape
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
    _normalise_loops,
)
from ._contract import HELD, SIZE, WORD, takes, within
from ._folding import Shape
from ._loops import Loop
from ._normalise_loops import KINDS, LARGEST, MAGNITUDES, MEAN_SQUARE, SIGNAL, SQUARES, VARIANCE
from ._shifts import requantising

MOST = 1 << 16  # values of a row
POINT = 24  # bits behind the point of an output, at most
LEVELLED = 1e-5  # epsilon of a node that no model file brought
TINY = float(np.finfo(np.float32).tiny)
ROOT_SHIFT = 39  # of a root of 31 bits times a number of 31
REACH = 62  # of the exponent of a signal


class Normalise(Layer):
    op = "normalise"
    holds = True

    def shape(self, node: Node, shapes: Sequence[Shape]) -> Shape:
        (shape,) = shapes
        axis, epsilon = _axis(node), _epsilon(node)
        if not 0 <= axis < len(shape) or shape[axis] > MOST or _kind(node) not in KINDS:
            what = f"normalises axis {axis} of {shape} by its {_kind(node)}"
            raise CompileError(node.name, what, f"up to {MOST} values are normalised together")
        if not (math.isfinite(epsilon) and epsilon >= 0):
            raise CompileError(node.name, f"its epsilon is {epsilon}", "it is 0 or more")
        return shape

    def forward(self, tape: Tape, node: Node) -> None:
        args = {"x": tape.value(node.inputs[0]), "y": tape.activation(node)}
        tape.step("normalise.forward", node, args, epsilon=_epsilon(node), **_geometry(tape, node))

    def feedback(self, tape: Tape, node: Node, teach: str, matrix: str | None) -> dict[str, str]:
        x = node.inputs[0]
        if KINDS.index(_kind(node)) > SQUARES:
            hint = "let only layers behind it learn"
            raise CompileError(node.name, f"no teaching signal passes a row over its {_kind(node)}", hint)
        g = tape.teach(f"{node.name}_input", tape.shape(x))
        args = {"x": tape.value(x), "y": tape.value(node.output), "d": teach, "g": g}
        tape.step("normalise.feedback", node, args, epsilon=_epsilon(node), **_geometry(tape, node))
        return {x: g}

    def levelling(self) -> Mapping[str, Attr] | None:
        return {"axis": 0, "kind": KINDS[MEAN_SQUARE], "epsilon": LEVELLED}

    def sample(
        self, rng: np.random.Generator, shapes: Sequence[Shape]
    ) -> tuple[Node, dict[str, np.ndarray]] | None:
        if len(shapes) != 1:
            return None
        axis = int(rng.integers(len(shapes[0])))
        kind = KINDS[int(rng.integers(SQUARES + 1))]
        attrs: dict[str, Attr] = {"axis": axis, "kind": kind, "epsilon": 0.01}
        return Node("normalise", "", ("in0",), "out", attrs), {}


def _axis(node: Node) -> int:
    axis = node.attrs["axis"]
    assert isinstance(axis, int)
    return axis


def _kind(node: Node) -> str:
    return str(node.attrs["kind"])


def _epsilon(node: Node) -> float:
    epsilon = node.attrs["epsilon"]
    assert isinstance(epsilon, int | float)
    return float(epsilon)


def _geometry(tape: Tape, node: Node) -> dict[str, int]:
    shape, axis = tape.shape(node.inputs[0]), _axis(node)
    return {
        "outer": int(np.prod(shape[:axis])),
        "size": shape[axis],
        "block": int(np.prod(shape[axis + 1 :])),
        "kind": KINDS.index(_kind(node)),
    }


def _factor(a: Attrs) -> int:
    """What x is multiplied by, so that the mean of a row is a whole number."""
    return int(a["size"]) if a["kind"] in (VARIANCE, MEAN_SQUARE) else 1


def _tables(t: Mapping[str, PlanTensor], a: Attrs) -> dict[str, NDArray[Any]]:
    return {"factor": np.array([_factor(a)], np.int32)}


def _feedback_tables(t: Mapping[str, PlanTensor], a: Attrs) -> dict[str, NDArray[Any]]:
    found = Feedback.scales(a)
    scales = [[int(m), n] for m, n in (found[name] for name in ("product", "mean", "root"))]
    start = np.array([Feedback.start(a)], np.int64)
    return _tables(t, a) | {"scales": np.array(scales, np.int64), "start": start}


class _Normalise(Kernel):
    """Rows (o, b) of values (o, i, b), i < size; how each is measured."""

    attributes = within(
        HELD,
        outer=SIZE,
        size=(1, MOST),
        block=SIZE,
        kind=(0, len(KINDS) - 1),
        epsilon_high=(0, 2**30),
        epsilon_low=WORD,
    )

    def sizes(self, a: Attrs) -> dict[str, int]:
        return {"n": a["outer"] * a["size"] * a["block"]}

    @staticmethod
    def _rows(flat: NDArray[Any], a: Attrs) -> NDArray[Any]:
        """A view [D, outer, size, block]."""
        return flat.reshape(len(flat), a["outer"], a["size"], a["block"])

    def _measured(self, x: NDArray[np.int32], a: Attrs) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """(sum, root, lead), [D, outer, 1, block]: 2^(62 - lead / 2) / root is `_factor` times the row's
        measure, in units of x."""
        squares, kind = (x * x).sum(axis=2, keepdims=True, dtype=np.int32), a["kind"]
        total = np.zeros_like(squares)
        count: NDArray[Any] = np.full_like(squares, _factor(a))
        if kind == VARIANCE:
            total = x.sum(axis=2, keepdims=True, dtype=np.int32)
        elif kind in (MAGNITUDES, LARGEST):
            sizes = np.abs(x)
            most = sizes.max(axis=2, keepdims=True)
            squares = count = sizes.sum(axis=2, keepdims=True, dtype=np.int32) if kind == MAGNITUDES else most
        given = (squares.astype(np.uint32), count.astype(np.uint32), total)
        epsilon = a["epsilon_high"], a["epsilon_low"]
        high, low = numeric.spread_high(*given, *epsilon), numeric.spread_low(*given, *epsilon)
        lead = numeric.even_lead(high, low)
        root = numeric.root_reciprocal(numeric.shifted_top(high, low, lead))
        return total, root, lead.astype(np.int32)

    def _real_measure(self, x: NDArray[Any], a: Attrs) -> NDArray[Any]:
        """[D, outer, 1, block]; x without its mean, where that is taken off."""
        match a["kind"]:
            case 2:
                found = np.sqrt((x * x).sum(axis=2, keepdims=True))
            case 3:
                found = np.abs(x).sum(axis=2, keepdims=True)
            case 4:
                found = np.abs(x).max(axis=2, keepdims=True)
            case _:
                found = np.sqrt((x * x).mean(axis=2, keepdims=True) + x.dtype.type(a["epsilon"]))
        measure: NDArray[Any] = np.maximum(found, x.dtype.type(TINY))
        return measure

    @staticmethod
    def _centred(x: NDArray[Any], a: Attrs) -> NDArray[Any]:
        return x - x.mean(axis=2, keepdims=True) if a["kind"] == VARIANCE else x

    @staticmethod
    def _own(f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        """Geometry, and epsilon in units of what it is added to."""
        own = {k: int(a[k]) for k in ("outer", "size", "block", "kind")}
        units = 0
        if a["kind"] in (VARIANCE, MEAN_SQUARE):
            units = math.floor(a["epsilon"] * own["size"] ** 2 * 4.0 ** f["x"].frac + 0.5)
        if units >= 2**62:
            raise CompileError(where, f"its epsilon is {a['epsilon']}, far above its inputs", "scale them up")
        return own | {"epsilon_high": units >> 32, "epsilon_low": units & (2**32 - 1)}

    @staticmethod
    def _sums(k: Mapping[str, Known], a: Attrs) -> list[Accumulator]:
        size, mag = a["size"], k["x"].mag
        squares = size * mag * mag
        measure = (size * mag) ** 2 if a["kind"] in (MAGNITUDES, LARGEST) else _factor(a) * squares
        wide = measure + (a["epsilon_high"] << 32) + a["epsilon_low"]
        centred = 2 * _factor(a) * mag
        return [
            Accumulator("sum of squares", 0, squares),
            Accumulator("squared measure", 0, wide, 64),
            Accumulator("value without its mean", -centred, centred),
        ]

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        return Cost(macs=2 * shapes["x"][0])

    def _drawn(self, rng: np.random.Generator, kinds: int) -> tuple[dict[str, int], NDArray[np.int8]]:
        outer, block = (int(n) for n in rng.integers(1, 4, 2))
        size = int(rng.choice([1, 2, 7, 40]))
        x = rng.integers(-128, 128, (outer, size, block))
        if not rng.integers(3):  # rows that hardly vary, and such as do not
            x = np.clip(x[:, :1] + rng.integers(0, 2) * (x >> 6), -128, 127)
        if not rng.integers(5):
            x = 0 * x
        own = {"outer": outer, "size": size, "block": block, "kind": int(rng.integers(kinds))}
        units = int(rng.choice([0, 1, int(rng.integers(2**20)), int(rng.integers(2**40))]))
        own |= {"epsilon_high": units >> 32, "epsilon_low": units & (2**32 - 1)}
        return own, x.reshape(-1).astype(np.int8)


class Forward(_Normalise):
    """y = (factor x - sum) 2^point / measure, halves away from zero."""

    name = "normalise.forward"
    loop = Loop(_normalise_loops.forward, _normalise_loops.GROUPED, _tables)
    reads = ("x",)
    writes = ("y",)
    operands = takes(x="int8 [n]", y="int8|int16 [n]")
    attributes = within(_Normalise.attributes, point=(0, POINT))

    def integer(self, t: Arrays, a: Attrs) -> None:
        x = self._rows(t["x"].astype(np.int32), a)
        total, root, lead = self._measured(x, a)
        shift = np.int32(62 - a["point"]) - (lead >> 1)
        y = numeric.scale_once(x * np.int32(_factor(a)) - total, root, shift)
        t["y"][...] = numeric.saturate(y, a["lo"], a["hi"]).reshape(t["y"].shape)

    def real(self, t: Arrays, a: Attrs) -> None:
        x = self._centred(self._rows(t["x"], a), a)
        t["y"][...] = (x / self._real_measure(x, a)).reshape(t["y"].shape)

    def variant(self, kernel_set: str, t: Mapping[str, PlanTensor], a: Attrs) -> Variant:
        return replace(super().variant(kernel_set, t, a), numbers={"factor": _factor(a)})

    def cap(self, f: Mapping[str, Format], a: Attrs) -> dict[str, int]:
        return {"y": POINT}

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        requantising(f["y"].frac, where, "normalise fewer values together", POINT)
        ends = {"point": f["y"].frac, "lo": f["y"].lo, "hi": f["y"].hi}
        return self._own(f, a, where) | ends

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        most = math.isqrt(_factor(a)) + 2 << a["point"]
        sums = [*self._sums(k, a), Accumulator("normalised value", -most, most)]
        return sums, {"y": (a["lo"], a["hi"], k["y"].shape[0] * max(-a["lo"], a["hi"]))}

    def case(self, rng: np.random.Generator) -> Case:
        own, x = self._drawn(rng, len(KINDS))
        dtype = np.int16 if not rng.integers(4) else np.int8
        ends = {"lo": int(np.iinfo(dtype).min), "hi": int(np.iinfo(dtype).max)}
        y = np.zeros(x.size, dtype)
        return Case({"x": x, "y": y}, own | ends | {"point": int(rng.integers(0, 13))}, {})


class Feedback(_Normalise):
    """g = (d - mean(d) - y mean(d y)) / measure, the exact derivative, of y as it was rounded; without the
    mean where none is taken off, of sums in place of means where x is divided by the root of one.

    Means are rounded to units of d. exponent: the bits by which g is finer than d over units of x
    """

    name = "normalise.feedback"
    loop = Loop(_normalise_loops.feedback, _normalise_loops.GROUPED, _feedback_tables)
    reads = ("x", "y", "d")
    writes = ("g",)
    inplace = ("d", "g")
    operands = takes(x="int8 [n]", y="int8|int16 [n]", d="int16 [n]", g="int16 [n]")
    attributes = within(_Normalise.attributes, kind=(0, SQUARES), point=(0, POINT), exponent=(-REACH, REACH))

    def integer(self, t: Arrays, a: Attrs) -> None:
        x, y, d = (self._rows(t[role].astype(np.int32), a) for role in ("x", "y", "d"))
        _, root, lead = self._measured(x, a)
        scales = self.scales(a)
        product = numeric.scale_once((y * d).sum(axis=2, keepdims=True, dtype=np.int32), *scales["product"])
        product = numeric.saturate(product, -(2**15), 2**15)
        signal = d - numeric.shift_round(y * product, a["point"])
        if a["kind"] == VARIANCE:
            signal -= numeric.scale_once(d.sum(axis=2, keepdims=True, dtype=np.int32), *scales["mean"])
        root = numeric.scale_once(root, *scales["root"])
        shift = np.clip(self.start(a) - (lead >> 1), 1, 62)
        top = np.where(shift < 10, np.int32(1) << (np.minimum(shift, 10) + 7), SIGNAL).astype(np.int32)
        signal = np.minimum(np.maximum(signal, -top), top)
        g = numeric.saturate(numeric.scale_once(signal, root, shift), a["lo"], a["hi"])
        t["g"][...] = g.reshape(t["g"].shape)

    @staticmethod
    def scales(a: Attrs) -> dict[str, tuple[NDArray[np.int32], int]]:
        """Multipliers and shifts of the two means, and of the root: times `_factor`, in 23 bits."""
        means = {"product": 2.0 ** -a["point"] / _factor(a), "mean": 1.0 / a["size"]}
        found = {name: numeric.multiplier(value) for name, value in means.items()}
        found["root"] = numeric.multiplier(float(_factor(a)))[0], ROOT_SHIFT
        return {name: (np.asarray(m, np.int32), n) for name, (m, n) in found.items()}

    @staticmethod
    def start(a: Attrs) -> int:
        """The shift of a signal times such a root, where lead is 0."""
        return 62 - ROOT_SHIFT + numeric.multiplier(float(_factor(a)))[1] - int(a["exponent"])

    def variant(self, kernel_set: str, t: Mapping[str, PlanTensor], a: Attrs) -> Variant:
        numbers = {"factor": _factor(a), "start": self.start(a)}
        for name, (m, n) in self.scales(a).items():
            numbers |= {f"{name}_multiplier": int(m), f"{name}_shift": n}
        return replace(super().variant(kernel_set, t, a), numbers=numbers)

    def real(self, t: Arrays, a: Attrs) -> None:
        x, y, d = (self._rows(t[role], a) for role in ("x", "y", "d"))
        centred = self._centred(x, a)
        product = (d * y).sum(axis=2, keepdims=True) / _factor(a)
        signal = d - y * product
        if a["kind"] == VARIANCE:
            signal = signal - d.mean(axis=2, keepdims=True)
        t["g"][...] = (signal / self._real_measure(centred, a)).reshape(t["g"].shape)

    def cap(self, f: Mapping[str, Format], a: Attrs) -> dict[str, int]:
        return {"g": f["d"].frac - f["x"].frac + REACH}

    def limit(
        self, role: str, f: Mapping[str, Format], shapes: Mapping[str, tuple[int, ...]], a: Attrs
    ) -> int:
        return (2**31 - 2**24) // (int(a["size"]) * max(-f["y"].lo, f["y"].hi)) if role == "d" else 2**31 - 1

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        exponent = f["g"].frac - f["d"].frac + f["x"].frac
        if not -REACH <= exponent <= REACH:
            what = f"its signal changes by 2^{exponent}"
            raise CompileError(where, what, "scale the inputs of the normalisation")
        ends = {"point": f["y"].frac, "exponent": exponent, "lo": f["g"].lo, "hi": f["g"].hi}
        return self._own(f, a, where) | ends

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        d, y = k["d"].mag, k["y"].mag
        product, half = y * min(2**15, y * d * a["size"]), (1 << a["point"]) >> 1
        signal = 2 * d + (product + half >> a["point"]) + 1
        sums = [
            *self._sums(k, a),
            Accumulator("sum of products", -a["size"] * y * d, a["size"] * y * d),
            Accumulator("share of the output", -product, product + half),
            Accumulator("signal", -signal, signal),
        ]
        return sums, {"g": (a["lo"], a["hi"], k["g"].shape[0] * max(-a["lo"], a["hi"]))}

    def case(self, rng: np.random.Generator) -> Case:
        own, x = self._drawn(rng, SQUARES + 1)
        own |= {"point": int(rng.integers(0, 8)), "exponent": int(rng.integers(-12, 30))}
        top = (2**31 - 2**24) // (own["size"] * 128)
        top = min(top, 2 ** int(rng.integers(8, 16)) - 1)
        arrays: dict[str, NDArray[Any]] = {
            "x": x,
            "y": rng.integers(-128, 128, x.size).astype(np.int8),
            "d": rng.integers(-top, top + 1, x.size).astype(np.int16),
            "g": np.zeros(x.size, np.int16),
        }
        return Case(arrays, own | {"lo": -(2**14), "hi": 2**14 - 1}, {"d": (-top, top)})
