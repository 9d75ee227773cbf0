"""What an equation of a rule file does that no other kernel does: a sum of products, rounded once.

`matrix` changes a matrix [o, i] by products of signals along o, signals along i and, where it decays, itself;
`change` a vector, a bias or a trace; `signal` writes one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..ir.plan import PlanTensor
from . import Accumulator, Arrays, Attrs, Bounds, Case, Cost, Format, Kernel, Known, Variant
from . import _terms as terms
from ._contract import HELD, ROUNDED, WORD, Tensors, beyond, takes, within
from ._loops import Cells, Loop, Number, helper, row_words, stream_key

ROWS = ("d0", "d1", "d2", "d3")
COLUMNS = ("x0", "x1", "x2", "x3")
OF_MATRIX = (*ROWS, *COLUMNS, "w")
SIGNALS = ("v0", "v1", "v2", "v3", "v4", "v5")
OF_VECTOR = (*SIGNALS, "y")
TRACED = 2**15 - 1
SILENT = 8  # frac of a trace of what is zero throughout


@helper
def raised(v: Cells, i: Any, power: Any) -> Any:
    """v[i] to a power of 0 to 3."""
    if power == 0:
        return np.int64(1)
    x = np.int64(v[i])
    out = x
    for _ in range(power - 1):
        out = out * x
    return out


def _matrix(
    d0: Cells, d1: Cells, d2: Cells, d3: Cells, x0: Cells, x1: Cells, x2: Cells, x3: Cells, step: Cells,
    w: Cells, saturated: Cells, ends: Number, how: Number, columns: Cells, parts: Cells, mul: Cells,
    add: Cells,
) -> None:  # fmt: skip
    lo, hi, drop, shift = ends
    rounding, seed, tensor = how
    base, n, most = stream_key(seed, step[0], tensor), columns[0], len(parts)
    across, down = np.empty((most, n), np.int64), np.empty(most, np.int64)
    for k in range(most):
        q = parts[k]
        for j in range(n):
            across[k, j] = (
                raised(x0, j, q[5]) * raised(x1, j, q[6]) * raised(x2, j, q[7]) * raised(x3, j, q[8])
            )
    words, met = np.empty(len(mul), np.uint32), np.int32(0)
    lane = words.view(np.uint16)
    for i in range(len(w)):
        row_words(words, base, i, mul, add)
        for k in range(most):
            q = parts[k]
            both = raised(d0, i, q[1]) * raised(d1, i, q[2]) * raised(d2, i, q[3]) * raised(d3, i, q[4])
            down[k] = q[0] * both
        for j in range(n):
            total = np.int64(0)
            for k in range(most):
                product = down[k] * across[k, j]
                total += product * np.int64(w[i, j]) if parts[k, 9] else product
            drawn: Any = lane[j] if rounding == numeric.STOCHASTIC else np.uint16(0)
            p = numeric.rounded(rounding, numeric.int32(total >> np.int64(drop)), shift, drawn)
            v = numeric.int32(np.int32(w[i, j]) - p)
            held = numeric.saturate(v, lo, hi)
            met = np.int32(met + np.int32(held != v))
            w[i, j] = held
    saturated[0] = np.uint32(saturated[0] + np.uint32(met))


@helper
def vector_sum(
    parts: Cells,
    i: Any,
    v0: Cells,
    v1: Cells,
    v2: Cells,
    v3: Cells,
    v4: Cells,
    v5: Cells,
    own: Any,
    drop: Any,
) -> Any:
    """Place i of a sum along one axis. own: what stands there"""
    total = np.int64(0)
    for k in range(len(parts)):
        q = parts[k]
        product = q[0] * raised(v0, i, q[1]) * raised(v1, i, q[2]) * raised(v2, i, q[3])
        product = product * raised(v3, i, q[4]) * raised(v4, i, q[5]) * raised(v5, i, q[6])
        total += product * own if q[7] else product
    return numeric.int32(total >> np.int64(drop))


def _change(
    v0: Cells, v1: Cells, v2: Cells, v3: Cells, v4: Cells, v5: Cells, step: Cells, y: Cells,
    saturated: Cells, ends: Number, how: Number, parts: Cells, mul: Cells, add: Cells,
) -> None:  # fmt: skip
    lo, hi, drop, shift = ends
    rounding, seed, tensor = how
    words, met = np.empty(len(mul), np.uint32), np.int32(0)
    row_words(words, stream_key(seed, step[0], tensor), 0, mul, add)
    lane = words.view(np.uint16)
    for i in range(len(y)):
        q = vector_sum(parts, i, v0, v1, v2, v3, v4, v5, np.int64(y[i]), drop)
        drawn: Any = lane[i] if rounding == numeric.STOCHASTIC else np.uint16(0)
        v = numeric.int32(np.int32(y[i]) - numeric.rounded(rounding, q, shift, drawn))
        held = numeric.saturate(v, lo, hi)
        met = np.int32(met + np.int32(held != v))
        y[i] = held
    if len(saturated):
        saturated[0] = np.uint32(saturated[0] + np.uint32(met))


def _signal(
    v0: Cells, v1: Cells, v2: Cells, v3: Cells, v4: Cells, v5: Cells, y: Cells, ends: Number, parts: Cells
) -> None:
    lo, hi, drop, shift = ends
    for i in range(len(y)):
        q = vector_sum(parts, i, v0, v1, v2, v3, v4, v5, np.int64(0), drop)
        y[i] = numeric.saturate(numeric.shift_round(q, shift), lo, hi)


GROUPS = {"ends": ("lo", "hi", "drop", "shift"), "how": ("rounding", "seed", "tensor")}


def words(n: int, a: Attrs) -> dict[str, NDArray[Any]]:
    """Coefficients of the random words of a row of n values; none where a step needs none."""
    mul, add = numeric.lcg_coefficients((n + 1) // 2 if a["rounding"] == numeric.STOCHASTIC else 0)
    return {"mul": mul, "add": add}


def _matrix_tables(t: Mapping[str, PlanTensor], a: Attrs) -> dict[str, NDArray[Any]]:
    n = t["w"].shape[1]
    return {"parts": terms.table(a, OF_MATRIX), "columns": np.array([n]), **words(n, a)}


def _vector_tables(t: Mapping[str, PlanTensor], a: Attrs) -> dict[str, NDArray[Any]]:
    parts = {"parts": terms.table(a, OF_VECTOR)}
    return parts | words(t["y"].shape[0], a) if "rounding" in a else parts


class Statement(Kernel):
    """factors: roles of what its terms are made of; target: what it changes or writes"""

    factors: tuple[str, ...] = ()
    target = "y"
    rounds = True

    def misfit(self, t: Tensors, a: Attrs) -> str:
        outside = beyond(t[self.target], a["lo"], a["hi"])
        counted = beyond(t["saturated"], *WORD) if "saturated" in t else ""
        return outside or counted or terms.misfit(t, a, self.factors, self.target)

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        near = {role: f[role] for role in f if role in self.factors}
        fracs = {role: fmt.frac for role, fmt in near.items()}
        mags = {role: max(-fmt.lo, fmt.hi) for role, fmt in near.items()}
        y = f[self.target]
        mode = int(a["rounding"]) if self.rounds else numeric.Rounding.NEAREST
        made = terms.aligned(a, self.factors, fracs, mags, y.frac, mode, where)
        lo, hi = y.lo, y.hi
        if "least" in a:
            lo, hi = max(lo, min(y.meaning.unit(a["least"]), 0)), min(hi, max(y.meaning.unit(a["most"]), 0))
        own = {key: int(a[key]) for key in ("rounding", "seed", "tensor") if key in a}
        return own | made | {"lo": lo, "hi": hi}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        mags = {role: known.mag for role, known in k.items() if role in self.factors}
        top = terms.total(a, self.factors, mags)
        kept = (top >> a["drop"]) + 1
        change = (kept >> a["shift"]) + 1 + (k[self.target].mag if self.rounds else 0)
        return [
            Accumulator("sum of terms", -top, top, 64),
            Accumulator("sum and dither", -kept, kept + (1 << a["shift"])),
            Accumulator("value and its change", -change, change),
        ], {}

    def sums(self, t: Arrays, a: Attrs, device: int) -> NDArray[np.int64]:
        """The sums of one device, in integers."""
        one = {role: v[device] for role, v in t.items()}
        return np.asarray(self._total(one, a, np.int64))

    def _total(self, t: Mapping[str, NDArray[Any]], a: Attrs, kind: Any) -> NDArray[Any]:
        found: Any = kind(0)
        for part in terms.parts(a, self.factors):
            found = found + terms.scaled(part, kind) * self._product(part, t, kind)
        return np.asarray(np.broadcast_to(found, t[self.target].shape))

    def _product(self, part: terms.Part, t: Mapping[str, NDArray[Any]], kind: Any) -> Any:
        made = terms.product(part, t, self.factors, kind)
        return kind(1) if made is None else made

    def changed(self, t: Arrays, a: Attrs) -> None:
        """target -= round(sum), held within its limits."""
        for i in range(len(t[self.target])):
            total = self.sums(t, a, i)
            kept = numeric.int32(total >> np.int64(a["drop"])).reshape(-1, total.shape[-1])
            m, n = kept.shape
            rounding = numeric.Rounding(a["rounding"], a["seed"], int(t["step"][i, 0]), a["tensor"], m, n)
            p = rounding(kept, a["shift"], np.arange(m), slice(0, n)).reshape(total.shape)
            v = numeric.int32(t[self.target][i].astype(np.int32) - p)
            held = numeric.saturate(v, a["lo"], a["hi"])
            t[self.target][i] = held
            if "saturated" in t:
                t["saturated"][i, 0] += np.uint32(np.count_nonzero(held != v))

    def variant(self, kernel_set: str, t: Mapping[str, PlanTensor], a: Attrs) -> Variant:
        return Variant(self.name.split(".")[1], numbers={"wide": terms.wide(t, a, self.factors)})

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        n = math.prod(shapes[self.target])
        moved = n if self.target == "w" else 0
        macs = n * sum(part.times for part in terms.parts(a, self.factors))
        return Cost(macs=macs, reads=moved, writes=moved)

    @staticmethod
    def drawn(
        rng: np.random.Generator,
        arrays: dict[str, NDArray[Any]],
        bits: int,
        factors: tuple[str, ...],
        own: str,
        times: int = 1,
    ) -> Case:
        """A case whose target has so many bits, and whose products are sums of so many."""
        ends = {"lo": -(1 << (bits - 1)), "hi": (1 << (bits - 1)) - 1}
        mags = {
            role: 1 << (bits - 1 if role == own else 8 * array.itemsize - 1)
            for role, array in arrays.items()
            if role in factors and (role != own or "step" in arrays)
        }
        a = terms.drawn(rng, factors, mags, own, times) | ends
        if "step" in arrays:
            a |= {"rounding": int(rng.integers(3)), "seed": int(rng.integers(2**32))}
            a |= {"tensor": int(rng.integers(64))}
        limits = {role: (-mag, mag - 1) for role, mag in mags.items()}
        limits |= {own: (ends["lo"], ends["hi"])}
        return Case(arrays, a, limits)


def some(rng: np.random.Generator, roles: tuple[str, ...], n: int, most: int) -> dict[str, NDArray[Any]]:
    """Signals for one to `most` of the roles, from the first on."""
    found: dict[str, NDArray[Any]] = {}
    for role in roles[: int(rng.integers(1, most + 1))]:
        kind = np.int16 if rng.integers(2) else np.int8
        info = np.iinfo(kind)
        found[role] = rng.integers(int(info.min), int(info.max) + 1, n).astype(kind)
    return found


class Matrix(Statement):
    """w -= round(sum of c · d^p[o] · x^q[i] · w^r), r 0 or 1."""

    name = "statement.matrix"
    loop = Loop(_matrix, GROUPS, _matrix_tables)
    reads = (*ROWS, *COLUMNS, "step")
    updates = ("w", "saturated")
    optional = (*ROWS, *COLUMNS)
    factors = OF_MATRIX
    target = "w"
    operands = takes(
        {},
        **dict.fromkeys(ROWS, "int8|int16 [rows]"),
        **dict.fromkeys(COLUMNS, "int8|int16 [columns]"),
        step="uint32 [1]",
        w="int8|int16 [rows, columns]",
        saturated="uint32 [1]",
    )
    attributes = within(HELD, ROUNDED, terms.attributes(len(OF_MATRIX)))
    spare = terms.SPARE

    def _product(self, part: terms.Part, t: Mapping[str, NDArray[Any]], kind: Any) -> Any:
        made: Any = kind(1)
        if (down := terms.product(part, t, ROWS, kind)) is not None:
            made = made * down[..., :, None]
        if (across := terms.product(part, t, COLUMNS, kind)) is not None:
            made = made * across[..., None, :]
        return made * t["w"].astype(kind) if "w" in part.powers else made

    def integer(self, t: Arrays, a: Attrs) -> None:
        self.changed(t, a)

    def real(self, t: Arrays, a: Attrs) -> None:
        t["w"][...] -= self._total(t, a, t["w"].dtype.type)

    def case(self, rng: np.random.Generator) -> Case:
        m, n = int(rng.integers(1, 12)), int(rng.integers(1, 24))
        wide = bool(rng.integers(2))
        bits = int(rng.integers(10, 17)) if wide else 8
        w = rng.integers(-(1 << (bits - 1)), 1 << (bits - 1), (m, n))
        arrays = some(rng, ROWS, m, 2) | some(rng, COLUMNS, n, 2)
        arrays |= {"step": rng.integers(0, 2**32, 1, np.uint32), "w": w.astype(np.int16 if wide else np.int8)}
        return self.drawn(rng, arrays | {"saturated": np.zeros(1, np.uint32)}, bits, OF_MATRIX, "w")


class Change(Statement):
    """y -= round(sum of c · the product of v^p · y^r), r 0 or 1: a bias, or a trace, which is not counted."""

    name = "statement.change"
    loop = Loop(_change, GROUPS, _vector_tables)
    reads = (*SIGNALS, "step")
    updates = ("y", "saturated")
    optional = (*SIGNALS, "saturated")
    factors = OF_VECTOR
    operands = takes(
        {},
        **dict.fromkeys(SIGNALS, "int8|int16 [n]"),
        step="uint32 [1]",
        y="int16|int32 [n]",
        saturated="uint32 [1]",
    )
    attributes = within(HELD, ROUNDED, terms.attributes(len(OF_VECTOR)))
    spare = terms.SPARE

    def implied(self, f: Mapping[str, Format], a: Attrs) -> dict[str, Format]:
        """A trace's: what it reaches where it forgets a share of itself and takes the most there is."""
        found = terms.parts(a, self.factors)
        if "y" in f or any(role not in f for part in found for role in part.powers if role != "y"):
            return {}
        forgets = sum(part.coefficient for part in found if "y" in part.powers)
        tops = {role: max(-fmt.lo, fmt.hi) * fmt.meaning.step for role, fmt in f.items() if role in SIGNALS}
        taken = sum(
            abs(part.coefficient) * math.prod(tops[role] ** p for role, p in part.powers.items())
            for part in found
            if "y" not in part.powers
        )
        top = taken / min(forgets, 2 - forgets)
        frac = math.floor(math.log2(TRACED / top)) if top > 0 else SILENT
        return {"y": Format("int16", frac, -TRACED - 1, TRACED)}

    def integer(self, t: Arrays, a: Attrs) -> None:
        self.changed(t, a)

    def real(self, t: Arrays, a: Attrs) -> None:
        t["y"][...] -= self._total(t, a, t["y"].dtype.type)

    def case(self, rng: np.random.Generator) -> Case:
        n, wide = int(rng.integers(1, 30)), bool(rng.integers(2))
        bits = 25 if wide else 16
        y = rng.integers(-(1 << (bits - 1)), 1 << (bits - 1), n).astype(np.int32 if wide else np.int16)
        arrays = some(rng, SIGNALS, n, 3) | {"step": rng.integers(0, 2**32, 1, np.uint32), "y": y}
        if rng.integers(2):
            arrays["saturated"] = np.zeros(1, np.uint32)
        return self.drawn(rng, arrays, bits, OF_VECTOR, "y")


class Signal(Statement):
    """y = the sum of c · the product of v^p, shifted and held within lo .. hi."""

    name = "statement.signal"
    loop = Loop(_signal, GROUPS, _vector_tables)
    reads = SIGNALS
    writes = ("y",)
    optional = SIGNALS[1:]
    factors = OF_VECTOR
    rounds = False
    operands = takes({}, **dict.fromkeys(SIGNALS, "int8|int16 [n]"), y="int16 [n]")
    attributes = within(HELD, terms.attributes(len(OF_VECTOR)))
    spare = terms.SPARE

    def misfit(self, t: Tensors, a: Attrs) -> str:
        own = any("y" in part.powers for part in terms.parts(a, self.factors))
        return "a signal is made of others" if own else super().misfit(t, a)

    def integer(self, t: Arrays, a: Attrs) -> None:
        found = self._total(t, a, np.int64)
        kept = numeric.int32(found >> np.int64(a["drop"]))
        t["y"][...] = numeric.saturate(numeric.shift_round(kept, a["shift"]), a["lo"], a["hi"])

    def real(self, t: Arrays, a: Attrs) -> None:
        made = self._total(t, a, t["y"].dtype.type)
        t["y"][...] = np.clip(made, a["least"], a["most"]) if "least" in a else made

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        sums, _ = super().bounds(k, a)
        return sums, {"y": (a["lo"], a["hi"], k["y"].shape[0] * max(-a["lo"], a["hi"]))}

    def case(self, rng: np.random.Generator) -> Case:
        n = int(rng.integers(1, 30))
        arrays = some(rng, SIGNALS, n, 4) | {"y": np.zeros(n, np.int16)}
        return self.drawn(rng, arrays, int(rng.integers(4, 17)), OF_VECTOR, "y")
