"""Whether the samples of a sensor can be trusted: a lead that is off stands at a rail, or does not move.

How a front end's converter tells it by a current or by its reference is its own matter; what samples alone
say is what is compared here. Signals are those of gen/ops/signal.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from . import Accumulator, Arrays, Attrs, Bounds, Case, Format, Kernel, Known
from ._contract import Range, Tensors, beyond, takes, within
from ._loops import Cells, Loop
from .signal import CHANNELS, LIMIT, random_signal

FRAMES: Range = (1, 2**24)
"""For how long a fault must last, and is told behind its end."""
LEVEL: Range = (-LIMIT, LIMIT)
LAST = ("rail", "run", "left")
"""What it keeps that counts frames."""


def _watch(
    x: Cells, bottom: Cells, top: Cells, rail: Cells, run: Cells, left: Cells, y: Cells, low: int, high: int,
    flat: int, stuck: int, still: int, hold: int, one: int, channels: int,
) -> None:  # fmt: skip
    for i in range(len(y)):
        bad = False
        for c in range(channels):
            v: Any = np.int64(x[i * channels + c])
            rail[c] = min(rail[c] + 1, stuck) if v <= low or v >= high else 0
            bottom[c] = min(np.int64(bottom[c]), v)
            top[c] = max(np.int64(top[c]), v)
            if np.int64(top[c]) - np.int64(bottom[c]) < flat:
                run[c] = min(run[c] + 1, still)
            else:
                bottom[c] = v
                top[c] = v
                run[c] = 1
            bad = bad or rail[c] >= stuck or run[c] >= still
        left[0] = hold + 1 if bad else max(left[0] - 1, 0)
        y[i] = one if left[0] > 0 else 0


class Watch(Kernel):
    """y = one in each frame in which a channel has stood at a rail, x <= low or x >= high, for `stuck`
    frames, or has moved by less than `flat` for `still` frames, and for `hold` frames behind; else 0.

    bottom, top: the lowest and highest value since a channel last moved by as much as `flat`
    rail, run:   for how many frames it has stood at a rail, and has not moved
    left:        for how many frames y stays
    What is told was still for `still` frames. What is still for twice that long is told within it, wherever
    it began, and from then on without a gap where hold >= still.
    """

    name = "lead_off.watch"
    loop = Loop(_watch)
    reads = ("x",)
    updates = ("bottom", "top", *LAST)
    writes = ("y",)
    operands = takes(
        x="int32 [n]", bottom="int32 [channels]", top="int32 [channels]", rail="int32 [channels]",
        run="int32 [channels]", left="int32 [1]", y="int32 [k]",
    )  # fmt: skip
    attributes = within(
        low=LEVEL,
        high=LEVEL,
        flat=(0, LIMIT),
        stuck=FRAMES,
        still=(2, FRAMES[1]),
        hold=(0, FRAMES[1]),
        one=(1, 2**30),
        channels=CHANNELS,
    )

    def sizes(self, a: Attrs) -> dict[str, int]:
        return {"channels": a["channels"]}

    def misfit(self, t: Tensors, a: Attrs) -> str:
        n, k = t["x"].shape[0], t["y"].shape[0]
        if n != k * a["channels"]:
            return f"{n} values are no {k} frames of {a['channels']} channels"
        for role, most in zip(LAST, self._most(a), strict=True):
            if (t[role].lo, t[role].hi) != (0, most):
                return f"{t[role].name} counts to {t[role].hi}, not to {most}"
        return beyond(t["bottom"], t["x"].lo, t["x"].hi) or beyond(t["top"], t["x"].lo, t["x"].hi)

    @staticmethod
    def _most(a: Attrs) -> tuple[int, int, int]:
        """How far rail, run and left count."""
        return int(a["stuck"]), int(a["still"]), int(a["hold"]) + 1

    def integer(self, t: Arrays, a: Attrs) -> None:
        channels = int(a["channels"])
        for i in range(t["y"].shape[1]):
            x = t["x"][:, i * channels : (i + 1) * channels]
            out = (x <= a["low"]) | (x >= a["high"])
            t["rail"][...] = np.where(out, np.minimum(t["rail"] + 1, a["stuck"]), 0)
            bottom, top = np.minimum(t["bottom"], x), np.maximum(t["top"], x)
            still = top - bottom < a["flat"]
            t["bottom"][...], t["top"][...] = np.where(still, bottom, x), np.where(still, top, x)
            t["run"][...] = np.where(still, np.minimum(t["run"] + 1, a["still"]), 1)
            bad = np.any((t["rail"] >= a["stuck"]) | (t["run"] >= a["still"]), axis=1)
            t["left"][:, 0] = np.where(bad, a["hold"] + 1, np.maximum(t["left"][:, 0] - 1, 0))
            t["y"][:, i] = np.where(t["left"][:, 0] > 0, a["one"], 0)

    real = integer

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        levels = {key: round(a[key] * 2.0 ** f["x"].frac) for key in ("low", "high", "flat")}
        counts = {key: int(a[key]) for key in ("stuck", "still", "hold", "channels")}
        return {**levels, **counts, "one": round(a["one"] * 2.0 ** f["y"].frac)}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        known = (k["x"], k["bottom"], k["top"])
        lo, hi = min(v.lo for v in known), max(v.hi for v in known)
        channels, frames = k["rail"].shape[0], k["y"].shape[0]
        held = (lo, hi, channels * max(-lo, hi))
        rail, run, left = self._most(a)
        return [Accumulator("difference", lo - hi, hi - lo)], {
            "y": (0, a["one"], frames * a["one"]),
            "bottom": held,
            "top": held,
            "rail": (0, rail, channels * rail),
            "run": (0, run, channels * run),
            "left": (0, left, left),
        }

    def case(self, rng: np.random.Generator) -> Case:
        channels, frames = int(rng.integers(1, 4)), int(rng.integers(1, 12))
        top = 2 ** int(rng.integers(2, 30)) - 1
        numbers = {key: int(rng.integers(2, 6)) for key in ("stuck", "still", "hold")}
        levels = {"low": -top + int(rng.integers(0, 3)), "high": top - int(rng.integers(0, 3))}
        numbers |= {**levels, "flat": int(rng.choice([0, 1, 2, top // 2, top])), "channels": channels}
        x = random_signal(rng, channels * frames, top)
        if rng.integers(2):
            x = np.repeat(x[:channels], frames).reshape(channels, frames).T.ravel()
        counts = dict(zip(LAST, self._most(numbers), strict=True))
        arrays = {
            "x": x.astype(np.int32),
            "bottom": random_signal(rng, channels, top),
            "top": random_signal(rng, channels, top),
            "rail": rng.integers(0, counts["rail"] + 1, channels).astype(np.int32),
            "run": rng.integers(0, counts["run"] + 1, channels).astype(np.int32),
            "left": rng.integers(0, counts["left"] + 1, 1).astype(np.int32),
            "y": np.zeros(frames, np.int32),
        }
        limits = {role: (0, most) for role, most in counts.items()}
        limits |= dict.fromkeys(("x", "bottom", "top"), (-top, top))
        return Case(arrays, {**numbers, "one": 2 ** int(rng.integers(0, 9))}, limits)
