"""What keeps learning safe: samples held back from it, a copy of the last good state, and a judge of both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from . import Accumulator, Arrays, Attrs, Bounds, Case, Cost, Kernel, Known, _labels
from ._contract import WORD, Operand, Range, Tensors, beyond, takes, within
from ._loops import Cells, Loop
from .samples import ROWS

SHARE_FRAC = 15
SHARE: Range = (0, 1 << SHARE_FRAC)  # a share of the samples, up to 1
LEAST = 2  # answers that a state must have more before learning is trusted: one may be luck
COPIED = "int8|int16|int32|uint32"
"""What may be learned, or belong to what is: weights and biases, traces, counts."""


def _turn(label: Cells, phase: Cells, held: Cells, rest: Cells, every: int) -> None:
    c = np.int64(label[0])
    following = np.uint32(phase[c] + np.uint32(1))
    due = following >= every
    phase[c] = 0 if due else following
    held[0] = due
    rest[0] = not due


def _tally(verdict: Cells, label: Cells, right: Cells, rows: int) -> None:
    if np.int64(verdict[0]) == np.int64(label[0]) and right[0] < rows:
        right[0] = np.uint32(right[0] + np.uint32(1))


def _swap_vector(now: Cells, good: Cells) -> None:
    for i in range(len(now)):
        kept = now[i]
        now[i] = good[i]
        good[i] = kept


def _swap(now: Cells, good: Cells) -> None:
    for i in range(len(now)):
        for j in range(now.shape[1]):
            kept = now[i, j]
            now[i, j] = good[i, j]
            good[i, j] = kept


def _copy_vector(source: Cells, copy: Cells) -> None:
    for i in range(len(source)):
        copy[i] = source[i]


def _copy(source: Cells, copy: Cells) -> None:
    for i in range(len(source)):
        for j in range(source.shape[1]):
            copy[i, j] = source[i, j]


def _better(right: Cells, good_right: Cells, better: Cells, rest: Cells) -> None:
    more = right[0] > good_right[0]
    better[0] = more
    rest[0] = not more


def _judge(
    right: Cells, good_right: Cells, held: Cells, base_right: Cells, good_base_right: Cells,
    base_best: Cells, trusted: Cells, keep: Cells, undo: Cells, gain: int, margin: int, base_margin: int,
    final: int,
) -> None:  # fmt: skip
    has, had, samples = np.int64(right[0]), np.int64(good_right[0]), np.int64(held[0])
    first: Any = max(LEAST, ((samples * gain) >> SHARE_FRAC) + 1)
    forgotten: Any = False
    if len(base_best):
        base_best[0] = max(base_best[0], good_base_right[0])
        forgotten = np.int64(base_right[0]) + base_margin < np.int64(base_best[0])
    kept = has >= (had if trusted[0] else had + first) and not forgotten
    trusted[0] = trusted[0] or kept
    keep[0] = kept
    undo[0] = not kept if final else forgotten or has + ((samples * margin) >> SHARE_FRAC) < had


class Turn(Kernel):
    """Whether a sample is held back: phase_c += 1, c the label; at `every` phase_c = 0 and held = 1, else
    held = 0; rest = 1 - held."""

    name = "guard.turn"
    loop = Loop(_turn)
    reads = ("label",)
    updates = ("phase",)
    writes = ("held", "rest")
    operands = takes(label=_labels.LABEL, phase="uint32 [classes]", held="uint8 [1]", rest="uint8 [1]")
    attributes = within(every=(1, WORD[1]))

    def misfit(self, t: Tensors, a: Attrs) -> str:
        classes = t["phase"].shape[0]
        more = t["label"].hi >= classes
        return f"{t['label'].name} may be {t['label'].hi}, and there are {classes} classes" if more else ""

    def integer(self, t: Arrays, a: Attrs) -> None:
        device, c = np.arange(len(t["phase"])), t["label"][:, 0].astype(np.intp)
        phase = t["phase"][device, c] + t["phase"].dtype.type(1)
        due = phase >= a["every"]
        t["phase"][device, c] = np.where(due, 0, phase)
        t["held"][:, 0] = due
        t["rest"][:, 0] = ~due

    real = integer

    def ranges(self, a: Attrs) -> dict[str, tuple[int, int]]:
        return {"phase": (0, a["every"] - 1)}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return [], {"held": (0, 1, 1), "rest": (0, 1, 1)}

    def case(self, rng: np.random.Generator) -> Case:
        every, classes = int(rng.integers(1, 6)), int(rng.choice([2, 7, 300]))
        arrays: dict[str, NDArray[Any]] = {
            "label": _labels.draw(rng, classes - 1),
            "phase": rng.integers(0, every, classes).astype(np.uint32),
            "held": np.zeros(1, np.uint8),
            "rest": np.zeros(1, np.uint8),
        }
        return Case(arrays, {"every": every}, {"label": (0, classes - 1), "phase": (0, every - 1)})


class Tally(Kernel):
    """right += 1 where the winner of the verdict is the label, up to `rows`."""

    name = "guard.tally"
    loop = Loop(_tally)
    reads = ("verdict", "label")
    updates = ("right",)
    operands = takes(verdict="int32 [2]", label=_labels.LABEL, right="uint32 [1]")
    attributes = within(rows=ROWS)

    def integer(self, t: Arrays, a: Attrs) -> None:
        hit = t["verdict"][:, :1].astype(np.int64) == t["label"].astype(np.int64)
        right = t["right"]
        right[...] = np.where(hit & (right < a["rows"]), right + right.dtype.type(1), right)

    real = integer

    def ranges(self, a: Attrs) -> dict[str, tuple[int, int]]:
        return {"right": (0, a["rows"])}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return [], {}

    def case(self, rng: np.random.Generator) -> Case:
        rows, classes = int(rng.integers(1, 40)), int(rng.choice([2, 7, 300]))
        label = _labels.draw(rng, classes)
        winner = int(rng.choice([int(label[0]), int(rng.integers(classes))]))
        arrays: dict[str, NDArray[Any]] = {
            "verdict": np.array([winner, rng.integers(2**16)], np.int32),
            "label": label,
            "right": rng.choice([0, int(rng.integers(rows)), rows], 1).astype(np.uint32),
        }
        return Case(arrays, {"rows": rows}, {"right": (0, rows)})


class _Pair(Kernel):
    """Two tensors of one type, shape and limits, with rows."""

    shaped: ClassVar[bool] = True

    def misfit(self, t: Tensors, a: Attrs) -> str:
        one, other = (t[role] for role in self.roles)
        return beyond(one, other.lo, other.hi) or beyond(other, one.lo, one.hi)

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        n = len(self.changing) * int(np.prod(next(iter(shapes.values()))))
        return Cost(reads=n, writes=n)

    def case(self, rng: np.random.Generator) -> Case:
        n = int(rng.integers(1, 20))
        shape = (int(rng.integers(1, 9)), n) if self.shaped else (n,)
        info = np.iinfo(str(rng.choice(COPIED.split("|"))))
        top = info.max >> int(rng.choice([0, 1]))
        lo = max(info.min, -top - 1)
        drawn = (rng.integers(lo, top + 1, shape).astype(info.dtype) for _ in self.roles)
        return Case(dict(zip(self.roles, drawn, strict=True)), {}, dict.fromkeys(self.roles, (int(lo), top)))


class Swap(_Pair):
    """now and good change places."""

    name = "guard.swap"
    loop = Loop(_swap)
    updates = ("now", "good")
    operands: ClassVar[Mapping[str, Operand]] = takes(now=f"{COPIED} [rows, n]", good="=now [rows, n]")

    def integer(self, t: Arrays, a: Attrs) -> None:
        kept = t["now"].copy()
        t["now"][...] = t["good"]
        t["good"][...] = kept

    real = integer

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        now, good = k["now"], k["good"]
        return [], {"now": (good.lo, good.hi, good.l1), "good": (now.lo, now.hi, now.l1)}


class SwapVector(Swap):
    """As `guard.swap`, of vectors."""

    name = "guard.swap_vector"
    shaped = False
    loop = Loop(_swap_vector)
    operands = takes(now=f"{COPIED} [n]", good="=now [n]")


class Copy(_Pair):
    """copy = source."""

    name = "guard.copy"
    loop = Loop(_copy)
    reads = ("source",)
    writes = ("copy",)
    operands: ClassVar[Mapping[str, Operand]] = takes(source=f"{COPIED} [rows, n]", copy="=source [rows, n]")

    def integer(self, t: Arrays, a: Attrs) -> None:
        t["copy"][...] = t["source"]

    real = integer

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        source = k["source"]
        return [], {"copy": (source.lo, source.hi, source.l1)}


class CopyVector(Copy):
    """As `guard.copy`, of vectors."""

    name = "guard.copy_vector"
    shaped = False
    loop = Loop(_copy_vector)
    operands = takes(source=f"{COPIED} [n]", copy="=source [n]")


OF_BASE = ("base_right", "good_base_right", "base_best")


class Better(Kernel):
    """better = 1 where right > good_right, else 0; rest = 1 - better."""

    name = "guard.better"
    loop = Loop(_better)
    reads = ("right", "good_right")
    writes = ("better", "rest")
    operands = takes(right="uint32 [1]", good_right="uint32 [1]", better="uint8 [1]", rest="uint8 [1]")

    def integer(self, t: Arrays, a: Attrs) -> None:
        more = t["right"] > t["good_right"]
        t["better"][...] = more
        t["rest"][...] = ~more

    real = integer

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return [], {"better": (0, 1, 1), "rest": (0, 1, 1)}

    def case(self, rng: np.random.Generator) -> Case:
        top = int(rng.choice([3, 2**32]))
        arrays: dict[str, NDArray[Any]] = {
            "right": rng.integers(0, top, 1).astype(np.uint32),
            "good_right": rng.integers(0, top, 1).astype(np.uint32),
            "better": np.zeros(1, np.uint8),
            "rest": np.zeros(1, np.uint8),
        }
        return Case(arrays, {}, {})


class Judge(Kernel):
    """Whether what was learned becomes the good state, goes on, or is undone.

    base_best = max(base_best, good_base_right), and base examples are forgotten where base_right +
    base_margin < base_best. keep = 1 where nothing is forgotten and right >= good_right; until one was kept
    (trusted = 0), only where right >= good_right + max(2, ((held * gain) >> 15) + 1). Then trusted = 1.
    undo = 1 where something is forgotten, or right + ((held * margin) >> 15) < good_right; if `final`, where
    keep is 0. base_right, good_base_right, base_best: all or none.
    """

    name = "guard.judge"
    loop = Loop(_judge)
    reads = ("right", "good_right", "held", "base_right", "good_base_right")
    updates = ("base_best", "trusted")
    writes = ("keep", "undo")
    optional = OF_BASE
    operands = takes(
        right="uint32 [1]",
        good_right="uint32 [1]",
        held="uint32 [1]",
        base_right="uint32 [1]",
        good_base_right="uint32 [1]",
        base_best="uint32 [1]",
        trusted="uint32 [1]",
        keep="uint8 [1]",
        undo="uint8 [1]",
    )
    attributes: ClassVar[Mapping[str, Range]] = within(
        rows=ROWS,
        base_rows=(0, ROWS[1]),
        gain=SHARE,
        margin=SHARE,
        base_margin=(0, ROWS[1]),
        final=(0, 1),
    )

    def misfit(self, t: Tensors, a: Attrs) -> str:
        there = [role in t for role in OF_BASE]
        if any(there) != all(there) or any(there) != bool(a["base_rows"]):
            return "it takes all operands of base examples, or none where there are no such"
        return ""

    def integer(self, t: Arrays, a: Attrs) -> None:
        has, had, held = (t[role].astype(np.int64) for role in ("right", "good_right", "held"))
        forgotten: Any = np.False_
        if "base_best" in t:
            t["base_best"][...] = np.maximum(t["base_best"], t["good_base_right"])
            forgotten = t["base_right"].astype(np.int64) + a["base_margin"] < t["base_best"]
        trusted = t["trusted"] != 0
        more = np.where(trusted, 0, np.maximum(LEAST, ((held * a["gain"]) >> SHARE_FRAC) + 1))
        kept = (has >= had + more) & ~forgotten
        worse = forgotten | (has + ((held * a["margin"]) >> SHARE_FRAC) < had)
        t["trusted"][...] = trusted | kept
        t["keep"][...] = kept
        t["undo"][...] = ~kept if a["final"] else worse

    real = integer

    def ranges(self, a: Attrs) -> dict[str, tuple[int, int]]:
        kept = dict.fromkeys(("right", "good_right", "held"), (0, a["rows"])) | {"trusted": (0, 1)}
        return kept | (dict.fromkeys(OF_BASE, (0, a["base_rows"])) if a["base_rows"] else {})

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        shares = [Accumulator("a share of samples", 0, k["held"].hi * max(a["gain"], a["margin"]))]
        return shares, {"keep": (0, 1, 1), "undo": (0, 1, 1)}

    def case(self, rng: np.random.Generator) -> Case:
        rows, base_rows = int(rng.integers(1, 40)), int(rng.choice([0, int(rng.integers(1, 40))]))
        arrays: dict[str, NDArray[Any]] = {
            role: rng.integers(0, rows + 1, 1).astype(np.uint32) for role in ("right", "good_right", "held")
        }
        if rng.integers(2):
            arrays["good_right"] = arrays["right"].copy()
        limits = dict.fromkeys(("right", "good_right", "held"), (0, rows)) | {"trusted": (0, 1)}
        if base_rows:
            arrays |= {role: rng.integers(0, base_rows + 1, 1).astype(np.uint32) for role in OF_BASE}
            limits |= dict.fromkeys(OF_BASE, (0, base_rows))
        arrays |= {"trusted": rng.integers(0, 2, 1).astype(np.uint32)}
        arrays |= {"keep": np.zeros(1, np.uint8), "undo": np.zeros(1, np.uint8)}
        attrs = {
            "rows": rows,
            "base_rows": base_rows,
            "gain": int(rng.choice([0, SHARE[1], int(rng.integers(SHARE[1] // 8))])),
            "margin": int(rng.choice([0, SHARE[1], int(rng.integers(SHARE[1] // 4))])),
            "base_margin": int(rng.integers(5)),
            "final": int(rng.integers(2)),
        }
        return Case(arrays, attrs, limits)
