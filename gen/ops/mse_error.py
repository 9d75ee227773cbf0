"""The error of half the squared error: e = z - target.

Targets are numbers in the format of the scores, or the network's own input.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..errors import CompileError
from . import Accumulator, Arrays, Attrs, Bounds, Case, Format, Kernel, Known, _requantise
from ._contract import HELD, INT16, Tensors, takes, within
from ._loops import Cells, Loop, Number, helper
from ._shifts import MAX_SHIFT, requantising

HINT = "scale the targets and the last layer by a power of two"


@helper
def error_of(z: Cells, target: Cells, e: Cells, taught: Cells, shift: Any, lo: Any, hi: Any) -> None:
    """What `mse_error.forward` does."""
    taught[0] = 0
    for i in range(len(z)):
        away = numeric.int32(np.int32(z[i]) - np.int32(target[i]))
        error = numeric.saturate(numeric.shift_round(away, shift), lo, hi)
        e[i] = error
        if error != 0:
            taught[0] = 1


def _forward(z: Cells, target: Cells, e: Cells, taught: Cells, shift: Number, lo: int, hi: int) -> None:
    error_of(z, target, e, taught, shift, lo, hi)


class Forward(Kernel):
    """e = saturate(shift_round(z - target, shift), lo, hi); taught = 1 where any element of e is not zero."""

    name = "mse_error.forward"
    loop = Loop(_forward)
    reads = ("z", "target")
    writes = ("e", "taught")
    operands = takes(z="int16 [n]", target="int16 [n]", e="int16 [n]", taught="uint8 [1]")
    attributes = within(HELD, shift=(0, MAX_SHIFT))

    def integer(self, t: Arrays, a: Attrs) -> None:
        away = t["z"].astype(np.int32) - t["target"].astype(np.int32)
        e = numeric.saturate(numeric.shift_round(away, a["shift"]), a["lo"], a["hi"])
        t["e"][...] = e
        t["taught"][:, 0] = e.any(axis=1)

    def real(self, t: Arrays, a: Attrs) -> None:
        t["e"][...] = t["z"] - t["target"]
        t["taught"][:, 0] = 1

    def cap(self, f: Mapping[str, Format], a: Attrs) -> dict[str, int]:
        return {"e": f["z"].frac}

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        shift = f["z"].frac - f["e"].frac
        requantising([shift], where, HINT)
        return {"shift": shift, "lo": f["e"].lo, "hi": f["e"].hi}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        far = k["z"].mag + k["target"].mag
        top = max(-a["lo"], a["hi"])
        sums = [Accumulator("difference", -far, far + (1 << a["shift"]))]
        return sums, {"e": (a["lo"], a["hi"], k["e"].shape[0] * top), "taught": (0, 1, 1)}

    def case(self, rng: np.random.Generator) -> Case:
        n = int(rng.integers(1, 12))
        small = int(rng.integers(0, 12))
        arrays: dict[str, NDArray[Any]] = {
            "z": (rng.integers(-(2**15), 2**15, n) >> small).astype(np.int16),
            "target": (rng.integers(-(2**15), 2**15, n) >> small).astype(np.int16),
            "e": np.zeros(n, np.int16),
            "taught": np.zeros(1, np.uint8),
        }
        bits = int(rng.integers(6, 17))
        attrs = {"shift": int(rng.integers(0, 12)), "lo": -(1 << bits - 1), "hi": (1 << bits - 1) - 1}
        return Case(arrays, attrs, {})


def _input(
    z: Cells, x: Cells, e: Cells, taught: Cells, shift: Number, multiplier: Number, x_shift: Number,
    x_zero: int, lo: int, hi: int,
) -> None:  # fmt: skip
    target, (least, most) = np.empty(len(x), np.int16), INT16
    for i in range(len(x)):
        away = numeric.int32(np.int32(x[i]) - np.int32(x_zero))
        target[i] = numeric.saturate(numeric.scale_once(away, multiplier, x_shift), least, most)
    error_of(z, target, e, taught, shift, lo, hi)


class Input(Kernel):
    """As `mse_error.forward`, target = saturate(scale_once(x - x_zero, multiplier, x_shift)), in int16."""

    name = "mse_error.input"
    loop = Loop(_input)
    reads = ("z", "x")
    writes = ("e", "taught")
    operands = takes(z="int16 [n]", x="int8 [n]", e="int16 [n]", taught="uint8 [1]")
    attributes = within(
        HELD, shift=(0, MAX_SHIFT), multiplier=(0, 2**31 - 1), x_shift=(1, 62), x_zero=(-128, 127)
    )
    cap = Forward.cap

    def misfit(self, t: Tensors, a: Attrs) -> str:
        n = a["x_shift"]
        fits = n > 31 or 255 * a["multiplier"] + (1 << n) < 1 << (n + 31)
        return "" if fits else "multiplier makes more than 32 bits"

    def integer(self, t: Arrays, a: Attrs) -> None:
        x = t["x"].astype(np.int32) - np.int32(a["x_zero"])
        target = numeric.saturate(numeric.scale_once(x, a["multiplier"], a["x_shift"]), *INT16)
        Forward().integer({"z": t["z"], "target": target, "e": t["e"], "taught": t["taught"]}, a)

    def real(self, t: Arrays, a: Attrs) -> None:
        Forward().real({"z": t["z"], "target": t["x"], "e": t["e"], "taught": t["taught"]}, a)

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        factor = f["x"].meaning.step / f["z"].meaning.step
        m, n = numeric.multiplier(factor)
        if not 2.0**-20 <= factor <= 2.0**20:
            raise CompileError(where, f"one unit of its input is {factor:.3g} units of its output", HINT)
        zeros = {"x_zero": _requantise.zero(f["x"])}
        return Forward().lower(f, a, where) | {"multiplier": m, "x_shift": n, **zeros}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        target = Known(k["z"].shape, *INT16, k["z"].shape[0] << 15)
        return Forward().bounds({"z": k["z"], "target": target, "e": k["e"]}, a)

    def case(self, rng: np.random.Generator) -> Case:
        case = Forward().case(rng)
        n = len(case.arrays["z"])
        m, shift = numeric.multiplier(float(2.0 ** rng.uniform(-12, 12)))
        arrays = {"z": case.arrays["z"], "x": rng.integers(-128, 128, n).astype(np.int8)}
        arrays |= {role: case.arrays[role] for role in ("e", "taught")}
        zero = int(rng.choice([0, -128, int(rng.integers(-128, 128))]))
        return Case(arrays, {**case.attrs, "multiplier": m, "x_shift": shift, "x_zero": zero}, {})
