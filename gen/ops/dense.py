"""Fully connected layer: y = W x + b, W [outputs, inputs] row-major."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..errors import CompileError
from ..graph import Node
from ..program import Space, Value
from . import Accumulator, Arrays, Attrs, Bounds, Case, Cost, Format, Kernel, Known, Layer

if TYPE_CHECKING:
    from ..tape import Tape


Index = NDArray[np.intp]
MAX_SHIFT = 24  # of products: what the rounding primitives are proven for
ROWS_AT_ONCE = 128  # rows whose products stay in the host's cache


class Dense(Layer):
    op = "dense"
    weighted = True

    def shape(self, node: Node, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
        x, w, b = shapes
        if len(x) != 1 or len(w) != 2 or w[1] != x[0] or b != (w[0],):
            raise CompileError(
                node.name,
                f"input {x}, weight {w} and bias {b} do not fit",
                "a dense layer takes one vector; flatten its input",
            )
        return (w[0],)

    def forward(self, tape: Tape, node: Node) -> None:
        x, w, b = node.inputs
        learned = tape.is_learned(node)
        space: Space = "state" if learned else "const"
        names = f"{node.name}_weight", f"{node.name}_bias"
        weight = Value(names[0], tape.shape(w), space, "weight", tape.constant(w), learned=learned)
        bias = Value(names[1], tape.shape(b), space, "bias", tape.constant(b), learned=learned)
        args = {"x": tape.value(x), "w": tape.add(weight), "b": tape.add(bias), "y": tape.activation(node)}
        if not learned:
            args["s"] = tape.add(Value(f"{node.name}_shift", tape.shape(b), "const", "shift"))
        tape.step("dense.forward", node, args)

    def feedback(self, tape: Tape, node: Node, teach: str, matrix: str | None) -> dict[str, str]:
        own = f"{node.name}_weight"
        if matrix is None:
            tape.alike(own)
        g = tape.teach(f"{node.name}_input", tape.shape(node.inputs[0]))
        tape.project(node, teach, matrix or own, g)
        return {node.inputs[0]: g}

    def update(self, tape: Tape, node: Node, teach: str, rate: int, twin: str | None) -> None:
        note = f"how often a learned value of {node.name} met its limit"
        args = {
            "x": tape.value(node.inputs[0]),
            "d": teach,
            "step": tape.counter("step", "samples learned from"),
            "w": f"{node.name}_weight",
            "b": f"{node.name}_bias",
            "saturated": tape.counter(f"{node.name}_saturated", note),
        }
        if twin:
            args["twin"] = twin
        tape.step("dense.update", node, args, rate=rate, **tape.rounding(f"{node.name}_weight"))

    def sample(
        self, rng: np.random.Generator, shapes: Sequence[tuple[int, ...]]
    ) -> tuple[Node, dict[str, np.ndarray]] | None:
        if len(shapes[0]) != 1:
            return None
        n, m = shapes[0][0], int(rng.integers(1, 40))
        scale = 2.0 ** rng.integers(-3, 3) / np.sqrt(n)
        consts = {"w": rng.normal(0, scale, (m, n)), "b": rng.normal(0, 0.3, m)}
        return Node("dense", "", ("in0", "w", "b"), "out"), consts


class Forward(Kernel):
    """acc = W x + b; y = acc / 2^s held within y's limits. s is one shift, or one a row (frozen layers)."""

    name = "dense.forward"
    reads = ("x", "w", "b", "s")
    writes = ("y",)
    optional = ("s",)

    def integer(self, t: Arrays, a: Attrs) -> None:
        acc = numeric.matvec(t["w"], t["x"]) + t["b"]
        shift = t["s"].astype(np.int32) if "s" in t else a["shift"]
        t["y"][...] = numeric.saturate(numeric.shift_round(acc, shift), a["lo"], a["hi"])

    def real(self, t: Arrays, a: Attrs) -> None:
        w, x = t["w"], t["x"]
        t["y"][...] = (x @ w[0].T if len(w) == 1 else np.matmul(w, x[..., None])[..., 0]) + t["b"]

    def cap(self, f: Mapping[str, Format], a: Attrs) -> dict[str, int]:
        return {"y": f["x"].frac + min(f["w"].row_fracs or (f["w"].frac,))}

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        fracs = f["w"].row_fracs or (f["w"].frac,)
        shifts = [f["x"].frac + frac - f["y"].frac for frac in fracs]
        if min(shifts) < 0 or max(shifts) > 30:
            raise CompileError(
                where,
                f"needs requantising shifts {min(shifts)} to {max(shifts)}, 0 to 30 are possible",
                "rescale the layer's weights or inputs",
            )
        return {"lo": f["y"].lo, "hi": f["y"].hi} | ({} if "s" in f else {"shift": shifts[0]})

    def limit(
        self, role: str, f: Mapping[str, Format], shapes: Mapping[str, tuple[int, ...]], a: Attrs
    ) -> int:
        # The register is shared out: an eighth to the bias, a thirty-second to the rounding half, the rest to
        # the products.
        return {"w": (2**31 - 2**28 - 2**26) // (shapes["w"][1] * 128), "b": 2**28}.get(role, 2**31 - 1)

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        w, x, b = k["w"], k["x"], k["b"]
        if w.data is not None and b.data is not None:
            row = np.abs(w.data.astype(np.int64)).sum(axis=1) * x.mag
            lo, hi = int((b.data.astype(np.int64) - row).min()), int((b.data.astype(np.int64) + row).max())
        else:
            hi = w.mag * min(x.l1, w.shape[1] * x.mag) + b.mag
            lo = -hi
        shift = int(k["s"].data.max()) if "s" in k and k["s"].data is not None else a["shift"]
        half = (1 << shift) >> 1
        n = w.shape[0]
        return [Accumulator("sum", lo, hi + half)], {"y": (a["lo"], a["hi"], n * max(-a["lo"], a["hi"]))}

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        macs = shapes["w"][0] * shapes["w"][1]
        return Cost(macs=macs, reads=macs)

    def case(self, rng: np.random.Generator) -> Case:
        m, n = int(rng.integers(1, 20)), int(rng.integers(1, 40))
        x = rng.integers(-128, 128, n).astype(np.int8)
        b = rng.integers(-(2**20), 2**20, m).astype(np.int32)
        if rng.integers(2):
            w = rng.integers(-127, 128, (m, n)).astype(np.int8)
            s = rng.integers(0, 20, m).astype(np.uint8)
            frozen: dict[str, NDArray[Any]] = {"x": x, "w": w, "b": b, "s": s, "y": np.zeros(m, np.int8)}
            return Case(frozen, {"lo": -128, "hi": 127}, {"w": (-127, 127)})
        w16 = rng.integers(-(2**15), 2**15, (m, n)).astype(np.int16)
        learned: dict[str, NDArray[Any]] = {"x": x, "w": w16, "b": b, "y": np.zeros(m, np.int16)}
        return Case(learned, {"lo": -32768, "hi": 32767, "shift": int(rng.integers(0, 20))}, {})


class Update(Kernel):
    """W -= round(d x^T / 2^shift), b -= round(d / 2^bias_shift), the twin as W, each held within its limits.

    In real numbers W -= 2^-rate d x^T. A row whose teaching signal is zero is not touched and uses no random
    words.
    """

    name = "dense.update"
    reads = ("x", "d", "step")
    updates = ("w", "b", "twin", "saturated")
    optional = ("twin",)

    def integer(self, t: Arrays, a: Attrs) -> None:
        device, row = np.nonzero(t["d"])
        m, n = t["w"].shape[1:]
        bias_lane = n + n % 2  # the first lane of the word behind the row's
        steps = t["step"][device, 0]
        for step in np.unique(steps):
            rounding = numeric.Rounding(a["rounding"], a["seed"], int(step), a["tensor"], m, bias_lane + 1)
            mine = np.flatnonzero(steps == step)
            for at in range(0, len(mine), ROWS_AT_ONCE):
                part = mine[at : at + ROWS_AT_ONCE]
                self._rows(t, a, rounding, device[part], row[part], bias_lane)

    def _rows(
        self, t: Arrays, a: Attrs, rounding: numeric.Rounding, device: Index, row: Index, bias_lane: int
    ) -> None:
        """Changes the rows [k] of the devices [k]; the pairs are distinct."""
        d = t["d"][device, row].astype(np.int32)
        p = rounding(d[:, None] * t["x"][device].astype(np.int32), a["shift"], row, slice(0, t["x"].shape[1]))
        q = rounding(d, a["bias_shift"], row, bias_lane)
        self._subtract(t, "w", device, row, p, a["lo"], a["hi"])
        if "twin" in t:
            self._subtract(t, "twin", device, row, p, a["lo"], a["hi"])
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

    def real(self, t: Arrays, a: Attrs) -> None:
        d = t["d"] * t["d"].dtype.type(2.0 ** -a["rate"])
        device, row = np.nonzero(d)
        p = d[device, row][:, None] * t["x"][device]
        t["w"][device, row] -= p
        if "twin" in t:
            t["twin"][device, row] -= p
        t["b"][...] -= d

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        k = int(a["rate"])
        shift = k + f["d"].frac + f["x"].frac - f["w"].frac
        bias_shift = k + f["d"].frac - f["b"].frac
        if shift < 0:
            what = f"a rate of 2^-{k} is too large for its number formats"
            raise CompileError(where, what, f"take 2^-{k - shift} or smaller")
        top = max(-f["d"].lo, f["d"].hi) * max(-f["x"].lo, f["x"].hi)
        possible = [s for s in range(MAX_SHIFT + 1) if numeric.Rounding.least(int(a["rounding"]), s) <= top]
        if shift > possible[-1]:
            reason = f"can change nothing: the largest product {top} is shifted right by {shift}"
            if possible[-1] == MAX_SHIFT:
                reason = f"needs a shift of {shift}, {MAX_SHIFT} is the largest that is proven"
            best = k - (shift - possible[-1])
            hint = f"take 2^-{best} or larger" if best >= 0 else 'take rounding = "stochastic"'
            wider = ', or weights = "int16"' if f["w"].dtype == "int8" else ""
            raise CompileError(where, f"a rate of 2^-{k} {reason}", hint + wider)
        if bias_shift > MAX_SHIFT:
            what = (
                f"the bias's change needs a shift of {bias_shift}, {MAX_SHIFT} is the largest that is proven"
            )
            raise CompileError(where, what, "take a larger rate, or scale the inputs down")
        return {
            "shift": shift,
            "bias_shift": bias_shift,
            "rate": k,
            "lo": f["w"].lo,
            "hi": f["w"].hi,
            "bias_lo": f["b"].lo,
            "bias_hi": f["b"].hi,
            "rounding": int(a["rounding"]),
            "seed": int(a["seed"]),
            "tensor": int(a["tensor"]),
        }

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        product = k["d"].mag * k["x"].mag
        bias = k["d"].mag << max(-a["bias_shift"], 0)
        sums = [
            Accumulator("product and dither", -product, product + (1 << a["shift"])),
            Accumulator("bias product", -bias, bias + (1 << max(a["bias_shift"], 0))),
            Accumulator("bias and its change", -bias - k["b"].mag, bias + k["b"].mag),
        ]
        return sums, {}

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        macs = shapes["w"][0] * shapes["w"][1]
        copies = 2 if "twin" in shapes else 1
        return Cost(macs=macs, reads=copies * macs, writes=copies * macs)

    def case(self, rng: np.random.Generator) -> Case:
        m, n = int(rng.integers(1, 20)), int(rng.integers(1, 40))
        wide = bool(rng.integers(2))
        bits = int(rng.integers(10, 17)) if wide else 8
        lo, hi = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
        dtype = np.int16 if wide else np.int8
        d = (rng.integers(-(2**11), 2**11, m) * rng.integers(0, 2, m)).astype(np.int16)
        arrays: dict[str, NDArray[Any]] = {
            "x": rng.integers(-128, 128, n).astype(np.int8),
            "d": d,
            "step": rng.integers(0, 2**32, 1, np.uint32),
            "w": rng.integers(lo, hi + 1, (m, n)).astype(dtype),
            "b": rng.integers(-(2**24), 2**24, m).astype(np.int32),
            "saturated": np.zeros(1, np.uint32),
        }
        if rng.integers(2):
            arrays["twin"] = rng.integers(lo, hi + 1, (m, n)).astype(dtype)
        attrs = {
            "shift": int(rng.integers(0, 25)),
            "bias_shift": int(rng.integers(-8, 12)),
            "rate": 0,
            "lo": lo,
            "hi": hi,
            "bias_lo": -(2**24),
            "bias_hi": 2**24 - 1,
            "rounding": int(rng.integers(3)),
            "seed": int(rng.integers(2**32)),
            "tensor": int(rng.integers(64)),
        }
        return Case(arrays, attrs, {"w": (lo, hi), "twin": (lo, hi), "b": (-(2**24), 2**24 - 1)})
