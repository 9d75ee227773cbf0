"""y = left < right ? yes : no, element by element, of a .tflite file's integers: a comparison of two tensors
and the SELECT that reads it, as LiteRT's reference kernels (2.3.0) compare.

Each operand has as many values as y, or one for all; all but the left one may be a number instead. A
function of one int8 tensor is no choice but a table (gen/importers/tflite/composed.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..errors import CompileError
from ..ir.graph import Node
from ..ir.tape import Tape
from . import Accumulator, Arrays, Attrs, Bounds, Case, Cost, Format, Kernel, Known, Layer
from . import _requantise as requantise
from ._contract import INT8, INT16, Range, Tensors, takes, within
from ._loops import Cells, Loop, Number

TESTS = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
"""A step knows its comparison by its place here."""
COMPARED = (np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal)
UP = 8  # bits that LiteRT puts behind the point of both sides
FREE = ("right", "yes", "no")
"""Operands in whose place a number may stand."""
FACTORS = tuple(f"{side}_{part}" for side in ("left", "right") for part in ("multiplier", "shift"))


class Choice(Layer):
    """A node of left, then those of right, yes, no that are no numbers; attributes `test`, `raw`, whether the
    integers themselves are compared, and of a number its unit (`right_is`, ..), what that stands for
    (`right_real`, ..) and, of right, its format (`right_scale`, `right_zero`)."""

    op = "choice"

    def shape(self, node: Node, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
        shape = max(shapes, key=math.prod)
        if any(math.prod(s) != 1 and s != shape for s in shapes):
            what = f"inputs of shapes {list(shapes)}"
            raise CompileError(node.name, what, "report this model: an importer is wrong")
        return shape

    def forward(self, tape: Tape, node: Node) -> None:
        roles = ("left", *(role for role in FREE if f"{role}_is" not in node.attrs))
        args = dict(zip(roles, map(tape.value, node.inputs), strict=True))
        own = {k: node.number(k) for k in node.attrs if k != "test"}
        test = TESTS.index(str(node.attrs["test"]))
        tape.step("choice.forward", node, args | {"y": tape.activation(node)}, test=test, **own)

    def feedback(self, tape: Tape, node: Node, teach: str, matrix: str | None) -> dict[str, str]:
        what = "no teaching signal passes a choice between two tensors in a file's integers"
        raise CompileError(node.source or node.name, what, "let only layers behind it learn")

    def sample(
        self, rng: np.random.Generator, shapes: Sequence[tuple[int, ...]]
    ) -> tuple[Node, dict[str, NDArray[Any]]] | None:
        return None  # it has numbers of a file alone


def compared(v: Any, zero: int, multiplier: int, shift: int) -> numeric.Int:
    """What LiteRT compares of integers v: (v - zero) * scale with 8 bits behind the point."""
    up = (np.asarray(v, np.int32) - np.int32(zero)) << np.int32(UP)
    return numeric.scale_twice(up, np.asarray(multiplier, np.int32), shift)


def _forward(
    left: Cells, right: Cells, yes: Cells, no: Cells, y: Cells, test: int, numbers: Number,
    left_factor: Number, right_factor: Number,
) -> None:  # fmt: skip
    right_is, yes_is, no_is = numbers
    left_zero, left_multiplier, left_shift = left_factor
    right_zero, right_multiplier, right_shift = right_factor
    for i in range(len(y)):
        a: Any = numeric.int32(left[i if len(left) > 1 else 0])
        b: Any = numeric.int32(right_is)
        if len(right) > 0:
            b = numeric.int32(right[i if len(right) > 1 else 0])
            if right_shift > 0:
                b = numeric.int32(numeric.int32(b - numeric.int32(right_zero)) << UP)
                b = numeric.scale_twice(b, right_multiplier, right_shift)
        if left_shift > 0:
            a = numeric.int32(numeric.int32(a - numeric.int32(left_zero)) << UP)
            a = numeric.scale_twice(a, left_multiplier, left_shift)
        met = a == b
        if test == 1:
            met = a != b
        elif test == 2:
            met = a < b
        elif test == 3:
            met = a <= b
        elif test == 4:
            met = a > b
        elif test == 5:
            met = a >= b
        v: Any = numeric.int32(yes_is if met else no_is)
        if met and len(yes) > 0:
            v = numeric.int32(yes[i if len(yes) > 1 else 0])
        if not met and len(no) > 0:
            v = numeric.int32(no[i if len(no) > 1 else 0])
        y[i] = v


class Forward(Kernel):
    """y = yes where left and right meet the test, else no; both sides less their zero points and by their
    scales with 8 bits behind the point, or, without multipliers, the integers themselves."""

    name = "choice.forward"
    reads = ("left", *FREE)
    writes = ("y",)
    optional = FREE
    operands = takes(
        left="int8|int16 [left]", right="int8|int16 [right]", yes="=y [yes]", no="=y [no]", y="int8|int16 [n]"
    )
    attributes: ClassVar[Mapping[str, Range]] = within(
        test=(0, len(TESTS) - 1),
        left_zero=INT8,
        right_zero=INT8,
        left_multiplier=(0, requantise.MULTIPLIER_TOP),
        right_multiplier=(0, requantise.MULTIPLIER_TOP),
        left_shift=(31, 62),
        right_shift=(31, 62),
        right_is=(-(2**24), 2**24),
        yes_is=INT16,
        no_is=INT16,
    )
    spare = ("left_zero", "right_zero", *FACTORS, *(f"{role}_is" for role in FREE))
    loop = Loop(
        _forward,
        {
            "numbers": ("right_is", "yes_is", "no_is"),
            "left_factor": ("left_zero", "left_multiplier", "left_shift"),
            "right_factor": ("right_zero", "right_multiplier", "right_shift"),
        },
    )

    def misfit(self, t: Tensors, a: Attrs) -> str:
        for role in FREE:
            if (role in t) == (f"{role}_is" in a):
                return f"it takes either {role}_is or operand {role}"
        n = t["y"].shape[0]
        for role in t:
            if t[role].shape[0] not in (1, n):
                return f"operand {role}, {t[role].name}, has {t[role].shape[0]} values, y {n}"
        sides = [side for side in ("left", "right") if side in t]
        wanted = {f"{side}_{part}" for side in sides for part in ("zero", "multiplier", "shift")}
        own = {name for name in a if name in (*FACTORS, "left_zero", "right_zero")}
        if "right" in t and t["right"].dtype != t["left"].dtype:
            return f"it compares {t['left'].dtype} with {t['right'].dtype}"
        return "" if own in (set(), wanted) else "a part of its factors is missing"

    def integer(self, t: Arrays, a: Attrs) -> None:
        sides = [self._side(t, a, side) for side in ("left", "right")]
        met = COMPARED[a["test"]](*sides)
        yes, no = (t[role] if role in t else np.int32(a[f"{role}_is"]) for role in ("yes", "no"))
        t["y"][...] = np.where(met, yes, no)

    @staticmethod
    def _side(t: Arrays, a: Attrs, side: str) -> Any:
        if side not in t:
            return np.int32(a[f"{side}_is"])
        v = t[side].astype(np.int32)
        if f"{side}_shift" not in a:
            return v
        return compared(v, a[f"{side}_zero"], a[f"{side}_multiplier"], a[f"{side}_shift"])

    def real(self, t: Arrays, a: Attrs) -> None:
        right, yes, no = (t[role] if role in t else float(a[f"{role}_real"]) for role in FREE)
        t["y"][...] = np.where(COMPARED[int(a["test"])](t["left"], right), yes, no)

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        out = {k: int(a[k]) for k in a if k == "test" or k.endswith("_is")}
        for role in ("yes", "no"):
            if role in f and f[role].meaning != f["y"].meaning:
                what = f"its input has {f[role].meaning}, its output {f['y'].meaning}"
                raise CompileError(where, what, "put a layer with weights behind it")
        if not a["raw"]:
            for side in ("left", "right"):
                if side in f:
                    out |= _factor(requantise.scale(f[side], where), f"{side}_", where)
                    out[f"{side}_zero"] = requantise.zero(f[side])
            if "right" not in f:
                own = _factor(float(a["right_scale"]), "", where)
                number = compared([out["right_is"]], int(a["right_zero"]), own["multiplier"], own["shift"])
                out["right_is"] = int(number[0])
        return out

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        sums = []
        for side in ("left", "right"):
            if f"{side}_shift" in a:
                most = requantise.reach(k[side].lo, k[side].hi, a[f"{side}_zero"]) << UP
                sums.append(Accumulator(f"{side} with {UP} bits more", -most, most))
        ends = [(k[r].lo, k[r].hi) if r in k else (a[f"{r}_is"],) * 2 for r in ("yes", "no")]
        lo, hi = min(v for v, _ in ends), max(v for _, v in ends)
        return sums, {"y": (lo, hi, k["y"].shape[0] * max(-lo, hi))}

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        return Cost(macs=(3 if "left_shift" in a else 1) * shapes["y"][0])

    def case(self, rng: np.random.Generator) -> Case:
        n, wide = int(rng.integers(1, 40)), [bool(v) for v in rng.integers(0, 2, 2)]
        kinds = [(np.int16, *INT16) if w else (np.int8, *INT8) for w in wide]
        arrays: dict[str, NDArray[Any]] = {}
        a: dict[str, int] = {"test": int(rng.integers(len(TESTS)))}
        scaled = bool(rng.integers(2))
        for role in ("left", *FREE):
            dtype, least, most = kinds[role in ("yes", "no")]
            if role in FREE and not rng.integers(3):
                a[f"{role}_is"] = int(rng.integers(least, most, endpoint=True))
                continue
            size = n if rng.integers(3) else 1
            arrays[role] = rng.integers(least, most, size, endpoint=True).astype(dtype)
            arrays[role][rng.uniform(0, 1, size) < 0.3] = 5  # many are equal
        for side in ("left", "right"):
            if scaled and side in arrays:
                step = float(np.float32(2.0 ** rng.uniform(-14, 0)))
                a |= _factor(step, f"{side}_", "") | {f"{side}_zero": int(rng.integers(*INT8, endpoint=True))}
        return Case(arrays | {"y": np.zeros(n, kinds[1][0])}, a, {})


def _factor(step: float, prefix: str, where: str) -> dict[str, int]:
    """The attributes of a side that is compared by its scale."""
    if not step < 1.0:
        what = f"compares integers of scale {step:.3g}, LiteRT demands less than 1"
        raise CompileError(where, what, requantise.SCALES)
    return requantise.factor(step, prefix, where)
