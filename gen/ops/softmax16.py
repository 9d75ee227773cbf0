"""Softmax of int16 over the last axis, where a model file holds its activations in 16 bits.

The arithmetic is that of TensorFlow Lite's reference kernels (LiteRT 2.3.0): exponentials and the reciprocal
of their sum come from two tables of 512 steps, linear between. A `softmax` layer writes this step where its
input is int16. No teaching signal passes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..errors import CompileError
from ..ir.format import Scaled
from ..ir.graph import Node
from ..ir.program import Value
from ..ir.tape import Tape
from . import Accumulator, Arrays, Attrs, Bounds, Case, Cost, Format, Kernel, Known
from ._contract import BETWEEN, Tensors, crossed, takes, within
from ._loops import Cells, Loop, Number, helper
from ._requantise import MULTIPLIER_TOP, SCALES, factor, scale
from ._rows import ROW, rows_misfit

STEPS = 512
REACH = 10.0  # of the exponentials: below -10 there is nothing
RANGE = 65535.0
TOP = 2**15 - 1

Real = NDArray[Any]


def forward(tape: Tape, node: Node, beta: float) -> None:
    """The step of a softmax; CompileError for a log-softmax."""
    if node.attrs["log"]:
        raise CompileError(
            node.name, "its input is int16, and it is a log-softmax", "convert the model to int8"
        )
    tables = {
        role: tape.add(Value(f"{node.name}_{role}", (STEPS + 1,), "const", "table", note=note))
        for role, note in (("exp", "exponentials of -10 .. 0"), ("inverse", "1 / (1 + v), v = 0 .. 1"))
    }
    args = {"x": tape.value(node.inputs[0]), **tables, "y": tape.activation(node)}
    tape.step("softmax16.forward", node, args, beta=beta, size=tape.shape(node.inputs[0])[-1])


def table(function: Callable[[Real], Real], least: float, most: float) -> NDArray[np.int64]:
    """[513]: function at 512 steps from `least` to `most`, in units of 2^-15, in float64; each but the last
    moved by half of what a line to the next misses the middle by."""
    step = (most - least) / STEPS
    at = least + np.arange(STEPS + 1) * step
    value, middle = (function(v) * 2.0**15 for v in (at, at + step / 2))
    line = _rounded((value[1:] + _rounded(value[:-1])) / 2)
    moved = _rounded(value[:-1]) - _rounded((line - _rounded(middle[:-1])) / 2)
    found: NDArray[np.int64] = np.clip([*moved, *_rounded(value[-1:])], -TOP - 1, TOP).astype(np.int64)
    return found


def _rounded(v: Real) -> Real:
    """To the nearest integer, halves away from zero."""
    found: Real = np.copysign(np.floor(np.abs(v) + 0.5), v)
    return found


def _inverse(v: Real) -> Real:
    found: Real = 1.0 / (1.0 + v)
    return found


@helper
def between(entries: Cells, v: Any) -> Any:
    """A value of 16 bits looked up in entries [513], linear between them."""
    at = STEPS // 2 + (v >> 7)
    base = np.int32(entries[at])
    line = numeric.int32(numeric.int32(np.int32(entries[at + 1]) - base) * numeric.int32(v & 127))
    return numeric.int32(base + numeric.shift_round(line, 7))


def _forward(
    x: Cells,
    exp: Cells,
    inverse: Cells,
    y: Cells,
    size: int,
    multiplier: Number,
    shift: Number,
    lo: int,
    hi: int,
) -> None:
    e = np.empty(size, np.int32)
    for at in range(0, len(y), size):
        most: Any = np.int32(x[at])
        total: Any = np.int32(0)
        for i in range(size):
            most = numeric.int32(max(most, np.int32(x[at + i])))
        for i in range(size):
            steps = numeric.scale_twice(numeric.int32(np.int32(x[at + i]) - most), multiplier, shift)
            e[i] = between(
                exp, np.int64(numeric.saturate(numeric.int32(steps + np.int32(TOP)), -TOP - 1, TOP))
            )
            total = numeric.int32(total + e[i])
        lead = numeric.int32(numeric.leading_zeros(total))
        whole = numeric.int32(total << (lead - 1))
        top = numeric.int32((((whole >> 13) + 1) >> 1) - (3 << 15))
        share = between(inverse, np.int64(numeric.saturate(top, -TOP - 1, TOP)))
        for i in range(size):
            v = numeric.shift_round(numeric.int32(e[i] * share), 31 - lead)
            y[at + i] = numeric.saturate(v, max(lo, 0), hi)


class Forward(Kernel):
    """y = e / sum e in units of 2^-15, e an exponential of what x lies below the largest of its row."""

    name = "softmax16.forward"
    loop = Loop(_forward)
    reads = ("x", "exp", "inverse")
    writes = ("y",)
    inplace = ("x", "y")
    operands = takes(x="int16 [n]", exp=f"int16 [{STEPS + 1}]", inverse=f"int16 [{STEPS + 1}]", y="int16 [n]")
    attributes = within(BETWEEN, size=ROW, multiplier=(0, MULTIPLIER_TOP), shift=(1, 62))

    def misfit(self, t: Tensors, a: Attrs) -> str:
        exp = t["exp"]
        whole = exp.lo >= 0 and exp.data is not None and int(exp.array()[-2:].min()) > 2**14
        fault = "" if whole else "its exponentials do not end with that of 0"
        return crossed(a) or rows_misfit(t["x"].shape[0], a["size"]) or fault

    def integer(self, t: Arrays, a: Attrs) -> None:
        x = t["x"].reshape(len(t["x"]), -1, a["size"]).astype(np.int32)
        d = x - x.max(axis=2, keepdims=True)
        steps = numeric.scale_twice(d, np.asarray(a["multiplier"], np.int32), a["shift"])
        e = _between(t["exp"], numeric.saturate(steps + np.int32(TOP), -TOP - 1, TOP))
        total = e.sum(axis=2, keepdims=True, dtype=np.int32)
        lead = numeric.leading_zeros(total).astype(np.int32)
        whole = total << (lead - 1)  # 2^30 and more: no room for half of what is cut
        top = (((whole >> 13) + 1) >> 1) - np.int32(3 << 15)
        share = _between(t["inverse"], numeric.saturate(top, -TOP - 1, TOP))
        y = numeric.saturate(numeric.shift_round(e * share, 31 - lead), max(a["lo"], 0), a["hi"])
        t["y"][...] = y.reshape(t["y"].shape)

    def real(self, t: Arrays, a: Attrs) -> None:
        x = a["beta"] * t["x"].reshape(len(t["x"]), -1, a["size"])
        e = np.exp(x - x.max(axis=2, keepdims=True))
        t["y"][...] = (e / e.sum(axis=2, keepdims=True)).reshape(t["y"].shape)

    def derived(
        self, role: str, f: Mapping[str, Format], a: Attrs, where: str
    ) -> tuple[Format, NDArray[np.int64]]:
        least, most = (-REACH, 0.0) if role == "exp" else (0.0, 1.0)
        return Format("int16", 15, 0, TOP), table(np.exp if role == "exp" else _inverse, least, most)

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        if f["y"].meaning != Scaled((2.0**-15,)):
            what = f"its output has {f['y'].meaning}, LiteRT demands scale {2.0**-15:.6g}, zero point 0"
            raise CompileError(where, what, SCALES)
        steps = float(np.float32(scale(f["x"], where)) * np.float32(a["beta"])) / (REACH / RANGE)
        found = factor(steps, "", where)
        return {"size": int(a["size"]), **found, "lo": f["y"].lo, "hi": f["y"].hi}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        most = (int(RANGE) * a["multiplier"] >> a["shift"]) + 1
        sums = [
            Accumulator("steps of a difference", -most - 1, TOP),
            Accumulator("sum of exponentials", 0, a["size"] << 15),
            Accumulator("sum, moved to the top", 2**30, 2**31 - 1),
            Accumulator("product and half of what is cut", 0, TOP**2 + 2**29),
        ]
        return sums, {"y": (a["lo"], a["hi"], k["y"].shape[0] * max(-a["lo"], a["hi"]))}

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        return Cost(macs=shapes["x"][0], reads=4 * (STEPS + 1))

    def case(self, rng: np.random.Generator) -> Case:
        size, rows = int(rng.choice([1, 2, 5, 12, 40])), int(rng.integers(1, 4))
        tables = {role: self.derived(role, {}, {}, "")[1].astype(np.int16) for role in ("exp", "inverse")}
        steps = 2.0 ** rng.uniform(-12, 0) / (REACH / RANGE) * 2.0**-4
        x = rng.integers(-TOP - 1, TOP + 1, size * rows)
        if size > 8 and rng.integers(2):
            steps = 1.0
            x = np.concatenate([_brim(rng, size, tables["exp"]) for _ in range(rows)])
        arrays: dict[str, NDArray[Any]] = {"x": x.astype(np.int16), "y": np.zeros(size * rows, np.int16)}
        arrays |= tables
        attrs = {"size": size, **factor(steps, "", ""), "lo": -TOP - 1, "hi": TOP}
        return Case(arrays, attrs, {"exp": (0, TOP), "inverse": (0, TOP)}, ("exp", "inverse"))


def _brim(rng: np.random.Generator, size: int, exp: NDArray[Any]) -> NDArray[np.int64]:
    """A row [size], in steps of the exponentials, whose sum is a power of two, or up to 4 below one."""
    every = _between(exp[None], np.arange(-TOP - 1, TOP + 1, dtype=np.int32)[None])[0].astype(np.int64)

    def least(value: Any) -> Any:
        return np.searchsorted(every[:-1], value)

    goal = (1 << int(rng.integers(18, (size << 15).bit_length()))) - int(rng.integers(5))
    rest = goal - every[-1]
    row = [2 * TOP + 1, *least((rest - 20000) / (size - 3) * rng.uniform(0.97, 1.03, size - 3))]
    row.append(int(least(goal - every[row].sum() - 2000)))
    row.append(int(least(goal - every[row].sum())))  # small: each value is an exponential
    found: NDArray[np.int64] = rng.permutation(np.array(row, np.int64)) - TOP - 1
    return found


def _between(entries: NDArray[Any], v: numeric.Int) -> numeric.Int:
    """Values v of 16 bits looked up in entries [D or 1, 513], linear between them."""
    at = (np.int32(STEPS // 2) + (v >> np.int32(7))).reshape(len(v), -1)
    wide = np.broadcast_to(entries, (len(v), STEPS + 1)).astype(np.int32)
    base, following = (np.take_along_axis(wide, at + n, axis=1).reshape(v.shape) for n in (0, 1))
    found: numeric.Int = base + numeric.shift_round((following - base) * (v & np.int32(127)), 7)
    return found
