"""Takes a teaching signal through a matrix: g = M^T d. The feedback path of layers with weights, and of DFA;
activations that predict a signal likewise.
And how a matrix of its own learns, as weights without a bias do: M -= d x^T.

The matrix [m, n] is a layer's own weights, a learned twin, a fixed matrix in flash, or regenerated from its
seed row by row (the same numbers as the stored one, gen.numeric.feedback_matrix).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from .. import numeric
from ..ir.plan import PlanTensor
from ..sets import DSP
from ..sets.dsp import power_of_two
from . import Accumulator, Arrays, Attrs, Bounds, Case, Cost, Format, Kernel, Known, Variant, dense
from ._contract import REQUANTISED, SIZE, WORD, takes, within
from ._loops import (
    Cells,
    Loop,
    Number,
    add_row,
    blocks,
    heard,
    helper,
    less_zero,
    product_row,
    row_words,
    stream_key,
    subtract_row,
    write_signal,
)
from ._shifts import requantising
from ._weighted import update_case

SEEDED = within(rows=SIZE, cols=SIZE, seed=WORD, tensor=WORD, ternary=(0, 1), frac=(-(2**10), 2**10))
"""Attributes of a matrix that is regenerated; `frac` matters in real numbers alone."""


def _matrix(d: Cells, m: Cells, g: Cells, shift: int, lo: int, hi: int) -> None:
    acc = np.zeros(len(g), np.int32)
    for i in heard(d):
        add_row(acc, m[i], d[i])
    write_signal(g, acc, shift, lo, hi)


@helper
def draw_row(row: Cells, words: Cells, base: Any, number: Any, ternary: Any, mul: Cells, add: Cells) -> None:
    """As numeric.feedback_matrix, one row."""
    row_words(words, base, number, mul, add)
    lane = words.view(np.uint16)
    for j in range(len(row)):
        if ternary:
            top = lane[j] >> 14
            row[j] = np.int8(top == 2) - np.int8(top == 3)
        else:
            row[j] = 2 * (np.int32(lane[j]) >> 9) - 127


def _generated(
    d: Cells, acc: Cells, g: Cells, rows: int, seed: int, tensor: int, ternary: int, shift: int, lo: int,
    hi: int, mul: Cells, add: Cells,
) -> None:  # fmt: skip
    row, words = np.empty(len(g), np.int8), np.empty(len(mul), np.uint32)
    base = stream_key(seed, 0, tensor)
    acc[:] = 0
    for i in range(rows):
        if d[i] != 0:
            draw_row(row, words, base, i, ternary, mul, add)
            add_row(acc, row, d[i])
    write_signal(g, acc, shift, lo, hi)


def _expand(
    m: Cells, rows: int, cols: int, seed: int, tensor: int, ternary: int, mul: Cells, add: Cells
) -> None:
    words, base = np.empty(len(mul), np.uint32), stream_key(seed, 0, tensor)
    for i in range(rows):
        draw_row(m[i, :cols], words, base, i, ternary, mul, add)


def _tables(t: Mapping[str, PlanTensor], a: Attrs) -> dict[str, np.ndarray]:
    """`mul` and `add`: the words of a row."""
    mul, add = numeric.lcg_coefficients((a["cols"] + 1) // 2)
    return {"mul": mul, "add": add}


def _learn(
    x: Cells, d: Cells, step: Cells, w: Cells, saturated: Cells, shift: int, lo: int, hi: int, rounding: int,
    seed: int, tensor: int, x_zero: Number, mul: Cells, add: Cells,
) -> None:  # fmt: skip
    base, n = stream_key(seed, step[0], tensor), blocks(len(x))
    seen, p = less_zero(x, x_zero, n), np.empty(n, np.int32)
    words = np.empty(len(mul), np.uint32)
    lane = words.view(np.uint16)
    for i in heard(d):
        row_words(words, base, i, mul, add)
        product_row(p, d[i], seen, shift, rounding, lane)
        saturated[0] = np.uint32(saturated[0] + np.uint32(subtract_row(w, i, p, len(x), lo, hi)))


def _learn_tables(t: Mapping[str, PlanTensor], a: Attrs) -> dict[str, np.ndarray]:
    """`mul` and `add`: the words of a row where a step rounds stochastically, else none."""
    stochastic = a["rounding"] == numeric.STOCHASTIC
    mul, add = numeric.lcg_coefficients(blocks(t["w"].shape[1]) // 2 if stochastic else 0)
    return {"mul": mul, "add": add}


class Projection(Kernel):
    """What all ways through a matrix share: g is the sum, shifted and held within its limits."""

    writes: ClassVar[tuple[str, ...]] = ("g",)

    def finish(self, acc: np.ndarray, t: Arrays, a: Attrs) -> None:
        t["g"][...] = numeric.saturate(numeric.shift_round(acc, a["shift"]), a["lo"], a["hi"])

    @staticmethod
    def lowered(matrix_frac: int, f: Mapping[str, Format], where: str) -> dict[str, int]:
        shift = matrix_frac + f["d"].frac - f["g"].frac
        requantising(shift, where, "check the scale of the weights, or set feedback.gain")
        return {"shift": shift, "lo": f["g"].lo, "hi": f["g"].hi}

    @staticmethod
    def _sum(matrix: int, rows: int, cols: int, d: Known, a: Attrs) -> Bounds:
        top = matrix * min(d.l1, rows * d.mag)
        sums = [Accumulator("feedback sum", -top, top + ((1 << a["shift"]) >> 1))]
        return sums, {"g": (a["lo"], a["hi"], cols * max(-a["lo"], a["hi"]))}


class Matrix(Projection):
    name = "project.matrix"
    loop = Loop(_matrix)
    function = "project"
    reads = ("d", "m")
    operands = takes(d="int8|int16 [rows]", m="int8|int16 [rows, columns]", g="int16 [columns]")
    attributes = REQUANTISED

    def integer(self, t: Arrays, a: Attrs) -> None:
        self.finish(numeric.vecmat(t["d"], t["m"]), t, a)

    def real(self, t: Arrays, a: Attrs) -> None:
        d, m = t["d"], t["m"]
        if len(m) > 1:
            t["g"][...] = np.matmul(d[:, None, :], m)[:, 0, :]
        elif len(some := np.flatnonzero(d.any(axis=0))) == 1:  # a unit error, of which there are many
            t["g"][...] = d[:, some] * m[0, some]
        else:
            t["g"][...] = d @ m[0]

    def cap(self, f: Mapping[str, Format], a: Attrs) -> dict[str, int]:
        return {"g": f["m"].frac + f["d"].frac}

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        return self.lowered(f["m"].frac, f, where)

    def limit(
        self, role: str, f: Mapping[str, Format], shapes: Mapping[str, tuple[int, ...]], a: Attrs
    ) -> int:
        if role == "d" and "m" in f:
            return int((2**31 - 2**29) // (shapes["m"][0] * max(-f["m"].lo, f["m"].hi)))
        return 2**31 - 1

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return self._sum(k["m"].mag, k["m"].shape[0], k["m"].shape[1], k["d"], a)

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        macs = shapes["m"][0] * shapes["m"][1]
        return Cost(macs=macs, reads=macs)

    def variant(self, kernel_set: str, t: Mapping[str, PlanTensor], a: Attrs) -> Variant:
        """dsp: eight columns and two rows at a time, from the words of the matrix as it lies."""
        bits = power_of_two(a["lo"], a["hi"])
        ready = t["m"].aligned and t["d"].aligned and t["d"].dtype == "int16"
        if kernel_set != DSP or not (bits and ready):
            return super().variant(kernel_set, t, a)
        numbers = {"bits": bits, "wide": int(t["m"].dtype == "int16"), "half": (1 << a["shift"]) >> 1}
        return Variant("matrix", DSP, {}, numbers)

    def case(self, rng: np.random.Generator) -> Case:
        m, n = int(rng.integers(1, 20)), int(rng.integers(1, 40))
        matrix = (
            rng.integers(-127, 128, (m, n)).astype(np.int8)
            if rng.integers(2)
            else rng.integers(-(2**14), 2**14, (m, n)).astype(np.int16)
        )
        d = rng.integers(-(2**11), 2**11, m).astype(np.int16)
        if not rng.integers(4):
            d = (d >> 4).astype(np.int8)
        return Case(
            {"d": d, "m": matrix, "g": np.zeros(n, np.int16)},
            {"shift": int(rng.integers(0, 20)), "lo": -(2**15), "hi": 2**15 - 1},
            {},
        )


class Generated(Projection):
    """Attributes: rows, cols, seed, tensor, ternary, frac (of the matrix)."""

    name = "project.generated"
    loop = Loop(_generated, tables=_tables)
    function = "project"
    reads = ("d",)
    writes = ("acc", "g")
    operands = takes(d="int16 [rows]", acc="int32 [columns]", g="int16 [columns]")
    attributes = within(SEEDED, REQUANTISED)

    def sizes(self, a: Attrs) -> dict[str, int]:
        return {"rows": a["rows"], "columns": a["cols"]}

    def integer(self, t: Arrays, a: Attrs) -> None:
        m = numeric.feedback_matrix(a["seed"], a["tensor"], a["rows"], a["cols"], bool(a["ternary"]))
        t["acc"][...] = numeric.vecmat(t["d"], m[None])
        self.finish(t["acc"], t, a)

    def real(self, t: Arrays, a: Attrs) -> None:
        seed, tensor, rows, cols = (int(a[key]) for key in ("seed", "tensor", "rows", "cols"))
        m = numeric.feedback_matrix(seed, tensor, rows, cols, bool(a["ternary"]))
        t["g"][...] = t["d"] @ (m * 2.0 ** -a["frac"])

    def cap(self, f: Mapping[str, Format], a: Attrs) -> dict[str, int]:
        return {"g": int(a["frac"]) + f["d"].frac}

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        return {k: int(v) for k, v in a.items()} | self.lowered(int(a["frac"]), f, where)

    def limit(
        self, role: str, f: Mapping[str, Format], shapes: Mapping[str, tuple[int, ...]], a: Attrs
    ) -> int:
        return int((2**31 - 2**29) // (int(a["rows"]) * 127)) if role == "d" else 2**31 - 1

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        sums, written = self._sum(1 if a["ternary"] else 127, a["rows"], a["cols"], k["d"], a)
        return sums, written | {"acc": (sums[0].lo, -sums[0].lo, a["cols"] * -sums[0].lo)}

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        return Cost(macs=int(a["rows"]) * int(a["cols"]))

    def case(self, rng: np.random.Generator) -> Case:
        m, n = int(rng.integers(1, 12)), int(rng.integers(1, 40))
        attrs = {
            "rows": m,
            "cols": n,
            "seed": int(rng.integers(2**32)),
            "tensor": int(rng.integers(64)),
            "ternary": int(rng.integers(2)),
            "frac": 7,
            "shift": int(rng.integers(0, 12)),
            "lo": -(2**15),
            "hi": 2**15 - 1,
        }
        d = rng.integers(-(2**14), 2**14, m).astype(np.int16)
        return Case({"d": d, "acc": np.zeros(n, np.int32), "g": np.zeros(n, np.int16)}, attrs, {})


class Expand(Kernel):
    """Writes the matrix itself, for layers whose feedback is no plain product. Attributes as `generated`."""

    name = "project.expand"
    loop = Loop(_expand, tables=_tables)
    function = "project"
    writes = ("m",)
    operands = takes(m="int8 [rows, columns]")
    attributes = SEEDED

    def sizes(self, a: Attrs) -> dict[str, int]:
        return {"rows": a["rows"], "columns": a["cols"]}

    def integer(self, t: Arrays, a: Attrs) -> None:
        t["m"][...] = numeric.feedback_matrix(
            a["seed"], a["tensor"], a["rows"], a["cols"], bool(a["ternary"])
        )

    def real(self, t: Arrays, a: Attrs) -> None:
        seed, tensor, rows, cols = (int(a[key]) for key in ("seed", "tensor", "rows", "cols"))
        t["m"][...] = (
            numeric.feedback_matrix(seed, tensor, rows, cols, bool(a["ternary"])) * 2.0 ** -a["frac"]
        )

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        top = 1 if a["ternary"] else 127
        return [], {"m": (-top, top, a["rows"] * a["cols"] * top)}

    def case(self, rng: np.random.Generator) -> Case:
        m, n = int(rng.integers(1, 12)), int(rng.integers(1, 40))
        attrs = {
            "rows": m,
            "cols": n,
            "seed": int(rng.integers(2**32)),
            "tensor": int(rng.integers(64)),
            "ternary": int(rng.integers(2)),
            "frac": 7,
        }
        return Case({"m": np.zeros((m, n), np.int8)}, attrs, {})


BIAS = ("bias_shift", "bias_lo", "bias_hi")


class Learn(dense.Update):
    """M -= round(d x^T / 2^shift), held within its limits: `dense.update` of a matrix w that has no bias.

    A row without any signal is not touched and uses no random words.
    """

    name = "project.learn"
    loop = Loop(_learn, tables=_learn_tables)
    function = "learn"
    updates = ("w", "saturated")
    optional: ClassVar[tuple[str, ...]] = ()
    operands = takes({r: o for r, o in dense.Update.operands.items() if r not in ("b", "twin")})
    attributes = within({name: r for name, r in dense.Update.attributes.items() if name not in BIAS})

    def case(self, rng: np.random.Generator) -> Case:
        m, n = int(rng.integers(1, 12)), int(rng.integers(1, 40))
        case = update_case(rng, (n, m, m, n), {})
        return Case(
            {role: v for role, v in case.arrays.items() if role in self.roles},
            {name: v for name, v in case.attrs.items() if name not in BIAS},
            {role: v for role, v in case.limits.items() if role in self.roles},
        )
