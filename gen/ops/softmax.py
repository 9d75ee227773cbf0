"""Softmax, or its logarithm, over the last axis, in the fixed-point arithmetic of TensorFlow Lite's kernels.

An input is int8, so there are 256 differences from the largest: their exponentials are a constant of the
step. Where formats are ours the arithmetic is the same, the scales being powers of two.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..errors import CompileError
from ..ir.graph import Node
from ..ir.program import Value
from ..ir.tape import Tape
from ..numeric import gemmlowp
from . import Accumulator, Arrays, Attrs, Bounds, Case, Cost, Format, Kernel, Known, Layer, softmax16
from ._contract import BETWEEN, INT16, REQUANTISED, Tensors, crossed, takes, within
from ._loops import Cells, Loop, Number, helper
from ._requantise import MULTIPLIER_TOP
from ._rows import ROW, rows_misfit
from ._shifts import requantising
from .pointwise16 import wide

ENTRIES = 256
INTEGER = 5  # bits of a difference before the point: exp(-32) is nothing
SUM = 12  # of the sum
LOG_LEAST = -(2**30)  # -16 in Q5: the logarithm goes no lower


class Softmax(Layer):
    op = "softmax"
    holds = True
    head = "softmax"

    def shape(self, node: Node, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
        beta = _beta(node)
        if not (math.isfinite(beta) and beta > 0):
            raise CompileError(node.name, f"beta is {beta}", "export the layer with a positive beta")
        return shapes[0]

    def forward(self, tape: Tape, node: Node) -> None:
        if wide(tape, node):
            softmax16.forward(tape, node, _beta(node))
            return
        x, y = tape.value(node.inputs[0]), tape.activation(node)
        note = "exponentials of differences -255 .. 0"
        table = tape.add(Value(f"{node.name}_exp", (ENTRIES,), "const", "table", note=note))
        kernel = "softmax.log" if node.attrs["log"] else "softmax.forward"
        args = {"x": x, "table": table, "y": y}
        tape.step(kernel, node, args, beta=_beta(node), size=tape.shape(node.inputs[0])[-1])

    def feedback(self, tape: Tape, node: Node, teach: str, matrix: str | None) -> dict[str, str]:
        beta, in_16 = _beta(node), wide(tape, node)
        if node.attrs["log"] or beta != 1.0 or in_16:
            what = "a log-softmax" if node.attrs["log"] else f"a softmax with beta {beta:.3g}"
            what = "a softmax of int16" if in_16 else what
            hint = "let only layers behind it learn"
            raise CompileError(node.name, f"no teaching signal passes through {what}", hint)
        g = tape.teach(f"{node.name}_input", tape.shape(node.inputs[0]))
        args = {"y": tape.value(node.output), "d": teach, "g": g}
        tape.step("softmax.feedback", node, args, size=tape.shape(node.inputs[0])[-1])
        return {node.inputs[0]: g}

    def sample(
        self, rng: np.random.Generator, shapes: Sequence[tuple[int, ...]]
    ) -> tuple[Node, dict[str, np.ndarray]] | None:
        log = int(rng.integers(4) == 0)
        return Node("softmax", "", ("in0",), "out", {"log": log, "beta": 1.0}), {}


def _beta(node: Node) -> float:
    beta = node.attrs["beta"]
    assert isinstance(beta, int | float)
    return float(beta)


def _scale(x: Format, a: Attrs) -> tuple[int, int, int]:
    """(m, n, least): a difference d times m / 2^n is in Q5; below `least` it is too large for that."""
    factor = float(np.float32(a["beta"])) * x.meaning.step * 2.0 ** (31 - INTEGER)
    m, n = numeric.multiplier(min(factor, 2.0**31 - 1.0))
    least = -math.floor(((1 << INTEGER) - 1) * 2.0 ** (31 - INTEGER) / 2.0 ** (31 - n))
    return m, max(n, 1), max(least, -ENTRIES)


def _unit(y: Format, where: str) -> tuple[int, int]:
    """(frac, zero) of an output (v - zero) / 2^frac; CompileError where its scale is no power of two."""
    frac, zero = -math.log2(y.meaning.step), int(y.meaning.units(0.0))
    if not frac.is_integer() or not 0 <= frac <= 24:
        what = f"its output has {y.meaning}, the scale of a softmax is 2^-n"
        raise CompileError(where, what, "quantise the model again")
    return int(frac), zero


@helper
def exponentials(x: Cells, at: Any, size: Any, table: Cells) -> Any:
    """(the largest value of a row of x, the sum of its exponentials)."""
    most: Any = np.int32(x[at])
    total: Any = np.int32(0)
    for i in range(size):
        most = numeric.int32(max(most, np.int32(x[at + i])))
    for i in range(size):
        e = numeric.int32(table[np.int32(x[at + i]) - most + (ENTRIES - 1)])
        total = numeric.int32(total + numeric.shift_away(e, SUM))
    return most, total


def _forward(x: Cells, table: Cells, y: Cells, size: int, shift: Number, zero: int, lo: int, hi: int) -> None:
    for at in range(0, len(y), size):
        most, total = exponentials(x, at, size, table)
        lead = np.int64(numeric.leading_zeros(total))
        share = numeric.reciprocal_q0(numeric.int32((np.int64(total) << lead) - 2**31))
        right: Any = min(shift - lead, 31)
        for i in range(size):
            e = numeric.int32(table[np.int32(x[at + i]) - most + (ENTRIES - 1)])
            v = numeric.shift_away(numeric.high_product(share, e), right)
            y[at + i] = numeric.saturate(numeric.int32(v + np.int32(zero)), lo, hi)


def _log(
    x: Cells, table: Cells, y: Cells, size: int, shift: Number, zero: int, multiplier: Number,
    factor_shift: Number, least: int, lo: int, hi: int,
) -> None:  # fmt: skip
    for at in range(0, len(y), size):
        most, total = exponentials(x, at, size, table)
        log = numeric.log_q5(total)
        for i in range(size):
            d, q5 = numeric.int32(np.int32(x[at + i]) - most), numeric.int32(LOG_LEAST)
            if d >= least:
                q5 = numeric.int32(max(numeric.scale_twice(d, multiplier, factor_shift), LOG_LEAST))
            v = numeric.shift_away(numeric.int32(q5 - log), shift)
            y[at + i] = numeric.saturate(numeric.int32(v + np.int32(zero)), lo, hi)


def _feedback(
    y: Cells, d: Cells, g: Cells, size: int, frac: int, zero: int, shift: Number, lo: int, hi: int
) -> None:
    for at in range(0, len(g), size):
        total: Any = np.int32(0)
        for i in range(at, at + size):
            total = numeric.int32(total + numeric.int32(np.int32(y[i]) - np.int32(zero)) * np.int32(d[i]))
        mean = numeric.shift_round(total, frac)
        for i in range(at, at + size):
            away = numeric.saturate(numeric.int32(np.int32(d[i]) - mean), -(2**16), 2**16)
            product = numeric.int32(numeric.int32(np.int32(y[i]) - np.int32(zero)) * np.int32(away))
            g[i] = numeric.saturate(numeric.shift_round(product, shift), lo, hi)


class _Softmax(Kernel):
    """What both have in common: rows of `size` values, exponentials in Q0, their sum in Q12."""

    reads = ("x", "table")
    writes = ("y",)
    inplace = ("x", "y")
    operands = takes(x="int8 [n]", table=f"int32 [{ENTRIES}]", y="int8|int16 [n]")

    def misfit(self, t: Tensors, a: Attrs) -> str:
        table = t["table"]
        whole = table.lo >= 0 and table.data is not None and int(table.array()[-1]) == gemmlowp.TOP
        fault = "" if whole else "its exponentials do not end with that of 0"
        return crossed(a) or rows_misfit(t["x"].shape[0], a["size"]) or fault

    @staticmethod
    def _sums(t: Arrays, a: Attrs) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
        """Differences and exponentials [fleet, rows, size], sums [fleet, rows, 1]."""
        x = t["x"].reshape(len(t["x"]), -1, a["size"]).astype(np.int32)
        d = x - x.max(axis=2, keepdims=True)
        table = np.broadcast_to(t["table"], (len(x), ENTRIES))
        e = np.take_along_axis(table, (d + (ENTRIES - 1)).reshape(len(x), -1).astype(np.intp), axis=1)
        e = e.reshape(d.shape).astype(np.int32)
        total = numeric.shift_away(e, SUM).sum(axis=2, keepdims=True, dtype=np.int32)
        return d, e, total

    def derived(
        self, role: str, f: Mapping[str, Format], a: Attrs, where: str
    ) -> tuple[Format, NDArray[np.int64]]:
        if f["x"].dtype != "int8":
            what = f"its input is {f['x'].dtype}, a softmax has an exponential for each int8"
            raise CompileError(where, what, "put a layer with weights behind it")
        m, n, least = _scale(f["x"], a)
        d = np.arange(1 - ENTRIES, 1)
        q5 = numeric.scale_twice(np.where(d < least, 0, d).astype(np.int32), np.asarray(m, np.int32), n)
        e = np.where(d < least, 0, gemmlowp.exp_neg(q5))
        return Format("int32", 31, 0, gemmlowp.TOP), e.astype(np.int64)

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        n = k["y"].shape[0]
        sums = [Accumulator("sum of exponentials", 0, a["size"] << (31 - SUM))]
        return sums, {"y": (a["lo"], a["hi"], n * max(-a["lo"], a["hi"]))}

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        return Cost(macs=shapes["x"][0], reads=4 * ENTRIES)

    def _case(self, rng: np.random.Generator) -> tuple[dict[str, NDArray[np.generic]], dict[str, int]]:
        """Operands and attributes, but for those of the output."""
        size, rows = int(rng.choice([1, 2, 5, 40])), int(rng.integers(1, 4))
        x = rng.integers(-128, 128, size * rows).astype(np.int8)
        x_format = Format("int8", int(rng.integers(-1, 9)), -128, 127)
        given = {"beta": 1.0, "size": size}
        table = self.derived("table", {"x": x_format}, given, "")[1].astype(np.int32)
        m, n, least = _scale(x_format, given)
        arrays: dict[str, NDArray[np.generic]] = {"x": x, "table": table, "y": np.zeros_like(x)}
        return arrays, {
            "size": size,
            "multiplier": m,
            "factor_shift": n,
            "least": least,
            "lo": -128,
            "hi": 127,
        }


class Forward(_Softmax):
    """y = exp(x) / sum exp(x): a share of the row's reciprocal, which has 31 bits behind the point."""

    name = "softmax.forward"
    loop = Loop(_forward)
    attributes = within(BETWEEN, size=ROW, shift=(SUM + 7, SUM + 31), zero=INT16)

    def integer(self, t: Arrays, a: Attrs) -> None:
        _, e, total = self._sums(t, a)
        lead = numeric.leading_zeros(total).astype(np.int64)
        share = numeric.reciprocal_q0(((total.astype(np.int64) << lead) - 2**31).astype(np.int32))
        shift = np.minimum(a["shift"] - lead, 31).astype(np.int32)
        y = numeric.shift_away(numeric.high_product(share, e), shift) + np.int32(a["zero"])
        t["y"][...] = numeric.saturate(y, a["lo"], a["hi"]).reshape(t["y"].shape)

    def real(self, t: Arrays, a: Attrs) -> None:
        x = a["beta"] * t["x"].reshape(len(t["x"]), -1, a["size"])
        e = np.exp(x - x.max(axis=2, keepdims=True))
        t["y"][...] = (e / e.sum(axis=2, keepdims=True)).reshape(t["y"].shape)

    def cap(self, f: Mapping[str, Format], a: Attrs) -> dict[str, int]:
        return {"y": 24}

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        frac, zero = _unit(f["y"], where)
        return {"size": a["size"], "shift": SUM + 31 - frac, "zero": zero, "lo": f["y"].lo, "hi": f["y"].hi}

    def case(self, rng: np.random.Generator) -> Case:
        arrays, a = self._case(rng)
        attrs = {key: a[key] for key in ("size", "lo", "hi")}
        attrs |= {"shift": SUM + 31 - int(rng.integers(5, 13)), "zero": int(rng.choice([-128, 0]))}
        return Case(arrays, attrs, {"table": (0, gemmlowp.TOP)})


class Log(_Softmax):
    """y = x - log sum exp(x), x counted from the row's largest."""

    name = "softmax.log"
    loop = Loop(_log)
    attributes = within(
        BETWEEN,
        size=ROW,
        shift=(0, 31 - INTEGER),
        zero=INT16,
        multiplier=(0, MULTIPLIER_TOP),
        factor_shift=(1, 62),
        least=(-ENTRIES, 0),
    )

    def integer(self, t: Arrays, a: Attrs) -> None:
        d, _, total = self._sums(t, a)
        far = d < a["least"]
        q5 = numeric.scale_twice(
            np.where(far, 0, d), np.asarray(a["multiplier"], np.int32), a["factor_shift"]
        )
        q5 = np.where(far, np.int32(LOG_LEAST), np.maximum(q5, np.int32(LOG_LEAST)))
        y = numeric.shift_away(q5 - numeric.log_q5(total), a["shift"]) + np.int32(a["zero"])
        t["y"][...] = numeric.saturate(y, a["lo"], a["hi"]).reshape(t["y"].shape)

    def real(self, t: Arrays, a: Attrs) -> None:
        x = a["beta"] * t["x"].reshape(len(t["x"]), -1, a["size"])
        x = x - x.max(axis=2, keepdims=True)
        t["y"][...] = (x - np.log(np.exp(x).sum(axis=2, keepdims=True))).reshape(t["y"].shape)

    def cap(self, f: Mapping[str, Format], a: Attrs) -> dict[str, int]:
        return {"y": 24}

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        m, n, least = _scale(f["x"], a)
        frac, zero = _unit(f["y"], where)
        scale = {"multiplier": m, "factor_shift": n, "least": least}
        ends = {"zero": zero, "lo": f["y"].lo, "hi": f["y"].hi}
        return {"size": a["size"], "shift": 31 - INTEGER - frac, **scale, **ends}

    def case(self, rng: np.random.Generator) -> Case:
        arrays, a = self._case(rng)
        a |= {"shift": 31 - INTEGER - int(rng.integers(2, 9)), "zero": int(rng.choice([127, 0]))}
        return Case(arrays, a, {"table": (0, gemmlowp.TOP)})


class Feedback(Kernel):
    """g = y (d - sum y d) a row, y in units of 2^-frac above its zero; the sum is rounded to units of d."""

    name = "softmax.feedback"
    loop = Loop(_feedback)
    reads = ("y", "d")
    writes = ("g",)
    inplace = ("d", "g")
    operands = takes(y="int8|int16 [n]", d="int16 [n]", g="int16 [n]")
    attributes = within(REQUANTISED, size=ROW, frac=(0, 24), zero=INT16)

    def misfit(self, t: Tensors, a: Attrs) -> str:
        return rows_misfit(t["y"].shape[0], a["size"])

    def integer(self, t: Arrays, a: Attrs) -> None:
        shape = (len(t["d"]), -1, a["size"])
        y, d = (
            (t["y"].astype(np.int32) - np.int32(a["zero"])).reshape(shape),
            t["d"].astype(np.int32).reshape(shape),
        )
        mean = numeric.shift_round((y * d).sum(axis=2, keepdims=True, dtype=np.int32), a["frac"])
        g = numeric.shift_round(y * numeric.saturate(d - mean, -(2**16), 2**16), a["shift"])
        t["g"][...] = numeric.saturate(g, a["lo"], a["hi"]).reshape(t["g"].shape)

    def real(self, t: Arrays, a: Attrs) -> None:
        y, d = (t[role].reshape(len(t["d"]), -1, a["size"]) for role in ("y", "d"))
        t["g"][...] = (y * (d - (y * d).sum(axis=2, keepdims=True))).reshape(t["g"].shape)

    def cap(self, f: Mapping[str, Format], a: Attrs) -> dict[str, int]:
        return {"g": f["d"].frac + _unit(f["y"], "softmax")[0]}

    def limit(
        self, role: str, f: Mapping[str, Format], shapes: Mapping[str, tuple[int, ...]], a: Attrs
    ) -> int:
        if role != "d":
            return 2**31 - 1
        zero = int(f["y"].meaning.units(0.0))
        most = max(f["y"].hi - zero, zero - f["y"].lo)
        return (2**31 - 2**24) // (int(a["size"]) * most)

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        frac, zero = _unit(f["y"], where)
        shift = f["d"].frac + frac - f["g"].frac
        requantising(shift, where, "rescale the layer behind it")
        return {
            "size": a["size"],
            "frac": frac,
            "zero": zero,
            "shift": shift,
            "lo": f["g"].lo,
            "hi": f["g"].hi,
        }

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        y = max(abs(end - a["zero"]) for end in (k["y"].lo, k["y"].hi))
        total, product = a["size"] * y * k["d"].mag, y << 16
        sums = [
            Accumulator("sum", -total, total + ((1 << a["frac"]) >> 1)),
            Accumulator("product", -product, product + ((1 << a["shift"]) >> 1)),
        ]
        return sums, {"g": (a["lo"], a["hi"], k["g"].shape[0] * max(-a["lo"], a["hi"]))}

    def case(self, rng: np.random.Generator) -> Case:
        size, rows = int(rng.choice([1, 2, 5, 40])), int(rng.integers(1, 4))
        d = rng.integers(-(2**15), 2**15, size * rows).astype(np.int16)
        arrays: dict[str, NDArray[np.generic]] = {
            "y": rng.integers(-128, 128, d.size).astype(np.int8),
            "d": d,
            "g": np.zeros_like(d),
        }
        attrs = {"size": size, "frac": int(rng.integers(5, 13)), "zero": int(rng.choice([-128, 0]))}
        return Case(arrays, attrs | {"shift": int(rng.integers(0, 20)), "lo": -(2**12), "hi": 2**12 - 1}, {})
