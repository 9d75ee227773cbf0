"""Windows of a signal: a ring in the state, when a window has ended, and the network's input made of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..errors import CompileError
from ..ir.format import Scaled
from . import Accumulator, Arrays, Attrs, Bounds, Case, Cost, Format, Kernel, Known
from ._contract import HELD, Range, Tensors, beyond, takes, within
from ._loops import Cells, Loop
from .signal import LIMIT, random_signal

INPUTS = "int8|int16"
FRAMES: Range = (1, 2**16 - 1)
"""Of a window, and from the end of one to the end of the next."""
CENTRE: Range = (-LIMIT, LIMIT)
CHANNELS: Range = (1, 2**11)
"""Of a frame: those of raw samples times as many bands as there may be."""


def _write(
    x: Cells, table: Cells, at: Cells, centre: int, multiplier: int, shift: int, zero: int, lo: int, hi: int,
    channels: int,
) -> None:  # fmt: skip
    place: Any = np.int64(at[0]) * channels
    for i in range(len(x)):
        v = numeric.scale_once(numeric.int32(x[i] - centre), numeric.int32(multiplier), shift)
        table[place] = numeric.saturate(numeric.int32(v + zero), lo, hi)
        place = 0 if place + 1 == len(table) else place + 1
    at[0] = place // channels


def _due(left: Cells, made: Cells, ago: Cells, flag: Cells, frames: int, hop: int) -> None:
    before: Any = np.int64(left[0])
    ended = before < frames
    made[0] = ended
    flag[0] = ended
    ago[0] = frames - 1 - before if ended else 0
    left[0] = before + hop - frames if ended else before - frames


def _read(table: Cells, at: Cells, ago: Cells, x: Cells, channels: int, planar: int) -> None:
    frames, length = len(table) // channels, len(x) // channels
    start: Any = np.int64(at[0]) + frames - np.int64(ago[0]) - length
    start = start - frames if start >= frames else start
    for i in range(length):
        row = start + i - frames if start + i >= frames else start + i
        for c in range(channels):
            x[c * length + i if planar else i * channels + c] = table[row * channels + c]


class Write(Kernel):
    """The next places of table = ((x - centre) * multiplier / 2^shift, to the nearest integer, halves away
    from zero) + zero, held within lo .. hi: a signal as the network's input has it.

    at: the place of the next frame. In real numbers `offset` and `scale` stand there: (x - offset) * scale.
    """

    name = "ring.write"
    loop = Loop(_write)
    reads = ("x",)
    updates = ("table", "at")
    operands = takes(x="int32 [n]", table=f"{INPUTS} [m]", at="uint32 [1]")
    attributes = within(
        HELD,
        rows=FRAMES,
        centre=CENTRE,
        multiplier=(0, 2**31 - 1),
        shift=(1, 62),
        zero=CENTRE,
        channels=CHANNELS,
    )

    def sizes(self, a: Attrs) -> dict[str, int]:
        return {"m": a["rows"] * a["channels"]}

    def misfit(self, t: Tensors, a: Attrs) -> str:
        n, m = t["x"].shape[0], t["table"].shape[0]
        if n % a["channels"] or n > m:
            return f"{n} values of {a['channels']} channels go into a ring of {m}"
        return beyond(t["table"], a["lo"], a["hi"])

    def integer(self, t: Arrays, a: Attrs) -> None:
        (devices, n), m = t["x"].shape, t["table"].shape[1]
        v = numeric.int32(t["x"] - np.int32(a["centre"]))
        v = numeric.scale_once(v, numeric.int32(a["multiplier"]), a["shift"]) + np.int32(a["zero"])
        places = (t["at"].astype(np.intp) * a["channels"] + np.arange(n)) % m
        t["table"][np.arange(devices)[:, None], places] = numeric.saturate(v, a["lo"], a["hi"])
        t["at"][...] = (t["at"] + n // a["channels"]) % (m // a["channels"])

    def real(self, t: Arrays, a: Attrs) -> None:
        (devices, n), m = t["x"].shape, t["table"].shape[1]
        places = (t["at"].astype(np.intp) * int(a["channels"]) + np.arange(n)) % m
        t["table"][np.arange(devices)[:, None], places] = (t["x"] - a["offset"]) * a["scale"]
        t["at"][...] = (t["at"] + n // int(a["channels"])) % (m // int(a["channels"]))

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        x, y = f["x"], f["table"]
        centre = round(a["offset"] * 2.0**x.frac)
        units = a["scale"] / y.meaning.step * 2.0**-x.frac
        m, n = numeric.multiplier(units)
        zero = y.meaning.zero[0] if isinstance(y.meaning, Scaled) else 0
        top = max(abs(x.lo - centre), abs(x.hi - centre))
        if n < 1 or top * math.ldexp(m, -n) > 2**30 or abs(centre) > LIMIT:
            what = f"offset {a['offset']:g} and scale {a['scale']:g} take samples beyond 32 bits"
            raise CompileError(where, what, "bring samples into the network's own range: a smaller scale")
        numbers = {"centre": centre, "multiplier": m, "shift": n, "zero": zero, "lo": y.lo, "hi": y.hi}
        return numbers | {"rows": int(a["rows"]), "channels": int(a["channels"])}

    def ranges(self, a: Attrs) -> dict[str, tuple[int, int]]:
        return {"at": (0, int(a["rows"]) - 1)}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        low, high = k["x"].lo - a["centre"], k["x"].hi - a["centre"]
        ends = [v * a["multiplier"] >> a["shift"] for v in (low, high)]
        lo, hi = ends[0] - 1 + a["zero"], ends[1] + 1 + a["zero"]
        n = k["table"].shape[0]
        kept = min(k["table"].lo, a["lo"]), max(k["table"].hi, a["hi"])
        return [Accumulator("centred", low, high), Accumulator("scaled", min(lo, -1), max(hi, 1))], {
            "table": (*kept, n * max(-kept[0], kept[1]))
        }

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        return Cost(macs=shapes["x"][0], writes=shapes["x"][0])

    def case(self, rng: np.random.Generator) -> Case:
        channels = int(rng.integers(1, 4))
        frames = int(rng.integers(1, 12))
        rows, n = frames + int(rng.integers(0, 9)), channels * frames
        dtype = str(rng.choice(INPUTS.split("|")))
        info, (m, shift) = np.iinfo(dtype), numeric.multiplier(2.0 ** -rng.uniform(0, 30))
        zero = int(rng.integers(info.min, info.max + 1)) if rng.integers(2) else 0
        lo, hi = (int(info.min), int(info.max)) if rng.integers(2) else (min(zero, 0), max(zero, 1))
        arrays: dict[str, NDArray[Any]] = {
            "x": random_signal(rng, n),
            "table": rng.integers(lo, hi + 1, rows * channels).astype(dtype),
            "at": rng.integers(0, rows, 1).astype(np.uint32),
        }
        numbers = {"centre": int(rng.choice([0, *rng.integers(-LIMIT, LIMIT, 2) >> 4])), "zero": zero}
        numbers |= {"multiplier": m, "shift": shift, "lo": lo, "hi": hi}
        numbers |= {"rows": rows, "channels": channels}
        return Case(arrays, numbers, {"x": (-LIMIT, LIMIT), "at": (0, rows - 1)})


class Due(Kernel):
    """Whether a window ended within the last `frames` frames: flag = made = 1 where left < frames, else 0;
    ago = how many frames came after its last one; left = how many come before the last one of the next, `hop`
    frames later. At the start `left` may be up to most - 1."""

    name = "ring.due"
    loop = Loop(_due)
    updates = ("left",)
    writes = ("made", "ago", "flag")
    operands = takes(left="uint32 [1]", made="uint32 [1]", ago="uint32 [1]", flag="uint8 [1]")
    attributes = within(frames=FRAMES, hop=FRAMES, most=(1, 2**31 - 1))

    def misfit(self, t: Tensors, a: Attrs) -> str:
        if not a["frames"] <= a["hop"] <= a["most"]:
            return f"a window ends every {a['hop']} of {a['most']} frames, and {a['frames']} come at a time"
        return ""

    def integer(self, t: Arrays, a: Attrs) -> None:
        frames, left = a["frames"], t["left"].astype(np.int64)
        ended = left < frames
        t["made"][...] = ended
        t["flag"][...] = ended
        t["ago"][...] = np.where(ended, frames - 1 - left, 0)
        t["left"][...] = np.where(ended, left + a["hop"] - frames, left - frames)

    real = integer

    def ranges(self, a: Attrs) -> dict[str, tuple[int, int]]:
        return {"left": (0, a["most"] - 1), "made": (0, 1), "ago": (0, a["frames"] - 1)}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        ago = a["frames"] - 1
        return [], {"made": (0, 1, 1), "ago": (0, ago, ago), "flag": (0, 1, 1)}

    def case(self, rng: np.random.Generator) -> Case:
        frames = int(rng.integers(1, 9))
        hop = frames + int(rng.integers(0, 9))
        most = hop + int(rng.integers(0, 9))
        arrays: dict[str, NDArray[Any]] = {
            "left": rng.integers(0, most, 1).astype(np.uint32),
            "made": np.zeros(1, np.uint32),
            "ago": np.zeros(1, np.uint32),
            "flag": np.zeros(1, np.uint8),
        }
        limits = {"left": (0, most - 1), "made": (0, 1), "ago": (0, frames - 1)}
        return Case(arrays, {"frames": frames, "hop": hop, "most": most}, limits)


class Read(Kernel):
    """x = the window of the ring that ended `ago` frames before its newest frame, the oldest frame first.

    planar: whether x has all frames of one channel, then those of the next; else a frame behind another
    """

    name = "ring.read"
    loop = Loop(_read)
    reads = ("table", "at", "ago")
    writes = ("x",)
    operands = takes(table=f"{INPUTS} [m]", at="uint32 [1]", ago="uint32 [1]", x="=table [n]")
    attributes = within(channels=CHANNELS, planar=(0, 1))

    def misfit(self, t: Tensors, a: Attrs) -> str:
        n, m, c = t["x"].shape[0], t["table"].shape[0], a["channels"]
        if n % c or m % c or n > m:
            return f"a window of {n} comes from a ring of {m}, of {c} channels"
        if t["at"].hi >= m // c or t["ago"].hi > (m - n) // c:
            return f"{t['at'].name} may be {t['at'].hi}, {t['ago'].name} {t['ago'].hi}"
        return beyond(t["x"], t["table"].lo, t["table"].hi)

    def integer(self, t: Arrays, a: Attrs) -> None:
        (devices, n), channels = t["x"].shape, int(a["channels"])
        frames, length = t["table"].shape[1] // channels, n // channels
        start = t["at"].astype(np.intp) - t["ago"].astype(np.intp) - length
        rows = (start + np.arange(length)) % frames
        table = t["table"].reshape(-1, frames, channels)
        table = np.broadcast_to(table, (devices, frames, channels))
        window = table[np.arange(devices)[:, None], np.broadcast_to(rows, (devices, length))]
        t["x"][...] = (window.transpose(0, 2, 1) if a["planar"] else window).reshape(devices, n)

    real = integer

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return [], {"x": (k["table"].lo, k["table"].hi, k["x"].shape[0] * k["table"].mag)}

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        return Cost(reads=shapes["x"][0], writes=shapes["x"][0])

    def case(self, rng: np.random.Generator) -> Case:
        channels, length, more = int(rng.integers(1, 4)), int(rng.integers(1, 12)), int(rng.integers(0, 5))
        rows, dtype = length + more, str(rng.choice(INPUTS.split("|")))
        info = np.iinfo(dtype)
        arrays: dict[str, NDArray[Any]] = {
            "table": rng.integers(info.min, info.max + 1, rows * channels).astype(dtype),
            "at": rng.integers(0, rows, 1).astype(np.uint32),
            "ago": rng.integers(0, more + 1, 1).astype(np.uint32),
            "x": np.zeros(length * channels, dtype),
        }
        limits = {"at": (0, rows - 1), "ago": (0, more)}
        return Case(arrays, {"channels": channels, "planar": int(rng.integers(2))}, limits)
