"""When learning pauses: where little has been wrong for long, and until more is wrong again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..spec.freeze import LEAST_SHARE, MOST_AFTER
from . import Arrays, Attrs, Bounds, Case, Format, Kernel, Known
from ._contract import Range, takes, within
from ._loops import Cells, Loop

MAGNITUDE: Range = (1, 2**15)
MOST_BACK = 2**-LEAST_SHARE - 1


def _watch(
    e: Cells, calm: Cells, frozen: Cells, taught: Cells, awake: Cells, least: int, after: int, back: int
) -> None:  # fmt: skip
    wrong: Any = False
    for i in range(len(e)):
        v: Any = np.int32(e[i])
        wrong = wrong or v >= least or v <= -least
    now: Any = np.int64(calm[0])
    now = max(now - back, 0) if wrong else min(now + 1, after)
    held = now == after or (frozen[0] != 0 and now > 0)
    calm[0] = now
    frozen[0] = held
    awake[0] = not held
    taught[0] = taught[0] != 0 and not held


class Watch(Kernel):
    """calm = max(calm - back, 0) where |e| >= least for any element, else min(calm + 1, after);
    frozen = 1 where calm = after, 0 where calm = 0, else as it was; awake = 1 - frozen;
    taught = 0 where frozen.

    So calm tends to `after` while less than one in back + 1 samples is wrong, and to 0 while more are, as the
    sum of a cumulative sum test does (Page, Continuous inspection schemes, Biometrika 41, 1954). In real
    numbers `below` stands for least.
    """

    name = "freeze.watch"
    loop = Loop(_watch)
    reads = ("e",)
    updates = ("calm", "frozen", "taught")
    writes = ("awake",)
    operands = takes(
        e="int16 [n]", calm="uint32 [1]", frozen="uint32 [1]", taught="uint8 [1]", awake="uint8 [1]"
    )
    attributes = within(least=MAGNITUDE, after=(1, MOST_AFTER), back=(1, MOST_BACK))

    def _change(self, t: Arrays, a: Attrs, wrong: NDArray[np.bool_]) -> None:
        calm, after = t["calm"][:, 0].astype(np.int64), a["after"]
        calm = np.where(wrong, np.maximum(calm - a["back"], 0), np.minimum(calm + 1, after))
        frozen = (calm == after) | ((t["frozen"][:, 0] != 0) & (calm > 0))
        t["calm"][:, 0], t["frozen"][:, 0], t["awake"][:, 0] = calm, frozen, ~frozen
        t["taught"][:, 0] = (t["taught"][:, 0] != 0) & ~frozen

    def integer(self, t: Arrays, a: Attrs) -> None:
        self._change(t, a, (np.abs(t["e"].astype(np.int32)) >= a["least"]).any(axis=1))

    def real(self, t: Arrays, a: Attrs) -> None:
        self._change(t, a, (np.abs(t["e"]) >= a["below"]).any(axis=1))

    def unmet(self, tops: Mapping[str, float], a: Attrs) -> str:
        least, top = a["below"], tops.get("e", math.inf)
        return f"no error reaches {least:.3g}: the largest is {top:.6g}" if top < least else ""

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        least = min(max(f["e"].meaning.unit(a["below"]), 1), MAGNITUDE[1])
        return {"least": least, "after": int(a["after"]), "back": int(a["back"])}

    def ranges(self, a: Attrs) -> dict[str, tuple[int, int]]:
        return {"calm": (0, a["after"]), "frozen": (0, 1)}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return [], {"awake": (0, 1, 1)}

    def case(self, rng: np.random.Generator) -> Case:
        after, back = int(rng.choice([1, 2, 9, MOST_AFTER])), int(rng.choice([1, 3, MOST_BACK]))
        n = int(rng.integers(1, 12))
        arrays: dict[str, NDArray[Any]] = {
            "e": (rng.integers(-(2**15), 2**15, n) >> rng.integers(0, 16)).astype(np.int16),
            "calm": np.array([rng.choice([0, after, after - 1, min(back, after)])], np.uint32),
            "frozen": rng.integers(0, 2, 1).astype(np.uint32),
            "taught": rng.integers(0, 2, 1).astype(np.uint8),
            "awake": np.zeros(1, np.uint8),
        }
        limits = {"calm": (0, after), "frozen": (0, 1), "taught": (0, 1)}
        attrs = {"least": int(rng.choice([1, 100, 2**12, 2**15])), "after": after, "back": back}
        return Case(arrays, attrs, limits)
