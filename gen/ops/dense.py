"""Fully connected layer: y = W x + b, W [outputs, inputs] row-major."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..errors import CompileError, SynapccError
from ..ir.graph import Node
from ..ir.plan import PlanTensor
from ..ir.tape import Tape
from ..sets import DSP, MVE
from ..sets.dsp import power_of_two
from . import Arrays, Attrs, Case, Cost, Variant, _dense_loops, _long_loops, _mve
from ._bench import MOST, Alone, Line
from ._contract import takes
from ._dsp import weighted_sums
from ._folding import Pair, Shape, affine_columns
from ._loops import RATES, Loop, narrow, row_tables
from ._requantise import ONCE, centred, random_ending, summed
from ._weighted import (
    ROWS_AT_ONCE,
    Change,
    Index,
    WeightedForward,
    WeightedLayer,
    WeightedUpdate,
    update_case,
    wide_case,
)
from ._zeros import with_zeros


class Dense(WeightedLayer):
    op = "dense"
    fully = True

    def shape(self, node: Node, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
        x, w, b = shapes
        if len(x) != 1 or len(w) != 2 or w[1] != x[0] or b != (w[0],):
            raise CompileError(
                node.name,
                f"input {x}, weight {w} and bias {b} do not fit",
                "a dense layer takes one vector; flatten its input",
            )
        return (w[0],)

    def takes_in(self, node: Node, shifted: bool) -> bool:
        return True

    def before(self, node: Node, constants: Pair, pair: Pair, shape: Shape) -> Pair | None:
        return affine_columns(constants, *pair)

    def feedback(self, tape: Tape, node: Node, teach: str, matrix: str | None) -> dict[str, str]:
        g = tape.teach(f"{node.name}_input", tape.shape(node.inputs[0]))
        tape.project(node, teach, self.passes(tape, node, matrix), g)
        return {node.inputs[0]: g}

    def sample(
        self, rng: np.random.Generator, shapes: Sequence[tuple[int, ...]]
    ) -> tuple[Node, dict[str, np.ndarray]] | None:
        if len(shapes[0]) != 1:
            return None
        n, m = shapes[0][0], int(rng.integers(1, 40))
        scale = 2.0 ** rng.integers(-3, 3) / np.sqrt(n)
        consts = {"w": rng.normal(0, scale, (m, n)), "b": rng.normal(0, 0.3, m)}
        return Node("dense", "", ("in0", "w", "b"), "out"), consts


class Forward(WeightedForward):
    name = "dense.forward"
    loop = Loop(
        _dense_loops.forward, takes=narrow, otherwise=Loop(_long_loops.dense, takes=_long_loops.takes)
    )
    operands = takes(
        x="int8|int16 [columns]",
        w="int8|int16 [rows, columns]",
        b="int32 [rows]",
        m="int32 [rows]",
        r="uint32 [rows]",
        s="uint8 [rows]",
        y="int8|int16 [rows]",
    )

    def integer(self, t: Arrays, a: Attrs) -> None:
        t["y"][...] = self.ended(numeric.matvec(t["w"], centred(t["x"], a), summed(a)) + t["b"], t, a)

    def real(self, t: Arrays, a: Attrs) -> None:
        w, x = t["w"], t["x"]
        sums = x @ w[0].T if len(w) == 1 else np.matmul(w, x[..., None])[..., 0]
        t["y"][...] = self.held(sums + t["b"], a)

    def gram(self, x: NDArray[Any], a: Attrs) -> NDArray[Any] | None:
        return np.asarray((x.T @ x)[None])

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        macs = shapes["w"][0] * shapes["w"][1]
        return Cost(macs=macs, reads=macs)

    def variant(self, kernel_set: str, t: Mapping[str, PlanTensor], a: Attrs) -> Variant:
        """mve: four rows at a time; dsp: frozen rows in dual pairs where their sums allow it, all others four
        at a time."""
        sums = {DSP: weighted_sums, MVE: _mve.weighted_sums}.get(kernel_set)
        chosen = sums(t, a) if sums and t["x"].dtype == "int8" else None
        return chosen or super().variant(kernel_set, t, a)

    def case(self, rng: np.random.Generator) -> Case:
        m, n = int(rng.integers(1, 20)), int(rng.integers(1, 40))
        x = rng.integers(-128, 128, n).astype(np.int8)
        b = rng.integers(-(2**20), 2**20, m).astype(np.int32)
        if rng.integers(2):
            w = rng.integers(-127, 128, (m, n)).astype(np.int8)
            s = rng.integers(0, 20, m).astype(np.uint8)
            frozen: dict[str, NDArray[Any]] = {"x": x, "w": w, "b": b, "s": s, "y": np.zeros(m, np.int8)}
            if rng.integers(2):
                return self.scaled_case(rng, frozen, {})
            return with_zeros(rng, wide_case(Case(frozen, {"lo": -128, "hi": 127}, {"w": (-127, 127)})))
        w16 = rng.integers(-(2**15), 2**15, (m, n)).astype(np.int16)
        learned: dict[str, NDArray[Any]] = {"x": x, "w": w16, "b": b, "y": np.zeros(m, np.int16)}
        ends = random_ending(rng) if rng.integers(2) else {"shift": int(rng.integers(0, 20))}
        return Case(learned, {"lo": -32768, "hi": 32767, **ends}, {})


class Update(WeightedUpdate):
    """The sum of a weight is the outer product d x^T, that of a bias d."""

    name = "dense.update"
    loop = Loop(_dense_loops.update, RATES, row_tables)
    operands = takes(
        x="int8 [columns]",
        d="int16 [rows]",
        step="uint32 [1]",
        saturated="uint32 [1]",
        w="int8|int16|int32 [rows, columns]",
        b="int32 [rows]",
        twin="=w [rows, columns]",
    )

    def changes(self, t: Arrays, a: Attrs) -> tuple[NDArray[np.bool_], Change]:
        x = centred(t["x"], a)

        def change(device: Index, row: Index) -> tuple[numeric.Int, numeric.Int]:
            d = t["d"][device, row].astype(np.int32)
            return d[:, None] * x[device].astype(np.int32), d

        return t["d"] != 0, change

    def gradient(self, t: Arrays, a: Attrs) -> tuple[np.ndarray, np.ndarray]:
        return t["d"][:, :, None] * t["x"][:, None, :], t["d"]

    def real(self, t: Arrays, a: Attrs) -> None:
        # as the base class does, without the many rows that are zero
        rate, bias_rate = self.rates(t, a)
        d = t["d"] * rate
        devices, rows = np.nonzero(d)
        for at in range(0, len(devices), ROWS_AT_ONCE):
            device, row = devices[at : at + ROWS_AT_ONCE], rows[at : at + ROWS_AT_ONCE]
            p = d[device, row][:, None] * t["x"][device]
            t["w"][device, row] -= p
            if "twin" in t:
                t["twin"][device, row] -= p
        if "b" in t:
            t["b"][...] -= t["d"] * bias_rate

    def variant(self, kernel_set: str, t: Mapping[str, PlanTensor], a: Attrs) -> Variant:
        """dsp: two lanes at a time; two rows where they share nothing but inputs without a zero point."""
        w, d, bits, shift = t["w"], t["d"], power_of_two(a["lo"], a["hi"]), a["shift"]
        wide, aligned = w.dtype == "int16", all(t[r].aligned for r in ("w", "twin") if r in t)
        if kernel_set != DSP or w.dtype == "int32" or not (bits and aligned):  # sums have no lanes
            return super().variant(kernel_set, t, a)
        # A change, and a value less its change, must fit a lane; QSUB16 holds the latter by itself.
        zero = a.get("x_zero", 0)
        change = (max(-d.lo, d.hi) * (128 + abs(zero)) >> shift) + 1
        fits = change + (0 if wide and bits == 16 else 1 << (bits - 1)) < 2**15
        if not fits:
            return super().variant(kernel_set, t, a)
        numbers = {"bits": bits, "wide": int(wide)}
        nearest = a["rounding"] == numeric.Rounding.NEAREST
        if nearest and wide and not zero and "twin" not in t and 8 <= shift <= 16 and t["x"].aligned:
            # all but the bits that the low lane's sign leaves in the high lane when both are shifted left
            mask = 2**32 - 1 - (((1 << 16 - shift) - 1) << 16)
            pair = {"half": 1 << shift - 1, "mask": mask, "unroll": 4}
            return Variant("update_two_rows", DSP, {}, numbers | pair)
        if a["rounding"] != numeric.Rounding.DITHER and not zero and 8 <= shift <= 24 and t["x"].aligned:
            quad = int(bits == 8 and not wide and change < 2**7)  # changes fit bytes
            return Variant(
                "update_words", DSP, {}, numbers | {"quad": quad, "unroll": 4 if w.row >= 64 else 2}
            )
        single = {
            "scaled": int(shift <= 16 and a["rounding"] != numeric.Rounding.DITHER),
            "half": 1 << max(shift, 16) - 1,
            "both": int("twin" in t or not wide),
            "unroll": 2,
        }
        return Variant("update_row", DSP, {}, numbers | single)

    def case(self, rng: np.random.Generator) -> Case:
        m, n = int(rng.integers(1, 20)), int(rng.integers(1, 40))
        return update_case(rng, (n, m, m, n), {})


class DenseAlone(Alone):
    name = "dense"
    grammar = r"(?P<n>\d+) (?P<m>\d+)"
    example = "dense 256 128"
    kernels = "dense."

    def write(self, line: Line, words: Mapping[str, str]) -> None:
        n, m = int(words["n"]), int(words["m"])
        line.input(n)
        line.add("dense", weight=(m, n))
        line.classes()


class ScaledAlone(DenseAlone):
    name = "dense-scaled"
    example = "dense-scaled 256 128"
    phases = ("infer",)
    rounds = ONCE


class UpdateAlone(DenseAlone):
    name = "update"
    example = "update 256 128"
    phases = ("learn",)
    kernels = "dense.update"


class PerceptronAlone(Alone):
    """Dense layers with a ReLU behind each but the last."""

    name = "mlp"
    grammar = r"(?P<sizes>\d+(?: \d+)+)"
    example = "mlp 64 32 5"
    whole = True

    def write(self, line: Line, words: Mapping[str, str]) -> None:
        sizes = [int(n) for n in words["sizes"].split()]
        if min(sizes) < 1 or max(a * b for a, b in itertools.pairwise(sizes)) > MOST:
            what = "a layer is too large, or empty"
            raise SynapccError(line.where, what, f"tensors hold 1 to {MOST} values")
        line.input(sizes[0])
        for number, (n, m) in enumerate(itertools.pairwise(sizes), 1):
            if number > 1:
                line.add("clip", f"relu{number - 1}", {"lo": 0.0, "hi": math.inf})
            line.add("dense", f"fc{number}", weight=(m, n))
